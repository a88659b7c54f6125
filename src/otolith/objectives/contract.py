"""The contract of all objectives: a batch without labels in, named losses out."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.sampling import Batch
from otolith.encoders import Encoder


class Objective(nn.Module, ABC):
    """Base class of objectives: a pretext task on an encoder, with its own heads, queues and views.

    Concrete objectives are final: do not subclass them. A constructor stores each argument as an attribute of the same name.

    Args:
        encoder: the encoder to pretrain.

    Attributes:
        kept: names of the modules that a checkpoint saves with the encoder, so that the objective can be continued.
    """

    kept: tuple[str, ...] = ()

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return named scalar losses, already weighted; training minimises their sum.

        Random numbers come from torch's default generator, which the training loop seeds, saves and restores.
        """

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments without the encoder."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if name != "encoder"}

    def facts(self) -> dict[str, Any]:
        """Return learned values, in JSON, that a checkpoint states and a classifier uses, such as temperatures."""
        return {}
