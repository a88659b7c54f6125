"""Train a classifier's network on windows: batches, losses, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.classifiers.heads import _Beside
from otolith.data.augment import augment
from otolith.data.sampling import Batch
from otolith.data.windows import Windows
from otolith.encoders import Encoder
from otolith.objectives import Objective

Examples = Windows | np.ndarray | Tensor
"""Windows, or an array (windows, channels, time) in the store's units."""

_SCORED = 1024  # windows a forward pass when nothing is trained


def embed(
    encoder: Encoder, windows: Windows, *, statistics: bool = False, device: str = "cpu"
) -> Float[Tensor, "windows dim"]:
    """Features of all windows, in eval mode and without gradients, on the CPU; `statistics` puts `log_features` beside."""
    body = _Beside(encoder) if statistics else encoder
    with torch.no_grad():
        return _batched(body.to(device).eval(), windows, torch.device(device)).cpu()


def _labels(examples: Examples, y: Any) -> np.ndarray:
    if y is None:
        if not isinstance(examples, Windows) or examples.y is None:
            raise ValueError("no labels: pass y, or windows that carry them")
        return examples.y
    return np.asarray(y)


def _taker(
    examples: Examples, device: torch.device, augmentations: Sequence[Mapping[str, Any]] = ()
) -> Callable[[Tensor], Tensor]:
    """A function from row numbers to the windows of those rows, on `device`, augmented."""
    if isinstance(examples, Windows):
        return lambda index: augment(examples.gather(index.to(examples.offset.device)).to(device), augmentations)
    x = torch.as_tensor(examples, dtype=torch.float32)
    if x.ndim != 3:
        raise ValueError(f"windows are {tuple(x.shape)}; expected (windows, channels, time)")
    return lambda index: augment(x[index.to(x.device)].to(device), augmentations)


def _pretext(objective: Objective, examples: Examples, batch_size: int, device: torch.device) -> Callable[[], Tensor]:
    """A function that gives the objective's loss on a batch of these windows, drawn anew each time."""
    take = _taker(examples, device)

    def loss() -> Tensor:
        rows = torch.randperm(len(examples))[:batch_size]
        nobody = torch.zeros(len(rows), dtype=torch.long, device=device)
        return torch.stack(list(objective(Batch(take(rows), nobody, {}, {})).values())).sum()

    return loss


def _batched(module: nn.Module, examples: Examples, device: torch.device) -> Tensor:
    return _in_parts(module, _taker(examples, device), len(examples))


def _in_parts(module: nn.Module, take: Callable[[Tensor], Tensor], count: int) -> Tensor:
    return torch.cat([module(take(index)) for index in torch.arange(count).split(_SCORED)])


@torch.no_grad()
def _loss(model: nn.Module, take: Callable[[Tensor], Tensor], target: Tensor, keep: str = "loss") -> float:
    """Mean cross-entropy, or the share of errors where accuracy decides."""
    parts = []
    for index in torch.arange(len(target), device=target.device).split(_SCORED):
        logits = model(take(index))
        if keep == "accuracy":
            parts.append((logits.argmax(dim=1) != target[index]).sum())
        else:
            parts.append(F.cross_entropy(logits, target[index], reduction="sum"))
    return float(torch.stack(parts).sum()) / len(target)


def _array(examples: Examples) -> np.ndarray:
    return examples.array().numpy() if isinstance(examples, Windows) else np.asarray(examples)
