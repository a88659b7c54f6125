"""DSADS (Daily and Sports Activities): 8 people, 19 activities, sensors on torso, wrists and legs at the same time.

Card
    people 8 (`1` .. `8`); one recording of 5 minutes per activity and person, published as 60 segments of 5 s
    classes sitting, standing, lying on back, lying on right side, ascending stairs, descending stairs, standing in a lift,
    moving in a lift, walking in a car park, walking on a treadmill, walking up a treadmill, running on a treadmill,
    stepper, cross trainer, cycling lying, cycling upright, rowing, jumping, basketball
    channels acceleration in g, published in m/s^2; angular rate in rad/s, as published. The magnetometer is left out
    rate 25 Hz; placements right-arm and left-arm (on the wrists), torso, right-leg and left-leg (above the knees), and
    `all`, in which each of these is a recording
    licence CC BY 4.0; source UCI 256
    cite Barshan and Yuksek, "Recognizing daily and sports activities in two open source machine learning environments
    using body-worn sensor units", The Computer Journal 2014

Layout
    `data/a<01..19>/p<1..8>/s<01..60>.txt`: 125 rows of 45 values separated by commas, no header, no clock. For each unit
    (torso 0-8, right arm 9-17, left arm 18-26, right leg 27-35, left leg 36-44): acceleration, angular rate, magnetic
    field, each x, y, z.

Quirks
    The segments of an activity and person follow each other without a gap: the step from the last row of one to the first
    row of the next is as large as the steps inside them. They are joined again; a missing segment separates recordings.
    The units sample the same moments, so the placements of one person must be on one side of a split, as those of any
    person are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording, Span
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, numbers
from otolith.storage.files import Archive

ACTIVITIES = {
    1: "sitting",
    2: "standing",
    3: "lying on back",
    4: "lying on right side",
    5: "ascending stairs",
    6: "descending stairs",
    7: "standing in a lift",
    8: "moving in a lift",
    9: "walking in a car park",
    10: "walking on a treadmill",
    11: "walking up a treadmill",
    12: "running on a treadmill",
    13: "stepper",
    14: "cross trainer",
    15: "cycling lying",
    16: "cycling upright",
    17: "rowing",
    18: "jumping",
    19: "basketball",
}
UNITS = {"right-arm": 9, "left-arm": 18, "torso": 0, "right-leg": 27, "left-leg": 36}
"""The column of each unit's acceleration; its angular rate follows."""
RATE_HZ = 25.0
COLUMNS = 45
ROWS = 125
_MEMBER = re.compile(r"(?:^|/)a(\d\d)/p(\d)/s(\d\d)\.txt$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person and activity.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: one of `UNITS`, or `all`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file has an unknown activity.
    """
    del subset
    path, matches = find(source, DATASET, _MEMBER)
    segments = sorted((int(match[2]), int(match[1]), int(match[3]), match.string) for match in matches)
    for _, activity, _, name in segments:
        if activity not in ACTIVITIES:
            raise ValueError(f"'{name}': unknown activity {activity}; expected 1 to {len(ACTIVITIES)}")
    units = tuple(UNITS) if placement == "all" else (placement,)
    return [
        Part(
            f"a{activity:02d}/p{person}",
            partial(_read, path, {number: name for *_, number, name in members}, activity, str(person), units),
        )
        for (person, activity), members in groupby(segments, key=lambda segment: segment[:2])
    ]


def _read(
    path: Path, members: dict[int, str], activity: int, subject: str, units: tuple[str, ...]
) -> Iterator[Recording]:
    """Yield a recording for each run of consecutive segments and each unit."""
    with Archive(path) as archive:
        tables = {number: _table(archive.read(name), name) for number, name in members.items()}
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(sorted(tables)), key=lambda place: place[1] - place[0])
    ]
    for run in runs:
        table = np.concatenate([tables[number] for number in run])
        for unit in units:
            signal = table[:, UNITS[unit] : UNITS[unit] + 6] * np.repeat([1 / STANDARD_GRAVITY, 1.0], 3)
            yield Recording(
                name=f"a{activity:02d}/p{subject}/s{run[0]:02d}" + (f"/{unit}" if len(units) > 1 else ""),
                signal=signal.astype(np.float32),
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER + GYROSCOPE,
                subject=subject,
                placement=unit,
                spans=(Span(0.0, len(signal) / RATE_HZ, ACTIVITIES[activity]),),
            )


def _table(data: bytes, name: str) -> np.ndarray:
    table = numbers(data.replace(b",", b" "), name, COLUMNS)
    if len(table) != ROWS:
        raise ValueError(f"'{name}' holds {len(table)} rows; expected {ROWS}: it was altered; download it again")
    return table


DATASET = Dataset(
    name="dsads",
    title="DSADS",
    subjects=8,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=(*UNITS, "all"),
    licence="CC BY 4.0",
    origin="UCI 256",
    cite="Barshan and Yuksek, The Computer Journal 2014",
    expects="daily+and+sports+activities.zip or data/a<01..19>/p<1..8>/s<01..60>.txt",
    parts=parts,
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/256/daily+and+sports+activities.zip",
            "daily+and+sports+activities.zip",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/256/daily+and+sports+activities",
)
