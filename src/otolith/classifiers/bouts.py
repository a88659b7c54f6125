"""How long people keep up an activity and what follows it: a Markov model of training people, which smooths a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import expm
from torch import Tensor, nn

from otolith.data.windows import Windows

BOUT_S = 30.0
"""Mean duration of a bout, in seconds, before any was seen: each class begins with one observed bout of this length, and
each other class follows it equally often."""
SENSITIVITY = 0.9
"""Assumed share of windows of unknown movements that are beyond what a model knows."""
LAG_S = 30.0
"""Seconds before and after a moment that decide about it."""


class Bouts(nn.Module):
    """A Markov chain in continuous time over the classes; so one estimate serves every hop of windows.

    Args:
        classes: number of classes.

    Attributes:
        rates: (classes, classes) float64, transitions per second from one class to another; the diagonal is zero.
    """

    rates: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        others = max(1, classes - 1)
        rates = (1 - np.eye(classes)) / (BOUT_S * others)
        self.register_buffer("rates", torch.from_numpy(rates))

    @classmethod
    def fitted(cls, windows: Windows, hop_s: float) -> Bouts:
        """Estimate the chain from labelled windows that follow each other in a recording.

        The rate from one class to another is the number of such transitions divided by the time in the first class, both
        with the prior added (`BOUT_S`). The time in short labelled spans with nothing labelled around them counts, although
        no transition was seen there: they say that bouts are longer.

        Args:
            windows: labelled windows of training people.
            hop_s: seconds between consecutive windows of a span.
        """
        assert windows.y is not None
        classes = len(windows.label_names)
        found = cls(classes)
        order = np.lexsort([windows.start_s, windows.recording])
        y, start_s = windows.y[order], windows.start_s[order]
        apart = np.append(np.diff(start_s), np.inf)
        apart[:-1][np.diff(windows.recording[order]) != 0] = np.inf
        follows = apart <= windows.contract.seconds + hop_s + 1e-6  # no window crosses the edge of a span
        time_s = np.bincount(y, np.where(follows, apart, windows.contract.seconds), minlength=classes)
        here = np.flatnonzero(follows)
        counts = np.zeros((classes, classes))
        np.add.at(counts, (y[here], y[here + 1]), 1.0)
        np.fill_diagonal(counts, 0.0)
        prior = (1 - np.eye(classes)) / max(1, classes - 1)
        found.rates.copy_(torch.from_numpy((counts + prior) / (time_s + BOUT_S)[:, None]))
        return found

    def transitions(self, hop_s: float, *, unknown: bool) -> Float[np.ndarray, "states states"]:
        """Return the probabilities of the next cell's state, given this one's.

        Args:
            hop_s: seconds from one cell to the next.
            unknown: whether "unknown" is the last state: it begins as often as each class on average, lasts `BOUT_S`, and
                each class follows it equally often.
        """
        rates = self.rates.numpy()
        if unknown:
            classes = len(rates)
            wider = np.zeros((classes + 1, classes + 1))
            leaving = rates.sum(axis=1, keepdims=True)
            wider[:classes, :classes] = rates * (classes - 1) / max(1, classes)
            wider[:classes, classes:] = (leaving if classes > 1 else 1 / BOUT_S) / classes
            wider[classes, :classes] = 1 / (BOUT_S * classes)
            rates = wider
        generator = rates - np.diag(rates.sum(axis=1))
        return np.asarray(expm(generator * hop_s))


def restored(state: Mapping[str, Tensor], classes: int) -> Bouts | None:
    """Return the chain of a saved state; None for an empty state.

    Raises:
        ValueError: the state is not that of a chain over so many classes.
    """
    if not state:
        return None
    found = Bouts(classes)
    own: dict[str, Any] = {name: (value.dtype, tuple(value.shape)) for name, value in found.state_dict().items()}
    given = {name: (value.dtype, tuple(value.shape)) for name, value in state.items()}
    if own != given or any((value < 0).any() for value in state.values()):
        raise ValueError(f"the chain of bouts holds {given}; expected {own}, none negative")
    found.load_state_dict(dict(state))
    return found


def evidence(
    probability: Float[np.ndarray, "cells classes"],
    beyond: np.ndarray | None,
    *,
    beyond_share: float,
) -> Float[np.ndarray, "cells states"]:
    """Return how likely each state makes what was seen in each cell, up to a factor per cell.

    The probabilities of the classes are taken as they are. Deliberate difference from a hidden Markov model: they are not
    divided by the classes' shares of the training windows, since windows inside labelled spans say little of how often short
    activities occur (docs/label.md has the comparison). Where a model knows "unknown", a cell that is beyond says nothing
    about the class, and beyond is a sensor of the unknown: true for `beyond_share` of the cells of known classes and for
    `SENSITIVITY` of unknown ones.

    Args:
        probability: calibrated.
        beyond: (cells,) which cells are beyond what is known; None: the model does not know.
        beyond_share: share of known windows that are beyond.
    """
    known = np.maximum(probability, 1e-6)
    if beyond is not None:
        known *= known.shape[1]  # 1 on average, as the unknown has it
        known[beyond] = 1.0
        known *= np.where(beyond, beyond_share, 1 - beyond_share)[:, None]
        known = np.column_stack([known, np.where(beyond, SENSITIVITY, 1 - SENSITIVITY)])
    return np.asarray(known / known.max(axis=1, keepdims=True))


def posterior(
    seen: Float[np.ndarray, "cells states"], transitions: Float[np.ndarray, "states states"], lag: int
) -> Float[np.ndarray, "cells states"]:
    """Return the probability of each state in each cell, given the cells up to `lag` before and after it.

    With a lag as long as the sequence this is the forward-backward algorithm (Rabiner 1989, Proceedings of the IEEE 77(2))
    with equally probable first states. A bounded lag lets a stream say the same as a whole recording. All cells are computed
    at once, one step of the lag after the other; the sums run over the states in their order, so that a cell's bits do not
    depend on how many others there are.

    Args:
        seen: of `evidence`.
        transitions: rows: this state; columns: the next.
        lag: in cells.
    """
    cells, states = seen.shape
    before, after = np.ones((cells, states)), np.ones((cells, states))
    for step in range(min(lag, cells - 1), 0, -1):
        # forward: from the cell `step` before, whose evidence joins here; backward: from the cell `step` after
        before[step:] = _normal(_times(before[step:] * seen[:-step], transitions))
        after[:-step] = _normal(_times(after[:-step] * seen[step:], transitions.T))
    found = before * after * seen
    return np.asarray(found / _sum(found)[:, None])


def _times(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    total = rows[:, :1] * matrix[0]
    for state in range(1, len(matrix)):
        total = total + rows[:, state : state + 1] * matrix[state]
    return np.asarray(total)


def _sum(rows: np.ndarray) -> np.ndarray:
    total = rows[:, 0].copy()
    for state in range(1, rows.shape[1]):
        total += rows[:, state]
    return np.asarray(total)


def _normal(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / _sum(rows)[:, None])
