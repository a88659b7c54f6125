"""Reconstruction: decode the window, or its masked steps, from the encoder's feature vector."""

from __future__ import annotations

from typing import Literal

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
    """Return a random mask per window, True for masked time steps.

    The window is divided into spans of `mask_steps` time steps; a share `mask` of them is masked, at least one.
    """
    blocks = -(-steps // mask_steps)
    chosen = max(1, round(mask * blocks))
    order = torch.rand(count, blocks, device=device).argsort(dim=1) < chosen
    return order.repeat_interleave(mask_steps, dim=1)[:, None, :steps]


def hide(
    encoder: Encoder, x: Float[Tensor, "batch channels time"], hidden: Bool[Tensor, "batch 1 time"]
) -> Float[Tensor, "batch channels time"]:
    """Return the windows with the encoder's mean at masked time steps."""
    mean = torch.tensor(encoder.mean, device=x.device, dtype=x.dtype)[:, None]
    return torch.where(hidden, mean, x)


def check_mask(mask: float, mask_steps: int, steps: int) -> None:
    """Check the arguments of a mask.

    Raises:
        ValueError: `mask` is not in [0, 1), or `mask_steps` is not between 1 and the window's time steps.
    """
    if not 0 <= mask < 1 or not 1 <= mask_steps <= steps:
        raise ValueError(
            f"mask is {mask} with mask_steps {mask_steps}; expected 0 <= mask < 1 and mask_steps within 1 .. {steps}"
        )


DecoderKind = Literal["convolutions", "perceptron"]
"""`convolutions`: a Linear, then convolutions with 128, 64 and 32 channels that upsample by 4. `perceptron`: two Linear
layers with 256 hidden units, which cost a tenth of it."""


def decoder_layers(encoder: Encoder, steps: int, kind: DecoderKind) -> list[nn.Module]:
    """Return the layers of a decoder from feature vectors to (batch, channels, at least `steps`).

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "perceptron":
        out = nn.Linear(256, encoder.channels * steps)
        return [nn.Linear(encoder.dim, 256), nn.GELU(), out, nn.Unflatten(1, (encoder.channels, steps))]
    if kind == "convolutions":
        return [
            nn.Linear(encoder.dim, 128 * -(-steps // 4)),
            nn.Unflatten(1, (128, -(-steps // 4))),
            nn.ReLU(),
            nn.ConvTranspose1d(128, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(32, encoder.channels, 3, padding=1),
        ]
    raise ValueError(f"decoder is {kind!r}; expected convolutions or perceptron")


class Decoder(nn.Sequential):
    """Decoder from feature vectors to windows.

    Args:
        encoder: the encoder whose feature vectors are decoded.
        steps: time steps per window.
        mask: share of time steps that are masked in the encoder's input; 0 masks none.
        mask_steps: length of a masked span in time steps.
        kind: its layers; see `DecoderKind`.

    Raises:
        ValueError: see `check_mask`, or an unknown kind.
    """

    def __init__(
        self, encoder: Encoder, steps: int, mask: float, mask_steps: int, kind: DecoderKind = "convolutions"
    ) -> None:
        check_mask(mask, mask_steps, steps)
        super().__init__(*decoder_layers(encoder, steps, kind))
        self.steps, self.mask, self.mask_steps = steps, mask, mask_steps

    def error(
        self,
        encoder: Encoder,
        x: Float[Tensor, "batch channels time"],
        features: Float[Tensor, "batch steps width"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean squared error to the standardised window, in squared standard deviations.

        With a mask, the mean is over masked time steps only.

        Args:
            encoder: the encoder to pretrain.
            x: windows in the store's units.
            features: the encoder's features of `x` if they are computed already; not used with a mask.

        Raises:
            ValueError: the windows are not `steps` long.
        """
        if x.shape[2] != self.steps:
            raise ValueError(f"reconstruction was built for windows of {self.steps} time steps but got {x.shape[2]}")
        target = encoder.standardise(x)
        if not self.mask:
            vectors = encoder(x) if features is None else encoder.pool(features)
            return F.mse_loss(self(vectors)[:, :, : self.steps], target)
        hidden = hidden_steps(len(x), self.steps, self.mask, self.mask_steps, x.device)
        return self.masked_error(encoder(hide(encoder, x, hidden)), target, hidden)

    def masked_error(
        self,
        vectors: Float[Tensor, "batch dim"],
        target: Float[Tensor, "batch channels time"],
        hidden: Bool[Tensor, "batch 1 time"],
    ) -> Float[Tensor, ""]:
        """Return the mean squared error over masked time steps.

        Args:
            vectors: the encoder's vectors of the windows whose `hidden` steps were masked.
            target: the standardised windows, `steps` long.
            hidden: True for masked time steps.
        """
        error = (self(vectors)[:, :, : self.steps] - target).square() * hidden
        return error.sum() / (hidden.sum() * target.shape[1])  # type: ignore[no-any-return]


class Reconstruction(Objective):
    """Autoencoder: the encoder, then a convolutional decoder with linear output; mean squared error on standardised values.

    The loss is about 1 before training, because standardised values have variance 1.

    Source: the convolutional autoencoder of Haresamudram et al., IMWUT 2022, as used in Fortes Rey et al. 2023. Differences:
    the output there ends in tanh, which cannot reach standardised values beyond 1; and the size of the decoder was not
    published, so that this one is the same for every encoder (see `Decoder`).

    Args:
        encoder: the encoder to pretrain.
        steps: time steps per window.
        mask: share of time steps that are masked in the encoder's input; 0 masks none. With a mask, the loss counts masked
            time steps only.
        mask_steps: length of a masked span in time steps.
        decoder_kind: layers of the decoder; see `DecoderKind`.

    Raises:
        ValueError: see `check_mask`, or an unknown kind.
    """

    kept = ("decoder",)

    def __init__(
        self,
        encoder: Encoder,
        steps: int = 100,
        mask: float = 0.0,
        mask_steps: int = 10,
        decoder_kind: DecoderKind = "convolutions",
    ) -> None:
        super().__init__(encoder)
        self.steps, self.mask, self.mask_steps, self.decoder_kind = steps, mask, mask_steps, decoder_kind
        self.decoder = Decoder(encoder, steps, mask, mask_steps, decoder_kind)

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return `reconstruction`: mean squared error in squared standard deviations; errors as in `Decoder.error`."""
        return {"reconstruction": self.decoder.error(self.encoder, batch.x)}
