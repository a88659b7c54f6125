"""MyoGym: 10 people, 30 gym exercises and the time between them, a Myo armband on the forearm.

Card
    people 10 (`1` .. `10`); one file
    classes the 30 exercises of `EXERCISES`, and null; with the subset `activities` only the 30
    channels acceleration in g, angular rate in deg/s
    rate 50 Hz; placement forearm
    licence none stated; the paper calls it open; source University of Oulu, with the paper
    cite Koskimaki, Siirtola and Roning, "MyoGym: introducing an open gym data set for activity recognition collected
    using Myo armband", UbiComp 2017 adjunct

Layout
    `MyoGym.mat` (MATLAB v5): `raw_data` (rows, 17), from 0: EMG clock, EMG of 8 channels, acceleration clock 9,
    acceleration 10-12, angular rate clock 13, angular rate 14-16; `raw_data_labels` (rows, 2): exercise 1-30 or 99 for
    null, person. Clocks count microseconds. There are 2,017,041 rows; the file also holds
    features.

Quirks
    The armband sends packets, and a row was written for every packet of any of its sensors. Motion is therefore repeated
    from row to row, at irregular times. Rows are sorted by person and clock, repeats are dropped, and the rest is put on
    a regular clock. Acceleration and angular rate arrive in one packet, so the acceleration's clock is used for both. A
    clock of 0 means that the sensor had not sent a packet yet: those rows hold no motion.
    The unit of the angular rate is not in the file; it follows from the values, which are multiples of 1/16, the
    armband's resolution in deg/s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording
from otolith.datasets.card import Dataset
from otolith.datasets.official import find, known_labels, stamped_recordings
from otolith.formats.matlab import matrices
from otolith.storage.files import Archive

EXERCISES = {
    1: "seated cable rows",
    2: "one-arm dumbbell row",
    3: "wide-grip pulldown behind the neck",
    4: "bent over barbell row",
    5: "reverse grip bent-over row",
    6: "wide-grip front pulldown",
    7: "bench press",
    8: "incline dumbbell flyes",
    9: "incline dumbbell press",
    10: "dumbbell flyes",
    11: "pushups",
    12: "leverage chest press",
    13: "close-grip barbell bench press",
    14: "bar skullcrusher",
    15: "triceps pushdown",
    16: "bench dip",
    17: "overhead triceps extension",
    18: "tricep dumbbell kickback",
    19: "spider curl",
    20: "dumbbell alternate bicep curl",
    21: "incline hammer curl",
    22: "concentration curl",
    23: "cable curl",
    24: "hammer curl",
    25: "upright barbell row",
    26: "side lateral raise",
    27: "front dumbbell raise",
    28: "seated dumbbell shoulder press",
    29: "car drivers",
    30: "lying rear delt raise",
}
NULL = 99
RATE_HZ = 50.0
COLUMNS = {"raw_data": 17, "raw_data_labels": 2}
_MEMBER = re.compile(r"(?:^|/)MyoGym\.mat$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return the only file as one part.

    Args:
        source: `MyoGym.mat`, a folder or zip file that holds it, or a folder that holds that.
        placement: `forearm`.
        subset: `with-null`, or `activities`, in which the time between exercises has no label.

    Raises:
        FileNotFoundError: the official file is missing.
    """
    del placement
    if source is not None and source.name == "MyoGym.mat":
        source = source.parent
    path, matches = find(source, DATASET, _MEMBER)
    names = EXERCISES if subset == "activities" else {**EXERCISES, NULL: "null"}
    return [Part("MyoGym.mat", partial(_read, path, matches[0].string, names))]


def _read(path: Path, member: str, names: dict[int, str]) -> Iterator[Recording]:
    """Yield the recordings, person by person."""
    with Archive(path) as archive:
        values, labels = _arrays(archive.read(member), member)
    exercise = known_labels(labels[:, 0], [*EXERCISES, NULL], member)
    person = known_labels(labels[:, 1], range(1, 11), member)
    signal = values[:, [10, 11, 12, 14, 15, 16]] * np.repeat([1.0, np.pi / 180], 3)
    for subject in np.unique(person).tolist():
        mine = (person == subject) & (values[:, 9] > 0)
        yield from stamped_recordings(
            f"person{subject}",
            values[mine, 9] / 1e6,
            signal[mine],
            exercise[mine],
            names,
            rate_hz=RATE_HZ,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=str(subject),
            placement="forearm",
        )


def _arrays(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 arrays (rows, 17) and (rows, 2); raise ValueError for any other type or shape."""
    found = matrices(data, name, COLUMNS)
    for key, columns in COLUMNS.items():
        if key not in found or found[key].ndim != 2 or found[key].shape[1] != columns:
            here = found[key].shape if key in found else "missing or not of numbers"
            raise ValueError(
                f"'{name}' is not the official MATLAB file: its {key} is {here}, expected numbers (rows, {columns}); "
                "download it again"
            )
    values, labels = (found[key].astype(np.float64) for key in COLUMNS)
    if len(values) != len(labels):
        raise ValueError(
            f"'{name}' is not the official MATLAB file: it has {len(values):,} rows but {len(labels):,} labels; "
            "download it again"
        )
    return values, labels


DATASET = Dataset(
    name="myogym",
    title="MyoGym",
    subjects=10,
    classes=(*EXERCISES.values(), "null"),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("forearm",),
    licence="none stated, open by its paper",
    origin="University of Oulu",
    cite="Koskimaki et al., UbiComp 2017 adjunct",
    expects="MyoGym.mat",
    parts=parts,
    subsets=("with-null", "activities"),
    terms="https://doi.org/10.1145/3123024.3124400",
)
