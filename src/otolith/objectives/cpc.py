"""Contrastive predictive coding: from the past of a window, tell its future from the futures of other windows."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.contrast import gather_rows, info_nce
from otolith.sampling import Batch


@runtime_checkable
class _HasContext(Protocol):
    def context(self, features: Tensor) -> Tensor: ...


class CPC(Objective):
    """One Linear per future step predicts z(t + k) from the context c(t); InfoNCE against the other windows' z(t + k).

    A start t in [0, T - k - 1] is drawn once a batch; the context sees z up to t. When validating (the module in eval
    mode), t is the middle of its range, so that losses compare. About log(batch) before training.

    Source: Haresamudram et al., IMWUT 2021; Fortes Rey et al. 2023 (arXiv 2307.01168), with k tuned to 32, 48 or 64 at
    windows of 100 time steps.

    Args:
        encoder: one with `context`, such as the encoder `cpc`.
        future_steps: k, how many steps ahead are predicted.

    Raises:
        ValueError: the encoder has no context over time.
    """

    def __init__(self, encoder: Encoder, future_steps: int = 32) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, _HasContext):
            raise ValueError(
                f"the objective cpc predicts from a context over time, which {type(encoder).__name__} does not have; "
                "use the encoder cpc"
            )
        if future_steps < 1:
            raise ValueError(f"future_steps is {future_steps}; expected at least 1")
        self.future_steps = future_steps
        with torch.no_grad():
            width = encoder.features(torch.zeros(1, encoder.channels, encoder.min_steps)).shape[2]
        self.predict = nn.Linear(encoder.dim, future_steps * width)  # one Linear a step, side by side

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """`cpc`: InfoNCE, averaged over the future steps.

        Raises:
            ValueError: windows too short for `future_steps`, or fewer than 2 of them.
        """
        z = self.encoder.features(batch.x)
        _, steps, width = z.shape
        last = steps - self.future_steps - 1
        if last < 0:
            raise ValueError(f"{steps} time steps leave no past before {self.future_steps} future steps; shorten those")
        start = int(torch.randint(last + 1, ())) if self.training else last // 2
        context = self.encoder.context(z[:, : start + 1])[:, -1]  # type: ignore[operator]
        predicted = gather_rows(self.predict(context)).unflatten(1, (self.future_steps, width))
        future = z[:, start + 1 : start + 1 + self.future_steps]
        future = gather_rows(future.flatten(1)).unflatten(1, (self.future_steps, width))
        if len(future) < 2:
            raise ValueError("a contrastive loss needs at least 2 windows in a batch")
        # (batch, future, width) -> (future, batch, width): negatives are other windows at the same future step
        return {"cpc": info_nce(predicted.transpose(0, 1), future.transpose(0, 1))}
