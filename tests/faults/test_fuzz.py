"""Readers of files from elsewhere, with damaged files: a value or an error in words, whatever the damage.

`OTOLITH_SOAK_SECONDS` says how long `make soak` fuzzes each reader (600). A file that is found to break one is kept in
`found/`, named by its reader, and is read in `make test` for ever.
"""

import gzip
import hashlib
import io
import os
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

import clips
import device_files
from commands import RECIPE
from otolith.experiments import recipe
from otolith.formats import ReadOptions
from otolith.formats.gpmf import sensors
from otolith.formats.labels import read_labels
from otolith.formats.matlab import matrices
from otolith.formats.read import read_sessions

FOUND = Path(__file__).parent / "found"
SECONDS = float(os.environ.get("OTOLITH_SOAK_SECONDS", "600"))
WORDS = (ValueError, OSError, ImportError)
"""What the command line turns into one line."""
SMALL = ReadOptions(max_bytes=64 << 20)


def table() -> pd.DataFrame:
    step = np.arange(400)
    wave = np.stack([0.3 * np.sin(step / 7), 0.2 * np.cos(step / 9), 1 + 0.1 * np.sin(step / 5)], axis=1)
    return pd.DataFrame(np.c_[step / 50, wave].round(4), columns=["time", "acc_x", "acc_y", "acc_z"])


def packed(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def zipped(method: int) -> bytes:
    def write(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("a.csv", table().to_csv(index=False))

    return packed(write)


def sessions(path: Path) -> object:
    return [len(one.signal) for session in read_sessions([path], SMALL) for one in session.recordings]


MOTION = device_files.motion(900)
ORDER = clips.klv("ORIN", "c", b"XYZ")
GRAVITY = clips.sensor("ACCL", 10 * MOTION[:200], "m/s²", about=[ORDER])
SAMPLES: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object]]] = {
    "csv": ("a.csv", lambda: table().to_csv(index=False).encode(), sessions),
    "gzip": ("a.csv.gz", lambda: gzip.compress(table().to_csv(index=False).encode()), sessions),
    "zip": ("a.zip", lambda: zipped(zipfile.ZIP_DEFLATED), sessions),
    "lzma": ("a.zip", lambda: zipped(zipfile.ZIP_LZMA), sessions),
    "excel": ("a.xlsx", lambda: packed(lambda file: table().to_excel(file, index=False)), sessions),
    "parquet": ("a.parquet", lambda: packed(lambda file: table().to_parquet(file)), sessions),
    "axivity": ("a.cwa", lambda: device_files.cwa(MOTION), sessions),
    "actigraph": ("a.gt3x", lambda: device_files.gt3x(MOTION), sessions),
    "geneactiv": ("a.bin", lambda: device_files.geneactiv(MOTION), sessions),
    "matrix": ("a.bin", lambda: device_files.matrix(MOTION), sessions),
    "matlab": (
        "a.mat",
        lambda: packed(lambda file: savemat(file, {"x": MOTION})),
        lambda path: matrices(path.read_bytes(), "a.mat", ["x"]),
    ),
    "gpmf": (
        "a.gpmf",
        lambda: clips.device(GRAVITY),
        lambda path: list(sensors(path.read_bytes(), "a")),
    ),
    "labels": (
        "labels.csv",
        lambda: b"recording,start,end,label,person\na,0,10,walking,anna\nb,5,9,sitting,ben\n" * 20,
        read_labels,
    ),
    "recipe": ("r.toml", RECIPE.encode, recipe.load),
}


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One to four of: a flipped bit, a run of other bytes, a cut, a repeated or a removed piece, a number at an extreme."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not out:
            break
        at, size = draw.randrange(len(out)), draw.choice([1, 2, 4, 8, 64])
        kind = draw.randrange(7)
        if kind == 0:
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            out[at : at + size] = draw.randbytes(size)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = out[at : at + size] * draw.choice([1, 2, 50])
        elif kind == 4:
            del out[at : at + size]
        elif kind == 5:
            out[at : at + size] = draw.choice([b"\0", b"\xff", b"\x7f"]) * size
        else:
            out[at:at] = draw.choice(
                [b"nan", b"1e39", b"-inf", b"\0", b"99999999999999999999", b"\xef\xbb\xbf", b",", b'"']
            )
    return bytes(out)


def read_one(name: str, data: bytes, folder: Path) -> None:
    file, _, read = SAMPLES[name]
    path = folder / file
    path.write_bytes(data)
    try:
        read(path)
    except WORDS as error:
        assert str(error).strip(), "an error without words"
    except Exception:
        FOUND.mkdir(exist_ok=True)
        (FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        raise


def fuzz(name: str, folder: Path, seconds: float, most: int) -> int:
    draw, whole, tries = random.Random(name), SAMPLES[name][1](), 0
    until = time.monotonic() + seconds
    while tries < most and time.monotonic() < until:
        read_one(name, damaged(whole, draw), folder)
        tries += 1
    return tries


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("default")
def test_a_sound_file_is_read_and_damaged_ones_are_errors_in_words(name: str, tmp_path: Path) -> None:
    file, make, read = SAMPLES[name]
    (tmp_path / file).write_bytes(make())
    assert read(tmp_path / file) is not None
    assert fuzz(name, tmp_path, 60, 12) == 12


@pytest.mark.parametrize("found", sorted(FOUND.glob("*-*")) if FOUND.is_dir() else [], ids=lambda path: path.name)
@pytest.mark.filterwarnings("default")
def test_what_once_broke_a_reader_breaks_it_no_more(found: Path, tmp_path: Path) -> None:
    read_one(found.name.partition("-")[0], found.read_bytes(), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("default")
def test_ten_minutes_of_damage_to_each_reader(name: str, tmp_path: Path) -> None:
    tries = fuzz(name, tmp_path, SECONDS, 10**9)
    if to := os.environ.get("OTOLITH_SOAK_TABLE"):
        with Path(to).open("a") as file:
            file.write(f"| reader `{name}`, damaged files | {tries} | 0 |\n")
    assert tries
