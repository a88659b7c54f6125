"""Transform discrimination: for each of eight transforms, tell a transformed window from an original one."""

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
    """One task a transform, with a head of its own: Linear 256, ReLU, Linear 1, and binary cross-entropy on a balanced
    batch, all originals and all of them transformed. The tasks' losses are summed; each is about log 2 before training.

    Source: Saeed, Ozcelebi, Lukkien, "Multi-task Self-Supervised Learning for Human Activity Detection", IMWUT 2019,
    which calls it multi-task (so does another method, see `cpc_reconstruction`). Differences: the tasks share their
    originals, so a batch of B windows is 9 B for the encoder and not 16 B; heads stand on the encoder's 256 numbers; the
    weights' L2 penalty is left to the loop. The source transforms standardised values, here strengths are in g (see
    `augment`): where a channel's standard deviation is below 1 g, noise is stronger than theirs. As there, a draw may
    change nothing (an exchange of axes does so once in six), so no loss can reach 0 for every transform.

    Args:
        encoder: what is pretrained.
        transforms: one task each, under its name; see `augment.augment`.

    Raises:
        ValueError: an unknown transform, one that is named twice, or none.
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
        """The binary cross-entropy of each task, under the name of its transform."""
        # One call of the encoder: were transformed windows normalised among themselves, a batch would tell its label.
        x = torch.cat([batch.x, *(augment(batch.x, [step]) for step in self.transforms)])
        originals, *others = self.encoder(x).split(len(batch.x))
        label = torch.arange(2.0, device=x.device).repeat_interleave(len(batch.x))
        return {
            name: F.binary_cross_entropy_with_logits(head(torch.cat([originals, transformed]))[:, 0].float(), label)
            for (name, head), transformed in zip(self.heads.items(), others, strict=True)
        }
