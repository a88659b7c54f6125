"""UCI HAR: 30 people, 6 activities, a phone at the waist; published as windows, which are joined here.

Card
    people 30 (`1` .. `30`), 21 of them in `train` and 9 in `test`
    classes walking, walking upstairs, walking downstairs, sitting, standing, laying
    channels total acceleration in g, angular rate in rad/s, both filtered by the publishers (median, then 20 Hz low-pass)
    rate 50 Hz; placement waist (Samsung Galaxy S II)
    licence CC BY 4.0 at UCI, while its readme forbids commercial use; source UCI 240
    cite Anguita et al., "A Public Domain Dataset for Human Activity Recognition Using Smartphones", ESANN 2013

Layout
    `UCI HAR Dataset/{train,test}/Inertial Signals/{total_acc,body_gyro}_{x,y,z}_{train,test}.txt`: one window per row,
    128 time steps; `subject_*.txt` and `y_*.txt` in `{train,test}`: person and activity 1-6 of each window.

Quirks
    Windows overlap by half, so most time steps are published twice. A window continues the previous one if the person
    is the same and its first 64 time steps are the last 64 of the previous one. Each run of such windows becomes one
    recording without repeats; a run ends where the publishers left windows out. The first window of a run labels all its
    time steps, every later one its last 64. The sessions are those of HAPT: never pretrain on one and test on the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, known_labels, numbers, spans
from otolith.storage.files import Archive

ACTIVITIES = {
    1: "walking",
    2: "walking upstairs",
    3: "walking downstairs",
    4: "sitting",
    5: "standing",
    6: "laying",
}
RATE_HZ = 50.0
WINDOW_STEPS = 128
HALF = WINDOW_STEPS // 2
SIGNALS = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz"]
_MEMBER = re.compile(rf"(?:^|/)(train|test)/(?:Inertial Signals/)?({'|'.join(SIGNALS)}|subject|y)_\1\.txt$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return two parts, train and test.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: `waist`.
        subset: `all`.

    Raises:
        FileNotFoundError: one of the official files is missing.
    """
    del placement, subset
    path, matches = find(source, DATASET, _MEMBER)
    members = {(match[1], match[2]): match.string for match in matches}
    files = ["subject", "y", *SIGNALS]
    if missing := [
        f"{file}_{split}.txt" for split in ("train", "test") for file in files if (split, file) not in members
    ]:
        raise FileNotFoundError(f"'{path}' lacks {', '.join(missing)}; expected {DATASET.expects}")
    return [
        Part(split, partial(_read, path, split, [members[split, file] for file in files]))
        for split in ("train", "test")
    ]


def _read(path: Path, split: str, members: list[str]) -> Iterator[Recording]:
    """Yield one recording per run of windows, in the order of the files."""
    with Archive(path) as archive:
        tables = [
            numbers(archive.read(member), member, 1 if number < 2 else WINDOW_STEPS)
            for number, member in enumerate(members)
        ]
    if len(lengths := {len(table) for table in tables}) > 1:
        raise ValueError(
            f"the files of '{split}' have {sorted(lengths)} windows, expected equal numbers: one is truncated"
        )
    subject = known_labels(tables[0][:, 0], range(1, 31), members[0])
    activity = known_labels(tables[1][:, 0], ACTIVITIES, members[1])
    windows = np.stack(tables[2:], axis=2)  # (windows, time, channels)
    continues = (windows[1:, :HALF] == windows[:-1, HALF:]).all(axis=(1, 2)) & (subject[1:] == subject[:-1])
    for first, end in pairwise([0, *(np.flatnonzero(~continues) + 1).tolist(), len(windows)]):
        rest = windows[first:end, HALF:].reshape(-1, len(SIGNALS))
        yield Recording(
            name=f"{split}/subject{subject[first]}/window{first}",
            signal=np.concatenate([windows[first, :HALF], rest]).astype(np.float32),
            rate_hz=RATE_HZ,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=str(subject[first]),
            placement="waist",
            spans=spans(np.repeat(activity[[first, *range(first, end)]], HALF), ACTIVITIES, RATE_HZ),
        )


DATASET = Dataset(
    name="ucihar",
    title="UCI HAR",
    subjects=30,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("waist",),
    licence="CC BY 4.0, readme: not commercial",
    origin="UCI 240",
    cite="Anguita et al., ESANN 2013",
    expects="UCI HAR Dataset.zip or {train,test}/ with Inertial Signals/, subject_*.txt and y_*.txt",
    parts=parts,
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
            "human+activity+recognition+using+smartphones.zip",
            61_005_872,
            "c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
)
