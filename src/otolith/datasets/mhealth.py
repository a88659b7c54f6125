"""MHEALTH: 10 people, 12 activities, sensors on the right lower arm, the left ankle and the chest.

Card
    people 10 (`1` .. `10`); one file per person
    classes standing, sitting, lying, walking, climbing stairs, waist bends forward, frontal elevation of arms, knees
    bending, cycling, jogging, running, jump front and back; with the subset `with-null` also null, as a 13th
    channels acceleration in m/s^2; angular rate on arm and ankle only, in deg/s according to the description
    rate 50 Hz; placements wrist (right lower arm), ankle (left), chest
    licence CC BY 4.0; source UCI 319
    cite Banos et al., "mHealthDroid: a novel framework for agile development of mobile health applications", IWAAL 2014

Layout
    `MHEALTHDATASET/mHealth_subject<1..10>.log`: 24 columns separated by tabs (spaces are accepted), no clock. From 0: chest
    acceleration 0-2, ECG 3-4; ankle acceleration 5-7, angular rate 8-10, magnetic field 11-13; arm acceleration 14-16,
    angular rate 17-19, magnetic field 20-22; label 23.

Quirks
    Label 0, the time between activities, covers most of every file. It stays in the signal without a label, unless the
    subset `with-null` is read. The angular rate stays within about +-1 both in standing and in running, which is
    implausible in deg/s and in rad/s: it is converted as described, but should not be used. The chest has no gyroscope.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, known_labels, numbers, spans
from otolith.storage.files import Archive

ACTIVITIES = {
    1: "standing",
    2: "sitting",
    3: "lying",
    4: "walking",
    5: "climbing stairs",
    6: "waist bends forward",
    7: "frontal elevation of arms",
    8: "knees bending",
    9: "cycling",
    10: "jogging",
    11: "running",
    12: "jump front and back",
}
RATE_HZ = 50.0
COLUMNS = 24
_FIRST = {"wrist": 14, "ankle": 5, "chest": 0}  # column of each sensor's acceleration; its angular rate follows
_MEMBER = re.compile(r"(?:^|/)mHealth_subject(\d+)\.log$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: `wrist`, `ankle` or `chest`.
        subset: `activities`, or `with-null`, in which the time between activities is a class too.

    Raises:
        FileNotFoundError: the official files are missing.
    """
    path, matches = find(source, DATASET, _MEMBER)
    names = ACTIVITIES if subset == "activities" else {**ACTIVITIES, 0: "null"}
    return [
        Part(f"subject{subject}", partial(_read, path, member, str(subject), placement, names))
        for subject, member in sorted((int(match[1]), match.string) for match in matches)
    ]


def _read(path: Path, member: str, subject: str, placement: str, names: dict[int, str]) -> Iterator[Recording]:
    first = _FIRST[placement]
    channels = ACCELEROMETER if placement == "chest" else ACCELEROMETER + GYROSCOPE
    with Archive(path) as archive:
        table = numbers(archive.read(member), member, COLUMNS, [*range(first, first + len(channels)), 23])
    signal = table[:, :-1] * np.repeat([1 / STANDARD_GRAVITY, np.pi / 180], 3)[: len(channels)]
    yield Recording(
        name=f"subject{subject}",
        signal=signal.astype(np.float32),
        rate_hz=RATE_HZ,
        channels=channels,
        subject=subject,
        placement=placement,
        spans=spans(known_labels(table[:, -1], range(13), member), names, RATE_HZ),
    )


DATASET = Dataset(
    name="mhealth",
    title="MHEALTH",
    subjects=10,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("wrist", "ankle", "chest"),
    licence="CC BY 4.0",
    origin="UCI 319",
    cite="Banos et al., IWAAL 2014",
    expects="mhealth+dataset.zip or MHEALTHDATASET/mHealth_subject<1..10>.log",
    parts=parts,
    subsets=("activities", "with-null"),
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/319/mhealth+dataset.zip",
            "mhealth+dataset.zip",
            75_567_983,
            "16ad0ce709f3f00df18f348610d15bce0884b79e2143f57f446493673f02b8e0",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/319/mhealth+dataset",
)
