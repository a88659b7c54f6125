"""Augmentations: functions of (batch, channels, time) that draw separately for every window of the batch.

They are applied in the units of the signal (g, rad/s), before an encoder standardises it, because a rotation of
standardised values is no rotation of the sensor. Channels come in groups of three axes (accelerometer, then gyroscope).
One rotation or exchange of axes applies to all groups of a window, because the sensors share one case. All functions run
on the tensor's device and take the random generator; None is torch's default generator.

Source: the eight transforms and their strengths are those of Saeed et al., IMWUT 2019, and Tang et al. 2020 (arXiv
2011.11542), as listed in Fortes Rey et al. 2023. Their public code works on standardised values, this module in g.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

X = Float[Tensor, "batch channels time"]


def noise(x: X, *, sd: float = 0.05, generator: torch.Generator | None = None) -> X:
    """Add independent normal noise to every value."""
    return x + sd * _normal(x.shape, x, generator)


def scaling(x: X, *, sd: float = 0.1, common: bool = False, generator: torch.Generator | None = None) -> X:
    """Multiply by a factor from N(1, sd), constant over time; one per channel, or one per window if `common`."""
    factors = 1 + sd * _normal((len(x), 1 if common else x.shape[1], 1), x, generator)
    return x * factors


def rotation(x: X, *, sd_degrees: float | None = None, generator: torch.Generator | None = None) -> X:
    """Rotate the sensor.

    Args:
        x: windows whose channels are groups of three axes.
        sd_degrees: standard deviation of the angle about a random axis; small angles keep most of the direction of
            gravity. None: uniform over all rotations, which removes that direction.
        generator: random generator.

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
    """Change the sign of every value; deterministic."""
    del generator
    return -x


def time_flip(x: X, *, generator: torch.Generator | None = None) -> X:
    """Reverse the window in time; deterministic."""
    del generator
    return x.flip(2)


def permutation(x: X, *, pieces: int = 4, generator: torch.Generator | None = None) -> X:
    """Cut each window at random points into `pieces` and shuffle them.

    Raises:
        ValueError: more pieces than time steps.
    """
    batch, _, time = x.shape
    if not 1 <= pieces <= time:
        raise ValueError(f"cannot cut {time} time steps into {pieces} pieces")
    # pieces - 1 different cut points from 1 to time - 1: the first columns of a random permutation.
    cuts = _uniform((batch, time - 1), x, generator).argsort(dim=1)[:, : pieces - 1] + 1
    step = torch.arange(time, device=x.device)
    piece = (step[None, :, None] >= cuts[:, None, :]).sum(dim=2)
    place = _uniform((batch, pieces), x, generator).argsort(dim=1).gather(1, piece)
    order = (place * time + step).argsort(dim=1)
    return x.gather(2, order[:, None, :].expand_as(x))


def time_warp(x: X, *, sd: float = 0.2, knots: int = 4, generator: torch.Generator | None = None) -> X:
    """Warp the time of each window by a smooth random rate; its first and last time steps keep their places.

    The rate is a cubic spline through `knots` inner points and both ends, each drawn from N(1, sd).
    """
    batch, _, time = x.shape
    basis = torch.from_numpy(_spline_basis(time, knots)).to(x)
    rate = (1 + sd * _normal((batch, knots + 2), x, generator)) @ basis
    clock = rate.clamp_min(0.05).cumsum(dim=1)  # time never runs backwards
    clock = (clock - clock[:, :1]) / (clock[:, -1:] - clock[:, :1]) * (time - 1)
    low = clock.floor().long().clamp(0, time - 2)
    share = (clock - low)[:, None, :]
    low = low[:, None, :].expand_as(x)
    return x.gather(2, low) * (1 - share) + x.gather(2, low + 1) * share


def channel_shuffle(x: X, *, generator: torch.Generator | None = None) -> X:
    """Permute the axes at random, in the same way in every group of three, so that units stay together.

    Raises:
        ValueError: the number of channels is not a multiple of three.
    """
    groups = _groups(x)
    order = _uniform((len(x), 3), x, generator).argsort(dim=1)
    return groups.gather(2, order[:, None, :, None].expand_as(groups)).reshape(x.shape)


