"""Columns of time stamps -> seconds from the first row, and its date where there is one."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from otolith.formats.clock_columns import Clock
from otolith.formats.clock_numbers import continued, unwrapped, written_out
from otolith.formats.names import TIME_UNITS, is_counter
from otolith.formats.options import DateOrder, Fact, ReadOptions
from otolith.formats.pace import carried, pace, rising_enough
from otolith.formats.parts import stamps_of
from otolith.formats.rows import Rows
from otolith.formats.stamps import DAY_NS, NAT, Stamps, zone_of

RATES_HZ = (4.0, 2000.0)
"""Rates between which a numeric clock's unit is sought."""

_LOOK = 200_000  # rows by which a unit is told
_FIRST, _LAST = 946_684_800.0, 2_524_608_000.0  # 2000 and 2050, in seconds since 1970; LabVIEW's 1904 gives 2090
_EPOCHS: dict[str, Callable[[float], float]] = {
    "s": lambda v: v,
    "ms": lambda v: v * 1e-3,
    "us": lambda v: v * 1e-6,
    "ns": lambda v: v * 1e-9,
    "100ns": lambda v: v * 1e-7 - (62_135_596_800 if v > 3e17 else 11_644_473_600),  # .NET; Windows
    # of astronomers (Julian), of MATLAB, of spreadsheets
    "days": lambda v: (v - (2_440_587.5 if v > 2e6 else 719_529 if v > 7e5 else 25_569)) * 86400,
}


class Time(NamedTuple):
    """A clock that was read.

    Attributes:
        seconds: (rows,) from the first row; NaN where a row has no stamp.
        start: date and time of second 0; None without dates.
        name: of its columns.
        how: what it holds, for the fact about the rate.
        guessed: whether the values decided.
        facts: further decisions.
        stamps: how many different stamps it has.
        origin_s: of the first row, on the clock's own zero; in UTC since 1970 where it is dated.
        dated: whether the clock's zero is a date.
    """

    seconds: np.ndarray
    start: datetime.datetime | None
    name: str
    how: str
    guessed: bool
    facts: tuple[Fact, ...]
    stamps: int
    origin_s: float = 0.0
    dated: bool = False


def read_clock(
    rows: Rows, clocks: Sequence[Clock], options: ReadOptions, *, file: str, order: DateOrder | None = None
) -> Time | None:
    """Read the clock of a table. Of several, the finest is taken; its date may come from another.

    Args:
        rows: of the table.
        clocks: its columns of time stamps.
        options: of the user.
        file: name of the table, for messages.
        order: of day and month, where lines before the table state it.

    Returns:
        The clock; None without one, or if its stamps are constant and a rate is given.

    Raises:
        ValueError: stamps are no stamps, their unit or order cannot be told, or they contradict the rate.
    """
    if not clocks:
        return None
    found: list[Time] = []
    refused: list[ValueError] = []
    texts = [clock for clock in clocks if clock.place in rows.stamps]
    if parts := [clock for clock in clocks if clock.part]:
        found.append(_parts(rows, parts, texts, options, file, order))
        clocks = [clock for clock in clocks if clock not in parts]
    if (pair := _date_and_time(rows, texts)) is not None:
        found.append(_pair(rows, pair, options, file, order))
        clocks = [clock for clock in clocks if clock not in pair]
    for clock in clocks:
        try:
            if clock.place in rows.stamps:
                found.append(_dates(rows.stamps[clock.place], clock.name, options, file, order))
            else:
                found.append(_numbers(rows.numbers[clock.place], clock, options, file))
        except ValueError as error:
            refused.append(error)
    moving = [time for time in found if time.stamps > 1]
    if not moving:
        if options.rate_hz is not None and (found or len(refused) < len(clocks)):
            return None
        if refused:
            raise refused[0]
        raise ValueError(
            f"'{file}': the time stamps in {clocks[0].name if clocks else found[0].name} are constant; pass --rate HZ"
        )
    back = [int((time.seconds[1:] < time.seconds[:-1]).sum()) for time in moving]
    moving = [
        time for time, times in zip(moving, back, strict=True) if times <= 2 * min(back) + 3
    ]  # no part of a second
    finest = max(time.stamps for time in moving)
    fine = [time for time in moving if time.stamps >= 0.98 * finest]
    best = next((time for time in fine if time.start is not None), fine[0])
    if len(moving) > 1:
        others = ", ".join(time.name for time in moving if time is not best)
        best = best._replace(
            facts=(*best.facts, Fact("clock", f"clock: {best.name}; not used: {others}", True, "--time"))
        )
    if best.start is None and (dated := next((time for time in moving if time.start is not None), None)) is not None:
        best = best._replace(start=dated.start)
    return best


def _parts(
    rows: Rows,
    parts: Sequence[Clock],
    texts: Sequence[Clock],
    options: ReadOptions,
    file: str,
    order: DateOrder | None,
) -> Time:
    """A clock whose parts stand in columns of their own; its date may stand in a column of dates."""
    numbers = {clock.part: rows.numbers[clock.place] for clock in parts}
    dates = next((c for c in texts if rows.stamps[c.place].dated), None) if "year" not in numbers else None
    name = " ".join([*([dates.name] if dates else []), *(clock.name for clock in parts)])
    return _dates(stamps_of(numbers, rows.stamps[dates.place] if dates else None), name, options, file, order)


