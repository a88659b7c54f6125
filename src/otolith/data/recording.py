"""Recording: one continuous signal of one subject in g and rad/s, with its rate, channels, placement and labels."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsInt

import numpy as np

from otolith.data import conversion
from otolith.data.units import (
    ACCELEROMETER,
    ARMBAND,
    GYROSCOPE,
    MOST,
    STANDARD_GRAVITY,
    UNITS,
    check_acceleration,
    check_channels,
    divisors,
    possible,
)

__all__ = ["ACCELEROMETER", "ARMBAND", "GYROSCOPE", "STANDARD_GRAVITY", "UNITS", "Part", "Recording", "Span"]


class Span(NamedTuple):
    """A labelled span of a recording, in seconds from the recording's first time step."""

    start_s: float
    stop_s: float
    label: str


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Recording:
    """One continuous signal of one subject and one placement, without gaps and without NaN.

    Arguments are converted to the types of the attributes, or refused: lists, tensors, data frames and other types of
    numbers become float32, numbers become names.

    Args:
        name: unique within its corpus, for example `wlk_7/sub_3`.
        signal: (time, channels) in the units of `UNITS`.
        rate_hz: time steps per second.
        channels: names such as `acc_x`, one per column.
        subject: name of the subject, as the corpus writes it.
        placement: where the sensor was worn, for example `wrist`.
        spans: labelled spans; time steps outside all of them are unlabelled. Where spans overlap, the last one counts.
        start_s: of the first time step, in seconds from the first row of its session.
        start: date and time of the first row of its session, if its file has dates.
        session: what it was cut from: a file, or its rows of one person and device between two restarts of a clock.
        facts: what its reader decided.

    Raises:
        ValueError: the parts do not fit together, the signal has values that are not finite or beyond `units.MOST`, or its
            acceleration is clearly not in g.
    """

    name: str
    signal: np.ndarray
    rate_hz: float
    channels: tuple[str, ...]
    subject: str
    placement: str
    spans: tuple[Span, ...]
    start_s: float
    start: datetime.datetime | None
    session: str
    facts: tuple[Any, ...]

    def __init__(
        self,
        name: str | SupportsInt,
        signal: Any,
        rate_hz: SupportsFloat | str,
        channels: Sequence[str],
        subject: str | SupportsInt,
        placement: str,
        spans: Iterable[Sequence[Any]] = (),
        *,
        start_s: float = 0.0,
        start: datetime.datetime | None = None,
        session: str = "",
        facts: Iterable[Any] = (),
    ) -> None:
        here = f"recording '{name}'"
        channels = tuple(channels)
        check_channels(channels, here)
        converted = {
            "name": conversion.text_of(name, "a recording's name"),
            "signal": conversion.signal_of(signal, channels, here),
            "rate_hz": conversion.rate_of(rate_hz, here),
            "channels": channels,
            "subject": conversion.subject_of(subject, here),
            "placement": conversion.text_of(placement, f"{here}: placement"),
            "spans": tuple(_span(span, here) for span in spans),
            "start_s": start_s,
            "start": start,
            "session": session,
            "facts": tuple(facts),
        }
        for field, value in converted.items():
            object.__setattr__(self, field, value)
        if not (self.signal.min() >= -MOST and self.signal.max() <= MOST):  # so also NaN; no mask in memory
            fine = possible(self.signal)
            step = int(np.argmin(fine.all(axis=1)))
            value = self.signal[step][~fine[step]][0]
            what = (
                f"the value {value:g}, which no sensor measures" if np.isfinite(value) else "a value that is not finite"
            )
            raise ValueError(
                f"{here}: time step {step} has {what}; "
                "interpolate short gaps and cut at long ones (resample.regular_pieces)"
            )
        remedy = "divide it by {per:g}, or pass units={{'acc': '{unit}'}} to Recording.from_frame"
        check_acceleration(self.signal, channels, self.seconds, here, remedy)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        rate_hz: SupportsFloat | str,
        subject: str | SupportsInt,
        placement: str = "unknown",
        columns: Sequence[Any] | Mapping[str, Any] | None = None,
        units: Mapping[str, str] | None = None,
        name: str | SupportsInt | None = None,
        spans: Iterable[Sequence[Any]] = (),
    ) -> Recording:
        """Make a recording of a table with one row per time step, evenly spaced in time and without gaps.

        Rows that carry their own time stamps are resampled to even steps by `resample.regular_pieces`.

        Args:
            frame: a data frame of pandas, polars or another library with `__dataframe__`; a mapping of columns; or a
                (time, channels) array, whose columns are named 0, 1, 2, ...
            rate_hz: time steps per second.
            subject: name of the subject.
            placement: where the sensor was worn, for example `wrist`.
            columns: the column of each channel, for example `{"acc_x": "ax", "acc_y": "ay", "acc_z": "az"}`; or the three
                columns of the accelerometer, or these and the three of the gyroscope, in the order x, y, z. None: the
                columns that are named as channels; of an array with three or six columns, all.
            units: units to convert from, for example `{"acc": "m/s2", "gyro": "deg/s"}`; by default g and rad/s.
            name: of the recording, unique within its corpus; by default the subject's.
            spans: labelled spans: start and end in seconds, and a label.

        Raises:
            ValueError: a column is missing or holds no numbers, a unit is unknown, or the recording is not valid.
        """
        here = f"recording '{subject if name is None else name}'"
        names, values = conversion.frame_columns(frame, here)
        chosen = _chosen(names, columns, here)
        signal = np.stack([values(column) for column in chosen.values()], axis=1)
        if (divisor := divisors(tuple(chosen), units, here)) is not None:
            signal = (signal / divisor).astype(np.float32)
        subject = conversion.subject_of(subject, here)
        return cls(subject if name is None else name, signal, rate_hz, tuple(chosen), subject, placement, spans)

    @property
    def seconds(self) -> float:
        """Return the duration in seconds."""
        return len(self.signal) / self.rate_hz


