"""Whitening of features by how they change between consecutive windows and between subjects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from otolith.data.windows import Windows

_MAX_GAP = 5  # window lengths between the starts of two windows that still count as consecutive
_MOST, _TOGETHER = 1 << 16, 64  # unlabelled windows used, and how many of them follow each other
_MIN_WEIGHT = 2.0  # windows of one subject and class from which their mean is used

Table = Float[np.ndarray, "windows dim"]
Square = Float[np.ndarray, "dim dim"]


def temporal_pairs(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers of windows, and of the next window of each in its recording, if that starts within five window
    lengths."""
    order = np.lexsort([windows.start_s, windows.recording])
    apart = np.diff(windows.start_s[order])
    near = np.flatnonzero(
        (np.diff(windows.recording[order]) == 0) & (apart <= _MAX_GAP * windows.contract.seconds + 1e-6)
    )
    return order[near], order[near + 1]


def has_temporal_pairs(windows: Windows | Tensor | None) -> bool:
    """Return whether there are enough consecutive windows to whiten by; a bare array does not know its recordings."""
    return isinstance(windows, Windows) and len(temporal_pairs(windows)[0]) >= 2


def spread_rows(count: int) -> np.ndarray:
    """Return row numbers of at most 65,536 of `count` windows, ascending: all, or evenly spaced blocks of 64, so that
    consecutive windows stay together. More do not change a covariance, but memory grows with them."""
    if count <= _MOST:
        return np.arange(count)
    starts = np.linspace(0, count - _TOGETHER, _MOST // _TOGETHER).astype(int)
    return (starts[:, None] + np.arange(_TOGETHER)).reshape(-1)


class Whitener:
    """Unlabelled windows' features, standardised, and the covariance of what changes between consecutive windows.

    Args:
        features: (windows, dim) of unlabelled windows.
        windows: these windows; their recordings, times and subjects are used.
        ridge: is added to every covariance before it is inverted, as a share of its mean variance.
        scale: (dim,) factor on each standardised feature.

    Raises:
        ValueError: no recording has two consecutive windows.
    """

    def __init__(self, features: Tensor, windows: Windows, ridge: float, scale: np.ndarray) -> None:
        x = as_array(features)
        self.mean, self.std = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6) / scale
        self.z, self.subject, self.ridge = (x - self.mean) / self.std, windows.subject, ridge
        first, second = temporal_pairs(windows)
        if len(first) < 2:
            raise ValueError(
                "whiten needs recordings with several consecutive windows, and these windows have none; pass unlabelled "
                "windows of whole recordings, or set whiten to None"
            )
        change = self.z[second] - self.z[first]
        size = np.linalg.norm(change, axis=1)
        change = change[size <= np.quantile(size, 0.98)]  # without the 2 % of largest change, where activities change
        self.change = change.T @ change / (2 * len(change))

    def whitening(
        self, subject_weight: float = 0.0, classes: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[Square, Table]:
        """Return the matrix that whitens the change between consecutive windows and the differences between subjects, and
        the whitened features of these windows.

        Args:
            subject_weight: weight of the covariance of subject means; 1 gives it the trace of that of consecutive windows.
            classes: class of each window and its probability: subject means are then taken per class; None: over all
                windows of a subject.
        """
        covariance = self.change.copy()
        if subject_weight:
            between = self._between(*(classes or (np.zeros(len(self.z), int), np.ones(len(self.z)))))
            if (size := np.trace(between)) > 0:
                covariance += subject_weight * np.trace(covariance) / size * between
        covariance += self.ridge * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
        value, vector = np.linalg.eigh(covariance)
        whitening = vector / np.sqrt(value)
        whitening = whitening / max(float((self.z @ whitening).std()), 1e-12)
        return whitening, self.z @ whitening

    def _between(self, group: np.ndarray, weight: np.ndarray) -> Square:
        """Covariance of subject means about the mean of their group, subjects weighted by their share of the group; zero if
        no group has two subjects."""
        _, subject = np.unique(self.subject, return_inverse=True)
        count = subject.max() + 1
        shape = (group.max() + 1) * count, len(self.z)
        member = sparse.csr_matrix((weight, (group * count + subject, np.arange(len(self.z)))), shape)
        mass = np.asarray(member.sum(axis=1)).reshape(-1, count, 1)
        known = mass >= _MIN_WEIGHT
        shared = known.sum(axis=(1, 2)) > 1
        mass = np.where(known, mass, 0)[shared]
        sums = np.where(known, np.asarray(member @ self.z).reshape(-1, count, self.z.shape[1]), 0)[shared]
        total = mass.sum(axis=1, keepdims=True)
        away = sums / np.maximum(mass, _MIN_WEIGHT) - sums.sum(axis=1, keepdims=True) / total
        away = (away * np.sqrt(mass / total)).reshape(-1, self.z.shape[1])
        return np.asarray(away.T @ away)


def as_array(features: Tensor) -> Table:
    """Return features as a float64 array on the CPU."""
    return features.detach().cpu().double().numpy()
