"""Build the encoder, the objective and the arguments of `pretrain` from a recipe; record what determines an encoder."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from otolith.checkpoints.provenance import PRETRAINING_CODE, code_version
from otolith.data.features import feature_count, feature_statistics
from otolith.data.sampling import seeded
from otolith.data.windows import Windows
from otolith.encoders import Encoder, find_encoder
from otolith.experiments.checks import build_arguments
from otolith.experiments.recipe import Recipe
from otolith.experiments.toml import Table
from otolith.objectives import Objective, find_objective
from otolith.pretraining import pretrain, result_identity
from otolith.storage.files import sha256


def build_encoder(recipe: Recipe, train: Windows, seed: int, *, statistics: bool = True) -> Encoder:
    """Build a recipe's encoder with initial weights.

    Args:
        recipe: names the class and its arguments.
        train: windows by whose mean and standard deviation it standardises, unless it normalises each window by itself.
        seed: of the initial weights.
        statistics: whether to compute them; if false, mean 0 and standard deviation 1 are used, which needs no pass over
            the windows.
    """
    kind = find_encoder(recipe.encoder["name"])
    arguments = _without_name(recipe.encoder)
    if statistics and kind.takes_statistics(arguments):
        arguments |= train.statistics()
    with seeded(seed):
        return kind(channels=train.shape[1], **arguments)


def build_objective(
    recipe: Recipe, encoder: Encoder, train: Windows, seed: int, *, statistics: bool = True
) -> Objective:
    """Build a recipe's objective with initial weights of its heads.

    Args:
        recipe: names the class and its arguments.
        encoder: what it pretrains.
        train: windows from which lengths, sizes of paired embeddings and, where it asks for them, statistics follow.
        seed: of the initial weights.
        statistics: as in `build_encoder`.
    """
    kind = find_objective(recipe.objective["name"])
    arguments = _without_name(recipe.objective)
    parameters = inspect.signature(kind).parameters
    if "steps" in parameters:
        arguments.setdefault("steps", train.shape[2])
    if "mean" in parameters and statistics:
        arguments |= feature_statistics(train)
    elif "mean" in parameters:
        count = feature_count(*train.shape[1:])
        arguments |= {"mean": [0.0] * count, "std": [1.0] * count}
    if recipe.takes_pairs:
        arguments["paired"] = {name: vectors.shape[1] for name, vectors in train.paired.items()}
    with seeded(seed + 1):
        return kind(encoder, **arguments)


def pretrain_arguments(recipe: Recipe) -> Table:
    """Return the arguments of `pretrain` that a recipe sets."""
    return build_arguments(recipe.pretrain, pretrain)


def made_from(recipe: Recipe, train: Windows, validation: Windows | None, seed: int) -> dict[str, Any]:
    """Return, as JSON-able values, everything that decides the weights of a pretrained encoder.

    These are the arguments of the built encoder and objective and of `pretrain`, defaults included, the content of the
    windows, the seed, and the code. The objects are built without the windows' statistics, which follow from the windows'
    content and the code, so that no pass over the windows is needed.
    """
    encoder = build_encoder(recipe, train, seed, statistics=False)
    objective = build_objective(recipe, encoder, train, seed, statistics=False)
    packages = (*PRETRAINING_CODE, "paired") if recipe.takes_pairs else PRETRAINING_CODE
    return {
        **result_identity(objective, train, validation, seed=seed, **pretrain_arguments(recipe)),
        "code": code_version(packages),
        "other_code": [source for kind in (type(encoder), type(objective)) if (source := _source(kind))],
    }


def given_settings(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the recipe's pretraining settings, as checkpoints and rows record them; groups of arguments are flattened."""
    pretraining: Table = {}
    for name, value in recipe.pretrain.items():
        pretraining |= value if isinstance(value, dict) else {name: value}
    paired = {"paired": recipe.paired} if recipe.takes_pairs else {}
    return {"encoder": recipe.encoder, "objective": recipe.objective, "pretrain": pretraining, "seed": seed, **paired}


def _without_name(table: Table) -> Table:
    return {key: value for key, value in table.items() if key != "name"}


def _source(kind: type) -> str | None:
    """Return a hash of the source file of a class from outside Otolith; None if there is no file."""
    if kind.__module__.partition(".")[0] == "otolith":
        return None
    try:
        return sha256(Path(inspect.getfile(kind)))
    except (OSError, TypeError):  # defined in an interpreter
        return None
