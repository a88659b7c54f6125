"""Read labels files, and cut labelled recordings into windows."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from otolith.apps.adapt.estimate import _splits, _warnings
from otolith.apps.label import resampled
from otolith.data.windows import SignalSpec, Windows
from otolith.formats.table import Columns, Read, read_csv, stem
from otolith.storage.files import fingerprint

OVERLAP = 0.5
MOST_UNLABELLED = 8192
"""Windows of the recordings, labelled or not, that a classifier gets to know beside the labelled ones."""
_BLOCK = 64  # neighbouring windows that are kept together where there are more than that


class Labelled(NamedTuple):
    """A line of the labels file, its cells as they stand there; `line` counts from 1, the header among them."""

    line: int
    recording: str
    start: str
    end: str
    label: str
    person: str


class Stretch(NamedTuple):
    """A labelled stretch of a recording, in seconds from its first row; `line` is that of the labels file."""

    start_s: float
    end_s: float
    label: str
    person: str
    line: int


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What can be learnt from.

    Attributes:
        windows: labelled, at the checkpoint's signal contract; a person is whoever the labels file names.
        unlabelled: of the same recordings from end to end, without labels, half overlapping as well; at most about
            `MOST_UNLABELLED`, in blocks of neighbours spread evenly. A person is whoever the nearest span names.
        notes: how the files were understood, a sentence each.
        warnings: what makes the estimate worse than it looks, a sentence each.
        counts: label, windows, people.
    """

    windows: Windows
    unlabelled: Windows
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: pd.DataFrame


def read_labels(path: Path) -> list[Labelled]:
    """Reads a labels file: a table (comma, semicolon or tab) with the columns recording, start, end, label and, if there is
    one, person. Without it, every `person` is empty.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is no table, lacks a column, an entry or all lines.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no labels file at '{path}'")
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        sep = max((",", ";", "\t"), key=head.count)
        table: pd.DataFrame = pd.read_csv(
            path, sep=sep, dtype=str, encoding="utf-8-sig", skip_blank_lines=False, keep_default_na=False
        )
    except (ValueError, OSError) as error:  # ValueError: pandas' own errors and wrong encodings too
        raise ValueError(f"'{path.name}' cannot be read as a table: {str(error).strip()}") from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    wanted = ["recording", "start", "end", "label"]
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(
            f"'{path.name}' has no column {', '.join(missing)}; it has: {', '.join(table.columns)}; expected "
            f"{', '.join(wanted)} and, where several people were recorded, person"
        )
    own = "person" in table.columns
    rows = []
    for number, cells in enumerate(table[[*wanted, *(["person"] if own else [])]].fillna("").to_numpy().tolist()):
        cells = [str(cell).strip() for cell in cells]
        if not any(cells):
            continue
        if "" in cells:
            empty = [*wanted, "person"][cells.index("")]
            raise ValueError(f"'{path.name}', line {number + 2}: {empty} is empty")
        rows.append(Labelled(number + 2, *cells, *([] if own else [""])))
    if not rows:
        raise ValueError(f"'{path.name}' names no span; expected a line each: recording, start, end, label")
    return rows


def gather(
    folder: Path, labels: Path, contract: SignalSpec, *, columns: Columns, encoder: str = "", seed: int = 0
) -> Material:
    """Reads the recordings that a labels file names, and cuts the spans into windows, half overlapping.

    No window crosses the edge of a span or a gap in the recording.

    Args:
        folder: the recordings; subfolders too.
        labels: see `read_labels`. A recording is named with or without its suffix; start and end are seconds from its first
            row or, where it has dates, date-times.
        contract: of the windows.
        columns: what is known of the recordings.
        encoder: its name, for advice in errors.
        seed: of the folds, for the warnings.

    Raises:
        FileNotFoundError: there is no folder, or no labels file.
        ValueError: an unknown recording, a span outside its recording, overlapping spans that contradict each other, a
            recording that does not suit the contract, a label without a window, or fewer than two labels.
    """
    rows = read_labels(labels)
    names = list(dict.fromkeys(row.label for row in rows))
    if len(names) < 2:
        raise ValueError(f"'{labels.name}' knows one label, '{names[0]}'; a classifier needs at least 2 to tell apart")
    files = _files(folder)
    found = {row.recording: _find(row, files, folder, labels) for row in rows}
    reads = {file: read_csv(folder / file, columns) for file in sorted(set(found.values()))}
    stretches: dict[str, list[Stretch]] = {file: [] for file in reads}
    for row in rows:
        file = found[row.recording]
        start_s, end_s = (_second(row, cell, reads[file], labels) for cell in (row.start, row.end))
        _check(row, start_s, end_s, reads[file], labels)
        stretches[file].append(Stretch(start_s, end_s, row.label, row.person or _bare(file), row.line))
    stretches = {file: _apart(spans, file, labels) for file, spans in stretches.items()}
    windows, unlabelled = _windows(reads, stretches, contract, names, encoder)
    notes = _in_common({file: read.notes for file, read in reads.items()})
    if not rows[0].person:
        notes.append(
            f"no column person in '{labels.name}': each recording counts as a person of its own; where one person made "
            "several, the estimate is too good, so name the people"
        )
    if spare := len(files) - len(reads):
        notes.append(f"{spare} more file{'s' if spare > 1 else ''} in '{folder}' without labels: not read")
    y, lines = windows.y, []
    assert y is not None
    for number, name in enumerate(names):
        mine = y == number
        lines.append({"label": name, "windows": mine.sum(), "people": len(np.unique(windows.subject[mine]))})
    warnings = tuple(_warnings(windows, _splits(windows, seed)))
    return Material(windows, unlabelled, tuple(notes), warnings, pd.DataFrame(lines))


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of recordings at '{folder}'")
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts)]


def _bare(file: str) -> str:
    """A recording's name without its suffix, folders kept."""
    return Path(file).with_name(stem(Path(file))).as_posix()


