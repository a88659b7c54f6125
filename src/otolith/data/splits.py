"""Split subjects into training, validation and test groups, and draw labelled windows. No subject is in two groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

_BLOCK = 1 << 14  # windows of the first block that shots are looked for in


@dataclasses.dataclass(frozen=True)
class Split:
    """Three groups of subjects.

    Args:
        fold: number of the fold, from 0.
        train: subjects whose windows are trained on.
        validation: subjects whose windows stop training and select models; may be empty.
        test: subjects that are only scored.

    Raises:
        ValueError: a subject is in two groups, or `train` or `test` is empty.
    """

    fold: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if both := sorted(set(getattr(self, one)) & set(getattr(self, other))):
                raise ValueError(
                    f"subject {', '.join(both)} is in {one} and in {other}; expected each subject in one group"
                )
        for side in ("train", "test"):
            if not getattr(self, side):
                raise ValueError(f"fold {self.fold} has no subject in {side}")


def by_subject(subjects: Sequence[str], *, folds: int = 5, validation: float = 0.2, seed: int = 0) -> list[Split]:
    """Split subjects into folds; every subject is tested in exactly one fold.

    Args:
        subjects: names of the subjects.
        folds: number of folds.
        validation: share of the subjects not tested that validate, rounded, at least one subject unless it is 0.
        seed: random seed of the assignment.

    Returns:
        One `Split` per fold.

    Source: 5 folds by subject as in Fortes Rey et al. 2023 (arXiv 2307.01168); 20 % of the remaining subjects for
    validation as in Haresamudram et al., IMWUT 2022.

    Raises:
        ValueError: there are too few subjects for the number of folds.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"the share of validation subjects is {validation}; expected 0 <= share < 1")
    people = list(dict.fromkeys(subjects))
    largest = -(-len(people) // max(folds, 1))  # subjects tested in the largest fold
    if not 2 <= folds <= len(people) or len(people) - largest < (2 if validation else 1):
        raise ValueError(
            f"{len(people)} subjects are too few for {folds} folds, each of which tests, trains"
            f"{' and validates' if validation else ''} on one or more; expected 2 folds up to the number of subjects"
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
    """Return one split with given test subjects, as the papers of many corpora state them.

    Args:
        subjects: names of the subjects.
        test: subjects that are tested.
        validation: share of the other subjects that validate, rounded, at least one subject unless it is 0.
        seed: random seed of the choice of validation subjects.

    Raises:
        ValueError: a test subject does not exist, or there are too few others.
    """
    people = list(dict.fromkeys(subjects))
    if unknown := [person for person in test if person not in people]:
        raise ValueError(f"no subject {', '.join(unknown)} to test; there are {', '.join(people)}")
    rest = [person for person in people if person not in set(test)]
    if not 0 <= validation < 1:
        raise ValueError(f"the share of validation subjects is {validation}; expected 0 <= share < 1")
    if len(rest) < (2 if validation else 1):
        raise ValueError(
            f"{len(people)} subjects, {len(set(test))} of them tested, leave too few to train and validate"
        )
    np.random.default_rng([seed, 0x5EED]).shuffle(rest)
    count = min(len(rest) - 1, max(1, round(validation * len(rest)))) if validation else 0
    return Split(0, tuple(rest[count:]), tuple(rest[:count]), tuple(dict.fromkeys(test)))


def draw_shots(y: np.ndarray, shots: int | None, *, seed: int) -> np.ndarray:
    """Draw `shots` random windows per class; None draws all.

    A larger draw with the same seed contains the smaller ones, so that the points of a curve over shots are comparable. Of
    a class with fewer windows all are drawn.

    Args:
        y: (windows,) label numbers.
        shots: windows per class.
        seed: random seed of the draw.

    Returns:
        Row numbers, ascending.

    Raises:
        ValueError: `shots` is less than 1.
    """
    if shots is None:
        return np.arange(len(y))
    if shots < 1:
        raise ValueError(f"shots is {shots}; expected at least 1 window per class, or none for all")
    order = np.random.default_rng([seed, 0x5407]).permutation(len(y))
    labels, counts = np.unique(y, return_counts=True)
    missing = np.minimum(counts, shots)
    chosen, first, size = [np.arange(0)], 0, _BLOCK
    while missing.any():  # blocks of growing size, as the classes are usually complete long before the end
        rows = order[first : first + size]
        own = y[rows]
        for number in np.flatnonzero(missing):
            mine = rows[own == labels[number]][: missing[number]]
            chosen.append(mine)
            missing[number] -= len(mine)
        first, size = first + size, 2 * size
    return np.sort(np.concatenate(chosen))
