"""Small files that unpack to, or claim, far more than they hold are refused before the memory is taken."""

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otolith.data.arrays import loaded
from otolith.formats import ReadOptions
from otolith.formats.read import read_sessions
from otolith.formats.source import Table
from otolith.storage import tensors
from otolith.storage.files import Archive

HEAD = b"time,acc_x,acc_y,acc_z\n"
ROWS = b"".join(b"%.2f,0.1,0.2,%.3f\n" % (step / 50, 0.9 + step % 7 / 50) for step in range(3000))


@contextmanager
def little_memory(most: int = 64 << 20) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def bomb(path: Path, kind: str, size: int) -> Path:
    """A table that unpacks to more than `size` bytes: rows, then blanks."""
    if kind == "gz":
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(HEAD + ROWS)
            for _ in range(size >> 20):
                file.write(b" " * (1 << 20))
    elif kind in ("zip", "lzma"):
        method = zipfile.ZIP_LZMA if kind == "lzma" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive, archive.open("a.csv", "w") as file:
            file.write(HEAD + ROWS)
            for _ in range(size >> 20):
                file.write(b" " * (1 << 20))
    elif kind == "xlsx":
        pd.DataFrame({"time": [0, 1], "acc_x": 1.0, "acc_y": 1.0, "acc_z": 1.0}).to_excel(path, index=False)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("xl/more.xml", b" " * size)
    else:
        constant = pd.DataFrame({name: np.ones(size // 8, np.float32) for name in ("time", "acc_x", "acc_y", "acc_z")})
        constant.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["gz", "zip", "lzma", "xlsx", "parquet"])
def test_a_table_that_unpacks_to_more_than_is_allowed_is_refused(tmp_path: Path, kind: str) -> None:
    path = bomb(tmp_path / f"a.{'csv.gz' if kind == 'gz' else 'zip' if kind == 'lzma' else kind}", kind, 4 << 20)
    limit = ReadOptions(max_bytes=2 << 20)
    with pytest.raises(
        ValueError, match=r"a\.\S+( a\.csv)?' holds more than 2,097,152 bytes; .* allow more with --max"
    ):
        read_sessions([path], limit)


def test_without_an_option_a_compressed_table_is_at_most_a_hundred_times_its_file(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.csv.gz", "gz", 260 << 20)
    assert path.stat().st_size < 2 << 20
    with (
        little_memory(),
        pytest.raises(ValueError, match="holds more than 268,435,456 bytes"),
        Table(path).open() as file,
    ):
        while file.read(1 << 20):
            pass


@pytest.mark.parametrize("max_bytes", [0, -1])
def test_a_limit_of_nothing_is_refused(max_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"--max-bytes is .*; expected a number of bytes, 1 or more"):
        ReadOptions(max_bytes=max_bytes)


def unnamed_member(method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("x", b"1")
        archive.writestr("a.csv", HEAD + ROWS)
    data = stream.getvalue()  # the name of the first member, of one letter, is taken out of both headers
    local = data.replace(struct.pack("<HH", 1, 0) + b"x", struct.pack("<HH", 0, 1) + b"x", 1)
    place = local.index(b"PK\x01\x02")
    central = bytearray(local)
    central[place + 28 : place + 32] = struct.pack("<HH", 0, 1)
    return bytes(central)


def test_a_member_without_a_name_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(unnamed_member())
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["", "a.csv"]
    with Archive(path) as archive:
        assert archive.names == ["a.csv"]
    assert len(read_sessions([path])) == 1


def test_a_damaged_lzma_member_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", HEAD + ROWS)
    assert len(read_sessions([path])) == 1
    data = bytearray(path.read_bytes())
    data[60:200] = bytes(140)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a\.zip: a\.csv' is damaged"):
        read_sessions([path])
    with Archive(path) as archive, pytest.raises(ValueError, match=r"member 'a\.csv' .* is damaged"):
        archive.read("a.csv")


def claiming(path: Path, size: int) -> None:
    text = b'{"x":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size // 4, size)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(900))


def test_tensors_that_claim_more_than_their_file_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    claiming(path, 400 * 10**9)
    with little_memory(), pytest.raises(ValueError, match="is not a complete safetensors file"):
        tensors.read(path)
    path.write_bytes(struct.pack("<Q", 400 * 10**9) + bytes(1000))
    with little_memory(), pytest.raises(ValueError, match="is not a complete safetensors file"):
        tensors.read(path)


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 3, 100), np.float32))
    data = path.read_bytes().replace(b"(2, 3, 100)", b"(9999,3,99)")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.npy' cannot be read"):
        loaded(path, "x")
