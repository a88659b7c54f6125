"""Blocks of a device file: what the walk of a file finds, and the time of each of their samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from otolith.formats.devices.device_file import Series

MOST_SAMPLES = 1 << 28  # a month at 100 Hz
CHUNK_SAMPLES = 1 << 20  # decoded at a time, so that memory stays bounded
_TOLERANCE = 0.1  # share of a block's duration by which the next block may begin early or late without a gap


class DamagedError(ValueError):
    """Bytes of a device file are missing or altered, so that a new copy may help."""


class Chunk(NamedTuple):
    """Consecutive blocks to decode together.

    Attributes:
        container: a whole file in the maker's layout that holds these blocks alone; empty where `decoded` is given.
        suffix: of the file's name.
        samples: how many the blocks hold.
        decoded: (samples, 3 or 6), in g and deg/s, where no library is needed.
        place: where in the file the blocks lie, for error messages.
    """

    container: bytes
    suffix: str
    samples: int
    decoded: np.ndarray | None
    place: str


@dataclasses.dataclass(eq=False)
class Survey:
    """What the walk of a file found, before any sample is decoded.

    Attributes:
        device: the model.
        rate_hz: as configured.
        channels: 3, or 6 with a gyroscope.
        starts_s: (blocks,) float64, time of each block's first sample, in seconds since 1970 on the device's clock.
        counts: (blocks,) int64, samples of each block.
        chunks: yields the blocks in order, several at a time.
        scale: (channels,) by which decoded values are multiplied.
        whole: whether decoded values before `scale` must be whole numbers of at most 12 bits.
        light_per_block: whether light is decoded with the samples, and averaged over each block.
        damaged: places of damaged blocks, which were left out.
        facts: name -> text.
        temperature: in seconds since 1970, as `light` and `battery`.
    """

    device: str
    rate_hz: float
    channels: int
    starts_s: np.ndarray
    counts: np.ndarray
    chunks: Callable[[], Iterator[Chunk]]
    scale: np.ndarray
    whole: bool = False
    light_per_block: bool = False
    damaged: tuple[str, ...] = ()
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    temperature: Series | None = None
    light: Series | None = None
    battery: Series | None = None


def steps_of_blocks(starts_s: np.ndarray, counts: np.ndarray, rate_hz: float) -> tuple[np.ndarray, float]:
    """Return the time between the samples of each block, and the rate over the long run.

    A block that ends where the next begins, to a tenth of its duration, is spread over the time to it: the clock of such
    devices runs a little fast or slow against the configured rate. The samples of other blocks, which a gap follows, have
    the median period of the blocks without one.

    Args:
        starts_s: (blocks,) time of first samples.
        counts: (blocks,) samples, at least one each.
        rate_hz: as configured.

    Raises:
        DamagedError: a block begins before the one before it has ended; the message gives its number.
    """
    duration = counts / rate_hz
    to_next = np.diff(starts_s)
    joined = np.abs(to_next - duration[:-1]) <= _TOLERANCE * duration[:-1]
    steps = np.divide(to_next, counts[:-1], where=joined, out=np.full(len(to_next), np.nan))
    whole = joined & (counts[:-1] >= 0.5 * np.median(counts))
    usual = float(np.sum(to_next[whole]) / np.sum(counts[:-1][whole])) if whole.any() else 1 / rate_hz
    steps = np.append(np.where(joined, steps, usual), usual)
    early = to_next < (counts[:-1] - 0.5) * steps[:-1]
    if early.any():
        block = int(np.argmax(early))
        raise DamagedError(
            f"its clock goes back: block {block + 2:,} begins {duration[block] - to_next[block]:.3g} s before block "
            f"{block + 1:,} ends"
        )
    return steps, 1 / usual


def sample_times(starts_s: np.ndarray, counts: np.ndarray, steps_s: np.ndarray) -> np.ndarray:
    """Return the (samples,) times of all samples of some blocks.

    Args:
        starts_s: (blocks,) time of the first samples.
        counts: (blocks,) samples.
        steps_s: (blocks,) time between samples.
    """
    firsts = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum())) - np.repeat(firsts, counts)
    return np.asarray(np.repeat(starts_s, counts) + within * np.repeat(steps_s, counts))


def runs_of_zeros(signal: np.ndarray, least: int) -> np.ndarray:
    """Return (time,) whether a row is in a run of at least `least` rows whose first three columns are exactly zero.

    Devices write zeros in idle sleep and where packets were lost; no sensor under gravity measures them so long.
    """
    zero = np.zeros(len(signal) + 2, bool)
    np.logical_not(signal[:, :3].any(axis=1), out=zero[1:-1])
    if not zero.any():
        return zero[1:-1]
    edges = np.flatnonzero(zero[1:] != zero[:-1])
    starts, stops = edges[::2], edges[1::2]
    long = stops - starts >= least
    change = np.zeros(len(signal) + 1, np.int8)
    change[starts[long]], change[stops[long]] = 1, -1
    return np.cumsum(change[:-1], dtype=np.int8).astype(bool)
