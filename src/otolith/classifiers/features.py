"""Compute features of windows with an encoder, in batches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from otolith.data.augment import augment
from otolith.data.features import log_features
from otolith.data.sampling import memory_bytes
from otolith.data.windows import Windows
from otolith.encoders import Encoder

_BATCH = 1024  # windows per forward pass when nothing is trained


class WithStatistics(nn.Module):
    """Concatenates an encoder's features and the `log_features` of the window."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch dim"]:
        """Return one vector per window."""
        return torch.cat([self.encoder(x), log_features(x)], dim=1)


def embed(
    encoder: Encoder, windows: Windows, *, statistics: bool = False, device: str = "cpu", folder: Path | None = None
) -> Float[Tensor, "windows dim"]:
    """Return features of all windows, computed in eval mode and without gradients, on the CPU.

    Args:
        encoder: is set to eval mode and moved to `device`.
        windows: to embed.
        statistics: append `log_features` of each window.
        device: to compute on.
        folder: of a temporary file without a name, in which features that take more than an eighth of the memory lie as a
            memory map, so that they are never in memory at once; None: they always are.
    """
    body = (WithStatistics(encoder) if statistics else encoder).to(device).eval()
    get_batch = batch_getter(windows, torch.device(device))
    with torch.no_grad():
        width = body(get_batch(torch.arange(min(1, len(windows))))).shape[1]
        size = 4 * len(windows) * width
        if folder is None or size < memory_bytes() / 8:
            return in_batches(body, get_batch, len(windows)).cpu()
        with tempfile.TemporaryFile(dir=folder) as file:  # the system removes it with its last map
            file.truncate(size)
            table = np.memmap(file, np.float32, "r+", shape=(len(windows), width))
        for index in torch.arange(len(windows)).split(_BATCH):
            table[index[0] : index[-1] + 1] = body(get_batch(index)).cpu().numpy()
        return torch.from_numpy(table)


def batch_getter(
    examples: Windows | Tensor, device: torch.device, augmentations: Sequence[Mapping[str, Any]] = ()
) -> Callable[[Tensor], Tensor]:
    """Return a function from row numbers to the windows of those rows, on `device` and augmented."""
    if isinstance(examples, Windows):
        return lambda index: augment(examples.gather(index.to(examples.offset.device)).to(device), augmentations)
    return lambda index: augment(examples[index.to(examples.device)].to(device), augmentations)


def in_batches(module: nn.Module, get_batch: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Return the module's output for `count` windows."""
    return torch.cat([module(get_batch(index)) for index in torch.arange(count).split(_BATCH)])


def check_features(features: Tensor, count: int) -> Tensor:
    """Return the features of `count` windows.

    Raises:
        ValueError: there are more or fewer rows, or a value is NaN or infinite; the message names the first window.
    """
    if len(features) != count:
        raise ValueError(f"{count} windows but features of {len(features)}; expected one row per window")
    finite = torch.isfinite(features).all(dim=1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(
            f"features of {int((~finite).sum())} of {count} windows are not finite; the first is window {first}: check its "
            "recording for NaN and for outliers"
        )
    return features
