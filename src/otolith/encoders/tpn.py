"""TPN encoder: three convolutions and a maximum over time, used by multi-task HAR and SimCLR for HAR."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class TPN(Encoder):
    """Transformation prediction network.

    Conv1d 32 (kernel 24), 64 (16) and 96 (8), stride 1, no padding, each with ReLU and dropout; maximum over time; Linear
    96 -> 256.

    Source: Saeed, Ozcelebi, Lukkien, "Multi-task Self-Supervised Learning for Human Activity Detection", IMWUT 2019;
    Tang et al. 2020 (arXiv 2011.11542). Difference from the source: the last Linear, as in every encoder narrower than
    256.

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        dropout: dropout rate after each convolution.
    """

    min_steps = 24 + 16 + 8 - 2

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, mean, std)
        self.dropout = dropout
        layers: list[nn.Module] = []
        for width_in, width, kernel in ((channels, 32, 24), (32, 64, 16), (64, 96, 8)):
            layers += [nn.Conv1d(width_in, width, kernel), nn.ReLU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers)
        self.project = nn.Linear(96, self.dim)

    def blocks(self) -> list[nn.Module]:
        """Return the three convolutions, then the projection."""
        return [*list(self.convolutions)[::3], self.project]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, time - 45, 96)."""
        return self.convolutions(self.standardise(x)).transpose(1, 2)  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the projection of the maximum over time."""
        return self.project(features.amax(dim=1))  # type: ignore[no-any-return]
