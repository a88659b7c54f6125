"""Write what a user of `otolith adapt` would bring: recordings, a labels file, and recordings of held-out people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from otolith.data.recording import ACCELEROMETER, STANDARD_GRAVITY
from otolith.data.store import Store, open_store
from otolith.experiments.run import Run
from otolith.storage.files import replacing, write_text

PAUSE_S = 5.0
"""Seconds between two exercises of a session, without data."""
TrueLabels = list[tuple[float, float, str]]


class DemoFiles(NamedTuple):
    """Files that a user would bring.

    Attributes:
        recordings: folder with one CSV per training person.
        labels: the labels file, which knows a few seconds of some of them.
        held_out: CSVs of people whom neither the encoder nor the labels know, with their true labels as (start, end,
            label) in seconds.
    """

    recordings: Path
    labels: Path
    held_out: dict[Path, TrueLabels]


def write_files(run: Run, *, fold: int, people: int = 5, seconds: float = 10.0) -> DemoFiles:
    """Write the training people of a fold as a user's recordings, and its test people.

    Args:
        run: of the demo's recipe; its corpus is prepared.
        fold: number of the fold.
        people: number of training people who are labelled.
        seconds: labelled seconds of each class per labelled person.
    """
    store = open_store(run.data / run.recipe.dataset, verify=False)
    split = next(planned.split for planned in run.plan(run.windows()) if planned.split.fold == fold)
    recordings = run.folder / "recordings"
    lines = ["recording,start,end,label,person"]
    for number, person in enumerate(split.train):
        truth = _write_session(store, person, recordings / f"person-{person}.csv")
        if number < people:
            lines += [
                f"person-{person}.csv,{start:.2f},{min(start + seconds, end):.2f},{label},{person}"
                for start, end, label in truth
            ]
    labels = run.folder / "labels.csv"
    write_text(labels, "\n".join(lines) + "\n")
    paths = {person: run.folder / f"person-{person}.csv" for person in split.test}
    held_out = {path: _write_session(store, person, path) for person, path in paths.items()}
    return DemoFiles(recordings, labels, held_out)


def _write_session(store: Store, person: str, path: Path) -> TrueLabels:
    """Write the first recording of each class of a person, one after another, with time in s and acceleration in m/s^2."""
    first: dict[int, Any] = {}
    for entry in store.entries:
        if entry.subject == person and entry.spans:
            first.setdefault(entry.spans[0][2], entry)
    columns = [store.channels.index(name) for name in ACCELEROMETER]
    tables, truth, at = [], [], 0.0
    for number, entry in sorted(first.items()):
        signal = store.signal(entry)[:, columns] * STANDARD_GRAVITY
        time_s = at + np.arange(entry.steps) / store.rate_hz
        tables.append(np.column_stack([time_s, signal]))
        truth.append((at, at + entry.steps / store.rate_hz, store.labels[number]))
        at = truth[-1][1] + PAUSE_S
    header = "time,acc_x,acc_y,acc_z"
    with replacing(path) as part:
        np.savetxt(part, np.concatenate(tables), fmt="%.4f", delimiter=",", header=header, comments="")
    return truth