def _find(row: Labelled, files: Sequence[str], folder: Path, labels: Path) -> str:
    """The file that a line means."""
    here = f"'{labels.name}', line {row.line}"
    found = [file for file in files if file == row.recording] or [f for f in files if _bare(f) == row.recording]
    if len(found) > 1:
        raise ValueError(f"{here}: '{row.recording}' may be {' or '.join(found)}; write it with its suffix")
    if not found:
        near = difflib.get_close_matches(row.recording, [*files, *map(_bare, files)], n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(files[:10]) or 'no files'}"
        raise ValueError(f"{here}: no recording '{row.recording}' in '{folder}'; {hint}")
    return found[0]


def _second(row: Labelled, cell: str, read: Read, labels: Path) -> float:
    """Seconds from the recording's first row."""
    try:
        return float(cell)
    except ValueError:
        pass
    here = f"'{labels.name}', line {row.line}: '{cell}'"
    if read.start is None:
        raise ValueError(f"{here} is no number, and '{row.recording}' has no dates; give seconds from its first row")
    try:
        date = pd.Timestamp(cell)
    except ValueError:
        date = pd.NaT
    if date is pd.NaT:
        raise ValueError(f"{here} is neither a number of seconds nor a date with a time, such as {read.start}")
    if (date.tzinfo is None) != (read.start.tzinfo is None):
        zone = "a time zone" if read.start.tzinfo else "no time zone"
        raise ValueError(f"{here}: the dates in '{row.recording}' have {zone}, such as {read.start}; write it alike")
    return float((date - read.start).total_seconds())


def _check(row: Labelled, start_s: float, end_s: float, read: Read, labels: Path) -> None:
    here = f"'{labels.name}', line {row.line}: {row.start} to {row.end}"
    if not start_s < end_s:
        raise ValueError(f"{here} does not run forwards")
    late = 1 / read.rate_hz + 1e-6
    if start_s < -late or end_s > read.seconds + late:
        since = "" if read.start is None else f" from {read.start} on"
        raise ValueError(
            f"{here} lies outside '{row.recording}', which lasts {read.seconds:g} s{since}; start and end are seconds from "
            "the recording's first row, or date-times where it has dates"
        )


def _apart(stretches: Sequence[Stretch], file: str, labels: Path) -> list[Stretch]:
    """In order of time; stretches of one person and label that overlap become one."""
    kept: list[Stretch] = []
    for stretch in sorted(stretches):
        before = kept[-1] if kept else None
        if before is None or stretch.start_s >= before.end_s:
            kept.append(stretch)
        elif (stretch.label, stretch.person) == (before.label, before.person):
            kept[-1] = before._replace(end_s=max(before.end_s, stretch.end_s))
        else:
            said = [f"line {one.line} ({one.person}, {one.label})" for one in (before, stretch)]
            raise ValueError(
                f"'{labels.name}': {said[0]} and {said[1]} overlap in '{file}' from {stretch.start_s:g} to "
                f"{min(before.end_s, stretch.end_s):g} s and contradict each other; end one before the other"
            )
    return kept


