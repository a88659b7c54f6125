"""The protocol: folds by subject x labels per class x seeds x methods -> result rows that record how they were made.

This module judges encoders, whatever made them: it imports no objective and no training loop. The caller provides, for
every fold and seed, a checkpoint that was pretrained without that fold's test subjects, and this is checked.

A row is one small JSON file, named by a hash of all that it depends on and written atomically. So an interrupted evaluation
continues where it stopped, several processes may share a folder, and nothing is computed twice.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers.baselines import CLASSICAL, classical
from otolith.classifiers.features import embed, rows_of
from otolith.classifiers.heads.whitening import spread_rows
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.splits import draw_shots
from otolith.data.windows import Windows
from otolith.evaluation.plan import PRETRAINED, PlannedRow
from otolith.evaluation.rows import Row
from otolith.storage.engines import Workers, map_unordered, threads_of
from otolith.storage.files import fingerprint
from otolith.storage.records import read_record, write_record


def evaluate(
    windows: Windows, planned: Sequence[PlannedRow], *, folder: Path, jobs: Workers = 1, recipe: str = ""
) -> Iterator[Row]:
    """Yield every planned row in the order they are ready, read from `folder` where it exists already.

    Args:
        windows: those that the rows were planned with.
        planned: from `planned_rows`.
        folder: of the rows, one JSON file each.
        jobs: processes, each of which gets its share of the cores; or an executor.
        recipe: JSON of the recipe that planned the rows, which they record.

    Raises:
        ValueError: a row file in the folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads = threads_of(jobs, torch.get_num_threads())
    row = partial(_row, windows, folder, recipe, threads)
    yield from map_unordered(row, [(each,) for each in planned], jobs=jobs)


_BLOCK = 1 << 13  # test windows classified at a time: a corpus may be larger than memory
_features: dict[tuple[str, str, bool], torch.Tensor] = {}


def _features_of(
    encoder: checkpoint.Checkpoint, windows: Windows, folder: Path, statistics: bool = False
) -> torch.Tensor:
    """Frozen features of the whole corpus, with or without statistics, computed once per process and encoder; a memory map
    of a temporary file in `folder` if they are large."""
    key = (encoder.sha256, windows.content_hash, statistics)
    if key not in _features:
        for other in [other for other in _features if other[:2] != key[:2]]:
            _features.pop(other, None)  # those of one encoder at a time: they may be large
        _features[key] = embed(encoder.encoder, windows, statistics=statistics, folder=folder)
    return _features[key]


def _row(windows: Windows, folder: Path, recipe: str, threads: int | None, planned: PlannedRow) -> Row:
    """Read a row, or compute and write it."""
    file = folder / f"{planned.fingerprint}.json"
    if file.exists():
        return read_record(file, Row)
    if threads is not None:
        torch.set_num_threads(threads)
    assert windows.y is not None
    started = time.perf_counter()
    unit, split, made_by = planned.unit, planned.unit.split, provenance.provenance()
    encoder = checkpoint.load(planned.encoder)
    if encoder.sha256 != planned.sha256:
        raise ValueError(f"'{planned.encoder}' has changed since these rows were planned; run the same command again")
    rows = _training_rows(windows, planned)
    test_rows = windows.rows_for_subjects(split.test)
    predicted, steps = _predictions(windows, planned, encoder, folder, rows, test_rows)
    pretrained, classical = planned.mode in PRETRAINED, planned.mode in CLASSICAL
    row = Row(
        dataset=windows.dataset,
        windows=windows.cut_hash[:16],
        objective=encoder.about.get("objective", "?") if pretrained else "-",
        encoder="-" if classical else encoder.about.get("encoder", type(encoder.encoder).__name__),
        pretrained_on=encoder.about.get("pretrained_on", "?") if pretrained else "-",
        checkpoint=encoder.sha256[:16] if pretrained else "-",
        pretraining=json.dumps(encoder.about.get("settings", {}), sort_keys=True) if pretrained else "{}",
        mode=planned.arm,
        transfer=json.dumps(_recorded(planned.classifier), sort_keys=True),
        fold=split.fold,
        shots=planned.shots,
        seed=unit.seed,
        fold_seed=unit.fold_seed,
        n_train=len(rows),
        n_validation=len(planned.held(windows)),
        n_test=len(test_rows),
        fewer=_fewer(windows, rows, planned.shots),
        **scores(windows[test_rows], predicted),
        steps=steps,
        seconds=round(time.perf_counter() - started, 3),
        test_subjects=" ".join(split.test),
        test_seen_in_pretraining=bool(planned.seen) and pretrained,
        code=made_by["code"],
        commit=made_by["commit"] or f"otolith {made_by['otolith']}",
        torch=made_by["torch"],
        machine=made_by["machine"],
        fingerprint=planned.fingerprint,
        weights=encoder.weights_sha256()[:16] if pretrained else "-",
        recipe=recipe,
    )
    write_record(file, row)
    return row


def _training_rows(windows: Windows, planned: PlannedRow) -> np.ndarray:
    """The labelled windows that are drawn from the training subjects; none for zero-shot."""
    train = windows.rows_for_subjects(planned.unit.split.train)
    if planned.mode == "zero-shot":
        return train[:0]
    assert windows.y is not None
    seed = planned.unit.seed * 1000 + planned.unit.split.fold
    return np.asarray(train[draw_shots(windows.y[train], planned.shots, seed=seed)])


