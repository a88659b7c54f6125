"""ResNet encoder: 17 convolutional layers with shortcuts in one dimension, the usual large network for accelerometers."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders.contract import Encoder


class ResNet(Encoder):
    """ResNet in one dimension.

    Conv1d 32 (kernel 7, stride 2), then four stages of two blocks with 32, 64, 128 and 256 channels, of which all but the
    first halve the number of time steps; batch normalisation and ReLU; mean over time. A block is two times (batch
    normalisation, ReLU, Conv1d of kernel 3) with a shortcut.

    Source: the 18 layers and basic blocks of He et al., CVPR 2016, in the order of He et al., "Identity Mappings in Deep
    Residual Networks", ECCV 2016; in one dimension for accelerometers as in Yuan et al., npj Digital Medicine 2024
    (with longer kernels and 1,024 features). Differences from the source: half of the widths, so that the output has 256
    numbers without the eighteenth layer, a Linear; and no pooling after the first layer, because windows are short.

    In train mode, batch normalisation makes the windows of a batch depend on each other; on several devices, those of each
    device's part of the batch.

    Args:
        channels: number of channels per window.
        mean: means of the channels; see `Encoder`.
        std: standard deviations of the channels; see `Encoder`.
        dropout: dropout rate before the second convolution of each block.
    """

    min_steps = 17  # leaves two steps at the end, because batch normalisation needs more than one value

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(channels, mean, std)
        self.dropout = dropout
        self.stem = nn.Conv1d(channels, 32, 7, stride=2, padding=3, bias=False)
        blocks = []
        for width_in, width, stride in ((32, 32, 1), (32, 64, 2), (64, 128, 2), (128, 256, 2)):
            blocks += [_Block(width_in, width, stride, dropout), _Block(width, width, 1, dropout)]
        self.residual = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm1d(self.dim)

    def blocks(self) -> list[nn.Module]:
        """Return the first convolution, then the eight blocks, the last one with the final normalisation."""
        *blocks, last = self.residual
        return [self.stem, *blocks, nn.Sequential(last, self.norm)]

    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return (batch, about time / 16, 256)."""
        return F.relu(self.norm(self.residual(self.stem(self.standardise(x))))).transpose(1, 2)

    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return the mean over time."""
        return features.mean(dim=1)


class _Block(nn.Module):
    """A pre-activation residual block: two times normalisation, activation and convolution.

    The shortcut is the identity, or a Conv1d of kernel 1 if the number of channels changes.
    """

    def __init__(self, width_in: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm_one = nn.BatchNorm1d(width_in)
        self.one = nn.Conv1d(width_in, width, 3, stride=stride, padding=1, bias=False)
        self.norm_two = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.two = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv1d(width_in, width, 1, stride=stride, bias=False) if width_in != width else None

    def forward(self, x: Float[Tensor, "batch width steps"]) -> Float[Tensor, "batch width_out steps_out"]:
        active = F.relu(self.norm_one(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return shortcut + self.two(self.drop(F.relu(self.norm_two(self.one(active)))))  # type: ignore[no-any-return]
