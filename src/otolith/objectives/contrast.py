"""Contrastive losses as functions of tensors, with equal results on one and on several devices."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class _GatherRows(torch.autograd.Function):
    """Gather the rows of all ranks in order of rank, with gradient.

    The backward pass sums the gradient of each rank's rows over ranks. Distributed training then takes the mean of parameter
    gradients over ranks, so that the result equals training on one device with the joint batch. (A plain all_gather has no
    backward pass; ignoring this is a common cause of gradients that are wrong by the number of ranks.)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(
            memory_format=torch.contiguous_format
        )  # autograd forbids changing the incoming gradient
        dist.all_reduce(gradient)
        first = dist.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


def gather_rows(x: Float[Tensor, "batch width"]) -> Float[Tensor, "joint width"]:
    """Return the rows of all devices, with gradient, or `x` itself on one device. All devices need as many rows."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return _GatherRows.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return x


def gather_joint(*parts: Float[Tensor, "batch _"]) -> tuple[Float[Tensor, "joint _"], ...]:
    """Return the rows of all devices of each tensor with gradient, in one exchange, or the tensors themselves on one device.

    Rows come in the order of the joint batch, which the training loop distributes round-robin: the first rows of all
    devices, then their second rows. All devices need the same number of rows.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return parts
    rows: Tensor = gather_rows(torch.cat(parts, dim=1))
    rows = rows.unflatten(0, (dist.get_world_size(), -1)).transpose(0, 1).flatten(0, 1)
    return tuple(torch.split(rows, [part.shape[1] for part in parts], dim=1))


def nt_xent(
    one: Float[Tensor, "batch width"], two: Float[Tensor, "batch width"], temperature: float
) -> Float[Tensor, ""]:
    """Return the normalised temperature-scaled cross-entropy between two views of B windows.

    The positive of each of the 2 B views is the other view of its window; the negatives are the 2 B - 2 views of other
    windows. The loss is about log(2 B - 1) for random vectors.

    Source: Chen et al., SimCLR, ICML 2020, eq. 1; mean over the 2 B views.

    Raises:
        ValueError: there are fewer than 2 windows, hence no negatives.
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
    """Return InfoNCE: cross-entropy of classifying each row of `query` as its own row of `key`, by dot product.

    The loss is the mean over rows and tasks; it is about log(batch) for random vectors.

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
    """Return symmetric InfoNCE by cosine over temperature: cross-entropy of queries to keys plus that of keys to queries.

    The positive of each row of `query` is its own row of `key`, and the reverse. The loss is about 2 log(batch) for random
    vectors.

    Source: CLIP (Radford et al., ICML 2021), but with the sum of both directions instead of their mean, as in the published
    code of PRIMUS (Das et al., ICASSP 2025), where the temperature divides the cosines.

    Args:
        query: embeddings, not normalised.
        key: embeddings, not normalised; several tasks share the queries.
        temperature: divisor of the cosines.
        counted: rows whose loss counts. The loss is the mean over them, of all tasks together, or 0 with a gradient if there
            are none. The other rows remain as negatives. None: all rows.
        exists: False for missing rows of `key`, which are neither positive nor negative of any query and must not be
            counted. None: all rows exist.

    Raises:
        ValueError: there are fewer than 2 windows, hence no negatives.
    """
    if len(query) < 2:
        raise ValueError("a contrastive loss needs at least 2 windows in a batch")
    scores = F.normalize(query.float(), dim=-1) @ F.normalize(key.float(), dim=-1).transpose(-1, -2) / temperature
    own = scores.diagonal(dim1=-2, dim2=-1)
    # -1e4 instead of -inf: exp gives 0 too, and rows without any key remain finite
    found = scores if exists is None else scores.masked_fill(~exists[..., None, :], -1e4)
    loss = found.logsumexp(dim=-1) + scores.logsumexp(dim=-2) - 2 * own
    if counted is None:
        return loss.mean()
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)
