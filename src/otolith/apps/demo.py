"""A recording of a held-out subject for the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from otolith.data.recording import ACCELEROMETER, STANDARD_GRAVITY
from otolith.data.store import open_store
from otolith.experiments.run import Run
from otolith.storage.files import replacing


def held_out_session(run: Run, *, fold: int) -> tuple[Path, list[tuple[float, float, str]]]:
    """Writes a session of one of the fold's test people as a CSV, as a user would bring it: the person's recordings
    of each class one after another, five seconds apart, time in seconds and acceleration in m/s^2.

    Returns:
        The file, and its true labels as (start, end, label) in seconds.
    """
    store = open_store(run.data / run.recipe.dataset, verify=False)
    unit = next(unit for unit in run.plan(run.windows()) if unit.split.fold == fold)
    person = unit.split.test[0]
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
        at = truth[-1][1] + 5.0
    path = run.folder / f"person-{person}.csv"
    with replacing(path) as part:
        np.savetxt(
            part, np.concatenate(tables), fmt="%.4f", delimiter=",", header="time,acc_x,acc_y,acc_z", comments=""
        )
    return path, truth
