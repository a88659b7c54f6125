"""The one contract of every head: features of labelled windows in, a module from features to logits out."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from otolith.classifiers.settings import arguments_of
from otolith.data.windows import Windows

Embed = Callable[[Windows | Tensor, Sequence[Mapping[str, Any]]], Tensor]
"""Windows and augmentations -> (windows, width) what the head sees of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class HeadInputs:
    """What a head is fitted on.

    Attributes:
        windows: labelled training windows.
        target: (windows,) class numbers 0 .. n - 1, each present.
        names: of the classes.
        dim: size of the encoder's vector; the statistics of a head with `use_statistics` follow it.
        embed: computes features, with the encoder as it is before anything is trained.
        features: (windows, width) of `windows`; None where the head does not read them.
        unlabelled: windows without labels; the training windows where the caller gave none.
        unlabelled_features: (others, width), where they are known already.
        about: provenance of the encoder's checkpoint; empty for an encoder without one.
        pretrained_heads: states of the checkpoint's heads, where its weights are used.
        trained: False in the mode `zero-shot`: the module is used as it is returned.
    """

    windows: Windows | Tensor | None
    target: Int[Tensor, " windows"] | None
    names: Sequence[str]
    dim: int
    embed: Embed
    features: Float[Tensor, "windows width"] | None = None
    unlabelled: Windows | Tensor | None = None
    unlabelled_features: Float[Tensor, "others width"] | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pretrained_heads: Mapping[str, Mapping[str, Tensor]] = dataclasses.field(default_factory=dict)
    trained: bool = True


class Head(BaseEstimator, ABC):
    """Settings of a head, and how it is fitted. Concrete heads are final.

    A constructor keeps each argument as an attribute of the same name, as scikit-learn wants it.

    Attributes:
        use_statistics: the head sees the `log_features` of a window in addition to the encoder's features.
        closed_form: `fit` returns a solution, which gradient descent need not train while the encoder is frozen.
    """

    use_statistics: bool = False
    closed_form: ClassVar[bool] = False

    @property
    def uses_unlabelled(self) -> bool:
        """Whether `fit` reads features of unlabelled windows."""
        return False

    def suited_to(self, inputs: HeadInputs) -> Head:  # noqa: ARG002 - most heads take any windows
        """Return the head with the settings that these windows allow; most heads return themselves."""
        return self

    @abstractmethod
    def fit(self, inputs: HeadInputs) -> nn.Module:
        """Return the module from features to logits: initialised, or already a solution.

        Randomness comes from torch's own generator, which the classifier seeds.

        Raises:
            ValueError: a setting is invalid, or the windows do not allow it.
        """

    @abstractmethod
    def outline(self, width: int, classes: int, state: Mapping[str, Tensor]) -> nn.Module:
        """Return the module for a saved state; its weights are not initialised from it.

        Args:
            width: size of the features.
            classes: number of classes.
            state: the saved weights, of which sizes that are no arguments may be read.
        """

    def pretrained_part(self, module: nn.Module) -> nn.Module | None:  # noqa: ARG002
        """Return the part of a fitted module that was pretrained with the encoder: it is trained at the encoder's learning
        rate, and only where the encoder is trained. None for most heads."""
        return None

    def arguments(self) -> dict[str, Any]:
        """Return all constructor arguments as JSON-able values, from which the head can be built again."""
        return arguments_of(self)
