"""MotionSense: 24 people, 6 activities, an iPhone 6s in the front trouser pocket.

Card
    people 24 (`sub_1` .. `sub_24`); recordings 360 (15 trials a person)
    classes downstairs, upstairs, walking, jogging, standing, sitting
    channels total acceleration in g (gravity + userAcceleration, both published in g), rotation rate in rad/s
    rate 50 Hz; placement front trouser pocket
    licence MIT, as the repository's
    source GitHub mmalekzadeh/motion-sense, folder A_DeviceMotion_data
    cite Malekzadeh et al., "Mobile Sensor Data Anonymization", IoTDI 2019

Layout
    `A_DeviceMotion_data/<act>_<trial>/sub_<n>.csv`, comma separated with a header; the first, unnamed column counts
    time steps from 0 and is a line number, not a clock. Trials: dws 1 2 11, ups 3 4 12, wlk 7 8 15, jog 9 16,
    std 6 14, sit 5 13.

Quirks
    `sit_5/sub_1.csv` and `sit_13/sub_1.csv` are the same file in the public release: a split by trial leaks it, a split
    by person cannot. `dws_11/sub_24` and `ups_12/sub_13` last less than 10 s. `data_subjects_info.csv` starts with a
    byte-order mark (not read here).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.datasets.card import Dataset
from otolith.files import Archive
from otolith.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span

ACTIVITIES = {
    "dws": "downstairs",
    "ups": "upstairs",
    "wlk": "walking",
    "jog": "jogging",
    "std": "standing",
    "sit": "sitting",
}
COLUMNS = [f"{kind}.{axis}" for kind in ("gravity", "userAcceleration", "rotationRate") for axis in "xyz"]
RATE_HZ = 50.0
_MEMBER = re.compile(r"(?:^|/)([a-z]{3})_(\d+)/sub_(\d+)\.csv$")
_NOT_OURS = re.compile("__MACOSX|B_Accelerometer_data|C_Gyroscope_data")  # siblings of folder A, laid out as it is


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """One part a file, in order of person and trial.

    Args:
        source: `A_DeviceMotion_data.zip`, the extracted folder, or a folder that holds either.
        placement: `pocket`.
        subset: `all`.

    Raises:
        FileNotFoundError: no official file is there.
        ValueError: a file of an unknown activity.
    """
    del placement, subset
    if source is None:
        raise FileNotFoundError(f"MotionSense needs its official files: {DATASET.expects}; pass --source DIR")
    path = source / "A_DeviceMotion_data.zip"
    path = path if path.is_file() else source
    with Archive(path) as archive:
        names = archive.names
    members = sorted(
        (int(match[3]), match[1], int(match[2]), name)
        for name in names
        if (match := _MEMBER.search(name)) and not _NOT_OURS.search(name)
    )
    if not members:
        raise FileNotFoundError(
            f"MotionSense not found in '{source}': expected {DATASET.expects}; found {', '.join(names[:3]) or 'nothing'}; "
            "pass --source with the folder that holds it"
        )
    for _, act, _, name in members:
        if act not in ACTIVITIES:
            raise ValueError(f"'{name}': unknown activity '{act}'; expected one of {', '.join(ACTIVITIES)}")
    return [
        Part(f"{act}_{trial}/sub_{subject}", partial(_read, path, name, act, trial, subject))
        for subject, act, trial, name in members
    ]


def _read(path: Path, member: str, act: str, trial: int, subject: int) -> Iterator[Recording]:
    with Archive(path) as archive:
        signal = _signal(archive.read(member), member)
    yield Recording(
        name=f"{act}_{trial}/sub_{subject}",
        signal=signal,
        rate_hz=RATE_HZ,
        channels=ACCELEROMETER + GYROSCOPE,
        subject=str(subject),
        placement="pocket",
        spans=(Span(0.0, len(signal) / RATE_HZ, ACTIVITIES[act]),),
    )


def _signal(data: bytes, name: str) -> np.ndarray:
    """(time, 6) float32: total acceleration in g, rotation rate in rad/s."""
    try:
        table = pd.read_csv(io.BytesIO(data), encoding="utf-8-sig", dtype=np.float64)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"'{name}' cannot be read as numbers: {error}") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(
            f"'{name}' has {len(table.columns)} columns and lacks {', '.join(missing)}; "
            "expected the 12 of folder A_DeviceMotion_data"
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift every value to its neighbour's column
        raise ValueError(f"the rows of '{name}' hold more values than its header names; download it again")
    values = table[COLUMNS].to_numpy(np.float32)
    return np.concatenate([values[:, 0:3] + values[:, 3:6], values[:, 6:9]], axis=1)


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
    expects="A_DeviceMotion_data.zip or A_DeviceMotion_data/<act>_<trial>/sub_<n>.csv",
    parts=parts,
)
