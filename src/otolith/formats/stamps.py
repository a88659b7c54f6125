"""Text time stamps -> instants: one format for a whole column, decided from all of its rows.

Rows are parsed a shape at a time. A shape is a stamp with its digits replaced by 0, such as `0000-00-00 00:00:00.000`; a
column has few of them. No row is handled in Python, and no date is parsed by NumPy, whose parser fails on time zones.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
from typing import Literal, NamedTuple

import numpy as np

from otolith.formats.stamp_words import ZONES, in_ascii, month_of

NAT = np.iinfo(np.int64).min
DAY_NS = 86_400_000_000_000

_DATES = (
    r"(?P<y>0000)[-/._ ]?(?P<m>00)[-/._ ]?(?P<d>00)",
    r"(?P<y>0000)[-/._ ] *(?P<m>00?)[-/._ ] *(?P<d>00?)",
    r"(?P<a>00?)[-/. ](?P<b>00?)[-/. ](?P<y>0000|00)",
    r"(?P<d>00?)(?:de|[-/. ])*(?P<mon>[A-Za-z\x80-\xff]{3,24})\.?(?:de|[-/., ])*(?P<y>0000|00)",
    r"(?P<mon>[A-Za-z]{3,9})[-/. ]+(?P<d>00?)(?:st|nd|rd|th)?[-/., ]+(?P<y>0000)",
    r"(?P<y>0000)[-/. ]?(?P<doy>000)",
    r"(?P<y>0000)-?W(?P<w>00)-?(?P<wd>0)",
)
_HALF = r"(?P<ap>[AaPp]\.?\s?[Mm]\.?)"
_CLOCK = r"(?P<h>00?): *(?P<mi>00)(?:: *(?P<s>00)(?:[.,:] *(?P<f>0{1,12})?)?)?(?:\s*" + _HALF + r")?"
_TIMES = (
    _CLOCK,
    rf"{_HALF} *(?P<h>00?): *(?P<mi>00)(?:: *(?P<s>00)(?:[.,:] *(?P<f>0{{1,12}})?)?)?",
    r"(?P<h>00)[-._h ](?P<mi>00)[-._m ](?P<s>00)(?:[.,:_-](?P<f>0{1,12}))?s?(?:\s*(?P<ap>[AaPp]\.?\s?[Mm]\.?))?",
    r"(?P<h>00)(?P<mi>00)(?P<s>00)(?:[.,:_]?(?P<f>0{1,12}))?",
)
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*[., ]+)?"
_ZONE = r"(?:\s*(?P<zone>[A-Za-z]{1,5}))?(?:\s*(?P<sign>[+-])(?P<oh>00):?(?P<om>00)?(?::?00)?)?"
_ZONE += r"(?:\s*\[(?P<place>[^\]]+)\]|\s*\([^)]*\)?|\s+[A-Z][a-z]+/[A-Za-z_/]+| +Uhr)?[. ]*"
_JOIN = r"(?:[Tt]|[ _,]+|\s*-\s*|:|,?\s+(?:at|um|klo|kl\.?|a las|\xc3\xa0|alle|\xd0\xb2|o)\s+)"
_ELAPSED = r"(?:(?P<dd>0{1,4}) days? \+?)?(?P<h>0{1,3}):(?P<mi>00):(?P<s>00)(?:[.,:](?P<f>0{1,12}))?"
_MINUTES = r"(?P<mi>0{1,3}):(?P<s>00)(?:[.,](?P<f>0{1,12}))"


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    both = [rf"^{_DAY}{date}{_JOIN}{time}{_ZONE}$" for date in _DATES for time in _TIMES]
    ctime = rf"^{_DAY}(?P<mon>[A-Za-z]{{3}}) +(?P<d>00?) {_CLOCK}(?: (?P<zone>[A-Za-z]{{1,5}}))?(?: (?P<y>0000))$"
    ctime_offset = rf"^{_DAY}(?P<mon>[A-Za-z]{{3}}) +(?P<d>00?) (?P<y>0000) {_CLOCK}{_ZONE}$"
    reverse = [rf"^{_CLOCK}[ ,]+{date}$" for date in _DATES]
    alone = [rf"^{_DAY}{date}$" for date in _DATES]
    times = [rf"^T?{_CLOCK}{_ZONE}$", rf"^{_TIMES[1]}$", rf"^{_ELAPSED}$", rf"^{_MINUTES}$", rf"^{_TIMES[2]}$"]
    return tuple(re.compile(p) for p in (*both, ctime, ctime_offset, *reverse, *alone, *times))


class _Shape(NamedTuple):
    """Where the numbers of one shape of stamp stand: field -> (start, length)."""

    fields: dict[str, tuple[int, int]]
    month: int  # named in letters; else 0
    afternoon: Literal["", "a", "p"]
    zone: str
    place: str
    sign: int


def shape_of(text: str) -> str:
    """Return a stamp's UTF-8 bytes as Latin-1 text, with its digits replaced by 0."""
    return re.sub(r"[0-9]", "0", text.encode("utf-8", "replace").decode("latin-1"))


