"""Recording: one continuous signal of one person, in g and rad/s, with its rate, channels, placement and labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import resample_poly

STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g (the accelerometry convention): readers divide by it once."""

UNITS = {"acc": "g", "gyro": "rad/s"}
"""Unit of each kind of channel; a channel is named kind_axis, for example `acc_x`."""

ACCELEROMETER = ("acc_x", "acc_y", "acc_z")
GYROSCOPE = ("gyro_x", "gyro_y", "gyro_z")


class Span(NamedTuple):
    """A stretch of a recording that carries a label; seconds from the recording's first time step."""

    start_s: float
    stop_s: float
    label: str


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One continuous signal: no gap, no NaN, one person, one placement.

    Args:
        name: unique within its corpus, for example `wlk_7/sub_3`.
        signal: (time, channels), float32, in the units of `UNITS`.
        rate_hz: time steps per second.
        channels: names such as `acc_x`, one per column.
        subject: the person, as the corpus writes it.
        placement: where the sensor sat, for example `wrist`.
        spans: labelled stretches; time steps outside all of them are unlabelled.

    Raises:
        ValueError: the parts do not fit together, or the signal has values that are not finite.
    """

    name: str
    signal: np.ndarray
    rate_hz: float
    channels: tuple[str, ...]
    subject: str
    placement: str
    spans: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        here = f"recording '{self.name}'"
        if self.signal.ndim != 2 or self.signal.dtype != np.float32:
            raise ValueError(
                f"{here}: signal is {self.signal.dtype} {self.signal.shape}; expected float32 (time, channels)"
            )
        if self.signal.shape[1] != len(self.channels):
            raise ValueError(f"{here}: {self.signal.shape[1]} columns but {len(self.channels)} channel names")
        if len(set(self.channels)) != len(self.channels):
            raise ValueError(f"{here}: a channel is named twice: {', '.join(self.channels)}")
        for channel in self.channels:
            if channel.split("_")[0] not in UNITS:
                raise ValueError(f"{here}: unknown kind of channel '{channel}'; known: {', '.join(UNITS)}")
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"{here}: rate is {self.rate_hz} Hz; expected a positive number")
        if len(self.signal) == 0:
            raise ValueError(f"{here}: the signal has no time steps")
        if not np.isfinite(self.signal).all():
            step = int(np.argmax(~np.isfinite(self.signal).all(axis=1)))
            raise ValueError(
                f"{here}: time step {step} holds a value that is not finite; "
                "interpolate short gaps and cut at long ones (recording.regular_pieces)"
            )
        if ":" in self.subject:
            raise ValueError(f"{here}: subject '{self.subject}' holds a colon, which parts a corpus from a person")
        for span in self.spans:
            if not 0 <= span.start_s < span.stop_s:
                raise ValueError(f"{here}: label span {tuple(span)} does not run forwards from 0")

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.signal) / self.rate_hz


class Narration(NamedTuple):
    """Words about a stretch of a recording; seconds from the recording's first time step."""

    start_s: float
    stop_s: float
    text: str


class Footage(NamedTuple):
    """Moving pictures beside a recording. It pickles, so that processes can share the work.

    Attributes:
        key: identity of the pictures: a hash of the file they lie in, and which part of it they are.
        start_s: of the first picture, in seconds from the recording's first time step; may be negative.
        stop_s: of the end of the last one.
        frames: ascending times between these two -> the picture shown at each, (height, width, 3) uint8 RGB, one by one;
            a function of some module with its arguments bound (`functools.partial`).
    """

    key: str
    start_s: float
    stop_s: float
    frames: Callable[[Sequence[float]], Iterator[np.ndarray]]


class Track(NamedTuple):
    """Vectors of another sensor beside a recording.

    Attributes:
        time_s: (times,) ascending, seconds from the recording's first time step.
        vectors: (times, dim) float32.
    """

    time_s: np.ndarray
    vectors: np.ndarray


class Companion(NamedTuple):
    """What was recorded beside a recording, on the recording's own clock; the raw material of paired vectors.

    Attributes:
        recording: its name in the corpus.
        narrations: in order of time; they may overlap.
        footage: pictures, or None.
        tracks: other sensors' vectors by modality, for example `skeleton`.
    """

    recording: str
    narrations: tuple[Narration, ...] = ()
    footage: Footage | None = None
    tracks: Mapping[str, Track] = {}


class Part(NamedTuple):
    """What is read of a corpus at a time: one official file, or one person. It pickles, so that processes can share parts.

    Attributes:
        name: unique within the corpus, and the same whenever the same files are listed.
        read: yields the part's recordings; a function of some module with its arguments bound (`functools.partial`).
    """

    name: str
    read: Callable[[], Iterator[Recording]]


