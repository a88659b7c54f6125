"""Labels files: who did what, when, in which recording -> labelled spans of sessions."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from otolith.formats.encoding import content_of
from otolith.formats.options import DateOrder
from otolith.formats.read import Session
from otolith.formats.source import stem
from otolith.formats.sources import Source
from otolith.formats.stamps import DAY_NS, NAT, parse, zone_of

_WANTED = ["recording", "start", "end", "label"]


class LabelRow(NamedTuple):
    """A line of a labels file, its cells as they stand there; `line` counts from 1, the header among them."""

    line: int
    recording: str
    start: str
    end: str
    label: str
    person: str


class LabelSpan(NamedTuple):
    """A labelled span of a session, in seconds from its first row; `line` is that of the labels file."""

    start_s: float
    end_s: float
    label: str
    person: str
    line: int


def read_labels(path: Path) -> list[LabelRow]:
    """Read a labels file: a table (comma, semicolon or tab) with the columns recording, start, end, label and, optionally,
    person. Without it, every `person` is empty. Where cells are separated by another sign, numbers may have a decimal comma.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is no table, lacks a column, an entry or all lines.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no labels file at '{path}'")
    with path.open("rb") as binary:
        kind = content_of(binary.read(512))
    if kind:
        raise ValueError(
            f"'{path.name}' is {kind}, not a labels file; expected a CSV file with the columns "
            f"{', '.join(_WANTED)} and, where several people were recorded, person"
        )
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        sep = max((",", ";", "\t"), key=head.count)
        table: pd.DataFrame = pd.read_csv(
            path, sep=sep, dtype=str, encoding="utf-8-sig", skip_blank_lines=False, keep_default_na=False
        )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path.name}' is not UTF-8 text ({error.reason}); save it as CSV in UTF-8, with the columns "
            f"{', '.join(_WANTED)}"
        ) from error
    except (ValueError, OSError) as error:  # ValueError: pandas' own errors too
        raise ValueError(f"'{path.name}' cannot be read as a table: {str(error).strip()}") from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    if missing := [name for name in _WANTED if name not in table.columns]:
        raise ValueError(
            f"'{path.name}' has no column {', '.join(missing)}; it has: {', '.join(table.columns)}; expected "
            f"{', '.join(_WANTED)} and, where several people were recorded, person"
        )
    own = "person" in table.columns
    rows = []
    for number, cells in enumerate(table[[*_WANTED, *(["person"] if own else [])]].fillna("").to_numpy().tolist()):
        cells = [str(cell).strip() for cell in cells]
        if not any(cells):
            continue
        if "" in cells:
            empty = [*_WANTED, "person"][cells.index("")]
            raise ValueError(f"'{path.name}', line {number + 2}: {empty} is empty")
        if sep != ",":
            cells[1:3] = [cell.replace(",", ".") if _is_number(cell.replace(",", ".")) else cell for cell in cells[1:3]]
        rows.append(LabelRow(number + 2, *cells, *([] if own else [""])))
    if not rows:
        raise ValueError(f"'{path.name}' names no span; expected one per line: recording, start, end, label")
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def find_source(row: LabelRow, sources: Sequence[Source], folder: Path, labels: Path) -> Source:
    """Return the source that a line means: by its name, a file's name with or without its ending, or a session's name.

    Raises:
        ValueError: there is none, or several.
    """
    here = f"'{labels.name}', line {row.line}"
    said = row.recording.replace("\\", "/").removeprefix("./")
    names = {source.name: [source.name, *source.aliases] for source in sources}
    exact = [source for source in sources if said in names[source.name]]
    bare = [source for source in sources if said in [stem(name) for name in source.aliases]]
    parts = [source for source in sources if said.startswith(f"{source.name}-")]
    found = exact or bare or parts
    if len(found) > 1 and not exact:
        listed = " or ".join(source.aliases[0] if source.aliases else source.name for source in found)
        raise ValueError(f"{here}: '{row.recording}' may be {listed}; write it with its suffix")
    if not found:
        every = list(dict.fromkeys(name for known in names.values() for name in known))
        near = difflib.get_close_matches(row.recording, every, n=1)
        shown = ", ".join(source.aliases[0] if source.aliases else source.name for source in sources[:10])
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {shown or 'no files'}"
        raise ValueError(f"{here}: no recording '{row.recording}' in '{folder}'; {hint}")
    return found[0]


def place_labels(
    rows: Sequence[LabelRow],
    sessions: Mapping[str, Sequence[Session]],
    labels: Path,
    *,
    date_order: DateOrder | None = None,
) -> dict[str, list[LabelSpan]]:
    """Place labels on sessions.

    Args:
        rows: of the labels file.
        sessions: of each source, by the recording's name in `rows`.
        labels: the labels file, for messages.
        date_order: of dates such as 03/04/2024 in it.

    Returns:
        The spans of each session that has any, by its name, in order; spans of one person and label that overlap are one.

    Raises:
        ValueError: a span lies outside its recording, or contradicts another; a date may mean several sessions.
    """
    placed: dict[str, list[LabelSpan]] = {}
    for row in rows:
        found = _candidates(row, sessions[row.recording], labels)
        session, start_s, end_s = _place(row, found, labels, date_order)
        person = row.person or session.subject or session.name
        placed.setdefault(session.name, []).append(LabelSpan(start_s, end_s, row.label, person, row.line))
    return {name: _apart(spans, name, labels) for name, spans in placed.items()}


