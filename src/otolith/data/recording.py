"""Recording: one continuous signal of one person, in g and rad/s, with its rate, channels, placement and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

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


class Part(NamedTuple):
    """What is read of a corpus at a time: one official file, or one person. It pickles, so that processes can share parts.

    Attributes:
        name: unique within the corpus, and the same whenever the same files are listed.
        read: yields the part's recordings; a function of some module with its arguments bound (`functools.partial`).
    """

    name: str
    read: Callable[[], Iterator[Recording]]