@functools.lru_cache(maxsize=4096)
def _understood(shape: str) -> _Shape | None:
    lead = len(shape) - len(in_ascii(shape).lstrip(" \"'"))
    bare = in_ascii(shape).strip(" \"'")
    for pattern in _patterns():
        found = pattern.match(bare)
        if not found:
            continue
        groups = found.groupdict()
        month = 0
        if groups.get("mon"):
            month = month_of(groups["mon"])
            if not month:
                continue
        zone = (groups.get("zone") or "").lower()
        if zone and zone not in ZONES and not re.fullmatch(r"[a-z]{2,5}", zone):
            continue
        fields = {
            name: (found.start(name) + lead, len(value))
            for name, value in groups.items()
            if value and name not in ("mon", "zone", "sign", "place", "ap")
        }
        half = (groups.get("ap") or "").lower()[:1]
        assert half in ("", "a", "p")
        sign = {"+": 1, "-": -1}.get(groups.get("sign") or "", 0)
        return _Shape(fields, month, half, zone, groups.get("place") or "", sign)  # type: ignore[arg-type]
    return None


_DIGITS = re.compile(  # stamps without letter or colon
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[- _]+\d{2}[-._]\d{2}[-._]\d{2}(?:[.,_-]\d+)?)?|\d{8}[ _]\d{6}(?:[.,_]\d+)?|"
    r"\d{4}[- ][0-3]\d\d"
)


def is_stamp(text: str) -> bool:
    """Return whether a cell is a date, a time of day, or both; a plain number is not."""
    return (not re.fullmatch(r"[\s\d.,+-]*", text) and _understood(shape_of(text)) is not None) or bool(
        _DIGITS.fullmatch(text.strip()) and _understood(shape_of(text))
    )


@dataclasses.dataclass(eq=False)
class Stamps:
    """A column of parsed stamps; rows that are no stamp are `NAT`.

    Attributes:
        day: (rows,) days since 1970 where the format is certain or day first; 0 for times without a date.
        day_month_first: (rows,) the same, month first; None where the two cannot differ.
        clock: (rows,) nanoseconds of the day, in local time.
        offset: (rows,) minutes east of UTC; None where no row has a zone.
        dated: whether rows have dates.
        timed: whether rows have times of day.
        place: such as `Europe/London`, where rows name it.
        separator: the sign between the parts of a numeric date.
        unpadded: whether fractions were written without leading zeros, such as 5 for .005.
        period_s: seconds after which times without dates begin again: of a day, or of an hour where hours are not written.
    """

    day: np.ndarray
    day_month_first: np.ndarray | None
    clock: np.ndarray
    offset: np.ndarray | None
    dated: bool
    timed: bool
    place: str = ""
    separator: str = ""
    period_s: float = 86_400.0
    unpadded: bool = False

    def __len__(self) -> int:
        return len(self.clock)

    def turned_round(self) -> Stamps:
        """Return the same with the last row first."""
        arrays = {name: getattr(self, name) for name in ("day", "day_month_first", "clock", "offset")}
        return dataclasses.replace(self, **{name: a[::-1] for name, a in arrays.items() if a is not None})


