"""MiniRocket, a baseline: features of random convolutions, and a ridge classifier."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from otolith.classifiers.inputs import Examples, accuracy, check_labels, check_windows, shape_of
from otolith.data.windows import Windows

_KERNELS = np.array([[2 if k in at else -1 for k in range(9)] for at in combinations(range(9), 3)])
_BLOCK = 64  # windows whose convolutions are compared with thresholds at a time


class MiniRocketFeatures(BaseEstimator):
    """MiniRocket's features: the share of time steps at which random dilated convolutions exceed a threshold.

    84 kernels of length 9 (six weights of -1, three of 2) at up to 32 dilations, each over a random set of channels, which
    are added unweighted; thresholds are quantiles of the convolutions of the windows of the fit.

    The only deliberate difference from the published code is the source of its random numbers. It is written in NumPy,
    because the usual implementation (aeon 1.6) needs NumPy < 2.4 and pandas < 3.1; given the channels and thresholds that
    aeon drew, it computes aeon's features (`docs/protocol.md`).

    Source: Dempster, Schmidt and Webb, KDD 2021 (arXiv 2012.08791), and its code's multivariate variant.

    Args:
        features: upper limit of their number; the largest multiple of 84 that does not exceed it is used.
        seed: of channels and thresholds.
    """

    def __init__(self, features: int = 10_000, seed: int = 0) -> None:
        self.features = features
        self.seed = seed

    def fit(self, X: Examples, y: Any = None) -> MiniRocketFeatures:  # noqa: ARG002 - scikit-learn passes y
        """Set dilations from the windows' length, and draw each kernel's channels and each feature's threshold.

        Raises:
            ValueError: windows of fewer than 9 time steps, `features` is less than 84, or the windows are invalid (see
                `check_windows`).
        """
        if self.features < len(_KERNELS):
            raise ValueError(f"features is {self.features}; expected at least {len(_KERNELS)}, one per kernel")
        windows = check_windows(X)
        self.shape_ = shape_of(windows)
        x = array_of(windows)
        _, channels, time = x.shape
        if time < 9:
            raise ValueError(f"windows of {time} time steps; MiniRocket's kernels need at least 9")
        random = np.random.default_rng([self.seed, 0x80C])
        each = self.features // len(_KERNELS)
        spread = np.logspace(0, np.log2((time - 1) / 8), min(each, 32), base=2).astype(int)
        dilations, counts = np.unique(spread, return_counts=True)
        self.dilations_: list[int] = dilations.tolist()
        counts = (counts * (each / len(spread))).astype(int)
        rest = each - counts.sum()
        counts += rest // len(counts) + (np.arange(len(counts)) < rest % len(counts))
        shape = len(self.dilations_), len(_KERNELS)
        size = (2 ** random.uniform(0, np.log2(min(channels, 9) + 1), shape)).astype(int)
        self.channels_ = random.random((*shape, channels)).argsort(axis=2).argsort(axis=2) < size[:, :, None]
        self.weights_ = (_KERNELS[:, :, None] * self.channels_[:, :, None, :]).reshape(*shape, -1).astype(np.float32)
        golden = (np.arange(1, len(_KERNELS) * each + 1) * (np.sqrt(5) + 1) / 2) % 1
        self.thresholds_ = []
        for place, levels in enumerate(np.split(golden, np.cumsum(counts * len(_KERNELS))[:-1])):
            drawn = x[random.integers(len(x), size=len(_KERNELS))]
            answers = np.einsum("kct,kc->kt", _taps(drawn, self.dilations_[place]), self.weights_[place])
            pairs = zip(answers, levels.reshape(len(_KERNELS), -1), strict=True)
            self.thresholds_.append(np.array([np.quantile(*pair) for pair in pairs], np.float32))
        return self

    def transform(self, X: Examples) -> Float[np.ndarray, "windows features"]:
        """Return the share of time steps at which each kernel's convolution is above each of its thresholds.

        Raises:
            ValueError: the windows are invalid, or have another shape than those of the fit.
        """
        check_is_fitted(self, "thresholds_")
        x, out = array_of(check_windows(X, self.shape_)), []
        for place, thresholds in enumerate(self.thresholds_):
            edge, whole = 4 * self.dilations_[place], (place + np.arange(len(_KERNELS))) % 2 == 0
            shares = np.empty((len(x), *thresholds.shape), np.float32)
            for first in range(0, len(x), _BLOCK):
                block = slice(first, first + _BLOCK)
                answers = self.weights_[place] @ _taps(x[block], self.dilations_[place])
                above = answers[..., None] > thresholds[:, None]
                shares[block, whole] = above[:, whole].mean(axis=2)
                shares[block, ~whole] = above[:, ~whole, edge:-edge].mean(axis=2)  # without the padding
            out.append(shares.reshape(len(x), -1))
        return np.concatenate(out, axis=1)


class MiniRocketClassifier(ClassifierMixin, BaseEstimator):
    """`MiniRocketFeatures` and a ridge classifier.

    The regularisation is chosen by leave-one-out errors among 10 values from 1e-3 to 1e3, on standardised features. Meant
    for up to about 10,000 windows, as the paper says.

    Args:
        features: see `MiniRocketFeatures`.
        seed: see `MiniRocketFeatures`.
    """

    uses_unlabelled = False

    def __init__(self, features: int = 10_000, seed: int = 0) -> None:
        self.features = features
        self.seed = seed

    def fit(self, X: Examples, y: Any = None) -> MiniRocketClassifier:
        """Fit on windows (windows, channels, time) in the store's units.

        Raises:
            ValueError: see `MiniRocketFeatures.fit`, or labels are invalid (see `check_labels`).
        """
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        windows = check_windows(X)
        labels = check_labels(windows, y)
        self.features_ = MiniRocketFeatures(self.features, self.seed).fit(windows)
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
        self.machine_ = make_pipeline(StandardScaler(), ridge).fit(self.features_.transform(windows), labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict(self, X: Examples) -> np.ndarray:
        """Return (windows,) labels; errors as `MiniRocketFeatures.transform`."""
        check_is_fitted(self, "machine_")
        return np.asarray(self.machine_.predict(self.features_.transform(X)))

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)


def array_of(windows: Windows | Tensor) -> np.ndarray:
    """Return checked windows as an array (windows, channels, time)."""
    return (windows.array() if isinstance(windows, Windows) else windows).cpu().numpy()


def _taps(
    x: Float[np.ndarray, "windows channels time"], dilation: int
) -> Float[np.ndarray, "windows nine_channels time"]:
    """Return the inputs of a kernel's nine weights at each time step, weight by weight; zeros beyond the window's edges."""
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (4 * dilation, 4 * dilation)))
    return np.concatenate([padded[:, :, k * dilation : k * dilation + x.shape[2]] for k in range(9)], axis=1)
