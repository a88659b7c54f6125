"""UTD-MHAD: 8 people, 27 short actions, an inertial sensor on the right wrist or the right thigh.

Card
    people 8 (4 female, 4 male); recordings 861 (27 actions x 8 people x 4 trials, three of them missing)
    classes swipe left .. squat, see `ACTIONS`
    channels acceleration in g as published, angular rate in rad/s, published in deg/s
    rate 50 Hz; placement wrist for actions 1 to 21, thigh for 22 to 27
    licence free for research with citation; there is no formal text
    source University of Texas at Dallas, `Inertial.zip`
    cite Chen et al., "UTD-MHAD: A multimodal dataset for human action recognition utilizing a depth camera and a
    wearable inertial sensor", ICIP 2015

Layout
    `Inertial/a<1..27>_s<1..8>_t<1..4>_inertial.mat`, MATLAB 5, variable `d_iner` (time, 6): acceleration x y z (range
    8 g), angular rate x y z (range 1000 deg/s). Depth, skeleton and colour video lie in files of their own, which are
    not read here.

Quirks
    a8_s1_t4, a23_s6_t4 and a27_s8_t4 are missing in the official release. Recordings last 2 to 7 s. The place of the
    sensor follows from the action, so with `both` a model could tell the legs' six actions by how the sensor hangs;
    `wrist` and `thigh` keep to one place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find
from otolith.files import Archive
from otolith.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span

ACTIONS = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pickup and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
RATE_HZ = 50.0
_FIRST_ON_THIGH = 22
_MAX_STEPS = 1_000_000  # hours; the longest official file has 326
_MEMBER = re.compile(r"(?:^|/)(a(\d+)_s(\d+)_t(\d+))_inertial\.mat$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """One part a person.

    Args:
        source: `Inertial.zip`, the extracted folder, or a folder that holds either.
        placement: `both`, or the actions with the sensor on the `wrist` or the `thigh` alone.
        subset: `all`.

    Raises:
        FileNotFoundError: no official file is there.
        ValueError: a file of an unknown action.
    """
    del subset
    path, matches = find(source, DATASET, _MEMBER)
    people: dict[int, list[tuple[int, int, str, str]]] = {}
    for match in matches:
        action, subject, trial = (int(match[group]) for group in (2, 3, 4))
        if not 1 <= action <= len(ACTIONS):
            raise ValueError(f"'{match.string}': unknown action {action}; expected 1 to {len(ACTIONS)}")
        if placement in ("both", _placement(action)):
            people.setdefault(subject, []).append((action, trial, match[1], match.string))
    if not people:
        raise FileNotFoundError(f"'{path}' holds no action with the sensor on the {placement}; pass another placement")
    return [Part(f"s{subject}", partial(_read, path, sorted(people[subject]), subject)) for subject in sorted(people)]


def _placement(action: int) -> str:
    return "wrist" if action < _FIRST_ON_THIGH else "thigh"


def _read(path: Path, files: Sequence[tuple[int, int, str, str]], subject: int) -> Iterator[Recording]:
    """One recording a file, in order of action and trial."""
    with Archive(path) as archive:
        for action, _, name, member in files:
            signal = _signal(archive.read(member), member)
            yield Recording(
                name=name,
                signal=signal,
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER + GYROSCOPE,
                subject=str(subject),
                placement=_placement(action),
                spans=(Span(0.0, len(signal) / RATE_HZ, ACTIONS[action - 1]),),
            )


def _signal(data: bytes, name: str) -> np.ndarray:
    """(time, 6) float32: acceleration in g, angular rate in rad/s."""
    try:
        # What the file declares is looked at before it is loaded: a few compressed bytes can declare any size.
        declared = {key: (shape, kind) for key, shape, kind in whosmat(io.BytesIO(data))}  # type: ignore[arg-type]
        shape, kind = declared.get("d_iner", ((), "nothing"))
        if kind != "double" or len(shape) != 2 or shape[1] != 6 or not 0 < shape[0] <= _MAX_STEPS:
            raise ValueError(f"variable 'd_iner' is {kind} {shape}, expected double (time, 6)")
        values = np.array(loadmat(io.BytesIO(data), variable_names=["d_iner"])["d_iner"])  # type: ignore[arg-type]
    except Exception as error:  # damaged files raise nearly anything, zlib.error and IndexError included
        raise ValueError(f"'{name}' cannot be read as a MATLAB 5 file: {error}; download it again") from error
    values[:, 3:] = np.deg2rad(values[:, 3:])
    return values.astype(np.float32)


DATASET = Dataset(
    name="utd-mhad",
    title="UTD-MHAD",
    subjects=8,
    classes=ACTIONS,
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("both", "wrist", "thigh"),
    licence="research, with citation",
    origin="University of Texas at Dallas",
    cite="Chen et al., ICIP 2015",
    expects="Inertial.zip or Inertial/a<action>_s<person>_t<trial>_inertial.mat",
    parts=parts,
    remotes=(Remote("https://www.utdallas.edu/~kehtar/UTD-MAD/Inertial.zip", "Inertial.zip"),),
    terms="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
)
