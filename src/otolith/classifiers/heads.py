"""Modules that classifiers put on an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.features import log_features
from otolith.encoders import Encoder


class _Beside(nn.Module):
    """An encoder's features, and the window's `log_features` beside them."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch dim"]:
        return torch.cat([self.encoder(x), log_features(x)], dim=1)


def _mlp(width: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for out in hidden:
        layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(dropout)]
        width = out
    return nn.Sequential(*layers, nn.Linear(width, classes))
