"""Rows of several people or devices that were recorded at the same time and stand in one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from otolith.formats.layout import Layout, number
from otolith.formats.pace import pace
from otolith.formats.stamps import NAT, is_stamp, parse

_MOST = 50  # people or devices
_LEAST_ROWS = 20  # of each, in the sample


def mixing_column(
    layout: Layout, clocks: Sequence[int], axes: Collection[int], candidates: Collection[int]
) -> int | None:
    """Return the column whose values tell rows apart that were recorded at the same time; None without one.

    Rows of each value then have a steady clock of their own, and their rates add up to that of the table. In a table of one
    device, such as one with a column of activities, rows of each value have the rate of the table. A column that counts the
    rows of a packet is none: the acceleration is smoother from row to row than from packet to packet.

    Args:
        layout: of the table.
        clocks: places of its time stamps.
        axes: places of a sensor's three columns.
        candidates: places of columns that have no other use.
    """
    rows = [row for row in layout.sample if len(row) == len(layout.names)]
    clock = next((found for k in clocks if (found := _seconds(k, rows)) is not None), None)
    if clock is None or len(rows) < 3 * _LEAST_ROWS:
        return None
    together = pace(np.sort(clock))
    if together is None:
        return None
    values = np.array([[number(row[k]) or 0.0 for k in axes] for row in rows])
    for k in candidates:
        cells = np.array([row[k] for row in rows])
        met, code, count = np.unique(cells, return_inverse=True, return_counts=True)
        if not 2 <= len(met) <= _MOST or count.min() < _LEAST_ROWS:
            continue
        steps = [np.diff(clock[code == value]) for value in range(len(met))]
        if any((step > 0).mean() < 0.95 for step in steps):
            continue
        added = sum(1 / float(np.median(step)) for step in steps)
        if abs(added / together.per_s - 1) > 0.15:
            continue
        if all(number(name) is None for name in met) or _apart(values, code):
            return k
    return None


def _seconds(k: int, rows: Sequence[tuple[str, ...]]) -> np.ndarray | None:
    """The clock of the sample, in any unit; None if it does not move or has no value somewhere."""
    if rows and is_stamp(rows[0][k]):
        stamps = parse(np.array([row[k].encode("latin-1", "replace") for row in rows]))
        values = np.where(stamps.clock == NAT, np.nan, np.where(stamps.day == NAT, 0, stamps.day) * 86_400.0)
        values = values + np.where(stamps.clock == NAT, 0, stamps.clock) / 1e9
    else:
        values = np.array([np.nan if (cell := number(row[k])) is None else cell for row in rows])
    return values if len(values) and np.isfinite(values).all() and np.ptp(values) > 0 else None


def _apart(values: np.ndarray, code: np.ndarray) -> bool:
    """Whether the acceleration changes less from row to row of one value than from a row to the next of another."""
    other = np.diff(code) != 0
    across = np.abs(np.diff(values, axis=0))[other].mean() if other.any() else 0.0
    within = np.mean([np.abs(np.diff(values[code == c], axis=0)).mean() for c in np.unique(code)])
    return bool(within < 0.8 * across)


def check_unmixed(seconds: np.ndarray, signal: np.ndarray, file: str) -> None:
    """Check that rows are not those of two devices in turn.

    Raises:
        ValueError: the acceleration alternates between two courses.
    """
    whole = np.isfinite(signal[:20_000]).all(axis=1)
    rows = signal[:20_000, :3][whole]
    if len(rows) < 200:
        return
    shared = (np.diff(seconds[:20_000][whole]) <= 0).mean() >= 0.3
    next_row, over_next = (float(np.abs(rows[lag:] - rows[:-lag]).mean()) for lag in (1, 2))
    if next_row > 2.5 * over_next > 0:
        raise ValueError(
            f"'{file}': {'rows share their time stamps in pairs, and ' if shared else ''}the acceleration alternates from "
            "row to row between two courses: two devices or people seem to be mixed; pass --device-column or "
            "--subject-column, or cut the file"
        )
