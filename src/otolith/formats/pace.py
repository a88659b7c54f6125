"""Seconds of rows -> a steady clock: restarts cut it, rows that share a stamp or come in bursts are spread, the rate is
found."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from otolith.formats.options import Fact

_FAR_S = 2.0  # a clock that goes back further has been set back or restarted
_MOST_SESSIONS = 1000
_PAUSE_S = 0.5
_BURST_HZ = 400.0  # steps this short, between long pauses, are those of a transmission and not of a sensor
_SHORT = 0.5  # of a time step: rows that come closer than this belong to one burst
_CONTRADICTION = 0.10
_LONG_S = 30 * 86_400.0  # a clock that jumps ahead further was set, or another recording follows
_STRAY_ROWS = 3
_LEAST_HZ, _MOST_HZ = 0.5, 20_000.0


class Pace(NamedTuple):
    """A measured rate.

    Attributes:
        per_s: rows per second.
        regular: whether most steps are one time step or a whole number of them, so that lost rows do not count.
    """

    per_s: float
    regular: bool


class Stretch(NamedTuple):
    """Rows between two restarts of a clock.

    Attributes:
        rows: their places, in order of time.
        seconds: of each row, spread evenly.
        rate_hz: time steps per second.
    """

    rows: np.ndarray
    seconds: np.ndarray
    rate_hz: float


def pace(clock: np.ndarray) -> Pace | None:
    """Measure the rate of a clock that mostly rises; None if it never rises.

    Where steps are regular, their mean is taken without lost rows. Else rows are counted over long blocks, of which the
    typical ones are averaged: bursts, shared stamps and jitter have no effect. Pauses are left out.

    Args:
        clock: (rows,) seconds; rows that hold NaN are left out.
    """
    values = clock[np.isfinite(clock)]
    steps = np.diff(values)
    rising = steps[steps > 0]
    if len(rising) == 0:
        return None
    middle = float(np.median(rising))
    paused = steps > max(_PAUSE_S, 2.5 * middle)
    if paused.any():
        steps = np.where(paused, middle, steps)
        rising = steps[steps > 0]
    blocks = _over_blocks(steps, middle)
    distinct = np.unique(np.round(rising[:100_000] / middle, 3))
    apart = np.diff(distinct)
    grain = float(apart[apart > 0.01].min(initial=1.0)) if len(distinct) < 50 else 0.0  # of the stamps, in steps
    coarse = 0.2 < grain < 0.6  # such as whole milliseconds of a rate near 1 kHz
    near = rising <= (1.5 + (0.75 * grain if coarse else 0.0)) * middle
    multiple = rising / middle
    on_grid = np.abs(multiple - np.round(multiple)) < 0.15
    if np.mean(steps == 0) < 0.05 and near.mean() > 0.5 and (on_grid.mean() > 0.85 or (coarse and near.mean() > 0.85)):
        regular = 1 / float(rising[near & (rising > 0.4 * middle)].mean())
        if blocks > 0.5 * regular:
            if regular > _BURST_HZ and paused.mean() > 0.001:  # rows come in bursts, with long pauses
                return Pace(_over_blocks(np.diff(values), middle), False)
            return Pace(regular, True)
    return Pace(blocks, False)


def _over_blocks(steps: np.ndarray, middle: float) -> float:
    """Rows over time: the mean over those blocks of rows whose duration is near the median."""
    count = len(steps)
    clock = np.append(0.0, np.cumsum(steps))
    block = min(max(1, count // 4), 256)
    while True:
        lasting = clock[block:] - clock[:-block]
        lasting = lasting[lasting > 0]
        typical = float(np.median(lasting)) if len(lasting) else 0.0
        if typical >= 20 * max(middle, float(np.quantile(steps, 0.995))) or block >= count // 2:
            break
        block = min(2 * block, max(1, count // 2))
    if typical == 0:
        return count / max(float(clock.max() - clock.min()), 1e-12)
    usual = np.abs(lasting - typical) <= 0.2 * typical + max(middle, float(np.quantile(steps, 0.995)))
    return block / float(lasting[usual].mean())


def rounded(rate_hz: float) -> float:
    """Return a rate as the next whole number, where that is within 0.3 % of it."""
    near = abs(rate_hz - round(rate_hz)) < 0.003 * rate_hz and rate_hz > 10
    return float(round(rate_hz)) if near else round(rate_hz, 2)


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
    back = np.flatnonzero(np.diff(seconds) < 0) + 1
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
    far = np.flatnonzero(np.abs(steps) > _FAR_S) + 1
    if len(far) == 0:
        return found
    first, last = int(far[0]), int(far[-1])
    if first <= _STRAY_ROWS and abs(steps[first - 1]) > 86_400:
        found[:first] = True
    if last >= len(seconds) - _STRAY_ROWS and abs(steps[last - 1]) > 86_400:
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


def _deep(seconds: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Which of the places where the clock goes back far start a new session: those below all that the last one reached."""
    found = np.zeros(len(back), bool)
    start = 0
    for number, at in enumerate(back[: _MOST_SESSIONS + 1]):
        found[number] = seconds[at] < seconds[start:at].max() - _FAR_S
        start = at if found[number] else start
    found[_MOST_SESSIONS + 1 :] = True
    return found


