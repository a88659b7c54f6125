"""What lines before a table say of it: the rate, the order of day and month, the start, the unit of angular rate."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from otolith.formats.names import fold, unit_word
from otolith.formats.options import DateOrder
from otolith.formats.stamps import DAY_NS, NAT, parse

_RATE = re.compile(
    r"(?:\b(?:sampl\w*|measurement|data|output|update)?[ _]?(?:rate|frequency|freq|odr)\b|\bat\b|@)"
    r"[^\d\n]{0,20}?(\d+(?:[.,]\d+)?)\s*(?:hz|samples/s|sps)"
)
_RATE_PLAIN = re.compile(
    r"(?:sampl\w*|measurement|data|output)[ _]?(?:rate|freq)\w*\s*(?:\(hz\))?\s*[:=,;]\s*(\d+(?:\.\d+)?)"
)
_FORMAT = re.compile(r"(?:date|time)\w*[ _]?format\W{0,4}([dmy]+[-/. ][dmy]+[-/. ][dmy]+)")
_START_TIME = re.compile(r"start[ _]?time\W{1,4}(\d{1,2}:\d{2}(?::\d{2})?(?:[.,:]\d+)?(?: ?[ap]m)?)")
_START_DATE = re.compile(r"start[ _]?date\W{1,4}(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})")
_START_BOTH = re.compile(
    r"start[ _]?(?:time|date)\w*\W{1,4}(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ t]\d{1,2}:\d{2}:\d{2}(?:[.,:]\d+)?)"
)
_GYRO = re.compile(r"gyr\w*[^;\n]{0,40}?(mdps|dps|deg/s(?:ec)?|degrees?/s\w*|rad/s(?:ec)?)")


_EPOCH = re.compile(r"epoch period[^\d\n]{1,20}(\d\d):(\d\d):(\d\d)")


class Preamble(NamedTuple):
    """Facts of a file's first lines; None, "" or 0 where they say nothing. `epoch_s`: of counts."""

    rate_hz: float | None
    order: DateOrder | None
    start: datetime.datetime | None
    gyro_unit: str
    epoch_s: int = 0


def read_preamble(lines: Sequence[str]) -> Preamble:
    """Read the lines before a table."""
    text = "\n".join(fold(line) for line in lines)
    rate = _RATE.search(text) or _RATE_PLAIN.search(text)
    form = _FORMAT.search(text)
    order: DateOrder | None = None
    if form and form[1][0] in "dm":
        order = "day-first" if form[1][0] == "d" else "month-first"
    turn = _GYRO.search(text)
    epoch = _EPOCH.search(text)
    rate_hz = float(rate[1].replace(",", ".")) if rate else None
    return Preamble(
        rate_hz if rate_hz and 1 <= rate_hz <= 5000 else None,
        order,
        _start(text, order),
        (unit_word(turn[1], "gyro") or "") if turn else "",
        sum(int(part) * 60**n for n, part in enumerate(reversed(epoch.groups()))) if epoch else 0,
    )


def _start(text: str, order: DateOrder | None) -> datetime.datetime | None:
    both = _START_BOTH.search(text)
    date, time = _START_DATE.search(text), _START_TIME.search(text)
    said = both[1] if both else f"{date[1]} {time[1]}" if date and time else None
    if said is None:
        return None
    stamp = parse(np.array([said.upper().encode()]))
    day = stamp.day
    if stamp.day_month_first is not None:
        fits = {"day-first": int(stamp.day[0]), "month-first": int(stamp.day_month_first[0])}
        possible = [name for name, days in fits.items() if days != NAT]
        chosen = order or (possible[0] if len(possible) == 1 else None)
        if chosen is None:
            return None
        day = np.array([fits[chosen]])
    if day[0] == NAT or stamp.clock[0] == NAT:
        return None
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(
        microseconds=int(day[0] * DAY_NS + stamp.clock[0]) // 1000
    )
