"""The space that a search draws from, and the metric it optimises."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch

from otolith.data.sampling import Batch, seeded
from otolith.data.windows import Windows
from otolith.encoders import ENCODERS
from otolith.experiments.recipe import Recipe, changed
from otolith.objectives import OBJECTIVES
from otolith.pretrain import pretrain

CHANCE = {"simclr": lambda batch: 2 * batch - 1, "cpc": lambda batch: batch, "cpc_reconstruction": lambda batch: batch}
"""Contrastive objectives whose loss of guessing is known: among how many a window is sought in a batch."""

_BY_BATCH = ("primus",)  # those whose loss depends on the batch in no such simple way; the others' does not
_SAME_LOSS = ("objective.width", "objective.widths")  # sizes of heads: what the loss measures stays the same

Judge = Literal["loss", "transfer"]


def space(recipe: Recipe, train: Windows, by: Judge = "loss") -> dict[str, Any]:
    """What is searched: the recipe's `search`; where it has none, the paper's ranges, as far as the recipe's objective and
    windows of this length allow them, and by loss without what is `incomparable`. Choices are lists, ranges have low, high
    and log.

    Each value is tried on two empty windows. Of the paper's, those that do not fit are left out: encoders that the
    objective cannot use, and future steps that leave any of the encoders no past.

    Raises:
        ValueError: a value of the recipe's own does not fit, or nothing does.
    """
    own = recipe.search
    if own:
        names = [own.get(f"{kind}.name", [getattr(recipe, kind)["name"]]) for kind in ("encoder", "objective")]
        for encoder, objective in itertools.product(*names):
            pair = {"encoder.name": encoder, "objective.name": objective}
            values = {
                key: what if isinstance(what, list) else [what["low"], what["high"]]
                for key, what in own.items()
                if _has(encoder, objective, key) and key not in pair
            }
            first = {key: choices[0] for key, choices in values.items()} | pair
            for key, value in [(key, value) for key, choices in values.items() for value in choices] or [*pair.items()]:
                if why := _misfit(recipe, {**first, key: value}, train):
                    raise ValueError(f"[search] {key} = {value!r} does not fit {encoder} and {objective}: {why}")
        return own
    objective = recipe.objective["name"]
    found: dict[str, Any] = {
        "encoder.name": list(ENCODERS),
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
    searched = "objective.future_steps" in found and _has(recipe.encoder["name"], objective, "objective.future_steps")
    least = {"objective.future_steps": 16} if searched else {}
    problems = {name: _misfit(recipe, {"encoder.name": name, **least}, train) for name in ENCODERS}
    fit = found["encoder.name"] = [name for name in ENCODERS if not problems[name]]
    if not fit:
        raise ValueError(f"no encoder fits: {problems[recipe.encoder['name']]}")
    if least:
        found["objective.future_steps"] = [
            steps
            for steps in found["objective.future_steps"]
            if not any(_misfit(recipe, {"encoder.name": name, "objective.future_steps": steps}, train) for name in fit)
        ]
    return {key: what for key, what in found.items() if any(_has(name, objective, key) for name in fit)}


def incomparable(objective: str, settings: Iterable[str]) -> list[str]:
    """Those of some settings, named as in a recipe's `search`, whose values change what an objective's loss measures in ways
    that `chance` does not mend."""
    return [
        key
        for key in settings
        if (key.startswith("objective.") and key not in _SAME_LOSS)
        or (key == "pretrain.batch_size" and objective in _BY_BATCH)
    ]


def chance(objective: str, windows: int, batch_size: int) -> float:
    """The loss of guessing, in nats, where it depends on the batch: that of as many windows in batches of this size, the
    last one smaller (or left out, if it would be one window). 0 for objectives whose loss does not depend on it."""
    if objective not in CHANCE:
        return 0.0
    sizes = [min(batch_size, windows - start) for start in range(0, windows, batch_size)]
    sizes = [size for size in sizes if size > 1]
    return sum(size * math.log(CHANCE[objective](size)) for size in sizes) / max(1, sum(sizes))


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings on one line, for people."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
    )


def _has(encoder: str, objective: str, key: str) -> bool:
    """Whether there is such a setting, with this encoder and objective."""
    section, _, name = key.partition(".")
    of: Any = {"encoder": ENCODERS[encoder], "objective": OBJECTIVES[objective], "pretrain": pretrain}[section]
    return name == "name" or name in inspect.signature(of).parameters


def _of_pretrain(recipe: Recipe, name: str) -> int:
    """A setting of pretraining: the recipe's, or its default."""
    return recipe.pretrain.get(name, inspect.signature(pretrain).parameters[name].default)  # type: ignore[no-any-return]


def _misfit(recipe: Recipe, settings: Mapping[str, Any], train: Windows) -> str:
    """Why these settings cannot be had with windows like these; empty if they can."""
    _, channels, steps = train.shape
    try:
        other = changed(recipe, settings)
        arguments = {key: value for key, value in other.encoder.items() if key != "name"}
        with seeded(0), torch.no_grad():
            objective = other.build_objective(ENCODERS[other.encoder["name"]](channels, **arguments), train, 0)
            objective.eval()(Batch(torch.zeros(2, channels, steps), torch.zeros(2, dtype=torch.long), {}, {}))
    except ValueError as error:
        return str(error)
    return ""


def _settings(found: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What Optuna keeps -> settings: choices are kept as text, since they may be anything that a recipe holds."""
    return {
        key: {str(choice): choice for choice in what}[params[key]] if isinstance(what, list) else params[key]
        for key, what in found.items()
        if key in params
    }
