"""The protocol: folds by person x windows per class x seeds x modes -> tidy rows that say how they were made.

This module judges encoders, whatever made them: it imports no objective and no training loop. The caller hands in, for
every fold and seed, a checkpoint that was pretrained without that fold's test people, and this is checked.

A row is one small JSON file, named by the fingerprint of all that it depends on and written atomically. So an interrupted
evaluation goes on where it stopped, several processes may share a folder, and nothing is computed twice.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from otolith import checkpoint
from otolith.baseline import ForestClassifier
from otolith.files import fingerprint, write_text
from otolith.splits import Split, by_subject, draw_shots
from otolith.transfer import TransferClassifier, embed
from otolith.windows import Windows

MODES = ("frozen", "finetune", "scratch", "random-frozen", "forest")
"""What a row can compare; the first two and `random-frozen` need nothing but a checkpoint, the forest not even that."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One result. `shots` None means all windows; `commit` ends in + where the code had uncommitted changes."""

    dataset: str
    windows: str
    objective: str
    encoder: str
    pretrained_on: str
    checkpoint: str
    mode: str
    transfer: str
    fold: int
    shots: int | None
    seed: int
    fold_seed: int
    n_train: int
    n_validation: int
    n_test: int
    fewer: str
    accuracy: float
    macro_f1: float
    f1_by_class: str
    f1_by_subject: str
    confusion: str
    steps: int
    seconds: float
    test_subjects: str
    test_seen_in_pretraining: bool
    code: str
    commit: str
    torch: str
    machine: str
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Unit:
    """A fold and a seed: what shares one encoder and one set of frozen features."""

    split: Split
    seed: int
    fold_seed: int


def units(
    windows: Windows, *, folds: int = 5, seeds: Sequence[int] = (0, 1, 2, 3, 4), fold_seed: int | None = None
) -> list[Unit]:
    """The folds and seeds of a protocol, in the order in which they are computed.

    Args:
        windows: labelled windows; only people who have some take part.
        folds: by person.
        seeds: each draws its own windows and initial weights, and its own folds unless `fold_seed` is given.
        fold_seed: one partition into folds for all seeds, so that all may share one pretrained encoder a fold.
    """
    people = [windows.subject_names[number] for number in np.unique(windows.subject)]
    return [
        Unit(split, seed, seed if fold_seed is None else fold_seed)
        for seed in seeds
        for split in by_subject(people, folds=folds, seed=seed if fold_seed is None else fold_seed)
    ]


