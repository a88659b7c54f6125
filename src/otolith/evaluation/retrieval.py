"""Cross-modal retrieval between motion and other modalities: recall@k and its chance level."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

AT = (1, 5, 10)
"""How many candidates a recall looks at."""


class Retrieval(NamedTuple):
    """Recalls of a search in both directions, and what drawing by lot would give.

    Attributes:
        windows: how many windows.
        keys: how many distinct vectors of the other modality; windows of the same words share one.
        there: from a window to its vector among the distinct ones: share of windows, at 1, 5, 10.
        there_by_lot: the same by lot.
        back: from a distinct vector to any of its windows among all: share of vectors, at 1, 5, 10.
        back_by_lot: the same by lot.
    """

    windows: int
    keys: int
    there: tuple[float, ...]
    there_by_lot: tuple[float, ...]
    back: tuple[float, ...]
    back_by_lot: tuple[float, ...]


def retrieval(query: Float[Tensor, "windows dim"], key: Float[Tensor, "windows dim"]) -> Retrieval:
    """Recall at 1, 5 and 10 by cosine, both ways.

    Equal keys are one candidate: a window that finds its words has found them, whichever window's copy they are; and words
    find a window as soon as any window of these words is among the first. A tie counts as found.

    Args:
        query: of the windows, from the head into the other modality's space.
        key: the other modality's vector of each window.

    Raises:
        ValueError: no windows, or sizes that differ.
    """
    if len(query) != len(key) or not len(key) or query.shape[1] != key.shape[1]:
        raise ValueError(
            f"queries {tuple(query.shape)} and keys {tuple(key.shape)}; expected two of the same, not empty"
        )
    distinct, own, count = torch.unique(key.cpu(), dim=0, return_inverse=True, return_counts=True)
    left = F.normalize(query.cpu().double(), dim=1)
    right = F.normalize(distinct.double(), dim=1)
    rows, mine = torch.arange(len(left)), (left * right[own]).sum(dim=1)
    better = torch.zeros(len(left), dtype=torch.long)  # keys nearer to a window than its own
    first = torch.full((len(right),), -2.0, dtype=torch.float64)
    first.scatter_reduce_(0, own, mine, "amax")  # the nearest of a key's own windows
    before = torch.zeros(len(right), dtype=torch.long)  # windows of other keys nearer to a key than that
    for block in torch.arange(len(right)).split(1024):
        cosine = left @ right[block].T
        inside = (own >= block[0]) & (own <= block[-1])
        cosine[rows[inside], own[inside] - block[0]] = -2.0
        better += (cosine > mine[:, None]).sum(dim=1)
        before[block] = (cosine > first[block]).sum(dim=0)
    windows, keys = len(left), len(right)
    others = (windows - count).double()
    missed = [
        torch.stack([(others - t).clamp_min(0) / (windows - t) for t in range(min(k, windows))]).prod(0) for k in AT
    ]
    return Retrieval(
        windows,
        keys,
        tuple(float((better < k).double().mean()) for k in AT),
        tuple(min(k, keys) / keys for k in AT),
        tuple(float((before < k).double().mean()) for k in AT),
        tuple(float(1 - part.mean()) for part in missed),
    )
