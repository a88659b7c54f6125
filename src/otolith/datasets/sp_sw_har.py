"""SP-SW-HAR: 23 people, a phone in the front pocket and a watch on the wrist at the same time, five activities.

Card
    people 23 (`s01` .. `s23`); 223 executions of a mobility test (stand up, walk, turn, walk back, turn, sit down), each
    recorded by both devices
    classes seated, standing up, walking, turning, sitting down
    channels acceleration in g, published in m/s^2; angular rate in rad/s, as published
    rate about 102.5 Hz (phone) and 104.3 Hz (watch); placements wrist (the watch, left), pocket (the phone, left front
    pocket) and `all`, in which each device gives a recording
    licence CC BY 4.0
    source GitHub GeoTecINIT/sp-sw-har-dataset, Zenodo 8398688
    cite Matey-Sanz, Casteleyn, Granell, "Dataset of inertial measurements of smartphones and smartwatches for human activity
    recognition", Data in Brief 2023, 109809

Layout
    `DATA/s<01..23>/s<XX>_<YY>_{sp|sw}.csv`, comma separated with a header: x_acc, y_acc, z_acc, x_gyro, y_gyro, z_gyro,
    timestamp (UNIX milliseconds), label. `executions_info.csv` (orientation of the phone) and `subjects_info.csv` are not
    read.

Quirks
    Rows are sampled evenly, but the stamps are those of their delivery in bursts: several rows have one stamp, and the next
    comes up to 155 ms later. No row is missing between them, so the rows are put on an even clock at the device's rate
    rather than at their stamps. A stamp that departs from that clock by more than half a second is refused, as rows would
    be missing. A phone in the pocket has one of four orientations.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, spans
from otolith.storage.files import Archive

ACTIVITIES = {
    "SEATED": "seated",
    "STANDING_UP": "standing up",
    "WALKING": "walking",
    "TURNING": "turning",
    "SITTING_DOWN": "sitting down",
}
DEVICES = {"wrist": "sw", "pocket": "sp"}
RATES_HZ = {"wrist": 104.3, "pocket": 102.5}
SIGNAL = [f"{axis}_{sensor}" for sensor in ("acc", "gyro") for axis in "xyz"]
_MAX_DEPARTURE_S = 0.5


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per file, sorted by person and execution.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: `wrist` (the watch), `pocket` (the phone) or `all`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
    """
    del subset
    placements = {device: place for place, device in DEVICES.items() if placement in (place, "all")}
    pattern = re.compile(rf"(?:^|/)(s\d\d)_(\d\d)_({'|'.join(placements)})\.csv$")
    path, matches = find(source, DATASET, pattern)
    return [
        Part(f"{person}_{execution}_{device}", partial(_read, path, name, person, placements[device]))
        for person, execution, device, name in sorted((*match.groups(), match.string) for match in matches)
    ]


def _read(path: Path, member: str, subject: str, placement: str) -> Iterator[Recording]:
    with Archive(path) as archive:
        table = _table(archive.read(member), member)
    rate_hz = RATES_HZ[placement]
    departure_s = table["timestamp"].to_numpy() / 1000 - np.arange(len(table)) / rate_hz
    departure_s -= np.median(departure_s)
    if (largest := float(np.abs(departure_s).max())) > _MAX_DEPARTURE_S:
        raise ValueError(
            f"'{member}': a time stamp departs by {largest:.2f} s from a clock of {rate_hz} Hz; expected at most "
            f"{_MAX_DEPARTURE_S} s: rows are missing; download it again"
        )
    names = list(ACTIVITIES.values())
    yield Recording(
        name=Path(member).stem,
        signal=table[SIGNAL].to_numpy(np.float32) / np.repeat([STANDARD_GRAVITY, 1.0], 3).astype(np.float32),
        rate_hz=rate_hz,
        channels=ACCELEROMETER + GYROSCOPE,
        subject=subject,
        placement=placement,
        spans=spans(table["label"].map(list(ACTIVITIES).index).to_numpy(), dict(enumerate(names)), rate_hz),
    )


def _table(data: bytes, name: str) -> pd.DataFrame:
    """Return the rows of a file; every stamp is a number and every label is known."""
    types = {**dict.fromkeys([*SIGNAL, "timestamp"], np.float64), "label": str}
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=types)
    except ValueError as error:
        raise ValueError(f"'{name}' cannot be read as columns {', '.join(types)}: {error}") from error
    if missing := [column for column in types if column not in table.columns]:
        raise ValueError(
            f"'{name}' has {len(table.columns)} columns and lacks {', '.join(missing)}; it is not the official file"
        )
    if table.empty or not np.isfinite(table[[*SIGNAL, "timestamp"]].to_numpy()).all():
        raise ValueError(f"'{name}' holds no rows, or a row with a missing value; download it again")
    if unknown := sorted(set(table["label"].fillna("none")) - set(ACTIVITIES)):
        raise ValueError(f"'{name}': unknown activity {', '.join(unknown)}; expected {', '.join(ACTIVITIES)}")
    return table


DATASET = Dataset(
    name="sp-sw-har",
    title="SP-SW-HAR",
    subjects=23,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATES_HZ["wrist"],
    channels=ACCELEROMETER + GYROSCOPE,
    placements=(*DEVICES, "all"),
    licence="CC BY 4.0",
    origin="GitHub GeoTecINIT/sp-sw-har-dataset",
    cite="Matey-Sanz et al., Data in Brief 2023",
    expects="sp-sw-har-dataset.zip or DATA/s<01..23>/s<01..23>_<01..11>_{sp,sw}.csv",
    parts=parts,
    remotes=(Remote("https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/HEAD.zip", "sp-sw-har-dataset.zip"),),
    terms="https://zenodo.org/records/8398688",
)
