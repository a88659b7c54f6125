"""Losses of contrastive objectives: functions over plain tensors, the same on one device and on many."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, in order of rank. The gradient of each rank's rows is summed over ranks on its way back; with the
    mean over ranks that distributed training takes of parameter gradients, training equals one device on the joint batch
    (a plain all_reduce has no backward, a well-known way to get gradients wrong by the number of ranks).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # the incoming one is not ours to change
        dist.all_reduce(gradient)
        first = dist.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


def gather_rows(x: Float[Tensor, "batch width"]) -> Float[Tensor, "joint width"]:
    """The rows of all devices, with gradient; `x` itself on one device. All devices must hold equally many rows."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return _GatherRows.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return x


def gather_joint(*parts: Float[Tensor, "batch _"]) -> tuple[Float[Tensor, "joint _"], ...]:
    """The rows of all devices of each tensor, with gradient, in one exchange; the tensors themselves on one device.

    Rows come in the order of the joint batch, which the training loop deals out in turn: the first rows of all devices, then
    their second ones. All devices must hold equally many rows.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return parts
    rows: Tensor = gather_rows(torch.cat(parts, dim=1))
    rows = rows.unflatten(0, (dist.get_world_size(), -1)).transpose(0, 1).flatten(0, 1)
    return tuple(torch.split(rows, [part.shape[1] for part in parts], dim=1))


def nt_xent(
    one: Float[Tensor, "batch width"], two: Float[Tensor, "batch width"], temperature: float
) -> Float[Tensor, ""]:
    """Normalised-temperature cross-entropy: each of the 2 B views must find the other view of its window among the
    2 B - 1 other views. About log(2 B - 1) for random vectors.

    Source: Chen et al., SimCLR, ICML 2020, eq. 1; mean over the 2 B views.

    Raises:
        ValueError: fewer than 2 windows, so that there is nothing to tell apart.
    """
    views = F.normalize(torch.cat([gather_rows(one), gather_rows(two)]).float(), dim=1)
    count = len(views) // 2
    if count < 2:
        raise ValueError("a contrastive loss needs at least 2 windows in a batch")
    similarity = views @ views.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarity, partner)


def info_nce(query: Float[Tensor, "*tasks batch width"], key: Float[Tensor, "*tasks batch width"]) -> Float[Tensor, ""]:
    """Each row of `query` must find its own row of `key` among all rows, by dot product; mean over rows and over tasks.
    About log(batch) for random vectors.

    Source: van den Oord, Li, Vinyals 2018 (arXiv 1807.03748), eq. 4 with a log-bilinear score.
    """
    scores = query @ key.transpose(-1, -2)
    own = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape[:-1])
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), own.reshape(-1))


def symmetric_info_nce(
    query: Float[Tensor, "batch width"],
    key: Float[Tensor, "*tasks batch width"],
    temperature: Float[Tensor, ""] | float,
    counted: Bool[Tensor, "*tasks batch"] | None = None,
    exists: Bool[Tensor, "*tasks batch"] | None = None,
) -> Float[Tensor, ""]:
    """Each row of `query` must find its own row of `key`, and each row of `key` its own of `query`, by cosine over
    temperature: the sum of both cross-entropies. About 2 log(batch) for random vectors.

    Source: as in CLIP (Radford et al., ICML 2021), but the sum of both directions, not their mean, as in PRIMUS (Das et al.,
    ICASSP 2025) as published, whose temperature divides.

    Args:
        query: not normalised.
        key: not normalised; several tasks share the queries.
        temperature: divides the cosines.
        counted: rows whose loss counts: the mean is over these, of all tasks together, and 0, with gradient, if there are
            none. The others remain as negatives. None: all.
        exists: false for rows of `key` that are none, and so neither positive nor negative of any query; they must not be
            counted. None: all are.

    Raises:
        ValueError: fewer than 2 windows, so that there is nothing to tell apart.
    """
    if len(query) < 2:
        raise ValueError("a contrastive loss needs at least 2 windows in a batch")
    scores = F.normalize(query.float(), dim=-1) @ F.normalize(key.float(), dim=-1).transpose(-1, -2) / temperature
    own = scores.diagonal(dim1=-2, dim2=-1)
    # -1e4 instead of -inf: it is as good as 0 after exp, and rows that find nothing at all remain finite
    found = scores if exists is None else scores.masked_fill(~exists[..., None, :], -1e4)
    loss = found.logsumexp(dim=-1) + scores.logsumexp(dim=-2) - 2 * own
    if counted is None:
        return loss.mean()
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)
