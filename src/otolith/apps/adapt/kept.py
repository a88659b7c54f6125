"""What an interrupted `adapt` has finished already: answers about the people of a fold, and encoders of their own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from otolith.apps.adapt.unknown import Judged
from otolith.checkpoints import checkpoint
from otolith.checkpoints.checkpoint import Checkpoint
from otolith.checkpoints.provenance import RESULT_CODE, code_version
from otolith.data.windows import Windows
from otolith.storage import tensors
from otolith.storage.files import fingerprint

FOLDER = ".unfinished"


class Kept:
    """A folder of finished parts; each lies under the hash of everything that it depends on, the code among it.

    Args:
        out: folder of the results.
        windows: labelled.
        unlabelled: of the same recordings; None without.
        made_from: further settings, in JSON.
    """

    def __init__(self, out: Path, windows: Windows, unlabelled: Windows | None, made_from: Mapping[str, Any]) -> None:
        self.folder = out / FOLDER
        self._key = [
            code_version((*RESULT_CODE, "apps")),
            windows.content_hash,
            None if unlabelled is None else unlabelled.content_hash,
            dict(made_from),
            torch.__version__,
        ]

    def _path(self, what: str, people: Sequence[str]) -> Path:
        return self.folder / f"{fingerprint([*self._key, what, list(people)])[:24]}.safetensors"

    def judged(self, candidate: str, people: Sequence[str]) -> Judged | None:
        """Return what a candidate said of these people, if that is finished."""
        try:
            _, found = tensors.read(self._path(candidate, people))
            return Judged(*(found[field.name].numpy() for field in dataclasses.fields(Judged)))
        except (OSError, ValueError, KeyError):
            return None

    def keep_judged(self, candidate: str, people: Sequence[str], judged: Judged) -> None:
        """Write what a candidate said of these people."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {field.name: torch.from_numpy(getattr(judged, field.name)) for field in dataclasses.fields(Judged)}
        tensors.write(self._path(candidate, people), found, {"candidate": candidate})

    def encoder(self, without: Sequence[str], like: Checkpoint) -> Checkpoint | None:
        """Return the encoder that was pretrained without these people, if that is finished; `like` names what made it."""
        try:
            found = checkpoint.load(self._path("encoder", without))
        except (OSError, ValueError):
            return None
        return dataclasses.replace(found, about=like.about, sha256=like.sha256)

    def keep_encoder(self, without: Sequence[str], made: Checkpoint) -> None:
        """Write the encoder that was pretrained without these people."""
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(self._path("encoder", without), made.encoder, made.signal, about=made.about)

    def clear(self) -> None:
        """Remove all finished parts: the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
