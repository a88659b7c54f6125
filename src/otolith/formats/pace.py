"""Seconds of rows -> a steady clock: restarts cut it, rows that share a stamp or come in bursts are spread, the rate is
found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from otolith.formats.options import Fact
from otolith.formats.restarts import cuts, strays

_PAUSE_S = 0.5
_BURST_HZ = 400.0  # steps this short, between long pauses, are those of a transmission and not of a sensor
_SHORT = 0.5  # of a time step: rows that come closer than this belong to one burst
_CONTRADICTION = 0.10
_LONG_S = 30 * 86_400.0  # a clock that jumps ahead further was set, or another recording follows
_SLICES, _SLICE = 8, 250_000  # rows of a long recording from which its rate is measured
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
    values = clock if np.isfinite(clock).all() else clock[np.isfinite(clock)]
    if len(values) > _SLICES * _SLICE:  # a sample of a long recording; the steps between slices count as pauses
        starts = np.linspace(0, len(values) - _SLICE, _SLICES).astype(int)
        values = np.concatenate([values[start : start + _SLICE] for start in starts])
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
    if np.mean(steps == 0) > 0.5 and (found := _over_packets(steps)) is not None:
        return Pace(found, False)
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
    return block / float(lasting[usual].mean() if usual.any() else typical)


def _over_packets(steps: np.ndarray) -> float | None:
    """Rows over time of rows that share stamps, from those stamps that have a usual number of rows and a usual step to the
    next; None if these are few."""
    starts = np.append(0, np.flatnonzero(steps > 0) + 1)
    if len(starts) < 6:
        return None
    sizes, lasting = np.diff(starts)[1:], steps[starts[1:] - 1][1:]
    usual = (np.abs(sizes / np.median(sizes) - 1) < 0.2) & (np.abs(lasting / np.median(lasting) - 1) < 0.5)
    return float(sizes[usual].sum() / lasting[usual].sum()) if usual.mean() > 0.7 else None


def rounded(rate_hz: float) -> float:
    """Return a rate as the next whole number, where that is within 0.3 % of it."""
    near = abs(rate_hz - round(rate_hz)) < 0.003 * rate_hz and rate_hz > 10
    return float(round(rate_hz)) if near else round(rate_hz, 2)


def carried(seconds: np.ndarray) -> np.ndarray:
    """Return seconds, (rows,), of which each row without a stamp has that of the last row with one, where many have none."""
    known = np.isfinite(seconds)
    if not known.any() or (~known).mean() <= 0.3:
        return seconds
    last = np.maximum.accumulate(np.where(known, np.arange(len(seconds)), 0))
    return seconds[last]


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
    stamped, facts = _with_stamps(seconds)
    clock = _taken(carried(seconds), stamped)
    rising_enough(clock, file, name)
    first = pace(clock)
    if first is None:
        raise ValueError(f"'{file}': the time stamps in {name} are constant; pass --rate HZ")
    moves = int(np.count_nonzero(clock[1:] != clock[:-1]))
    if rate_hz is None and len(clock) > 20 * (moves + 1) and moves < 3:
        raise ValueError(
            f"'{file}': {len(clock):,} rows have {moves + 1} different time stamps in {name}, too few to tell the rate; "
            "pass --rate HZ, or write the stamps with more digits"
        )
    starts, late, depth = cuts(clock, first.per_s)
    if late:
        facts.append(
            Fact(
                "clock",
                f"clock: {late:,} rows were out of order, by {depth:.3g} s at most, and were put in order",
                True,
            )
        )
    ahead = np.setdiff1d(np.flatnonzero(clock[1:] - clock[:-1] > _LONG_S) + 1, starts)
    parts = np.split(_places(len(clock)), np.union1d(starts, ahead))
    paces: list[Pace | None] = (
        [first] if len(parts) == 1 and not late else [pace(np.sort(clock[part])) for part in parts]
    )
    typical = _typical(parts, paces, first)
    if len(starts):
        facts.append(_restarts(clock, stamped, starts))
    facts += _ahead(clock, stamped, ahead)
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
        mine = _taken(clock, part)
        rows = part if (mine[1:] >= mine[:-1]).all() else part[np.argsort(mine, kind="stable")]
        times, counts = _spread(mine if rows is part else clock[rows], rate_hz or per_second)
        spread += counts
        found.append(Stretch(_taken(stamped, rows), times, rate_hz or rounded(per_second)))
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


def _ahead(clock: np.ndarray, stamped: np.ndarray, ahead: np.ndarray) -> list[Fact]:
    """What is said of a clock that jumps ahead."""
    if len(ahead) == 0:
        return []
    days = (clock[ahead[0]] - clock[ahead[0] - 1]) / 86_400
    return [
        Fact(
            "sessions",
            f"sessions: the clock jumps ahead by {days:,.0f} days at row {stamped[ahead[0]] + 1:,}"
            f"{f' and {len(ahead) - 1} more' if len(ahead) > 1 else ''}; the rows were cut there",
            True,
        )
    ]


def _places(count: int) -> np.ndarray:
    """The places of rows, in 32 bits where these suffice."""
    return np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)


def _taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows at some ascending places, or in any order; no copy where these are all rows in order."""
    whole = len(places) == len(values) and (len(places) == 0 or (places[0] == 0 and (places[1:] > places[:-1]).all()))
    return values if whole else values[places]


