"""Augmentations: pure functions on (batch, channels, time); every window of the batch gets its own draw.

They work in the signal's own units (g, rad/s), before an encoder standardises, because only there a rotation is a
rotation. Channels come in groups of three axes (accelerometer, then gyroscope); a rotation or an exchange of axes is the
same for all groups of a window, as they sit in one case. All run on the tensor's device, and all take the generator
their randomness comes from (None: torch's own).

The eight transforms and their strengths: Saeed et al., IMWUT 2019, and Tang et al. 2020 (arXiv 2011.11542), as listed in
Fortes Rey et al. 2023. Where their public code works on standardised values, ours works in g (see above).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

X = Float[Tensor, "batch channels time"]


def noise(x: X, *, sd: float = 0.05, generator: torch.Generator | None = None) -> X:
    """Adds independent normal noise to every value."""
    return x + sd * _normal(x.shape, x, generator)


def scaling(x: X, *, sd: float = 0.1, common: bool = False, generator: torch.Generator | None = None) -> X:
    """Multiplies by a factor drawn from N(1, sd), constant over time; one a channel, or one a window if `common`."""
    factors = 1 + sd * _normal((len(x), 1 if common else x.shape[1], 1), x, generator)
    return x * factors


def rotation(x: X, *, sd_degrees: float | None = None, generator: torch.Generator | None = None) -> X:
    """Turns the sensor in its place.

    Args:
        x: windows whose channels are groups of three axes.
        sd_degrees: angle drawn from N(0, sd) about a random axis, which keeps most of gravity's direction; None: uniform
            over all rotations, which throws it away.
        generator: the randomness.

    Raises:
        ValueError: the number of channels is not a multiple of three.
    """
    groups = _groups(x)
    if sd_degrees is None:
        quaternion = torch.nn.functional.normalize(_normal((len(x), 4), x, generator), dim=1)
    else:
        axis = torch.nn.functional.normalize(_normal((len(x), 3), x, generator), dim=1)
        half = _normal((len(x), 1), x, generator) * (sd_degrees * torch.pi / 360)
        quaternion = torch.cat([half.cos(), half.sin() * axis], dim=1)
    return torch.einsum("bij,bgjt->bgit", _matrix(quaternion), groups).reshape(x.shape)


def negation(x: X, *, generator: torch.Generator | None = None) -> X:
    """Turns the sign of every value. Nothing is drawn."""
    del generator
    return -x


def time_flip(x: X, *, generator: torch.Generator | None = None) -> X:
    """Plays the window backwards. Nothing is drawn."""
    del generator
    return x.flip(2)


def permutation(x: X, *, pieces: int = 4, generator: torch.Generator | None = None) -> X:
    """Cuts each window at random points into `pieces` and shuffles them.

    Raises:
        ValueError: more pieces than time steps.
    """
    batch, _, time = x.shape
    if not 1 <= pieces <= time:
        raise ValueError(f"cannot cut {time} time steps into {pieces} pieces")
    # pieces - 1 different cut points in 1 .. time - 1: the first columns of a random order of them.
    cuts = _uniform((batch, time - 1), x, generator).argsort(dim=1)[:, : pieces - 1] + 1
    step = torch.arange(time, device=x.device)
    piece = (step[None, :, None] >= cuts[:, None, :]).sum(dim=2)
    place = _uniform((batch, pieces), x, generator).argsort(dim=1).gather(1, piece)
    order = (place * time + step).argsort(dim=1)
    return x.gather(2, order[:, None, :].expand_as(x))


def time_warp(x: X, *, sd: float = 0.2, knots: int = 4, generator: torch.Generator | None = None) -> X:
    """Speeds each window up and down: its clock runs at a smooth random rate and still ends on its last time step.

    The rate is a cubic spline through `knots` inner points and both ends, each drawn from N(1, sd).
    """
    batch, _, time = x.shape
    basis = torch.from_numpy(_spline_basis(time, knots)).to(x)
    rate = (1 + sd * _normal((batch, knots + 2), x, generator)) @ basis
    clock = rate.clamp_min(0.05).cumsum(dim=1)  # a clock never runs backwards
    clock = (clock - clock[:, :1]) / (clock[:, -1:] - clock[:, :1]) * (time - 1)
    low = clock.floor().long().clamp(0, time - 2)
    share = (clock - low)[:, None, :]
    low = low[:, None, :].expand_as(x)
    return x.gather(2, low) * (1 - share) + x.gather(2, low + 1) * share


def channel_shuffle(x: X, *, generator: torch.Generator | None = None) -> X:
    """Exchanges the axes at random, the same way in every group of three, so that units stay together.

    Raises:
        ValueError: the number of channels is not a multiple of three.
    """
    groups = _groups(x)
    order = _uniform((len(x), 3), x, generator).argsort(dim=1)
    return groups.gather(2, order[:, None, :, None].expand_as(groups)).reshape(x.shape)


def time_shift(x: X, *, share: float = 0.1, generator: torch.Generator | None = None) -> X:
    """Moves each window by up to `share` of its length, either way; the end that comes in repeats the edge."""
    batch, _, time = x.shape
    shift = ((_uniform((batch, 1), x, generator) * 2 - 1) * share * time).round().long()
    order = (torch.arange(time, device=x.device) + shift).clamp(0, time - 1)
    return x.gather(2, order[:, None, :].expand_as(x))


AUGMENTATIONS: dict[str, Callable[..., Tensor]] = {
    "noise": noise,
    "scaling": scaling,
    "rotation": rotation,
    "negation": negation,
    "time_flip": time_flip,
    "permutation": permutation,
    "time_warp": time_warp,
    "channel_shuffle": channel_shuffle,
    "time_shift": time_shift,
}
"""Every augmentation by name."""


def check_transforms(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps as plain dictionaries, if every name and argument is known.

    Raises:
        ValueError: a step has no name, an unknown one, or an argument its augmentation does not take.
    """
    for step in steps:
        name = step.get("name")
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(AUGMENTATIONS)}")
        takes = [key for key in inspect.signature(AUGMENTATIONS[name]).parameters if key not in ("x", "generator")]
        if unknown := [key for key in step if key not in ("name", *takes)]:
            raise ValueError(
                f"augmentation '{name}' takes no '{unknown[0]}'; it takes: {', '.join(takes) or 'nothing'}"
            )
    return [dict(step) for step in steps]


