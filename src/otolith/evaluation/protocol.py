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
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers import prompts as zeroshot
from otolith.classifiers.baselines import CLASSICAL
from otolith.classifiers.training import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.splits import Split, by_subject, draw_shots, fixed
from otolith.data.windows import Windows
from otolith.evaluation.rows import Row
from otolith.storage.files import fingerprint, write_text
from otolith.storage.records import _read

MODES = ("frozen", "finetune", "scratch", "random-frozen", "zero-shot", *CLASSICAL)
"""What a row can compare: the modes of `TransferClassifier`, and the classical methods, which need no checkpoint. A recipe
can name further arms, each one of these modes with arguments of its own."""

_PRETRAINED = ("frozen", "finetune", "zero-shot")


@dataclasses.dataclass(frozen=True)
class FoldSeed:
    """A fold and a seed: what shares one encoder and one set of frozen features."""

    split: Split
    seed: int
    fold_seed: int


def units(
    windows: Windows,
    *,
    folds: int = 5,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    fold_seed: int | None = None,
    test: Sequence[str] | None = None,
    validation: float = 0.2,
) -> list[FoldSeed]:
    """The folds and seeds of a protocol, in the order in which they are computed.

    Args:
        windows: labelled windows; only people who have some take part.
        folds: by person.
        seeds: each draws its own windows and initial weights, and its own folds unless `fold_seed` is given.
        fold_seed: one partition into folds for all seeds, so that all may share one pretrained encoder a fold.
        test: these people are tested and nobody else, instead of folds: a corpus's official split. The others train, and
            the seed draws who of them validates.
        validation: share of the people not tested who validate; 0: nobody does, where nothing is stopped or chosen by
            them.

    Raises:
        ValueError: see `splits.by_subject` and `splits.fixed`.
    """
    people = [windows.subject_names[number] for number in np.unique(windows.subject)]
    planned = []
    for seed in seeds:
        draw = seed if fold_seed is None else fold_seed
        if test is None:
            splits = by_subject(people, folds=folds, validation=validation, seed=draw)
        else:
            splits = [fixed(people, test, validation=validation, seed=draw)]
        planned += [FoldSeed(split, seed, draw) for split in splits]
    return planned


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """One row to be: all that it depends on, and the fingerprint of that."""

    unit: FoldSeed
    encoder: Path
    sha256: str
    mode: str
    shots: int | None
    transfer: dict[str, Any]
    held: tuple[int, ...]
    seen: tuple[str, ...]
    fingerprint: str


