"""SPAR: the published file, and pickles that try to run code."""

import importlib.util
import io
import os
import pickle
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets import DATASETS, spar

installed = pytest.mark.skipif(
    importlib.util.find_spec("seglearn") is None, reason="seglearn, which ships the recordings, is not installed"
)


@pytest.fixture(scope="module")
def real() -> list[Recording]:
    sys.modules.pop("seglearn", None)
    return list(spar.DATASET.read(None))


@installed
def test_the_published_file_is_read_without_importing_its_package(real: list[Recording]) -> None:
    assert "seglearn" not in sys.modules
    assert len(real) == len({recording.name for recording in real}) == 140
    assert Counter(recording.subject for recording in real) == {str(person): 14 for person in range(1, 11)}
    assert Counter(span.label for recording in real for span in recording.spans) == dict.fromkeys(spar.EXERCISES, 20)
    assert sum(len(recording.signal) for recording in real) == 244_102
    assert DATASETS["spar"].subjects == 10 and len(DATASETS["spar"].classes) == 7


@installed
def test_the_published_file_is_in_g_with_one_span_and_one_of_each_exercise_side_and_person(
    real: list[Recording],
) -> None:
    signal = np.concatenate([recording.signal for recording in real])
    assert abs(np.median(np.linalg.norm(signal[:, :3], axis=1)) - 1) < 0.1  # g
    for recording in real:
        (span,) = recording.spans
        assert (span.start_s, span.stop_s) == (0.0, recording.seconds)
    sides = Counter((r.spans[0].label, r.subject, r.name.rsplit("-", 1)[1]) for r in real)
    assert len(sides) == 140 and {side for _, _, side in sides} == {"left", "right"}


@installed
def test_the_file_may_be_given_itself_or_by_its_folder(real: list[Recording]) -> None:
    spec = importlib.util.find_spec("seglearn")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "data"
    for source in (folder, folder / spar.FILE):
        np.testing.assert_array_equal(next(spar.DATASET.read(source)).signal, real[0].signal)


def test_an_absent_package_and_an_absent_file_are_errors_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"SPAR not found: expected watch_dataset\.npy .*; nothing at '"):
        next(spar.DATASET.read(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=r"seglearn, which is not installed; run: pip install 'otolith\[demo\]'"
    ):
        next(spar.DATASET.read(None))


def npy(body: bytes) -> bytes:
    """A .npy file that claims to hold one pickled object."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + body


def calling(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls a function when it is loaded."""

    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + pickle.dumps(arguments, 2)[2:-1] + b"R."


class Shell:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def hostile(kind: str, marker: Path) -> bytes:
    """A pickle that writes `marker` when an ordinary unpickler loads it."""
    return {
        "os.system": lambda: pickle.dumps({"X": [Shell(f"echo > '{marker}'")]}),
        "eval": lambda: calling("builtins", "eval", f"open({str(marker)!r}, 'w').close()"),
        "numpy.save": lambda: calling("numpy", "save", f"{marker}", [1]),
        "dotted name": lambda: calling("numpy", "lib.format.open_memmap", f"{marker}", "w+", "f8", (1,)),
    }[kind]()


@pytest.mark.parametrize("kind", ["os.system", "eval", "numpy.save", "dotted name"])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(tmp_path: Path, kind: str) -> None:
    ran, refused = tmp_path / "ran.npy", tmp_path / "refused.npy"
    pickle.loads(hostile(kind, ran))
    assert ran.exists()  # the attack works on an unpickler that lets it
    with pytest.raises(ValueError, match=r"not a pickled array of plain NumPy arrays: '.+' is not a NumPy array type"):
        spar.restricted_load(npy(hostile(kind, refused)))
    assert not refused.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("numpy", "load"), ("numpy", "ndarray.tofile"), ("builtins", "getattr"), ("functools", "partial")],
)
def test_no_name_beyond_the_array_constructors_is_found(module: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{module}\.{re.escape(name)}' is not a NumPy array type"):
        spar.restricted_load(npy(calling(module, name, "x")))


def test_another_file_under_the_published_name_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / spar.FILE).write_bytes(npy(hostile("os.system", tmp_path / "marker")))
    opened = []
    monkeypatch.setattr(spar, "restricted_load", opened.append)
    with pytest.raises(ValueError, match=r"is not the published file: its SHA-256 .* it was not opened; reinstall"):
        next(spar.DATASET.read(tmp_path))
    assert not opened and not (tmp_path / "marker").exists()


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=True)
    return stream.getvalue()


SMALL = {"X": [np.ones((4, 6)), np.zeros((2, 6), np.float32)], "y": np.arange(2), "text": "abc"}


def test_plain_arrays_come_back_and_every_truncation_is_an_error() -> None:
    data = saved(np.array(SMALL, dtype=object))
    value = spar.restricted_load(data)
    assert value.keys() == SMALL.keys() and value["text"] == "abc"
    for ours, theirs in zip([*value["X"], value["y"]], [*SMALL["X"], SMALL["y"]], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            spar.restricted_load(data[:length])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a pickled array"),
        (b"PK\x03\x04 this is a zip file", "not a pickled array"),
        (pickle.dumps(SMALL), "not a pickled array"),
        (saved(np.ones(3)), r"holds float64 \(3,\), expected one pickled object"),
        (saved(np.array([SMALL, SMALL], dtype=object)), r"holds object \(2,\), expected one pickled object"),
        (b"\x93NUMPY\x03\x00", "not version 1.0"),
        (npy(pickle.dumps(None)), "not a pickled array of plain NumPy arrays"),
        (npy(calling("_codecs", "encode", "x", "rot13")), "refused encoding 'rot13'"),
        (npy(calling("numpy", "ndarray", (1 << 50,))), "not a pickled array of plain NumPy arrays"),
    ],
    ids=["empty", "zip", "bare pickle", "numbers", "two objects", "version 3", "None", "encoding", "a petabyte"],
)
def test_bytes_that_are_no_such_file_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spar.restricted_load(data)


def test_an_array_that_holds_no_dictionary_is_refused() -> None:
    array = np.empty((), dtype=object)
    array[()] = [1, 2]
    with pytest.raises(ValueError, match="holds a list, expected a dictionary"):
        spar.restricted_load(saved(array))
