"""Transformer: short patches of a window attend to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Transformer(Encoder):
    """A Conv1d makes 128 numbers of each patch of 5 time steps; sinusoidal positions are added; 4 layers, each of attention
    with 4 heads and of a network 512 wide, both after a LayerNorm and beside a shortcut; LayerNorm; mean over time;
    Linear 128 -> 256.

    Source: Vaswani et al., NeurIPS 2017, for attention and positions, which fit windows of any length; LayerNorm first as in
    Xiong et al., ICML 2020 (arXiv 2002.04745), which needs no warm-up of the learning rate, and the loop has none; patches
    as in Dosovitskiy et al., ICLR 2021. The sizes are ours: neither paper on pretraining gives any.

    Args:
        channels: of a window.
        mean: see `Encoder`.
        std: see `Encoder`.
        patch_steps: time steps of a patch; those that do not fill a last one are not seen.
        dropout: on positions, attention, and what each layer adds.
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
        self.min_steps = 2 * patch_steps  # with one patch there is nothing to attend to
        self.patches = nn.Conv1d(channels, 128, patch_steps, stride=patch_steps)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.Sequential(*(_Layer(128, 4, dropout) for _ in range(4)))
        self.norm = nn.LayerNorm(128)
        self.project = nn.Linear(128, self.dim)

    def blocks(self) -> list[nn.Module]:
        """The patches, the four layers, then the last normalisation and the projection."""
        return [self.patches, *self.layers, nn.Sequential(self.norm, self.project)]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """(batch, time / patch_steps, 128)."""
        patches = self.patches(self.standardise(x)).transpose(1, 2)
        return self.norm(self.layers(self.drop(patches + _positions(patches))))  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """The mean over time, projected."""
        return self.project(features.mean(dim=1))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """Attention, then a network for each step by itself; each adds to what it was given."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_one, self.norm_two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)  # query, key and value side by side
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
    """Sines and cosines of each step's number, at wavelengths from 2 pi to 20,000 pi steps."""
    _, steps, width = like.shape
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000) / width))
    angle = torch.arange(steps, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)
