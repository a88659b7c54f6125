"""Rows that hold numbers but no motion: zeros of idle sensors and lost packets, values held constant, impossible values."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

MOST_G = 100.0
MOST_RAD_S = 200.0  # over five times the range of usual gyroscopes

_HELD_S = 2.0
_COARSE_G = 0.008  # a sensor this coarse may rest on one value for long


class Missing(NamedTuple):
    """A stretch of a session without data; seconds from the session's first row, and why."""

    start_s: float
    stop_s: float
    reason: str


class Masks(NamedTuple):
    """(rows,) which rows hold no data, by reason."""

    empty: np.ndarray
    impossible: np.ndarray
    zero: np.ndarray
    held: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """Rows without data, for any reason."""
        found: np.ndarray = self.empty | self.impossible | self.zero | self.held
        return found


REASONS = (
    "missing values",
    "impossible values",
    "zeros: the sensor was idle or lost",
    "constant values: the sensor was idle or stuck",
)


def every(table: np.ndarray) -> np.ndarray:
    """Return in which rows all columns are true, (rows,). NumPy's `all(axis=1)` takes ten times as long for few columns."""
    return reduce(np.logical_and, table.T, np.ones(len(table), bool))


def some(table: np.ndarray) -> np.ndarray:
    """Return in which rows a column is true, (rows,)."""
    return reduce(np.logical_or, table.T, np.zeros(len(table), bool))


def masks(signal: np.ndarray, rate_hz: float) -> Masks:
    """Find rows without data.

    Args:
        signal: (rows, 3 or 6) in g and rad/s.
        rate_hz: of the rows.
    """
    whole = every(np.isfinite(signal))
    with np.errstate(invalid="ignore"):
        impossible = some(np.abs(signal[:, :3]) > MOST_G)
        if signal.shape[1] > 3:
            impossible |= some(np.abs(signal[:, 3:]) > MOST_RAD_S)
        zero = every(signal[:, :3] == 0)
    acc = signal[:, :3]
    held = held_rows(acc, rate_hz)
    least = max(8, round(_HELD_S * rate_hz))
    if signal.shape[1] > 3:
        for start, stop in _runs(signal[:, 3:], least):
            if float(acc[start:stop].std(axis=0).max()) > 0.05:  # the accelerometer moves on
                held[start:stop] = True
    held &= ~zero
    return Masks(~whole, impossible & whole, zero, held)


def held_rows(acc: np.ndarray, rate_hz: float, per_g: float = 1.0) -> np.ndarray:
    """Return which rows, (rows,), belong to runs of 2 s or longer in which a fine accelerometer shows the same values.

    Args:
        acc: (rows, 3).
        rate_hz: of the rows.
        per_g: size of one g in its unit, roughly.
    """
    held = np.zeros(len(acc), bool)
    runs = _runs(acc, max(8, round(_HELD_S * rate_hz)))
    for start, stop in runs:
        held[start:stop] = True
    if len(runs):
        moving = acc[~held & every(np.isfinite(acc)) & some(acc != 0)]
        if len(moving) and _step(moving) > _COARSE_G * per_g:
            held[:] = False
    return held


def _runs(values: np.ndarray, least: int) -> np.ndarray:
    """(runs, 2) first row and end of each run of at least `least` equal rows."""
    if len(values) < least:
        return np.empty((0, 2), int)
    same = np.append(False, every(values[1:] == values[:-1]))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, stops = edges[::2] - 1, edges[1::2]
    long = stops - starts >= least
    return np.stack([starts[long], stops[long]], axis=1)


def _step(values: np.ndarray) -> float:
    """The smallest difference between values of one axis: the resolution."""
    if len(values) < 2:
        return 0.0
    some = values[:: max(1, len(values) // 5000)]
    found = []
    for axis in some.T:
        gaps = np.diff(np.unique(np.round(axis.astype(np.float64), 6)))
        if len(gaps):
            found.append(float(np.quantile(gaps, 0.1)))
    return min(found, default=0.0)


def missing(
    extents: list[tuple[float, float]], seconds: np.ndarray, found: Masks, end_s: float, least_s: float
) -> tuple[Missing, ...]:
    """Return the stretches of a session that no piece covers, with the reason that most of their rows have.

    Args:
        extents: start and end of each piece, in order.
        seconds: (rows,) of the session's rows.
        found: their masks.
        end_s: of the session.
        least_s: shorter stretches are left out.
    """
    edges = [0.0, *(edge for extent in extents for edge in extent), end_s]
    gaps = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < least_s:
            continue
        first, last = np.searchsorted(seconds, [start, stop])
        counts = [int(mask[first:last].sum()) for mask in found]
        reason = REASONS[int(np.argmax(counts))] if max(counts) > 0 else "no rows"
        gaps.append(Missing(start, stop, reason))
    return tuple(gaps)
