"""CPC and reconstruction at once, on one shared encoder."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.cpc import future_loss, predictors
from otolith.objectives.reconstruction import Decoder


class CPCReconstruction(Objective):
    """The loss of the objective `cpc` plus `weight` times that of `reconstruction`, on one encoder.

    Source: what Fortes Rey et al. 2023 (arXiv 2307.01168) are summarised to call multi-task, with a weight of 1 (the
    line of work that they follow means `transform_discrimination` by that word). The convolutional features are computed
    once for both. The recurrence runs twice, as the context of `cpc` ends at its start, before the window does; and under
    a mask the features do too, for `cpc` sees the window unmasked.

    Args:
        encoder: one with `context`: `cpc` or `deepconvlstm`.
        future_steps: see `cpc`.
        steps: time steps of a window.
        weight: of the reconstruction, lambda; positive.
        mask: see `reconstruction`.
        mask_steps: see `reconstruction`.

    Raises:
        ValueError: an encoder without context, or an argument that cannot be.
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
            raise ValueError(f"weight is {weight}; expected a positive number, or the objective cpc alone")
        self.future_steps, self.steps, self.weight = future_steps, steps, weight
        self.mask, self.mask_steps = mask, mask_steps
        self.predict = predictors(encoder, future_steps)
        self.decoder = Decoder(encoder, steps, mask, mask_steps)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """`cpc` and `reconstruction`, the latter weighted; raises as those objectives."""
        z = self.encoder.features(batch.x)
        cpc = future_loss(self.encoder, self.predict, z)
        return {"cpc": cpc, "reconstruction": self.weight * self.decoder.error(self.encoder, batch.x, z)}
