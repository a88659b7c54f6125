"""Axivity's .cwa files (AX3 and AX6): a header of 1,024 bytes, then sectors of 512 bytes.

The layout is Open Movement's (`Docs/ax3/cwa.h` of github.com/openmovementproject/openmovement). Every sector has a checksum,
its own time and settings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from otolith.formats.devices.blocks import CHUNK_SAMPLES, Chunk, DamagedError, Survey
from otolith.formats.devices.device_file import Series

MAGIC = b"MD\xfc\x03"  # a packet of type MD with 1,020 bytes after its size

_HEADER, _SECTOR = 1024, 512
_BATCH = 1 << 15  # sectors read at a time
_FIELDS = np.dtype(
    {
        "names": [
            "magic",
            "size",
            "fraction",
            "stamp",
            "light",
            "temperature",
            "battery",
            "rate",
            "axes",
            "shift",
            "count",
        ],
        "formats": ["S2", "<u2", "<u2", "<u4", "<u2", "<u2", "u1", "u1", "u1", "<i2", "<u2"],
        "offsets": [0, 2, 4, 14, 18, 20, 23, 24, 25, 26, 28],
        "itemsize": _SECTOR,
    }
)
_HARDWARE = {0x64: "AX6", 0x00: "AX3", 0x17: "AX3", 0xFF: "AX3"}


def survey(path: Path, *, skip_damaged: bool) -> Survey:
    """Walk the sectors of a file.

    Args:
        path: of the file, which begins with `MAGIC`.
        skip_damaged: leave damaged sectors out instead of raising.

    Raises:
        DamagedError: the file is damaged or was cut off.
        ValueError: the file is of a kind that is not read.
    """
    size = path.stat().st_size
    count, rest = divmod(size - _HEADER, _SECTOR)
    if count < 1:
        raise DamagedError(
            f"it has {size:,} bytes, and no sector of samples after its header: it was cut off or is empty"
        )
    if rest and not skip_damaged:
        raise DamagedError(f"its last {rest} bytes are no whole sector: it was cut off")
    sectors = np.memmap(path, np.uint8, "r", _HEADER, (count, _SECTOR))
    fields, good = _read(sectors)
    found = fields[good]
    if not good.all() and not skip_damaged:
        sector = int(np.argmin(good))
        raise DamagedError(
            f"{np.count_nonzero(~good):,} of {count:,} sectors are damaged, the first at byte {_HEADER + sector * _SECTOR:,}"
        )
    if not len(found):
        raise DamagedError(f"none of its {count:,} sectors is whole")
    rate_code, axes, scale_code = (np.unique(found[key] & mask) for key, mask in _SETTINGS)
    if len(rate_code) > 1 or len(axes) > 1 or len(scale_code) > 1:
        raise ValueError("its sectors differ in their settings (rate, axes or range), which one recording does not")
    rate = 3200.0 / 2.0 ** (15 - int(rate_code[0] & 15))
    columns = 6 if axes[0] >> 4 >= 6 else 3
    starts = _starts(found, rate)
    with path.open("rb") as file:
        header = file.read(_HEADER)
    low, high = struct.unpack_from("<H", header, 5)[0], struct.unpack_from("<H", header, 11)[0]
    device = f"Axivity {_HARDWARE.get(header[4], 'AX3')}"
    return Survey(
        device=device,
        rate_hz=rate,
        channels=columns,
        starts_s=starts,
        counts=found["count"].astype(np.int64),
        chunks=lambda: _chunks(sectors, np.flatnonzero(good), header),
        scale=np.array([1.0] * 3 + [1.0] * (columns - 3)),
        damaged=tuple(f"sector at byte {_HEADER + int(row) * _SECTOR:,}" for row in np.flatnonzero(~good))
        + ((f"last {rest} bytes",) if rest else ()),
        facts={
            "device id": str(low | (0 if high == 0xFFFF else high) << 16),
            "firmware": str(header[41]),
            "range": f"{16 >> (int(rate_code[0]) >> 6)} g",
        },
        temperature=Series(starts, ((found["temperature"] & 0x3FF) * 75 / 256 - 50).astype(np.float32), "deg C"),
        light=Series(starts, (found["light"] & 0x3FF).astype(np.float32), "raw, logarithmic"),
        battery=Series(starts, (3 * (found["battery"] / 256 + 1)).astype(np.float32), "V"),
    )


_SETTINGS = (("rate", np.uint8(0xFF)), ("axes", np.uint8(0xFF)), ("light", np.uint16(0xFC00)))


def _read(sectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all fields, and (sectors,) which sectors are whole."""
    fields, good = np.empty(len(sectors), [(name, _FIELDS[name]) for name in _FIELDS.names or ()]), []
    for first in range(0, len(sectors), _BATCH):
        raw = np.array(sectors[first : first + _BATCH])
        part, words = raw.view(_FIELDS)[:, 0], raw.view("<u2")
        for name in fields.dtype.names or ():
            fields[name][first : first + len(part)] = part[name]
        per_sample = np.where(part["axes"] & 15, (part["axes"] >> 4) * 2, 4)
        good.append(
            (part["magic"] == b"AX")
            & (part["size"] == _SECTOR - 4)
            & (words.sum(axis=1, dtype=np.uint16) == 0)
            & (part["rate"] & 15 >= 6)  # 6.25 Hz; older firmware, without a rate in each sector, has 0
            & np.isin(part["axes"], [0x30, 0x32, 0x62, 0x92])
            & (part["count"] >= 1)
            & (part["count"] * per_sample <= 480)
            & _is_moment(part["stamp"])
        )
    return fields, np.concatenate(good)


def _parts(stamp: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return year, month, day, hour, minute and second."""
    widths = ((26, 63), (22, 15), (17, 31), (12, 31), (6, 63), (0, 63))
    year, *rest = ((stamp.astype(np.int64) >> shift) & mask for shift, mask in widths)
    return year + 2000, *rest


def _is_moment(stamp: np.ndarray) -> np.ndarray:
    year, month, day, hour, minute, second = _parts(stamp)
    in_range = (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    last = (months + 1).astype("datetime64[M]").astype("datetime64[D]") - months.astype("datetime64[M]")
    return np.asarray(in_range & (day <= last.astype(np.int64)))


def _starts(fields: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return (sectors,) the times of first samples, in seconds since 1970.

    A sector's stamp, with its fraction of a second where its top bit is set, is the time of sample `shift`. Firmware that
    stores fractions moved `shift` by the samples in the fraction, for readers that know none; this is undone here.
    """
    year, month, day, hour, minute, second = _parts(fields["stamp"])
    days = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    has = fields["fraction"] >> 15 == 1
    fraction = np.where(has, (fields["fraction"].astype(np.int64) & 0x7FFF) << 1, 0)
    shift = fields["shift"].astype(np.int64) + (fraction * int(rate_hz) >> 16)
    return np.asarray(
        days * 86_400 + hour * 3600 + minute * 60 + second + fraction / 65536 - shift / rate_hz, np.float64
    )


def _chunks(sectors: np.ndarray, rows: np.ndarray, header: bytes) -> Iterator[Chunk]:
    """Yield whole files of some sectors each."""
    step = max(1, CHUNK_SAMPLES // 120)
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        chosen = np.array(sectors[part])
        place = f"bytes {_HEADER + int(part[0]) * _SECTOR:,} to {_HEADER + (int(part[-1]) + 1) * _SECTOR:,}"
        yield Chunk(header + chosen.tobytes(), ".cwa", int(chosen.view(_FIELDS)["count"].sum()), None, place)
