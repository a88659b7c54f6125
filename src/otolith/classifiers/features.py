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
_ROWS = 1 << 16  # rows of a table copied or checked at a time: it may be larger than memory


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
        table = _empty(len(windows), width, folder)
        for first in range(0, len(windows), _BATCH):
            rows = torch.arange(first, min(first + _BATCH, len(windows)))
            table[first : first + _BATCH] = body(get_batch(rows)).cpu()
    return table


def rows_of(table: Float[Tensor, "windows dim"], rows: np.ndarray, folder: Path) -> Float[Tensor, "rows dim"]:
    """Return some rows of the features of all windows; a memory map of a temporary file in `folder` if they are large, as
    `embed` has it."""
    chosen = _empty(len(rows), table.shape[1], folder)
    for first in range(0, len(rows), _ROWS):
        chosen[first : first + _ROWS] = table[rows[first : first + _ROWS]]
    return chosen


def _empty(count: int, width: int, folder: Path | None) -> Tensor:
    """Return a float32 table of `count` rows to write into, in memory or, if it is large, in a temporary file."""
    size = 4 * count * width
    if folder is None or size < memory_bytes() / 8:
        return torch.empty(count, width)
    with tempfile.TemporaryFile(dir=folder) as file:  # the system removes it with its last map
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=(count, width)))


def batch_getter(
    examples: Windows | Tensor, device: torch.device, augmentations: Sequence[Mapping[str, Any]] = ()
) -> Callable[[Tensor], Tensor]:
    """Return a function from row numbers to the windows of those rows, on `device` and augmented."""
    if isinstance(examples, Windows):
        return lambda index: augment(examples.gather(index.to(examples.offset.device)).to(device), augmentations)
    return lambda index: augment(examples[index.to(examples.device)].to(device), augmentations)


def row_getter(table: Tensor, rows: np.ndarray, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Return a function from numbers of `rows` to these rows of a table, which may be larger than memory, on `device`."""
    chosen = torch.from_numpy(rows)
    return lambda index: table[chosen[index.cpu()]].to(device)


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
    bad = [
        (~torch.isfinite(part).all(dim=1)).nonzero()[:, 0] + k * _ROWS for k, part in enumerate(features.split(_ROWS))
    ]
    if len(wrong := torch.cat(bad)):
        raise ValueError(
            f"features of {len(wrong)} of {count} windows are not finite; the first is window {int(wrong[0])}: check its "
            "recording for NaN and for outliers"
        )
    return features
