"""A user's own recordings and label spans -> a classifier of them, an honest estimate, and the choice between encoder and
forest.

The estimate leaves people out: each window is classified once, by a model that was fitted on other people alone. The model
for use is then fitted on everybody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from otolith.apps.adapt import spans
from otolith.apps.adapt.estimate import (
    CANDIDATES,
    Choice,
    choose,
    estimate_figure,
    leave_people_out,
    warning_about_encoder,
    why_impossible,
)
from otolith.apps.adapt.kept import Kept
from otolith.apps.adapt.own import STEPS, OwnEncoder
from otolith.apps.adapt.page import page
from otolith.apps.adapt.unknown import Judged, judge_left_out, learn_unknown
from otolith.checkpoints import checkpoint, shipped
from otolith.checkpoints.checkpoint import Checkpoint
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.conversion import check_number
from otolith.data.splits import Split
from otolith.data.windows import Windows
from otolith.evaluation.arms import mode_of
from otolith.experiments.recipe import load
from otolith.formats import ReadOptions, Units
from otolith.formats.day import BY_LENGTH, DayOptions
from otolith.formats.options import DEFAULTS
from otolith.storage.engines import Workers, map_unordered, threads_of
from otolith.storage.files import replacing, write_text

FILES = ("estimate.csv", "estimate.png", "estimate.html")
OWN = "own"
"""Instead of a checkpoint: an encoder that is pretrained on the recordings that it is adapted to."""


class Fitted(NamedTuple):
    """One more model is fitted: number `done` of `of`. The last record, for which the files are written, has the choice."""

    done: int
    of: int
    what: str
    choice: Choice | None = None


def adapt(
    encoder: Checkpoint | None,
    windows: Windows,
    out: Path,
    *,
    unlabelled: Windows | None = None,
    people: Sequence[frozenset[str]] = (),
    recorded_in: Units | None = None,
    transfer: Mapping[str, Any] = {},
    steps: int = STEPS,
    forest: bool = True,
    keep_people: bool = False,
    seed: int = 0,
    jobs: Workers = 1,
) -> Iterator[Fitted]:
    """Estimates both candidates by leaving people out, takes the better, fits it on everybody, and writes
    `model.safetensors` and `FILES` to `out`; yields as models get fitted.

    Each finished part of the estimate, and each encoder that was pretrained, is kept in `out/.unfinished` until the model is
    written: the same call continues after an interruption, with the same bits.

    Where leaving people out is impossible, the encoder is taken as it is, and there is no estimate: files of an older one
    are removed.

    Args:
        encoder: the checkpoint to adapt. None: it is pretrained on these recordings, for the estimate once for each group of
            people who are left out, without their recordings, and for use on all of them; see `own.OwnEncoder`.
        windows: from `gather`.
        out: folder of the files.
        unlabelled: of the same recordings, from `gather`, for what needs no labels: whitening, self-training, the
            pretext's loss.
        people: who has a span in each recording, from `gather`: a recording is left out with each of them, even where no
            window fits into the span. Empty: those who have a labelled window in it.
        recorded_in: units of the recordings' files, which the model keeps: `otolith label` assumes them.
        transfer: arguments of `TransferClassifier`, as its `from_arguments` takes them; empty: its defaults, which are the
            few-shot method.
        steps: of pretraining, about, where there is no encoder.
        forest: whether the random forest may be chosen; it is estimated in any case.
        keep_people: whether the model holds the names of the labelled people; otherwise it holds their numbers.
        seed: of the folds, initial weights and trees.
        jobs: processes that leave people out, each of which gets its share of the cores; or an executor.
    """
    splits = leave_people_out(windows, seed)
    why_not = why_impossible(windows, splits)
    splits = [] if why_not else splits
    predicted = {name: np.full(len(windows), -1) for name in CANDIDATES}
    judged = {name: Judged.of(len(windows), len(windows.label_names)) for name in CANDIDATES}
    first = 0 if encoder is not None else len(splits) + 1  # encoders to pretrain
    total = first + 2 * len(splits) + 1
    rest = (transfer, seed, windows, unlabelled, people or _labelled_people(windows))
    kept = _kept(out, encoder, *rest, steps=steps)
    if encoder is None:
        makers = yield from _own_makers([split.test for split in splits], total, steps, kept, *rest)
    else:
        makers = [_Maker(encoder, *rest)] * (len(splits) + 1)
    tasks = [(make, split, name) for make, split in zip(makers, splits, strict=False) for name in CANDIDATES]
    threads = threads_of(jobs, torch.get_num_threads())
    before = [(split, name, each) for _, split, name in tasks if (each := kept.judged(name, split.test)) is not None]
    known = {(split.fold, name) for split, name, _ in before}
    left = [(make, split, name, threads) for make, split, name in tasks if (split.fold, name) not in known]
    for done, (split, name, each) in enumerate(chain(before, map_unordered(_left_out, left, jobs=jobs))):
        if (split.fold, name) not in known:
            kept.keep_judged(name, split.test, each)
        rows = windows.rows_for_subjects(split.test)
        predicted[name][rows] = each.probability.argmax(axis=1)
        judged[name].take(rows, each)
        yield Fitted(first + done + 1, total, f"without {', '.join(split.test)}: {CANDIDATES[name]}")
    choice = Choice("encoder", (why_not,), {}, pd.DataFrame())
    if splits:
        choice = choose(windows, splits, predicted, forest=forest)
    model = makers[-1].fitted(choice.chosen)
    unknown = learn_unknown(model, windows, judged[choice.chosen])
    choice = dataclasses.replace(choice, why=(*choice.why, unknown))
    about = {"adapted_from": makers[-1].encoder.sha256, **_about(choice, windows, recorded_in, keep_people)}
    model.save(out / "model.safetensors", label_names=windows.label_names, about=about)
    _write(choice, windows, out)
    kept.clear()
    yield Fitted(total, total, f"everybody: {CANDIDATES[choice.chosen]}", choice)


def _about(choice: Choice, windows: Windows, recorded_in: Units | None, keep_people: bool) -> dict[str, Any]:
    """What a model says of the labels and the estimate."""
    labelled = windows.people
    if not keep_people:
        labelled = [f"{windows.dataset}:{number + 1}" for number in range(len(labelled))]
    facts: dict[str, Any] = {"labelled_subjects": labelled, "labelled_windows": len(windows)}
    if recorded_in is not None:
        facts["recorded_in"] = {"acc": recorded_in.acc, "gyro": recorded_in.gyro}
    scores = {name: round(found.macro_f1, 6) for name, found in choice.estimates.items()}
    intervals = {
        name: None if np.isnan(found.low) else [round(found.low, 6), round(found.high, 6)]
        for name, found in choice.estimates.items()
    }
    return {**facts, "estimate": scores, "estimate_intervals": intervals}


class _Maker:
    """Fits candidates on some of the windows; features of an encoder that stays as it is are computed once."""

    def __init__(
        self,
        encoder: Checkpoint,
        transfer: Mapping[str, Any],
        seed: int,
        windows: Windows,
        unlabelled: Windows | None,
        people: Sequence[frozenset[str]],
    ) -> None:
        self.encoder, self.arguments, self.seed = encoder, {**transfer, "seed": seed}, seed
        self.windows, self.unlabelled = windows, unlabelled
        self.people = people
        self.table = self.around = None  # arrays, as joblib maps those into all processes
        model = TransferClassifier.from_arguments(self.arguments)
        if model.mode == "frozen":
            statistics = model.head.use_statistics
            self.table = embed(encoder.encoder, windows, statistics=statistics).numpy()
            if unlabelled is not None and model.head.uses_unlabelled:
                self.around = embed(encoder.encoder, unlabelled, statistics=statistics).numpy()

    def fitted(self, name: str, left_out: Collection[str] = ()) -> TransferClassifier | ForestClassifier:
        """A candidate, fitted without these people and without every recording in which one of them has a span."""
        rows = np.flatnonzero(~np.isin(np.array(self.windows.subject_names)[self.windows.subject], list(left_out)))
        train = self.windows[rows]
        if name == "forest":
            return ForestClassifier(seed=self.seed).fit(train)
        others, around = None, None
        if self.unlabelled is not None:
            mine = _rows_without(self.unlabelled, self.people, left_out)
            others = self.unlabelled[mine] if len(mine) else None
            around = None if self.around is None or others is None else torch.from_numpy(self.around[mine])
        table = None if self.table is None else torch.from_numpy(self.table[rows])
        model = TransferClassifier.from_arguments(self.arguments, self.encoder)
        return model.fit(train, features=table, unlabelled=others, unlabelled_features=around)

    def probability(self, model: TransferClassifier | ForestClassifier, rows: np.ndarray) -> np.ndarray:
        """The probabilities, of the classes that it knows, that it gives to these windows."""
        if self.table is None or isinstance(model, ForestClassifier):
            return model.predict_proba(self.windows[rows])
        return model.predict_proba(self.windows[rows], features=torch.from_numpy(self.table[rows]))


def _rows_without(unlabelled: Windows, people: Sequence[frozenset[str]], left_out: Collection[str]) -> np.ndarray:
    """Return the rows of windows in recordings in which none of these people has a span."""
    theirs = [number for number, mine in enumerate(people) if mine & set(left_out)]
    return np.flatnonzero(~np.isin(unlabelled.recording, theirs))


def _own_makers(
    left_out: Sequence[Sequence[str]],
    total: int,
    steps: int,
    kept: Kept,
    transfer: Mapping[str, Any],
    seed: int,
    windows: Windows,
    unlabelled: Windows | None,
    people: Sequence[frozenset[str]],
) -> Generator[Fitted, None, list[_Maker]]:
    """Pretrain an encoder without each group of people, and one on everybody; return the makers of their candidates."""
    makers = []
    for number, who in enumerate([*left_out, ()]):
        whole = windows if unlabelled is None else unlabelled
        mine = whole[_rows_without(whole, people, who)]
        if not len(mine):  # they have a span in every recording
            mine = windows[~np.isin(np.array(windows.subject_names)[windows.subject], list(who))]
        own = OwnEncoder(mine, seed=seed, steps=steps)
        name = f"without {', '.join(who)}" if who else "everybody"
        made = kept.encoder(who, own.checkpoint())
        if made is None:
            for step in own.pretrain():
                yield Fitted(number, total, f"{name}: pretraining, step {step.index} of {step.of}")
            made = own.checkpoint()
            kept.keep_encoder(who, made)
        makers.append(_Maker(made, transfer, seed, windows, unlabelled, people))
    return makers


def _kept(
    out: Path,
    encoder: Checkpoint | None,
    transfer: Mapping[str, Any],
    seed: int,
    windows: Windows,
    unlabelled: Windows | None,
    people: Sequence[frozenset[str]],
    *,
    steps: int,
) -> Kept:
    """The finished parts of an interrupted call with the same arguments."""
    made_from = {
        "encoder": None if encoder is None else encoder.sha256,
        "steps": steps if encoder is None else None,
        "transfer": dict(transfer),
        "seed": seed,
        "people": [sorted(mine) for mine in people],
    }
    return Kept(out, windows, unlabelled, made_from)


def _labelled_people(windows: Windows) -> list[frozenset[str]]:
    """Who has a window in each recording, by its number."""
    count = int(windows.recording.max()) + 1
    names = np.array(windows.subject_names)
    return [frozenset(names[windows.subject[windows.recording == number]].tolist()) for number in range(count)]


def _left_out(make: _Maker, split: Split, name: str, threads: int | None) -> tuple[Split, str, Judged]:
    """What a candidate, fitted on the training people, says of the windows of those left out."""
    if threads is not None:
        torch.set_num_threads(threads)
    fitted = make.fitted(name, split.test)
    train, test = (make.windows.rows_for_subjects(side) for side in (split.train, split.test))
    return split, name, judge_left_out(make.windows, train, test, fitted.classes_, make.probability(fitted, test))


def _write(choice: Choice, windows: Windows, out: Path) -> None:
    table, picture, report = (out / name for name in FILES)
    if not choice.estimates:
        for stale in (table, picture, report):
            stale.unlink(missing_ok=True)
        return
    with replacing(table) as part:
        choice.table.to_csv(part, index=False, float_format="%.4f", lineterminator="\n")
    with replacing(picture) as part:
        estimate_figure(choice, windows.label_names).savefig(part, format="png", dpi=150)
    write_text(report, page(choice, windows, table.name))


def adapt_recordings(
    encoder: str | Path,
    recordings: Path,
    labels: Path,
    out: Path,
    *,
    options: ReadOptions = DEFAULTS,
    day: DayOptions = BY_LENGTH,
    recipe: Path | None = None,
    steps: int = STEPS,
    forest: bool = True,
    keep_people: bool = False,
    seed: int = 0,
    jobs: Workers = 1,
) -> tuple[spans.Material, Iterator[Fitted]]:
    """One's own recordings and labels -> `model.safetensors` and `FILES` in `out`.

    Args:
        encoder: a checkpoint; `shipped`, the encoder that ships in the package; or `own`, an encoder that is pretrained on
            these recordings, on windows as the shipped one takes them.
        recordings: folder of the recordings.
        labels: the labels file; see `adapt.gather`.
        out: folder of the files.
        options: of the reader.
        day: whether recordings are calibrated by gravity, and time in which the device was not worn is left out.
        recipe: its settings for the mode finetune, or for the first arm of its protocol that has a pretrained encoder where
            finetune is not among them, replace the few-shot method.
        steps: of pretraining, about, where the encoder is `own`.
        forest: as of `adapt`.
        keep_people: as of `adapt`.
        seed: of everything.
        jobs: as of `adapt`.

    Returns:
        What was read, and the models as they get fitted; when the last is out, the files are there.
    """
    check_number("seed", seed, least=0, whole=True)
    loaded = None if str(encoder) == OWN and not Path(encoder).is_file() else checkpoint.load(encoder)
    settings: Mapping[str, Any] = {}
    if recipe is not None:
        made = load(recipe)
        kinds = {arm: mode_of(arm, made.overrides) for arm in made.protocol.get("modes", ())}
        arms = [arm for arm, kind in kinds.items() if kind in ("frozen", "finetune")]
        settings = made.classifier_arguments(arms[0] if arms and "finetune" not in kinds else "finetune")
    known = loaded or checkpoint.load(shipped.ENCODER)
    kind = known.about.get("encoder", "")
    material = spans.gather(recordings, labels, known.signal, options=options, encoder=kind, seed=seed, day=day)
    if loaded is not None and (warning := warning_about_encoder(loaded.about, material.windows.subject_names)):
        material = dataclasses.replace(material, warnings=(*material.warnings, warning))
    fits = adapt(
        loaded,
        material.windows,
        out,
        unlabelled=material.unlabelled,
        people=material.people,
        recorded_in=material.units,
        transfer=settings,
        steps=steps,
        forest=forest,
        keep_people=keep_people,
        seed=seed,
        jobs=jobs,
    )
    return material, fits
