"""CPC encoder: convolutions with one feature vector per time step, and a GRU that accumulates the past."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class CPC(Encoder):
    """Encoder of contrastive predictive coding.

    3 x (Conv1d, stride 1, reflect padding, no bias; ReLU; dropout) with 32, 64 and 128 channels, then a GRU of 2 layers with
    256 units. The feature vector is the output of the GRU at the last time step.

    Source: Haresamudram, Essa, Ploetz, "Contrastive Predictive Coding for Human Activity Recognition", IMWUT 2021;
    Fortes Rey et al. 2023 (arXiv 2307.01168).

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        kernel: kernel size of the convolutions; odd.
        dropout: dropout rate after each convolution and between the layers of the GRU.

    Raises:
        ValueError: `kernel` is not a positive odd number.
    """

    min_steps = 4

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        kernel: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(channels, mean, std)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"kernel is {kernel}; expected a positive odd number, so that features stay aligned with time steps"
            )
        self.kernel, self.dropout = kernel, dropout
        self.min_steps = max(CPC.min_steps, kernel // 2 + 1)  # reflect padding must be shorter than the window
        layers: list[nn.Module] = []
        for width_in, width in ((channels, 32), (32, 64), (64, 128)):
            convolution = nn.Conv1d(width_in, width, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)
            layers += [convolution, nn.ReLU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers)
        self.gru = nn.GRU(128, self.dim, num_layers=2, batch_first=True, dropout=dropout)

    def blocks(self) -> list[nn.Module]:
        """Return the three convolutions, then the GRU."""
        return [*list(self.convolutions)[::3], self.gru]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch time width"]:
        """Return (batch, time, 128): z in the paper."""
        return self.convolutions(self.standardise(x)).transpose(1, 2)  # type: ignore[no-any-return]

    def context(self, features: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time dim"]:
        """Return (batch, time, 256): c in the paper. Each step depends on the features up to its own."""
        return self.gru(features)[0]  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch dim"]:
        """Return the context at the last time step."""
        return self.context(features)[:, -1]
