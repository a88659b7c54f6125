"""Clocks whose parts stand in columns of their own: year, month, day, hour, minute, second, milliseconds."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from otolith.formats.names import fold, tokens
from otolith.formats.stamps import DAY_NS, NAT, Stamps, civil_days

_WORDS = {
    "year": "year yr yyyy jahr annee ano anno jaar",
    "month": "month mon mo monat mois mes mese maand",
    "day": "day dd tag jour dia giorno dag",
    "hour": "hour hours hr hrs hh stunde heure hora ora uur",
    "minute": "minute minutes min mins mi mn minuto minuut",
    "second": "second seconds sec secs ss sekunde seconde segundo secondo",
    "ms": "millisecond milliseconds millis msec ms",
    "us": "microsecond microseconds micros usec us",
    "ns": "nanosecond nanoseconds nanos nsec nsecs ns nanosec",
}
_OF_WORD = {word: part for part, words in _WORDS.items() for word in words.split()}
_MOST = {
    "year": (1970, 2100),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 24),
    "minute": (0, 59),
    "second": (0, 61),
    "ms": (0, 1e3),
    "us": (0, 1e6),
    "ns": (0, 1e9),
}
_NS = {"ms": 1e6, "us": 1e3, "ns": 1.0}
DATE = ("year", "month", "day")


def _part_of(name: str) -> str | None:
    bare = name.strip()
    if bare in ("MM", "mm"):
        return "month" if bare == "MM" else "minute"
    words = tokens(re.sub(r"[(\[].*?[)\]]", "", bare))
    words = words if words else [fold(bare)]
    return _OF_WORD.get(words[-1]) if words and len(words) <= 4 else None


def clock_parts(names: Sequence[str], values: Mapping[int, np.ndarray], dated: Collection[int]) -> dict[str, int]:
    """Return the columns that are parts of one clock, by the part; empty if they make none.

    A clock needs hours and minutes, or whole seconds and a part of a second, or dates and a part of a second. Values must be
    those that such a part has.

    Args:
        names: of the table's columns.
        values: of the first rows, for columns of numbers, by place.
        dated: places of columns of dates without times, or of stamps of whole seconds.
    """
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        part = _part_of(name)
        if part is None or place not in values or part in found:
            continue
        real = values[place][np.isfinite(values[place])]
        low, high = _MOST[part]
        whole = part == "second" or bool((real == np.round(real)).all())
        epoch = part == "second" and len(real) > 0 and bool((real == np.round(real)).all()) and float(real.min()) > 61
        if len(real) and whole and (epoch or (real.min() >= low and real.max() <= high)):
            found[part] = place
    below = [part for part in _NS if part in found]
    for part in below[:-1] if len(below) > 1 else ():
        found.pop(part)  # the finest counts
    below = below[-1:]
    if "hour" in found and "minute" in found:
        if not all(part in found for part in DATE):
            found = {part: place for part, place in found.items() if part not in DATE}
        if "second" in found and float(np.nanmax(values[found["second"]])) > 61:
            found.pop("second")
        return found if "second" in found or below else {}
    seconds = values[found["second"]] if "second" in found else None
    if seconds is not None and below and bool((seconds == np.round(seconds))[np.isfinite(seconds)].all()):
        return {part: found[part] for part in ("second", *below)}
    return {part: found[part] for part in below} if below and dated and seconds is None else {}


def stamps_of(parts: Mapping[str, np.ndarray], dates: Stamps | None) -> Stamps:
    """Return the stamps that parts make.

    Args:
        parts: columns of numbers, (rows,) each, by their part.
        dates: of a column of dates; None without one.
    """
    first = next(iter(parts.values()))
    since_1970 = float(np.nanmedian(parts["second"])) > 1e8 if "second" in parts else False
    total = np.zeros(len(first))
    real = np.ones(len(first), bool)
    for part, scale in (("hour", 3600e9), ("minute", 60e9), ("second", 1e9), *_NS.items()):
        if part in parts:
            real &= np.isfinite(parts[part])
            total += np.where(np.isfinite(parts[part]), parts[part], 0) * scale
    clock = np.where(real, np.round(total), 0).astype(np.int64)
    if dates is not None:
        clock = np.where(real & (dates.clock != NAT), dates.clock + clock, NAT)
        return Stamps(dates.day, dates.day_month_first, clock, dates.offset, True, True, dates.place, dates.separator)
    if since_1970:
        return Stamps(clock // DAY_NS, None, np.where(real, clock % DAY_NS, NAT), np.zeros_like(clock), True, True)
    if "year" not in parts:
        return Stamps(np.zeros(len(clock), np.int64), None, np.where(real, clock, NAT), None, False, True)
    numbers = [np.where(np.isfinite(parts[part]), parts[part], 0).astype(np.int64) for part in DATE]
    day = civil_days(*numbers)
    return Stamps(day, None, np.where(real & (day != NAT), clock, NAT), None, True, True)
