"""Hydra, a baseline: competing random convolutions, and a ridge classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from otolith.classifiers.inputs import Examples, accuracy, check_labels, check_windows, shape_of
from otolith.classifiers.minirocket import array_of
from otolith.data.conversion import check_number

_TAPS = 9  # weights of a kernel
_MOST_CHANNELS = 8  # that a group adds
_BLOCK = 256  # windows at a time


class HydraFeatures(BaseEstimator):
    """Hydra's features: how often, and how strongly, each kernel of a group wins against the others of its group.

    The kernels are random, of length 9, in groups. Half of the groups convolve the windows, the other half their first
    differences, each at the dilations 1, 2, 4, ... that fit into a window; a group adds the same random channels for all its
    kernels. At each time step, the kernel with the largest output gets that output, and the one with the smallest output
    counts 1.

    Source: Dempster, Schmidt and Webb, DMKD 2023 (arXiv 2203.13652), and its code's multivariate variant, which
    draws channels with replacement. The only deliberate difference is the source of its random numbers; with the
    kernels and channels of aeon's `HydraTransformer` it computes aeon's features.

    Args:
        groups: number of groups per dilation, an even number.
        kernels: number of kernels per group.
        seed: of kernels and channels.
    """

    def __init__(self, groups: int = 64, kernels: int = 8, seed: int = 0) -> None:
        self.groups = groups
        self.kernels = kernels
        self.seed = seed

    def fit(self, X: Examples, y: Any = None) -> HydraFeatures:  # noqa: ARG002 - scikit-learn passes y
        """Draw kernels and channels for windows of this shape; their values are not used.

        Raises:
            ValueError: windows of fewer than 10 time steps, `groups` is no positive even number, `kernels` is less than 2,
                or the windows are invalid (see `check_windows`).
        """
        check_number("groups", self.groups, least=2, whole=True)
        check_number("kernels", self.kernels, least=2, whole=True)
        if self.groups % 2:
            raise ValueError(f"groups is {self.groups}; expected an even number: half of them take first differences")
        windows = check_windows(X)
        self.shape_ = shape_of(windows)
        _, channels, time = windows.shape
        if time <= _TAPS:
            raise ValueError(f"windows of {time} time steps; Hydra's kernels need at least {_TAPS + 1}")
        self.dilations_ = [2**power for power in range(int(np.log2((time - 1) / (_TAPS - 1))) + 1)]
        random = torch.Generator().manual_seed(self.seed)
        half, each = self.groups // 2, 1 if channels == 1 else min(max(channels // 2, 2), _MOST_CHANNELS)
        weights = torch.randn(len(self.dilations_), 2, half * self.kernels, 1, _TAPS, generator=random)
        weights = weights - weights.mean(dim=-1, keepdim=True)
        self.weights_ = weights / weights.abs().sum(dim=-1, keepdim=True)
        self.channels_ = torch.randint(channels, (len(self.dilations_), 2, half, each), generator=random)
        return self

    @torch.no_grad()
    def transform(self, X: Examples) -> Float[np.ndarray, "windows features"]:
        """Return, for each dilation, windows then differences: sums of largest outputs, then counts of smallest ones.

        Raises:
            ValueError: the windows are invalid, or have another shape than those of the fit.
        """
        check_is_fitted(self, "weights_")
        x = torch.from_numpy(array_of(check_windows(X, self.shape_)))
        return torch.cat([self._block(block) for block in x.split(_BLOCK)]).numpy()

    def _block(self, x: Float[Tensor, "windows channels time"]) -> Float[Tensor, "windows features"]:
        found = []
        for place, dilation in enumerate(self.dilations_):
            for kind, signal in enumerate((x, x.diff(dim=2))):
                chosen = signal[:, self.channels_[place, kind]].sum(dim=2)
                padding, groups = (_TAPS - 1) * dilation // 2, chosen.shape[1]
                answers = F.conv1d(
                    chosen, self.weights_[place, kind], dilation=dilation, padding=padding, groups=groups
                )
                answers = answers.unflatten(1, (groups, self.kernels))
                largest = answers.amax(dim=2)
                found.append(_wins(answers, largest).mul_(largest[:, :, None]).sum(dim=3))
                found.append(_wins(answers, answers.amin(dim=2)).sum(dim=3))
        return torch.cat([each.flatten(1) for each in found], dim=1)


def _wins(
    answers: Float[Tensor, "windows groups kernels time"], extreme: Float[Tensor, "windows groups time"]
) -> Float[Tensor, "windows groups kernels time"]:
    """Return 1 for the first kernel of a group that gives the extreme output at a time step, and 0 for the others.

    Comparing is several times faster than torch's `max` and `argmin` with positions.
    """
    wins = torch.empty_like(answers)
    free = torch.ones_like(extreme, dtype=torch.bool)
    for kernel in range(answers.shape[2]):
        hit = (answers[:, :, kernel] == extreme) & free
        wins[:, :, kernel] = hit
        free &= ~hit
    return wins


class SparseScaler(BaseEstimator):
    """Scales Hydra's features: the square root, then mean 0 and variance 1 where a feature is not 0.

    Source: the code of Hydra (`SparseScaler`), with its exponent 4.
    """

    def fit(self, X: Float[np.ndarray, "windows features"], y: Any = None) -> SparseScaler:  # noqa: ARG002
        """Measure means and standard deviations."""
        x = np.sqrt(np.maximum(X, 0))
        self.mean_ = x.mean(axis=0)
        self.std_ = x.std(axis=0, ddof=1) + (x == 0).mean(axis=0) ** 4 + 1e-8
        return self

    def transform(self, X: Float[np.ndarray, "windows features"]) -> Float[np.ndarray, "windows features"]:
        """Return the scaled features; what is 0 stays 0."""
        check_is_fitted(self, "std_")
        x = np.sqrt(np.maximum(X, 0))
        scaled: np.ndarray = (x - self.mean_) * (x != 0) / self.std_
        return scaled


class HydraClassifier(ClassifierMixin, BaseEstimator):
    """`HydraFeatures`, `SparseScaler` and a ridge classifier, whose regularisation is chosen as MiniRocket's.

    Args:
        groups: see `HydraFeatures`.
        kernels: see `HydraFeatures`.
        seed: see `HydraFeatures`.
    """

    uses_unlabelled = False

    def __init__(self, groups: int = 64, kernels: int = 8, seed: int = 0) -> None:
        self.groups = groups
        self.kernels = kernels
        self.seed = seed

    def fit(self, X: Examples, y: Any = None) -> HydraClassifier:
        """Fit on windows (windows, channels, time) in the store's units.

        Raises:
            ValueError: see `HydraFeatures.fit`, or labels are invalid (see `check_labels`).
        """
        from sklearn.linear_model import RidgeClassifierCV

        windows = check_windows(X)
        labels = check_labels(windows, y)
        self.features_ = HydraFeatures(self.groups, self.kernels, self.seed).fit(windows)
        table = self.features_.transform(windows)
        self.scaler_ = SparseScaler().fit(table)
        self.machine_ = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10)).fit(self.scaler_.transform(table), labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict(self, X: Examples) -> np.ndarray:
        """Return (windows,) labels; errors as `HydraFeatures.transform`."""
        check_is_fitted(self, "machine_")
        return np.asarray(self.machine_.predict(self.scaler_.transform(self.features_.transform(X))))

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)
