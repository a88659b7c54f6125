"""Who is trained on, who chooses, who is tested: always whole people, and never one of them on two sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Split:
    """Three groups of people.

    Args:
        fold: number of the fold, from 0.
        train: people whose windows train.
        validation: people whose windows stop training and choose; may be empty.
        test: people who are scored, and nothing else.

    Raises:
        ValueError: a person stands in two groups, or a group that must not be empty is.
    """

    fold: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if both := sorted(set(getattr(self, one)) & set(getattr(self, other))):
                raise ValueError(f"subject {', '.join(both)} is in {one} and in {other}; a person is on one side only")
        for side in ("train", "test"):
            if not getattr(self, side):
                raise ValueError(f"fold {self.fold} has nobody in {side}")


def by_subject(subjects: Sequence[str], *, folds: int = 5, validation: float = 0.2, seed: int = 0) -> list[Split]:
    """Folds by person: everyone is tested exactly once.

    Args:
        subjects: the people.
        folds: number of folds.
        validation: share of a fold's remaining people who validate, rounded, at least one where it is not 0.
        seed: who meets whom.

    Returns:
        One `Split` a fold.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168): 5 folds by user; 80:20 of the remaining users for validation
    follows Haresamudram et al., IMWUT 2022.

    Raises:
        ValueError: too few people for so many folds.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"the share of validation people is {validation}; expected 0 <= share < 1")
    people = list(dict.fromkeys(subjects))
    largest = -(-len(people) // max(folds, 1))  # people tested in the largest fold; somebody must remain for the rest
    if not 2 <= folds <= len(people) or len(people) - largest < (2 if validation else 1):
        raise ValueError(
            f"{len(people)} people cannot fill {folds} folds: a fold tests, trains{' and validates' if validation else ''} "
            "on at least one person each; choose from 2 folds up to the number of people"
        )
    random = np.random.default_rng([seed, 0x5EED])
    random.shuffle(people)
    splits = []
    for fold, test in enumerate(np.array_split(np.array(people), folds)):
        rest = [person for person in people if person not in set(test.tolist())]
        random.shuffle(rest)
        count = min(len(rest) - 1, max(1, round(validation * len(rest)))) if validation else 0
        splits.append(Split(fold, tuple(rest[count:]), tuple(rest[:count]), tuple(test.tolist())))
    return splits


def fixed(subjects: Sequence[str], test: Sequence[str], *, validation: float = 0.2, seed: int = 0) -> Split:
    """One split with given test people, as many corpora's papers name them.

    Args:
        subjects: the people.
        test: who is tested.
        validation: share of the others who validate, rounded, at least one where it is not 0.
        seed: who of them.

    Raises:
        ValueError: a test person who is not there, or too few others.
    """
    people = list(dict.fromkeys(subjects))
    if unknown := [person for person in test if person not in people]:
        raise ValueError(f"no subject {', '.join(unknown)} to test; there are {', '.join(people)}")
    rest = [person for person in people if person not in set(test)]
    if not 0 <= validation < 1:
        raise ValueError(f"the share of validation people is {validation}; expected 0 <= share < 1")
    if len(rest) < (2 if validation else 1):
        raise ValueError(
            f"{len(people)} people, {len(set(test))} of whom are tested, leave too few to train and validate"
        )
    np.random.default_rng([seed, 0x5EED]).shuffle(rest)
    count = min(len(rest) - 1, max(1, round(validation * len(rest)))) if validation else 0
    return Split(0, tuple(rest[count:]), tuple(rest[:count]), tuple(dict.fromkeys(test)))


def draw_shots(y: np.ndarray, shots: int | None, *, seed: int) -> np.ndarray:
    """Row numbers of `shots` windows a class, drawn at random; all rows for None.

    A larger draw with the same seed contains the smaller ones, so that curves over shots compare like with like. A class
    with fewer windows gives all it has.

    Args:
        y: (windows,) label numbers.
        shots: windows a class.
        seed: the draw.

    Returns:
        Row numbers, ascending.

    Raises:
        ValueError: `shots` is less than 1.
    """
    if shots is None:
        return np.arange(len(y))
    if shots < 1:
        raise ValueError(f"shots is {shots}; expected at least 1 window a class, or none for all")
    random = np.random.default_rng([seed, 0x5407])
    order = random.permutation(len(y))
    chosen = [order[y[order] == label][:shots] for label in np.unique(y)]
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)
