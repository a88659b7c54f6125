"""Reconstruction: from a window's 256 numbers, draw the window again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.sampling import Batch


class Reconstruction(Objective):
    """Encoder, then a mirrored convolutional decoder; mean squared error on the standardised window; linear output.

    Source: the convolutional autoencoder of Haresamudram et al., IMWUT 2022, as used in Fortes Rey et al. 2023; its
    output there ends in tanh, which cannot reach standardised values beyond 1. The decoder's size was not published:
    this one mirrors the widths 32-64-128 and doubles time twice.

    Args:
        encoder: what is pretrained.
        steps: time steps of a window.
        mask: share of time steps hidden from the encoder, in stretches; 0: none. The loss then counts hidden steps only.
        mask_steps: length of a hidden stretch.
    """

    def __init__(self, encoder: Encoder, steps: int = 100, mask: float = 0.0, mask_steps: int = 10) -> None:
        super().__init__(encoder)
        if not 0 <= mask < 1 or not 1 <= mask_steps <= steps:
            raise ValueError(
                f"mask is {mask} in stretches of {mask_steps}; expected 0 <= mask < 1 within {steps} steps"
            )
        self.steps, self.mask, self.mask_steps = steps, mask, mask_steps
        self.decoder = nn.Sequential(
            nn.Linear(encoder.dim, 128 * -(-steps // 4)),
            nn.Unflatten(1, (128, -(-steps // 4))),
            nn.ReLU(),
            nn.ConvTranspose1d(128, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, encoder.channels, 3, padding=1),
        )

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """`reconstruction`: mean squared error, in squared standard deviations.

        Raises:
            ValueError: windows are not `steps` long.
        """
        if batch.x.shape[2] != self.steps:
            raise ValueError(f"reconstruction was built for {self.steps} time steps and was fed {batch.x.shape[2]}")
        target = self.encoder.standardise(batch.x)
        x, hidden = batch.x, None
        if self.mask:
            hidden = self._hidden(len(x), x.device)
            mean = torch.tensor(self.encoder.mean, device=x.device, dtype=x.dtype)[:, None]
            x = torch.where(hidden, mean, x)
        drawn = self.decoder(self.encoder(x))[:, :, : self.steps]
        if hidden is None:
            return {"reconstruction": F.mse_loss(drawn, target)}
        error = (drawn - target).square() * hidden
        return {"reconstruction": error.sum() / (hidden.sum() * target.shape[1]).clamp_min(1)}

    def _hidden(self, count: int, device: torch.device) -> Tensor:
        """(batch, 1, time): True where the encoder sees the mean instead of the signal."""
        blocks = -(-self.steps // self.mask_steps)
        chosen = max(1, round(self.mask * blocks))
        order = torch.rand(count, blocks, device=device).argsort(dim=1) < chosen
        return order.repeat_interleave(self.mask_steps, dim=1)[:, None, : self.steps]
