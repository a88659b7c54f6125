"""Resample signals, and interpolate time-stamped rows at evenly spaced times."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def resample(signal: np.ndarray, rate_hz: float, to_hz: float) -> np.ndarray:
    """Resample a signal with SciPy's polyphase anti-aliasing filter.

    Args:
        signal: (time, channels), float32.
        rate_hz: its rate.
        to_hz: the new rate. The ratio is rounded to the nearest fraction with a denominator up to 1,000.

    Returns:
        (time * to_hz / rate_hz rounded up, channels), float32. Beyond its edges the signal continues on the line through
        its first and last value, so that the constant part, gravity, does not ring there.
    """
    ratio = Fraction(to_hz / rate_hz).limit_denominator(1000)
    if ratio == 1:
        return signal
    up, down = ratio.numerator, ratio.denominator
    if len(signal) == 1:  # one value defines no line
        return np.repeat(signal, -(-up // down), axis=0)
    from scipy.signal import resample_poly  # takes half a second, and recordings at the model's rate need it not

    return resample_poly(signal.astype(np.float64), up, down, axis=0, padtype="line").astype(np.float32)


def resample_sinc(signal: np.ndarray, rate_hz: float, to_hz: float) -> np.ndarray:
    """Resample a signal with a windowed sinc filter, as the published data of PRIMUS were resampled.

    The filter is torchaudio's default: the cutoff is 0.99 of half the lower rate, the Hann window spans six zeros of the
    sinc to each side. Unlike in `resample`, the signal is zero beyond its edges, so the first and the last six steps of
    the slower rate are biased towards zero.

    Args:
        signal: (time, channels), floating.
        rate_hz: its rate.
        to_hz: the new rate. The ratio is rounded to the nearest fraction with a denominator up to 1,000.

    Returns:
        (time * to_hz / rate_hz rounded up, channels), in the dtype of the signal; computed in float64.
    """
    ratio = Fraction(to_hz / rate_hz).limit_denominator(1000)
    new, old = ratio.numerator, ratio.denominator
    if new == old:
        return signal
    base = 0.99 * min(old, new)
    width = math.ceil(6 * old / base)
    reach = np.arange(-width, width + old)
    turn = np.clip((reach[None] / old - np.arange(new)[:, None] / new) * base, -6, 6)
    taps = np.sinc(turn) * np.cos(np.pi * turn / 12) ** 2 * (base / old)  # (phases, taps)
    padded = np.pad(signal.astype(np.float64), ((width, width + old), (0, 0)))
    places = sliding_window_view(padded, len(reach), axis=0)[::old]  # (steps of `old`, channels, taps), a view
    steps = -(-new * len(signal) // old)
    out = np.empty((len(places) * new, signal.shape[1]))
    block = max(1, (1 << 22) // len(reach))  # places multiplied at a time, which bounds the memory of their copies
    for start in range(0, len(places), block):
        part = np.einsum("nct,pt->npc", places[start : start + block], taps, optimize=True)
        out[start * new : start * new + part.shape[0] * new] = part.reshape(-1, signal.shape[1])
    return out[:steps].astype(signal.dtype)


_BLOCK = 1 << 20  # rows that are interpolated at a time


class Piece(NamedTuple):
    """A part of a signal without gaps, evenly sampled, that starts `start_s` seconds after the earliest time stamp."""

    start_s: float
    signal: np.ndarray


def regular_pieces(time_s: np.ndarray, signal: np.ndarray, rate_hz: float, max_gap_s: float = 0.5) -> list[Piece]:
    """Interpolate time-stamped rows linearly at evenly spaced times; long gaps separate pieces.

    Args:
        time_s: (time,), seconds, in any order; of rows with equal stamps the first counts.
        signal: (time, channels); rows with NaN count as missing.
        rate_hz: rate of the evenly spaced times; use the rate of the source, because nothing is filtered here.
        max_gap_s: the longest gap that is interpolated.

    Returns:
        The pieces in order of time; none if no row is finite.
    """
    stamped = np.isfinite(time_s)
    start_s = float(time_s[stamped].min()) if stamped.any() else 0.0  # of all rows, including those without a value
    keep = stamped
    for column in signal.T:
        keep = keep & np.isfinite(column)
    if not keep.all():
        time_s, signal = time_s[keep], signal[keep]
    if (np.diff(time_s) <= 0).any():
        time_s, first = np.unique(time_s, return_index=True)
        signal = signal[first]
    if len(time_s) == 0:
        return []
    pieces = []
    cuts = (np.flatnonzero(np.diff(time_s) > max(max_gap_s, 1.5 / rate_hz)) + 1).tolist()
    for first, end in pairwise([0, *cuts, len(time_s)]):
        stamps = time_s[first:end]
        steps = int((stamps[-1] - stamps[0]) * rate_hz + 0.5) + 1
        values = np.empty((steps, signal.shape[1]), np.float32)
        for begin in range(0, steps, _BLOCK):  # a block of one channel in double precision at a time
            clock = stamps[0] + np.arange(begin, min(begin + _BLOCK, steps)) / rate_hz
            low, high = np.searchsorted(stamps, clock[[0, -1]])
            near = slice(max(0, int(low) - 1), int(high) + 1)
            for number in range(signal.shape[1]):
                values[begin : begin + _BLOCK, number] = np.interp(clock, stamps[near], signal[first:end][near, number])
        pieces.append(Piece(float(stamps[0]) - start_s, values))
    return pieces


class Resampler:
    """Resamples a signal that arrives in chunks; the result does not depend on how it was cut, to the bit.

    The filter is that of `resample`. Deliberate difference: beyond its edges the signal keeps its first and its last value,
    since the line through both is not known before the end.

    Args:
        rate_hz: of the chunks.
        to_hz: the new rate. The ratio is rounded to the nearest fraction with a denominator up to 1,000.
        channels: of the signal.
    """

    def __init__(self, rate_hz: float, to_hz: float, channels: int) -> None:
        ratio = Fraction(to_hz / rate_hz).limit_denominator(1000)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._buffer = np.empty((0, channels))
        self._given = self._done = self._first = 0  # inputs given, outputs returned, and the buffer's first input
        if self._up == self._down:
            return
        half = 10 * max(self._up, self._down)
        steps = np.arange(-half, half + 1)
        taps = np.sinc(steps / max(self._up, self._down)) * np.kaiser(
            len(steps), 5.0
        )  # scipy.signal takes 0.1 s to import
        taps *= self._up / taps.sum()
        self._taps = np.concatenate(
            [np.zeros(-half % self._down), taps]
        )  # so that the delay is a whole number of outputs
        self._delay = (half + -half % self._down) // self._down
        self._before = -(-len(self._taps) // (self._up * self._down)) * self._down  # inputs that an output reads back

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Return the new values, (time, channels) float32, that no later chunk can change."""
        if self._up == self._down:
            return np.asarray(chunk, np.float32)
        if not len(chunk):
            return np.empty(chunk.shape, np.float32)
        chunk = np.asarray(chunk, np.float64)
        if not self._given:
            self._buffer = np.repeat(chunk[:1], self._before, axis=0)
            self._first = -self._before
        self._given += len(chunk)
        self._buffer = np.concatenate([self._buffer, chunk])
        return self._outputs((self._given * self._up - 1) // self._down + 1 - self._delay)

    def close(self) -> np.ndarray:
        """Return the rest, (time, channels) float32; in all, as many time steps as `resample` returns."""
        if self._up == self._down or not self._given:
            return np.empty((0, self._buffer.shape[1]), np.float32)
        ahead = -(-self._delay * self._down // self._up) + 1
        self._buffer = np.concatenate([self._buffer, np.repeat(self._buffer[-1:], ahead, axis=0)])
        return self._outputs(-(-self._given * self._up // self._down))

    def _outputs(self, stop: int) -> np.ndarray:
        """Return outputs from the first that was not returned up to `stop`; each is one sum in the order of the taps."""
        if stop <= self._done:
            return np.empty((0, self._buffer.shape[1]), np.float32)
        begin = (
            self._done + self._delay
        ) * self._down // self._up - self._before  # an input that comes before the taps
        begin = max(self._first, begin // self._down * self._down)
        self._buffer, self._first = self._buffer[begin - self._first :], begin
        shift = begin // self._down * self._up - self._delay  # outputs before the first of this buffer's
        from scipy.signal import upfirdn

        made = upfirdn(self._taps, self._buffer, self._up, self._down, axis=0)[self._done - shift : stop - shift]
        self._done = stop
        return np.asarray(made, np.float32)
