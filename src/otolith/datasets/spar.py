"""SPAR: 10 people, 7 shoulder exercises, a smartwatch on the wrist. Ships inside the PyPI package seglearn.

Card
    people 10; recordings 140 (7 exercises x 10 people x left and right side)
    classes pendulum, abduction, forward elevation, internal rotation, external rotation, trapezius extension,
    upright row
    channels acceleration in g, angular rate in rad/s, both as published
    rate 50 Hz; placement wrist
    licence BSD-3-Clause (that of the package)
    source PyPI seglearn 1.2.5, `seglearn/data/watch_dataset.npy`
    cite Burns et al., "Shoulder physiotherapy exercise recognition", Physiological Measurement 2018, arXiv 1802.01489

Quirks
    The file is a pickled array, and unpickling can run arbitrary code. Therefore the package is located without importing
    it, the file must have the known SHA-256, and the unpickler allows only the names that rebuild NumPy arrays.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset
from otolith.storage.files import sha256

SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
RATE_HZ = 50.0
EXERCISES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
)
FILE = "watch_dataset.npy"


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return the only file as one part.

    Args:
        source: the file, or a folder that holds it; None: the file in the installed package seglearn.
        placement: `wrist`.
        subset: `all`.

    Raises:
        FileNotFoundError: seglearn is not installed, or `source` does not hold the file.
    """
    del placement, subset
    path = _installed() if source is None else (source / FILE if source.is_dir() else source)
    if not path.is_file():
        raise FileNotFoundError(f"SPAR not found: expected {DATASET.expects}; nothing at '{path}'")
    return [Part(FILE, partial(_read, path))]


def _read(path: Path) -> Iterator[Recording]:
    """Yield one recording per exercise, side and person, in the file's order."""
    digest = sha256(path)
    if digest != SHA256:
        raise ValueError(
            f"'{path}' is not the published file: its SHA-256 is {digest[:16]}..., expected {SHA256[:16]}...; "
            "it was not opened; reinstall seglearn"
        )
    data = restricted_load(path.read_bytes())
    for index, (rows, label, subject, side) in enumerate(
        zip(data["X"], data["y"], data["subject"], data["side"], strict=True)
    ):
        signal = np.asarray(rows, dtype=np.float32)
        exercise = EXERCISES[int(label)]
        yield Recording(
            name=f"{index:03d}-{exercise.replace(' ', '-')}-{'right' if side else 'left'}",
            signal=signal,
            rate_hz=RATE_HZ,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=str(int(subject)),
            placement="wrist",
            spans=(Span(0.0, len(signal) / RATE_HZ, exercise),),
        )


def _installed() -> Path:
    found = importlib.util.find_spec("seglearn")  # locates a top-level package without running it
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            "SPAR ships inside the package seglearn, which is not installed; run: pip install 'otolith[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "data" / FILE


def _encode(text: str, encoding: str) -> bytes:
    """Replace `_codecs.encode`, with which old pickles encode bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused encoding {encoding!r}")
    return text.encode("latin1")


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    rebuild = np.zeros(1).__reduce__()[0]  # NumPy's array constructor; its module differs between versions
    return {
        ("numpy.core.multiarray", "_reconstruct"): rebuild,  # type: ignore[dict-item]
        ("numpy._core.multiarray", "_reconstruct"): rebuild,  # type: ignore[dict-item]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _allowed()[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"'{module}.{name}' is not a NumPy array type") from None


def restricted_load(data: bytes) -> dict[str, Any]:
    """Return the dictionary in a pickled `.npy` file, built only from NumPy arrays, lists and strings.

    Raises:
        ValueError: the bytes are not such a file, or name a type other than a NumPy array type.
    """
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not version 1.0 of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype != np.dtype(object) or shape != ():
            raise ValueError(f"holds {dtype} {shape}, expected one pickled object")
        value = _ArraysOnly(stream, encoding="latin1").load().item()
    except Exception as error:  # damaged pickles raise almost any exception, including MemoryError
        raise ValueError(f"not a pickled array of plain NumPy arrays: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"holds a {type(value).__name__}, expected a dictionary")
    return value


DATASET = Dataset(
    name="spar",
    title="SPAR shoulder exercises",
    subjects=10,
    classes=EXERCISES,
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("wrist",),
    licence="BSD-3-Clause",
    origin="PyPI package seglearn",
    cite="Burns et al., Physiol. Meas. 2018",
    expects="watch_dataset.npy of the package seglearn",
    parts=parts,
)
