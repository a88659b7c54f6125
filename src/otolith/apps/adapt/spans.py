"""Read labels files, and cut labelled recordings into windows."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from otolith.apps.adapt.estimate import leave_people_out, warnings_about
from otolith.apps.label import resampled
from otolith.data.recording import GYROSCOPE
from otolith.data.windows import SignalSpec, Windows
from otolith.formats import ReadOptions, Session, Survey, Units, find_sources, survey_sources
from otolith.formats.day import BY_LENGTH, DayOptions, corrected
from otolith.formats.labels import LabelSpan, find_source, place_labels, read_labels
from otolith.formats.options import DEFAULTS, facts_in_common
from otolith.storage.files import fingerprint

OVERLAP = 0.5
MOST_UNLABELLED = 8192
"""Windows of the recordings, labelled or not, that a classifier gets to know in addition to the labelled ones."""
_BLOCK = 64  # neighbouring windows that are kept together where there are more than that


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What can be learnt from.

    Attributes:
        windows: labelled, at the checkpoint's signal contract; people are those that the labels file names.
        unlabelled: of the same recordings from end to end, without labels, half overlapping as well; at most about
            `MOST_UNLABELLED`, in blocks of consecutive windows spread evenly. The person is that of the nearest span.
        people: of each recording, by its number in `windows` and `unlabelled`, the people who have a span in it, whether or
            not a window fits into the span.
        units: of the recordings' files, where they are the same for all.
        notes: how the files were understood, a sentence each.
        warnings: what makes the estimate worse than it looks, a sentence each.
        counts: label, windows, people.
    """

    windows: Windows
    unlabelled: Windows
    people: tuple[frozenset[str], ...]
    units: Units | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: pd.DataFrame


def gather(
    folder: Path,
    labels: Path,
    contract: SignalSpec,
    *,
    options: ReadOptions = DEFAULTS,
    encoder: str = "",
    seed: int = 0,
    day: DayOptions = BY_LENGTH,
) -> Material:
    """Read the recordings that a labels file names, and cut the spans into windows, half overlapping.

    No window crosses the edge of a span or a gap in the recording.

    Args:
        folder: the recordings; subfolders too.
        labels: see `otolith.formats.labels.read_labels`. A recording is named with or without its suffix; start and end are
            seconds from its first row or, where it has dates, date-times.
        contract: of the windows.
        options: of the reader.
        encoder: its name, for advice in errors.
        seed: of the folds, for the warnings.
        day: whether recordings are calibrated by gravity, and time in which the device was not worn is left out.

    Raises:
        FileNotFoundError: there is no folder, or no labels file.
        ValueError: an unknown recording, one that cannot be read or does not suit the contract, a span outside its
            recording, overlapping spans that contradict each other, a label without a window, or fewer than two labels.
    """
    rows = read_labels(labels)
    names = list(dict.fromkeys(row.label for row in rows))
    if len(names) < 2:
        raise ValueError(f"'{labels.name}' knows one label, '{names[0]}'; a classifier needs at least 2 to tell apart")
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of recordings at '{folder}'")
    sources, _ = find_sources([folder], exclude=[labels])
    found = {row.recording: find_source(row, sources, folder, labels) for row in rows}
    named = {source.name: source for source in found.values()}
    gyro = bool(set(contract.channels) & set(GYROSCOPE))
    wanted = [dataclasses.replace(named[name], explicit=True) for name in sorted(named)]
    survey = survey_sources(wanted, options, gyro=gyro)
    if survey.skipped:
        raise ValueError(f"a recording that '{labels.name}' names cannot be read: {survey.skipped[0].reason}")
    sessions = {source.name: [corrected(session, day) for session in survey.read(source)] for source in survey.sources}
    of_row = {recording: sessions[source.name] for recording, source in found.items()}
    placed = place_labels(rows, of_row, labels, date_order=options.date_order)
    every = {one.name: one for found_here in sessions.values() for one in found_here}
    windows, unlabelled, people = _windows(every, placed, contract, names, encoder)
    notes = facts_in_common({one.name: one.facts for one in every.values()})
    if not rows[0].person and not any(one.subject for one in every.values()):
        notes.append(
            f"no column person in '{labels.name}': each recording counts as a person of its own; where one person made "
            "several, the estimate is too good, so name the people"
        )
    if spare := len(sources) - len(wanted):
        notes.append(f"{spare} more file{'s' if spare > 1 else ''} in '{folder}' without labels: not read")
    y, lines = windows.y, []
    assert y is not None
    for number, name in enumerate(names):
        mine = y == number
        lines.append({"label": name, "windows": mine.sum(), "people": len(np.unique(windows.subject[mine]))})
    warnings = tuple(warnings_about(windows, leave_people_out(windows, seed)))
    return Material(windows, unlabelled, people, _units(survey), tuple(notes), warnings, pd.DataFrame(lines))


def _units(survey: Survey) -> Units | None:
    """The units that all recordings were written in; None where they differ or state their own."""
    found = {(units.acc, units.gyro) for units in survey.units.values()}
    return Units(*found.pop()) if len(found) == 1 and len(survey.units) == len(survey.sources) else None


def _windows(
    sessions: Mapping[str, Session],
    placed: Mapping[str, Sequence[LabelSpan]],
    contract: SignalSpec,
    names: Sequence[str],
    encoder: str,
) -> tuple[Windows, Windows, tuple[frozenset[str], ...]]:
    """The labelled windows, those of the whole recordings, and the people of each recording."""
    labelled_sessions = {name: session for name, session in sessions.items() if name in placed}
    people = sorted({span.person for spans in placed.values() for span in spans}, key=natural_order)
    steps, hop = contract.steps, max(1, round(contract.steps * (1 - OVERLAP)))
    values, base = [], 0
    offset: list[np.ndarray] = []
    rows: list[tuple[int, int, int, float]] = []  # label, person, recording, start
    everywhere: list[np.ndarray] = []
    places: list[tuple[int, float]] = []  # recording, start
    for number, (name, session) in enumerate(labelled_sessions.items()):
        try:
            pieces = resampled(session, contract, encoder=encoder)
        except ValueError as error:
            raise ValueError(f"'{name}': {error}") from error
        for piece in pieces:
            each = base + np.arange(len(contract.channels)) * len(piece.signal)  # where its channels begin
            for span in placed[name]:
                first, end = ((at - piece.start_s) * contract.rate_hz for at in (span.start_s, span.end_s))
                last = min(len(piece.signal), math.floor(end + 1e-6)) - steps
                who, what = people.index(span.person), names.index(span.label)
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
            longest = max(s.end_s - s.start_s for spans in placed.values() for s in spans if s.label == name)
            raise ValueError(
                f"no window of {contract.seconds:g} s fits into a span of '{name}' (the longest lasts {longest:g} s; none "
                "may cross a gap in the recording); label longer spans, or use an encoder of shorter windows"
            )
    y, subject, recording, start_s = (np.array(column) for column in zip(*rows, strict=True))
    flat = np.concatenate(values)
    spans = {name: [list(span) for span in found] for name, found in placed.items()}
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
    for number, name in enumerate(labelled_sessions):
        found = placed[name]
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
    return labelled, whole, tuple(frozenset(span.person for span in placed[name]) for name in labelled_sessions)


def natural_order(person: str) -> list[Any]:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", person) if part]
