"""Makers of small clips for tests: MP4 files with pictures and telemetry, GPMF payloads, tables of motion."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def grey(level: int, height: int = 32, width: int = 48) -> np.ndarray:
    """One picture of one grey."""
    return np.full((height, width, 3), level, np.uint8)


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    rate: int = 10,
    payloads: Sequence[tuple[int, int, bytes]] = (),
    group: int = 5,
) -> Path:
    """An MP4 file; payloads are (beginning in ms, duration in ms, bytes) of a stream next to the pictures."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = group
        video.codec_context.bit_rate = 2_000_000
        data = container.add_data_stream("bin_data") if payloads else None
        for picture in pictures:
            for packet in video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in video.encode():
            container.mux(packet)
        for start, duration, payload in payloads:
            packet = av.Packet(payload)
            packet.stream, packet.time_base = data, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = duration
            container.mux(packet)
    return path


def klv(key: str, kind: str, value: bytes | Sequence["bytes"], size: int | None = None) -> bytes:
    """One element: bytes of one value, several values, or of nested elements (kind '')."""
    data = value if isinstance(value, bytes) else b"".join(value)
    if not kind:
        size = 1 if len(data) < 1 << 16 else 4
    size = size or (len(data) if isinstance(value, bytes) else len(value[0]))
    head = key.encode("latin-1") + bytes([ord(kind) if kind else 0, size]) + struct.pack(">H", len(data) // size)
    return head + data + bytes(-len(data) % 4)


def sensor(
    key: str,
    values: np.ndarray,
    unit: str,
    *,
    scale: int = 100,
    name: str = "",
    about: Sequence[bytes] = (),
) -> bytes:
    """A stream of one sensor, whose values are stored as 16-bit integers times `scale`."""
    rows = np.round(values * scale).astype(">i2")
    return klv(
        "STRM",
        "",
        b"".join(
            [
                klv("STNM", "c", name.encode("latin-1") or b"-"),
                *about,
                klv("SIUN", "c", unit.encode("latin-1")),
                klv("SCAL", "s", struct.pack(">h", scale)),
                klv(key, "s", rows.tobytes(), size=6),
            ]
        ),
    )


def device(*streams: bytes, name: str = "Camera") -> bytes:
    """A payload, or a part of one: a device with its streams."""
    return klv("DEVC", "", klv("DVID", "L", struct.pack(">L", 1)) + klv("DVNM", "c", name.encode()) + b"".join(streams))


def write_table(
    path: Path, seconds: float, rate_hz: float = 50.0, gyroscope: bool = True, start_s: float = 0.0
) -> np.ndarray:
    """A table of motion as the corpus `own` wants it; returns its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = start_s + np.arange(round(seconds * rate_hz)) / rate_hz
    turn = np.sin(2 * np.pi * time_s)
    columns = [time_s, 0.3 * turn, 0.1 * turn, 1 + 0 * turn, turn, -turn, 0.5 * turn][: 7 if gyroscope else 4]
    rows = np.stack(columns, axis=1)
    header = ["time_s", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"][: rows.shape[1]]
    np.savetxt(path, rows, fmt="%.6f", delimiter=",", header=",".join(header), comments="")
    return rows
