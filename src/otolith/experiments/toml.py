"""Read, merge and write TOML."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from otolith.classifiers.prompts import read_prompts
from otolith.experiments.shipped import find_shipped, locate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Table = dict[str, Any]


def _read(path: Path) -> Table:
    try:
        tree: Table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is not TOML: {error}") from error
    for part in (tree, *(tree.get("variants") or {}).values()):
        if isinstance(part, dict) and isinstance(part.get("prompts"), str):
            part["prompts"] = read_prompts(
                locate(part["prompts"], path.parent)
            )  # a kept recipe is then whole by itself
    if base := tree.pop("extends", None):
        extended = find_shipped(str(base), path.parent)
        if path.resolve() == extended.resolve():
            raise ValueError(f"recipe '{path}' extends itself")
        tree = _merged(_read(extended), tree)
    return tree


def _merged(tree: Table, over: Table) -> Table:
    """`tree` with the values of `over`, table by table; one with a name (an encoder, an objective) replaces its own, and so
    do prompts."""
    merged = dict(tree)
    for key, value in over.items():
        whole = (
            key == "prompts" or not isinstance(value, dict) or "name" in value or not isinstance(tree.get(key), dict)
        )
        merged[key] = value if whole else _merged(tree[key], value)
    return merged


def _apply(tree: Table, change: str) -> None:
    """Puts one `section.key=value` into the tree."""
    where, equals, text = change.partition("=")
    if not equals or not where.strip():
        raise ValueError(f"cannot read the change '{change}'; expected section.key=value, such as pretrain.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is meant as a string
    *path, key = where.strip().split(".")
    for name in path:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ValueError(f"cannot set '{where.strip()}': '{name}' is a value, not a section")
    tree[key] = value


def _nones(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nones(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nones(inner) for inner in value]
    return None if value in ("none", "all") else value


def _as_toml(tree: Table, path: str = "") -> str:
    """The recipe as it was run, changes and all."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in tree.items() if not isinstance(value, dict)]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += ["", f"[{path}{_key(key)}]", _as_toml(value, f"{path}{_key(key)}.")]
    return "\n".join(lines)


def _key(name: str) -> str:
    """A key as TOML writes it: bare where it can be."""
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
