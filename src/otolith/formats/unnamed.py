"""Columns of tables without a header, told by their values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from otolith.formats.layout import Layout, number
from otolith.formats.sensor_words import Kind

_FEW = 2000  # rows of the sample
_LARGEST = 1e30


class Triple(NamedTuple):
    """Three columns x, y, z of one sensor.

    Attributes:
        places: of the columns.
        names: of the columns.
        kind: of the sensor.
        key: words that the names share.
        unit: as the header writes it; else "".
    """

    places: tuple[int, int, int]
    names: tuple[str, str, str]
    kind: Kind
    key: tuple[str, ...]
    unit: str

    def __str__(self) -> str:
        return ", ".join(self.names)


def column_numbers(layout: Layout, k: int) -> np.ndarray:
    """Return a column's values in the first rows; NaN where a cell holds no number."""
    cells = [number(row[k]) if k < len(row) else None for row in layout.sample[:_FEW]]
    values = np.array([np.nan if cell is None else cell for cell in cells])
    return np.where(np.abs(values) > _LARGEST, np.nan, values)


def _varies(values: np.ndarray) -> bool:
    real = values[np.isfinite(values)]
    return len(real) > 0 and bool(real.min() < real.max())


def rises(layout: Layout, k: int) -> bool:
    """Return whether a column without a name looks like a clock: it rises with nearly every row, by more than it varies."""
    values = column_numbers(layout, k)
    values = values[np.isfinite(values)]
    if len(values) < 0.9 * min(len(layout.sample), _FEW) or len(values) < 3:
        return False
    steps = np.diff(values)
    return bool(np.mean(steps >= 0) > 0.95 and np.mean(steps > 0) > 0.2 and not (steps == 1).all())


def unnamed(layout: Layout, file: str, taken: set[int]) -> tuple[Triple | None, Triple | None]:
    """Find the accelerometer and the gyroscope of a table without a header, by the values alone.

    Args:
        layout: of the table.
        file: its name, for messages.
        taken: places of columns that are known already.

    Raises:
        ValueError: no three columns, or several, may be the accelerometer's.
    """
    values = np.stack([column_numbers(layout, k) for k in range(len(layout.names))], axis=1)
    free = [
        k
        for k in range(values.shape[1])
        if k not in taken and np.isfinite(values[:, k]).mean() > 0.5 and _varies(values[:, k]) and not rises(layout, k)
    ]
    runs = [k for k in free if k + 1 in free and k + 2 in free]
    accelerometers: list[int] = []
    for k in runs:
        if accelerometers and (
            k < accelerometers[-1] + 3 or not 0.7 < _size(values, k) / _size(values, accelerometers[0]) < 1.4
        ):
            continue  # its axes belong to the first, or its size is not that of the same gravity
        if _has_gravity(values[:, k : k + 3]):
            accelerometers.append(k)
    named = ", ".join(layout.names)
    help_ = (
        f"the file has no header, and its columns are: {named}; pass --columns NAMES, or --acc X,Y,Z with their numbers"
    )
    if not accelerometers and len(free) == 3 and runs:
        accelerometers = runs[:1]
    if not accelerometers:
        raise ValueError(f"'{file}': cannot tell which columns are the accelerometer's: {help_}")
    if len(accelerometers) > 1:
        listed = "; ".join(f"{k},{k + 1},{k + 2}" for k in accelerometers)
        raise ValueError(f"'{file}' may hold several accelerometers, in columns {listed}: {help_}")
    first = accelerometers[0]
    turning = [k for k in runs if k >= first + 3 and _may_turn(values[:, k : k + 3])]
    gyro = turning[0] if turning and turning[0] == first + 3 else None
    return _numbered(layout, first, "acc"), None if gyro is None else _numbered(layout, gyro, "gyro")


def unnamed_axes(layout: Layout, kind: Kind, taken: set[int]) -> Triple | None:
    """Return the first three columns that vary, of a table without a header whose file name says the sensor."""
    values = np.stack([column_numbers(layout, k) for k in range(len(layout.names))], axis=1)
    free = [k for k in range(values.shape[1]) if k not in taken and _varies(values[:, k]) and not rises(layout, k)]
    first = next((k for k in free if k + 1 in free and k + 2 in free), None)
    return None if first is None else _numbered(layout, first, kind)


def _numbered(layout: Layout, k: int, kind: Kind) -> Triple:
    return Triple((k, k + 1, k + 2), (layout.names[k], layout.names[k + 1], layout.names[k + 2]), kind, (), "")


def _size(values: np.ndarray, k: int) -> float:
    return float(np.nanmedian(np.linalg.norm(values[:, k : k + 3], axis=1)))


def _has_gravity(values: np.ndarray) -> bool:
    """Whether three columns have a steady size and a mean vector that is a large part of it."""
    whole = values[np.isfinite(values).all(axis=1)]
    if len(whole) < 2:
        return False
    size = float(np.median(np.linalg.norm(whole, axis=1)))
    blocks = [np.linalg.norm(part.mean(axis=0)) for part in np.array_split(whole, max(1, len(whole) // 100))]
    return size > 0 and float(np.median(blocks)) > 0.45 * size


def _may_turn(values: np.ndarray) -> bool:
    """Whether three columns may be an angular rate: each has both signs, and none is far from 0 in the mean.

    Light, buttons, temperature and battery voltage have one sign.
    """
    whole = values[np.isfinite(values).all(axis=1)]
    return len(whole) > 2 and bool(((whole > 0).any(axis=0) & (whole < 0).any(axis=0)).all())
