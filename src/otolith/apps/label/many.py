"""Label many recordings, in parallel and restartably."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch

from otolith.apps.label.recording import Labelled, label, survey_for
from otolith.apps.label.results import document, write
from otolith.checkpoints.provenance import code_version
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.formats import ReadOptions, Session, Source, Survey
from otolith.formats.day import BY_LENGTH, DayOptions, corrected
from otolith.formats.options import DEFAULTS
from otolith.storage.engines import Workers, map_unordered, threads_of
from otolith.storage.files import fingerprint, listing, write_text

Truth = Sequence[tuple[float, float, str]]
_CODE = ("storage", "data", "formats", "encoders", "checkpoints", "classifiers", "reports", "apps")
"""Packages that decide the results."""


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """How to label.

    Args:
        smooth: whether to smooth by how long activities last.
        day: what is done to recordings of a day or more.
        parquet: whether to write timelines as Parquet too.
    """

    smooth: bool = True
    day: DayOptions = BY_LENGTH
    parquet: bool = False


HOW = LabelOptions()
"""The defaults."""


class Done(NamedTuple):
    """One more source is labelled: number `done` of `of`.

    Attributes:
        done: sources so far.
        of: sources in all.
        source: the source's name.
        recordings: a document of each of its sessions; see `results.document`.
        error: why it could not be labelled; empty otherwise.
        again: whether it had been labelled before, with the same model, options and files, so that nothing was done.
    """

    done: int
    of: int
    source: str
    recordings: tuple[dict[str, Any], ...]
    error: str = ""
    again: bool = False


def label_recordings(
    model: TransferClassifier | ForestClassifier,
    sources: Sequence[Path],
    out: Path | None = None,
    *,
    options: ReadOptions = DEFAULTS,
    found: Survey | None = None,
    truth: Truth | None = None,
    how: LabelOptions = HOW,
) -> Iterator[Labelled]:
    """Label recordings one after the other, and write `<name>.timeline.csv` and further files of each session (`results`).

    Args:
        model: fitted, with a signal contract.
        sources: files and folders of recordings.
        out: folder of the results, in which folders of recordings keep their subfolders; None: where each recording lies.
        options: of the reader.
        found: what `survey_for` found in these sources; None: it is called here.
        truth: true labels, for the picture.
        how: how to label.

    Yields:
        What each session holds, once its files are written.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no recording.
        ValueError: a recording cannot be understood, or does not suit the model.
    """
    found = found or survey_for(model, sources, options)
    alone = len(found.sources) == 1
    for source in found.sources:
        yield from _sessions(model, found, source, sources, out, how, truth, alone=alone)


def label_files(
    model: TransferClassifier | ForestClassifier,
    model_hash: str,
    found: Survey,
    sources: Sequence[Path],
    out: Path | None = None,
    *,
    how: LabelOptions = HOW,
    jobs: Workers = 1,
) -> Iterator[Done]:
    """Label recordings in several processes; what was labelled before is not labelled again.

    Next to the results of a source, `<name>.label.json` records what they were made of and holds them as one document. A
    source that cannot be labelled does not keep the others from it.

    Args:
        model: fitted, with a signal contract.
        model_hash: the SHA-256 of its file.
        found: of `survey_for` in these sources.
        sources: files and folders of recordings.
        out: as of `label_recordings`.
        how: how to label.
        jobs: processes, each of which gets its share of the cores; or an executor.

    Yields:
        A record per source, in any order.
    """
    count = len(found.sources)
    jobs = min(jobs, count) if isinstance(jobs, int) else jobs
    threads = threads_of(jobs, torch.get_num_threads())
    one = partial(_one, model, model_hash, found, sources, out, how, threads, alone=count == 1)
    ended = map_unordered(one, [(source,) for source in found.sources], jobs=jobs)
    for done, labelled in enumerate(ended):
        yield labelled._replace(done=done + 1, of=count)


def _one(
    model: TransferClassifier | ForestClassifier,
    model_hash: str,
    found: Survey,
    sources: Sequence[Path],
    out: Path | None,
    how: LabelOptions,
    threads: int | None,
    source: Source,
    *,
    alone: bool,
) -> Done:
    """Label one source, or find that it was labelled."""
    if threads is not None:
        torch.set_num_threads(threads)
    folder, stem = _place(source.name, source, sources, out, alone=alone)
    record = folder / f"{stem}.label.json"
    units = found.units.get(source.name)
    made_of = {
        "model": model_hash,
        "code": code_version(_CODE),
        "how": dataclasses.asdict(how),
        "options": dataclasses.asdict(found.options),
        "units": None if units is None else [units.acc, units.gyro],
        "files": listing(source.path) + [row for one in source.members for row in listing(one.table.path)],
    }
    key = fingerprint(made_of)
    if (known := _known(record, key)) is not None:
        return Done(0, 0, source.name, known, again=True)
    try:
        labelled = _sessions(model, found, source, sources, out, how, None, alone=alone)
        documents = tuple(document(one) for one in labelled)
    except ValueError as error:
        return Done(0, 0, source.name, (), error=str(error))
    write_text(record, json.dumps({"made_of": key, "recordings": documents}, default=str))
    return Done(0, 0, source.name, documents)


def _known(record: Path, key: str) -> tuple[dict[str, Any], ...] | None:
    """Return the documents of an earlier, complete run with the same key; None if there is none."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["made_of"] != key:
            return None
        documents = tuple(found["recordings"])
        whole = all(Path(path).is_file() for each in documents for path in each["files"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return documents if whole else None


def _sessions(
    model: TransferClassifier | ForestClassifier,
    found: Survey,
    source: Source,
    sources: Sequence[Path],
    out: Path | None,
    how: LabelOptions,
    truth: Truth | None,
    *,
    alone: bool,
) -> Iterator[Labelled]:
    """Label the sessions of one source and write their files."""
    sessions: list[Session] = found.read(source)
    several = not alone or len(sessions) > 1
    while sessions:
        session = corrected(sessions.pop(0), how.day)
        try:
            labelled = label(model, session, smooth=how.smooth, allow_none=several)
        except ValueError as error:
            if alone:
                raise
            raise ValueError(f"'{session.name}': {error}") from error
        folder, stem = _place(session.name, source, sources, out, alone=alone)
        yield write(labelled, folder, stem, truth=truth, parquet=how.parquet)


def _place(name: str, source: Source, sources: Sequence[Path], out: Path | None, *, alone: bool) -> tuple[Path, str]:
    """The folder and the beginning of the names of the results of a source or session."""
    place = PurePosixPath(name)
    inside = next((each for each in sources if each.is_dir() and source.path.is_relative_to(each)), None)
    if inside is not None and alone and len(sources) == 1:  # a folder that holds one recording gives it its name
        place = PurePosixPath(name.replace(source.name, inside.resolve().name, 1))
    folder = out
    if folder is None:
        folder = source.path.parent if inside is None else inside
    return folder / Path(*place.parts[:-1]), place.name