def _chosen(names: list[Any], columns: Sequence[Any] | Mapping[str, Any] | None, here: str) -> dict[str, Any]:
    """Return channel -> column."""
    triads = {3: ACCELEROMETER, 6: ACCELEROMETER + GYROSCOPE}
    if columns is None:
        chosen = {channel: channel for channel in triads[6] if channel in names}
        if not chosen and names == list(range(len(names))) and len(names) in triads:
            chosen = dict(zip(triads[len(names)], names, strict=True))
        if not chosen:
            raise ValueError(
                f"{here}: no column is named as a channel ({', '.join(triads[6])}); the columns are "
                f"{', '.join(map(str, names))}; pass columns=, for example {{'acc_x': ..., 'acc_y': ..., 'acc_z': ...}}"
            )
        return chosen
    if isinstance(columns, Mapping):
        chosen = dict(columns)
    elif isinstance(columns, str) or len(columns) not in triads:
        raise ValueError(
            f"{here}: columns is {columns!r}; expected three columns (acceleration x, y, z), six (then rotation rate), or a "
            "mapping from channel to column"
        )
    else:
        chosen = dict(zip(triads[len(columns)], columns, strict=True))
    check_channels(tuple(chosen), here)
    if missing := [column for column in chosen.values() if column not in names]:
        raise ValueError(
            f"{here}: the table has no column {', '.join(map(str, missing))}; it has {', '.join(map(str, names))}"
        )
    return chosen


def _span(span: Sequence[Any], here: str) -> Span:
    try:
        start, stop, label = span
        start, stop = float(start), float(stop)
    except (TypeError, ValueError):
        raise ValueError(f"{here}: label span {span!r}; expected (start in s, end in s, label)") from None
    if not 0 <= start < stop:
        raise ValueError(f"{here}: label span {(start, stop, label)}: start must be before end, and not negative")
    return Span(start, stop, conversion.text_of(label, f"{here}: the label of span ({start:g}, {stop:g})"))


class Part(NamedTuple):
    """A part of a corpus that can be read by itself, such as one official file or one subject.

    Parts can be pickled, so that processes can share them.

    Attributes:
        name: unique within the corpus, and the same whenever the same files are listed.
        read: function that yields the recordings of the part; a function of some module with its arguments bound
            (`functools.partial`).
    """

    name: str
    read: Callable[[], Iterator[Recording]]
