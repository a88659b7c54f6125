"""HAPT: 30 people, 6 activities and the 6 transitions between postures, a phone at the waist.

Card
    people 30 (`1` .. `30`); 61 recordings, mostly two per person
    classes walking, walking upstairs, walking downstairs, sitting, standing, laying; with the subset `with-transitions`
    also stand to sit, sit to stand, sit to lie, lie to sit, stand to lie, lie to stand
    channels acceleration in g, angular rate in rad/s, both as published and unfiltered
    rate 50 Hz; placement waist (Samsung Galaxy S II)
    licence CC BY 4.0; source UCI 341
    cite Reyes-Ortiz et al., "Transition-Aware Human Activity Recognition Using Smartphones", Neurocomputing 2016

Layout
    `RawData/{acc,gyro}_exp<01..61>_user<01..30>.txt`: three columns separated by spaces, no clock. `RawData/labels.txt`:
    one label per row: experiment, user, activity 1-12, first and last time step.

Quirks
    The sessions are those of UCI HAR, complete: never pretrain on one and test on the other. Time steps are counted from
    1, and the last one is included. Time between labels stays in the signal without a label, and so do transitions unless
    the subset `with-transitions` is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, known_labels, numbers
from otolith.storage.files import Archive

ACTIVITIES = {
    1: "walking",
    2: "walking upstairs",
    3: "walking downstairs",
    4: "sitting",
    5: "standing",
    6: "laying",
}
TRANSITIONS = {
    7: "stand to sit",
    8: "sit to stand",
    9: "sit to lie",
    10: "lie to sit",
    11: "stand to lie",
    12: "lie to stand",
}
RATE_HZ = 50.0
_MEMBER = re.compile(r"(?:^|/)(?:(acc|gyro)_exp(\d+)_user(\d+)|labels)\.txt$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per experiment, in their order.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: `waist`.
        subset: `activities`, or `with-transitions`.

    Raises:
        FileNotFoundError: the official files are missing, or one of them is.
    """
    del placement
    path, matches = find(source, DATASET, _MEMBER)
    names = ACTIVITIES if subset == "activities" else ACTIVITIES | TRANSITIONS
    members = {PurePosixPath(match.string).name: match.string for match in matches}
    listed = []
    for experiment, user in sorted({(match[2], match[3]) for match in matches if match[1]}):
        files = [f"acc_exp{experiment}_user{user}.txt", f"gyro_exp{experiment}_user{user}.txt", "labels.txt"]
        if missing := [file for file in files if file not in members]:
            raise FileNotFoundError(f"'{path}' holds experiment {experiment} but no {', '.join(missing)}")
        read = partial(_read, path, [members[file] for file in files], int(experiment), int(user), names)
        listed.append(Part(f"exp{experiment}_user{user}", read))
    return listed


def _read(path: Path, members: list[str], experiment: int, user: int, names: dict[int, str]) -> Iterator[Recording]:
    with Archive(path) as archive:
        acc, gyro, labels = (
            numbers(archive.read(member), member, columns) for member, columns in zip(members, (3, 3, 5), strict=True)
        )
    if len(acc) != len(gyro):
        raise ValueError(
            f"'{members[0]}' has {len(acc):,} rows and '{members[1]}' {len(gyro):,}: one is truncated; download them again"
        )
    mine = labels[labels[:, 0] == experiment]
    if len(mine) == 0 or (mine[:, 1] != user).any():
        raise ValueError(
            f"'{members[2]}' has no labels of experiment {experiment} for user {user} only, as '{members[0]}'"
        )
    activities = known_labels(mine[:, 2], ACTIVITIES | TRANSITIONS, members[2])
    first, last = mine[:, 3] - 1, mine[:, 4]
    if not ((first >= 0) & (first < last) & (last <= len(acc))).all():
        raise ValueError(
            f"'{members[2]}' labels time step {last.max():,.0f}, but '{members[0]}' has {len(acc):,}: one is truncated"
        )
    yield Recording(
        name=f"exp{experiment:02d}_user{user:02d}",
        signal=np.concatenate([acc, gyro], axis=1).astype(np.float32),
        rate_hz=RATE_HZ,
        channels=ACCELEROMETER + GYROSCOPE,
        subject=str(user),
        placement="waist",
        spans=tuple(
            Span(start / RATE_HZ, stop / RATE_HZ, names[activity])
            for start, stop, activity in zip(first.tolist(), last.tolist(), activities.tolist(), strict=True)
            if activity in names
        ),
    )


DATASET = Dataset(
    name="hapt",
    title="HAPT",
    subjects=30,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("waist",),
    licence="CC BY 4.0",
    origin="UCI 341",
    cite="Reyes-Ortiz et al., Neurocomputing 2016",
    expects="RawData/acc_exp<01..61>_user<01..30>.txt, gyro_... in the same folder and RawData/labels.txt",
    parts=parts,
    subsets=("activities", "with-transitions"),
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/341/"
            "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip",
            "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip",
            79_596_192,
            "4ac4ae064227c07045a99551876b54d204837e995e298b6488559e209b3deb09",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/341/"
    "smartphone+based+recognition+of+human+activities+and+postural+transitions",
)
