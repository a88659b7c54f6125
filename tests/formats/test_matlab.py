"""The reader of MATLAB 5 files gives what SciPy gives, and an error where SciPy would end the process."""

import io
import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from otolith.formats.matlab import matrices

random = np.random.default_rng(0)
ARRAYS = {
    "double": random.normal(size=(7, 6)),
    "single": random.normal(size=(3, 2)).astype(np.float32),
    "depth": random.integers(0, 4000, (4, 5, 3)).astype(np.uint16),
    "tiny": np.array([[3]], dtype=np.uint8),
    "whole": np.arange(6.0).reshape(2, 3),  # MATLAB stores such doubles in smaller types
    "signed": np.array([[-1, 2]], dtype=np.int64),
}


def written(compressed: bool, **more: object) -> bytes:
    file = io.BytesIO()
    savemat(file, {**ARRAYS, **more}, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_what_scipy_reads(compressed: bool) -> None:
    data = written(compressed, text="words", cell=np.array([1, "a"], dtype=object), record={"a": 1.0})
    theirs = loadmat(io.BytesIO(data))
    ours = matrices(data, "x.mat", [*ARRAYS, "text", "cell", "record", "missing"])
    assert set(ours) == set(ARRAYS)
    for name, values in ours.items():
        assert values.dtype == theirs[name].dtype
        assert np.array_equal(values, theirs[name])


def test_only_what_is_wanted() -> None:
    assert list(matrices(written(True), "x.mat", ["depth"])) == ["depth"]


def test_a_double_stored_as_bytes_and_a_big_endian_file() -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    body = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 3)) + element(1, b"a")
    body += element(2, bytes([1, 2, 250]))
    data = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    values = matrices(data, "x.mat", ["a"])["a"]
    assert values.dtype == np.float64 and values.tolist() == [[1.0, 2.0, 250.0]]


@pytest.mark.parametrize("compressed", [False, True])
def test_altered_and_truncated_files_give_an_error_or_the_values_and_never_end_the_process(compressed: bool) -> None:
    data = written(compressed)
    random = np.random.default_rng(1)
    refused = 0
    for turn in range(1500):
        broken = bytearray(data)
        for _ in range(random.integers(1, 4)):
            broken[random.integers(124, len(data))] = random.integers(256)
        if turn % 5 == 0:
            broken = broken[: random.integers(len(data))]
        try:
            for values in matrices(bytes(broken), "x.mat", list(ARRAYS)).values():
                assert values.nbytes < 1 << 20
        except ValueError as error:
            assert str(error).startswith("'x.mat' cannot be read as a MATLAB 5 file: ")
            refused += 1
    assert refused > 200


def test_what_declares_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = zlib.compress(struct.pack("<II", 14, 1 << 31) + bytes(1 << 20))
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(bomb)) + bomb
    with pytest.raises(ValueError, match=r"declares 2,147,483,648 bytes, more than 1,073,741,824; download it again"):
        matrices(data, "x.mat", ["a"])
    with pytest.raises(ValueError, match=r"declares .*, more than 100 bytes|declares .* bytes, more than 100"):
        matrices(written(True), "x.mat", ["double"], max_bytes=100)


def test_other_formats_are_named() -> None:
    with pytest.raises(ValueError, match=r"it is of MATLAB 7\.3 \(HDF5\); save it with -v7"):
        matrices(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), "x.mat", ["a"])
    with pytest.raises(ValueError, match="has no MATLAB 5 header in its 5 bytes"):
        matrices(b"hello", "x.mat", ["a"])