def cells(
    windows: Windows,
    plan: Sequence[FoldSeed],
    encoders: Callable[[FoldSeed], Path],
    *,
    shots: Sequence[int | None] = (2, 5, 10, 50, 100, None),
    modes: Sequence[str] = ("frozen", "finetune", "scratch", "forest"),
    transfer: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    prompts: zeroshot.Prompts | None = None,
    validation_windows: int | None = None,
    allow_seen: bool = False,
) -> list[PlannedRow]:
    """The rows of a protocol, planned and checked before anything is computed.

    Args:
        windows: the labelled corpus.
        plan: from `units`.
        encoders: the checkpoint for a unit; pretrained without the unit's test people.
        shots: windows a class drawn from the training people; None: all. A class with fewer gives all it has, and
            the row's `fewer` says which.
        modes: of `MODES`, or names of `overrides` that say which of them they are. `zero-shot` gives one row a unit,
            with 0 shots.
        transfer: arguments of `TransferClassifier` for all modes.
        overrides: further arguments by mode, over `transfer`; with `mode` among them, an arm under a name of its own.
        prompts: sentences by label, for arms whose head is made of words; None: the labels' own words.
        validation_windows: at most so many windows of the validation people, drawn once a seed and fold; None: all.
        allow_seen: also judge encoders that saw test people in pretraining; their rows say so.

    Raises:
        ValueError: an unknown mode, windows without labels, or an encoder that does not fit the windows or has seen a
            test person, zero-shot with an encoder that knows no words, or a label without prompts.

    Source: the protocol of Fortes Rey et al. 2023 (arXiv 2307.01168): macro F1 over the corpus's classes, folds by user,
    every user tested once a seed.
    """
    arms = {name: dict((overrides or {}).get(name, {})) for name in modes}
    kinds = {name: arm.pop("mode", name) for name, arm in arms.items()}
    if unknown := [name for name, kind in kinds.items() if kind not in MODES]:
        raise ValueError(
            f"unknown mode '{unknown[0]}'; expected some of {', '.join(MODES)}, or an arm whose settings name one of them"
        )
    if windows.y is None:
        raise ValueError("these windows have no labels, so nothing can be scored")
    code, content = provenance.code_version(), windows.content_hash
    loaded: dict[Path, checkpoint.Checkpoint] = {}
    planned = []
    for unit in plan:
        path = encoders(unit)
        if path not in loaded:
            loaded[path] = checkpoint.load(path)
        encoder, split = loaded[path], unit.split
        if difference := encoder.signal.difference(windows.contract):
            raise ValueError(
                f"'{path}' does not fit these windows: {difference}; prepare and cut them as it was trained"
            )
        people = {f"{windows.dataset}:{person}" for person in split.test}
        seen = sorted(people & set(encoder.about.get("subjects", ())))
        if seen and not allow_seen:
            raise ValueError(
                f"'{path}' was pretrained on test people ({', '.join(seen)}): scores would not be of people never seen; "
                "pretrain without them, or allow it (--allow-seen) and have every row say so"
            )
        held = windows.rows_for_subjects(split.validation)
        if validation_windows is not None and len(held) > validation_windows:
            random = np.random.default_rng([unit.seed, split.fold, 0x7A11])
            held = np.sort(random.choice(held, validation_windows, replace=False))
        arms_by_shots = [(n, arm) for n in shots for arm, kind in kinds.items() if kind != "zero-shot"]
        arms_by_shots += [(0, arm) for arm, kind in kinds.items() if kind == "zero-shot"]
        for count, arm in arms_by_shots:
            kind = kinds[arm]
            classical = kind in CLASSICAL
            how = {"mode": kind} if classical else {**(transfer or {}), **arms[arm], "mode": kind}
            if kind == "zero-shot":
                if zeroshot.projection(encoder.heads, "text") is None:
                    raise ValueError(
                        f"'{path}' has no head for text, so it knows no words; leave the mode {arm} out for this objective, "
                        "or pretrain it with pairs of text (a recipe's section [paired])"
                    )
                how = {key: value for key, value in how.items() if key in ("mode", "text")} | {"head": "text"}
            if how.get("head") == "text":
                zeroshot.sentences([windows.label_names[k] for k in np.unique(windows.y)], prompts)
                how |= {"text": zeroshot.words_of(encoder.about, how.get("text")), "prompts": prompts}
            # What a row does not depend on is left out of its name: a classical method needs no encoder, scratch no weights.
            weights = encoder.sha256 if kind in _PRETRAINED else encoder.encoder.arguments()
            uses_held = not classical and kind != "zero-shot"
            name = {
                "windows": content,
                "encoder": None if classical else [type(encoder.encoder).__name__, weights],
                "mode": arm,
                "transfer": how,
                "split": dataclasses.asdict(split),
                "held": held.tolist() if uses_held else None,
                "shots": count,
                "seed": unit.seed,
                "code": code,
            }
            planned.append(
                PlannedRow(
                    unit,
                    path,
                    encoder.sha256,
                    arm,
                    count,
                    how,
                    tuple(held.tolist()) if uses_held else (),
                    tuple(seen),
                    fingerprint(name)[:24],
                )
            )
    return planned