def evaluate(
    windows: Windows,
    plan: Sequence[Unit],
    encoders: Callable[[Unit], Path],
    *,
    folder: Path,
    shots: Sequence[int | None] = (2, 5, 10, 50, 100, None),
    modes: Sequence[str] = ("frozen", "finetune", "scratch", "forest"),
    transfer: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    validation_windows: int | None = None,
    allow_seen: bool = False,
    jobs: int = 1,
) -> Iterator[Row]:
    """Yields every row of the protocol, read from `folder` where it is there already, in the order they are ready.

    Args:
        windows: the labelled corpus.
        plan: from `units`.
        encoders: the checkpoint for a unit; pretrained without the unit's test people.
        folder: rows are kept there, one JSON file each.
        shots: windows a class drawn from the training people; None: all. A class with fewer gives all it has, and
            the row's `fewer` says which.
        modes: of `MODES`.
        transfer: arguments of `TransferClassifier` for all modes.
        overrides: further arguments by mode, over `transfer`.
        validation_windows: at most so many windows of the validation people, drawn once a seed; None: all.
        allow_seen: also judge encoders that saw test people in pretraining; their rows say so.
        jobs: processes; each gets its share of the cores.

    Raises:
        ValueError: an unknown mode, windows without labels, or an encoder that has seen a test person.

    Source: the protocol of Fortes Rey et al. 2023 (arXiv 2307.01168): macro F1 over the corpus's classes, folds by user,
    every user tested once a seed.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"unknown mode '{unknown[0]}'; expected some of {', '.join(MODES)}")
    if windows.y is None:
        raise ValueError("these windows have no labels, so nothing can be scored")
    folder.mkdir(parents=True, exist_ok=True)
    cells = [(mode, count) for count in shots for mode in modes]
    arguments = {mode: {**(transfer or {}), **(overrides or {}).get(mode, {})} for mode in modes}
    work = [(unit, encoders(unit)) for unit in plan]
    options = (folder, cells, arguments, validation_windows, allow_seen)
    if jobs == 1:
        for unit, path in work:
            yield from _rows(windows, unit, path, *options)
        return
    from joblib import Parallel, delayed

    threads = max(1, (torch.get_num_threads()) // jobs)
    # One cell a task, so that all workers are busy to the end; cells of a unit share features through a small cache.
    tasks = [(unit, path, cell) for unit, path in work for cell in cells]
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", backend="loky")
    yield from parallel(
        delayed(_one_row)(windows, unit, path, folder, cell, arguments, validation_windows, allow_seen, threads)
        for unit, path, cell in tasks
    )


def _one_row(
    windows: Windows,
    unit: Unit,
    path: Path,
    folder: Path,
    cell: Any,
    arguments: Any,
    cap: Any,
    seen: bool,
    threads: int,
) -> Row:
    torch.set_num_threads(threads)
    return next(iter(_rows(windows, unit, path, folder, [cell], arguments, cap, seen)))


_features: dict[tuple[str, str], torch.Tensor] = {}


def _features_of(loaded: checkpoint.Checkpoint, windows: Windows) -> torch.Tensor:
    """Frozen features of the whole corpus, computed once a process and checkpoint."""
    key = (loaded.sha256, windows.identity)
    if key not in _features:
        _features.clear()  # one encoder's at a time: they may be large
        _features[key] = embed(loaded.encoder, windows)
    return _features[key]


def _rows(
    windows: Windows,
    unit: Unit,
    path: Path,
    folder: Path,
    cells: Sequence[tuple[str, int | None]],
    arguments: Mapping[str, Mapping[str, Any]],
    validation_windows: int | None,
    allow_seen: bool,
) -> Iterator[Row]:
    assert windows.y is not None
    split, made_by = unit.split, checkpoint.provenance()
    loaded = checkpoint.load(path)
    if difference := loaded.signal.difference(windows.contract):
        raise ValueError(f"'{path}' does not fit these windows: {difference}; prepare and cut them as it was trained")
    seen = sorted({f"{windows.dataset}:{person}" for person in split.test} & set(loaded.about.get("subjects", ())))
    if seen and not allow_seen:
        raise ValueError(
            f"'{path}' was pretrained on test people ({', '.join(seen)}): scores would not be of people never seen; "
            "pretrain without them, or allow it (--allow-seen) and have every row say so"
        )
    sides = {side: _rows_of(windows, people) for side, people in dataclasses.asdict(split).items() if side != "fold"}
    held = sides["validation"]
    if validation_windows is not None and len(held) > validation_windows:
        random = np.random.default_rng([unit.seed, split.fold, 0x7A11])
        held = np.sort(random.choice(held, validation_windows, replace=False))
    for mode, count in cells:
        how = {} if mode == "forest" else dict(arguments[mode])
        learns_from = loaded.sha256 if mode in ("frozen", "finetune") else loaded.encoder.arguments()
        name = fingerprint(
            {
                "windows": windows.identity,
                "encoder": None if mode == "forest" else [type(loaded.encoder).__name__, learns_from],
                "mode": mode,
                "transfer": how,
                "split": dataclasses.asdict(split),
                "validation": None if mode == "forest" else held.tolist(),
                "shots": count,
                "seed": unit.seed,
                "code": made_by["code"],
            }
        )[:24]
        file = folder / f"{name}.json"
        if file.exists():
            yield _read(file)
            continue
        started = time.perf_counter()
        rows = sides["train"][draw_shots(windows.y[sides["train"]], count, seed=unit.seed * 1000 + split.fold)]
        drawn = np.bincount(windows.y[rows], minlength=len(windows.label_names))
        fewer = {windows.label_names[k]: int(n) for k, n in enumerate(drawn) if count is not None and n < count}
        train, test = windows[rows], windows[sides["test"]]
        steps = 0
        if mode == "forest":
            predicted = ForestClassifier(seed=unit.seed).fit(train).predict(test)
        else:
            model = TransferClassifier(loaded.encoder, mode=mode, seed=unit.seed, **how)  # type: ignore[arg-type]
            table = None
            if mode == "frozen" or (mode == "finetune" and model.head == "logistic"):
                table = _features_of(loaded, windows)
            model.fit(
                train,
                validation=windows[held] if len(held) else None,
                features=None if table is None else table[rows],
                validation_features=None if table is None else table[held],
            )
            frozen = table if mode == "frozen" else None
            predicted = model.predict(test, features=None if frozen is None else frozen[sides["test"]])
            steps = model.steps_
        row = Row(
            dataset=windows.dataset,
            windows=windows.identity[:16],
            objective="-" if mode in ("scratch", "random-frozen", "forest") else loaded.about.get("objective", "-"),
            encoder="-" if mode == "forest" else loaded.about.get("encoder", type(loaded.encoder).__name__),
            pretrained_on="-" if mode not in ("frozen", "finetune") else loaded.about.get("pretrained_on", "?"),
            checkpoint="-" if mode not in ("frozen", "finetune") else loaded.sha256[:16],
            mode=mode,
            transfer=json.dumps(how, sort_keys=True),
            fold=split.fold,
            shots=count,
            seed=unit.seed,
            fold_seed=unit.fold_seed,
            n_train=len(rows),
            n_validation=0 if mode == "forest" else len(held),
            n_test=len(test),
            fewer=json.dumps(fewer),
            **_scores(test, predicted),
            steps=steps,
            seconds=round(time.perf_counter() - started, 3),
            test_subjects=" ".join(split.test),
            test_seen_in_pretraining=bool(seen) and mode in ("frozen", "finetune"),
            code=made_by["code"],
            commit=made_by["commit"] or f"otolith {made_by['otolith']}",
            torch=made_by["torch"],
            machine=made_by["machine"],
            fingerprint=name,
        )
        write_text(file, json.dumps(dataclasses.asdict(row), indent=1))
        yield row


def _rows_of(windows: Windows, people: Sequence[str]) -> np.ndarray:
    numbers = [windows.subject_names.index(person) for person in people]
    return np.flatnonzero(np.isin(windows.subject, numbers))


def _scores(test: Windows, predicted: np.ndarray) -> dict[str, Any]:
    assert test.y is not None
    every = list(range(len(test.label_names)))
    options: dict[str, Any] = {"average": "macro", "zero_division": 0.0}
    by_class = f1_score(test.y, predicted, labels=every, average=None, zero_division=0.0)
    by_person = {}
    for number in np.unique(test.subject):
        mine = test.subject == number
        present = np.unique(test.y[mine])
        by_person[test.subject_names[number]] = f1_score(test.y[mine], predicted[mine], labels=present, **options)
    return {
        "accuracy": float(accuracy_score(test.y, predicted)),
        "macro_f1": float(f1_score(test.y, predicted, labels=every, **options)),
        "f1_by_class": json.dumps(dict(zip(test.label_names, np.round(by_class, 6).tolist(), strict=True))),
        "f1_by_subject": json.dumps({person: round(float(score), 6) for person, score in by_person.items()}),
        "confusion": json.dumps(confusion_matrix(test.y, predicted, labels=every).tolist()),
    }


def _read(file: Path) -> Row:
    try:
        return Row(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the result row '{file}' is damaged: {error}; remove it and evaluate again") from error


def gather(folder: Path) -> pd.DataFrame:
    """All rows in a folder, sorted, as one tidy table.

    Raises:
        FileNotFoundError: there are none.
    """
    rows = [dataclasses.asdict(_read(file)) for file in sorted(folder.glob("*.json"))]
    if not rows:
        raise FileNotFoundError(f"no result rows in '{folder}'; run: otolith evaluate RECIPE")
    table: pd.DataFrame = pd.DataFrame(rows)
    table["shots"] = table["shots"].astype("Int64")
    keys = ["dataset", "objective", "mode", "shots", "seed", "fold", "fingerprint"]
    table = table.sort_values(keys, ignore_index=True)
    return table


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over folds for each seed, then mean and 95 % interval (Student's t) over seeds; one line a mode and shots.

    Columns: mode, shots, macro_f1, low, high (both NaN with one seed), accuracy, worst_subject (mean over seeds of the
    worst person's macro F1), seeds, folds.
    """
    worst = rows.assign(worst_subject=[min(json.loads(text).values()) for text in rows["f1_by_subject"]])
    by_seed = worst.groupby(["mode", "shots", "seed"], dropna=False).agg(
        macro_f1=("macro_f1", "mean"),
        accuracy=("accuracy", "mean"),
        worst_subject=("worst_subject", "min"),
        folds=("fold", "nunique"),
    )
    lines = []
    for (mode, shots), part in by_seed.groupby(level=["mode", "shots"], dropna=False):
        scores = part["macro_f1"].to_numpy()
        half = float("nan")
        if len(scores) > 1:
            half = float(stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores)))
        lines.append(
            {
                "mode": mode,
                "shots": shots,
                "macro_f1": scores.mean(),
                "low": scores.mean() - half,
                "high": scores.mean() + half,
                "accuracy": part["accuracy"].mean(),
                "worst_subject": part["worst_subject"].mean(),
                "seeds": len(scores),
                "folds": int(part["folds"].max()),
            }
        )
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


