"""Where tables lie: files, compressed files, members of archives, sheets of workbooks."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from otolith.formats.names import plain, tokens, words_of
from otolith.formats.sensor_words import Kind

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".tab", ".log", ".asc", ".parquet", ".pq", ".xlsx", ".xlsm")
"""Endings of files that may hold a table; each may be followed by .gz."""

_ARCHIVE_LIMIT = 10_000
_PLAIN_LIMIT = 8 << 30  # bytes of a table that is read without --max-bytes
_PACKED_LIMIT = 256 << 20  # of a compressed one; more where the file itself is larger than 1 % of that
_MOST_PACKED = 100
_NO_TABLE = re.compile(
    r"(?:^|/)(?:\.|__MACOSX)|\.narration\.csv$|(?:^|/)(?:readme|licen[cs]e|requirements|labels?|annotations?|offsets)[^/]*$",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table somewhere.

    Attributes:
        path: the file.
        member: of the archive, or the workbook's sheet; empty for a plain file.
        kind: how its rows are stored.
    """

    path: Path
    member: str = ""
    kind: Literal["text", "parquet", "sheet"] = "text"

    def __str__(self) -> str:
        return f"{self.path.name}: {self.member}" if self.member else self.path.name

    @property
    def stem(self) -> str:
        """Its name without folders and endings."""
        return stem(PurePosixPath(self.member or self.path.name).name)

    @contextmanager
    def open(self, max_bytes: int | None = None) -> Iterator[io.BufferedIOBase]:
        """Open the table's text, uncompressed.

        Args:
            max_bytes: the largest uncompressed size; None: see `byte_limit`.

        Raises:
            ValueError: it is damaged, or longer than that.
        """
        if self.kind == "sheet":
            yield io.BytesIO(_sheet(self.path, self.member, max_bytes))
            return
        try:
            with _raw(self.path, self.member) as raw:
                zipped = raw.peek(2)[:2] == b"\x1f\x8b"
                stream: io.BufferedIOBase = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw
                limit = byte_limit(self.path, max_bytes, packed=zipped or bool(self.member))
                yield io.BufferedReader(_Limited(stream, limit, str(self)), 1 << 18)
        except DAMAGED as error:
            raise ValueError(f"'{self}' is damaged or cut off: {error}") from error
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
                raise
            raise ValueError(f"'{self}' cannot be read: {error}") from error


@contextmanager
def _raw(path: Path, member: str) -> Iterator[io.BufferedReader]:
    if not member:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(member) as inside:
        yield io.BufferedReader(inside)  # type: ignore[arg-type]


DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    NotImplementedError,
    RuntimeError,
    IndexError,
)
"""What a damaged archive or compressed file may raise, apart from OSError."""


def byte_limit(path: Path, max_bytes: int | None, *, packed: bool) -> int:
    """Return how many bytes of a table are read.

    A few bytes may unpack to any number. A compressed table may be 100 times as large as its file, and 256 MiB always;
    recordings become 3 to 20 times smaller when they are compressed.

    Args:
        path: the file.
        max_bytes: of `ReadOptions`.
        packed: whether the table is compressed.
    """
    if max_bytes is not None:
        return max_bytes
    return min(_PLAIN_LIMIT, max(_PACKED_LIMIT, _MOST_PACKED * path.stat().st_size)) if packed else _PLAIN_LIMIT


def too_large(name: str, limit: int) -> ValueError:
    """Return the error that a table holds more than `limit` bytes."""
    return ValueError(f"'{name}' holds more than {limit:,} bytes; cut it into pieces, or allow more with --max-bytes")


class _Limited(io.RawIOBase):
    """A stream that refuses to give more than a number of bytes: an archive may unpack to any size."""

    def __init__(self, stream: io.BufferedIOBase, limit: int, name: str) -> None:
        self._stream, self._left, self._limit, self._name = stream, limit, limit, name

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer."""
        try:
            data = self._stream.read(len(buffer))
        except (zlib.error, lzma.LZMAError, EOFError) as error:
            raise ValueError(f"'{self._name}' is damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise too_large(self._name, self._limit)
        buffer[: len(data)] = data
        return len(data)


def stem(name: str) -> str:
    """Return a file's name without `.csv`, `.csv.gz` and the like."""
    bare = name[:-3] if name.lower().endswith((".gz", ".gzip")) else name
    for suffix in (*SUFFIXES, ".zip", ".mp4", ".cwa", ".gt3x", ".bin"):
        if bare.lower().endswith(suffix):
            return bare[: -len(suffix)]
    return bare.rsplit(".", 1)[0] if re.search(r"[^.]\.[A-Za-z]\w{0,6}$", bare) else bare


