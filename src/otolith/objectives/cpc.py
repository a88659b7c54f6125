"""Contrastive predictive coding: from the past of a window, tell its future from the futures of other windows."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.contrast import gather_rows, info_nce


@runtime_checkable
class _HasContext(Protocol):
    def context(self, features: Tensor) -> Tensor: ...


def predictors(encoder: Encoder, future_steps: int) -> nn.Linear:
    """One Linear for each future step, from the encoder's context to its features, side by side.

    Raises:
        ValueError: the encoder has no context over time, or there is nothing to predict.
    """
    if not isinstance(encoder, _HasContext):
        raise ValueError(
            f"the objective cpc predicts from a context over time, which {type(encoder).__name__} does not have; "
            "use the encoder cpc or deepconvlstm"
        )
    if future_steps < 1:
        raise ValueError(f"future_steps is {future_steps}; expected at least 1")
    with torch.no_grad():
        width = encoder.features(torch.zeros(1, encoder.channels, encoder.min_steps)).shape[2]
    return nn.Linear(encoder.dim, future_steps * width)


def future_loss(encoder: Encoder, predict: nn.Linear, z: Float[Tensor, "batch steps width"]) -> Float[Tensor, ""]:
    """InfoNCE between predicted and true features, averaged over the future steps.

    Args:
        encoder: whose context sums up the past.
        predict: of `predictors`; in train mode the start is drawn, else it is the middle of its range.
        z: the encoder's features of a batch.

    Raises:
        ValueError: windows too short for the future steps, or fewer than 2 of them.
    """
    _, steps, width = z.shape
    future_steps = predict.out_features // width
    last = steps - future_steps - 1
    if last < 0:
        raise ValueError(f"{steps} time steps leave no past before {future_steps} future steps; shorten those")
    start = int(torch.randint(last + 1, ())) if predict.training else last // 2
    context = encoder.context(z[:, : start + 1])[:, -1]  # type: ignore[operator]
    predicted = gather_rows(predict(context)).unflatten(1, (future_steps, width))
    future = z[:, start + 1 : start + 1 + future_steps]
    future = gather_rows(future.flatten(1)).unflatten(1, (future_steps, width))
    if len(future) < 2:
        raise ValueError("a contrastive loss needs at least 2 windows in a batch")
    # (batch, future, width) -> (future, batch, width): negatives are other windows at the same future step
    return info_nce(predicted.transpose(0, 1), future.transpose(0, 1))


class CPC(Objective):
    """One Linear per future step predicts z(t + k) from the context c(t); InfoNCE against the other windows' z(t + k).

    A start t in [0, T - k - 1] is drawn once a batch; the context sees z up to t. When validating (the module in eval
    mode), t is the middle of its range, so that losses compare. About log(batch) before training.

    Source: Haresamudram et al., IMWUT 2021; Fortes Rey et al. 2023 (arXiv 2307.01168), with k tuned to 32, 48 or 64 at
    windows of 100 time steps.

    Args:
        encoder: one with `context`: `cpc` or `deepconvlstm`.
        future_steps: k, how many steps ahead are predicted.

    Raises:
        ValueError: the encoder has no context over time.
    """

    kept = ("predict",)

    def __init__(self, encoder: Encoder, future_steps: int = 32) -> None:
        super().__init__(encoder)
        self.future_steps = future_steps
        self.predict = predictors(encoder, future_steps)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """`cpc`: InfoNCE, averaged over the future steps; raises as `future_loss`."""
        return {"cpc": future_loss(self.encoder, self.predict, self.encoder.features(batch.x))}
