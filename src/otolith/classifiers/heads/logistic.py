"""The logistic head for few labels: a regression on whitened features, with augmented copies and self-training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from otolith.classifiers.heads.contract import Head, HeadInputs
from otolith.classifiers.heads.whitening import Square, Table, Whitener, as_array, has_temporal_pairs, spread_rows
from otolith.data.augment import check_transforms
from otolith.data.windows import Windows

_CONFIDENT = 0.5  # probability from which an unlabelled window is used for self-training
_MAX_SELF_TRAINING = 2000  # unlabelled windows used for it, evenly spaced
_SELF_TRAINING_WEIGHT = 3.0  # of all of them together, relative to the labelled windows and their copies
_MAX_COPIES = 4096  # of all labelled windows together; the more labelled windows, the fewer copies of each

AUGMENTATIONS: tuple[Mapping[str, Any], ...] = (
    {"name": "rotation", "sd_degrees": 15},
    {"name": "scaling", "common": True},
    {"name": "time_shift", "share": 0.2},
    {"name": "time_warp", "sd": 0.1},
    {"name": "noise", "sd": 0.03},
)
"""How the few-shot method augments its copies."""

PLAIN: dict[str, Any] = {"C": 1.0, "whiten": None, "use_statistics": False, "n_augmented_copies": 0}
"""Arguments of `LogisticHead` that make it a plain logistic regression on standardised features of the encoder."""


class LogisticHead(Head):
    """The few-shot method: multinomial logistic regression on features whose metric comes from unlabelled windows.

    The defaults are the method, as `otolith adapt` applies it and as studies measure it; `docs/few-shot.md` shows what each
    part contributes. Everything that is done to the features is folded into one Linear, from which fine-tuning starts.
    `LogisticHead(C=1.0, whiten=None, use_statistics=False, n_augmented_copies=0)` is a plain logistic regression on
    standardised features.

    What the windows do not allow is left out (`suited_to`): all whitening and self-training where no two unlabelled
    windows are consecutive (arrays do not know their recordings); subject whitening where most subjects were labelled with
    one class alone, because subjects may then differ in the class itself; and copies beyond 4096 windows in total.

    Args:
        C: inverse strength of the regularisation.
        whiten: ridge on the covariance of the change between consecutive unlabelled windows, as a share of its mean
            variance; features are whitened by that covariance, since consecutive windows mostly show one activity and
            differ in what does not matter: phase and noise. None: features are standardised only, and `subject_weight` and
            `self_training_rounds` are not used. The method is between relevant component analysis (Shental et al., ECCV
            2002), whose chunklets are known to share a class, and slow feature analysis; it is in neither paper.
        subject_weight: weight, in this covariance, of the covariance of subject means, as speaker recognition removes what
            varies within a speaker (Hatch, Kajarekar and Stolcke, Interspeech 2006); 0: not used.
        self_training_rounds: rounds in which the head is fitted again, also on unlabelled windows that it classifies with
            a probability of at least 0.5 (pseudo-labels: Lee 2013), on features whitened by subject means within the
            predicted classes. The combination is not in that paper.
        use_statistics: append the `log_features` of the window to the encoder's features; both groups are scaled to the same
            sum of variances.
        n_augmented_copies: augmented copies of each labelled window on which the regression is fitted too.
        augmentations: of the copies; see `otolith.data.augment.augment`.
    """

    closed_form = True

    def __init__(
        self,
        C: float = 0.1,
        whiten: float | None = 0.1,
        subject_weight: float = 0.1,
        self_training_rounds: int = 2,
        use_statistics: bool = True,
        n_augmented_copies: int = 8,
        augmentations: Sequence[Mapping[str, Any]] = AUGMENTATIONS,
    ) -> None:
        self.C = C
        self.whiten = whiten
        self.subject_weight = subject_weight
        self.self_training_rounds = self_training_rounds
        self.use_statistics = use_statistics
        self.n_augmented_copies = n_augmented_copies
        self.augmentations = augmentations

    @property
    def uses_unlabelled(self) -> bool:
        """Whether features are whitened."""
        return self.whiten is not None

    def suited_to(self, inputs: HeadInputs) -> LogisticHead:
        """Return the head without what these windows do not allow; see the class."""
        head: LogisticHead = clone(self)
        if head.whiten is not None and not has_temporal_pairs(inputs.unlabelled):
            head.whiten = None
        if head.whiten is None:
            head.subject_weight, head.self_training_rounds = 0.0, 0
        if head.subject_weight and not _several_classes_per_subject(inputs):
            head.subject_weight = 0.0
        if head.n_augmented_copies > 0 and inputs.target is not None:
            head.n_augmented_copies = min(head.n_augmented_copies, _MAX_COPIES // len(inputs.target))
        return head

    def fit(self, inputs: HeadInputs) -> nn.Module:
        """Return a Linear that computes the regression on features as they are.

        Raises:
            ValueError: a setting is invalid, or `whiten` is set and no two unlabelled windows are consecutive.
        """
        self._check()
        assert inputs.features is not None and inputs.target is not None and inputs.windows is not None
        features, target = inputs.features, inputs.target
        scale = group_scale(features.shape[1], inputs.dim)
        whitener = None
        if self.whiten is not None:
            if not isinstance(inputs.unlabelled, Windows):
                raise ValueError(
                    "whiten needs Windows, which know their recordings; an array does not: set whiten to None"
                )
            rows = spread_rows(len(inputs.unlabelled))
            unlabelled, others = inputs.unlabelled, inputs.unlabelled_features
            if len(rows) < len(unlabelled):
                unlabelled, others = unlabelled[rows], None if others is None else others[rows]
            if others is None:
                others = inputs.embed(unlabelled, ())
            whitener = Whitener(others, unlabelled, self.whiten, scale)
        if self.n_augmented_copies:
            copies = [inputs.embed(inputs.windows, self.augmentations) for _ in range(self.n_augmented_copies)]
            features = torch.cat([features.to(copies[0].device), *copies])
            target = target.repeat(1 + self.n_augmented_copies)
        x, y = as_array(features), target.cpu().numpy()
        if whitener is None:
            mean, std = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6) / scale
            return _as_linear(_regression((x - mean) / std, y, self.C), mean, std)
        return self._fit_whitened(x, y, whitener)

    def _check(self) -> None:
        if not 0 < self.C < math.inf:
            raise ValueError(f"C is {self.C}; expected a positive number")
        if self.whiten is not None and not 0 < self.whiten < math.inf:
            raise ValueError(f"whiten is {self.whiten}; expected a positive number, or None")
        for name in ("subject_weight", "self_training_rounds", "n_augmented_copies"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number of at least 0")
        check_transforms(self.augmentations)
        if self.n_augmented_copies and not self.augmentations:
            raise ValueError(
                f"n_augmented_copies is {self.n_augmented_copies} and augmentations are empty; set n_augmented_copies to 0"
            )

    def _fit_whitened(self, x: Table, y: np.ndarray, whitener: Whitener) -> nn.Linear:
        z = (x - whitener.mean) / whitener.std
        whitening, unlabelled = whitener.whitening(self.subject_weight)
        fitted = _regression(z @ whitening, y, self.C)
        for _ in range(self.self_training_rounds):
            whitening, unlabelled = whitener.whitening(1.0, _confident_predictions(fitted.predict_proba(unlabelled)))
            labelled = z @ whitening
            predicted, confidence = _confident_predictions(_regression(labelled, y, self.C).predict_proba(unlabelled))
            chosen = np.flatnonzero(confidence)
            if len(chosen) > _MAX_SELF_TRAINING:
                chosen = chosen[np.linspace(0, len(chosen) - 1, _MAX_SELF_TRAINING).astype(int)]
            per_class = np.bincount(predicted[chosen], confidence[chosen], minlength=y.max() + 1)
            weight = confidence[chosen] / per_class[predicted[chosen]]
            weight *= _SELF_TRAINING_WEIGHT * len(y) / max(weight.sum(), 1e-12)
            fitted = _regression(
                np.concatenate([labelled, unlabelled[chosen]]),
                np.concatenate([y, predicted[chosen]]),
                self.C,
                np.concatenate([np.ones(len(y)), weight]),
            )
        return _as_linear(fitted, whitener.mean, whitener.std, whitening)

    def outline(self, width: int, classes: int, state: Mapping[str, Tensor]) -> nn.Module:  # noqa: ARG002
        """Return a Linear."""
        return nn.Linear(width, classes)


def group_scale(width: int, dim: int) -> np.ndarray:
    """Return a factor on each standardised feature by which the first `dim` and the others get the same sum of variances."""
    count = np.where(np.arange(width) < dim, dim, width - dim)
    return np.sqrt(width / count / (1 + (width > dim)))


def _several_classes_per_subject(inputs: HeadInputs) -> bool:
    """Whether most subjects with at least two labelled windows were labelled with several classes. True for arrays, which
    do not know their subjects."""
    if not isinstance(inputs.windows, Windows) or inputs.target is None:
        return True
    subject, target = inputs.windows.subject, inputs.target.cpu().numpy()
    labels = [target[subject == number] for number in np.unique(subject)]
    classes = [len(np.unique(own)) for own in labels if len(own) > 1]
    return bool(classes) and float(np.median(classes)) > 1


def _confident_predictions(probability: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable class of each window, and its probability if that is high enough, else 0."""
    best = probability.max(axis=1)
    return probability.argmax(axis=1), np.where(best >= _CONFIDENT, best, 0.0)


def _regression(z: Table, y: np.ndarray, C: float, weight: np.ndarray | None = None) -> Any:
    from sklearn.linear_model import LogisticRegression  # takes half a second, and a fitted head needs it not

    return LogisticRegression(C=C, max_iter=2000).fit(z, y, sample_weight=weight)


def _as_linear(fitted: Any, mean: np.ndarray, std: np.ndarray, whitening: Square | None = None) -> nn.Linear:
    """Return the regression on whitened, standardised features as a Linear of the features themselves."""
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:  # scikit-learn gives one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    if whitening is not None:
        weight = weight @ whitening.T
    weight = weight / std
    head = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias - weight @ mean))
    return head