def time_shift(x: X, *, share: float = 0.1, generator: torch.Generator | None = None) -> X:
    """Shift each window by up to `share` of its length in either direction; the gap is filled with the edge value."""
    batch, _, time = x.shape
    shift = ((_uniform((batch, 1), x, generator) * 2 - 1) * share * time).round().long()
    order = (torch.arange(time, device=x.device) + shift).clamp(0, time - 1)
    return x.gather(2, order[:, None, :].expand_as(x))


def electrode_shift(x: X, *, most: int = 1, generator: torch.Generator | None = None) -> X:
    """Turn an armband around the arm: move each window's channels by up to `most` places in a circle, all alike.

    It is what a rotation is for a motion sensor: electrodes that lie elsewhere around the arm are a main difference between
    people and sessions of an armband, and electrodes are a circle.

    Source: the training with displaced electrodes of Hargrove, Englehart and Hudgins, Biomedical Signal Processing and
    Control 2008, as a random shift.
    """
    batch, channels, _ = x.shape
    shift = (_uniform((batch, 1), x, generator) * (2 * most + 1)).floor().long() - most
    order = (torch.arange(channels, device=x.device) + shift) % channels
    return x.gather(1, order[:, :, None].expand_as(x))


def channel_dropout(x: X, *, share: float = 0.2, generator: torch.Generator | None = None) -> X:
    """Set a channel of a window to 0 with the probability `share`, as an electrode without contact measures nothing."""
    return x * (_uniform((*x.shape[:2], 1), x, generator) >= share)


def time_mask(x: X, *, share: float = 0.2, generator: torch.Generator | None = None) -> X:
    """Set one span of each window, a `share` of its time steps at a random place, to the window's mean per channel.

    Source: SpecAugment (Park et al., Interspeech 2019), in time.
    """
    batch, _, time = x.shape
    length = round(share * time)
    start = (_uniform((batch, 1), x, generator) * (time - length + 1)).floor()
    step = torch.arange(time, device=x.device)
    hidden = (step >= start) & (step < start + length)
    return torch.where(hidden[:, None, :], x.mean(dim=2, keepdim=True), x)


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
    "electrode_shift": electrode_shift,
    "channel_dropout": channel_dropout,
    "time_mask": time_mask,
}
"""Every augmentation by name."""


def check_transforms(transforms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return transforms as plain dictionaries, after every name and argument was checked.

    Raises:
        ValueError: a transform has no name, an unknown name, or an argument that its augmentation does not take.
    """
    for transform in transforms:
        name = transform.get("name")
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(AUGMENTATIONS)}")
        takes = [key for key in inspect.signature(AUGMENTATIONS[name]).parameters if key not in ("x", "generator")]
        if unknown := [key for key in transform if key not in ("name", *takes)]:
            raise ValueError(
                f"augmentation '{name}' takes no '{unknown[0]}'; it takes: {', '.join(takes) or 'nothing'}"
            )
    return [dict(transform) for transform in transforms]


def augment(x: X, transforms: Sequence[Mapping[str, Any]], generator: torch.Generator | None = None) -> X:
    """Apply augmentations one after another.

    Args:
        x: (batch, channels, time).
        transforms: name and arguments of each, for example `{"name": "rotation", "sd_degrees": 20}`.
        generator: random generator.
    """
    for transform in transforms:
        arguments = {key: value for key, value in transform.items() if key != "name"}
        x = AUGMENTATIONS[transform["name"]](x, generator=generator, **arguments)
    return x


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


def _uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, device=like.device, dtype=torch.float32)


def _groups(x: Tensor) -> Tensor:
    if x.shape[1] % 3:
        raise ValueError(f"{x.shape[1]} channels are not groups of three axes, so the sensor cannot be rotated")
    return x.reshape(len(x), x.shape[1] // 3, 3, x.shape[2])


def _matrix(quaternion: Tensor) -> Tensor:
    """Return the (batch, 3, 3) rotation matrices of (batch, 4) unit quaternions, real part first."""
    w, x, y, z = quaternion.unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


@functools.lru_cache(maxsize=16)
def _spline_basis(time: int, knots: int) -> Any:
    """Return the (knots + 2, time) matrix that evaluates a cubic spline from the values at its knots."""
    from scipy.interpolate import CubicSpline

    at = np.linspace(0, time - 1, knots + 2)
    return CubicSpline(at, np.eye(knots + 2), axis=0)(np.arange(time)).T.copy()
