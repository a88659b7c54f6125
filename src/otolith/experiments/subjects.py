"""Select the subjects of each corpus that an encoder is pretrained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from otolith.data.joining import join
from otolith.data.splits import by_subject
from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed
from otolith.experiments.recipe import Recipe


class Pretraining(NamedTuple):
    """The data that an encoder is pretrained on.

    Attributes:
        path: path of the encoder; the file need not exist yet.
        train: windows to learn from.
        validation: windows that stop training, or None.
        seed: of initial weights and training.
        made_from: a hash of everything that determines the encoder's weights; the file's name ends in it.
    """

    path: Path
    train: Windows
    validation: Windows | None
    seed: int
    made_from: str

    @property
    def subjects(self) -> list[str]:
        """All people whose windows the encoder sees, as `corpus:subject`."""
        return sorted(self.train.people + ([] if self.validation is None else self.validation.people))


def encoder_label(recipe: Recipe, unit: FoldSeed | None) -> tuple[str, int]:
    """Return the part of an encoder's file name that identifies its subjects, and its seed.

    Args:
        recipe: the experiment.
        unit: the fold and seed that the encoder is for; None: it sees every subject.
    """
    if unit is None:
        return "everyone", recipe.seed
    if recipe.dataset in recipe.pretrain_on:
        own = "" if unit.pretraining_seed == unit.fold_seed else f"-seed{unit.pretraining_seed}"
        return f"folds{unit.fold_seed}-fold{unit.split.fold}{own}", unit.pretraining_seed
    return f"seed{unit.seed}", unit.seed


def pretraining_windows(
    unlabelled: Mapping[str, Windows], dataset: str, unit: FoldSeed | None, seed: int
) -> tuple[Windows, Windows | None]:
    """Return the windows that an encoder learns from, and those that stop its training or None.

    Args:
        unlabelled: the windows of each corpus.
        dataset: the corpus that is divided into folds: a fold's training and validation subjects take part.
        unit: the fold and seed; None: all subjects are used for training.
        seed: seed of the split of any other corpus, of whose subjects a fifth validate.
    """
    train, held_out = [], []
    for corpus, windows in unlabelled.items():
        subjects = windows.subject_names
        sides: tuple[Sequence[str], Sequence[str]] = subjects, ()
        if unit is not None and corpus == dataset:
            sides = unit.split.train, unit.split.validation
        elif unit is not None and len(subjects) > 1:
            split = by_subject(subjects, folds=min(5, len(subjects)), validation=0.0, seed=seed)[0]
            sides = split.train, split.test
        train.append(windows.for_subjects(sides[0]))
        held_out.append(windows.for_subjects(sides[1]))
    return join(train), join([windows for windows in held_out if len(windows)]) if any(map(len, held_out)) else None
