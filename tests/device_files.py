"""Writers of small device files in the public layouts: Axivity .cwa, ActiGraph .gt3x, GENEActiv .bin and Matrix .bin."""

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

START = datetime(2024, 3, 5, 10, 20, 30)


def motion(steps: int, columns: int = 3, seed: int = 0, size: float = 0.2) -> np.ndarray:
    """(steps, columns) around gravity on the third axis; never exactly zero."""
    values = np.random.default_rng(seed).uniform(0.02, size, (steps, columns))
    values[:, 2] += 0.9
    return values


def _cwa_time(moment: datetime) -> int:
    return (
        ((moment.year - 2000) << 26)
        | (moment.month << 22)
        | (moment.day << 17)
        | (moment.hour << 12)
        | (moment.minute << 6)
        | moment.second
    )


def cwa_sector(
    raw: np.ndarray,
    moment: datetime,
    *,
    index: int = 0,
    packed: bool = True,
    rate_code: int = 0x4A,
    scale_code: int = 0,
    gyro_code: int = 0,
    light: int = 300,
    temperature: int = 258,
    battery: int = 190,
) -> bytes:
    """One data sector: integers (samples, 3), or (samples, 6) with the gyroscope first, from a moment on."""
    micro = moment.microsecond
    fraction = (micro << 16) // 1_000_000
    rate = 3200 / (1 << (15 - (rate_code & 15)))
    shift = -int(fraction * rate / 65536)  # undone by readers: the moment is that of the first sample
    if packed:
        words = [(int(x) & 0x3FF) | (int(y) & 0x3FF) << 10 | (int(z) & 0x3FF) << 20 for x, y, z in np.asarray(raw)]
        data, axes = b"".join(struct.pack("<I", word) for word in words), 3 << 4
    else:
        data, axes = np.asarray(raw, "<i2").tobytes(), raw.shape[1] << 4 | 2
    sector = struct.pack(
        "<2sHHIIIHHBBBBhH",
        b"AX",
        508,
        0x8000 | fraction >> 1,
        7,
        index,
        _cwa_time(moment),
        light | scale_code << 13 | gyro_code << 10,
        temperature,
        0,
        battery,
        rate_code,
        axes,
        shift,
        len(raw),
    ) + data.ljust(480, b"\0")
    words16 = np.frombuffer(sector + b"\0\0", "<u2")
    return sector + struct.pack("<H", -int(words16.sum()) & 0xFFFF)


def cwa_header(*, hardware: int = 0xFF, device: int = 12345, rate_code: int = 0x4A) -> bytes:
    """The first 1,024 bytes."""
    header = bytearray(1024)
    header[:4] = b"MD\xfc\x03"
    header[4] = hardware
    header[5:7] = struct.pack("<H", device)
    header[11:13] = b"\xff\xff"
    header[36], header[41] = rate_code, 45
    header[64:512] = b"_sc=study".ljust(448, b" ")
    return bytes(header)


def cwa(
    values: np.ndarray,
    *,
    start: datetime = START,
    rate_code: int = 0x4A,
    true_rate: float | None = None,
    packed: bool = True,
    scale_code: int = 0,
    gyro_dps: int = 2000,
    drop: Sequence[int] = (),
    hardware: int | None = None,
) -> bytes:
    """A whole .cwa file of (time, 3) in g, or (time, 6) in g and deg/s; sectors of `drop` are left out."""
    gyro_code = int(np.log2(8000 / gyro_dps)) if values.shape[1] == 6 else 0
    rate = true_rate or 3200 / (1 << (15 - (rate_code & 15)))
    raw = np.rint(values[:, :3] * (1 << (8 + scale_code)))
    if values.shape[1] == 6:
        raw = np.hstack([np.rint(values[:, 3:] * 32768 / gyro_dps), raw])
    size = 120 if packed else 480 // (2 * raw.shape[1])
    out = [cwa_header(rate_code=rate_code, hardware=hardware or (0x64 if values.shape[1] == 6 else 0xFF))]
    for index, first in enumerate(range(0, len(raw), size)):
        if index not in drop:
            moment = start + timedelta(seconds=first / rate)
            settings = {"rate_code": rate_code, "scale_code": scale_code, "gyro_code": gyro_code, "packed": packed}
            out.append(cwa_sector(raw[first : first + size], moment, index=index, **settings))
    return b"".join(out)


