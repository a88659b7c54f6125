"""A user's own recordings and label spans -> a classifier of them, an honest estimate, and the choice between encoder and
forest.

The estimate leaves people out: each window is classified once, by a model that was fitted on other people alone. The model
for use is then fitted on everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from otolith.apps.adapt import spans
from otolith.apps.adapt.estimate import CANDIDATES, Choice, _choice, _impossible, _splits, estimate_figure
from otolith.checkpoints import checkpoint
from otolith.checkpoints.checkpoint import Checkpoint
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.logistic import neighbours
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.splits import Split
from otolith.data.windows import Windows
from otolith.experiments.recipe import load
from otolith.formats import table
from otolith.storage.files import replacing

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
FILES = ("estimate.csv", "estimate.png")
MOST_COPIED = 4096
"""Windows and their copies together; more labelled windows get fewer copies."""


class Fitted(NamedTuple):
    """One more model is fitted: number `done` of `of`. The last record, for which the files are written, has the choice."""

    done: int
    of: int
    what: str
    choice: Choice | None = None


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
        predicted[name][windows.rows_for_subjects(split.test)] = labels
        yield Fitted(done + 1, total, f"without {', '.join(split.test)}: {CANDIDATES[name]}")
    choice = _choice(windows, splits, predicted) if splits else Choice("encoder", (why_not,), {}, pd.DataFrame())
    model = make.fitted(choice.chosen, np.arange(len(windows)))
    scores = {name: round(found.macro_f1, 6) for name, found in choice.estimates.items()}
    facts = {"labelled_subjects": windows.people, "labelled_windows": len(windows), "adapted_from": encoder.sha256}
    model.save(out / "model.safetensors", label_names=windows.label_names, about={**facts, "estimate": scores})
    _write(choice, windows, out)
    yield Fitted(total, total, f"everybody: {CANDIDATES[choice.chosen]}", choice)


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
    fitted = make.fitted(name, make.windows.rows_for_subjects(split.train))
    return split, name, make.predicted(fitted, make.windows.rows_for_subjects(split.test))


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


def adapt_recordings(
    encoder: Path,
    recordings: Path,
    labels: Path,
    out: Path,
    *,
    columns: table.Columns,
    recipe: Path | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> tuple[spans.Material, Iterator[Fitted]]:
    """One's own recordings and labels -> `model.safetensors`, `estimate.csv` and `estimate.png` in `out`.

    Args:
        encoder: a checkpoint.
        recordings: folder of the recordings.
        labels: the labels file; see `adapt.gather`.
        out: folder of the files.
        columns: what is known of the recordings.
        recipe: its settings for the mode finetune, or for the first arm of its protocol that has a pretrained encoder where
            finetune is not among them, take the place of `adapt.TRANSFER`.
        seed: of everything.
        jobs: processes.

    Returns:
        What was read, and the models as they get fitted; when the last is out, the files are there.
    """
    loaded = checkpoint.load(encoder)
    settings = TRANSFER
    if recipe is not None:
        made = load(recipe)
        kinds = {arm: made.overrides.get(arm, {}).get("mode", arm) for arm in made.protocol.get("modes", ())}
        arms = [arm for arm, kind in kinds.items() if kind in ("frozen", "finetune")]
        arm = arms[0] if arms and "finetune" not in kinds else "finetune"
        settings = {"mode": arm, **made.transfer, **made.overrides.get(arm, {})}
        if settings.get("head") == "text":
            settings["prompts"] = made.prompts
    kind = loaded.about.get("encoder", "")
    material = spans.gather(recordings, labels, loaded.signal, columns=columns, encoder=kind, seed=seed)
    fits = adapt(loaded, material.windows, out, unlabelled=material.unlabelled, transfer=settings, seed=seed, jobs=jobs)
    return material, fits
