"""CPC and reconstruction together on one encoder."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.cpc import future_loss, predictors
from otolith.objectives.reconstruction import Decoder


class CPCReconstruction(Objective):
    """The loss of the objective `cpc` plus `weight` times that of `reconstruction`.

    Source: the multi-task objective of Fortes Rey et al. 2023 (arXiv 2307.01168) according to summaries, with weight 1. (In
    the work that they follow, multi-task means `transform_discrimination`.) Both losses share one computation of the
    convolutional features. The recurrent layers run twice, because the context of `cpc` ends before the window does. With a
    mask, the features are computed twice too, because `cpc` uses the unmasked window.

    Args:
        encoder: an encoder with `context`: `cpc` or `deepconvlstm`.
        future_steps: number of steps to predict; see `cpc`.
        steps: time steps per window.
        weight: weight of the reconstruction (lambda); positive.
        mask: share of masked time steps; see `reconstruction`.
        mask_steps: length of a masked span; see `reconstruction`.

    Raises:
        ValueError: the encoder has no method `context`, or an argument is out of range.
    """

    kept = ("predict", "decoder")

    def __init__(
        self,
        encoder: Encoder,
        future_steps: int = 32,
        steps: int = 100,
        weight: float = 1.0,
        mask: float = 0.0,
        mask_steps: int = 10,
    ) -> None:
        super().__init__(encoder)
        if weight <= 0:
            raise ValueError(
                f"weight is {weight}; expected a positive number; without reconstruction, use the objective cpc"
            )
        self.future_steps, self.steps, self.weight = future_steps, steps, weight
        self.mask, self.mask_steps = mask, mask_steps
        self.predict = predictors(encoder, future_steps)
        self.decoder = Decoder(encoder, steps, mask, mask_steps)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return `cpc` and the weighted `reconstruction`. Errors are those of the two objectives."""
        z = self.encoder.features(batch.x)
        cpc = future_loss(self.encoder, self.predict, z)
        return {"cpc": cpc, "reconstruction": self.weight * self.decoder.error(self.encoder, batch.x, z)}