def stretches(seconds: np.ndarray, rate_hz: float | None, file: str, name: str) -> tuple[list[Stretch], list[Fact]]:
    """Cut a clock where it goes back, spread rows, and find the rate.

    Args:
        seconds: (rows,), NaN where a row has no stamp.
        rate_hz: as given by the user; else it is measured.
        file: name of the table, for messages.
        name: of the clock's columns.

    Raises:
        ValueError: the clock never moves, or contradicts the given rate.
    """
    stamped = np.flatnonzero(np.isfinite(seconds))
    facts = []
    if missing := len(seconds) - len(stamped):
        facts.append(Fact("clock", f"clock: {missing:,} of {len(seconds):,} rows have no time stamp and are left out"))
    clock = seconds[stamped]
    if (wrong := strays(clock)).any():
        one = int(np.argmax(wrong))
        facts.append(
            Fact(
                "clock",
                f"clock: rows left out because their time stamps are far from those around them: {wrong.sum():,}; the "
                f"first is row {stamped[one] + 1:,}",
                True,
            )
        )
        stamped, clock = stamped[~wrong], clock[~wrong]
    rising_enough(clock, file, name)
    first = pace(clock)
    if first is None:
        raise ValueError(f"'{file}': the time stamps in {name} are constant; pass --rate HZ")
    starts, late, depth = cuts(clock, first.per_s)
    if late:
        facts.append(
            Fact(
                "clock",
                f"clock: {late:,} rows were out of order, by {depth:.3g} s at most, and were put in order",
                True,
            )
        )
    ahead = np.setdiff1d(np.flatnonzero(np.diff(clock) > _LONG_S) + 1, starts)
    parts = np.split(np.arange(len(clock)), np.union1d(starts, ahead))
    paces = [pace(np.sort(clock[part])) for part in parts]
    typical = _typical(parts, paces, first)
    if len(starts):
        facts.append(_restarts(clock, stamped, starts))
    if len(ahead):
        days = (clock[ahead[0]] - clock[ahead[0] - 1]) / 86_400
        facts.append(
            Fact(
                "sessions",
                f"sessions: the clock jumps ahead by {days:,.0f} days at row {stamped[ahead[0]] + 1:,}"
                f"{f' and {len(ahead) - 1} more' if len(ahead) > 1 else ''}; the rows were cut there",
                True,
            )
        )
    found, spread = [], np.zeros(2, np.int64)
    measured = []
    for part, mine in zip(parts, paces, strict=True):
        rate = mine if mine is not None and len(part) >= 200 and abs(mine.per_s / typical - 1) > 0.03 else None
        per_second = rate.per_s if rate else typical
        _agree(per_second, rate_hz, file, name)
        if not _LEAST_HZ <= per_second <= _MOST_HZ:
            raise ValueError(
                f"'{file}': by the time stamps in {name}, rows come at {per_second:.3g} Hz; expected {_LEAST_HZ:g} to "
                f"{_MOST_HZ:,.0f} Hz; pass --time with another column, or --time-unit"
            )
        measured.append(per_second)
        rows = part if (np.diff(clock[part]) >= 0).all() else part[np.argsort(clock[part], kind="stable")]
        times, counts = _spread(clock[rows], rate_hz or per_second)
        spread += counts
        found.append(Stretch(stamped[rows], times, rate_hz or rounded(per_second)))
    if spread[0]:
        facts.append(
            Fact(
                "clock",
                f"clock: {spread[0]:,} of {len(clock):,} rows share the time stamp of the row before; they were "
                "spread over the "
                "time to the next one, at the rate of the long run",
                True,
                "--rate",
            )
        )
    if spread[1]:
        facts.append(
            Fact(
                "clock",
                f"clock: {spread[1]:,} of {len(clock):,} rows come in bursts, at uneven steps; they were spread over "
                "the time to the "
                "next burst, at the rate of the long run",
                True,
                "--rate",
            )
        )
    return found, facts


