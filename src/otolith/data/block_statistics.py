"""Statistics of a signal over consecutive blocks of time, without a Python call per block and in bounded memory."""

from __future__ import annotations

import dataclasses

import numpy as np

from otolith.data.units import possible

_ROWS = 1 << 20  # rows per pass; blocks are never split


@dataclasses.dataclass(frozen=True, eq=False)
class BlockStatistics:
    """Statistics of consecutive blocks of equal duration; a block without rows has the count 0 and NaN elsewhere.

    Attributes:
        starts_s: (blocks,) float64, start of each block.
        counts: (blocks,) int64, rows of each block.
        sums: (blocks, channels) float64, of the values.
        squares: (blocks, channels) float64, sums of squared values.
        lowest: (blocks, channels) float64.
        highest: (blocks, channels) float64.
    """

    starts_s: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """(blocks, channels) mean of the values."""
        return np.asarray(np.divide(self.sums, np.where(self.counts, self.counts, np.nan)[:, None]))

    @property
    def deviations(self) -> np.ndarray:
        """(blocks, channels) standard deviation of the values, with the number of rows as the divisor."""
        squares = np.divide(self.squares, np.where(self.counts, self.counts, np.nan)[:, None])
        return np.asarray(np.sqrt(np.maximum(squares - self.means**2, 0)))

    def merged(self, blocks: int) -> BlockStatistics:
        """Return the statistics of windows of several consecutive blocks, one window from each block on.

        Args:
            blocks: how many make a window; there are `blocks - 1` fewer windows than blocks.
        """
        view = np.lib.stride_tricks.sliding_window_view
        count = len(self.starts_s) - blocks + 1
        if count < 1:
            empty = np.empty((0, self.sums.shape[1]))
            return BlockStatistics(np.empty(0), np.empty(0, np.int64), empty, empty, empty, empty)
        totals = (view(values, blocks, axis=0).sum(axis=-1) for values in (self.counts, self.sums, self.squares))
        counts, sums, squares = (np.asarray(total) for total in totals)
        lowest = np.fmin.reduce(view(self.lowest, blocks, axis=0), axis=-1)
        highest = np.fmax.reduce(view(self.highest, blocks, axis=0), axis=-1)
        return BlockStatistics(
            self.starts_s[:count], counts, np.nan_to_num(sums), np.nan_to_num(squares), lowest, highest
        )


def block_statistics(time_s: np.ndarray, signal: np.ndarray, seconds: float) -> BlockStatistics:
    """Return the statistics of blocks of some seconds; the first block begins with the first row.

    Args:
        time_s: (time,) seconds, ascending; rows may be missing.
        signal: (time, channels), finite.
        seconds: duration of a block. A last block that the recording does not fill is left out.

    Raises:
        ValueError: time does not ascend, does not fit the signal, or a value is not finite.
    """
    if signal.ndim != 2 or time_s.shape != signal.shape[:1]:
        raise ValueError(f"time is {time_s.shape} and the signal {signal.shape}; expected (time,) and (time, channels)")
    rows, channels = signal.shape
    step = float(np.median(np.diff(time_s[: 1 << 16]))) if rows > 1 else 0.0
    span = float(time_s[-1] - time_s[0]) + step if rows else 0.0
    count = int(span / seconds + 1e-6)
    starts = (float(time_s[0]) if rows else 0.0) + seconds * np.arange(count + 1)
    edges = np.searchsorted(time_s, starts - 0.25 * step)  # a stamp that is late by its rounding stays in its block
    counts = np.diff(edges)
    nan = np.full((count, channels), np.nan)
    found = BlockStatistics(
        starts[:-1], counts, np.zeros((count, channels)), np.zeros((count, channels)), nan, nan.copy()
    )
    first = 0
    while first < count:
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + _ROWS, side="right")) - 1)
        last = min(last, count)
        _fill(found, time_s, signal, edges, first, last)
        first = last
    return found


def _fill(
    found: BlockStatistics, time_s: np.ndarray, signal: np.ndarray, edges: np.ndarray, first: int, last: int
) -> None:
    """Compute the statistics of blocks `first` to `last`."""
    begin, end = int(edges[first]), int(edges[last])
    if begin == end:
        return
    if (np.diff(time_s[begin : end + 1]) < 0).any():
        raise ValueError("time goes back; expected seconds in ascending order")
    values = signal[begin:end].astype(np.float64)
    if not possible(values).all():
        raise ValueError(
            "the signal holds a value that is not finite, or beyond what a sensor measures; leave such rows out"
        )
    blocks = first + np.flatnonzero(found.counts[first:last])
    starts = edges[blocks] - begin
    found.sums[blocks] = np.add.reduceat(values, starts, axis=0)
    found.lowest[blocks] = np.minimum.reduceat(values, starts, axis=0)
    found.highest[blocks] = np.maximum.reduceat(values, starts, axis=0)
    np.square(values, out=values)
    found.squares[blocks] = np.add.reduceat(values, starts, axis=0)