def _with_stamps(seconds: np.ndarray) -> tuple[np.ndarray, list[Fact]]:
    """Places of the rows that have a time stamp which can be right, and what was said of the others."""
    stamped = _places(len(seconds))[np.isfinite(seconds)]
    facts = []
    missing = len(seconds) - len(stamped)
    seconds = carried(seconds)
    if len(stamped) < np.isfinite(seconds).sum():
        text = f"clock: {missing:,} of {len(seconds):,} rows have no time stamp and take that of the row before"
        facts.append(Fact("clock", text, True, "--rate, --time"))
        stamped = _places(len(seconds))[np.isfinite(seconds)]
    elif missing:
        facts.append(Fact("clock", f"clock: {missing:,} of {len(seconds):,} rows have no time stamp and are left out"))
    clock = _taken(seconds, stamped)
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
    return stamped, facts


def rising_enough(clock: np.ndarray, file: str, name: str) -> None:
    """Check that a clock goes back rarely.

    Raises:
        ValueError: it goes back so often that rows of several devices must be mixed.
    """
    if not np.isfinite(clock).all():
        clock = clock[np.isfinite(clock)]
    back = clock[1:] < clock[:-1]
    if back.sum() <= 20:
        return
    steps = np.diff(clock)
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
    del steps
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
    paused = room > 1.5 * needed + 1 / rate_hz
    lasting = np.where(paused, needed, room)
    # After a pause, rows may begin within what their first stamp stands for, such as a second.
    late = np.append(True, paused[:-1]) & (sizes < 0.9 * usual) & (room > 1.2 * needed) & (room < 1.5 * usual / rate_hz)
    lasting, begins = np.where(late, needed, lasting), np.where(late, begins + room - needed, begins)
    within = np.arange(len(seconds)) - np.repeat(starts, sizes)
    times = np.repeat(begins, sizes) + within * np.repeat(lasting / sizes, sizes)
    count = int(shared.sum())
    return times, np.array([count, int(close.sum()) - count if bursts else 0])


def without_repeats(seconds: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rows without copies of the row before, and how many there were.

    Where many rows share a stamp nothing is left out: rows of a packet do, and may well hold equal values.
    """
    shared = np.append(False, seconds[1:] == seconds[:-1])
    if not 0 < shared.mean() < 0.05:
        return seconds, values, 0
    copies = shared & np.append(False, (values[1:] == values[:-1]).all(axis=1))
    return (seconds[~copies], values[~copies], int(copies.sum())) if copies.any() else (seconds, values, 0)
