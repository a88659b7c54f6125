"""GENEActiv's .bin files: text, a header of 59 lines and then pages of ten lines, the last of them 300 samples as hex.

The layout is that of Activinsights' description, as read by GENEAread and GGIRread. Pages are rewritten for actfast with a
decimal point: it reads a page whose numbers have a decimal comma as one of 1 Hz.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from otolith.formats.devices.blocks import CHUNK_SAMPLES, MOST_SAMPLES, Chunk, DamagedError, Survey
from otolith.formats.devices.device_file import Series

MAGIC = b"Device Identity"

_HEADER_LINES, _PAGE_LINES = 59, 10
_LONGEST = 1 << 16  # bytes of a line
_FIRST = b"Recorded Data"
_GAINS = [f"{axis} {what}" for axis in "xyz" for what in ("gain", "offset")]


class _Page(NamedTuple):
    start_s: float
    samples: int
    rate_hz: float
    temperature: float
    battery: float
    data: bytes  # hex digits


def survey(path: Path, *, skip_damaged: bool) -> Survey:
    """Walk the pages of a file.

    Args:
        path: of the file, which begins with `MAGIC`.
        skip_damaged: leave damaged pages out instead of raising.

    Raises:
        DamagedError: the file is damaged or was cut off.
        ValueError: the file is of a kind that is not read.
    """
    rows, damaged, total = [], [], 0
    with path.open("rb") as file:
        header = _header(file)
        values = _values(header)
        for number, page in enumerate(_pages(file)):
            if isinstance(page, str):
                damaged.append(f"page {number + 1:,}: {page}")
                if not skip_damaged:
                    break
                continue
            rows.append(page[:5])
            total += page.samples
            if total > MOST_SAMPLES:
                raise ValueError(f"it holds more than {MOST_SAMPLES:,} samples")
    declared = int(values["Number of Pages"]) if values.get("Number of Pages", "").isdigit() else 0
    if not damaged and len(rows) < declared:
        damaged.append(f"it has {len(rows):,} of the {declared:,} pages that its header declares: it was cut off")
    if damaged and not (skip_damaged and rows):
        raise DamagedError(damaged[0])
    if not rows:
        raise DamagedError("it has no page of samples after its header")
    table = np.array(rows, np.float64)
    rates = np.unique(table[:, 2])
    if len(rates) > 1:
        raise ValueError(
            f"its pages differ in their rate ({rates[0]:g} and {rates[-1]:g} Hz), which one recording does not"
        )
    return Survey(
        device=f"GENEActiv {values.get('Device Model', '')}".strip(),
        rate_hz=float(rates[0]),
        channels=3,
        starts_s=table[:, 0],
        counts=table[:, 1].astype(np.int64),
        chunks=lambda: _chunks(path, header),
        scale=np.ones(3),
        light_per_block=True,
        damaged=tuple(damaged),
        facts={
            "device id": values["Device Unique Serial Code"],
            "firmware": values.get("Device Firmware Version", ""),
            "range": f"{values.get('Accelerometer Range', '')} g",
            "time zone": values.get("Time Zone", ""),
            "placement": values.get("Device Location Code", ""),
        },
        temperature=Series(table[:, 0], table[:, 3].astype(np.float32), "deg C"),
        battery=Series(table[:, 0], table[:, 4].astype(np.float32), "V"),
    )


def _header(file: IO[bytes]) -> bytes:
    lines = [file.readline(_LONGEST) for _ in range(_HEADER_LINES)]
    if not lines[-1].endswith(b"\n"):
        raise DamagedError("it ends within its header: it was cut off")
    return b"".join(lines)


def _values(header: bytes) -> dict[str, str]:
    """Return the header's lines, key -> value, checked for what decoding needs."""
    text = header.decode("latin-1")
    values = {key: value.strip() for key, value in reversed(re.findall(r"^([^:\r\n]+):([^\r\n]*)", text, re.MULTILINE))}
    for name in [*_GAINS, "Volts", "Lux", "Device Unique Serial Code"]:
        if name not in values:
            raise DamagedError(f"its header has no '{name}'")
    for name in [*_GAINS, "Volts", "Lux"]:
        number = values[name]
        if not re.fullmatch(r"-?\d{1,9}", number) or (int(number) == 0 and not name.endswith("offset")):
            raise DamagedError(f"its header gives '{name}' as '{number}', which is no calibration")
    return values


def _pages(file: IO[bytes]) -> Iterator[_Page | str]:
    """Yield each page, or what is wrong with it."""
    line = file.readline(_LONGEST)
    while line:
        while line and line.strip() != _FIRST:
            if line.strip():
                yield f"'{line[:20].decode('latin-1').strip()}' is not how a page begins"
            while (line := file.readline(_LONGEST)) and line.strip() != _FIRST:
                pass
        if not line:
            return
        lines = [line]
        while len(lines) < _PAGE_LINES and (line := file.readline(_LONGEST)):
            if line.strip() == _FIRST:
                break
            lines.append(line)
        if len(lines) < _PAGE_LINES:
            yield "it has too few lines" if line else "it was cut off"
            continue
        yield _page(lines)
        line = file.readline(_LONGEST)


def _page(lines: list[bytes]) -> _Page | str:
    data = lines[-1].strip()
    if not lines[-1].endswith(b"\n") and len(data) < 3600:  # hex digits of 300 samples
        return "it was cut off"
    values = dict(line.decode("latin-1").strip().partition(":")[::2] for line in lines[1:-1])
    try:
        moment = values["Page Time"]  # such as 2024-03-05 10:20:30:500
        start = datetime.fromisoformat(f"{moment[:19]}.{moment[20:]}").replace(tzinfo=timezone.utc)
        names = ("Measurement Frequency", "Temperature", "Battery voltage")
        rate, temperature, battery = (float(values[name].replace(",", ".")) for name in names)
        count = len(bytes.fromhex(data.decode("ascii")))
    except (KeyError, ValueError) as error:
        return f"it is damaged ({str(error).splitlines()[0]})"
    if not 1 <= rate <= 1000 or not count or count % 6 or len(data) != 2 * count:
        return f"it is damaged (rate {rate:g} Hz, {len(data):,} hex digits)"
    return _Page(start.timestamp(), count // 6, rate, temperature, battery, data)


def _chunks(path: Path, header: bytes) -> Iterator[Chunk]:
    """Yield whole files of some pages each."""

    def whole(pages: list[_Page], last: int) -> Chunk:
        body = b"".join(_text(page.data) for page in pages)
        place = f"pages {last - len(pages) + 1:,} to {last:,}"
        return Chunk(clean + body, ".bin", sum(page.samples for page in pages), None, place)

    clean = re.sub(rb"Number of Pages:[^\r\n]*", b"Number of Pages:1", header)  # memory is reserved by this number
    with path.open("rb") as file:
        _header(file)
        pages: list[_Page] = []
        last = 0
        for page in _pages(file):
            if isinstance(page, str):
                continue
            pages.append(page)
            last += 1
            if len(pages) >= CHUNK_SAMPLES // 300:
                yield whole(pages, last)
                pages = []
        if pages:
            yield whole(pages, last)


def _text(data: bytes) -> bytes:
    """Return a page of ten lines with these samples; its time and measurements are read elsewhere."""
    return (
        b"Recorded Data\nDevice Unique Serial Code:0\nSequence Number:0\nPage Time:2000-01-01 00:00:00:000\nUnassigned:\n"
        b"Temperature:0\nBattery voltage:0\nDevice Status:Recording\nMeasurement Frequency:100.0\n" + data + b"\n"
    )
