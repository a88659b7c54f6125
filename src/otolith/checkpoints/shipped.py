"""Find the weights that ship in the package. Their cards are `docs/release-encoder.md` and `docs/activity-model.md`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from otolith.storage.remote import fetched

ENCODER = "shipped"
"""Name of the shipped encoder wherever the path of a checkpoint is expected."""

ACTIVITY = "activity"
"""Name of the shipped activity model wherever the path of a classifier is expected."""

WEIGHTS = Path(str(resources.files("otolith"))) / "weights"
_FILES = {ENCODER: "encoder.safetensors", ACTIVITY: "activity.safetensors"}


def locate(path: str | Path) -> Path:
    """Return the path of a checkpoint that is given as a path, address or shipped name. A file at the path comes first."""
    name = Path(path).as_posix()
    return WEIGHTS / _FILES[name] if name in _FILES and not Path(path).is_file() else fetched(path)
