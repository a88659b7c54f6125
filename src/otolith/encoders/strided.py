"""Strided: convolutions that halve time and normalise by group. Small, fast, and our choice for few labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Strided(Encoder):
    """Conv1d 64 (kernel 7), 128 (5), 128 (3), each with stride 2, GroupNorm of 8 groups and GELU; mean and maximum over
    time, side by side: 256 numbers, or twice the last of other `widths`.

    Not from either paper. Strides make it several times faster than `tpn`; GroupNorm behaves the same for two windows as
    for two hundred, in training and in use; the mean beside the maximum keeps the direction of gravity.

    Args:
        channels: of a window.
        mean: see `Encoder`.
        std: see `Encoder`.
        dropout: after each convolution.
        widths: of the three convolutions, multiples of 8.

    Raises:
        ValueError: widths that cannot be.
    """

    min_steps = 16

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dropout: float = 0.0,
        widths: Sequence[int] = (64, 128, 128),
    ) -> None:
        super().__init__(channels, mean, std)
        self.dropout, self.widths = dropout, list(widths)
        if len(self.widths) != 3 or any(width < 8 or width % 8 for width in self.widths):
            raise ValueError(f"widths are {self.widths}; expected three multiples of 8")
        self.dim = 2 * self.widths[-1]
        layers: list[nn.Module] = []
        for width_in, width, kernel in zip([channels, *self.widths], self.widths, (7, 5, 3), strict=False):
            convolution = nn.Conv1d(width_in, width, kernel, stride=2, padding=kernel // 2)
            layers += [convolution, nn.GroupNorm(8, width), nn.GELU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers)

    def blocks(self) -> list[nn.Module]:
        """The three convolutions, each with its normalisation."""
        return [self.convolutions[start : start + 4] for start in (0, 4, 8)]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """(batch, about time / 8, the last width)."""
        return self.convolutions(self.standardise(x)).transpose(1, 2)  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Mean and maximum over time."""
        return torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)
