"""NextHalf: tell which second half of a window follows a first half, among those of the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives import Objective


class NextHalf(Objective):
    """Contrast the two halves of each window with those of the other windows (InfoNCE, van den Oord et al. 2018).

    Args:
        encoder: the encoder to pretrain.
        width: width of the projection.
        temperature: temperature of the similarities.
    """

    kept = ("head",)

    def __init__(self, encoder: Encoder, width: int = 64, temperature: float = 0.1) -> None:
        super().__init__(encoder)
        self.width, self.temperature = width, temperature
        self.head = nn.Linear(encoder.dim, width)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return `next_half`: the cross-entropy of finding the second half of each window."""
        middle = batch.x.shape[2] // 2
        first, second = (
            F.normalize(self.head(self.encoder(half)), dim=1) for half in (batch.x[..., :middle], batch.x[..., middle:])
        )
        similarity = first @ second.T / self.temperature
        return {"next_half": F.cross_entropy(similarity, torch.arange(len(first), device=similarity.device))}