def resample(signal: np.ndarray, rate_hz: float, to_hz: float) -> np.ndarray:
    """The same signal at another rate, through SciPy's polyphase anti-alias filter.

    Args:
        signal: (time, channels), float32.
        rate_hz: its rate.
        to_hz: the rate wanted. The ratio is taken to the nearest fraction with a denominator up to 1,000.

    Returns:
        (round-up of time * to_hz / rate_hz, channels), float32. Edges continue on the line through the first and the
        last value, so that gravity's constant share does not ring there.
    """
    ratio = Fraction(to_hz / rate_hz).limit_denominator(1000)
    if ratio == 1:
        return signal
    up, down = ratio.numerator, ratio.denominator
    if len(signal) == 1:  # no line runs through one value
        return np.repeat(signal, -(-up // down), axis=0)
    return resample_poly(signal.astype(np.float64), up, down, axis=0, padtype="line").astype(np.float32)


def resample_sinc(signal: np.ndarray, rate_hz: float, to_hz: float) -> np.ndarray:
    """The same signal at another rate, through a windowed sinc: as PRIMUS's published data were made.

    The filter is torchaudio's default: a sinc that cuts off at 0.99 of the lower rate's half, under a Hann window of six of
    its zeros to each side. Unlike `resample`, the signal is taken to be zero beyond its edges, so the first and the last
    six steps of the slower rate lean towards zero.

    Args:
        signal: (time, channels), floating.
        rate_hz: its rate.
        to_hz: the rate wanted. The ratio is taken to the nearest fraction with a denominator up to 1,000.

    Returns:
        (round-up of time * to_hz / rate_hz, channels), of the signal's dtype; computed in float64.
    """
    ratio = Fraction(to_hz / rate_hz).limit_denominator(1000)
    new, old = ratio.numerator, ratio.denominator
    if new == old:
        return signal
    base = 0.99 * min(old, new)
    width = math.ceil(6 * old / base)
    reach = np.arange(-width, width + old)
    turn = np.clip((reach[None] / old - np.arange(new)[:, None] / new) * base, -6, 6)
    taps = np.sinc(turn) * np.cos(np.pi * turn / 12) ** 2 * (base / old)  # (phases, taps)
    padded = np.pad(signal.astype(np.float64), ((width, width + old), (0, 0)))
    places = sliding_window_view(padded, len(reach), axis=0)[::old]  # (steps of `old`, channels, taps), a view
    steps = -(-new * len(signal) // old)
    out = np.empty((len(places) * new, signal.shape[1]))
    block = max(1, (1 << 22) // len(reach))  # places multiplied at a time: they are copied for it
    for start in range(0, len(places), block):
        part = np.einsum("nct,pt->npc", places[start : start + block], taps, optimize=True)
        out[start * new : start * new + part.shape[0] * new] = part.reshape(-1, signal.shape[1])
    return out[:steps].astype(signal.dtype)


class Piece(NamedTuple):
    """A gap-free stretch on a regular clock, which starts `start_s` after the earliest time stamp."""

    start_s: float
    signal: np.ndarray


def regular_pieces(time_s: np.ndarray, signal: np.ndarray, rate_hz: float, max_gap_s: float = 0.5) -> list[Piece]:
    """Puts time-stamped rows on a regular clock: short gaps are interpolated linearly, long ones cut.

    Args:
        time_s: (time,), seconds, any order; repeated stamps keep their first row.
        signal: (time, channels); rows that hold NaN count as missing.
        rate_hz: the rate of the regular clock; the source's own rate, since nothing is filtered here.
        max_gap_s: the longest stretch without rows that is bridged.

    Returns:
        The pieces in order of time; empty if no row is finite.
    """
    stamped = np.isfinite(time_s)
    start_s = float(time_s[stamped].min()) if stamped.any() else 0.0  # of all rows, those without a value too
    keep = np.isfinite(signal).all(axis=1) & stamped
    time_s, first = np.unique(time_s[keep], return_index=True)
    signal = signal[keep][first]
    if len(time_s) == 0:
        return []
    pieces = []
    cuts = np.flatnonzero(np.diff(time_s) > max(max_gap_s, 1.5 / rate_hz)) + 1
    for rows in np.split(np.arange(len(time_s)), cuts):
        stamps = time_s[rows]
        clock = stamps[0] + np.arange(int((stamps[-1] - stamps[0]) * rate_hz + 0.5) + 1) / rate_hz
        values = np.stack([np.interp(clock, stamps, column) for column in signal[rows].T], axis=1)
        pieces.append(Piece(float(stamps[0]) - start_s, values.astype(np.float32)))
    return pieces
