"""CPC encoder: convolutions with one feature vector per time step, and a GRU that accumulates the past."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class CPC(Encoder):
    """Encoder of contrastive predictive coding.

    3 x (Conv1d, reflect padding, no bias; ReLU; dropout) with 32, 64 and 128 channels, then a GRU of 2 layers with 256
    units. The feature vector is the output of the GRU at the last step. As published, the convolutions have stride 1, and
    the GRU takes most of the time; with `strides=(2, 2, 1)` it runs over a quarter of the steps.

    Source: Haresamudram, Essa, Ploetz, "Contrastive Predictive Coding for Human Activity Recognition", IMWUT 2021;
    Fortes Rey et al. 2023 (arXiv 2307.01168).

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        kernel: kernel size of the convolutions; odd.
        dropout: dropout rate after each convolution and between the layers of the GRU.
        strides: of the three convolutions. `future_steps` of the objective `cpc` count their outputs.

    Raises:
        ValueError: `kernel` is not a positive odd number, or `strides` are not three positive numbers.
    """

    min_steps = 4

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        kernel: int = 3,
        dropout: float = 0.2,
        strides: Sequence[int] = (1, 1, 1),
    ) -> None:
        super().__init__(channels, mean, std)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"kernel is {kernel}; expected a positive odd number, so that features stay aligned with time steps"
            )
        if len(strides) != 3 or min(strides) < 1:
            raise ValueError(f"strides is {strides}; expected three positive numbers, one per convolution")
        self.kernel, self.dropout, self.strides = kernel, dropout, tuple(strides)
        # Reflect padding must be shorter than what each convolution is given.
        self.min_steps = max(CPC.min_steps, (kernel // 2) * strides[0] * strides[1] + 1)
        layers: list[nn.Module] = []
        for width_in, width, stride in zip((channels, 32, 64), (32, 64, 128), strides, strict=True):
            convolution = nn.Conv1d(
                width_in, width, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=False
            )
            layers += [convolution, nn.ReLU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers)
        self.gru = nn.GRU(128, self.dim, num_layers=2, batch_first=True, dropout=dropout)

    def blocks(self) -> list[nn.Module]:
        """Return the three convolutions, then the GRU."""
        return [*list(self.convolutions)[::3], self.gru]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, time over the product of the strides, 128): z in the paper."""
        return self.convolutions(self.standardise(x)).transpose(1, 2)  # type: ignore[no-any-return]

    def context(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps dim"]:
        """Return (batch, steps, 256): c in the paper. Each step depends on the features up to its own."""
        return self.gru(features)[0]  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the context at the last time step."""
        return self.context(features)[:, -1]
