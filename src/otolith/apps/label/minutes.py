"""Minutes of each label per day and per hour."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from otolith.formats.day import NOT_WORN

MISSING = "missing"
"""Name of the time without data, or too short between gaps for a window."""


def minutes(
    timeline: pd.DataFrame, labels: Sequence[str], start: datetime.datetime | None, per: Literal["day", "hour"]
) -> pd.DataFrame:
    """Return minutes of each label, of non-wear and of missing time, a line a day or hour that the recording touches.

    Args:
        timeline: of `label`; its lines do not overlap.
        labels: the columns, in their order; "not worn" and "missing" follow.
        start: date and time of second 0: days begin at midnight. None: days and hours count from the recording's start.
        per: what a line covers.

    Returns:
        `day` (a date, or a number from 1), with `per="hour"` also `hour` (of the day, 0 to 23), and minutes.
    """
    length = 3600.0 if per == "hour" else 86400.0
    midnight = pd.Timestamp(0) if start is None else pd.Timestamp(start).normalize()
    offset_s = 0.0 if start is None else (pd.Timestamp(start) - midnight).total_seconds()
    end_s = float(timeline["end_s"].max()) if len(timeline) else 0.0
    first = int(offset_s // length)
    last = max(first + 1, int(np.ceil((offset_s + end_s) / length - 1e-9)))
    edges = np.arange(first, last + 1) * length - offset_s
    number = np.arange(first, last)
    day = (number * length // 86400).astype(int)
    table: dict[str, object] = {
        "day": day + 1 if start is None else [(midnight + pd.Timedelta(days=int(each))).date() for each in day]
    }
    if per == "hour":
        table["hour"] = number % 24
    gone = timeline["label"] == ""
    kinds = {name: timeline["label"] == name for name in labels}
    for name, lost in ((NOT_WORN, timeline["reason"] == NOT_WORN), (MISSING, timeline["reason"] != NOT_WORN)):
        kinds[name] = (gone & lost) | kinds.get(name, False)  # a class may have this name too
    for name, chosen in kinds.items():
        table[name] = np.diff(_until(timeline[chosen], edges)) / 60
    found: pd.DataFrame = pd.DataFrame(table)
    return found


def _until(lines: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    """Return (edges,) seconds that these lines last in all before each edge."""
    if not len(lines):
        return np.zeros(len(edges))
    starts, ends = lines["start_s"].to_numpy(), lines["end_s"].to_numpy()
    points = np.column_stack([starts, ends]).ravel()
    total = np.repeat(np.cumsum(ends - starts), 2)
    total[::2] -= ends - starts
    return np.asarray(np.interp(edges, points, total))
