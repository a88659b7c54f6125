"""Groups of arguments of `pretrain`: which windows an epoch draws, and how and where the loop runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from otolith.data.sampling import Draw


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which windows an epoch trains on.

    Args:
        draw: probability of each window: `uniform`, `subject`, `placement` or `variance`; see `data.sampling.weights`.
        share: part of the windows that one epoch draws.
        replacement: whether one epoch can draw a window more than once.
    """

    draw: Draw = "uniform"
    share: float = 1.0
    replacement: bool = False


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How and where the loop runs. Only `precision` changes the weights that come out.

    Args:
        precision: of Lightning Fabric: `32-true`, `bf16-mixed`, ...
        accelerator: of Lightning Fabric: `auto`, `cpu`, `cuda`, `mps`.
        report_every: steps between two records; the end of an epoch is always reported.
        save_every_s: seconds between two saves of the training state; the end of an epoch is always saved.
        resume: safetensors file for the training state; None: nothing is saved. If the file exists, training continues
            from it. It stays until the caller, who saves the result first, removes it.
    """

    precision: str = "32-true"
    accelerator: str = "auto"
    report_every: int = 10
    save_every_s: float = 30.0
    resume: Path | None = None
