"""Where a clock goes back, and single stamps that are wrong."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_FAR_S = 2.0  # a clock that goes back further has been set back or restarted
_DAY_S = 86_400
_MOST_SESSIONS = 1000
_STRAY_ROWS = 3


def cuts(seconds: np.ndarray, rate_hz: float) -> tuple[np.ndarray, int, float]:
    """Return the rows before which a clock goes back to what it had shown already, and how many rows are out of order else.

    A row that comes late to its place fills a hole that earlier rows left; a clock that was set back runs over time that
    earlier rows hold already.

    Args:
        seconds: (rows,) finite.
        rate_hz: of the rows.

    Returns:
        Places of the first rows after each restart; rows out of order; the largest such step back in seconds.
    """
    back = np.flatnonzero(seconds[1:] < seconds[:-1]) + 1
    if len(back) == 0:
        return back, 0, 0.0
    far = back[np.maximum.accumulate(seconds)[back - 1] - seconds[back] > _FAR_S]
    far = far[_deep(seconds, far)]
    restarts, late, largest = [far], 0, 0.0
    edges = [0, *far.tolist(), len(seconds)] if len(far) <= _MOST_SESSIONS else [0, len(seconds)]
    for start, stop in pairwise(edges):
        mine = back[(back > start) & (back < stop)] - start
        if len(mine) == 0:
            continue
        part = seconds[start:stop]
        highest = np.maximum.accumulate(part)[mine - 1]
        depth = highest - part[mine]
        in_order = np.sort(part)
        held = np.searchsorted(in_order, highest, "right") - np.searchsorted(in_order, part[mine], "left")
        restart = held > 1.6 * depth * rate_hz + 3
        restarts.append(mine[restart] + start)
        late += int((~restart).sum())
        largest = max(largest, float(depth[~restart].max(initial=0.0)))
    return np.sort(np.concatenate(restarts)), late, largest


def _deep(seconds: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Which of the places where the clock goes back far start a new session: those below all that the last one reached."""
    found = np.zeros(len(back), bool)
    start = 0
    for number, at in enumerate(back[: _MOST_SESSIONS + 1]):
        found[number] = seconds[at] < seconds[start:at].max() - _FAR_S
        start = at if found[number] else start
    found[_MOST_SESSIONS + 1 :] = True
    return found


def strays(seconds: np.ndarray) -> np.ndarray:
    """Return which rows, (rows,), have a stamp far from those of the rows around them, which agree with each other.

    A late row that fills a hole in the clock is none. At the ends of a file, a stamp must be a day away.

    Args:
        seconds: (rows,) finite.
    """
    found = np.zeros(len(seconds), bool)
    if len(seconds) < 20:
        return found
    steps = np.diff(seconds)
    far = np.flatnonzero((steps > _FAR_S) | (steps < -_FAR_S)) + 1
    if len(far) == 0:
        return found
    first, last = int(far[0]), int(far[-1])
    if first <= _STRAY_ROWS and abs(steps[first - 1]) > _DAY_S:
        found[:first] = True
    if last >= len(seconds) - _STRAY_ROWS and abs(steps[last - 1]) > _DAY_S:
        found[last:] = True
    rising = steps[steps > 0]
    step = float(np.median(rising)) if len(rising) else 0.0
    in_order = np.sort(seconds)
    for size in range(1, _STRAY_ROWS + 1):
        begin = far[np.isin(far + size, far) & (far + size < len(seconds))]
        over = seconds[begin + size] - seconds[begin - 1]
        begin = begin[(over >= 0) & (over <= _FAR_S)]
        rows = (begin[:, None] + np.arange(size)).ravel()
        taken, near = (
            np.searchsorted(in_order, seconds[rows] + reach * step)
            - np.searchsorted(in_order, seconds[rows] - reach * step)
            for reach in (0.45, 5.5)
        )
        found[rows[(near <= size) | (taken > size)]] = True
    return found
