"""Read, merge, change and write recipes as TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otolith.classifiers.prompts import read_prompts
from otolith.experiments.shipped import find_shipped, locate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Table = dict[str, Any]


def read_recipe(path: Path, extended_by: Sequence[Path] = ()) -> Table:
    """Return a recipe's tables, with the recipe that it extends and with its prompts read in.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is not TOML, or extends itself, directly or through others.
    """
    if path.resolve() in extended_by:
        chain = " -> ".join(f"'{each.name}'" for each in (*extended_by, path))
        raise ValueError(f"recipe '{path}' extends itself: {chain}")
    try:
        tree: Table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"'{path}' is not TOML: {error}") from error
    for part in (tree, *(tree.get("variants") or {}).values()):
        if isinstance(part, dict) and isinstance(part.get("prompts"), str):
            part["prompts"] = read_prompts(
                locate(part["prompts"], path.parent)
            )  # the copy in the run's folder is then complete
    if base := tree.pop("extends", None):
        extended = find_shipped(str(base), path.parent)
        tree = merged(read_recipe(extended, (*extended_by, path.resolve())), tree)
    return tree


def merged(tree: Table, over: Table) -> Table:
    """Return `tree` with the values of `over`, table by table; prompts, and a table with a name (an encoder), replace the
    whole table."""
    result = dict(tree)
    for key, value in over.items():
        whole = (
            key == "prompts" or not isinstance(value, dict) or "name" in value or not isinstance(tree.get(key), dict)
        )
        result[key] = value if whole else merged(tree[key], value)
    return result


def apply_change(tree: Table, change: str) -> None:
    """Put one `section.key=value` into the tree.

    Raises:
        ValueError: the change cannot be read, or its section is a value.
    """
    where, equals, text = change.partition("=")
    if not equals or not where.strip():
        raise ValueError(f"cannot read the change '{change}'; expected section.key=value, such as pretrain.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a word without quotes is a string
    *path, key = where.strip().split(".")
    for name in path:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ValueError(f"cannot set '{where.strip()}': '{name}' is a value, not a section")
    tree[key] = value


def with_nones(value: Any) -> Any:
    """Return the value with None for the strings `none` and `all`, since TOML has no null value."""
    if isinstance(value, dict):
        return {key: with_nones(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_nones(inner) for inner in value]
    return None if value in ("none", "all") else value


def as_toml(tree: Table, path: str = "") -> str:
    """Return the tables as TOML.

    Args:
        tree: what `read_recipe` returns.
        path: names of the tables around it, each followed by a dot.
    """
    lines = [f"{_key(key)} = {_value(value)}" for key, value in tree.items() if not isinstance(value, dict)]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += ["", f"[{path}{_key(key)}]", as_toml(value, f"{path}{_key(key)}.")]
    return "\n".join(lines)


def _key(name: str) -> str:
    """Return a key as TOML writes it, without quotes if possible."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return repr(value)