def _date_and_time(rows: Rows, texts: Sequence[Clock]) -> tuple[Clock, Clock] | None:
    """Two columns that make one clock: dates without times, and times without dates."""
    dates = [c for c in texts if rows.stamps[c.place].dated and not rows.stamps[c.place].timed]
    times = [c for c in texts if rows.stamps[c.place].timed and not rows.stamps[c.place].dated]
    return (dates[0], times[0]) if dates and times else None


def _pair(rows: Rows, pair: tuple[Clock, Clock], options: ReadOptions, file: str, order: DateOrder | None) -> Time:
    dates, times = (rows.stamps[clock.place] for clock in pair)
    clock = np.where(dates.clock == NAT, NAT, times.clock)
    both = Stamps(dates.day, dates.day_month_first, clock, times.offset, True, True, times.place, dates.separator)
    return _dates(both, f"{pair[0].name} and {pair[1].name}", options, file, order)


def _dates(stamps: Stamps, name: str, options: ReadOptions, file: str, order: DateOrder | None) -> Time:
    """A column of dates, of times of day, or of both."""
    readable = stamps.clock != NAT
    if not readable.any():
        raise ValueError(
            f"'{file}': {name} holds neither numbers nor dates; pass --time COLUMN, or --rate HZ without a clock"
        )
    facts: list[Fact] = []
    if stamps.unpadded:
        text = (
            f"clock: fractions of a second in {name} lack leading zeros: .5 was read as .005, so that rows are in order"
        )
        facts.append(Fact("clock", text, True))
    if not stamps.dated:
        seconds = np.where(readable, stamps.clock / 1e9, np.nan)
        seconds, times = unwrapped(seconds, stamps.period_s)
        if times:
            passed = "midnight" if stamps.period_s == 86_400 else "a full hour"
            facts.append(Fact("clock", f"clock: {name} passes {passed} {times} time{'s' if times > 1 else ''}", True))
        return _from_first(seconds, None, name, f"{name} holds times of day", False, facts)
    day, certain, fact = _days(stamps, options, file, name, order)
    if fact is not None:
        facts.append(fact)
    real = readable & (day != NAT)
    if not real.any():
        raise ValueError(f"'{file}': {name} holds no possible date; pass --date-order day-first or month-first")
    instant = np.where(real, day, 0)
    instant *= DAY_NS
    np.add(instant, stamps.clock, out=instant, where=real)
    if stamps.offset is not None:
        instant -= stamps.offset * 60_000_000_000
    first = int(instant[np.argmax(real)])
    instant -= first
    seconds = instant / 1e9
    seconds[~real] = np.nan
    del instant
    start = None
    if certain:
        zone = zone_of(stamps)
        utc = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(
            microseconds=first // 1000
        )
        start = utc.replace(tzinfo=None) if zone is None else utc.astimezone(zone)
    if stamps.offset is not None and len(np.unique(stamps.offset[real])) > 1:
        facts.append(Fact("clock", f"clock: the zone's offset in {name} changes; time was counted in UTC"))
    time = _from_first(seconds, start, name, f"{name} holds dates", False, facts)
    return time._replace(origin_s=first / 1e9, dated=True)


def _days(
    stamps: Stamps, options: ReadOptions, file: str, name: str, order: DateOrder | None
) -> tuple[np.ndarray, bool, Fact | None]:
    """Each row's day; whether the date is certain; how it was decided."""
    if stamps.day_month_first is None:
        return stamps.day, True, None
    day_first, month_first = stamps.day, stamps.day_month_first
    readable = stamps.clock != NAT
    impossible = [int((readable & (days == NAT)).sum()) for days in (day_first, month_first)]
    wanted = options.date_order or order
    if wanted is not None and impossible[wanted == "month-first"] < max(1, 0.01 * readable.sum()):
        chosen = day_first if wanted == "day-first" else month_first
        return (
            chosen,
            True,
            Fact("clock", f"clock: dates in {name} are {wanted}", options.date_order is None, "--date-order"),
        )
    if options.date_order is not None:
        days = day_first if wanted == "day-first" else month_first
        row = int(np.argmax(readable & (days == NAT)))
        raise ValueError(f"'{file}', row {row + 1}: the date in {name} is impossible {wanted}; correct --date-order")
    few = 0.01 * readable.sum()
    for mine, other, days, said in ((0, 1, day_first, "day first"), (1, 0, month_first, "month first")):
        if impossible[mine] <= few and impossible[other] > few:
            return (
                days,
                True,
                Fact(
                    "clock",
                    f"clock: dates in {name} are {said}, the only order that fits all rows",
                    True,
                    "--date-order",
                ),
            )
    if min(impossible) > few:
        row = int(np.argmax(readable & (day_first == NAT)))
        raise ValueError(f"'{file}', row {row + 1}: the date in {name} is impossible in any order of day and month")
    jumps = [int(np.abs(np.diff(days[readable & (days != NAT)])).max(initial=0)) for days in (day_first, month_first)]
    if max(jumps) == 0:
        return (
            day_first,
            False,
            Fact(
                "clock",
                f"clock: dates in {name} may be day first or month first; times are right, but no dates are shown",
                False,
                "--date-order",
            ),
        )
    if min(jumps) <= 1 < max(jumps):
        mine = jumps.index(min(jumps))
        said = ("day first", "month first")[mine]
        fact = Fact("clock", f"clock: dates in {name} are {said}: so they follow one another", True, "--date-order")
        return (day_first, month_first)[mine], True, fact
    raise ValueError(
        f"'{file}': the dates in {name} may be day first or month first, and both fit all rows; pass --date-order "
        "day-first or "
        "--date-order month-first"
    )


