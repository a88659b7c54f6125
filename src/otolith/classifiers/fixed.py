"""The head of few labels on features that nothing pretrains: the controls of an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from otolith.classifiers.features import batch_getter
from otolith.classifiers.heads import HeadInputs, LogisticHead
from otolith.classifiers.hydra import HydraFeatures, SparseScaler
from otolith.classifiers.inputs import Examples, accuracy, check_labels, check_windows, shape_of
from otolith.classifiers.minirocket import MiniRocketFeatures
from otolith.classifiers.settings import check_choice
from otolith.data.features import log_features
from otolith.data.sampling import seeded
from otolith.data.windows import Windows

Kind = Literal["statistics", "minirocket", "hydra"]
"""`statistics`: `log_features` alone. `minirocket`: 1,008 of `MiniRocketFeatures` and the statistics. `hydra`: those of 16
groups of `HydraFeatures`, scaled by `SparseScaler`, and the statistics. Both are about as many as an encoder gives."""

_HEAD = LogisticHead()


class FixedFeaturesClassifier(ClassifierMixin, BaseEstimator):
    """Fits `LogisticHead` on features that are not learnt.

    Thresholds (MiniRocket) and scales (Hydra) come from the unlabelled windows.

    Args:
        features: see `Kind`.
        head: its `use_statistics` has no effect: the statistics are there.
        seed: of features and augmented copies.
    """

    uses_unlabelled = True

    def __init__(self, features: Kind = "statistics", head: LogisticHead = _HEAD, seed: int = 0) -> None:
        self.features = features
        self.head = clone(head) if head is _HEAD else head
        self.seed = seed

    def fit(self, X: Examples, y: Any = None, *, unlabelled: Windows | None = None) -> FixedFeaturesClassifier:
        """Fit on labelled windows (windows, channels, time) in the store's units.

        Args:
            X: training windows.
            y: their labels; not needed if `X` is `Windows` that carry them.
            unlabelled: windows from which the head learns without labels; None: the training windows.

        Raises:
            ValueError: an unknown kind of features; invalid windows or labels (see `check_windows` and `check_labels`).
        """
        check_choice("features", self.features, get_args(Kind))
        windows = check_windows(X)
        self.classes_, target = np.unique(check_labels(windows, y), return_inverse=True)
        self.shape_ = shape_of(windows)
        others = windows if unlabelled is None else unlabelled
        with seeded(self.seed, "cpu"):
            self._prepare(others)
            names, width = [str(label) for label in self.classes_], self._embed(windows[:1]).shape[1]
            dim = width if self.features == "statistics" else width - log_features(_tensor(windows[:1])).shape[1]
            inputs = HeadInputs(
                windows,
                torch.from_numpy(target),
                names,
                dim,
                self._embed,
                self._embed(windows),
                others,
                self._embed(others),
            )
            self.effective_head_ = self.head.suited_to(inputs)
            self.head_ = self.effective_head_.fit(inputs).eval()
        return self

    def _prepare(self, windows: Windows | Tensor) -> None:
        """Fit what computes the features."""
        self.kernels_: MiniRocketFeatures | HydraFeatures | None = None
        self.scaler_: SparseScaler | None = None
        if self.features == "minirocket":
            self.kernels_ = MiniRocketFeatures(features=1_008, seed=self.seed).fit(windows)
        elif self.features == "hydra":
            self.kernels_ = HydraFeatures(groups=16, seed=self.seed).fit(windows)
            self.scaler_ = SparseScaler().fit(self.kernels_.transform(windows))

    def _embed(self, X: Windows | Tensor, augmentations: Sequence[Mapping[str, Any]] = ()) -> Tensor:
        x = batch_getter(X, torch.device("cpu"), augmentations)(torch.arange(len(X)))
        statistics = log_features(x)
        if self.kernels_ is None:
            return statistics
        table = self.kernels_.transform(x)
        table = table if self.scaler_ is None else self.scaler_.transform(table)
        return torch.cat([torch.from_numpy(np.asarray(table, np.float32)), statistics], dim=1)

    @torch.no_grad()
    def predict_proba(self, X: Examples) -> np.ndarray:
        """Return (windows, classes) probabilities.

        Raises:
            ValueError: the windows are invalid, or have another shape than those of the fit.
        """
        check_is_fitted(self, "head_")
        probabilities: np.ndarray = self.head_(self._embed(check_windows(X, self.shape_))).softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Examples) -> np.ndarray:
        """Return the most probable label of each window; errors as `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)


def _tensor(windows: Windows | Tensor) -> Tensor:
    return windows.array() if isinstance(windows, Windows) else windows
