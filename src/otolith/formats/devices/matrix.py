"""Matrix .bin files of Parmay Tech: a header of 524 bytes, then packets with a checksum each, decoded by NumPy.

The layout is the maker's, as GGIRread describes it (`readParmayMatrix.R` of github.com/wadpac/GGIRread). A packet holds
some minutes, so one packet is decoded at a time.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from otolith.formats.devices.blocks import MOST_SAMPLES, Chunk, DamagedError, Survey
from otolith.formats.devices.device_file import Series

MAGIC, MAGIC_AT = b"MDTC", 512

_PACKET = b"MDTCPACK"
_HEADER, _HEAD = 524, 36  # bytes of the file's header and of a packet's
_RATES = np.array([12.5, 25, 50, 100])
_MOST_SAMPLES, _MOST_PACKETS = 1 << 24, 1 << 20  # of a packet, of a file: over a decade


class _Packet(NamedTuple):
    place: int
    start: int
    stop: int
    acc: int
    gyro: int
    temperature: int


def survey(path: Path, *, skip_damaged: bool) -> Survey:
    """Walk the packets of a file.

    Args:
        path: of the file, which has `MAGIC` at byte `MAGIC_AT`.
        skip_damaged: leave damaged packets out instead of raising.

    Raises:
        DamagedError: the file is damaged or was cut off.
        ValueError: the file is of a kind that is not read.
    """
    size = path.stat().st_size
    if size <= _HEADER:
        raise DamagedError("it has no packet of samples after its header: it was cut off or is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        declared, range_g, range_dps = struct.unpack_from("<IHH", data, MAGIC_AT + 4)
        packets, damaged = _walk(data)
        if len(packets) + len(damaged) < declared:
            damaged.append(
                f"it has {len(packets):,} of the {declared:,} packets that its header declares: it was cut off"
            )
        if damaged and not (skip_damaged and packets):
            raise DamagedError(damaged[0])
        table = np.array([packet for packet in packets if packet.acc], np.int64).reshape(-1, len(_Packet._fields))
        if not len(table):
            raise ValueError("it holds no samples of acceleration")
        if not 1 <= range_g <= 64 or int(table[:, 3].sum()) > MOST_SAMPLES:
            raise DamagedError(f"it declares a range of {range_g} g and {int(table[:, 3].sum()):,} samples")
        lasting = table[:, 2] - table[:, 1]
        long = lasting >= max(2, 0.5 * float(np.median(lasting)))
        if not long.any():
            raise ValueError("it holds no packet of two seconds or more, so its rate is unknown")
        measured = float(table[long, 3].sum() / lasting[long].sum())
        rate = float(_RATES[np.argmin(np.abs(_RATES - measured))])
        if not 0.8 < measured / rate < 1.25:
            raise ValueError(f"its packets hold {measured:.1f} samples per second; expected 12.5, 25, 50 or 100")
        places = [(int(row[0]) + 6 * int(row[3]) + 6 * int(row[4]), row) for row in table if row[5]]
        warm = [np.frombuffer(data[at : at + 4], "<i2")[0] / 10 for at, _ in places]
        times = np.array([row[1] for _, row in places], np.float64)
    columns = 6 if range_dps and (table[:, 4] > 1).all() else 3
    return Survey(
        device="Matrix",
        rate_hz=rate,
        channels=columns,
        starts_s=table[:, 1].astype(np.float64),
        counts=table[:, 3],
        chunks=lambda: _chunks(path, table, columns),
        scale=np.array([range_g / 32768] * 3 + [range_dps / 32768] * (columns - 3)),
        damaged=tuple(damaged),
        facts={"range": f"{range_g} g"},
        temperature=Series(times, np.array(warm, np.float32), "deg C") if warm else None,
    )


def _walk(data: mmap.mmap) -> tuple[list[_Packet], list[str]]:
    """Return the whole packets, and where others are damaged."""
    packets: list[_Packet] = []
    damaged: list[str] = []
    at, size = _HEADER, len(data)
    while at < size and len(packets) + len(damaged) < _MOST_PACKETS:
        if data[at : at + 8] == _PACKET and at + _HEAD <= size:
            crc, start, stop, *counts = struct.unpack_from("<7I", data, at + 8)
            width = sum(count * width for count, width in zip(counts, (6, 6, 4, 4), strict=True))
            end = at + _HEAD + width
            whole = max(counts) <= _MOST_SAMPLES and end <= size and zlib.crc32(memoryview(data)[at + 12 : end]) == crc
            if whole and start <= stop:
                packets.append(_Packet(at + _HEAD, start, stop, *counts[:3]))
                at = end
                continue
        damaged.append(f"the packet at byte {at:,} is damaged or was cut off")
        found = data.find(_PACKET, at + 1)
        at = found if found > 0 else size
    return packets, damaged


def _chunks(path: Path, table: np.ndarray, columns: int) -> Iterator[Chunk]:
    """Yield the samples of each packet, as counts."""
    with path.open("rb") as file:
        for place, _, _, acc, gyro, _ in table.tolist():
            file.seek(place)
            raw = np.frombuffer(file.read(6 * (acc + gyro)), "<i2").reshape(-1, 3).astype(np.float32)
            values = raw[:acc]
            if columns == 6:  # the gyroscope may have its own rate
                at = np.arange(acc) * (gyro / acc)
                values = np.column_stack([values, *(np.interp(at, np.arange(gyro), axis) for axis in raw[acc:].T)])
            yield Chunk(b"", "", acc, values.astype(np.float32), f"the packet at byte {place - _HEAD:,}")
