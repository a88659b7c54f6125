"""MotionSense: 24 people, 6 activities, an iPhone 6s in the front trouser pocket.

Card
    people 24 (`sub_1` .. `sub_24`); recordings 360 (15 trials per person)
    classes downstairs, upstairs, walking, jogging, standing, sitting
    channels subset A: total acceleration in g (gravity + userAcceleration, both published in g), rotation rate in rad/s;
    subset B: only total acceleration in g, as the accelerometer measured it
    rate 50 Hz; placement front trouser pocket
    licence MIT (that of the repository)
    source GitHub mmalekzadeh/motion-sense, folders A_DeviceMotion_data and B_Accelerometer_data
    cite Malekzadeh et al., "Mobile Sensor Data Anonymization", IoTDI 2019

Layout
    `A_DeviceMotion_data/<act>_<trial>/sub_<n>.csv`, comma separated with a header; the first, unnamed column counts
    time steps from 0; it is a line number, not a clock. Trials: dws 1 2 11, ups 3 4 12, wlk 7 8 15, jog 9 16,
    std 6 14, sit 5 13. `B_Accelerometer_data` holds the same trials with the columns x, y, z.

Quirks
    `sit_5/sub_1.csv` and `sit_13/sub_1.csv` are the same file in the public release: a split by trial leaks it, a split
    by person does not. `dws_11/sub_24` and `ups_12/sub_13` are shorter than 10 s. `data_subjects_info.csv` starts with a
    byte-order mark (not read here).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, named_numbers
from otolith.storage.files import Archive

ACTIVITIES = {
    "dws": "downstairs",
    "ups": "upstairs",
    "wlk": "walking",
    "jog": "jogging",
    "std": "standing",
    "sit": "sitting",
}
COLUMNS = {
    "A": [f"{kind}.{axis}" for kind in ("gravity", "userAcceleration", "rotationRate") for axis in "xyz"],
    "B": ["x", "y", "z"],
}
RATE_HZ = 50.0
FOLDERS = {"A": "A_DeviceMotion_data", "B": "B_Accelerometer_data", "C": "C_Gyroscope_data"}  # all with the same layout
_MEMBER = r"(?:^|/)([a-z]{3})_(\d+)/sub_(\d+)\.csv$"


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per file, sorted by person and trial.

    Args:
        source: `A_DeviceMotion_data.zip` or `B_Accelerometer_data.zip`, the extracted folder, or a folder that holds either.
        placement: `pocket`.
        subset: `A`, or `B` for the accelerometer only.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file has an unknown activity.
    """
    del placement
    others = "|".join(folder for name, folder in FOLDERS.items() if name != subset)
    path, matches = find(source, DATASET, re.compile(f"^(?!.*(?:{others})/).*?{_MEMBER}"))
    members = sorted((int(match[3]), match[1], int(match[2]), match.string) for match in matches)
    for _, act, _, name in members:
        if act not in ACTIVITIES:
            raise ValueError(f"'{name}': unknown activity '{act}'; expected one of {', '.join(ACTIVITIES)}")
    return [
        Part(f"{act}_{trial}/sub_{subject}", partial(_read, path, name, act, trial, subject, subset))
        for subject, act, trial, name in members
    ]


def _read(path: Path, member: str, act: str, trial: int, subject: int, subset: str) -> Iterator[Recording]:
    with Archive(path) as archive:
        signal = named_numbers(archive.read(member), member, COLUMNS[subset]).astype(np.float32)
    if subset == "A":
        signal = np.concatenate([signal[:, 0:3] + signal[:, 3:6], signal[:, 6:9]], axis=1)
    yield Recording(
        name=f"{act}_{trial}/sub_{subject}",
        signal=signal,
        rate_hz=RATE_HZ,
        channels=(ACCELEROMETER + GYROSCOPE)[: signal.shape[1]],
        subject=str(subject),
        placement="pocket",
        spans=(Span(0.0, len(signal) / RATE_HZ, ACTIVITIES[act]),),
    )


DATASET = Dataset(
    name="motionsense",
    title="MotionSense",
    subjects=24,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("pocket",),
    licence="MIT",
    origin="GitHub mmalekzadeh/motion-sense",
    cite="Malekzadeh et al., IoTDI 2019",
    expects="A_DeviceMotion_data.zip or A_DeviceMotion_data/<act>_<trial>/sub_<n>.csv (B_Accelerometer_data for subset B)",
    parts=parts,
    subsets=("A", "B"),
    remotes=tuple(
        Remote(
            f"https://github.com/mmalekzadeh/motion-sense/raw/master/data/{FOLDERS[name]}.zip", f"{FOLDERS[name]}.zip"
        )
        for name in "AB"
    ),
    terms="https://github.com/mmalekzadeh/motion-sense",
)