def augment(x: X, steps: Sequence[Mapping[str, Any]], generator: torch.Generator | None = None) -> X:
    """Applies augmentations one after another.

    Args:
        x: (batch, channels, time).
        steps: for each, its name and its arguments, for example `{"name": "rotation", "sd_degrees": 20}`.
        generator: the randomness.
    """
    for step in steps:
        arguments = {key: value for key, value in step.items() if key != "name"}
        x = AUGMENTATIONS[step["name"]](x, generator=generator, **arguments)
    return x


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


def _uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, device=like.device, dtype=torch.float32)


def _groups(x: Tensor) -> Tensor:
    if x.shape[1] % 3:
        raise ValueError(f"{x.shape[1]} channels are not groups of three axes, so the sensor cannot be turned")
    return x.reshape(len(x), x.shape[1] // 3, 3, x.shape[2])


def _matrix(quaternion: Tensor) -> Tensor:
    """(batch, 3, 3) rotation matrices of unit quaternions (batch, 4), real part first."""
    w, x, y, z = quaternion.unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


@functools.lru_cache(maxsize=16)
def _spline_basis(time: int, knots: int) -> Any:
    """(knots + 2, time): a spline is linear in the values at its knots, so this matrix evaluates any of them."""
    at = np.linspace(0, time - 1, knots + 2)
    return CubicSpline(at, np.eye(knots + 2), axis=0)(np.arange(time)).T.copy()
