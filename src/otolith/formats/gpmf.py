"""Read GPMF, the telemetry track of GoPro's MP4 files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from otolith.data.recording import STANDARD_GRAVITY
from otolith.formats.video import opened

_TYPES = {
    "b": "i1",
    "B": "u1",
    "s": ">i2",
    "S": ">u2",
    "l": ">i4",
    "L": ">u4",
    "j": ">i8",
    "J": ">u8",
    "f": ">f4",
    "d": ">f8",
}
_UNITS = {"ACCL": "m/s²", "GYRO": "rad/s"}
_RATES_HZ = (10.0, 10_000.0)  # Fusion's gyroscope has 3,200 Hz
_JITTER_S = 0.5  # payloads are written slightly early or late, but never by this much
_DEPTH = 8  # maximum depth of nesting; official files have 2
_WORDS = {"up/down": "Z", "right/left": "X", "forward/back": "Y"}  # in the names of older cameras' streams


class Element(NamedTuple):
    """A key-length-value element of a payload."""

    key: str
    kind: str
    size: int
    times: int
    value: bytes


class Steps(NamedTuple):
    """Time steps of one sensor in one payload: `values` (count, 3) float64, in the file's unit, x right, y forward, z up."""

    key: str
    values: np.ndarray


class Telemetry(NamedTuple):
    """A clip's motion.

    Attributes:
        start_s: time of the first time step, in seconds from the start of the file.
        rate_hz: measured sampling rate.
        signal: (time, channels) float32, in g and rad/s.
    """

    start_s: float
    rate_hz: float
    signal: np.ndarray


def telemetry(path: Path, *, gyroscope: bool = True) -> Telemetry:
    """Read the motion that a GoPro camera stored in a clip.

    Args:
        path: path of the MP4 file.
        gyroscope: whether angular rate is read too.

    Raises:
        FileNotFoundError: the file does not exist.
        ImportError: PyAV is not installed.
        ValueError: the file is damaged or holds no telemetry, a sensor is missing, or its clock cannot be determined.
    """
    payloads = _payloads(path)
    wanted = ("ACCL", "GYRO") if gyroscope else ("ACCL",)
    held: dict[str, list[np.ndarray]] = {key: [] for key in wanted}
    for number, (_, _, payload) in enumerate(payloads):
        found = {steps.key: steps.values for steps in sensors(payload, f"payload {number} of '{path}'", wanted)}
        for key in wanted:
            held[key].append(found.get(key, np.empty((0, 3))))
    if not any(map(len, held["ACCL"])):
        raise ValueError(f"'{path}' has telemetry, but no accelerometer (ACCL) in it; the camera recorded none")
    if gyroscope and not any(map(len, held["GYRO"])):
        raise ValueError(
            f"'{path}' has an accelerometer but no gyroscope (GYRO). Six channels need both; an encoder can also be "
            "pretrained on three channels: read the file with --subset accelerometer"
        )
    clocks = {}
    for key in wanted:
        counted = [(start, stop, len(steps)) for (start, stop, _), steps in zip(payloads, held[key], strict=True)]
        clocks[key] = _clock(counted, path, key)
    values = {key: np.concatenate(held[key]) for key in wanted}
    fastest = max(wanted, key=lambda key: clocks[key][1])
    first = max(start for start, _ in clocks.values())
    lasts = [start + (len(values[key]) - 1) / rate for key, (start, rate) in clocks.items()]
    if max(lasts) - min(lasts) > 1:
        raise ValueError(
            f"the sensors of '{path}' end at {min(lasts):.1f} s and {max(lasts):.1f} s: they are not synchronised, "
            "or the file was cut; copy it from the camera again"
        )
    from scipy.interpolate import CubicSpline

    start, rate = clocks[fastest]
    steps = np.arange(len(values[fastest]))
    times = start + steps / rate
    within = (times >= first - 1e-9) & (times <= min(lasts) + 1e-9)
    if np.count_nonzero(within) < 2:
        raise ValueError(f"'{path}' holds fewer than two time steps common to all sensors; make a longer recording")
    columns = []
    for key in wanted:
        if clocks[key] == clocks[fastest] and len(values[key]) == len(steps):
            columns.append(values[key][within])
        else:
            own = clocks[key][0] + np.arange(len(values[key])) / clocks[key][1]
            columns.append(
                CubicSpline(own, values[key])(times[within]) if len(own) > 1 else values[key][[0] * sum(within)]
            )
    columns[0] = columns[0] / STANDARD_GRAVITY
    return Telemetry(float(times[within][0]), rate, np.concatenate(columns, axis=1).astype(np.float32))


