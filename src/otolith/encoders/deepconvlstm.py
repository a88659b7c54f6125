"""DeepConvLSTM: convolutions over time, the same for every channel, and an LSTM over what they found."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class DeepConvLSTM(Encoder):
    """4 x (Conv1d 64, kernel 5, stride 1, no padding; ReLU) on each channel by itself, with shared weights; LSTM of 2 layers
    with 128 units on all channels' maps, with dropout before each; a window's vector is its last time step, through a
    Linear 128 -> 256.

    Source: Ordonez, Roggen, "Deep Convolutional and LSTM Recurrent Neural Networks for Multimodal Wearable Activity
    Recognition", Sensors 2016: its convolutions run over time alone, so channels first meet in the LSTM. The last Linear
    is ours, as in every encoder narrower than 256.

    Args:
        channels: of a window.
        mean: see `Encoder`.
        std: see `Encoder`.
        dropout: before each layer of the LSTM.
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
        """The four convolutions, the LSTM, the projection."""
        return [*list(self.convolutions)[::2], self.lstm, self.project]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """(batch, time - 16, 64 * channels); each step has seen 17 of the window's."""
        maps = self.convolutions(self.standardise(x).flatten(0, 1)[:, None])
        return maps.unflatten(0, (len(x), self.channels)).flatten(1, 2).transpose(1, 2)  # type: ignore[no-any-return]

    def context(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps dim"]:
        """(batch, time - 16, 256), for the objective `cpc`; each step has seen the features up to its own."""
        return self.project(self.lstm(self.drop(features))[0])  # type: ignore[no-any-return]

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """The context at the last time step."""
        return self.project(self.lstm(self.drop(features))[0][:, -1])  # type: ignore[no-any-return]
