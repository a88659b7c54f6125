"""Contrastive predictive coding: predict the future features of a window, with other windows as negatives."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

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
    """Return one Linear for all future steps, from the encoder's context to (future_steps * width of features).

    Raises:
        ValueError: the encoder has no method `context`, or `future_steps` is less than 1.
    """
    if not isinstance(encoder, _HasContext):
        raise ValueError(
            f"the objective cpc needs an encoder with a context over time, which {type(encoder).__name__} does not have; "
            "use the encoder cpc or deepconvlstm"
        )
    if future_steps < 1:
        raise ValueError(f"future_steps is {future_steps}; expected at least 1")
    with torch.no_grad():
        width = encoder.features(torch.zeros(1, encoder.channels, encoder.min_steps)).shape[2]
    return nn.Linear(encoder.dim, future_steps * width)


Negatives = Literal["futures", "predictions"]


def future_loss(
    encoder: Encoder,
    predict: nn.Linear,
    z: Float[Tensor, "batch steps width"],
    negatives: Negatives = "futures",
) -> Float[Tensor, ""]:
    """Return InfoNCE between predicted and true features, averaged over the future steps.

    Args:
        encoder: an encoder with a context over time.
        predict: the Linear of `predictors`. The start of the prediction is random in train mode, and the middle of its range
            in eval mode.
        z: the encoder's features of a batch.
        negatives: `futures` or `predictions` of the other windows; see `CPC`.

    Raises:
        ValueError: the windows are too short for the future steps, or there are fewer than 2 windows.
    """
    _, steps, width = z.shape
    future_steps = predict.out_features // width
    last = steps - future_steps - 1
    if last < 0:
        raise ValueError(
            f"{steps} time steps leave no past before {future_steps} future steps; set future_steps below {steps}"
        )
    start = int(torch.randint(last + 1, ())) if predict.training else last // 2
    context = encoder.context(z[:, : start + 1])[:, -1]  # type: ignore[operator]
    predicted = gather_rows(predict(context)).unflatten(1, (future_steps, width))
    future = z[:, start + 1 : start + 1 + future_steps]
    future = gather_rows(future.flatten(1)).unflatten(1, (future_steps, width))
    if len(future) < 2:
        raise ValueError("a contrastive loss needs at least 2 windows in a batch")
    # (batch, future, width) -> (future, batch, width): negatives are other windows at the same future step
    query, key = predicted.transpose(0, 1), future.transpose(0, 1)
    return info_nce(key, query) if negatives == "predictions" else info_nce(query, key)


class CPC(Objective):
    """One Linear per future step predicts z(t + k) from the context c(t); the loss is InfoNCE.

    The negatives are z(t + k) of the other windows. Each batch draws one start t in [0, T - k - 1]; the context depends on z
    up to t. In validation (eval mode), t is the middle of its range, so that losses are comparable. The loss is about
    log(batch) before training.

    Source: Haresamudram et al., IMWUT 2021; Fortes Rey et al. 2023 (arXiv 2307.01168), with k tuned to 32, 48 or 64 at
    windows of 100 time steps.

    Args:
        encoder: an encoder with `context`: `cpc` or `deepconvlstm`.
        future_steps: k, the number of steps to predict, counted in outputs of the encoder's convolutions.
        negatives: what the true pair is told from: `futures`, the true features of other windows at the same step (the
            softmax of the papers' equation runs over them), or `predictions` for other windows (as in the code that the
            paper cites). Gradients differ by a few percent.

    Raises:
        ValueError: the encoder has no method `context`, or `future_steps` is less than 1.
    """

    kept = ("predict",)

    def __init__(self, encoder: Encoder, future_steps: int = 32, negatives: Negatives = "futures") -> None:
        super().__init__(encoder)
        self.future_steps, self.negatives = future_steps, negatives
        self.predict = predictors(encoder, future_steps)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return `cpc`: InfoNCE averaged over the future steps. Errors are those of `future_loss`."""
        return {"cpc": future_loss(self.encoder, self.predict, self.encoder.features(batch.x), self.negatives)}