def _payloads(path: Path) -> list[tuple[float, float, bytes]]:
    """Return start and end, in seconds from the start of the file, and bytes of each payload."""
    found: dict[int, list[tuple[float, float, bytes]]] = {}
    with opened(path) as container:  # says which extra is missing
        import av

        streams = [stream for stream in container.streams if stream.type == "data"]
        begin = (container.start_time or 0) / 1e6
        try:
            for packet in container.demux(*streams) if streams else ():
                if packet.size and packet.pts is not None and bytes(packet)[:4] == b"DEVC":
                    start = float(packet.pts * packet.time_base) - begin
                    stop = start + float((packet.duration or 0) * packet.time_base)
                    found.setdefault(packet.stream_index, []).append((start, stop, bytes(packet)))
        except av.error.FFmpegError as error:
            raise ValueError(f"the telemetry of '{path}' cannot be read: {error}; copy it again") from error
    if not found:
        raise ValueError(
            f"'{path}' holds no GoPro telemetry: it is from another camera, or an editor removed it; use the file "
            "from the camera, or add a table of the motion in the layout of the corpus 'own'"
        )
    return found[min(found)]


def _clock(payloads: list[tuple[float, float, int]], path: Path, key: str) -> tuple[float, float]:
    """Return start (s) and rate (Hz) of a sensor from the starts, ends and counts of its payloads."""
    counts = np.array([count for _, _, count in payloads])
    starts = np.array([start for start, _, _ in payloads])
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    if len(payloads) == 1:
        begin, step = starts[0], (payloads[0][1] - payloads[0][0]) / counts[0]
    else:
        step, begin = np.polyfit(before, starts, 1) if before[-1] else (0.0, starts[0])
    off = np.abs(begin + step * before - starts).max() if len(payloads) > 1 else 0.0
    if not (step > 0 and _RATES_HZ[0] <= 1 / step <= _RATES_HZ[1] and off <= _JITTER_S):
        raise ValueError(
            f"the clock of {key} in '{path}' cannot be determined: {counts.sum():,} time steps in "
            f"{len(payloads)} payloads from {starts[0]:.2f} s to {payloads[-1][1]:.2f} s deviate by {off:.2f} s from a "
            "regular clock; the file was cut or altered, use the one from the camera"
        )
    return float(begin), float(1 / step)


def sensors(payload: bytes, name: str, wanted: tuple[str, ...] = ("ACCL", "GYRO")) -> Iterator[Steps]:
    """Yield time steps of the wanted sensors in one payload, of the first device that has an accelerometer.

    Raises:
        ValueError: the payload is damaged, or a sensor's unit, scale or axes cannot be determined.
    """
    for device in list(elements(payload, name)):  # all elements are checked, also unwanted ones
        if device.key != "DEVC":
            continue
        found = [
            steps
            for stream in elements(device.value, name)
            if stream.key == "STRM"
            for steps in _stream(stream.value, name, wanted)
        ]
        if any(steps.key == "ACCL" for steps in found):
            yield from found
            return


