"""Pretrain an encoder on a user's own recordings, before it is adapted to them: the pretraining of the recipe few-shot."""

from __future__ import annotations

from collections.abc import Iterator

from otolith.checkpoints.checkpoint import Checkpoint
from otolith.data.windows import Windows
from otolith.experiments.build import build_encoder, build_objective, pretrain_arguments
from otolith.experiments.recipe import load
from otolith.objectives import Objective
from otolith.pretraining import Step, pretrain
from otolith.storage.files import fingerprint

RECIPE = "few-shot"
STEPS = 1000
"""Steps of pretraining, about: whole epochs."""


class OwnEncoder:
    """An encoder that is pretrained on some windows and on nothing else.

    Args:
        windows: of the user's recordings, without labels.
        seed: of weights, order and augmentation.
        steps: of pretraining, about.
    """

    def __init__(self, windows: Windows, *, seed: int, steps: int = STEPS) -> None:
        self.windows, self.seed = windows.unlabelled(), seed
        recipe = load(RECIPE)
        self.objective: Objective = build_objective(recipe, build_encoder(recipe, windows, seed), windows, seed)
        self.arguments = pretrain_arguments(recipe)
        self.arguments["epochs"] = max(1, round(steps / max(1, len(windows) // self.arguments["batch_size"])))

    def pretrain(self) -> Iterator[Step]:
        """Yield the steps of pretraining; the checkpoint is complete when they end."""
        yield from pretrain(self.objective, self.windows, seed=self.seed, **self.arguments)

    def checkpoint(self) -> Checkpoint:
        """Return the encoder with its contract; it is not on disk, so that its hash is that of what it was made from."""
        about = {
            "encoder": load(RECIPE).encoder["name"],
            "objective": load(RECIPE).objective["name"],
            "pretrained_on": self.windows.dataset,
            "subjects": self.windows.people,
            "windows": len(self.windows),
        }
        made_from = fingerprint([self.windows.content_hash, self.seed, self.arguments["epochs"]])
        return Checkpoint(self.objective.encoder.eval(), self.windows.contract, about, {}, made_from)
