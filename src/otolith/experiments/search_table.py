"""Check the section [search] of a recipe: choices and ranges, by setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otolith.encoders import find_encoder
from otolith.experiments.checks import Function, check_names, check_table, nested
from otolith.experiments.toml import Table
from otolith.objectives import find_objective
from otolith.pretraining import pretrain

_RANGE = ("low", "high", "log")
_FIND: dict[str, Callable[[str], Function]] = {"encoder": find_encoder, "objective": find_objective}


def with_dotted_keys(table: Table, before: str = "") -> Table:
    """Return `{"pretrain.lr": ...}` for `{"pretrain": {"lr": ...}}`, which is how TOML reads dots outside quotes."""
    flat: Table = {}
    for key, value in table.items():
        if isinstance(value, dict) and value and not set(_RANGE) & set(value):
            flat |= with_dotted_keys(value, f"{before}{key}.")
        else:
            flat[before + key] = value
    return flat


def check_search(table: Table, encoder: str, objective: str, given: Mapping[str, Sequence[str]]) -> Table:
    """Return the choices (a list) and ranges (low, high, log) by setting, checked against the signatures.

    Args:
        table: the section, with dotted keys.
        encoder: name of the recipe's encoder.
        objective: name of its objective.
        given: by section, arguments that no recipe sets.

    Raises:
        ValueError: an unknown setting, one that an encoder or objective to choose from lacks, or an invalid value.
    """
    own = {"encoder": encoder, "objective": objective}
    space: Table = {}
    for key in sorted(table, key=lambda key: not key.endswith(".name")):  # names first: the rest depends on them
        section, _, name = key.partition(".")
        check_names([section], given, "[search]")
        values = _values(key, table[key])
        if name == "name" and section in _FIND:
            for value in values:
                _FIND[section](value)
        else:
            functions: list[Function] = [pretrain]
            if section in _FIND:
                functions = [_FIND[section](member) for member in space.get(f"{section}.name", [own[section]])]
            values = [
                _inner(check_table(nested(name, value), functions, f"search.{section}", given[section]), name)
                for value in values
            ]
        if len(set(map(str, values))) < len(values):
            raise ValueError(f"[search] {key} names a value twice: {values}")
        space[key] = _range(key, table[key], values) if isinstance(table[key], dict) else values
    return space


def _values(key: str, what: Any) -> list[Any]:
    """Return the choices, or both ends of the range."""
    if isinstance(what, dict):
        check_names(what, _RANGE, f"[search] {key}")
        if {"low", "high"} <= set(what):
            return [what["low"], what["high"]]
    elif isinstance(what, list) and what:
        return what
    raise ValueError(
        f"[search] {key} is {what!r}; expected a list of choices, or a range such as {{ low = 1e-4, high = 1e-2, "
        "log = true }"
    )


def _range(key: str, what: Table, ends: list[Any]) -> Table:
    low, high = ends
    log = what.get("log", False)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in ends)
    if not numbers or not low < high or not isinstance(log, bool) or (log and low <= 0):
        raise ValueError(f"[search] {key} is {what!r}; expected numbers with low < high, and low > 0 for log")
    return {"low": low, "high": high, "log": log}


def _inner(table: Any, path: str) -> Any:
    for name in path.split("."):
        table = table[name]
    return table