def elements(data: bytes, name: str, depth: int = 0) -> Iterator[Element]:
    """Yield the elements at one level of a payload, and check the sizes of nested ones.

    Raises:
        ValueError: an element declares more bytes than remain, or nesting is too deep.
    """
    if depth > _DEPTH:
        raise ValueError(f"{name} nests deeper than {_DEPTH}: it is damaged; copy the file again")
    place = 0
    while place + 8 <= len(data):
        raw, kind, size, count = struct.unpack_from(">4sBBH", data, place)
        if raw == b"\0\0\0\0":
            return  # padding
        length = size * count
        if place + 8 + length > len(data):
            raise ValueError(
                f"{name} is damaged: {raw.decode('latin-1')} declares {length:,} bytes where {len(data) - place - 8:,} "
                "are left; copy the file again"
            )
        value = data[place + 8 : place + 8 + length]
        if kind == 0 and raw not in (b"DEVC", b"STRM"):
            for _ in elements(value, name, depth + 1):
                pass
        yield Element(raw.decode("latin-1"), chr(kind) if kind else "", size, count, value)
        place += 8 + -(-length // 4) * 4


def _stream(data: bytes, name: str, wanted: tuple[str, ...]) -> Iterator[Steps]:
    """Yield time steps of a stream as x, y, z; the elements before them give unit, scale and order of axes."""
    said: dict[str, Element] = {}
    for element in elements(data, name):
        if element.key not in wanted:
            said[element.key] = element
            continue
        raw = _numbers(element, name)
        if element.times == 0:
            continue
        if raw.shape[1] != 3:
            raise ValueError(f"{name}: {element.key} has {raw.shape[1]} axes; expected 3")
        unit = _text(said.get("SIUN") or said.get("UNIT"))
        if unit != _UNITS[element.key]:
            raise ValueError(f"{name}: {element.key} is in '{unit}'; expected {_UNITS[element.key]}")
        scale = _numbers(said["SCAL"], name).ravel() if "SCAL" in said else np.ones(1)
        if len(scale) not in (1, 3) or not (np.isfinite(scale) & (scale != 0)).all():
            raise ValueError(f"{name}: the scale of {element.key} is {scale.tolist()}; expected one number or three")
        yield Steps(element.key, (raw / scale) @ _axes(said, name, element.key).T)


def _numbers(element: Element, name: str) -> np.ndarray:
    """Return the values of an element, (count, values per item) float64."""
    kind = _TYPES.get(element.kind)
    width = np.dtype(kind).itemsize if kind else 0
    if not width or element.size == 0 or element.size % width:
        raise ValueError(
            f"{name}: {element.key} has the type '{element.kind}' of {element.size} bytes, which is unknown"
        )
    values = np.frombuffer(element.value, kind).reshape(element.times, element.size // width)
    return values.astype(np.float64)


def _text(element: Element | None) -> str:
    return "" if element is None else element.value.decode("latin-1").split("\0")[0].strip()


def _axes(said: dict[str, Element], name: str, key: str) -> np.ndarray:
    """Return the (3, 3) matrix that turns stored columns into x right, y forward, z up."""
    order, matrix = _text(said.get("ORIN")), np.eye(3)
    if "MTRX" in said and "ORIO" in said:
        matrix = _numbers(said["MTRX"], name)
        if matrix.size != 9 or not np.allclose(matrix.reshape(3, 3) @ matrix.reshape(3, 3).T, np.eye(3), atol=0.01):
            raise ValueError(f"{name}: the axes' matrix of {key} is not a rotation: {matrix.ravel().tolist()}")
        order, matrix = _text(said["ORIO"]), matrix.reshape(3, 3)
    if not order and "STNM" in said:
        inside = _text(said["STNM"]).partition("(")[2].rstrip(")")
        order = "".join(_WORDS.get(word.strip(), word.strip().upper()) for word in inside.split(","))
    if sorted(order.upper()) != ["X", "Y", "Z"]:
        raise ValueError(
            f"{name} does not give the order of the axes of {key} (ORIN is '{order}'); its camera is not supported"
        )
    turned = np.zeros((3, 3))
    for column, letter in enumerate(order):
        turned["XYZ".index(letter.upper()), column] = 1.0 if letter.isupper() else -1.0
    return np.asarray(turned @ matrix)
