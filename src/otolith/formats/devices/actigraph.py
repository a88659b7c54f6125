"""ActiGraph's .gt3x files: a zip archive of `info.txt` and `log.bin`, whose records hold a second each.

The layout is ActiGraph's own description (github.com/actigraph/GT3X-File-Format). Records of 12-bit samples (ACTIVITY)
are decoded by actfast from a log that holds them alone, since it stops at the zeros that may lie between records and takes
a scale of 1/256 where the log has no parameters. It passes over records of 16-bit samples (ACTIVITY2), which are decoded
here.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from otolith.formats.devices.blocks import CHUNK_SAMPLES, MOST_SAMPLES, Chunk, DamagedError, Survey
from otolith.formats.devices.device_file import Series

_ACTIVITY, _BATTERY, _LUX, _PARAMETERS, _ACTIVITY2, _ACTIVITY3 = 0, 2, 5, 21, 26, 28
_SEPARATOR = 0x1E
_MOST_INFO = 1 << 16  # bytes
_MOST_RECORDS = 1 << 25  # a year of seconds
_ACCEL_SCALE, _SAMPLE_RATE = (0, 55), (1, 10)
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError)
_DEFAULT_SCALES = {"NEO": 341.0, "CLE": 341.0, "MRA": 341.0}  # by the first letters of the serial number; else 256


class _Record(NamedTuple):
    kind: int
    second: int
    payload: bytes


class _Log(NamedTuple):
    """Samples and slow measurements of a log, with its parameters."""

    kind: int
    starts: np.ndarray
    counts: np.ndarray
    slow: dict[int, np.ndarray]
    parameters: dict[tuple[int, int], int]
    damaged: str


def is_archive(path: Path) -> bool:
    """Return whether a zip archive holds what a .gt3x file does; of a damaged one its name decides."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "info.txt" in archive.namelist() and not {"log.bin", "activity.bin"}.isdisjoint(archive.namelist())
    except _BROKEN:
        return path.suffix.lower() == ".gt3x"


def survey(path: Path, *, skip_damaged: bool) -> Survey:
    """Walk the log of a file.

    Args:
        path: of the file, a zip archive.
        skip_damaged: keep what lies before the first damaged record instead of raising.

    Raises:
        DamagedError: the file is damaged or was cut off.
        ValueError: the file is of a kind that is not read.
    """
    info = _info(path)
    log = _walk(path)
    if log.damaged and not skip_damaged:
        raise DamagedError(log.damaged)
    if not len(log.starts):
        raise DamagedError(log.damaged or "its log holds no samples of acceleration")
    rate = float(log.parameters.get(_SAMPLE_RATE, 0) or _number(info, "Sample Rate"))
    if not 1 <= rate <= 1000:
        raise ValueError(f"it declares a sample rate of {rate:g} Hz; expected 1 to 1,000")
    serial = info.get("Serial Number", "")
    scale = _float(log.parameters.get(_ACCEL_SCALE, 0)) or _number(info, "Acceleration Scale")
    scale = scale or _DEFAULT_SCALES.get(serial[:3], 256.0)
    if not 16 <= scale <= 65_536:
        raise ValueError(f"it declares {scale:g} counts per g; expected 16 to 65,536")
    facts = {"device id": serial, "firmware": info.get("Firmware", "")}
    return Survey(
        device=f"ActiGraph {info.get('Device Type', '')}".strip(),
        rate_hz=rate,
        channels=3,
        starts_s=log.starts.astype(np.float64),
        counts=log.counts,
        chunks=lambda: _chunks(path, log),
        scale=np.full(3, 1 / scale),
        whole=log.kind == _ACTIVITY,
        damaged=(log.damaged,) if log.damaged else (),
        facts={key: value for key, value in facts.items() if value},
        light=_series(log.slow[_LUX], 1.0, "lux"),
        battery=_series(log.slow[_BATTERY], 0.001, "V"),
    )


def _info(path: Path) -> dict[str, str]:
    """Return the lines of `info.txt`, key -> value."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "log.bin" not in names and "activity.bin" in names:
                raise ValueError(
                    "it is of the first generation (firmware 2.5 and before, as in NHANES), which is not read; export it as "
                    "raw CSV with ActiLife"
                )
            if "log.bin" not in names or "info.txt" not in names:
                raise ValueError("it is a zip archive without info.txt and log.bin, which every .gt3x file has")
            with archive.open("info.txt") as file:
                text = file.read(_MOST_INFO).decode("utf-8", "replace")
    except _BROKEN as error:
        raise DamagedError(f"its archive is damaged or was cut off ({error})") from error
    return dict(re.findall(r"^([^:\r\n]+): *([^\r\n]*?)\s*$", text, re.MULTILINE))


def _number(info: dict[str, str], key: str) -> float:
    try:
        return float(info.get(key, "0").replace(",", "."))
    except ValueError:
        return 0.0


def _float(code: int) -> float:
    """Return a number of the device's code: a signed exponent of 8 bits and a signed fraction of 24."""
    exponent, fraction = code >> 24, code & 0xFFFFFF
    exponent -= (exponent & 0x80) << 1
    fraction -= (fraction & 0x800000) << 1
    return float(fraction / 8_388_608 * 2.0**exponent)


