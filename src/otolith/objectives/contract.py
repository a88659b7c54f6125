"""The one contract of every objective: a batch without labels in, named losses out."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.sampling import Batch
from otolith.encoders import Encoder


class Objective(nn.Module, ABC):
    """A pretext task built on an encoder; owns its heads, queues and views. Concrete objectives are final.

    Args:
        encoder: what is pretrained.

    Attributes:
        kept: names of modules that are saved beside the encoder, so that the objective can go on where it stopped.
    """

    kept: tuple[str, ...] = ()

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named, already weighted, scalar losses; their sum is what training lowers.

        Randomness comes from torch's own generator, which the training loop seeds, keeps and restores.
        """

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments, without the encoder."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if name != "encoder"}
