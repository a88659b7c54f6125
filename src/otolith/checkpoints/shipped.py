"""Find the weights that ship in the package. `docs/release-encoder.md` is their model card."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

ENCODER = "shipped"
"""Name of the shipped encoder wherever the path of a checkpoint is expected."""

WEIGHTS = Path(str(resources.files("otolith"))) / "weights"
_FILES = {ENCODER: "encoder.safetensors"}


def locate(path: str | Path) -> Path:
    """Return the path of a checkpoint that is given as a path or as a shipped name. A file at the path comes first."""
    name = Path(path).as_posix()
    return WEIGHTS / _FILES[name] if name in _FILES and not Path(path).is_file() else Path(path)
