"""Say "unknown": calibrated probabilities, and how far a window lies from those that a classifier was trained on.

Both are calibrated on people that were left out. A window is beyond what is known where its calibrated probability is lower,
or its distance larger, than those of nearly all windows of people left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from otolith.data.features import log_features

UNKNOWN = "unknown"
"""The label of what is beyond."""
FAR, OUTSIDE, UNSURE = 0.05, 0.01, 0.02
"""Shares of windows of people left out that the thresholds call beyond: of the Mahalanobis distance, of the distance from
the range (for the person whose windows are farthest, since people differ much in it), and of the probability."""
LEAST_WINDOWS = 50
"""Windows of people left out without which no threshold is set."""

_NOWHERE = 1e6  # mean and range of a class without windows: no window is near
_LEAST = 1e-6  # probabilities below it count as this
_TEMPERATURES = (0.05, 20.0)


class Rejection(nn.Module):
    """Temperature, distance and thresholds of a classifier. Its state is stored with the model.

    There are two distances. One is the relative Mahalanobis distance (Ren et al. 2021, arXiv 2106.09022): the squared
    distance to the nearest class mean minus the squared distance to the mean of all windows, with Ledoit and Wolf's shrunk
    covariances within the classes and over all. The other is what it can miss, where both terms are huge: how far features
    lie outside the range of the nearest class, squared and summed. Deliberate difference: both are computed on the
    `log_features` of a window, for every classifier, since an encoder that was trained on other movements need not keep
    what tells new ones apart.

    Args:
        classes: number of classes.
        width: number of log features of a window.
    """

    temperature: Tensor
    most_distance: Tensor
    least_probability: Tensor
    beyond_share: Tensor
    mean: Tensor
    scale: Tensor
    centres: Tensor
    within: Tensor
    overall: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(1.0, dtype=torch.float64))
        shapes: dict[str, tuple[int, ...]] = {"most_distance": (2,), "least_probability": (), "beyond_share": ()}
        shapes |= {"mean": (width,), "scale": (width,), "within": (width, width), "overall": (width, width)}
        shapes |= dict.fromkeys(("centres", "lowest", "highest"), (classes, width))
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def fitted(
        cls, x: Float[Tensor, "windows channels time"], y: Int[np.ndarray, " windows"], classes: int
    ) -> Rejection:
        """Return the geometry of training windows; `calibrate` sets temperature and thresholds.

        Args:
            x: training windows, in g and rad/s.
            y: their class numbers; classes without a window get none.
            classes: number of classes.
        """
        from sklearn.covariance import LedoitWolf

        table = _table(x)
        found = cls(classes, table.shape[1])
        mean, scale = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-6)
        z = (table - mean) / scale
        centres = np.full((classes, z.shape[1]), _NOWHERE)
        lowest, highest = centres.copy(), centres.copy()
        for number in np.unique(y):
            mine = z[y == number]
            centres[number], lowest[number], highest[number] = mine.mean(axis=0), mine.min(axis=0), mine.max(axis=0)
        values = {
            "mean": mean,
            "scale": scale,
            "centres": centres,
            "lowest": lowest,
            "highest": highest,
            "within": np.linalg.cholesky(LedoitWolf(assume_centered=True).fit(z - centres[y]).precision_),
            "overall": np.linalg.cholesky(LedoitWolf(assume_centered=True).fit(z).precision_),
        }
        found.load_state_dict({**found.state_dict(), **{name: torch.from_numpy(each) for name, each in values.items()}})
        return found

    def calibrate(
        self,
        probability: Float[np.ndarray, "windows classes"],
        distance: Float[np.ndarray, "windows 2"],
        y: Int[np.ndarray, " windows"],
        subject: Int[np.ndarray, " windows"],
    ) -> Rejection:
        """Set temperature and thresholds from windows of people who were left out; return itself.

        Args:
            probability: of models that were fitted on other people.
            distance: both, by the geometry of those people.
            y: true class numbers; each was known to the model that judged the window.
            subject: the person of each window.

        Raises:
            ValueError: fewer than `LEAST_WINDOWS` windows.
        """
        if len(y) < LEAST_WINDOWS:
            raise ValueError(f"{len(y)} windows of people left out; {LEAST_WINDOWS} are needed to calibrate")
        logs = np.log(np.maximum(probability, _LEAST))

        def loss(log_temperature: float) -> float:
            scaled = logs / np.exp(log_temperature)
            scaled = scaled - scaled.max(axis=1, keepdims=True)
            chosen = scaled[np.arange(len(y)), y]
            return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - chosen))

        low, high = np.log(_TEMPERATURES)
        best = float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))
        self.temperature.fill_(best)
        outside = max(np.quantile(distance[subject == one, 1], 1 - OUTSIDE) for one in np.unique(subject))
        self.most_distance.copy_(torch.tensor([np.quantile(distance[:, 0], 1 - FAR), outside]))
        self.least_probability.fill_(float(np.quantile(self.tempered(probability).max(axis=1), UNSURE)))
        self.beyond_share.fill_(float(self.beyond(self.tempered(probability), distance).mean()))
        return self

    def tempered(self, probability: Float[np.ndarray, "windows classes"]) -> Float[np.ndarray, "windows classes"]:
        """Return probabilities of the classifier after temperature scaling (Guo et al. 2017, arXiv 1706.04599)."""
        logs = np.log(np.maximum(probability, _LEAST)) / float(self.temperature)
        powers = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def distance(self, x: Float[Tensor, "windows channels time"]) -> Float[np.ndarray, "windows 2"]:
        """Return both distances of windows from the training windows; larger is farther."""
        return self.distance_of(_table(x))

    def distance_of(self, table: Float[np.ndarray, "windows width"]) -> Float[np.ndarray, "windows 2"]:
        """Return the same from the windows' log features."""
        z = (table - self.mean.numpy()) / self.scale.numpy()
        overall = ((z @ self.overall.numpy()) ** 2).sum(axis=1)
        inside = z @ self.within.numpy()
        nearest, outside = np.full(len(z), np.inf), np.full(len(z), np.inf)
        centres = self.centres.numpy() @ self.within.numpy()
        for centre, low, high in zip(centres, self.lowest.numpy(), self.highest.numpy(), strict=True):
            nearest = np.minimum(nearest, ((inside - centre) ** 2).sum(axis=1))
            outside = np.minimum(outside, (np.maximum(np.maximum(low - z, z - high), 0) ** 2).sum(axis=1))
        return np.column_stack([nearest - overall, outside])

    def beyond(
        self, probability: Float[np.ndarray, "windows classes"], distance: Float[np.ndarray, "windows 2"]
    ) -> Bool[np.ndarray, " windows"]:
        """Return which windows (or stretches, with the means over their windows) are beyond what is known.

        Args:
            probability: after temperature scaling.
            distance: of the same windows.
        """
        far = (distance > self.most_distance.numpy()).any(axis=1)
        return np.asarray(far | (probability.max(axis=1) < float(self.least_probability)))


def restored(state: Mapping[str, Tensor], classes: int, width: int) -> Rejection | None:
    """Return the rejection of a saved state; None for an empty state.

    Raises:
        ValueError: the state is not that of a rejection for so many classes and features.
    """
    if not state:
        return None
    found = Rejection(classes, width)
    own: dict[str, Any] = {name: (value.dtype, tuple(value.shape)) for name, value in found.state_dict().items()}
    given = {name: (value.dtype, tuple(value.shape)) for name, value in state.items()}
    if own != given:
        raise ValueError(f"the rejection holds {given}; expected {own}")
    found.load_state_dict(dict(state))
    return found


def _table(x: Tensor) -> np.ndarray:
    """Return the log features of windows in float64."""
    return log_features(x.cpu().float()).double().numpy()
