"""Simple statistics of windows, which the random forest, a pretext task and the heads use."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from otolith.data.windows import Windows

_BINS = 11  # of the spectrum, from frequency 0
_SAMPLE = 8192  # windows whose statistics stand for all


def simple_features(x: Float[Tensor, "windows channels time"]) -> Float[Tensor, "windows features"]:
    """Return 16 numbers per channel and 16 per magnitude of three axes, in the unit of `x`.

    They are mean, standard deviation, minimum, maximum, mean absolute difference, and the magnitudes of the first 11
    Fourier bins of the window without its mean.
    """
    windows, channels, time = x.shape
    triads = x[:, : channels // 3 * 3].reshape(windows, channels // 3, 3, time)
    # torch's vector_norm and std give the same up to rounding, but take 60 and 15 times as long on CPUs.
    x = torch.cat([x, triads.square().sum(dim=2).sqrt()], dim=1)
    mean = x.mean(dim=2)
    centred = x - mean[:, :, None]
    spectrum = torch.fft.rfft(centred, dim=2)[:, :, :_BINS].abs() / time
    basic = [mean, centred.square().mean(dim=2).sqrt(), x.amin(dim=2), x.amax(dim=2), x.diff(dim=2).abs().mean(dim=2)]
    return torch.cat([torch.stack(basic, dim=2), spectrum], dim=2).flatten(1)


def log_features(x: Float[Tensor, "windows channels time"]) -> Float[Tensor, "windows features"]:
    """Return sign(f) log(1 + 10 |f|) of every simple feature f, in g or rad/s.

    The logarithm keeps strong movements from outweighing weak ones in linear models.
    """
    features = simple_features(x)
    return features.sign() * (10 * features.abs()).log1p()


def feature_count(channels: int, steps: int) -> int:
    """Return the number of simple features of a window."""
    return (channels + channels // 3) * (5 + min(_BINS, steps // 2 + 1))


def feature_statistics(windows: Windows) -> dict[str, list[float]]:
    """Return mean and standard deviation of `log_features` over at most 8192 evenly spaced windows, (features,) each."""
    sample = windows.gather(torch.linspace(0, len(windows) - 1, min(len(windows), _SAMPLE)).long())
    features = log_features(sample.cpu().double())
    return {"mean": features.mean(dim=0).tolist(), "std": features.std(dim=0).clamp_min(1e-3).tolist()}
