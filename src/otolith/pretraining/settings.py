"""Groups of arguments of `pretrain`: which windows an epoch draws, and how and where the loop runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from otolith.data.conversion import check_number
from otolith.data.sampling import Draw


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which windows an epoch trains on.

    Args:
        draw: probability of each window: `uniform`, `subject`, `placement` or `variance`; see `data.sampling.weights`.
        share: part of the windows that one epoch draws.
        replacement: whether one epoch can draw a window more than once.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """

    draw: Draw = "uniform"
    share: float = 1.0
    replacement: bool = False

    def __post_init__(self) -> None:
        check_number("share", self.share, above=0, most=1)


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

    Raises:
        ValueError: a number that is out of its range.
    """

    precision: str = "32-true"
    accelerator: str = "auto"
    report_every: int = 10
    save_every_s: float = 30.0
    resume: Path | None = None

    def __post_init__(self) -> None:
        check_number("report_every", self.report_every, least=1, whole=True)
        check_number("save_every_s", self.save_every_s, least=0)


def check_settings(
    *,
    epochs: int = 1,
    batch_size: int = 2,
    lr: float = 1.0,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    patience: int | None = None,
    seed: int = 0,
) -> None:
    """Raise ValueError, which names it, for an argument of `pretrain` that is out of its range."""
    check_number("epochs", epochs, least=1, whole=True)
    check_number("batch_size", batch_size, least=2, whole=True)
    check_number("lr", lr, above=0)
    check_number("weight_decay", weight_decay, least=0)
    if schedule not in ("constant", "warmup-cosine"):
        raise ValueError(f"schedule is '{schedule}'; expected constant or warmup-cosine")
    if patience is not None and patience < 1:
        raise ValueError(f"patience is {patience}; expected at least 1 epoch, or none to never stop early")
    check_number("seed", seed, least=0, whole=True)
