"""The multilayer perceptron of "Don't freeze" as a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from otolith.classifiers.heads.contract import Head, HeadInputs


class MLPHead(Head):
    """Multilayer perceptron; each hidden layer is Linear - BatchNorm - ReLU - dropout.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168), whose settings are the defaults.

    Args:
        hidden: widths of the hidden layers.
        dropout: probability.
    """

    def __init__(self, hidden: Sequence[int] = (256, 128, 128), dropout: float = 0.2) -> None:
        self.hidden = hidden
        self.dropout = dropout

    def fit(self, inputs: HeadInputs) -> nn.Module:
        """Return the head with initial weights; it is trained by gradient descent."""
        return self.outline(inputs.dim, len(inputs.names), {})

    def outline(self, width: int, classes: int, state: Mapping[str, Tensor]) -> nn.Module:  # noqa: ARG002
        """Return the layers."""
        layers: list[nn.Module] = []
        for out in self.hidden:
            layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(self.dropout)]
            width = out
        return nn.Sequential(*layers, nn.Linear(width, classes))