def _predictions(
    windows: Windows,
    planned: PlannedRow,
    encoder: checkpoint.Checkpoint,
    folder: Path,
    rows: np.ndarray,
    test_rows: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Label numbers of the test windows, by a classifier fitted on `rows`, and its optimisation steps."""
    assert windows.y is not None
    train, blocks = windows[rows], np.split(test_rows, range(_BLOCK, len(test_rows), _BLOCK))
    train_rows = windows.rows_for_subjects(planned.unit.split.train)
    if planned.mode in CLASSICAL:
        baseline = classical(planned.classifier)
        others = train_rows[spread_rows(len(train_rows))]
        more = {"unlabelled": windows[others].unlabelled()} if baseline.uses_unlabelled else {}
        baseline.fit(train, **more)
        return np.concatenate([baseline.predict(windows[block]) for block in blocks]), 0
    table: torch.Tensor | None = None
    if planned.mode == "zero-shot":
        known = np.unique(windows.y)
        words = {name: planned.classifier["head"][name] for name in ("prompts", "text")}
        model = TransferClassifier.from_words(encoder, [windows.label_names[k] for k in known], **words)
        table = _features_of(encoder, windows, folder)
        likely = [model.predict_proba(windows[block], features=table[block]) for block in blocks]
        return np.asarray(known[np.concatenate(likely).argmax(axis=1)]), 0
    model = TransferClassifier.from_arguments(planned.classifier, encoder)
    if model.reads_pretrained_features:
        table = _features_of(encoder, windows, folder, model.head.use_statistics)
    held, others, unlabelled = planned.held(windows), model.head.uses_unlabelled, None
    if others:
        train_rows = train_rows[spread_rows(len(train_rows))]
    if others or model.training.finetuning.auxiliary_objective_weight:
        unlabelled = windows[train_rows].unlabelled()
    model.fit(
        train,
        validation=windows[held] if len(held) else None,
        features=None if table is None else rows_of(table, rows, folder),
        validation_features=None if table is None or not len(held) else rows_of(table, held, folder),
        unlabelled=unlabelled,
        unlabelled_features=table[train_rows] if table is not None and others else None,
    )
    frozen = table if planned.mode == "frozen" else None
    predicted = [model.predict(windows[k], features=None if frozen is None else frozen[k]) for k in blocks]
    return np.concatenate(predicted), model.steps_


def _recorded(classifier: Mapping[str, Any]) -> dict[str, Any]:
    """The classifier's arguments as rows record them: without the seed, which has a column, and prompts by their hash."""
    how = {name: value for name, value in classifier.items() if name != "seed"}
    if how.get("head", {}).get("prompts") is not None:
        how["head"] = {**how["head"], "prompts": fingerprint(how["head"]["prompts"])[:16]}
    return how


def _fewer(windows: Windows, rows: np.ndarray, shots: int | None) -> str:
    """JSON of the classes with fewer windows than wanted."""
    assert windows.y is not None
    drawn = np.bincount(windows.y[rows], minlength=len(windows.label_names))
    fewer = {} if shots is None else {windows.label_names[k]: int(n) for k, n in enumerate(drawn) if n < shots}
    return json.dumps(fewer)


def scores(test: Windows, predicted: np.ndarray) -> dict[str, Any]:
    """Return the scores of a row: accuracy, macro F1, F1 per class and per subject, and the confusion matrix."""
    assert test.y is not None
    every = list(range(len(test.label_names)))
    options: dict[str, Any] = {"average": "macro", "zero_division": 0.0}
    by_class = f1_score(test.y, predicted, labels=every, average=None, zero_division=0.0)
    by_subject = {}
    for number in np.unique(test.subject):
        mine = test.subject == number
        present = np.unique(test.y[mine])
        by_subject[test.subject_names[number]] = f1_score(test.y[mine], predicted[mine], labels=present, **options)
    return {
        "accuracy": float(accuracy_score(test.y, predicted)),
        "macro_f1": float(f1_score(test.y, predicted, labels=every, **options)),
        "f1_by_class": json.dumps(dict(zip(test.label_names, np.round(by_class, 6).tolist(), strict=True))),
        "f1_by_subject": json.dumps({subject: round(float(score), 6) for subject, score in by_subject.items()}),
        "confusion": json.dumps(confusion_matrix(test.y, predicted, labels=every).tolist()),
    }


def collect_rows(folder: Path, planned: Sequence[PlannedRow] | None = None) -> pd.DataFrame:
    """Return the rows of a folder, sorted, as one table.

    Args:
        folder: where `evaluate` keeps them.
        planned: only these; None: all in the folder, of any settings and code.

    Raises:
        FileNotFoundError: there are no rows, or a planned one is missing.
    """
    files = sorted(folder.glob("*.json"))
    if planned is not None:
        files = [folder / f"{row.fingerprint}.json" for row in planned]
        if missing := sum(not file.exists() for file in files):
            raise FileNotFoundError(
                f"{missing} of {len(files)} rows are not in '{folder}' yet (rows of other settings, data or code do not "
                "count); run first: otolith evaluate with the same recipe and the same --out"
            )
    rows = [dataclasses.asdict(read_record(file, Row)) for file in files]
    if not rows:
        raise FileNotFoundError(f"no result rows in '{folder}'; run: otolith evaluate RECIPE")
    table: pd.DataFrame = pd.DataFrame(rows)
    table["shots"] = table["shots"].astype("Int64")
    keys = ["dataset", "objective", "mode", "shots", "seed", "fold", "fingerprint"]
    table = table.sort_values(keys, ignore_index=True)
    return table
