"""PRIMUS: three convolutions without activation, and a GRU that steps over channels as published, or over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class Primus(Encoder):
    """GroupNorm; Conv1d 32 (kernel 10, dilation 2) and two of kernel 5, without bias, padding or activation, the first two
    with MaxPool of 3, the last with an adaptive mean to 32 bins; GroupNorm of 4 groups; a GRU whose last hidden state is the
    window's vector.

    Published as it stands, the GRU is given (batch, 32 channels, 32 bins) and so steps **over channels**: it reads one
    convolution after the other, each as its 32 bins. `over="time"` is the variant that reads one bin after the other; both
    have equally many weights, of the same shapes, so that only a name tells which one weights belong to.

    The first layer normalises each window by itself, so that a scale and an offset that the axes of one sensor share change
    nothing: units do not matter, and neither do `mean` and `std`, unless they differ among those axes.

    Source: Das, Tang, Kawsar, Malekzadeh, "PRIMUS: Pretraining IMU Encoders with Multimodal Self-Supervision", ICASSP 2025
    (arXiv 2411.15127), and the architecture of its published weights, at 6 channels. Other counts, groups, widths, the order
    over time and dropout are ours.

    Args:
        channels: of a window, 6 as published: ax ay az gx gy gz.
        mean: see `Encoder`; weights as published need 0.
        std: see `Encoder`; weights as published need 1.
        width: of the GRU and of the vector.
        over: what the GRU steps over; weights as published need "channels".
        groups: of channels that are normalised together. None: three axes each, as published, where `channels` is a multiple
            of three; else all together, as electrodes of one unit are.
        dropout: of what the GRU is given; none as published.

    Raises:
        ValueError: an argument that cannot be.
    """

    normalises_itself = True
    min_steps = 123  # of which the third convolution makes one

    def __init__(
        self,
        channels: int = 6,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        width: int = 512,
        over: Literal["channels", "time"] = "channels",
        groups: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(channels, mean, std)
        if over not in ("channels", "time"):
            raise ValueError(f"over is '{over}'; expected channels, as published, or time")
        if width < 1:
            raise ValueError(f"width is {width}; expected at least 1")
        triads = channels // 3 if channels % 3 == 0 else 1
        if groups is not None and (groups < 1 or channels % groups):
            raise ValueError(f"{channels} channels cannot be {groups} groups of equal size")
        self.width, self.over, self.groups, self.dropout = width, over, groups, dropout
        self.dim = width
        self.convolutions = nn.Sequential(
            nn.GroupNorm(triads if groups is None else groups, channels),
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

    def blocks(self) -> list[nn.Module]:
        """The three convolutions, each with its normalisation if it has one, and the GRU."""
        return [self.convolutions[:3], self.convolutions[3:5], self.convolutions[5:], self.gru]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """(batch, 32, 32): what the GRU steps over, by what it is given at a step. Convolutions by bins, or bins by
        convolutions where it steps over time."""
        maps: Tensor = self.convolutions(self.standardise(x))
        return maps if self.over == "channels" else maps.transpose(1, 2)

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """The GRU's last hidden state."""
        return self.gru(self.drop(features))[1][0]  # type: ignore[no-any-return]