def parse(cells: np.ndarray) -> Stamps:
    """Parse a column of stamps.

    Args:
        cells: (rows,) bytes, dtype S.

    Returns:
        The stamps. Where both orders of day and month are possible in form, both readings are kept; one that makes an
        impossible date in a row is `NAT` in that row.
    """
    rows, width = len(cells), max(8, -(-cells.dtype.itemsize // 8) * 8)
    text = cells.astype(f"S{width}").view(np.uint8).reshape(rows, width)
    masked = np.where((text >= ord("0")) & (text <= ord("9")), np.uint8(ord("0")), text)
    day, other = np.full(rows, NAT), np.full(rows, NAT)
    clock, offset = np.full(rows, NAT), np.zeros(rows, np.int64)
    numeric = zoned = dated = timed = False
    place = separator = ""
    period = 86_400.0
    short: list[tuple[np.ndarray | slice, np.ndarray, int]] = []
    for members, shape in _shapes(masked):
        known = _understood(shape)
        if known is None:
            continue
        mine = text if members is None else text[members]
        into = slice(None) if members is None else members
        first, second = _days(mine, known)
        day[into], other[into] = first, second
        clock[into] = _clock_ns(mine, known)
        if 1 <= (length := known.fields.get("f", (0, 0))[1]) <= 6:
            short.append((into, _number(mine, known.fields["f"]), length))
        timed |= "mi" in known.fields
        dated |= bool(known.month or "y" in known.fields)
        if "a" in known.fields:
            numeric = True
            separator = shape[known.fields["a"][0] + known.fields["a"][1]]
        if known.zone in ZONES or known.sign:
            zoned = True
            minutes = np.full(len(mine), ZONES.get(known.zone, 0))
            if known.sign:
                hours, rest = (_number(mine, known.fields.get(part)) for part in ("oh", "om"))
                minutes = minutes + known.sign * (60 * hours + rest)
            offset[into] = minutes
        place = place or known.place
        period = 3600.0 if "mi" in known.fields and "h" not in known.fields else period
    other_days, zones = other if numeric else None, offset if zoned else None
    clock, unpadded = _padded(clock, day, short)
    return Stamps(day, other_days, clock, zones, dated, timed, place, separator, period, unpadded)


def _padded(
    clock: np.ndarray, day: np.ndarray, short: list[tuple[np.ndarray | slice, np.ndarray, int]]
) -> tuple[np.ndarray, bool]:
    """The clock with fractions such as 5, 20, 105 read as milliseconds, where it then goes back less often than as read."""
    lengths = {length for _, _, length in short}
    most = max(lengths, default=0)
    if len(lengths) < 2 or most not in (3, 6):
        return clock, False
    other = clock.copy()
    for into, fraction, length in short:
        real = clock[into] != NAT
        other[into] = np.where(real, clock[into] - fraction * 10 ** (9 - length) + fraction * 10 ** (9 - most), NAT)
    back, other_back = (int(((np.diff(c) < 0) & (np.diff(day) == 0)).sum()) for c in (clock, other))
    return (other, True) if back >= 3 and other_back < 0.2 * back else (clock, False)


def _shapes(masked: np.ndarray) -> list[tuple[np.ndarray | None, str]]:
    """Rows of equal shape, and the shape; None stands for all rows."""
    rows = len(masked)
    if rows == 0:
        return []
    if (masked == masked[0]).all():
        return [(None, _as_text(masked[0]))]
    words = np.ascontiguousarray(masked).view(np.uint64)
    mixed = np.zeros(rows, np.uint64)
    with np.errstate(over="ignore"):
        for column in range(words.shape[1]):
            mixed = (mixed ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    _, first, of_row = np.unique(mixed, return_index=True, return_inverse=True)
    order = np.argsort(of_row, kind="stable")
    edges = np.searchsorted(of_row[order], np.arange(len(first) + 1))
    return [(order[edges[k] : edges[k + 1]], _as_text(masked[first[k]])) for k in range(min(len(first), 4096))]


def _as_text(row: np.ndarray) -> str:
    return row.tobytes().rstrip(b"\0").decode("latin-1")


def _number(text: np.ndarray, where: tuple[int, int] | None) -> np.ndarray:
    """The number in a field, (rows,) int64; 0 without one."""
    value = np.zeros(len(text), np.int64)
    for column in range(*(where[0], sum(where)) if where else (0, 0)):
        value = value * 10 + (text[:, column].astype(np.int64) - ord("0"))
    return value


def _days(text: np.ndarray, shape: _Shape) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, day first (or in the one order that is possible) and month first; `NAT` for impossible dates."""
    if "y" not in shape.fields:
        none = np.zeros(len(text), np.int64)
        return none, none
    year = _number(text, shape.fields["y"])
    if shape.fields["y"][1] == 2:
        year = year + 2000
    if "a" in shape.fields:
        a, b = (_number(text, shape.fields[part]) for part in ("a", "b"))
        return civil_days(year, b, a), civil_days(year, a, b)
    if "doy" in shape.fields:
        first, count = civil_days(year, np.ones_like(year), np.ones_like(year)), _number(text, shape.fields["doy"])
        days = np.where((count >= 1) & (count <= 366), first + count - 1, NAT)
        return days, days
    if "w" in shape.fields:  # of ISO 8601: the first week holds 4 January
        fourth = civil_days(year, np.ones_like(year), np.full_like(year, 4))
        week, weekday = _number(text, shape.fields["w"]), _number(text, shape.fields["wd"])
        real = (week >= 1) & (week <= 53) & (weekday >= 1) & (weekday <= 7)
        days = np.where(real, fourth - (fourth + 3) % 7 + 7 * (week - 1) + weekday - 1, NAT)
        return days, days
    month = np.full(len(text), shape.month) if shape.month else _number(text, shape.fields["m"])
    days = civil_days(year, month, _number(text, shape.fields["d"]))
    return days, days


def civil_days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return days since 1970 of a Gregorian date, `NAT` for an impossible one.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    """
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    lengths = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    real = (month >= 1) & (month <= 12)
    length = lengths[np.where(real, month, 0)] + (leap & (month == 2))
    real &= (day >= 1) & (day <= length) & (year > 0)
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return np.where(real, days, NAT)


def _clock_ns(text: np.ndarray, shape: _Shape) -> np.ndarray:
    """Nanoseconds of the day; `NAT` for impossible times."""
    if "mi" not in shape.fields:
        return np.zeros(len(text), np.int64)
    hour, minute, second = (_number(text, shape.fields.get(part)) for part in ("h", "mi", "s"))
    elapsed = "y" not in shape.fields
    real = (minute < (1000 if "h" not in shape.fields else 60)) & (second <= 60) & (hour < (1000 if elapsed else 25))
    if shape.afternoon:
        real &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if shape.afternoon == "p" else 0)
    days = _number(text, shape.fields.get("dd"))
    value = (days * 86400 + hour * 3600 + minute * 60 + second) * 1_000_000_000
    if "f" in shape.fields:
        start, length = shape.fields["f"]
        value = value + _number(text, (start, min(length, 9))) * 10 ** (9 - min(length, 9))
    return np.where(real, value, NAT)


def zone_of(stamps: Stamps) -> datetime.tzinfo | None:
    """Return the fixed offset of the first row that has a stamp; None where rows have no zone."""
    if stamps.offset is None:
        return None
    real = np.flatnonzero(stamps.clock != NAT)
    return datetime.timezone(datetime.timedelta(minutes=int(stamps.offset[real[0]]))) if len(real) else None
