"""Tables of a source -> raw sessions: cut at restarts, people and devices, sensors put on one clock, units as they are."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from otolith.formats.clock import Time, read_clock
from otolith.formats.clock_columns import Clock, unreadable_clock
from otolith.formats.columns import Columns, find_columns
from otolith.formats.groups import filled, people_of, sensors_of, taken, turned_round
from otolith.formats.layout import Layout, find_layout
from otolith.formats.mixed import check_unmixed
from otolith.formats.options import Fact, ReadOptions
from otolith.formats.pace import Stretch, stretches, without_repeats
from otolith.formats.preamble import Preamble, read_preamble
from otolith.formats.rows import Rows, parquet_layout, read_rows
from otolith.formats.sensor_words import Kind
from otolith.formats.sources import Member, Source
from otolith.formats.unnamed import Triple


class Opened(NamedTuple):
    """A table whose layout and columns are known."""

    member: Member
    layout: Layout
    columns: Columns
    preamble: Preamble


class Raw(NamedTuple):
    """A session in the units of its file.

    Attributes:
        subject: as its column names it; empty without one.
        device: likewise.
        number: of the restart, from 1; 0 if its rows have none.
        seconds: (rows,) ascending, from the first row.
        signal: (rows, 3 or 6), float32; NaN where a cell holds no number.
        start: date of the first row, if there is one.
        rate_hz: time steps per second.
    """

    subject: str
    device: str
    number: int
    seconds: np.ndarray
    signal: np.ndarray
    start: datetime.datetime | None
    rate_hz: float


class RawFile(NamedTuple):
    """All sessions of a source.

    Attributes:
        sessions: in order.
        facts: how they were read.
        whole: whether all rows were read.
    """

    sessions: tuple[Raw, ...]
    facts: tuple[Fact, ...]
    whole: bool


class _Stream(NamedTuple):
    """Rows of one sensor, or of both: (rows, 3 or 6) on one clock."""

    stretch: Stretch
    signal: np.ndarray
    origin_s: float
    dated: bool
    start: datetime.datetime | None


def open_table(member: Member, options: ReadOptions, *, gyro: bool | None) -> Opened:
    """Find a table's layout and columns.

    Raises:
        ValueError: they cannot be told.
    """
    table = member.table
    layout = parquet_layout(table, options.max_bytes) if table.kind == "parquet" else find_layout(table, options)
    alone = options
    kind: Kind = member.part or "" if member.part != "acc" else ""
    if member.part == "gyro":
        alone = dataclasses.replace(options, acc=None, gravity=None)
    preamble = read_preamble(layout.preamble)
    if preamble.epoch_s and options.acc is None:
        raise ValueError(
            f"'{table}' holds counts per epoch of {preamble.epoch_s} s, as its first lines say, and no acceleration; export "
            "the raw data (ActiLife: File, Export, raw data as CSV), or give the .gt3x file"
        )
    columns = find_columns(layout, alone, file=str(table), kind=kind, gyro=gyro if member.part in ("", "acc") else None)
    return Opened(member, layout, columns, preamble)


def open_source(source: Source, options: ReadOptions, *, gyro: bool | None) -> list[Opened]:
    """Open the tables of a source: the accelerometer's first.

    Raises:
        ValueError: they cannot be understood, or none is an accelerometer's.
    """
    apart = any(member.part == "gyro" for member in source.members)
    opened = []
    for member in source.members:
        if member.part == "gyro" and gyro is False:
            continue
        wanted = None if gyro and apart and member.part != "gyro" else gyro
        opened.append(open_table(member, options, gyro=wanted))
    if not opened:
        raise ValueError(
            f"'{source.name}' has no accelerometer, and its gyroscope is not read; give the accelerometer's file"
        )
    if opened[0].columns.acc is None and not opened[0].columns.gravity:
        found = opened[0].columns.gyro
        raise ValueError(
            f"'{opened[0].member.table}' has no accelerometer: its columns {found} are a gyroscope's; give the "
            "accelerometer's file "
            "too, or the folder that holds both, or name its columns with --acc X,Y,Z"
        )
    return opened


def read_source(
    source: Source, opened: Sequence[Opened], options: ReadOptions, *, max_rows: int | None = None
) -> RawFile:
    """Read the rows of a source.

    Args:
        source: to read.
        opened: from `open_source`.
        options: of the user.
        max_rows: of each table, for a first look.

    Raises:
        ValueError: a table is damaged, or its clock cannot be understood.
    """
    facts: list[Fact] = []
    whole = True
    groups: dict[tuple[str, str], dict[str, list[_Stream]]] = {}
    for one in opened:
        facts += [*one.layout.facts, *one.columns.facts]
        for group, part, streams, complete in _streams(one, options, facts, max_rows):
            groups.setdefault(group, {}).setdefault(part, []).extend(streams)
            whole &= complete
    if source.ignored:
        facts.append(Fact("files", f"files: not read, as they hold other sensors: {', '.join(source.ignored)}"))
    if len(groups) > 1:
        people, devices = ({group[k] for group in groups if group[k]} for k in (0, 1))
        said = [f"{len(found)} {what}" for found, what in ((people, "people"), (devices, "devices")) if len(found) > 1]
        facts.append(
            Fact(
                "sessions",
                f"sessions: rows of {' and '.join(said)} were cut apart",
                True,
                "--subject-column, --device-column",
            )
        )
    sessions: list[Raw] = []
    for (subject, device), parts in groups.items():
        joined = _joined(parts, source, options, facts)
        for number, stream in enumerate(joined, 1):
            sessions.append(
                Raw(
                    subject,
                    device,
                    number if len(joined) > 1 else 0,
                    stream.stretch.seconds - stream.stretch.seconds[0],
                    stream.signal,
                    stream.start,
                    stream.stretch.rate_hz,
                )
            )
    return RawFile(tuple(sessions), tuple(dict.fromkeys(facts)), whole)


def _streams(
    opened: Opened, options: ReadOptions, facts: list[Fact], max_rows: int | None
) -> Iterator[tuple[tuple[str, str], str, list[_Stream], bool]]:
    """Streams of a table, by person and device, and by sensor where rows belong to one."""
    columns, layout, file = opened.columns, opened.layout, str(opened.member.table)
    triples = [triple for triple in (columns.acc, columns.gyro, columns.gravity) if triple is not None]
    clocks = {clock.place: clock.is_number for clock in columns.clocks}
    if columns.counter is not None and options.rate_hz is not None:
        clocks[columns.counter] = True
    words = {place for place in (columns.subject, columns.device, columns.kinds) if place is not None}
    axes = {place for triple in triples for place in triple.places}
    rows = read_rows(
        opened.member.table,
        layout,
        axes=axes,
        clocks=clocks,
        words=words,
        max_bytes=options.max_bytes,
        max_rows=max_rows,
    )
    whole = max_rows is None or rows.count < max_rows
    turned_round(rows, facts)
    if rows.headers:
        facts.append(Fact("layout", f"layout: lines that repeat the header, left out: {rows.headers}"))
    signal = {
        part: rows.signal(triple.places)
        for part, triple in (("acc", columns.acc), ("gyro", columns.gyro), ("gravity", columns.gravity))
        if triple is not None
    }
    if "acc" in signal and "gravity" in signal:
        signal["acc"] += signal.pop("gravity")
    keep = filled(list(signal.values()), rows, facts)
    time = _time(rows, opened, options, file, facts)
    rows.stamps.clear()  # which were the larger part of the memory
    rows.numbers.clear()
    column = "" if columns.kinds is None else layout.names[columns.kinds]
    for group, mine in people_of(rows, columns, keep):
        for part, chosen, used in sensors_of(rows, columns, column, signal, mine):
            facts_here: list[Fact] = []
            streams = _cut(used, chosen, time, options, opened, file, facts_here)
            facts += facts_here
            yield group, part, streams, whole


def _time(rows: Rows, opened: Opened, options: ReadOptions, file: str, facts: list[Fact]) -> Time | float:
    """The clock, or a rate where there is none."""
    clocks, counter = opened.columns.clocks, opened.columns.counter
    if counter in rows.numbers and options.rate_hz is not None and (np.diff(rows.numbers[counter]) > 0).all():
        clocks = (Clock(counter, opened.layout.names[counter], True, None),)
    time = read_clock(rows, clocks, options, file=file, order=opened.preamble.order)
    if time is not None:
        facts += time.facts
        return time
    first = opened.layout.start_and_rate
    declared = first[1] if first else opened.preamble.rate_hz
    if options.rate_hz is not None:
        if declared is not None and abs(declared / options.rate_hz - 1) > 0.1:
            raise ValueError(
                f"'{file}': --rate says {options.rate_hz:g} Hz, but the lines before the table say {declared:g} Hz; "
                "leave --rate out, or "
                "correct it"
            )
        declared = options.rate_hz
    if declared is None:
        raise ValueError(
            f"'{file}' has {unreadable_clock(opened.layout) or 'no time column'}; pass --rate HZ, or --time COLUMN; the "
            f"columns: {', '.join(opened.layout.names)}"
        )
    return declared


def _cut(
    values: np.ndarray,
    chosen: np.ndarray,
    time: Time | float,
    options: ReadOptions,
    opened: Opened,
    file: str,
    facts: list[Fact],
) -> list[_Stream]:
    """Streams of some rows, one per restart."""
    if not isinstance(time, Time):
        how = "given; no time column" if options.rate_hz else "from the lines before the table; no time column"
        facts.append(
            Fact("rate", f"rate {time:g} Hz ({how})", not options.rate_hz, "" if options.rate_hz else "--rate")
        )
        start = opened.preamble.start
        if opened.layout.start_and_rate:
            start = datetime.datetime.fromtimestamp(opened.layout.start_and_rate[0], datetime.timezone.utc)
        stretch = Stretch(chosen, np.arange(len(chosen)) / time, time)
        return [
            _Stream(stretch, values, start.timestamp() if start and start.tzinfo else 0.0, start is not None, start)
        ]
    seconds = taken(time.seconds, chosen)
    seconds, values, dropped = without_repeats(seconds, values)
    if dropped:
        facts.append(
            Fact("clock", f"clock: {dropped:,} rows repeat the row before, time stamp and values, and were left out")
        )
    check_unmixed(seconds, values, file)
    found, said = stretches(seconds, options.rate_hz, file, time.name)
    facts += said
    rates = sorted({one.rate_hz for one in found})
    how = time.how + ("; rate given" if options.rate_hz and "given" not in time.how else "")
    facts.append(
        Fact(
            "rate",
            f"rate {' and '.join(f'{rate:g}' for rate in rates)} Hz ({how})",
            time.guessed,
            "" if options.rate_hz else "--rate, --time-unit",
        )
    )
    streams = []
    for one in found:
        begin = None
        if time.start is not None:
            begin = time.start + datetime.timedelta(seconds=float(one.seconds[0]))
        streams.append(_Stream(one, taken(values, one.rows), time.origin_s, time.dated, begin))
    return streams


def _joined(parts: dict[str, list[_Stream]], source: Source, options: ReadOptions, facts: list[Fact]) -> list[_Stream]:
    """The streams of a recording's sensors as one."""
    from otolith.formats.join import add_on_clock, join_on_clock

    base = parts.get("acc+gyro") or parts.get("acc")
    if not base:
        raise ValueError(
            f"'{source.name}' has no accelerometer; give its file too, or name its columns with --acc X,Y,Z"
        )
    said: list[str] = []
    for part, join in (("gravity", add_on_clock), ("gyro", join_on_clock)):
        others = parts.get(part)
        if not others or (part == "gyro" and "acc+gyro" in parts):
            continue
        merged = []
        for stream in base:
            merged.append(join(stream, others, options.max_gap_s, source.name))
        base = merged
        said.append("gravity was added" if part == "gravity" else "the gyroscope was put on the accelerometer's clock")
    if said:
        facts.append(Fact("files", f"files: {' and '.join(said)}, by interpolation", False))
    return base


def unit_words(opened: Sequence[Opened]) -> tuple[str, str, str, bool]:
    """Return the header's units of acceleration and angular rate, the preamble's of the latter, and whether a name says that
    gravity was removed."""

    def unit(triple: Triple | None) -> str:
        return triple.unit if triple is not None else ""

    acc = next((unit(one.columns.acc) for one in opened if one.columns.acc is not None), "")
    gyro = next((unit(one.columns.gyro) for one in opened if one.columns.gyro is not None), "")
    hint = next((one.preamble.gyro_unit for one in opened if one.preamble.gyro_unit), "")
    first = opened[0]
    removed = (
        first.member.part == "linear" or (first.columns.acc is not None and first.columns.acc.kind == "linear")
    ) and not any(one.columns.gravity for one in opened)
    return acc, gyro, hint, removed
