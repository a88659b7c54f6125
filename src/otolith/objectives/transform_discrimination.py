"""Transform discrimination: for each of eight transforms, classify windows as transformed or original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.augment import augment, check_transforms
from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective

EIGHT: tuple[Mapping[str, Any], ...] = (
    {"name": "noise", "sd": 0.05},
    {"name": "scaling", "sd": 0.1},
    {"name": "rotation"},
    {"name": "negation"},
    {"name": "time_flip"},
    {"name": "permutation", "pieces": 4},
    {"name": "time_warp", "sd": 0.2, "knots": 4},
    {"name": "channel_shuffle"},
)


class TransformDiscrimination(Objective):
    """One binary task per transform, each with its own head: Linear 256, ReLU, Linear 1.

    The loss of a task is the binary cross-entropy on a balanced batch: all original windows, and all of them transformed. It
    is about log 2 before training. Training minimises the sum over tasks.

    Source: Saeed, Ozcelebi, Lukkien, "Multi-task Self-Supervised Learning for Human Activity Detection", IMWUT 2019, which
    calls it multi-task (for the other meaning of this word see `cpc_reconstruction`). Differences: the tasks share the
    original windows, so that the encoder gets 9 B windows for a batch of B instead of 16 B; the heads take the encoder's
    feature vector; the training loop applies the L2 penalty of the weights. The source transforms standardised values, but
    here strengths are in g (see `augment`): noise is stronger than in the source if a channel's standard deviation is below
    1 g. As in the source, a random transform may change nothing (one in six permutations of axes is the identity), so that
    not every loss can reach 0.

    Args:
        encoder: the encoder to pretrain.
        transforms: the transforms; each is one task and loss, with the transform's name. See `augment.augment`.

    Raises:
        ValueError: a transform is unknown or named twice, or there is none.
    """

    kept = ("heads",)

    def __init__(self, encoder: Encoder, transforms: Sequence[Mapping[str, Any]] = EIGHT) -> None:
        super().__init__(encoder)
        self.transforms = check_transforms(transforms)
        names = [step["name"] for step in self.transforms]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"transforms are {', '.join(names) or 'none'}; expected at least one, each once")
        width = encoder.dim
        self.heads = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 1)) for name in names}
        )

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return the binary cross-entropy of each task, by the name of its transform."""
        # One call of the encoder: with separate calls, batch normalisation would reveal which windows are transformed.
        x = torch.cat([batch.x, *(augment(batch.x, [step]) for step in self.transforms)])
        originals, *others = self.encoder(x).split(len(batch.x))
        label = torch.arange(2.0, device=x.device).repeat_interleave(len(batch.x))
        return {
            name: F.binary_cross_entropy_with_logits(head(torch.cat([originals, transformed]))[:, 0].float(), label)
            for (name, head), transformed in zip(self.heads.items(), others, strict=True)
        }
