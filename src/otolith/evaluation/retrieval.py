"""Cross-modal retrieval between IMU windows and another modality: recall@k in both directions and its chance level."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

RECALL_AT = (1, 5, 10)
"""The values of k in recall@k."""


class Retrieval(NamedTuple):
    """Recall@k in both directions, and the chance level of each.

    Attributes:
        windows: number of windows.
        keys: number of distinct embeddings of the other modality; windows with the same text share one.
        imu_to_paired: share of windows whose own embedding is among the k most similar distinct ones, for k = 1, 5, 10.
        imu_to_paired_chance: the same for a random order.
        paired_to_imu: share of distinct embeddings with one of their own windows among the k most similar windows, for
            k = 1, 5, 10.
        paired_to_imu_chance: the same for a random order.
    """

    windows: int
    keys: int
    imu_to_paired: tuple[float, ...]
    imu_to_paired_chance: tuple[float, ...]
    paired_to_imu: tuple[float, ...]
    paired_to_imu_chance: tuple[float, ...]


def retrieval(query: Float[Tensor, "windows dim"], key: Float[Tensor, "windows dim"]) -> Retrieval:
    """Return recall@1, @5 and @10 by cosine similarity, in both directions.

    Equal keys are one candidate: a window retrieves its text whichever window's copy of the text it is, and a text retrieves
    a window if any of its windows is among the first k. A tie counts as retrieved.

    Args:
        query: embeddings of the windows, projected into the other modality's space.
        key: the other modality's embedding of each window.

    Raises:
        ValueError: there are no windows, or the shapes differ.
    """
    if len(query) != len(key) or not len(key) or query.shape[1] != key.shape[1]:
        raise ValueError(
            f"queries have the shape {tuple(query.shape)} and keys {tuple(key.shape)}; expected equal shapes with at least "
            "one window"
        )
    distinct, own, count = torch.unique(key.cpu(), dim=0, return_inverse=True, return_counts=True)
    left = F.normalize(query.cpu().double(), dim=1)
    right = F.normalize(distinct.double(), dim=1)
    rows, mine = torch.arange(len(left)), (left * right[own]).sum(dim=1)
    better = torch.zeros(len(left), dtype=torch.long)  # keys that are more similar to a window than its own key
    first = torch.full((len(right),), -2.0, dtype=torch.float64)
    first.scatter_reduce_(0, own, mine, "amax")  # the highest similarity of a key to one of its own windows
    before = torch.zeros(len(right), dtype=torch.long)  # windows of other keys that are more similar to a key than that
    for block in torch.arange(len(right)).split(1024):
        cosine = left @ right[block].T
        inside = (own >= block[0]) & (own <= block[-1])
        cosine[rows[inside], own[inside] - block[0]] = -2.0
        better += (cosine > mine[:, None]).sum(dim=1)
        before[block] = (cosine > first[block]).sum(dim=0)
    windows, keys = len(left), len(right)
    others = (windows - count).double()
    missed = [
        torch.stack([(others - t).clamp_min(0) / (windows - t) for t in range(min(k, windows))]).prod(0)
        for k in RECALL_AT
    ]
    return Retrieval(
        windows,
        keys,
        tuple(float((better < k).double().mean()) for k in RECALL_AT),
        tuple(min(k, keys) / keys for k in RECALL_AT),
        tuple(float((before < k).double().mean()) for k in RECALL_AT),
        tuple(float(1 - part.mean()) for part in missed),
    )
