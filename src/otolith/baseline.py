"""What every encoder must beat: a random forest on simple features. A comparison without it is not believed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.validation import check_is_fitted

from otolith.transfer import Examples, _labels
from otolith.windows import Windows


def simple_features(x: Float[np.ndarray, "windows channels time"]) -> Float[np.ndarray, "windows features"]:
    """16 numbers a channel and 16 of each triad's magnitude: mean, standard deviation, minimum, maximum, mean absolute
    difference, and the magnitudes of the first 11 Fourier bins of the window without its mean."""
    triads = x[:, : x.shape[1] // 3 * 3].reshape(len(x), -1, 3, x.shape[2])
    x = np.concatenate([x, np.linalg.norm(triads, axis=2)], axis=1).astype(np.float64)
    mean = x.mean(axis=2)
    spectrum = np.abs(np.fft.rfft(x - mean[:, :, None], axis=2))[:, :, :11] / x.shape[2]
    basic = np.stack(
        [mean, x.std(axis=2), x.min(axis=2), x.max(axis=2), np.abs(np.diff(x, axis=2)).mean(axis=2)], axis=2
    )
    return np.concatenate([basic, spectrum], axis=2).reshape(len(x), -1)


class ForestClassifier(ClassifierMixin, BaseEstimator):
    """Random forest on `simple_features`, with scikit-learn's defaults but for the number of trees.

    Args:
        trees: in the forest.
        seed: of the forest.
    """

    def __init__(self, trees: int = 300, seed: int = 0) -> None:
        self.trees = trees
        self.seed = seed

    def fit(self, X: Examples, y: np.ndarray | None = None) -> ForestClassifier:
        """Fits on windows (windows, channels, time) in the store's units."""
        self.forest_ = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=1)
        self.forest_.fit(simple_features(_array(X)), _labels(X, y))
        self.classes_ = self.forest_.classes_
        return self

    def predict_proba(self, X: Examples) -> np.ndarray:
        """(windows, classes) probabilities."""
        check_is_fitted(self, "forest_")
        return np.asarray(self.forest_.predict_proba(simple_features(_array(X))))

    def predict(self, X: Examples) -> np.ndarray:
        """(windows,) the most probable label."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


def _array(examples: Examples) -> np.ndarray:
    return examples.array().numpy() if isinstance(examples, Windows) else np.asarray(examples)
