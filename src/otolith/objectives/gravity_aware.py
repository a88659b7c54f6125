"""Gravity-aware multi-task pretraining: predict a window's statistics, reconstruct its masked steps, contrast two views."""

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
from otolith.objectives.reconstruction import Decoder, DecoderKind, check_mask, hidden_steps, hide

SMALL: tuple[Mapping[str, Any], ...] = (
    {"name": "rotation", "sd_degrees": 20},
    {"name": "scaling", "common": True},
    {"name": "time_shift", "share": 0.2},
    {"name": "noise", "sd": 0.03},
)
"""Mild augmentations: another sensor orientation, a stronger movement, a later start. The direction of gravity changes by a
random rotation with a standard deviation of 20 degrees only."""

_LIMIT = 5.0  # standard deviations at which the target statistics are clipped


class GravityAware(Objective):
    """Weighted sum of three pretext tasks on one encoder, all of which preserve the direction of gravity:

    - `predict_statistics`: predict the `log_features` of the original window from an augmented and masked view. The targets
      are standardised by the training windows and clipped at 5 standard deviations. The head has one hidden layer; the
      loss is the mean squared error.
    - `masked_reconstruction`: reconstruct the masked steps of the same view, as the objective `reconstruction` with a mask.
    - `simclr`: the objective `simclr` with mild augmentations and the projection head 256-128.

    Source: neither paper. The objective was designed for few labels; `docs/few-shot.md` reports what each task contributes.
    Predicting hand-crafted features from raw signals follows PASE for speech (Pascual et al., Interspeech 2019).

    Args:
        encoder: the encoder to pretrain.
        steps: time steps per window.
        mean: (features,), means of the training windows' `log_features`; default 0.
        std: (features,), their standard deviations; default 1.
        predict_statistics: weight of this task; 0 disables it.
        masked_reconstruction: weight of this task; 0 disables it.
        simclr: weight of this task; 0 disables it.
        mask: share of the view's time steps that are masked; 0 masks none, and the whole view is then reconstructed.
        mask_steps: length of a masked span in time steps.
        augmentations: transforms that make a view; see `augment.augment`.
        temperature: temperature of NT-Xent.
        decoder_kind: layers of the decoder of `masked_reconstruction`; see `reconstruction.DecoderKind`.

    Raises:
        ValueError: a mask, weight or temperature is out of range, or the number of means and standard deviations does not
            match the number of features.
    """

    def __init__(
        self,
        encoder: Encoder,
        steps: int = 100,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        predict_statistics: float = 1.0,
        masked_reconstruction: float = 1.0,
        simclr: float = 1.0,
        mask: float = 0.5,
        mask_steps: int = 10,
        augmentations: Sequence[Mapping[str, Any]] = SMALL,
        temperature: float = 0.1,
        decoder_kind: DecoderKind = "perceptron",
    ) -> None:
        super().__init__(encoder)
        count = feature_count(encoder.channels, steps)
        self.mean = [0.0] * count if mean is None else list(mean)
        self.std = [1.0] * count if std is None else list(std)
        if not len(self.mean) == len(self.std) == count or not all(0 < value < math.inf for value in self.std):
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations for the {count} statistics of "
                f"{encoder.channels} channels and {steps} time steps; expected one mean and one positive standard "
                "deviation per statistic"
            )
        weights = {
            "predict_statistics": predict_statistics,
            "masked_reconstruction": masked_reconstruction,
            "simclr": simclr,
        }
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(f"the weights are {weights}; expected no negative weight and at least one positive weight")
        check_mask(mask, mask_steps, steps)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; expected a positive number")
        self.steps, self.simclr = steps, simclr
        self.predict_statistics, self.masked_reconstruction = predict_statistics, masked_reconstruction
        self.mask, self.mask_steps = mask, mask_steps
        self.augmentations, self.temperature = check_transforms(augmentations), temperature
        self.decoder_kind = decoder_kind
        self.register_buffer("_shift", torch.tensor(self.mean), persistent=False)
        self.register_buffer("_spread", torch.tensor(self.std), persistent=False)
        kept = []
        if predict_statistics:
            self.described = _head(encoder.dim, 256, count)
            kept += ["described"]
        if masked_reconstruction:
            self.decoder = Decoder(encoder, steps, mask, mask_steps, decoder_kind)
            kept += ["decoder"]
        if simclr:
            self.head = _head(encoder.dim, 256, 128)
            kept += ["head"]
        self.kept = tuple(kept)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted losses of the tasks whose weight is positive.

        Raises:
            ValueError: the windows are not `steps` long, or `simclr` gets fewer than 2 windows.
        """
        if batch.x.shape[2] != self.steps:
            raise ValueError(
                f"gravity_aware was built for windows of {self.steps} time steps but got {batch.x.shape[2]}"
            )
        losses = {}
        if self.predict_statistics or self.masked_reconstruction:
            losses = self._errors_of_one_view(batch.x)
        if self.simclr:
            one, two = (self.head(self.encoder(augment(batch.x, self.augmentations))) for _ in range(2))
            losses["simclr"] = self.simclr * nt_xent(one, two, self.temperature)
        return losses

    def _errors_of_one_view(self, x: Float[Tensor, "batch channels time"]) -> dict[str, Float[Tensor, ""]]:
        view, losses = augment(x, self.augmentations), {}
        hidden = torch.ones_like(view[:, :1], dtype=torch.bool)  # what is reconstructed: everything, without a mask
        masked = view
        if self.mask:
            hidden = hidden_steps(len(x), self.steps, self.mask, self.mask_steps, x.device)
            masked = hide(self.encoder, view, hidden)
        vectors = self.encoder(masked)
        if self.predict_statistics:
            target = ((log_features(x) - self._shift) / self._spread).clamp(-_LIMIT, _LIMIT)  # type: ignore[operator]
            losses["predict_statistics"] = self.predict_statistics * F.mse_loss(self.described(vectors), target)
        if self.masked_reconstruction:
            error = self.decoder.masked_error(vectors, self.encoder.standardise(view), hidden)
            losses["masked_reconstruction"] = self.masked_reconstruction * error
        return losses


def _head(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
