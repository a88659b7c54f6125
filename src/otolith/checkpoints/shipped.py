"""Find models by name: the weights that ship in the package, and models on the hub.

The cards of the former are `docs/release-encoder.md` and `docs/activity-model.md`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from otolith.storage import hub
from otolith.storage.remote import fetched

ENCODER = "shipped"
"""Name of the shipped encoder wherever the path of a checkpoint is expected."""

ACTIVITY = "activity"
"""Name of the shipped activity model wherever the path of a classifier is expected."""

WEIGHTS = Path(str(resources.files("otolith"))) / "weights"
_FILES = {ENCODER: "encoder.safetensors", ACTIVITY: "activity.safetensors"}


def locate(path: str | Path) -> Path:
    """Return the path of a model that is given as a path, a folder, an address, a shipped name or `hub:user/name`.

    What exists at the path comes first. In a folder, the model is `model.safetensors`. A model on the hub or at an address
    is fetched.

    Raises:
        ValueError: a name on the hub is malformed, or the extra is missing.
        FileNotFoundError: there is no such model on the hub, or it cannot be reached.
    """
    here, name = Path(path), Path(path).as_posix()
    if here.is_dir():
        return here / hub.MODEL
    if not here.is_file():
        if name in _FILES:
            return WEIGHTS / _FILES[name]
        if hub.is_hub_name(path):
            return hub.fetch(path)
    return fetched(path)
