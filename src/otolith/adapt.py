"""A user's own recordings and label spans -> a classifier of them, an honest estimate, and the choice between encoder and
forest.

The estimate leaves people out: each window is classified once, by a model that was fitted on other people alone. The model
for use is then fitted on everybody.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from otolith.baseline import ForestClassifier
from otolith.checkpoint import Checkpoint
from otolith.files import fingerprint, replacing
from otolith.logistic import neighbours
from otolith.predict import Columns, Read, read_csv, resampled, stem
from otolith.report import COLOURS, STYLE, confusion_panel, points
from otolith.splits import Split, by_subject
from otolith.transfer import TransferClassifier, embed
from otolith.windows import Signal, Windows

TRANSFER: Mapping[str, Any] = {
    "mode": "frozen",
    "head": "logistic",
    "penalty": 0.1,
    "whiten": 0.1,
    "whiten_people": 0.1,
    "self_training": 2,
    "statistics": True,
    "copies": 8,
    "augmentations": [
        {"name": "rotation", "sd_degrees": 15},
        {"name": "scaling", "common": True},
        {"name": "time_shift", "share": 0.2},
        {"name": "time_warp", "sd": 0.1},
        {"name": "noise", "sd": 0.03},
    ],
}
"""How the encoder is adapted where no recipe says it: arguments of `TransferClassifier`, those of `recipes/few-shot.toml`.
`docs/few-shot.md` says why."""

CANDIDATES = {"encoder": "adapted encoder", "forest": "random forest"}
"""What is compared, in words; where the two tie, the first is taken."""

FOLDS = 5
OVERLAP = 0.5
TIE = 0.005
"""Macro F1 that lie no further apart are a tie."""
PEOPLE_FOR_INTERVAL = 5
FILES = ("estimate.csv", "estimate.png")
MOST_UNLABELLED = 8192
"""Windows of the recordings, labelled or not, that a classifier gets to know beside the labelled ones."""
MOST_COPIED = 4096
"""Windows and their copies together; more labelled windows get fewer copies."""
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


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """How well one candidate tells the classes apart on people it has not seen.

    Attributes:
        macro_f1: over the classes, of all windows together, each classified once.
        low: of the 95 % interval, a bootstrap over people (10,000 draws, percentile); NaN with fewer than
            `PEOPLE_FOR_INTERVAL`.
        high: its other end.
        f1: (classes,) in the order of the windows' `label_names`.
        confusion: (classes, classes) windows; rows are the truth.
    """

    macro_f1: float
    low: float
    high: float
    f1: Float[np.ndarray, " classes"]
    confusion: Int[np.ndarray, "classes classes"]

    def __str__(self) -> str:
        ends = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.macro_f1:.3f}{ends}"


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """Which candidate is taken, and by what.

    Attributes:
        chosen: of `CANDIDATES`.
        why: sentences.
        estimates: by candidate; empty where leaving people out is impossible.
        table: a line a fold and candidate, and for each candidate one of all folds together.
    """

    chosen: str
    why: tuple[str, ...]
    estimates: dict[str, Estimate]
    table: pd.DataFrame


class Fitted(NamedTuple):
    """One more model is fitted: number `done` of `of`. The last record, for which the files are written, has the choice."""

    done: int
    of: int
    what: str
    choice: Choice | None = None


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
    folder: Path, labels: Path, contract: Signal, *, columns: Columns, encoder: str = "", seed: int = 0
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


def adapt(
    encoder: Checkpoint,
    windows: Windows,
    out: Path,
    *,
    unlabelled: Windows | None = None,
    transfer: Mapping[str, Any] = TRANSFER,
    seed: int = 0,
    jobs: int = 1,
) -> Iterator[Fitted]:
    """Estimates both candidates by leaving people out, takes the better, fits it on everybody, and writes
    `model.safetensors`, `estimate.csv` and `estimate.png` to `out`; yields as models get fitted.

    Where leaving people out is impossible, the encoder is taken as it is, and there is no estimate: files of an older one
    are removed.

    Args:
        encoder: the checkpoint to adapt.
        windows: from `gather`.
        out: folder of the files.
        unlabelled: of the same recordings, from `gather`, for what needs no labels: whitening, self-training, the
            pretext's loss. A recording in which a person who is left out was labelled is left out with that person.
        transfer: how the encoder is adapted. Where it whitens and windows have no neighbours, that is left out;
            so is whitening by people if most of them were labelled with one class alone.
        seed: of the folds, initial weights and trees.
        jobs: processes that leave people out; each gets its share of the cores.
    """
    splits = _splits(windows, seed)
    why_not, total = _impossible(windows, splits), 2 * len(splits) + 1
    predicted = {name: np.full(len(windows), -1) for name in CANDIDATES}
    if why_not:
        total, splits = 1, []
    make = _Maker(encoder, transfer, seed, windows, unlabelled)
    tasks = [(split, name) for split in splits for name in CANDIDATES]
    threads = None if jobs == 1 else max(1, torch.get_num_threads() // jobs)
    found = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_left_out)(make, split, name, threads) for split, name in tasks
    )
    for done, (split, name, labels) in enumerate(found):
        predicted[name][windows.rows_of(split.test)] = labels
        yield Fitted(done + 1, total, f"without {', '.join(split.test)}: {CANDIDATES[name]}")
    choice = _choice(windows, splits, predicted) if splits else Choice("encoder", (why_not,), {}, pd.DataFrame())
    model = make.fitted(choice.chosen, np.arange(len(windows)))
    scores = {name: round(found.macro_f1, 6) for name, found in choice.estimates.items()}
    facts = {"labelled_subjects": windows.people, "labelled_windows": len(windows), "adapted_from": encoder.sha256}
    model.save(out / "model.safetensors", label_names=windows.label_names, about={**facts, "estimate": scores})
    _write(choice, windows, out)
    yield Fitted(total, total, f"everybody: {CANDIDATES[choice.chosen]}", choice)


def estimate_figure(choice: Choice, classes: Sequence[str]) -> Figure:
    """F1 of each class for both candidates, and what the chosen one takes for what."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, max(4.2, 1.6 + 0.45 * len(classes))), layout="constrained")
        bars, matrix = figure.subplots(1, 2)
        at = np.arange(len(classes))
        for number, (name, colour) in enumerate(zip(CANDIDATES, ("finetune", "forest"), strict=True)):
            found = choice.estimates[name]
            title = f"{CANDIDATES[name]}: macro F1 {found}"
            bars.barh(at + 0.4 * number - 0.2, found.f1, 0.36, color=COLOURS[colour], label=title)
        bars.set_yticks(at, classes)
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        bars.set_axisbelow(True)
        bars.set(xlim=(0, 1), xlabel="F1, people left out", title="How well each class is found")
        bars.legend(loc="upper left", bbox_to_anchor=(0, -0.13))
        matrix.grid(visible=False)
        confusion_panel(matrix, choice.estimates[choice.chosen].confusion, classes)
        matrix.set(xlabel="predicted, percent of the true class", title=f"The {CANDIDATES[choice.chosen]}, chosen")
    return figure


