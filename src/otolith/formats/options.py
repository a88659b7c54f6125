"""What a user may state about recordings, and what the reader says it decided."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

DateOrder = Literal["day-first", "month-first"]


class Fact(NamedTuple):
    """One decision of the reader.

    Attributes:
        topic: `layout`, `columns`, `acceleration`, `angular rate`, `rate`, `clock`, `sessions`, `missing` or `files`.
        text: a sentence for the user; it names values, so that it can be checked.
        guessed: whether the data decided, and not the file's own words or an option.
        option: the option that overrides the decision; empty where none does.
    """

    topic: str
    text: str
    guessed: bool = False
    option: str = ""

    def __str__(self) -> str:
        how = [*(["guessed"] if self.guessed else []), *([f"override with {self.option}"] if self.option else [])]
        return f"{self.text} ({'; '.join(how)})" if how else self.text


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How to read recordings; each field that is None is decided from the files.

    A column is named as in the header or, in a table without one, by its number from 0.

    Args:
        time: column of the time stamps; two columns (date and time of day), or those of year, month, day and so on,
            are joined with commas.
        acc: the accelerometer's three columns, x y z.
        gyro: the gyroscope's three columns.
        gravity: three columns that are added to an acceleration from which gravity was removed.
        acc_unit: `g`, `m/s2`, `mg`, or counts per g such as `g/64`.
        gyro_unit: `rad/s`, `deg/s` or `mdeg/s`.
        time_unit: `s`, `ms`, `us`, `ns`, `100us`, `100ns` (.NET ticks), `min`, `h` or `days` (spreadsheets), for numeric
            time stamps.
        rate_hz: time steps per second.
        date_order: of dates such as 03/04/2024.
        has_gravity: whether the acceleration contains gravity; True accepts an acceleration that does not look so.
        skip_rows: lines before the header.
        column_names: replace the header's, or name the columns of a table without one.
        header: False if the table's first line holds data.
        sensor: a part of the column names, which selects one of several sensors, for example `wrist`.
        subject_column: column that names the person of each row.
        device_column: column that names the device of each row.
        max_gap_s: longer stretches without data split a recording; shorter ones are interpolated.
        max_bytes: the largest uncompressed size of a table; None: 8 GiB and, of a compressed one, 100 times its size or
            256 MiB.

    Raises:
        ValueError: an invalid argument.
    """

    time: str | None = None
    acc: tuple[str, ...] | None = None
    gyro: tuple[str, ...] | None = None
    gravity: tuple[str, ...] | None = None
    acc_unit: str | None = None
    gyro_unit: str | None = None
    time_unit: str | None = None
    rate_hz: float | None = None
    date_order: DateOrder | None = None
    has_gravity: bool | None = None
    skip_rows: int | None = None
    column_names: tuple[str, ...] | None = None
    header: bool | None = None
    sensor: str | None = None
    subject_column: str | None = None
    device_column: str | None = None
    max_gap_s: float = 0.5
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        from otolith.formats.names import ACC_UNITS, GYRO_UNITS, TIME_UNITS, acc_factor, gyro_factor

        for kind in ("acc", "gyro", "gravity"):
            chosen = getattr(self, kind)
            if chosen is not None and len(chosen) != 3:
                raise ValueError(f"--{kind} names {len(chosen)} columns; expected three: x,y,z")
        if self.acc_unit is not None and acc_factor(self.acc_unit) is None:
            raise ValueError(
                f"--acc-unit is '{self.acc_unit}'; expected {', '.join(ACC_UNITS)}, or counts such as g/64"
            )
        if self.gyro_unit is not None and gyro_factor(self.gyro_unit) is None:
            raise ValueError(f"--gyro-unit is '{self.gyro_unit}'; expected {', '.join(GYRO_UNITS)}")
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise ValueError(f"--time-unit is '{self.time_unit}'; expected {', '.join(TIME_UNITS)}")
        if self.rate_hz is not None and not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"--rate is {self.rate_hz:g}; expected a positive number of time steps per second")
        if self.date_order not in (None, "day-first", "month-first"):
            raise ValueError(f"--date-order is '{self.date_order}'; expected day-first or month-first")
        if self.skip_rows is not None and self.skip_rows < 0:
            raise ValueError(f"--skip-rows is {self.skip_rows}; expected a number of lines, 0 or more")
        if not (math.isfinite(self.max_gap_s) and self.max_gap_s > 0):
            raise ValueError(f"--max-gap is {self.max_gap_s:g}; expected a positive number of seconds")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError(f"--max-bytes is {self.max_bytes}; expected a number of bytes, 1 or more")


DEFAULTS = ReadOptions()
"""Everything is decided from the files."""


def facts_in_common(facts: Mapping[str, Sequence[Fact]]) -> list[str]:
    """Return each fact once as text, with the recording that it is of; facts that differ in numbers alone count as one.

    Args:
        facts: of each recording, by its name.
    """
    alike: dict[str, list[tuple[str, Fact]]] = {}
    for name, found in facts.items():
        for fact in found:
            alike.setdefault(re.sub(r"\d[\d.,]*", "#", fact.text), []).append((name, fact))
    return [
        f"{found[0][0]}: {found[0][1]}" + (f"; {len(found) - 1} more alike" if len(found) > 1 else "")
        for found in alike.values()
    ]