@dataclasses.dataclass(frozen=True)
class Gain:
    """A paired comparison: macro F1 of `mode` minus that of `over`, on the same folds, seeds and windows.

    Attributes:
        mode: what is compared.
        over: with what.
        shots: windows a class; None: all.
        gain: mean difference.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        p: two-sided Wilcoxon signed-rank test over the pairs; NaN with fewer than 6 of them.
        pairs: number of folds x seeds.
    """

    mode: str
    over: str
    shots: int | None
    gain: float
    low: float
    high: float
    p: float
    pairs: int


def gains(rows: pd.DataFrame, mode: str, over: str) -> list[Gain]:
    """Paired comparisons at every number of shots.

    The bootstrap (10,000 draws, percentile) draws groups of test people, not single rows: seeds that tested the same
    people are no independent evidence. So with one partition into 5 folds it draws 5 groups, and the interval is as wide
    as that deserves.
    """
    keys = ["dataset", "shots", "seed", "fold", "test_subjects"]
    both = rows[rows["mode"] == mode].merge(rows[rows["mode"] == over], on=keys, suffixes=("", "_over"))
    both = both.assign(difference=both["macro_f1"] - both["macro_f1_over"])
    found = []
    for shots, part in both.groupby("shots", dropna=False):
        difference = part["difference"].to_numpy()
        groups = part.groupby("test_subjects")["difference"].mean().to_numpy()
        low = high = p = float("nan")
        if len(groups) > 1 and np.ptp(groups) > 0:
            drawn = stats.bootstrap(
                (groups,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
            )
            low, high = map(float, drawn.confidence_interval)
        if len(difference) >= 6 and np.any(difference):
            p = float(stats.wilcoxon(difference).pvalue)
        count = None if pd.isna(shots) else int(shots)
        found.append(Gain(mode, over, count, float(groups.mean()), low, high, p, len(difference)))
    return found
