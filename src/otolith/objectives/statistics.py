"""Statistics: of a window with parts hidden, say its statistics, draw what is hidden, and find its other view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.augment import augment, check_transforms
from otolith.data.features import feature_count, log_features
from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.contrast import nt_xent
from otolith.objectives.reconstruction import Decoder, check_mask, hidden_steps, hide

SMALL: tuple[Mapping[str, Any], ...] = (
    {"name": "rotation", "sd_degrees": 20},
    {"name": "scaling", "common": True},
    {"name": "time_shift", "share": 0.2},
    {"name": "noise", "sd": 0.03},
)
"""A watch that sits a little otherwise, a movement with more force that begins later; gravity keeps its direction."""


_LIMIT = 5.0  # standard deviations beyond which a statistic is an outlier


class Statistics(Objective):
    """The sum of three pretexts on one encoder, none of which throws gravity's direction away:

    - `statistics`: from an augmented view with parts hidden, the `log_features` of the window as it was, standardised by the
      training windows and held within 5 standard deviations; a head of one hidden layer, mean squared error;
    - `reconstruction`: as the objective of that name with a mask;
    - `simclr`: as the objective of that name, with small augmentations and a head 256-128.

    Not from either paper: made for few labels (`docs/few-shot.md`, which has what each part contributes). To predict
    hand-made features from raw signals is the pretext of speech's PASE (Pascual et al., Interspeech 2019) carried over.

    Args:
        encoder: what is pretrained.
        steps: time steps of a window.
        mean: (features,) of the training windows' `log_features`; default 0.
        std: their standard deviations; default 1.
        statistics: weight of that pretext; 0 leaves it out, and so for the next two.
        reconstruction: its weight.
        simclr: its weight.
        mask: share of time steps hidden from the encoder where it reconstructs, in stretches.
        statistics_mask: the same where it says the statistics.
        mask_steps: length of a hidden stretch.
        augmentations: of views; see `augment.augment`.
        temperature: of NT-Xent.

    Raises:
        ValueError: a mask, a weight, a temperature or numbers of features that cannot be.
    """

    def __init__(
        self,
        encoder: Encoder,
        steps: int = 100,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        statistics: float = 1.0,
        reconstruction: float = 1.0,
        simclr: float = 1.0,
        mask: float = 0.5,
        statistics_mask: float = 0.3,
        mask_steps: int = 10,
        augmentations: Sequence[Mapping[str, Any]] = SMALL,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder)
        count = feature_count(encoder.channels, steps)
        self.mean = [0.0] * count if mean is None else list(mean)
        self.std = [1.0] * count if std is None else list(std)
        if not len(self.mean) == len(self.std) == count or not all(0 < value < math.inf for value in self.std):
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations (positive) for the {count} statistics of "
                f"{encoder.channels} channels and {steps} time steps; expected one of each a statistic"
            )
        weights = {"statistics": statistics, "reconstruction": reconstruction, "simclr": simclr}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(f"the weights are {weights}; expected none below 0, and one above")
        check_mask(statistics_mask, mask_steps, steps)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; expected a positive number")
        self.steps, self.statistics, self.reconstruction, self.simclr = steps, statistics, reconstruction, simclr
        self.mask, self.statistics_mask, self.mask_steps = mask, statistics_mask, mask_steps
        self.augmentations, self.temperature = check_transforms(augmentations), temperature
        self.register_buffer("_shift", torch.tensor(self.mean), persistent=False)
        self.register_buffer("_spread", torch.tensor(self.std), persistent=False)
        kept = []
        if statistics:
            self.described = _head(encoder.dim, 256, count)
            kept += ["described"]
        if reconstruction:
            self.decoder = Decoder(encoder, steps, mask, mask_steps)
            kept += ["decoder"]
        if simclr:
            self.head = _head(encoder.dim, 256, 128)
            kept += ["head"]
        self.kept = tuple(kept)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The weighted losses of the pretexts that are not left out.

        Raises:
            ValueError: windows are not `steps` long.
        """
        losses = {}
        if self.statistics:
            losses["statistics"] = self.statistics * self._described(batch.x)
        if self.reconstruction:
            losses["reconstruction"] = self.reconstruction * self.decoder.error(self.encoder, batch.x)
        if self.simclr:
            one, two = (self.head(self.encoder(augment(batch.x, self.augmentations))) for _ in range(2))
            losses["simclr"] = self.simclr * nt_xent(one, two, self.temperature)
        return losses

    def _described(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, ""]:
        if x.shape[2] != self.steps:
            raise ValueError(f"statistics was built for {self.steps} time steps and was fed {x.shape[2]}")
        target = ((log_features(x) - self._shift) / self._spread).clamp(-_LIMIT, _LIMIT)  # type: ignore[operator]
        view = augment(x, self.augmentations)
        if self.statistics_mask:
            hidden = hidden_steps(len(x), self.steps, self.statistics_mask, self.mask_steps, x.device)
            view = hide(self.encoder, view, hidden)
        return F.mse_loss(self.described(self.encoder(view)), target)


def _head(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