def rising_enough(clock: np.ndarray, file: str, name: str) -> None:
    """Check that a clock goes back rarely.

    Raises:
        ValueError: it goes back so often that rows of several devices must be mixed.
    """
    clock = clock[np.isfinite(clock)]
    steps = np.diff(clock)
    back = steps < 0
    if back.sum() > 20 and -steps[back].sum() > 5 * np.ptp(clock) and back.mean() > 0.01:
        raise ValueError(
            f"'{file}': the clock {name} goes back {back.sum():,} times in {len(clock):,} rows; rows of several devices or "
            "people may be mixed: pass --device-column or --subject-column, or --time with another column"
        )


def _typical(parts: list[np.ndarray], paces: list[Pace | None], first: Pace) -> float:
    """The rate of most rows."""
    weighed = sorted((p.per_s, len(part)) for p, part in zip(paces, parts, strict=True) if p is not None)
    if not weighed:
        return first.per_s
    rates, weights = (np.array(column) for column in zip(*weighed, strict=True))
    return float(rates[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])


def _agree(measured: float, given: float | None, file: str, name: str) -> None:
    if given is not None and abs(measured / given - 1) > _CONTRADICTION:
        raise ValueError(
            f"'{file}': --rate says {given:g} Hz, but by the time stamps in {name} rows come at {measured:.4g} Hz; "
            "leave --rate out, "
            "or correct it or --time-unit"
        )


def _restarts(clock: np.ndarray, stamped: np.ndarray, starts: np.ndarray) -> Fact:
    listed = ", ".join(
        f"row {stamped[at] + 1:,} ({clock[at - 1] - clock[0]:.6g} s -> {clock[at] - clock[0]:.6g} s)"
        for at in starts[:3]
    )
    more = f" and {len(starts) - 3} more" if len(starts) > 3 else ""
    return Fact(
        "sessions",
        f"sessions: the clock goes back at {listed}{more}: a restart, or the same time twice; the rows were cut "
        "there into "
        f"{len(starts) + 1} sessions",
        True,
    )


def _spread(seconds: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of rows in order, each burst spread over the time to the next; and how many rows shared a stamp or came in
    bursts."""
    steps = np.diff(seconds)
    if len(steps) == 0:
        return seconds, np.zeros(2, np.int64)
    shared, close = steps == 0, steps < _SHORT / rate_hz
    bursts = close.mean() > 0.05
    if not shared.any() and not bursts:
        return seconds, np.zeros(2, np.int64)
    joined = close if bursts else shared
    starts = np.flatnonzero(np.append(True, ~joined))
    sizes = np.diff(np.append(starts, len(seconds)))
    begins = seconds[starts]
    room = np.append(np.diff(begins), sizes[-1] / rate_hz)
    needed = sizes / rate_hz
    usual = np.median(sizes)
    # A pause after a burst is a gap: rows keep the long run's rate before it. One or two lost rows are not told from it.
    lasting = np.where(room > 1.5 * needed + 1 / rate_hz, np.minimum(room, np.maximum(needed, 0)), room)
    within = np.arange(len(seconds)) - np.repeat(starts, sizes)
    times = np.repeat(begins, sizes) + within * np.repeat(lasting / sizes, sizes)
    if len(starts) > 1 and sizes[0] < 0.9 * usual and room[0] > 1.2 * needed[0]:
        times[: sizes[0]] = begins[1] - (sizes[0] - np.arange(sizes[0])) / rate_hz  # it began within its first stamp
    count = int(shared.sum())
    return times, np.array([count, int(close.sum()) - count if bursts else 0])


def without_repeats(seconds: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rows without copies of the row before, and how many there were.

    Where many rows share a stamp nothing is left out: rows of a packet do, and may well hold equal values.
    """
    shared = np.append(False, np.diff(seconds) == 0)
    if not 0 < shared.mean() < 0.05:
        return seconds, values, 0
    copies = shared & np.append(False, (values[1:] == values[:-1]).all(axis=1))
    return (seconds[~copies], values[~copies], int(copies.sum())) if copies.any() else (seconds, values, 0)
