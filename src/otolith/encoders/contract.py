"""The contract of all encoders: windows in, features over time and one feature vector per window out."""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

E = TypeVar("E", bound="Encoder")


@runtime_checkable
class SizedWindows(Protocol):
    """What an encoder needs to know of windows, such as `data.windows.Windows`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of windows, channels and time steps."""

    def statistics(self) -> dict[str, list[float]]:
        """Return `mean` and `std` per channel."""


class Encoder(nn.Module, ABC):
    """Base class of encoders, which turn windows in the store's units into feature vectors.

    Concrete encoders are final: do not subclass them. Every encoder takes `mean` and `std` and standardises its input with
    them first, so that a model cannot get input that is scaled differently from its training data.

    Args:
        channels: number of channels per window.
        mean: mean per channel, in the channel's unit; None: 0.
        std: standard deviation per channel, in the channel's unit; None: 1.

    A constructor stores each argument as an attribute of the same name; `arguments` reads them for the checkpoint.

    Attributes:
        dim: dimension of the feature vector: 256 by default, and 512 for `primus`, as in its published weights.
        min_steps: the shortest window that the encoder accepts, in time steps.
        normalises_itself: whether the encoder normalises each window by its own values. It is then built without the mean
            and standard deviation of the training corpus.
    """

    dim: int = 256
    min_steps: int = 1
    normalises_itself: bool = False

    def __init__(self, channels: int, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        self.channels = channels
        self.mean = [0.0] * channels if mean is None else [float(value) for value in mean]
        self.std = [1.0] * channels if std is None else [float(value) for value in std]
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations for {channels} channels; expected "
                "one of each per channel"
            )
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"means are {self.mean}; expected finite numbers")
        if not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"standard deviations are {self.std}; expected positive numbers")
        self.register_buffer("_shift", torch.tensor(self.mean)[:, None], persistent=False)
        # By NumPy: a division on torch's meta device, on which loading outlines encoders, imports its compiler, 1.5 s.
        scale = 1 / np.array(self.std, np.float32)[:, None]
        self.register_buffer("_scale", torch.from_numpy(scale), persistent=False)

    @classmethod
    def for_windows(cls: type[E], windows: SizedWindows, **arguments: Any) -> E:
        """Build the encoder for these windows: with their channels and, unless it normalises each window by itself, with
        their mean and standard deviation.

        The initial weights come from torch's generator: call `torch.manual_seed` first to get the same ones again.

        Args:
            windows: the training windows.
            arguments: further arguments of the encoder.

        Raises:
            ValueError: an invalid argument, or a channel that is constant in all windows.
        """
        statistics = windows.statistics() if cls.takes_statistics(arguments) else {}
        return cls(**{"channels": windows.shape[1], **statistics, **arguments})

    @classmethod
    def takes_statistics(cls, arguments: Mapping[str, Any]) -> bool:  # noqa: ARG003 - for encoders that depend on them
        """Return whether an encoder with these arguments standardises by the mean and standard deviation of windows."""
        return not cls.normalises_itself

    @classmethod
    def from_pretrained(cls: type[E], name: str | Path = "shipped") -> E:
        """Return a pretrained encoder in eval mode; `otolith.load_checkpoint` returns its signal contract too.

        Args:
            name: `shipped`, the encoder in the package; a checkpoint or a folder with `model.safetensors`; or `user/name`,
                a model on the hub, which is fetched once and then read from the cache.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: the file is damaged, or holds an encoder of another class.
        """
        import otolith  # the front door, which loads what lies above this package

        on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", str(name)) and not Path(name).exists()
        found = otolith.load_checkpoint(f"hub:{name}" if on_hub else name).encoder
        if not isinstance(found, cls):
            raise ValueError(f"'{name}' holds an encoder {type(found).__name__}; expected {cls.__name__}")
        return found

    def take_weights(self, other: Encoder) -> list[str]:
        """Copy the weights of another encoder of this class, and return the names of those that keep their own values.

        These are the weights whose shape differs: those of the first layer, where the two have other channels. So what was
        learnt from motion can begin an encoder of muscle signals.

        Raises:
            ValueError: the encoders are of different classes, or most weights do not fit.
        """
        if type(other) is not type(self):
            raise ValueError(f"the weights are of {type(other).__name__}; expected {type(self).__name__}")
        mine, given = self.state_dict(), other.state_dict()
        fitting = {name: given[name] for name, own in mine.items() if name in given and given[name].shape == own.shape}
        if 2 * sum(value.numel() for value in fitting.values()) < sum(value.numel() for value in mine.values()):
            raise ValueError(
                f"most weights of this {type(self).__name__} have other shapes than those given: its arguments "
                f"{self.arguments()} differ from {other.arguments()} in more than the channels"
            )
        self.load_state_dict(fitting, strict=False)
        return [name for name in mine if name not in fitting]

    def adapted_to(self: E, windows: SizedWindows) -> E:
        """Return an encoder for windows of another sensor that begins with the weights of this one.

        It standardises by the mean and standard deviation of these windows. The weights whose shape depends on the number of
        channels, those of the first layer, come from torch's generator; see `take_weights`.

        Args:
            windows: of the other sensor.

        Raises:
            ValueError: a channel is constant in all windows.
        """
        given = {name: value for name, value in self.arguments().items() if name not in ("channels", "mean", "std")}
        adapted = type(self).for_windows(windows, **given)
        adapted.take_weights(self)
        return adapted

    def standardise(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels time"]:
        """Return the input minus `mean`, divided by `std`.

        Raises:
            ValueError: `x` has another number of channels than the encoder, or is shorter than `min_steps`.
        """
        if x.shape[1] != self.channels:
            raise ValueError(f"{type(self).__name__} was built for {self.channels} channels but got {x.shape[1]}")
        if x.shape[2] < self.min_steps:
            raise ValueError(
                f"{type(self).__name__} needs windows of at least {self.min_steps} time steps, got {x.shape[2]}"
            )
        return (x - self._shift) * self._scale  # type: ignore[operator]

    @abstractmethod
    def features(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch steps width"]:
        """Return features over time; `steps` may be fewer than the window's time steps."""

    @abstractmethod
    def pool(self, features: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch dim"]:
        """Return one feature vector per window from the output of `features`."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the modules with weights from input to output, each weight in exactly one of them.

        Fine-tuning uses them to train only the last blocks, or to set learning rates by depth.
        """

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch dim"]:
        """Return one feature vector per window."""
        return self.pool(self.features(x))

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments that build this encoder again, without its weights."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
