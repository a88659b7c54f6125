"""The logistic head: a regression on features of few labelled windows, and what unlabelled ones of training people teach it.

Those say which directions of the features do not matter (`Surroundings.whitening`): how a window differs from the next of
its recording, and how people differ who do the same. And once the head tells classes apart, windows it is sure of train it
further (`fit`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from otolith.data.windows import Windows

_NEAR = 5  # windows' lengths; what lies further apart is no neighbour
_SURE = 0.5  # probability from which a window may train the head without a label
_MOST_UNLABELLED = 2000  # windows that do so, spread evenly
_WEIGHT = 3.0  # of all those together, beside the labelled windows and their copies
_LEAST = 2.0  # windows of a person, of one class, from which their mean is known

_Table = Float[np.ndarray, "windows dim"]
_Square = Float[np.ndarray, "dim dim"]


def neighbours(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of windows, and of each one's next of its recording, if that begins within five windows' lengths."""
    order = np.lexsort([windows.start_s, windows.recording])
    apart = np.diff(windows.start_s[order])
    near = np.flatnonzero((np.diff(windows.recording[order]) == 0) & (apart <= _NEAR * windows.contract.seconds + 1e-6))
    return order[near], order[near + 1]


def shares(width: int, dim: int) -> np.ndarray:
    """A factor on each standardised feature, so that the first `dim` and the others have the same sum of variances."""
    count = np.where(np.arange(width) < dim, dim, width - dim)
    return np.sqrt(width / count / (1 + (width > dim)))


class Whitener:
    """Features of unlabelled windows, standardised, and the covariance of what changes between neighbours.

    Args:
        features: (windows, dim).
        windows: which these are; their recordings, times and people are used.
        ridge: added to every covariance before it is inverted, as a share of its mean variance.
        share: (dim,) factor on each standardised feature.

    Raises:
        ValueError: no recording has two neighbouring windows.
    """

    def __init__(self, features: Tensor, windows: Windows, ridge: float, share: np.ndarray) -> None:
        x = _array(features)
        self.mean, self.std = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6) / share
        self.z, self.people, self.ridge = (x - self.mean) / self.std, windows.subject, ridge
        one, other = neighbours(windows)
        if len(one) < 2:
            raise ValueError("whiten needs recordings of several windows each, and there are no neighbours among these")
        change = self.z[other] - self.z[one]
        size = np.linalg.norm(change, axis=1)
        change = change[size <= np.quantile(size, 0.98)]  # the 2 % that change most: there activities change
        self.change = change.T @ change / (2 * len(change))

    def whitening(
        self, people: float = 0.0, classes: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[_Square, _Table]:
        """The matrix that whitens what changes between neighbours, and between people; and these windows' features by it.

        Args:
            people: weight of the covariance of people's means beside that of neighbours; each has the same trace.
            classes: class of each window and how sure that is: the means are of each class by itself; None: all windows are
                alike.
        """
        covariance = self.change.copy()
        if people:
            between = self._between(*(classes or (np.zeros(len(self.z), int), np.ones(len(self.z)))))
            if (size := np.trace(between)) > 0:
                covariance += people * np.trace(covariance) / size * between
        covariance += self.ridge * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
        value, vector = np.linalg.eigh(covariance)
        whitening = vector / np.sqrt(value)
        whitening = whitening / max(float((self.z @ whitening).std()), 1e-12)
        return whitening, self.z @ whitening

    def _between(self, group: np.ndarray, weight: np.ndarray) -> _Square:
        """Covariance of people's means about the mean of their group, people weighing by their share of it; zero where no
        group has two people."""
        _, person = np.unique(self.people, return_inverse=True)
        count = person.max() + 1
        shape = (group.max() + 1) * count, len(self.z)
        member = sparse.csr_matrix((weight, (group * count + person, np.arange(len(self.z)))), shape)
        mass = np.asarray(member.sum(axis=1)).reshape(-1, count, 1)
        known = mass >= _LEAST
        shared = known.sum(axis=(1, 2)) > 1
        mass = np.where(known, mass, 0)[shared]
        sums = np.where(known, np.asarray(member @ self.z).reshape(-1, count, self.z.shape[1]), 0)[shared]
        total = mass.sum(axis=1, keepdims=True)
        away = sums / np.maximum(mass, _LEAST) - sums.sum(axis=1, keepdims=True) / total
        away = (away * np.sqrt(mass / total)).reshape(-1, self.z.shape[1])
        return np.asarray(away.T @ away)


def fit(
    features: Tensor,
    target: Int[Tensor, " windows"],
    penalty: float,
    share: np.ndarray,
    around: Whitener | None = None,
    *,
    people: float = 0.0,
    rounds: int = 0,
) -> nn.Linear:
    """A Linear that computes a logistic regression on features as they are; whatever is done to them is folded in.

    Args:
        features: (windows, dim) of labelled windows.
        target: their classes, 0 .. n - 1, each there.
        penalty: inverse strength C of the regularisation.
        share: (dim,) factor on each standardised feature.
        around: whitens; None: the features are standardised by their own mean and deviation.
        people: as `Surroundings.whitening` has it.
        rounds: of self-training. Each whitens by people's means within the classes that the head gives to unlabelled
            windows, fits on the labelled ones, and then on those it is sure of as well, classes with equal weight.
    """
    x, y = _array(features), target.cpu().numpy()
    if around is None:
        mean, std = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6) / share
        return _folded(_regression((x - mean) / std, y, penalty), mean, std)
    z = (x - around.mean) / around.std
    whitening, other = around.whitening(people)
    fitted = _regression(z @ whitening, y, penalty)
    for _ in range(rounds):
        whitening, other = around.whitening(1.0, _sure(fitted.predict_proba(other)))
        own = z @ whitening
        given, sure = _sure(_regression(own, y, penalty).predict_proba(other))
        chosen = np.flatnonzero(sure)
        if len(chosen) > _MOST_UNLABELLED:
            chosen = chosen[np.linspace(0, len(chosen) - 1, _MOST_UNLABELLED).astype(int)]
        weight = sure[chosen] / np.bincount(given[chosen], sure[chosen], minlength=y.max() + 1)[given[chosen]]
        weight *= _WEIGHT * len(y) / max(weight.sum(), 1e-12)
        fitted = _regression(
            np.concatenate([own, other[chosen]]),
            np.concatenate([y, given[chosen]]),
            penalty,
            np.concatenate([np.ones(len(y)), weight]),
        )
    return _folded(fitted, around.mean, around.std, whitening)


def _array(features: Tensor) -> _Table:
    return features.detach().cpu().double().numpy()


def _sure(probability: Float[np.ndarray, "windows classes"]) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest class of each window, and its probability where that is enough, else 0."""
    best = probability.max(axis=1)
    return probability.argmax(axis=1), np.where(best >= _SURE, best, 0.0)


def _regression(z: _Table, y: np.ndarray, penalty: float, weight: np.ndarray | None = None) -> LogisticRegression:
    return LogisticRegression(C=penalty, max_iter=2000).fit(z, y, sample_weight=weight)


def _folded(
    fitted: LogisticRegression, mean: np.ndarray, std: np.ndarray, whitening: _Square | None = None
) -> nn.Linear:
    """The regression of whitened, standardised features as a Linear of the features themselves."""
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
