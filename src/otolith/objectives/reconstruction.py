"""Reconstruction: from a window's 256 numbers, draw the window again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective


def hidden_steps(
    count: int, steps: int, mask: float, mask_steps: int, device: torch.device
) -> Bool[Tensor, "count 1 time"]:
    """True where an encoder sees the mean instead of the signal: stretches of `mask_steps`, a share `mask` of them, drawn
    anew for each window; at least one."""
    blocks = -(-steps // mask_steps)
    chosen = max(1, round(mask * blocks))
    order = torch.rand(count, blocks, device=device).argsort(dim=1) < chosen
    return order.repeat_interleave(mask_steps, dim=1)[:, None, :steps]


def hide(
    encoder: Encoder, x: Float[Tensor, "batch channels time"], hidden: Bool[Tensor, "batch 1 time"]
) -> Float[Tensor, "batch channels time"]:
    """The windows with the encoder's mean where they are hidden."""
    mean = torch.tensor(encoder.mean, device=x.device, dtype=x.dtype)[:, None]
    return torch.where(hidden, mean, x)


def check_mask(mask: float, mask_steps: int, steps: int) -> None:
    """Raises ValueError for a mask that cannot be."""
    if not 0 <= mask < 1 or not 1 <= mask_steps <= steps:
        raise ValueError(f"mask is {mask} in stretches of {mask_steps}; expected 0 <= mask < 1 within {steps} steps")


class Decoder(nn.Sequential):
    """Draws windows from vectors: a Linear, then convolutions whose widths mirror 32-64-128 and that double time twice.

    Args:
        encoder: whose vectors it is given.
        steps: time steps of a window.
        mask: share of time steps hidden from the encoder, in stretches; 0: none.
        mask_steps: length of a hidden stretch.

    Raises:
        ValueError: a mask that cannot be.
    """

    def __init__(self, encoder: Encoder, steps: int, mask: float, mask_steps: int) -> None:
        check_mask(mask, mask_steps, steps)
        super().__init__(
            nn.Linear(encoder.dim, 128 * -(-steps // 4)),
            nn.Unflatten(1, (128, -(-steps // 4))),
            nn.ReLU(),
            nn.ConvTranspose1d(128, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, encoder.channels, 3, padding=1),
        )
        self.steps, self.mask, self.mask_steps = steps, mask, mask_steps

    def error(
        self,
        encoder: Encoder,
        x: Float[Tensor, "batch channels time"],
        features: Float[Tensor, "batch steps width"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error against the standardised window, in squared standard deviations; of hidden steps only, if
        any are.

        Args:
            encoder: what is pretrained.
            x: windows in the store's units.
            features: the encoder's of `x`, where they are known already; not used under a mask.

        Raises:
            ValueError: windows are not `steps` long.
        """
        if x.shape[2] != self.steps:
            raise ValueError(f"reconstruction was built for {self.steps} time steps and was fed {x.shape[2]}")
        target = encoder.standardise(x)
        if not self.mask:
            vectors = encoder(x) if features is None else encoder.pool(features)
            return F.mse_loss(self(vectors)[:, :, : self.steps], target)
        hidden = hidden_steps(len(x), self.steps, self.mask, self.mask_steps, x.device)
        drawn = self(encoder(hide(encoder, x, hidden)))[:, :, : self.steps]
        error = (drawn - target).square() * hidden
        return error.sum() / (hidden.sum() * target.shape[1])  # type: ignore[no-any-return]


class Reconstruction(Objective):
    """Encoder, then a mirrored convolutional decoder; mean squared error on the standardised window; linear output. About
    1 before training, as standardised values have variance 1.

    Source: the convolutional autoencoder of Haresamudram et al., IMWUT 2022, as used in Fortes Rey et al. 2023; its
    output there ends in tanh, which cannot reach standardised values beyond 1. The decoder's size was not published:
    this one is the same for every encoder, see `Decoder`.

    Args:
        encoder: what is pretrained.
        steps: time steps of a window.
        mask: share of time steps hidden from the encoder, in stretches; 0: none. The loss then counts hidden steps only.
        mask_steps: length of a hidden stretch.
    """

    kept = ("decoder",)

    def __init__(self, encoder: Encoder, steps: int = 100, mask: float = 0.0, mask_steps: int = 10) -> None:
        super().__init__(encoder)
        self.steps, self.mask, self.mask_steps = steps, mask, mask_steps
        self.decoder = Decoder(encoder, steps, mask, mask_steps)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """`reconstruction`: mean squared error, in squared standard deviations; raises as `Decoder.error`."""
        return {"reconstruction": self.decoder.error(self.encoder, batch.x)}