def gt3x_record(kind: int, second: int, payload: bytes) -> bytes:
    """One log record with its checksum."""
    record = struct.pack("<BBIH", 0x1E, kind, second, len(payload)) + payload
    return record + bytes([~int(np.bitwise_xor.reduce(np.frombuffer(record, np.uint8))) & 0xFF])


def packed12(raw: np.ndarray) -> bytes:
    """Integers (samples, 3) as 12-bit values in the order y, x, z."""
    flat = (np.asarray(raw, int)[:, [1, 0, 2]] & 0xFFF).ravel()
    bits = ((flat[:, None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8).ravel()
    return np.packbits(bits).tobytes()


def ssp(value: float) -> int:
    """A number in the device's own floating-point code."""
    fraction, exponent = np.frexp(value)
    return (int(fraction * 8388608) & 0xFFFFFF) | (int(exponent) & 0xFF) << 24


def gt3x(
    values: np.ndarray,
    *,
    start: datetime = START,
    rate: int = 30,
    scale: float = 256.0,
    wide: bool = False,
    drop: Sequence[int] = (),
    parameters: bool = True,
    filler: bytes = b"",
    log: bytes | None = None,
    names: tuple[str, str] = ("info.txt", "log.bin"),
    info_scale: bool = True,
) -> bytes:
    """A whole .gt3x file of (time, 3) in g; whole seconds of `drop` are left out, as in idle sleep mode."""
    first = int(start.replace(tzinfo=timezone.utc).timestamp())
    records = [gt3x_record(6, first, b'{"MetadataType":"Bio"}')]
    if parameters:
        pairs = struct.pack("<HHI", 0, 55, ssp(scale)) + struct.pack("<HHI", 1, 10, rate)
        records.append(gt3x_record(21, first, pairs))
    raw = np.rint(values * scale)
    for second, row in enumerate(range(0, len(raw), rate)):
        if second in drop:
            continue
        part = raw[row : row + rate]
        payload = part.astype("<i2").tobytes() if wide else packed12(part)
        records.append(gt3x_record(26 if wide else 0, first + second, payload))
        if second % 60 == 0:
            records.append(gt3x_record(5, first + second, struct.pack("<H", 120)))
            records.append(gt3x_record(2, first + second, struct.pack("<H", 4100)))
    ticks = 621_355_968_000_000_000 + first * 10_000_000
    info = "Serial Number: MOS2A12345678\nDevice Type: wGT3XBT\nFirmware: 1.9.2\nBattery Voltage: 4.1\n"
    info += f"Sample Rate: {rate}\nStart Date: {ticks}\nSubject Name: S1\n"
    info += f"Acceleration Scale: {scale}\n" if info_scale else ""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(names[0], info)
        archive.writestr(names[1], filler.join(records) if log is None else log)
    return out.getvalue()


_GENEACTIV = """Device Identity
Device Unique Serial Code:012967
Device Type:GENEActiv
Device Model:1.1
Device Firmware Version:Ver4.08a date17Jul13
Calibration Date:2014-05-07 09:00:00:000

Device Capabilities
Accelerometer Range:-8 to 8
Accelerometer Resolution:0.0039
Accelerometer Units:g
Light Meter Range:0 to 5000
Light Meter Resolution:5
Light Meter Units:lux
Temperature Sensor Range:0 to 60
Temperature Sensor Resolution:0.3
Temperature Sensor Units:deg. C

Configuration Info
Measurement Frequency:{rate} Hz
Measurement Period:168 Hours
Start Time:{start}
Time Zone:GMT +01:00

Trial Info
Study Centre:
Study Code:
Investigator ID:
Exercise Type:
Config Operator ID:
Config Time:{start}
Config Notes:
Extract Operator ID:
Extract Time:{start}
Extract Notes:(device clock drift -1.2s)

Subject Info
Device Location Code:left wrist
Subject Code:S1
Date of Birth:1900-01-01
Sex:
Height:
Weight:
Handedness Code:
Subject Notes:

Calibration Data
x gain:{gain[0]}
x offset:{offset[0]}
y gain:{gain[1]}
y offset:{offset[1]}
z gain:{gain[2]}
z offset:{offset[2]}
Volts:300
Lux:800

Memory Status
Number of Pages:{pages}

"""


def geneactiv_moment(moment: datetime) -> str:
    """A page time."""
    return f"{moment:%Y-%m-%d %H:%M:%S}:{moment.microsecond // 1000:03d}"


def geneactiv(
    values: np.ndarray,
    *,
    start: datetime = START,
    rate: float = 100.0,
    gain: tuple[int, int, int] = (25548, 25600, 25400),
    offset: tuple[int, int, int] = (-813, 120, 492),
    drop: Sequence[int] = (),
    light: int = 30,
    end: str = "\r\n",
    decimal: str = ".",
    declared: int | None = None,
    temperature: str = "31.2",
) -> bytes:
    """A whole GENEActiv .bin of (time, 3) in g; pages of `drop` are left out."""
    raw = np.rint((values * gain + offset) / 100).astype(int)
    pages = []
    for index, first in enumerate(range(0, len(raw), 300)):
        if index in drop:
            continue
        part = np.column_stack([raw[first : first + 300] & 0xFFF, np.full(len(raw[first : first + 300]), light << 2)])
        moment = geneactiv_moment(start + timedelta(seconds=first / rate))
        pages.append(
            f"Recorded Data\nDevice Unique Serial Code:012967\nSequence Number:{index}\nPage Time:{moment}\nUnassigned:\n"
            + f"Temperature:{temperature}\nBattery voltage:4.1400\n".replace(".", decimal)
            + "Device Status:Recording\n"
            + f"Measurement Frequency:{rate:.1f}\n".replace(".", decimal)
            + "".join(f"{value:03X}" for value in part.ravel())
            + "\n"
        )
    header = _GENEACTIV.format(
        rate=f"{rate:g}", start=geneactiv_moment(start), gain=gain, offset=offset, pages=declared or len(pages)
    )
    return (header + "".join(pages)).replace("\n", end).encode("latin-1")


def matrix(
    values: np.ndarray,
    *,
    start: datetime = START,
    rate: float = 100.0,
    seconds: int = 10,
    range_g: int = 8,
    range_dps: int = 2000,
    drop: Sequence[int] = (),
    gyro_share: int = 1,
) -> bytes:
    """A whole Matrix .bin of (time, 3) in g or (time, 6) in g and deg/s, in packets of some seconds.

    The gyroscope has one sample for every `gyro_share` samples of the accelerometer.
    """
    first = int(start.replace(tzinfo=timezone.utc).timestamp())
    size = round(rate * seconds)
    packets = []
    for index, row in enumerate(range(0, len(values), size)):
        if index in drop:
            continue
        part = values[row : row + size]
        acc = np.rint(part[:, :3] * 32767 / range_g).astype("<i2")
        gyro = np.rint(part[::gyro_share, 3:] * 32767 / range_dps).astype("<i2")
        counts = (len(acc), len(gyro) if values.shape[1] == 6 else 0, 1, 0)
        times = first + index * seconds, first + index * seconds + round(len(part) / rate)
        body = struct.pack("<6I", *times, *counts) + acc.tobytes() + (gyro.tobytes() if counts[1] else b"")
        body += struct.pack("<2h", 312, 251)
        packets.append(b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body)
    head = bytes(512) + b"MDTC" + struct.pack("<IHH", len(packets), range_g, range_dps)
    return head + b"".join(packets)
