"""Transformer encoder: self-attention between short patches of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Transformer(Encoder):
    """Transformer on patches.

    A Conv1d embeds each patch of 5 time steps in 128 dimensions; sinusoidal positions are added. Then 4 pre-LayerNorm layers
    of self-attention (4 heads) and a feed-forward network (512 units), each with a shortcut; LayerNorm; mean over time;
    Linear 128 -> 256.

    Source: Vaswani et al., NeurIPS 2017, for attention and positions, which fit windows of any length; Xiong et al., ICML
    2020 (arXiv 2002.04745), for LayerNorm before each part, which needs no warm-up of the learning rate; Dosovitskiy et al.,
    ICLR 2021, for patches. The sizes are choices of this project, because neither paper on pretraining gives any.

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        patch_steps: time steps per patch; an incomplete last patch is ignored.
        dropout: dropout rate of the embedded patches, the attention weights and the output of each part.

    Raises:
        ValueError: `patch_steps` is less than 1.
    """

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        patch_steps: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, mean, std)
        if patch_steps < 1:
            raise ValueError(f"patch_steps is {patch_steps}; expected at least 1")
        self.patch_steps, self.dropout = patch_steps, dropout
        self.min_steps = 2 * patch_steps  # attention needs at least two patches
        self.patches = nn.Conv1d(channels, 128, patch_steps, stride=patch_steps)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.Sequential(*(_Layer(128, 4, dropout) for _ in range(4)))
        self.norm = nn.LayerNorm(128)
        self.project = nn.Linear(128, self.dim)

    def blocks(self) -> list[nn.Module]:
        """Return the patch embedding, the four layers, then the last normalisation and the projection."""
        return [self.patches, *self.layers, nn.Sequential(self.norm, self.project)]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, time / patch_steps, 128)."""
        patches = self.patches(self.standardise(x)).transpose(1, 2)
        return self.norm(self.layers(self.drop(patches + _positions(patches))))  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the projection of the mean over time."""
        return self.project(features.mean(dim=1))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """A pre-LayerNorm layer: self-attention, then a feed-forward network, both with a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_one, self.norm_two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)  # `mix` gives query, key and value
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps width"]:
        # (batch, steps, 3 * width) -> three of (batch, heads, steps, width / heads)
        query, key, value = self.mix(self.norm_one(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        x = x + self.drop(self.out(seen.transpose(1, 2).flatten(2)))
        return x + self.drop(self.network(self.norm_two(x)))  # type: ignore[no-any-return]


def _positions(like: Float[Tensor, "batch steps width"]) -> Float[Tensor, "steps width"]:
    """Return sinusoidal positions: sines and cosines of the step number at wavelengths from 2 pi to 20,000 pi steps."""
    _, steps, width = like.shape
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000) / width))
    angle = torch.arange(steps, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)