def _series(table: np.ndarray, factor: float, unit: str) -> Series | None:
    if not len(table):
        return None
    return Series(table[:, 0].astype(np.float64), (table[:, 1] * factor).astype(np.float32), unit)


def _records(file: IO[bytes] | io.BufferedIOBase) -> Iterator[_Record]:
    """Yield the records of a log.

    Raises:
        DamagedError: a record is damaged or cut off.
    """
    place, buffer = 0, b""
    while True:
        if len(buffer) < 8:
            buffer += file.read(1 << 20)
            if len(buffer) < 8:
                break
        at = 0
        while len(buffer) - at >= 8:
            if buffer[at] == 0:  # zeros between records belong to the format
                at += 1
                continue
            separator, kind, second, size = struct.unpack_from("<BBIH", buffer, at)
            if separator != _SEPARATOR:
                raise DamagedError(f"no record begins at byte {place + at:,} of its log: it is damaged")
            if len(buffer) - at < size + 9:
                more = file.read(1 << 20)
                if not more:
                    raise DamagedError(f"its log was cut off within the record at byte {place + at:,}")
                buffer, place, at = buffer[at:] + more, place + at, 0
                continue
            yield _Record(kind, second, buffer[at + 8 : at + 8 + size])
            at += size + 9
        buffer, place = buffer[at:], place + at
    if buffer.strip(b"\0"):
        raise DamagedError(f"its log was cut off at byte {place:,}")


def _walk(path: Path) -> _Log:
    """Walk all records; where one is damaged, what lies before is returned with the reason."""
    starts, counts = array("q"), array("q")
    slow = {_BATTERY: array("q"), _LUX: array("q")}
    parameters: dict[tuple[int, int], int] = {}
    kinds: set[int] = set()
    damaged = ""
    records = samples_read = 0
    try:
        with zipfile.ZipFile(path) as archive, archive.open("log.bin") as file:
            for kind, second, payload in _records(file):
                if kind in (_ACTIVITY, _ACTIVITY2, _ACTIVITY3) and (samples := _samples(kind, len(payload))):
                    kinds.add(kind)
                    starts.append(second)
                    counts.append(samples)
                    samples_read += samples
                elif kind in slow and len(payload) >= 2:
                    slow[kind].extend((second, int.from_bytes(payload[:2], "little")))
                elif kind == _PARAMETERS:
                    for space, name, value in struct.iter_unpack("<HHI", payload[: len(payload) // 8 * 8]):
                        parameters[space, name] = value
                records += 1
                if samples_read > MOST_SAMPLES or records > _MOST_RECORDS:
                    break
    except _BROKEN as error:
        damaged = f"its log is damaged or was cut off ({error})"
    except DamagedError as error:
        damaged = str(error)
    if samples_read > MOST_SAMPLES or records > _MOST_RECORDS:
        raise ValueError(f"its log holds more than {MOST_SAMPLES:,} samples or {_MOST_RECORDS:,} records")
    if len(kinds) > 1 or _ACTIVITY3 in kinds:
        raise ValueError(
            f"its log has samples in records of type {sorted(kinds)}; those of one type, 0 or 26, are read"
        )
    tables = {key: np.frombuffer(rows, np.int64).reshape(-1, 2) for key, rows in slow.items()}
    kind = kinds.pop() if kinds else _ACTIVITY
    return _Log(kind, np.array(starts), np.array(counts), tables, parameters, damaged)


def _samples(kind: int, size: int) -> int:
    """Return how many samples a payload holds; records of a byte mark idle sleep and connections."""
    return size * 8 // 36 if kind == _ACTIVITY else size // 6


def _chunks(path: Path, log: _Log) -> Iterator[Chunk]:
    """Yield the activity records that `_walk` counted, as whole files or decoded."""
    with zipfile.ZipFile(path) as archive, archive.open("log.bin") as file:
        records = _records(file)
        last, block = len(log.starts), 0
        while block < last:
            payloads: list[bytes] = []
            samples, first = 0, block
            while block < last and samples < CHUNK_SAMPLES:
                kind, _, payload = next(records)
                if kind == log.kind and (found := _samples(kind, len(payload))):
                    payloads.append(payload)
                    samples, block = samples + found, block + 1
            place = f"activity records {first + 1:,} to {block:,}"
            if log.kind == _ACTIVITY2:
                values = np.frombuffer(b"".join(part[: len(part) // 6 * 6] for part in payloads), "<i2")
                yield Chunk(b"", "", samples, values.reshape(-1, 3).astype(np.float32), place)
            else:
                yield Chunk(_container(payloads), ".gt3x", samples, None, place)


def _container(payloads: list[bytes]) -> bytes:
    """Return a .gt3x file of these activity records, whose scale is 1 so that they decode to counts."""
    parameters = struct.pack("<HHIHHI", *_ACCEL_SCALE, 0x01_400000, *_SAMPLE_RATE, 100)
    parts = [struct.pack("<BBIH", _SEPARATOR, _PARAMETERS, 0, len(parameters)), parameters, b"\0"]
    for payload in payloads:
        parts += [struct.pack("<BBIH", _SEPARATOR, _ACTIVITY, 0, len(payload)), payload, b"\0"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("info.txt", "Sample Rate: 100\nStart Date: 0\nLast Sample Time: 1\n")  # nothing is reserved
        archive.writestr("log.bin", b"".join(parts))
    return out.getvalue()
