"""Arms of a comparison: from an arm's name and a recipe's settings to a classifier's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otolith.classifiers.baselines import CLASSICAL
from otolith.classifiers.prompts import Prompts

MODES = ("frozen", "finetune", "scratch", "random-frozen", "zero-shot", *CLASSICAL)
"""What a row can compare: the modes of `TransferClassifier`, and the classical methods, which need no checkpoint. A recipe
can name further arms, each one of these modes with arguments of its own."""


def mode_of(arm: str, overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the mode of an arm: its own name, unless its settings name another."""
    return str(overrides.get(arm, {}).get("mode", arm))


def arm_arguments(
    arm: str,
    transfer: Mapping[str, Any],
    overrides: Mapping[str, Mapping[str, Any]],
    prompts: Prompts | None = None,
) -> dict[str, Any]:
    """Return arguments for `TransferClassifier.from_arguments`.

    Args:
        arm: its name.
        transfer: arguments for all arms.
        overrides: further arguments by arm, which are merged into `transfer`.
        prompts: sentences by label, for `TextHead`.
    """
    arguments = {**merged(transfer, overrides.get(arm, {})), "mode": mode_of(arm, overrides)}
    head = dict(arguments.get("head", {}))
    if arguments["mode"] == "zero-shot":
        head = {"name": "text", "text": head.get("text")}
        arguments.pop("training", None)
    if head.get("name") == "text":
        head["prompts"] = prompts
    return {**arguments, "head": head} if head else arguments


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over`, table by table; a table with a name replaces the one in `base`."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping) and "name" not in value:
            result[key] = merged(known, value)
        else:
            result[key] = value
    return result
