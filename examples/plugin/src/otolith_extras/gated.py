"""Gated: strided convolutions with gates, and mean and maximum over time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders import Encoder


class Gated(Encoder):
    """Three strided convolutions with gated linear units (Dauphin et al. 2017).

    Args:
        channels: number of channels per window.
        mean: mean per channel.
        std: standard deviation per channel.
        width: features per time step; the vector of a window has twice as many.
    """

    min_steps = 24

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        width: int = 64,
    ) -> None:
        super().__init__(channels, mean, std)
        self.width = width
        sizes = [channels, width, width, width]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, 2 * b, kernel_size=5, stride=2, padding=2), nn.GLU(dim=1))
            for a, b in itertools.pairwise(sizes)
        )
        self.dim = 2 * width

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return features over time, one for every eight time steps."""
        x = self.standardise(x)
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return mean and maximum over time."""
        return torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)

    def blocks(self) -> list[nn.Module]:
        """Return the three layers."""
        return list(self.layers)
