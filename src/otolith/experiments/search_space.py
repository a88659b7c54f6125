"""The settings that a search draws from, and the metrics that it can optimise."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch

from otolith.data.sampling import Batch, seeded
from otolith.data.windows import Windows
from otolith.encoders import ENCODERS, find_encoder
from otolith.experiments.build import build_objective
from otolith.experiments.checks import Function, has_argument
from otolith.experiments.recipe import Recipe, changed
from otolith.objectives import find_objective
from otolith.pretraining import pretrain

CHANCE = {"simclr": lambda batch: 2 * batch - 1, "cpc": lambda batch: batch, "cpc_reconstruction": lambda batch: batch}
"""Contrastive objectives whose loss at chance level is known: the number of candidates, by batch size."""

Metric = Literal["loss", "transfer"]

_BY_BATCH = ("primus",)  # further objectives whose loss depends on the batch size
_SAME_LOSS = ("objective.width", "objective.widths")  # sizes of heads do not change the meaning of the loss


def space(recipe: Recipe, train: Windows, by: Metric = "loss") -> dict[str, Any]:
    """Return the settings to search: choices are lists, ranges have low, high and log.

    They are the recipe's `search`. Without one, they are the ranges of the paper (see `search`), as far as the recipe's
    objective and windows of this length allow them; by loss, those of `incomparable` are left out. Each value is tried on
    two empty windows. Of the paper's values, those that do not fit are left out: encoders that the objective cannot use, and
    future steps that leave one of the encoders no past steps.

    Raises:
        ValueError: a value of the recipe's own does not fit, or no encoder does.
    """
    if recipe.search:
        _check_values(recipe, train)
        return recipe.search
    objective, encoders = recipe.objective["name"], list(dict.fromkeys([*ENCODERS, recipe.encoder["name"]]))
    found: dict[str, Any] = {
        "encoder.name": encoders,
        "encoder.kernel": [3, 5],
        "encoder.dropout": [0.1, 0.2],
        "objective.future_steps": [16, 32, 48, 64],
        "objective.temperature": [0.07, 0.1, 0.5],
        "pretrain.lr": {"low": 5e-5, "high": 5e-3, "log": True},
        "pretrain.weight_decay": [0.0, 1e-5, 1e-4, 5e-4],
        "pretrain.batch_size": [512, 1024, 4096] if objective == "simclr" else [64, 128, 256],
    }
    if by == "loss":
        found = {key: what for key, what in found.items() if key not in incomparable(objective, found)}
    searched = "objective.future_steps" in found and has_setting(
        recipe.encoder["name"], objective, "objective.future_steps"
    )
    least = {"objective.future_steps": 16} if searched else {}
    problems = {name: _misfit(recipe, {"encoder.name": name, **least}, train) for name in encoders}
    fit = found["encoder.name"] = [name for name in ENCODERS if not problems[name]]
    if not fit:
        raise ValueError(f"no encoder fits: {problems[recipe.encoder['name']]}")
    if least:
        found["objective.future_steps"] = [
            steps
            for steps in found["objective.future_steps"]
            if not any(_misfit(recipe, {"encoder.name": name, "objective.future_steps": steps}, train) for name in fit)
        ]
    return {key: what for key, what in found.items() if any(has_setting(name, objective, key) for name in fit)}


def incomparable(objective: str, settings: Iterable[str]) -> list[str]:
    """Return those settings, named as in a recipe's `search`, that change what an objective's loss measures.

    Settings whose effect `chance_loss` removes are not among them.
    """
    return [
        key
        for key in settings
        if (key.startswith("objective.") and key not in _SAME_LOSS)
        or (key == "pretrain.batch_size" and objective in _BY_BATCH)
    ]


def chance_loss(objective: str, windows: int, batch_size: int) -> float:
    """Return the loss at chance level, in nats, where it depends on the batch; 0 for other objectives.

    Args:
        objective: its name.
        windows: number of windows.
        batch_size: of their batches; the last one is smaller, or left out if it would be one window.
    """
    if objective not in CHANCE:
        return 0.0
    sizes = [min(batch_size, windows - start) for start in range(0, windows, batch_size)]
    sizes = [size for size in sizes if size > 1]
    return sum(size * math.log(CHANCE[objective](size)) for size in sizes) / max(1, sum(sizes))


def in_words(settings: Mapping[str, Any]) -> str:
    """Return settings on one line, for people."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
    )


def has_setting(encoder: str, objective: str, key: str) -> bool:
    """Return whether there is such a setting, with this encoder and objective."""
    section, _, name = key.partition(".")
    functions: dict[str, Function] = {
        "encoder": find_encoder(encoder), "objective": find_objective(objective), "pretrain": pretrain,
    }  # fmt: skip
    return name == "name" or has_argument(functions[section], name)


def pretrain_setting(recipe: Recipe, name: str) -> int:
    """Return an argument of `pretrain`: the recipe's, or the default."""
    return recipe.pretrain.get(name, inspect.signature(pretrain).parameters[name].default)  # type: ignore[no-any-return]


def drawn_settings(found: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's settings from its Optuna parameters, which keep choices of any type as text."""
    return {
        key: {str(choice): choice for choice in what}[params[key]] if isinstance(what, list) else params[key]
        for key, what in found.items()
        if key in params
    }


def _check_values(recipe: Recipe, train: Windows) -> None:
    """Raise ValueError for a value of the recipe's own that does not fit one of the encoders and objectives."""
    own = recipe.search
    names = [own.get(f"{kind}.name", [getattr(recipe, kind)["name"]]) for kind in ("encoder", "objective")]
    for encoder, objective in itertools.product(*names):
        pair = {"encoder.name": encoder, "objective.name": objective}
        values = {
            key: what if isinstance(what, list) else [what["low"], what["high"]]
            for key, what in own.items()
            if has_setting(encoder, objective, key) and key not in pair
        }
        first = {key: choices[0] for key, choices in values.items()} | pair
        for key, value in [(key, value) for key, choices in values.items() for value in choices] or [*pair.items()]:
            if why := _misfit(recipe, {**first, key: value}, train):
                raise ValueError(f"[search] {key} = {value!r} does not fit {encoder} and {objective}: {why}")


def _misfit(recipe: Recipe, settings: Mapping[str, Any], train: Windows) -> str:
    """Return why windows of this shape do not allow these settings; empty if they do."""
    _, channels, steps = train.shape
    try:
        other = changed(recipe, settings)
        arguments = {key: value for key, value in other.encoder.items() if key != "name"}
        with seeded(0), torch.no_grad():
            encoder = find_encoder(other.encoder["name"])(channels, **arguments)
            objective = build_objective(other, encoder, train, 0)
            objective.eval()(Batch(torch.zeros(2, channels, steps), torch.zeros(2, dtype=torch.long), {}, {}))
    except ValueError as error:
        return str(error)
    return ""
