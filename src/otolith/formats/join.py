"""Two sensors on two clocks -> one clock, by linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from otolith.formats.pace import Stretch

if TYPE_CHECKING:
    from otolith.formats.streams import _Stream


def interpolated(at: np.ndarray, seconds: np.ndarray, values: np.ndarray, max_gap_s: float) -> np.ndarray:
    """Return values at other times: (times, channels) float32; NaN outside of them and in gaps.

    Args:
        at: (times,) seconds.
        seconds: (rows,) ascending.
        values: (rows, channels); rows that hold NaN count as missing.
        max_gap_s: the longest gap that is bridged.
    """
    whole = np.isfinite(values).all(axis=1)
    seconds, values = seconds[whole], values[whole]
    out = np.full((len(at), values.shape[1]), np.nan, np.float32)
    if len(seconds) < 2:
        return out
    after = np.searchsorted(seconds, at).clip(1, len(seconds) - 1)
    step = np.median(np.diff(seconds))
    inside = (at >= seconds[0] - step) & (at <= seconds[-1] + step)
    inside &= seconds[after] - seconds[after - 1] <= max(max_gap_s, 1.5 * step)
    for channel in range(values.shape[1]):
        out[inside, channel] = np.interp(at[inside], seconds, values[:, channel])
    return out


def _partner(stream: _Stream, others: Sequence[_Stream], name: str) -> tuple[_Stream, float]:
    """The stream that shares most time with another, and what its clock is ahead."""
    found: list[tuple[float, int, float]] = []
    for number, other in enumerate(others):
        shift = other.origin_s - stream.origin_s if stream.dated == other.dated else 0.0
        mine = stream.stretch.seconds
        theirs = other.stretch.seconds + shift
        shared = min(mine[-1], theirs[-1]) - max(mine[0], theirs[0])
        found.append((float(shared), -number, shift))
    best = max(found)
    if best[0] <= 0:
        raise ValueError(
            f"'{name}': the accelerometer and the other sensor share no time: by their clocks, {-best[0]:.6g} s lie "
            "between them; "
            "choose clocks that agree with --time, or read the files apart"
        )
    return others[-best[1]], best[2]


def join_on_clock(stream: _Stream, others: Sequence[_Stream], max_gap_s: float, name: str) -> _Stream:
    """Return the accelerometer with the gyroscope's channels next to its own, at the times of the faster one.

    Raises:
        ValueError: they share no time.
    """
    other, shift = _partner(stream, others, name)
    mine, theirs = stream.stretch.seconds, other.stretch.seconds + shift
    if other.stretch.rate_hz <= 1.1 * stream.stretch.rate_hz:
        turned = interpolated(mine, theirs, other.signal, max_gap_s)
        return stream._replace(signal=np.concatenate([stream.signal, turned], axis=1))
    within = (theirs >= mine[0]) & (theirs <= mine[-1])
    if not within.any():
        raise ValueError(f"'{name}': no row of the gyroscope lies within the {np.ptp(mine):.3g} s of the accelerometer")
    at = theirs[within]
    moved = interpolated(at, mine, stream.signal, max_gap_s)
    stretch = Stretch(other.stretch.rows[within], at, other.stretch.rate_hz)
    start = stream.start
    if start is not None:
        import datetime

        start = start + datetime.timedelta(seconds=float(at[0] - mine[0]))
    return stream._replace(stretch=stretch, signal=np.concatenate([moved, other.signal[within]], axis=1), start=start)


def add_on_clock(stream: _Stream, others: Sequence[_Stream], max_gap_s: float, name: str) -> _Stream:
    """Return an acceleration with gravity added.

    Raises:
        ValueError: they share no time.
    """
    other, shift = _partner(stream, others, name)
    gravity = interpolated(stream.stretch.seconds, other.stretch.seconds + shift, other.signal, max_gap_s)
    return stream._replace(signal=np.concatenate([stream.signal[:, :3] + gravity, stream.signal[:, 3:]], axis=1))
