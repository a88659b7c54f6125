"""Columns that are read in chunks: each chunk is written to its place in one array, and no second copy is made."""

from __future__ import annotations

import dataclasses

import numpy as np

from otolith.formats.stamps import Stamps


class Growing:
    """A one-dimensional array that grows.

    Args:
        dtype: of its values.
        expected: rows; memory that is never written takes no place.
    """

    def __init__(self, dtype: type, expected: int = 0) -> None:
        self._values = np.empty(expected, dtype)
        self.count = 0

    def add(self, part: np.ndarray) -> None:
        """Append values, (rows,)."""
        needed = self.count + len(part)
        if needed > len(self._values):
            larger = np.empty(max(needed, 3 * len(self._values) // 2), self._values.dtype)
            larger[: self.count] = self._values[: self.count]
            self._values = larger
        self._values[self.count : needed] = part
        self.count = needed

    def whole(self) -> np.ndarray:
        """Return all values, (count,)."""
        return self._values[: self.count]


class GrowingStamps:
    """A column of time stamps that grows.

    Args:
        expected: rows.
    """

    def __init__(self, expected: int = 0) -> None:
        self._expected = expected
        self._day, self._clock = Growing(np.int64, expected), Growing(np.int64, expected)
        self._month_first: Growing | None = None
        self._offset: Growing | None = None
        self._parts: list[Stamps] = []

    def add(self, part: Stamps) -> None:
        """Append stamps."""
        before = self._day.count
        if part.day_month_first is not None and self._month_first is None:
            self._month_first = Growing(np.int64, self._expected)
            self._month_first.add(self._day.whole())
        if part.offset is not None and self._offset is None:
            self._offset = Growing(np.int64, self._expected)
            self._offset.add(np.zeros(before, np.int64))
        self._day.add(part.day)
        self._clock.add(part.clock)
        if self._month_first is not None:
            self._month_first.add(part.day if part.day_month_first is None else part.day_month_first)
        if self._offset is not None:
            self._offset.add(np.zeros(len(part), np.int64) if part.offset is None else part.offset)
        none = np.empty(0, np.int64)
        self._parts.append(dataclasses.replace(part, day=none, clock=none, day_month_first=None, offset=None))

    def whole(self) -> Stamps:
        """Return all stamps."""
        return Stamps(
            day=self._day.whole(),
            day_month_first=None if self._month_first is None else self._month_first.whole(),
            clock=self._clock.whole(),
            offset=None if self._offset is None else self._offset.whole(),
            dated=any(part.dated for part in self._parts),
            timed=any(part.timed for part in self._parts),
            place=next((part.place for part in self._parts if part.place), ""),
            separator=next((part.separator for part in self._parts if part.separator), ""),
            period_s=min(part.period_s for part in self._parts),
            unpadded=any(part.unpadded for part in self._parts),
        )
