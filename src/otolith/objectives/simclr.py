"""SimCLR: contrast two augmented views of each window with the other windows of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.augment import augment, check_transforms
from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.contrast import nt_xent

ROTATION: tuple[Mapping[str, Any], ...] = ({"name": "rotation"},)


class SimCLR(Objective):
    """Two random views per window, a projection head 256-128-50 with ReLU, and NT-Xent.

    Source: Tang et al., "Exploring Contrastive Learning in Human Activity Recognition for Healthcare", 2020
    (arXiv 2011.11542), where rotation is the best single transform and the temperature is 0.1. Difference: their public code
    rotates standardised values, but here signals are rotated in g (see `augment`).

    Args:
        encoder: the encoder to pretrain.
        augmentations: transforms that make a view, applied in order with new random numbers; see `augment.augment`.
        temperature: temperature of NT-Xent.
        widths: widths of the projection head's layers.

    Raises:
        ValueError: `temperature` is not positive, or an augmentation is invalid.
    """

    kept = ("head",)

    def __init__(
        self,
        encoder: Encoder,
        augmentations: Sequence[Mapping[str, Any]] = ROTATION,
        temperature: float = 0.1,
        widths: Sequence[int] = (256, 128, 50),
    ) -> None:
        super().__init__(encoder)
        self.augmentations = check_transforms(augmentations)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; expected a positive number")
        self.temperature, self.widths = temperature, list(widths)
        layers: list[nn.Module] = []
        for width_in, width in zip([encoder.dim, *self.widths], self.widths, strict=False):
            layers += [nn.Linear(width_in, width), nn.ReLU()]
        self.head = nn.Sequential(*layers[:-1])

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return `simclr`: NT-Xent between the two views.

        Raises:
            ValueError: there are fewer than 2 windows.
        """
        one, two = (self.head(self.encoder(augment(batch.x, self.augmentations))) for _ in range(2))
        return {"simclr": nt_xent(one, two, self.temperature)}
