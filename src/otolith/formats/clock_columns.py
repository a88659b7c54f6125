"""Which columns of a table hold its time stamps, or parts of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from otolith.formats.layout import Layout, number
from otolith.formats.names import is_time, time_unit_of, understand, unit_word
from otolith.formats.options import ReadOptions
from otolith.formats.parts import clock_parts
from otolith.formats.stamps import is_stamp
from otolith.formats.unnamed import column_numbers, rises


class Clock(NamedTuple):
    """A column of time stamps; `part` is set where it holds a part of them alone, such as the hour."""

    place: int
    name: str
    is_number: bool
    unit: str | None
    part: str = ""


def find_clocks(layout: Layout, options: ReadOptions, place_of: Callable[[str], int]) -> list[Clock]:
    """Return the columns of time stamps: those that the user names, that their names say, or that look so."""
    if options.time is not None:
        said = [options.time] if options.time in layout.names else options.time.split(",")
        places = [place_of(name) for name in said]
        parts = _parts(layout, places) if len(places) > 1 else []
        return [*parts, *(_clock(layout, k) for k in places if k not in {clock.place for clock in parts})]
    if layout.named:
        chosen = [k for k, name in enumerate(layout.names) if is_time(name) and _may_be_clock(layout, k)]
        dated = [k for k in range(len(layout.names)) if k not in chosen and _share(layout, k, is_stamp) > 0.9]
        if parts := _parts(layout, range(len(layout.names))):
            used = {clock.place for clock in parts}
            return [*parts, *(_clock(layout, k) for k in (chosen or dated) if k not in used)]
        without = [
            k for k, name in enumerate(layout.names) if not name.lower().replace("unnamed:", "").strip(". 0123456789")
        ]
        without += [k for k, name in enumerate(layout.names) if unit_word(understand(name).unit, "time")]
        rising = [k for k in without if not (chosen or dated) and rises(layout, k)]  # as pandas writes an index
        return [_clock(layout, k) for k in (chosen or dated or rising)]
    stamped = [k for k in range(len(layout.names)) if _share(layout, k, is_stamp) > 0.9]
    if stamped:
        return [_clock(layout, k) for k in stamped[:2]]
    rising = [k for k in range(len(layout.names)) if rises(layout, k)]
    return [_clock(layout, k) for k in rising[:1]]


def unreadable_clock(layout: Layout) -> str:
    """Return what is said of a column that is named as a clock and holds neither numbers nor dates; "" without one."""
    for k, name in enumerate(layout.names if layout.named else ()):
        cell = next((row[k] for row in layout.sample if k < len(row) and row[k]), "")
        if cell and is_time(name) and not _may_be_clock(layout, k):
            return (
                f"no time stamps that can be read: '{cell[:40]}' in {name} is neither a number nor a date; write it as "
                "seconds or as 2024-05-14 10:00:00.000"
            )
    return ""


def _parts(layout: Layout, places: range | list[int]) -> list[Clock]:
    """Columns that hold a part of the time stamps each."""
    names = [name if k in places else "" for k, name in enumerate(layout.names)]
    numbers = [k for k in places if _share(layout, k, lambda cell: number(cell) is not None) > 0.9]
    dated = [k for k in places if _share(layout, k, _without_fraction) > 0.9]
    found = clock_parts(names, {k: column_numbers(layout, k) for k in numbers}, dated)
    return [Clock(place, layout.names[place], True, None, part) for part, place in found.items()]


def _without_fraction(cell: str) -> bool:
    return is_stamp(cell) and not re.search(r"\d:\d\d:\d\d[.,:]\d", cell)


def _clock(layout: Layout, k: int) -> Clock:
    filled = [row[k] for row in layout.sample if k < len(row) and row[k]]
    numbers = sum(number(cell) is not None for cell in filled[:200])
    unit = unit_word(layout.units[k], "time") or time_unit_of(layout.names[k])
    return Clock(k, layout.names[k], numbers > 0.5 * len(filled[:200]), unit)


def _share(layout: Layout, k: int, test: Callable[[str], bool]) -> float:
    filled = [row[k] for row in layout.sample[:200] if k < len(row) and row[k]]
    return sum(map(test, filled)) / len(filled) if filled else 0.0


def _may_be_clock(layout: Layout, k: int) -> bool:
    """Whether most cells are numbers or stamps; the words of an empty column are no clock."""
    return _share(layout, k, lambda cell: number(cell) is not None or is_stamp(cell)) > 0.5