def _candidates(row: LabelRow, sessions: Sequence[Session], labels: Path) -> Sequence[Session]:
    """The sessions that a line may mean: the one that it names, or those of its person."""
    said = row.recording.replace("\\", "/").removeprefix("./")
    source = sessions[0].source
    if said not in (source.name, *source.aliases, *map(stem, source.aliases)):
        named = [session for session in sessions if session.name == said]
        if not named:
            raise ValueError(
                f"'{labels.name}', line {row.line}: no recording '{row.recording}'; '{source.name}' has the sessions "
                f"{', '.join(session.name for session in sessions)}"
            )
        return named
    mine = [session for session in sessions if row.person and session.subject == row.person]
    return mine or sessions


def _place(
    row: LabelRow, sessions: Sequence[Session], labels: Path, date_order: DateOrder | None
) -> tuple[Session, float, float]:
    here = f"'{labels.name}', line {row.line}: {row.start} to {row.end}"
    fits: list[tuple[Session, float, float]] = []
    outside: list[tuple[Session, float, float]] = []
    for session in sessions:
        numeric = _is_number(row.start) and _is_number(row.end)
        ends = [_seconds(row, cell, session, labels, date_order) for cell in (row.start, row.end)]
        for start_s in ends[0]:
            for end_s in ends[1]:
                if not start_s < end_s:
                    continue
                late = 1 / session.rate_hz + 1e-6
                inside = start_s >= -late and end_s <= session.seconds + late
                (fits if inside else outside).append((session, start_s, end_s))
        if numeric:
            break  # seconds count from the first row of the first session
    if len({session.name for session, _, _ in fits}) > 1:
        raise ValueError(
            f"{here} may lie in {' or '.join(sorted({s.name for s, _, _ in fits}))}, whose clock shows the same "
            "times; write "
            "which in the column recording"
        )
    if fits:
        return fits[0]
    if not outside:
        raise ValueError(f"{here}: start must be before end")
    session = outside[0][0]
    since = "" if session.start is None else f" from {session.start} on"
    others = f"; its sessions are {', '.join(s.name for s in sessions)}" if len(sessions) > 1 else ""
    raise ValueError(
        f"{here} lies outside '{row.recording}', which lasts {session.seconds:g} s{since}{others}; start and end are "
        "seconds from "
        "the recording's first row, or date-times where it has dates"
    )


def _seconds(row: LabelRow, cell: str, session: Session, labels: Path, date_order: DateOrder | None) -> list[float]:
    """Seconds from a session's first row that a cell may mean: two for a date whose order is open."""
    if _is_number(cell):
        said = float(cell)
        if session.start is not None and session.start.tzinfo is not None and abs(said) > 1e9:  # since 1970
            scale = next(scale for scale in (1, 1e3, 1e6, 1e9, np.inf) if abs(said) < 1e11 * scale)
            return [said / scale - session.start.timestamp()]
        return [said]
    here = f"'{labels.name}', line {row.line}: '{cell}'"
    if session.start is None:
        hint = "; pass --date-order" if any(fact.option == "--date-order" for fact in session.facts) else ""
        raise ValueError(
            f"{here} is no number, and '{row.recording}' has no dates{hint}; give seconds from its first row"
        )
    stamp = parse(np.array([cell.encode()]))
    if stamp.clock[0] == NAT or not stamp.timed:
        raise ValueError(f"{here} is neither a number of seconds nor a date with a time, such as {session.start}")
    if not stamp.dated:
        midnight = session.start.replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + datetime.timedelta(microseconds=int(stamp.clock[0]) // 1000)
        seconds = (at - session.start).total_seconds()
        return [seconds if seconds >= -1 else seconds + 86400]
    zone = zone_of(stamp)
    if (zone is None) != (session.start.tzinfo is None):
        known = "a time zone" if session.start.tzinfo else "no time zone"
        raise ValueError(
            f"{here}: the dates in '{row.recording}' have {known}, such as {session.start}; write it alike"
        )
    days = [int(stamp.day[0])]
    if stamp.day_month_first is not None:
        both = {"day-first": int(stamp.day[0]), "month-first": int(stamp.day_month_first[0])}
        days = [both[date_order]] if date_order else [*dict.fromkeys(both.values())]
    found = []
    for day in days:
        if day != NAT:
            local = datetime.timedelta(microseconds=(day * DAY_NS + int(stamp.clock[0])) // 1000)
            at = datetime.datetime(1970, 1, 1, tzinfo=zone) + local
            found.append((at - session.start).total_seconds())
    return found


def _apart(spans: Sequence[LabelSpan], session: str, labels: Path) -> list[LabelSpan]:
    """Spans in order of time; those of one person and label that overlap are joined."""
    kept: list[LabelSpan] = []
    for span in sorted(spans):
        before = kept[-1] if kept else None
        if before is None or span.start_s >= before.end_s:
            kept.append(span)
        elif (span.label, span.person) == (before.label, before.person):
            kept[-1] = before._replace(end_s=max(before.end_s, span.end_s))
        else:
            said = [f"line {one.line} ({one.person}, {one.label})" for one in (before, span)]
            raise ValueError(
                f"'{labels.name}': {said[0]} and {said[1]} overlap in '{session}' from {span.start_s:g} to "
                f"{min(before.end_s, span.end_s):g} s and contradict each other; end one before the other"
            )
    return kept
