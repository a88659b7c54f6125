"""DeepConvLSTM encoder: convolutions over time with shared weights for all channels, then an LSTM."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class DeepConvLSTM(Encoder):
    """DeepConvLSTM.

    4 x (Conv1d 64, kernel 5, stride 1, no padding; ReLU) on each channel separately, with shared weights. Then an LSTM of 2
    layers with 128 units on the feature maps of all channels, with dropout before each layer. The feature vector is the
    output at the last time step after a Linear 128 -> 256.

    Source: Ordonez, Roggen, "Deep Convolutional and LSTM Recurrent Neural Networks for Multimodal Wearable Activity
    Recognition", Sensors 2016. The convolutions run over time only, so that the LSTM is the first layer that combines
    channels. Difference from the source: the last Linear, as in every encoder narrower than 256.

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        dropout: dropout rate before each layer of the LSTM.
    """

    min_steps = 4 * (5 - 1) + 1

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(channels, mean, std)
        self.dropout = dropout
        layers: list[nn.Module] = []
        for width_in in (1, 64, 64, 64):
            layers += [nn.Conv1d(width_in, 64, 5), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.drop = nn.Dropout(dropout)
        self.lstm = nn.LSTM(64 * channels, 128, num_layers=2, batch_first=True, dropout=dropout)
        self.project = nn.Linear(128, self.dim)

    def blocks(self) -> list[nn.Module]:
        """Return the four convolutions, the LSTM and the projection."""
        return [*list(self.convolutions)[::2], self.lstm, self.project]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, time - 16, 64 * channels). Each step depends on 17 time steps of the window."""
        maps = self.convolutions(self.standardise(x).flatten(0, 1)[:, None])
        return maps.unflatten(0, (x.shape[0], self.channels)).flatten(1, 2).transpose(1, 2)  # type: ignore[no-any-return]

    def context(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps dim"]:
        """Return (batch, time - 16, 256), for the objective `cpc`. Each step depends on the features up to its own."""
        return self.project(self.lstm(self.drop(features))[0])  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the context at the last time step."""
        return self.project(self.lstm(self.drop(features))[0][:, -1])  # type: ignore[no-any-return]
