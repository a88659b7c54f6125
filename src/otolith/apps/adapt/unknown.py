"""Teach a model what is unknown to it, from what models of other people said of the people left out."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.bouts import Bouts
from otolith.classifiers.rejection import LEAST_WINDOWS, Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.windows import Windows


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """What models that were fitted on other people say of windows.

    Attributes:
        probability: of all classes; 0 for classes that the training people did not do.
        distance: both, from the training people's windows.
        known: which windows are of a class that the training people did.
    """

    probability: Float[np.ndarray, "windows classes"]
    distance: Float[np.ndarray, "windows 2"]
    known: np.ndarray

    @classmethod
    def of(cls, windows: int, classes: int) -> Judged:
        """Return a table that nothing was said of yet."""
        return cls(np.zeros((windows, classes)), np.zeros((windows, 2)), np.zeros(windows, bool))

    def take(self, rows: np.ndarray, other: Judged) -> None:
        """Write what was said of these rows."""
        self.probability[rows], self.distance[rows], self.known[rows] = other.probability, other.distance, other.known


def judge_left_out(
    windows: Windows,
    train: Int[np.ndarray, " known"],
    test: Int[np.ndarray, " others"],
    classes: np.ndarray,
    probability: Float[np.ndarray, "others some"],
) -> Judged:
    """Return what a model says of windows of people left out.

    Args:
        windows: of everybody, with labels.
        train: rows on which the model was fitted.
        test: rows of the people left out.
        classes: label numbers that the model knows, in the order of its probabilities.
        probability: of the rows `test`.
    """
    assert windows.y is not None
    count = len(windows.label_names)
    every = np.zeros((len(test), count))
    every[:, np.asarray(classes, int)] = probability
    geometry = Rejection.fitted(windows[train].array(), windows.y[train], count)
    return Judged(every, geometry.distance(windows[test].array()), np.isin(windows.y[test], windows.y[train]))


def learn_unknown(model: TransferClassifier | ForestClassifier, windows: Windows, judged: Judged) -> str:
    """Set `bouts_` of a fitted model, and its `rejection_` where people could be left out; return a sentence about it."""
    assert windows.y is not None
    hop_s = windows.contract.seconds / 2
    model.bouts_ = Bouts.fitted(windows, hop_s)
    model.rejection_ = None
    known = judged.known
    if known.sum() < LEAST_WINDOWS:
        return (
            f"The model cannot say 'unknown': {known.sum()} windows of people left out are too few to calibrate it "
            f"({LEAST_WINDOWS} are needed); it labels whatever it is given."
        )
    rejection = Rejection.fitted(windows.array(), windows.y, len(windows.label_names))
    rejection.calibrate(judged.probability[known], judged.distance[known], windows.y[known], windows.subject[known])
    model.rejection_ = rejection
    return (
        f"What is far from the labelled movements is 'unknown': {100 * float(rejection.beyond_share):.0f} % of the windows "
        "of people left out are beyond the thresholds."
    )
