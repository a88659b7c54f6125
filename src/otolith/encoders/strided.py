"""Strided encoder: convolutions with stride 2 and group normalisation; small, fast, and the default for few labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Strided(Encoder):
    """Three strided convolutions.

    Conv1d 64 (kernel 7), 128 (5) and 128 (3), each with stride 2, GroupNorm of 8 groups and GELU. The feature vector is the
    mean over time followed by the maximum over time: 256 numbers, or twice the last of other `widths`.

    Source: neither paper. The strides make it several times faster than `tpn`. GroupNorm does not depend on the batch, so
    that training and use do the same. The mean preserves the direction of gravity.

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        dropout: dropout rate after each convolution.
        widths: numbers of channels of the three convolutions, multiples of 8.

    Raises:
        ValueError: `widths` are not three positive multiples of 8.
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
            raise ValueError(f"widths are {self.widths}; expected three positive multiples of 8")
        self.dim = 2 * self.widths[-1]
        layers: list[nn.Module] = []
        for width_in, width, kernel in zip([channels, *self.widths], self.widths, (7, 5, 3), strict=False):
            convolution = nn.Conv1d(width_in, width, kernel, stride=2, padding=kernel // 2)
            layers += [convolution, nn.GroupNorm(8, width), nn.GELU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers)

    def blocks(self) -> list[nn.Module]:
        """Return the three convolutions, each with its normalisation."""
        return [self.convolutions[start : start + 4] for start in (0, 4, 8)]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, about time / 8, last width)."""
        return self.convolutions(self.standardise(x)).transpose(1, 2)  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return mean and maximum over time."""
        return torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)