def _windows(
    reads: Mapping[str, Read],
    stretches: Mapping[str, Sequence[Stretch]],
    contract: SignalSpec,
    names: Sequence[str],
    encoder: str,
) -> tuple[Windows, Windows]:
    """The labelled windows, and those of the whole recordings."""
    people = sorted({stretch.person for spans in stretches.values() for stretch in spans}, key=_in_order)
    steps, hop = contract.steps, max(1, round(contract.steps * (1 - OVERLAP)))
    values, base = [], 0
    offset: list[np.ndarray] = []
    rows: list[tuple[int, int, int, float]] = []  # label, person, recording, start
    everywhere: list[np.ndarray] = []
    places: list[tuple[int, float]] = []  # recording, start
    for number, (file, read) in enumerate(reads.items()):
        try:
            pieces = resampled(read, contract, encoder=encoder)
        except ValueError as error:
            raise ValueError(f"'{file}': {error}") from error
        for piece in pieces:
            each = base + np.arange(len(contract.channels)) * len(piece.signal)  # where its channels begin
            for stretch in stretches[file]:
                first, end = ((at - piece.start_s) * contract.rate_hz for at in (stretch.start_s, stretch.end_s))
                last = min(len(piece.signal), math.floor(end + 1e-6)) - steps
                who, what = people.index(stretch.person), names.index(stretch.label)
                for at in range(max(0, math.ceil(first - 1e-6)), last + 1, hop):
                    offset.append(each + at)
                    rows.append((what, who, number, piece.start_s + at / contract.rate_hz))
            for at in range(0, len(piece.signal) - steps + 1, hop):
                everywhere.append(each + at)
                places.append((number, piece.start_s + at / contract.rate_hz))
            values.append(np.ascontiguousarray(piece.signal.T).ravel())
            base += piece.signal.size
    for number, name in enumerate(names):
        if not any(row[0] == number for row in rows):
            longest = max(s.end_s - s.start_s for spans in stretches.values() for s in spans if s.label == name)
            raise ValueError(
                f"no window of {contract.seconds:g} s fits into a span of '{name}' (the longest lasts {longest:g} s; none "
                "may cross a gap in the recording); label longer spans, or use an encoder of shorter windows"
            )
    y, subject, recording, start_s = (np.array(column) for column in zip(*rows, strict=True))
    flat = np.concatenate(values)
    spans = {file: [list(stretch) for stretch in found] for file, found in stretches.items()}
    made_from = [hashlib.sha256(flat.tobytes()).hexdigest(), spans, contract.to_json()]
    labelled = Windows(
        values=(torch.from_numpy(flat),),
        offset=torch.from_numpy(np.stack(offset)),
        contract=contract,
        y=y,
        label_names=tuple(names),
        subject=subject,
        subject_names=tuple(people),
        recording=recording,
        start_s=start_s,
        dataset="recordings",
        cut_hash=fingerprint(made_from),
    )
    every = -(-len(places) // MOST_UNLABELLED)
    chosen = np.flatnonzero(np.arange(len(places)) // _BLOCK % every == 0)
    where, when = (np.array(column)[chosen] for column in zip(*places, strict=True))
    nearest = np.empty(len(chosen), int)
    for number, found in enumerate(stretches.values()):
        mine = np.flatnonzero(where == number)
        middle = when[mine, None] + contract.seconds / 2
        outside = [np.maximum(one.start_s - middle, middle - one.end_s) for one in found]
        nearest[mine] = np.array([people.index(one.person) for one in found])[np.hstack(outside).argmin(axis=1)]
    whole = dataclasses.replace(
        labelled,
        offset=torch.from_numpy(np.stack(everywhere)[chosen]),
        y=None,
        subject=nearest,
        recording=where,
        start_s=when,
        cut_hash=fingerprint([*made_from, "unlabelled"]),
    )
    return labelled, whole


def _in_order(person: str) -> list[Any]:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", person) if part]


def _in_common(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Each note once, with the recording it is of; notes that differ in numbers alone count as one."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for file, sentences in notes.items():
        for sentence in sentences:
            alike.setdefault(re.sub(r"\d[\d.,]*", "#", sentence), []).append((file, sentence))
    return [
        f"{found[0][0]}: {found[0][1]}" + (f"; {len(found) - 1} more alike" if len(found) > 1 else "")
        for found in alike.values()
    ]