def tables_in(path: Path, max_bytes: int | None = None) -> list[Table]:
    """Return the tables that a file holds: one, or those of an archive or a workbook.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it holds no table; the message names what it is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no recording at '{path}'")
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PK\x03\x04" or head[:4] == b"PK\x05\x06":
        return _archived(path, max_bytes)
    if head[:4] == b"PAR1":
        return [Table(path, kind="parquet")]
    if head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise ValueError(f"'{path.name}' is an old Excel workbook (.xls); save it as .xlsx or as CSV")
    return [Table(path)]


def _archived(path: Path, max_bytes: int | None) -> list[Table]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename and not info.filename.endswith("/")]
    except (*DAMAGED, OSError, ValueError) as error:
        raise ValueError(f"'{path.name}' is a damaged zip file: {error}") from error
    names = [info.filename for info in infos]
    if "xl/workbook.xml" in names:
        return [Table(path, sheet, "sheet") for sheet in _sheets(path, max_bytes)]
    if "log.bin" in names or ("info.txt" in names and any(name.endswith(".bin") for name in names)):
        raise ValueError(f"'{path.name}' is a device file of ActiGraph, but damaged; export it as CSV")
    if len(infos) > _ARCHIVE_LIMIT:
        raise ValueError(f"'{path.name}' holds {len(infos):,} files; expected at most {_ARCHIVE_LIMIT:,}: unpack it")
    found = [Table(path, name) for name in sorted(names) if may_be_table(name)]
    if not found:
        raise ValueError(f"'{path.name}' is a zip file without a table; it holds: {', '.join(names[:5]) or 'nothing'}")
    return found


def may_be_table(name: str) -> bool:
    """Return whether a file in a folder or archive may hold a table of motion, by its name."""
    bare = name[:-3] if name.lower().endswith(".gz") else name
    return bare.lower().endswith(SUFFIXES) and not any(
        _NO_TABLE.search(part) for part in (name, *PurePosixPath(name).parts)
    )


_RESULTS = {
    ".timeline.csv": b"start_s,end_s,label",
    ".timeline.parquet": b"PAR1",
    ".summary.csv": b"label,seconds,share",
    ".days.csv": b"day,",
    ".hours.csv": b"day,hour,",
    "estimate.csv": b"fold,candidate,people",
}


def is_result(path: Path) -> bool:
    """Return whether a file is a result that Otolith wrote, such as a timeline, by its name and first bytes."""
    first = next((first for end, first in _RESULTS.items() if path.name.lower().endswith(end)), None)
    if first is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(first)) == first


def _workbook(path: Path, max_bytes: int | None):  # type: ignore[no-untyped-def]  # openpyxl has no types
    limit = byte_limit(path, max_bytes, packed=True)
    with zipfile.ZipFile(path) as archive:  # no member gives more than it declares
        if sum(info.file_size for info in archive.infolist()) > limit:
            raise too_large(path.name, limit)
    try:
        import openpyxl
    except ImportError as error:
        raise ValueError(
            f"'{path.name}' is an Excel workbook; save it as CSV, or install the extra: pip install 'otolith[tables]'"
        ) from error
    try:
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        raise ValueError(f"'{path.name}' cannot be read as an Excel workbook: {error}; save it as CSV") from error


def _sheets(path: Path, max_bytes: int | None) -> list[str]:
    book = _workbook(path, max_bytes)
    try:
        names = [str(name) for name in book.sheetnames]
    finally:
        book.close()
    if not names:
        raise ValueError(f"'{path.name}' is an Excel workbook without a sheet")
    return names


@functools.lru_cache(maxsize=2)
def _sheet(path: Path, name: str, max_bytes: int | None) -> bytes:
    """A sheet as tab-separated text: dates in ISO, numbers in full."""
    book = _workbook(path, max_bytes)
    try:
        lines = []
        for row in book[name].iter_rows(values_only=True):
            cells = [
                "" if cell is None else cell.isoformat() if hasattr(cell, "isoformat") else f"{cell}" for cell in row
            ]
            lines.append("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in cells))
    except Exception as error:
        raise ValueError(f"'{path.name}', sheet '{name}', cannot be read: {error}; save it as CSV") from error
    finally:
        book.close()
    return "\n".join(lines).encode()


_ACC = words_of("""
    acc accel accl accelerometer acceleration accelerations accelerometers
    """)
_GYRO = words_of("""
    gyr gyro gyroscope gyroscopes gyros rotationrate angularvelocity angularrate
    """)
_QUALIFIERS = words_of("""
    total uncalibrated calibrated sensor linear user rate velocity rotation angular
    """)
_OTHER = words_of("""
    orientation magnetometer mag magnetic barometer location metadata annotation microphone battery pedometer
    light heart rate hr bvp eda ibi temp temperature tags gps pressure proximity altimeter steps compass
    """)
_GLUED = re.compile(
    r"^(total|linear|user|)(acceleration|accelerometer|accel|acc|gyroscope|gyro|gyr|gravity|magnetometer|mag)"
    r"(uncalibrated|calibrated|)$"
)


def role(name: str) -> tuple[Kind, str, tuple[str, ...]]:
    """Return what a file's name says: the sensor, whether it is `total`, `uncalibrated` or "", and the name's other words.

    `p1_acc` and `p1_gyro` have the same other words, so they belong together. A name that says more than another sensor's
    (`light_walk`) names no sensor.
    """
    words = [part for word in tokens(plain(stem(name))) for part in _unglue(word)]
    said = set(words)
    quality = "total" if "total" in said else "uncalibrated" if "uncalibrated" in said else ""
    kind: Kind = ""
    if said & _GYRO or {"rotation", "rate"} <= said or ("angular" in said and said & {"velocity", "rate"}):
        kind = "gyro"
    elif "gravity" in said and not said & _ACC:
        kind = "gravity"
    elif said & _ACC:
        kind = "linear" if said & {"linear", "user"} else "acc"
    elif said & _OTHER and said <= _OTHER | _QUALIFIERS:
        return "other", quality, ()
    if kind == "":
        return "", "", tuple(words)
    left = tuple(word for word in words if word not in _ACC | _GYRO | _QUALIFIERS | {"gravity"})
    return kind, quality, left


def without_others(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name's words without those of sensors that are not read: `p1` for `p1 mag`."""
    return tuple(word for word in words if word not in _OTHER)


def _unglue(word: str) -> list[str]:
    found = _GLUED.match(word)
    return [part for part in found.groups() if part] if found else [word]