def _numbers(values: np.ndarray, clock: Clock, options: ReadOptions, file: str) -> Time:
    """A column of numbers."""
    name = clock.name
    if digits := written_out(values):
        return _dates(digits, name, options, file, None)
    values, wraps, size = continued(values)
    facts = [Fact("clock", f"clock: {name} ran over {size:g} {wraps} times and was continued", True)] if wraps else []
    if pace(values) is None:
        return Time(values, None, name, "", False, (), 1)
    rising_enough(values, file, name)
    head = carried(values[:_LOOK])
    rates = {unit: speed.per_s for unit, size in TIME_UNITS.items() if (speed := pace(head * size)) is not None}
    unit = options.time_unit or clock.unit
    guessed = unit is None
    if "finetime" in _bare(name) or "sampletimefine" in _bare(name):
        unit = options.time_unit or ("100us" if 10 <= rates["100us"] <= RATES_HZ[1] else "us")
    if unit is None:
        unit = _unit(values, rates, clock, options, file)
    if unit == "rows":
        assert options.rate_hz is not None
        how = f"given; {name} counts rows"
        return _from_first(values / options.rate_hz, None, name, how, False, facts)
    rate = rates[unit]
    if not 0.5 <= rate <= 20_000:
        raise ValueError(
            f"'{file}': a rate of {rate:.4g} Hz follows from {name} in {unit}; expected {RATES_HZ[0]:g} to "
            f"{RATES_HZ[1]:g} Hz; pass "
            "--time-unit, or --time with another column"
        )
    seconds = values * TIME_UNITS[unit]
    start, origin = None, None
    middle = float(np.nanmedian(values))
    if unit in _EPOCHS and _FIRST < (epoch := _EPOCHS[unit](middle)) < _LAST:
        first = values[np.argmax(np.isfinite(values))]
        since = datetime.timedelta(seconds=epoch + float(first - middle) * TIME_UNITS[unit])
        shown = datetime.timedelta(milliseconds=round(since.total_seconds() * 1e4) / 10)  # what a large number leaves
        start = datetime.datetime(1970, 1, 1, tzinfo=None if unit == "days" else datetime.timezone.utc) + shown
        origin = since.total_seconds()
    time = _from_first(seconds, start, name, f"{name} in {unit}", guessed, facts)
    return time if origin is None else time._replace(origin_s=origin, dated=True)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _unit(values: np.ndarray, rates: dict[str, float], clock: Clock, options: ReadOptions, file: str) -> str:
    """The unit of a clock that no word names: the one in which it is a date of this century, or has a usual rate."""
    middle = float(np.nanmedian(values))
    dated = [u for u, of in _EPOCHS.items() if _FIRST < of(middle) < _LAST and 0.5 <= rates[u] <= 20_000]
    if dated:
        return min(dated, key=lambda u: not RATES_HZ[0] <= rates[u] <= RATES_HZ[1])
    usual = [u for u in ("s", "ms", "us", "ns") if RATES_HZ[0] <= rates[u] <= RATES_HZ[1]]
    steps = np.diff(values[np.isfinite(values)])
    single = steps == 1
    counts = bool(np.median(steps) == 1 and single.mean() > 0.5 and single.sum() > 0.5 * steps.sum())  # and no burst
    counts |= is_counter(clock.name) and bool((steps == np.round(steps)).all())
    if options.rate_hz is not None:
        agree = [u for u, rate in rates.items() if abs(rate / options.rate_hz - 1) <= 0.1]
        if agree:
            return agree[0]
        if counts:
            return "rows"
    if counts or not usual:
        raise ValueError(
            f"'{file}': {clock.name} grows by {1 / rates['s']:.4g} per row, which may be a counter; pass --rate HZ, or "
            f"--time-unit {'|'.join(TIME_UNITS)}"
        )
    return usual[0]


def _from_first(
    seconds: np.ndarray, start: datetime.datetime | None, name: str, how: str, guessed: bool, facts: Sequence[Fact]
) -> Time:
    known = np.isfinite(seconds)
    real = seconds if known.all() else seconds[known]
    stamps = 1 + int(np.count_nonzero(real[1:] != real[:-1])) if len(real) else 0
    first = float(real[0]) if len(real) else 0.0
    return Time(seconds - first if first else seconds, start, name, how, guessed, tuple(facts), stamps, first)
