"""Draw the windows of an epoch, and gather batches ahead of the training step.

A `Batch` has no field for labels, so no objective can read them.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from otolith.data.windows import Windows


class Batch(NamedTuple):
    """Windows for an objective.

    Attributes:
        x: (batch, channels, time), in the store's units (g, rad/s).
        subject: (batch,) number of the subject.
        paired: embeddings of other modalities by name, each (batch, dim).
        present: by the same names, which rows have an embedding, each (batch,).
    """

    x: Float[Tensor, "batch channels time"]
    subject: Int[Tensor, " batch"]
    paired: dict[str, Tensor]
    present: dict[str, Tensor]


_AHEAD = 1024  # windows gathered at a time
_PIECE = 1 << 20  # keys computed at a time

Draw = Literal["uniform", "subject", "placement", "variance"]


def weights(windows: Windows, draw: Draw) -> Float[Tensor, " windows"]:
    """Return the (windows,) unnormalised sampling probability of each window, float64.

    `uniform`: equal for all windows. `subject`: equal for all subjects, whatever the duration of their recordings.
    `placement`: equal for all placements of all subjects, so that a subject with sensors at two places counts twice.
    `variance`: the sum over channels of the variance of the window (Fortes Rey et al. 2023, arXiv 2307.01168); a window
    without movement is never drawn. If the store does not know the variances, they are computed from the signal.
    """
    if draw == "uniform":
        return torch.ones(len(windows), dtype=torch.float64)
    if draw == "subject":
        subject = torch.from_numpy(windows.subject)
        return 1.0 / torch.bincount(subject)[subject].to(torch.float64)
    if draw == "placement":
        if windows.placement is None:
            raise ValueError(
                "draw is 'placement', but these windows do not say where their sensor was worn; use 'subject'"
            )
        place = np.unique(windows.placement, return_inverse=True)[1].reshape(-1)
        group = torch.from_numpy(windows.subject * (place.max() + 1) + place)
        return 1.0 / torch.bincount(group)[group].to(torch.float64)
    if windows.variance is not None:
        return torch.from_numpy(windows.variance).to(torch.float64)
    blocks = torch.arange(len(windows), device=windows.offset.device).split(4096)
    spread = [windows.gather(block).var(dim=2, correction=0).sum(dim=1) for block in blocks]
    return torch.cat(spread).to("cpu", torch.float64)


def draw_windows(
    weight: Float[Tensor, " windows"], count: int, *, generator: torch.Generator, replacement: bool = False
) -> Int[Tensor, " drawn"]:
    """Draw window numbers in random order, with probability proportional to weight.

    Without replacement, each draw is proportional to the weights of what is left: the windows with the largest sums of log
    weight and Gumbel noise are drawn (Vieira 2014), in float64, where equal keys are very rare. The keys are computed in
    place and in pieces, and only the largest are sorted. With replacement, the cumulative weights are inverted.

    Args:
        weight: unnormalised probabilities; 0 is never drawn.
        count: number of draws; without replacement, fewer if fewer windows have a positive weight.
        generator: random generator.
        replacement: whether a window can be drawn more than once.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    if not bool((weight >= 0).all() and (weight < math.inf).all()):
        raise ValueError("a sampling weight is negative or not finite")
    possible = int((weight > 0).sum())
    if possible == 0:
        raise ValueError("every window has weight 0: no signal moves, so nothing can be drawn by variance")
    if replacement:
        cumulated = (weight / weight.max()).cumsum_(0)
        place = torch.rand(count, generator=generator, dtype=torch.float64) * cumulated[-1]
        # A place that was rounded up to the end belongs to the last window with a positive weight.
        last = int(torch.searchsorted(cumulated, cumulated[-1]))
        return torch.searchsorted(cumulated, place, right=True).clamp_max(last)
    key = torch.rand(len(weight), generator=generator, dtype=torch.float64)
    for noise, own in zip(key.split(_PIECE), weight.split(_PIECE), strict=True):
        noise.clamp_min_(1e-300).log_().neg_().log_().neg_().add_(own.log())
    left = len(key) - max(1, min(count, possible))
    rough = key.to(torch.float32).numpy()  # rounding keeps the order: the drawn ones are among the roughly largest
    rough.partition(left)
    drawn = (key >= float(np.nextafter(rough[left], -np.float32(np.inf)))).nonzero()[:, 0]
    return drawn[key[drawn].argsort(descending=True)[:count]]


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu", device_seed: int | None = None) -> Iterator[None]:
    """Seed torch on the CPU and on `device` inside the block, and restore the earlier states of its generators after it.

    Args:
        seed: seed of the CPU's generator, and of the device's generator unless `device_seed` is given.
        device: only a CUDA device has a generator of its own.
        device_seed: seed of the device's generator.
    """
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(seed)
        for own in cuda:
            with torch.cuda.device(own):
                torch.cuda.manual_seed(seed if device_seed is None else device_seed)
        yield


def memory_bytes() -> int:
    """Return the memory that this process may use in bytes: that of the machine, or the limit of its control group (of a
    container or a batch job) if that is lower; 0 if the system does not tell (Windows)."""
    if os.name == "nt":
        return 0
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_control_group_limits()])


def _control_group_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return the limits of memory of this process's control groups, of version 1 and 2; empty where there are none."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    files = []
    for _, controllers, place in lines:
        if not controllers or controllers == "memory":
            base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
            group = base / place.lstrip("/")
            files += [folder / name for folder in (group, *group.parents) if folder.is_relative_to(base)]
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [int(text) for text in texts if text.isdecimal()]


def batches(
    windows: Windows, order: Int[Tensor, " drawn"], batch_size: int, *, device: torch.device
) -> Iterator[Batch]:
    """Yield batches of the windows in `order`; the last one may be smaller.

    Several batches are gathered at a time. If the values are on `device` (on the CPU: a corpus smaller than half the
    memory), gathering takes microseconds per batch and happens when the caller asks for it. Otherwise a thread gathers
    ahead while the caller trains, which hides the time of the disk or the transfer.
    """
    subject = torch.from_numpy(windows.subject)
    ahead = max(1, _AHEAD // batch_size) * batch_size

    def gather(index: Tensor) -> list[Batch]:
        where = index.to(windows.offset.device)
        parts = [
            windows.gather(where).to(device, non_blocking=True).split(batch_size),
            subject[index].to(device, non_blocking=True).split(batch_size),
        ]
        paired, present = (
            {name: rows[where].to(device).split(batch_size) for name, rows in table.items()}
            for table in (windows.paired, windows.present)
        )
        return [
            Batch(x, who, {n: rows[k] for n, rows in paired.items()}, {n: rows[k] for n, rows in present.items()})
            for k, (x, who) in enumerate(zip(*parts, strict=True))
        ]

    if len(order) == 0:
        return
    blocks = order.split(ahead)
    if windows.device == device and (device.type != "cpu" or windows.nbytes < memory_bytes() / 2):
        for block in blocks:
            yield from gather(block)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="otolith-gather") as pool:
        pending = pool.submit(gather, blocks[0])
        for block in blocks[1:]:
            ready, pending = pending.result(), pool.submit(gather, block)
            yield from ready
        yield from pending.result()
