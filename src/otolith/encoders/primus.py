"""PRIMUS encoder: three convolutions without activation, and a GRU over channels (as published) or over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Primus(Encoder):
    """The encoder of PRIMUS.

    GroupNorm; Conv1d 32 (kernel 10, dilation 2) and two Conv1d 32 of kernel 5 and dilation 2, all without bias, padding or
    activation. The first two convolutions have MaxPool of 3, the last has adaptive average pooling to 32 bins. Then
    GroupNorm of 4 groups and a GRU, whose last hidden state is the feature vector.

    As published, the GRU gets (batch, 32 channels, 32 bins) and so steps **over channels**: each step of its input is one
    convolution channel with its 32 bins. `over="time"` is the variant whose steps are the bins. Both variants have weights
    of the same number and shapes, so that only this argument tells which variant a file of weights belongs to.

    The first layer normalises each window separately. A scale and an offset that are common to the axes of one sensor
    therefore have no effect: units do not matter, nor do `mean` and `std` unless they differ between those axes. So the
    encoder knows neither the strength of a movement nor all of the direction of gravity. `normalisation="corpus"` is the
    variant that standardises by the mean and standard deviation of the training windows, as other encoders do.

    Source: Das, Tang, Kawsar, Malekzadeh, "PRIMUS: Pretraining IMU Encoders with Multimodal Self-Supervision", ICASSP 2025
    (arXiv 2411.15127), and the architecture of its published weights, which have 6 channels. Additions to the source: other
    numbers of channels, groups and widths, `over="time"`, `normalisation="corpus"` and dropout.

    Args:
        channels: number of channels per window; as published 6: ax ay az gx gy gz.
        mean: means of the channels, see `Encoder`; the published weights need 0.
        std: standard deviations of the channels, see `Encoder`; the published weights need 1.
        width: number of units of the GRU, and dimension of the feature vector.
        over: what the GRU steps over; the published weights need "channels".
        groups: number of groups of channels that the first layer normalises together. None: groups of three axes, as
            published, if `channels` is a multiple of three; otherwise one group.
        dropout: dropout rate of the GRU's input; as published 0.
        normalisation: by the values of each "window", as published, or by those of the "corpus": then the first layer and
            `groups` do nothing.

    Raises:
        ValueError: an argument is out of range, or `channels` is not a multiple of `groups`.
    """

    normalises_itself = True
    min_steps = 123  # the shortest window that leaves one step after the third convolution

    def __init__(
        self,
        channels: int = 6,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        width: int = 512,
        over: Literal["channels", "time"] = "channels",
        groups: int | None = None,
        dropout: float = 0.0,
        normalisation: Literal["window", "corpus"] = "window",
    ) -> None:
        super().__init__(channels, mean, std)
        if over not in ("channels", "time"):
            raise ValueError(f"over is '{over}'; expected 'channels' (as published) or 'time'")
        if normalisation not in ("window", "corpus"):
            raise ValueError(f"normalisation is '{normalisation}'; expected 'window' (as published) or 'corpus'")
        if width < 1:
            raise ValueError(f"width is {width}; expected at least 1")
        triads = channels // 3 if channels % 3 == 0 else 1
        if groups is not None and (groups < 1 or channels % groups):
            raise ValueError(
                f"{channels} channels cannot form {groups} groups of equal size; choose a divisor of {channels}"
            )
        self.width, self.over, self.groups, self.dropout = width, over, groups, dropout
        self.normalisation = normalisation
        self.dim = width
        self.convolutions = nn.Sequential(
            nn.GroupNorm(triads if groups is None else groups, channels)
            if normalisation == "window"
            else nn.Identity(),
            nn.Conv1d(channels, 32, 10, dilation=2, bias=False),
            nn.MaxPool1d(3),
            nn.Conv1d(32, 32, 5, dilation=2, bias=False),
            nn.MaxPool1d(3),
            nn.Conv1d(32, 32, 5, dilation=2, bias=False),
            nn.AdaptiveAvgPool1d(32),
            nn.GroupNorm(4, 32),
        )
        self.drop = nn.Dropout(dropout)
        self.gru = nn.GRU(32, width, batch_first=True)

    @classmethod
    def takes_statistics(cls, arguments: Mapping[str, Any]) -> bool:
        """Return whether the encoder standardises by statistics of the corpus."""
        return arguments.get("normalisation") == "corpus"

    def blocks(self) -> list[nn.Module]:
        """Return the three convolutions, each with its normalisation if it has one, and the GRU."""
        return [self.convolutions[:3], self.convolutions[3:5], self.convolutions[5:], self.gru]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, 32, 32): steps of the GRU x inputs per step.

        These are convolution channels x bins, or bins x convolution channels if the GRU steps over time.
        """
        maps: Tensor = self.convolutions(self.standardise(x))
        return maps if self.over == "channels" else maps.transpose(1, 2)

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the last hidden state of the GRU."""
        return self.gru(self.drop(features))[1][0]  # type: ignore[no-any-return]
