"""Check the section [transfer] of a recipe: the arguments of `TransferClassifier`, for all arms and by arm."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from otolith.classifiers.heads import HEADS
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.evaluation.arms import MODES
from otolith.experiments.checks import check_names, check_table
from otolith.experiments.toml import Table

_TABLES = {"head": '{ name = "logistic" }', "training": "{ steps = 400 }"}


def check_transfer(table: Table) -> tuple[Table, dict[str, Table]]:
    """Return the arguments for all arms, and the further ones of each arm.

    Raises:
        ValueError: an unknown name, or a value of another type.
    """
    arms = {key: value for key, value in table.items() if isinstance(value, dict) and key not in _TABLES}
    shared = {key: value for key, value in table.items() if key not in arms}
    for arm, settings in arms.items():
        check_names([settings.get("mode", arm)], MODES, f"[transfer.{arm}], whose mode is none of these")
    transfer = _classifier(shared, "transfer", None, skip=("encoder", "mode", "seed"))
    head = transfer.get("head", {}).get("name")
    overrides = {arm: _classifier(each, f"transfer.{arm}", head, ("encoder", "seed")) for arm, each in arms.items()}
    return transfer, overrides


def _classifier(table: Table, what: str, head: str | None, skip: Sequence[str]) -> Table:
    """The checked arguments of a classifier, of which `head` and `training` are tables. A head without a name is `head`, or
    the default one."""
    check_names(
        table, [name for name in inspect.signature(TransferClassifier).parameters if name not in skip], f"[{what}]"
    )
    for key, example in _TABLES.items():
        if not isinstance(table.get(key, {}), dict):
            raise ValueError(f"[{what}] {key} = {table[key]!r}; expected a table, such as {key} = {example}")
    rest = {key: value for key, value in table.items() if key not in _TABLES}
    checked = check_table(rest, [TransferClassifier], what, skip=(*skip, *_TABLES))
    if "head" in table:
        given = {key: value for key, value in table["head"].items() if key != "name"}
        name = table["head"].get("name", head or "logistic")
        check_names([name], HEADS, f"{what}.head")
        checked["head"] = check_table(given, [HEADS[name]], f"{what}.head", skip=("prompts",))
        if "name" in table["head"]:
            checked["head"] = {"name": name, **checked["head"]}
    if "training" in table:
        checked["training"] = _training(table["training"], f"{what}.training")
    return checked


def _training(table: Table, what: str) -> Table:
    tuning = table.get("finetuning", {})
    if not isinstance(tuning, dict):
        raise ValueError(f"[{what}] finetuning = {tuning!r}; expected a table, such as {{ layer_decay = 0.5 }}")
    check_names(table, inspect.signature(Training).parameters, f"[{what}]")
    given = {key: value for key, value in table.items() if key != "finetuning"}
    checked = check_table(given, [Training], what, skip=("finetuning",))
    if tuning:
        checked["finetuning"] = check_table(tuning, [FineTuning], f"{what}.finetuning")
    return checked