class _Maker:
    """Fits candidates on some of the windows; features of an encoder that stays as it is are computed once."""

    def __init__(
        self,
        encoder: Checkpoint,
        transfer: Mapping[str, Any],
        seed: int,
        windows: Windows,
        unlabelled: Windows | None,
    ) -> None:
        self.encoder, self.transfer, self.seed = encoder, transfer, seed
        self.windows, self.unlabelled = windows, unlabelled
        self.table = self.around = None  # arrays, as joblib maps those into all processes
        if transfer.get("mode") == "frozen":
            statistics = bool(transfer.get("statistics", False))
            self.table = embed(encoder.encoder, windows, statistics=statistics).numpy()
            if unlabelled is not None and transfer.get("whiten") is not None:
                self.around = embed(encoder.encoder, unlabelled, statistics=statistics).numpy()

    def fitted(self, name: str, rows: np.ndarray) -> TransferClassifier | ForestClassifier:
        """A candidate, fitted on these windows."""
        train = self.windows[rows]
        if name == "forest":
            return ForestClassifier(seed=self.seed).fit(train)
        others, around = None, None
        if self.unlabelled is not None:
            left = np.delete(self.windows.recording, rows)
            mine = np.flatnonzero(~np.isin(self.unlabelled.recording, left))
            others = self.unlabelled[mine] if len(mine) else None
            around = None if self.around is None or others is None else torch.from_numpy(self.around[mine])
        table = None if self.table is None else torch.from_numpy(self.table[rows])
        transfer = dict(self.transfer)
        if transfer.get("whiten") is not None and len(neighbours(train if others is None else others)[0]) < 2:
            transfer |= {"whiten": None, "whiten_people": 0.0, "self_training": 0}
        if transfer.get("whiten_people") and not _does_several(train):
            transfer["whiten_people"] = 0.0
        if transfer.get("copies"):
            transfer["copies"] = min(transfer["copies"], MOST_COPIED // len(train))
        model = TransferClassifier(self.encoder, seed=self.seed, **transfer)
        return model.fit(train, features=table, unlabelled=others, unlabelled_features=around)

    def predicted(self, model: TransferClassifier | ForestClassifier, rows: np.ndarray) -> np.ndarray:
        """The labels that it gives to these windows."""
        if self.table is None or isinstance(model, ForestClassifier):
            return model.predict(self.windows[rows])
        return model.predict(self.windows[rows], features=torch.from_numpy(self.table[rows]))


def _does_several(windows: Windows) -> bool:
    """Whether most people were labelled with several classes; else what people differ in may be the class itself."""
    assert windows.y is not None
    of_person = [len(np.unique(windows.y[windows.subject == number])) for number in np.unique(windows.subject)]
    return float(np.median(of_person)) > 1


def _left_out(make: _Maker, split: Split, name: str, threads: int | None) -> tuple[Split, str, np.ndarray]:
    """The labels that a candidate, fitted on the training people, gives to the windows of those left out."""
    if threads is not None:
        torch.set_num_threads(threads)
    fitted = make.fitted(name, make.windows.rows_of(split.train))
    return split, name, make.predicted(fitted, make.windows.rows_of(split.test))


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
    contract: Signal,
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
        identity=fingerprint(made_from),
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
        identity=fingerprint([*made_from, "unlabelled"]),
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


def _splits(windows: Windows, seed: int) -> list[Split]:
    people = [windows.subject_names[number] for number in np.unique(windows.subject)]
    return by_subject(people, folds=min(FOLDS, len(people)), validation=0.0, seed=seed) if len(people) > 1 else []


def _impossible(windows: Windows, splits: Sequence[Split]) -> str:
    """Why leaving people out is impossible; empty where it is possible."""
    taken = (
        "so nobody knows how well a model does on others. The adapted encoder is taken as it is, without an estimate"
    )
    if not splits:
        only = windows.subject_names[windows.subject[0]]
        return (
            f"All windows are of one person ({only}): leaving people out is impossible, {taken}; label a second person."
        )
    for split in splits:
        assert windows.y is not None
        left = {windows.label_names[k] for k in windows.y[windows.rows_of(split.train)]}
        if len(left) < 2:
            said = f"Without {', '.join(split.test)} there is one label, '{left.pop()}'"
            return f"{said}: leaving people out is impossible, {taken}; label more classes of each person."
    return ""


def _warnings(windows: Windows, splits: Sequence[Split]) -> list[str]:
    found = []
    assert windows.y is not None
    for split in splits:
        train, test = (windows.rows_of(side) for side in (split.train, split.test))
        for label in np.setdiff1d(windows.y[test], windows.y[train]):
            people = np.unique(windows.subject[test[windows.y[test] == label]])
            names = ", ".join(windows.subject_names[number] for number in people)
            found.append(
                f"'{windows.label_names[label]}' is known of {names} alone, who {'is' if len(people) == 1 else 'are'} left "
                "out together: its F1 in the estimate is 0, whatever the model; label it of more people"
            )
    return found


def _f1(confusion: np.ndarray) -> np.ndarray:
    """(..., classes) from (..., classes, classes); NaN where the truth lacks a class."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return np.where(true > 0, 2 * right / np.maximum(true + said, 1), np.nan)


def _choice(windows: Windows, splits: Sequence[Split], predicted: Mapping[str, np.ndarray]) -> Choice:
    y, classes = windows.y, windows.label_names
    assert y is not None
    people = np.unique(windows.subject)
    by_person = {
        name: np.stack(
            [
                confusion_matrix(y[mine], guess[mine], labels=range(len(classes)))
                for mine in (windows.subject == number for number in people)
            ]
        )
        for name, guess in predicted.items()
    }
    drawn = np.random.default_rng(0).multinomial(len(people), np.full(len(people), 1 / len(people)), 10_000)
    enough = len(people) >= PEOPLE_FOR_INTERVAL
    bootstrap = {name: np.nanmean(_f1(np.tensordot(drawn, each, 1)), axis=1) for name, each in by_person.items()}
    estimates = {}
    for name, each in by_person.items():
        low, high = np.quantile(bootstrap[name], [0.025, 0.975]) if enough else (math.nan, math.nan)
        total = each.sum(axis=0)
        estimates[name] = Estimate(float(_f1(total).mean()), float(low), float(high), _f1(total), total)
    one, other = CANDIDATES
    gain = estimates[one].macro_f1 - estimates[other].macro_f1
    tie = abs(gain) <= TIE
    chosen = one if tie or gain > 0 else other
    said = f"{CANDIDATES[one].capitalize()} minus {CANDIDATES[other]}: {points(gain)} points of macro F1"
    if enough:
        low, high = np.quantile(bootstrap[one] - bootstrap[other], [0.025, 0.975])
        said += f" [{points(low)}, {points(high)}]{', no certain difference' if low <= 0 <= high else ''}"
    why = [f"{said}{', a tie' if tie else ''}: the {CANDIDATES[chosen]} is taken."]
    if not enough:
        why.append(
            f"{len(people)} people are too few for an interval ({PEOPLE_FOR_INTERVAL} are needed): the next person may "
            "differ much."
        )
    why.append("Its estimate is slightly optimistic, because it was chosen by it.")
    return Choice(chosen, tuple(why), estimates, _table(windows, splits, predicted, estimates))


def _table(
    windows: Windows,
    splits: Sequence[Split],
    predicted: Mapping[str, np.ndarray],
    estimates: Mapping[str, Estimate],
) -> pd.DataFrame:
    y, classes = windows.y, windows.label_names
    assert y is not None
    lines = []
    for split in splits:
        rows = windows.rows_of(split.test)
        for name, guess in predicted.items():
            line: dict[str, Any]
            f1 = _f1(confusion_matrix(y[rows], guess[rows], labels=range(len(classes))))
            line = {"fold": str(split.fold), "candidate": name, "people": " ".join(split.test)}
            line |= {"n_train": len(y) - len(rows), "n_test": len(rows), "macro_f1": np.nanmean(f1)}
            lines.append(line | {f"f1 {label}": value for label, value in zip(classes, f1, strict=True)})
    for name, found in estimates.items():
        line = {"fold": "all", "candidate": name, "n_test": len(y), "macro_f1": found.macro_f1}
        line |= {"low": found.low, "high": found.high}
        lines.append(line | {f"f1 {label}": value for label, value in zip(classes, found.f1, strict=True)})
    first = ["fold", "candidate", "people", "n_train", "n_test", "macro_f1", "low", "high"]
    table: pd.DataFrame = pd.DataFrame(lines, columns=[*first, *(f"f1 {label}" for label in classes)])
    table[["n_train", "n_test"]] = table[["n_train", "n_test"]].astype("Int64")
    return table


def _write(choice: Choice, windows: Windows, out: Path) -> None:
    table, picture = (out / name for name in FILES)
    if not choice.estimates:
        for stale in (table, picture):
            stale.unlink(missing_ok=True)
        return
    with replacing(table) as part:
        choice.table.to_csv(part, index=False, float_format="%.4f", lineterminator="\n")
    with replacing(picture) as part:
        estimate_figure(choice, windows.label_names).savefig(part, format="png", dpi=150)