def evaluate(windows: Windows, planned: Sequence[PlannedRow], *, folder: Path, jobs: int = 1) -> Iterator[Row]:
    """Yields every planned row in the order they are ready, read from `folder` where it is there already.

    Args:
        windows: the same that were planned with.
        planned: from `cells`.
        folder: rows are kept there, one JSON file each.
        jobs: processes; each gets its share of the cores.

    Raises:
        ValueError: a row file in the folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if jobs == 1:
        for cell in planned:
            yield _row(windows, cell, folder)
        return
    from joblib import Parallel, delayed

    threads = max(1, torch.get_num_threads() // jobs)
    yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_row)(windows, cell, folder, threads) for cell in planned
    )


_features: dict[tuple[str, str, bool], torch.Tensor] = {}


def _features_of(encoder: checkpoint.Checkpoint, windows: Windows, statistics: bool = False) -> torch.Tensor:
    """Frozen features of the whole corpus, computed once a process and encoder, without or with statistics beside."""
    key = (encoder.sha256, windows.content_hash, statistics)
    if key not in _features:
        for other in [other for other in _features if other[:2] != key[:2]]:
            del _features[other]  # one encoder's at a time: they may be large
        _features[key] = embed(encoder.encoder, windows, statistics=statistics)
    return _features[key]


def _row(windows: Windows, cell: PlannedRow, folder: Path, threads: int | None = None) -> Row:
    """Reads a row, or makes and keeps it."""
    file = folder / f"{cell.fingerprint}.json"
    if file.exists():
        return _read(file, Row)
    if threads is not None:
        torch.set_num_threads(threads)
    assert windows.y is not None
    started = time.perf_counter()
    unit, split, made_by = cell.unit, cell.unit.split, provenance.provenance()
    mode = cell.transfer["mode"]
    encoder = checkpoint.load(cell.encoder)
    if encoder.sha256 != cell.sha256:
        raise ValueError(f"'{cell.encoder}' has changed since these rows were planned; run the same command again")
    train_rows, test_rows, held = (
        windows.rows_for_subjects(split.train),
        windows.rows_for_subjects(split.test),
        np.array(cell.held, int),
    )
    rows = train_rows[:0]
    if mode != "zero-shot":
        rows = train_rows[draw_shots(windows.y[train_rows], cell.shots, seed=unit.seed * 1000 + split.fold)]
    train, test = windows[rows], windows[test_rows]
    drawn = np.bincount(windows.y[rows], minlength=len(windows.label_names))
    fewer = {} if cell.shots is None else {k: int(n) for k, n in enumerate(drawn) if n < cell.shots}
    steps = 0
    if mode == "zero-shot":
        known = np.unique(windows.y)
        words = {key: cell.transfer[key] for key in ("text", "prompts")}
        model = TransferClassifier.from_words(encoder, [windows.label_names[k] for k in known], **words)
        table = _features_of(encoder, windows)[test_rows]
        predicted = known[model.predict_proba(test, features=table).argmax(axis=1)]
    elif mode in CLASSICAL:
        predicted = CLASSICAL[mode](seed=unit.seed).fit(train).predict(test)
    else:
        model = TransferClassifier(encoder, seed=unit.seed, **cell.transfer)
        table = None
        if mode == "frozen" or (mode == "finetune" and (model.head == "logistic" or model.probe_epochs)):
            table = _features_of(encoder, windows, model.statistics)
        model.fit(
            train,
            validation=windows[held] if len(held) else None,
            features=None if table is None else table[rows],
            validation_features=None if table is None else table[held],
            unlabelled=windows[train_rows].unlabelled(),
            unlabelled_features=None if table is None or model.whiten is None else table[train_rows],
        )
        frozen = table if mode == "frozen" else None
        predicted = model.predict(test, features=None if frozen is None else frozen[test_rows])
        steps = model.steps_
    pretrained = mode in _PRETRAINED
    how = dict(cell.transfer)
    if how.get("prompts") is not None:
        how["prompts"] = fingerprint(how["prompts"])[:16]  # by what they are, rather than in full in every row
    row = Row(
        dataset=windows.dataset,
        windows=windows.cut_hash[:16],
        objective=encoder.about.get("objective", "?") if pretrained else "-",
        encoder="-" if mode in CLASSICAL else encoder.about.get("encoder", type(encoder.encoder).__name__),
        pretrained_on=encoder.about.get("pretrained_on", "?") if pretrained else "-",
        checkpoint=encoder.sha256[:16] if pretrained else "-",
        pretraining=json.dumps(encoder.about.get("settings", {}), sort_keys=True) if pretrained else "{}",
        mode=cell.mode,
        transfer=json.dumps(how, sort_keys=True),
        fold=split.fold,
        shots=cell.shots,
        seed=unit.seed,
        fold_seed=unit.fold_seed,
        n_train=len(rows),
        n_validation=len(held),
        n_test=len(test),
        fewer=json.dumps({windows.label_names[k]: n for k, n in fewer.items()}),
        **_scores(test, predicted),
        steps=steps,
        seconds=round(time.perf_counter() - started, 3),
        test_subjects=" ".join(split.test),
        test_seen_in_pretraining=bool(cell.seen) and pretrained,
        code=made_by["code"],
        commit=made_by["commit"] or f"otolith {made_by['otolith']}",
        torch=made_by["torch"],
        machine=made_by["machine"],
        fingerprint=cell.fingerprint,
    )
    write_text(file, json.dumps(dataclasses.asdict(row), indent=1))
    return row


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


def gather(folder: Path, planned: Sequence[PlannedRow] | None = None) -> pd.DataFrame:
    """Rows in a folder, sorted, as one tidy table.

    Args:
        folder: where `evaluate` keeps them.
        planned: only these; None: all that lie there, of whatever settings and code.

    Raises:
        FileNotFoundError: there are none, or a planned one is missing.
    """
    files = sorted(folder.glob("*.json"))
    if planned is not None:
        files = [folder / f"{cell.fingerprint}.json" for cell in planned]
        if missing := sum(not file.exists() for file in files):
            raise FileNotFoundError(
                f"{missing} of {len(files)} rows are not in '{folder}' yet (rows of other settings, data or code do not "
                "count); run first: otolith evaluate with the same recipe and the same --out"
            )
    rows = [dataclasses.asdict(_read(file, Row)) for file in files]
    if not rows:
        raise FileNotFoundError(f"no result rows in '{folder}'; run: otolith evaluate RECIPE")
    table: pd.DataFrame = pd.DataFrame(rows)
    table["shots"] = table["shots"].astype("Int64")
    keys = ["dataset", "objective", "mode", "shots", "seed", "fold", "fingerprint"]
    table = table.sort_values(keys, ignore_index=True)
    return table
