"""Rows of a table that belong together: those of a person, a device, a sensor; and in which order they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from otolith.formats.columns import Columns
from otolith.formats.names import kind_of_cell
from otolith.formats.options import Fact
from otolith.formats.rows import Rows
from otolith.formats.stamps import NAT


def turned_round(rows: Rows, facts: list[Fact]) -> None:
    """Turn rows round, in place, where the newest comes first: where all clocks that move fall with nearly every row."""
    head = slice(200_000)
    if not _all_fall(rows, head) or (rows.count > 200_000 and not _all_fall(rows, slice(None))):
        return
    rows.turn_round()
    facts.append(Fact("clock", "clock: the newest row comes first; the rows were turned round", True))


def _all_fall(rows: Rows, some: slice) -> bool:
    """Whether all clocks that move fall with nearly every row."""
    clocks = [np.where(found.clock[some] == NAT, np.nan, found.clock[some]) for found in rows.stamps.values()]
    clocks += [values[some] for values in rows.numbers.values() if values.dtype == np.float64]
    steps = [step[np.isfinite(step) & (step != 0)] for step in map(np.diff, clocks)]
    moving = [step for step in steps if len(step) >= 10]
    return bool(moving) and all((step < 0).mean() > 0.9 for step in moving)


def filled(signals: Sequence[np.ndarray], rows: Rows, facts: list[Fact]) -> np.ndarray:
    """Return which rows are kept, (rows,): those after the last one that holds a number, such as a footer, are left out."""
    some = np.zeros(rows.count, bool)
    for signal in signals:
        some |= np.isfinite(signal).any(axis=1)
    left = np.flatnonzero(~some)
    tail = len(left) and left[-1] == rows.count - 1
    if not some.any():
        return some
    last = int(np.flatnonzero(some)[-1])
    if tail:
        count = rows.count - 1 - last
        facts.append(
            Fact(
                "layout",
                f"layout: the last {count} line{'s hold' if count > 1 else ' holds'} no values and "
                f"{'were' if count > 1 else 'was'} left out",
            )
        )
    keep = np.ones(rows.count, bool)
    keep[last + 1 :] = False
    return keep


def people_of(rows: Rows, columns: Columns, keep: np.ndarray) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Yield each person and device, in the order in which they come, with the places of their rows."""
    known = [(rows.words[p] if p is not None else None) for p in (columns.subject, columns.device)]
    places = np.flatnonzero(keep).astype(np.int32 if len(keep) < 2**31 else np.int64)
    coded = [k for k in known if k is not None]
    if not coded:
        yield ("", ""), places
        return
    width = [len(names) + 1 for _, names in coded]
    code = np.zeros(len(places), np.int64)
    for (codes, _), size in zip(coded, width, strict=True):
        code = code * size + codes[places] + 1
    found, first = np.unique(code, return_index=True)
    for value in found[np.argsort(first)]:
        mine = places[code == value]
        names = [("" if k is None or k[0][mine[0]] < 0 else k[1][k[0][mine[0]]]) for k in known]
        yield (names[0], names[1]), mine


def taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the rows at some places, without a copy where these are all rows in their order."""
    return values if len(places) == len(values) and (places[1:] > places[:-1]).all() else values[places]


def sensors_of(
    rows: Rows, columns: Columns, column: str, signal: dict[str, np.ndarray], mine: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each sensor's name, rows and values; all sensors together where their rows are the same.

    Args:
        rows: of the table.
        columns: of the table.
        column: name of the column that names the sensor of each row.
        signal: values of each sensor.
        mine: places of the rows of a person and device.
    """
    if columns.kinds is not None:
        codes, names = rows.words[columns.kinds]
        kinds = [kind_of_cell(name, column) for name in names]
        whole = next(iter(signal.values()))
        for part in ("acc", "gyro"):
            numbers = [n for n, kind in enumerate(kinds) if kind == part]
            chosen = mine[np.isin(codes[mine], numbers)]
            if len(chosen):
                yield part, chosen, whole[chosen]
        return
    acc, gyro = signal.get("acc"), signal.get("gyro")
    if acc is None or gyro is None:
        for part, values in signal.items():
            yield part, mine, taken(values, mine)
        return
    has_acc, has_gyro = (np.isfinite(v[mine]).all(axis=1) for v in (acc, gyro))
    both = (has_acc & has_gyro).sum()
    if both < 0.1 * min(has_acc.sum(), has_gyro.sum()):  # a row per sensor
        yield "acc", mine[has_acc], acc[mine[has_acc]]
        yield "gyro", mine[has_gyro], gyro[mine[has_gyro]]
        return
    yield "acc+gyro", mine, np.concatenate([acc[mine], gyro[mine]], axis=1)
