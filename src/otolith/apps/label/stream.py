"""Label samples as they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.bouts import LAG_S, Bouts, evidence, posterior
from otolith.classifiers.rejection import UNKNOWN
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.resample import Resampler

_BLOCK = (
    128  # windows per call of the model; always as many, since the bits of a product depend on the shape of its factors
)
_CHUNK = 1 << 18  # time steps resampled at a time


class Cells(NamedTuple):
    """Consecutive stretches of time, each with one label.

    Attributes:
        start_s: seconds from the first sample.
        end_s: seconds from the first sample.
        number: of the label in `Labeller.labels`.
        probability: of the label, the mean of the windows; NaN for "unknown".
    """

    start_s: Float[np.ndarray, " cells"]
    end_s: Float[np.ndarray, " cells"]
    number: Int[np.ndarray, " cells"]
    probability: Float[np.ndarray, " cells"]


class Labeller:
    """Labels a stream: `push` samples in chunks of any size, then `close`. The cells are those of one push, to the bit.

    Windows overlap. Each stretch of a hop, a cell, gets the mean probability of the windows that begin at or before it and
    reach into it. With smoothing, a Markov chain of how long activities last (`classifiers.bouts`) decides with the cells of
    `LAG_S` seconds before and after, and a cell is returned that much later; without it, once no later window reaches it.
    A model that knows what is unknown to it (`otolith adapt`) says "unknown".

    Args:
        model: fitted, with a signal contract.
        rate_hz: of the samples; None: the model's.
        overlap: of the windows.
        smooth: whether to smooth.

    Attributes:
        labels: names; the last is `unknown`, if that is not empty.
        unknown: "unknown", if the model knows what is unknown to it, else empty.

    Raises:
        ValueError: the model has no signal contract, or the samples do not fit it.
    """

    def __init__(
        self,
        model: TransferClassifier | ForestClassifier,
        *,
        rate_hz: float | None = None,
        overlap: float = 0.5,
        smooth: bool = True,
    ) -> None:
        if model.signal_ is None:
            raise ValueError("the model was fitted on arrays and has no signal contract; fit it on Windows")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap is {overlap}; expected 0 or more, and less than 1")
        self._model, self._contract = model, model.signal_
        self._rejection = model.rejection_
        self.labels = tuple(str(name) for name in model.classes_)
        self.unknown = ""
        if self._rejection is not None:
            self.unknown = UNKNOWN if UNKNOWN not in self.labels else f"{UNKNOWN} to the model"
            self.labels += (self.unknown,)
        channels = len(self._contract.channels)
        self._resampler = Resampler(rate_hz or self._contract.rate_hz, self._contract.rate_hz, channels)
        self._hop = max(1, round(self._contract.steps * (1 - overlap)))
        self._span = -(-self._contract.steps // self._hop)  # cells that a window reaches into
        self._buffer = np.empty((0, channels), np.float32)  # from the first window that was not judged
        self._windows = 0  # judged
        self._steps = 0
        self._tail = np.empty((0, channels), np.float32)  # the last window's length of signal
        self._recent = np.empty((0, len(model.classes_) + 2))  # what the last windows said that reach into later cells
        self._smoother = _Smoother(self, smooth=smooth)

    def push(self, samples: Float[np.ndarray, "time channels"]) -> Cells:
        """Take further samples; return the cells that are now final.

        Args:
            samples: in g and rad/s, finite, in the order of the model's channels.

        Raises:
            ValueError: another number of channels, or values that are not finite.
        """
        samples = np.asarray(samples)
        if samples.ndim != 2 or samples.shape[1] != self._buffer.shape[1]:
            names = ", ".join(self._contract.channels)
            raise ValueError(f"samples are {samples.shape}; expected (time, {self._buffer.shape[1]}): {names}")
        if not np.isfinite(samples).all():
            raise ValueError("samples hold values that are not finite; leave them out and begin a new Labeller there")
        found = []
        for start in range(0, len(samples), _CHUNK):
            found.append(self._smoother.push(self._votes(self._resampler.push(samples[start : start + _CHUNK]))))
        return joined(found)

    def close(self) -> Cells:
        """Return the cells that are left; the last window ends with the last sample. None if it is shorter than a window."""
        found = [self._smoother.push(self._votes(self._resampler.close()))]
        if self._windows:
            found.append(self._smoother.push(self._last_votes()))
            found.append(self._smoother.close())
        return joined(found)

    @property
    def steps(self) -> int:
        """Return the number of time steps so far, at the model's rate."""
        return self._steps

    def _votes(self, signal: np.ndarray) -> np.ndarray:
        """Return (cells, classes + 2) the mean probabilities and distances of each cell that has all its windows."""
        self._steps += len(signal)
        steps, hop = self._contract.steps, self._hop
        self._buffer = np.concatenate([self._buffer, signal])
        count = max(0, (len(self._buffer) - steps) // hop + 1)
        self._tail = np.concatenate([self._tail, signal])[-steps:]
        if not count:
            return np.empty((0, self._recent.shape[1]))
        view = torch.from_numpy(self._buffer).unfold(0, steps, hop)
        first, judged = self._windows, []
        at = 0
        while at < count:  # blocks begin at the same windows, however the samples arrive
            place = (first + at) % _BLOCK
            taken = min(_BLOCK - place, count - at)
            judged.append(self._judge(view[at : at + taken], place))
            at += taken
        said = np.concatenate([self._recent, *judged])
        known = len(self._recent)
        total = np.zeros((count, said.shape[1]))
        for shift in range(self._span):
            reaches = np.arange(count) + known - shift
            total[reaches >= 0] += said[reaches[reaches >= 0]]
        total /= np.minimum(first + np.arange(count) + 1, self._span)[:, None]
        self._windows += count
        self._recent = said[max(0, len(said) - self._span + 1) :] if self._span > 1 else said[:0]
        self._buffer = self._buffer[count * hop :]
        return np.asarray(total)

    def _last_votes(self) -> np.ndarray:
        """Return the mean probabilities and distances of the cells after the last window's first one."""
        steps, hop, span = self._contract.steps, self._hop, self._span
        cells = -(-self._steps // hop) - self._windows
        total, windows = np.zeros((cells, self._recent.shape[1])), np.zeros((cells, 1))
        for back, said in enumerate(self._recent[::-1]):  # a few windows, the last first
            reached = min(cells, span - 1 - back)
            total[:reached] += said
            windows[:reached] += 1
        if (self._windows - 1) * hop + steps < self._steps:
            total += self._judge(torch.from_numpy(self._tail).unfold(0, steps, 1), 0)
            windows += 1
        return np.asarray(total / windows)

    def _judge(self, windows: torch.Tensor, place: int) -> np.ndarray:
        """Return (windows, classes + 2) calibrated probabilities and distances, computed at this place of a full block."""
        x = windows[:1].repeat(_BLOCK, 1, 1)
        x[place : place + len(windows)] = windows
        probability = self._model.predict_proba(x).astype(np.float64)
        distance = np.zeros((_BLOCK, 2))
        if self._rejection is not None:
            probability, distance = self._rejection.tempered(probability), self._rejection.distance(x)
        return np.column_stack([probability, distance])[place : place + len(windows)]


class _Smoother:
    """Mean probabilities and distances of cells -> labels, a lag later."""

    def __init__(self, labeller: Labeller, *, smooth: bool) -> None:
        self._labeller, self._rejection = labeller, labeller._rejection
        self._hop_s = labeller._hop / labeller._contract.rate_hz
        bouts = labeller._model.bouts_ or Bouts(len(labeller._model.classes_))
        self._transitions = bouts.transitions(self._hop_s, unknown=self._rejection is not None)
        self._lag = max(1, round(LAG_S / self._hop_s)) if smooth else 0
        self._seen = np.empty((0, len(self._transitions)))  # evidence of the cells that later ones need
        self._probability = np.empty((0, len(labeller._model.classes_)))  # of the same cells
        self._ready = 0  # of them that were returned
        self._cells = 0  # returned

    def push(self, votes: np.ndarray) -> Cells:
        """Return the cells that are final."""
        probability, distance = votes[:, :-2], votes[:, -2:]
        beyond = None if self._rejection is None else self._rejection.beyond(probability, distance)
        if not self._lag:
            number = probability.argmax(axis=1)
            return self._timed(
                number if beyond is None else np.where(beyond, probability.shape[1], number), probability
            )
        share = 0.0 if self._rejection is None else float(self._rejection.beyond_share)
        self._seen = np.concatenate([self._seen, evidence(probability, beyond, beyond_share=share)])
        self._probability = np.concatenate([self._probability, probability])
        return self._final(len(self._seen) - self._lag)

    def close(self) -> Cells:
        """Return the cells that are left."""
        return self._final(len(self._seen))

    def _final(self, stop: int) -> Cells:
        if stop <= self._ready:
            return self._timed(np.empty(0, int), self._probability[:0])
        found = posterior(self._seen, self._transitions, self._lag)[self._ready : stop]
        cells = self._timed(found.argmax(axis=1), self._probability[self._ready : stop])
        kept = max(0, stop - self._lag)
        self._seen, self._probability, self._ready = self._seen[kept:], self._probability[kept:], stop - kept
        return cells

    def _timed(self, number: np.ndarray, probability: np.ndarray) -> Cells:
        """Return cells of these labels, with the probability of each; NaN for "unknown"."""
        every = np.column_stack([probability, np.full(len(number), np.nan)])
        sure = every[np.arange(len(number)), number]
        edges = (self._cells + np.arange(len(number) + 1)) * self._hop_s
        self._cells += len(number)
        end_s = np.minimum(edges[1:], self._labeller.steps / self._labeller._contract.rate_hz)
        return Cells(edges[:-1], end_s, number, sure)


def joined(found: Sequence[Cells]) -> Cells:
    """Return the cells of several pushes together."""
    if not found:
        return Cells(np.empty(0), np.empty(0), np.empty(0, int), np.empty(0))
    return Cells(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
