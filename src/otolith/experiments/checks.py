"""Check the tables of a recipe against the signatures of the functions and classes that they are passed to."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

from otolith.experiments.toml import Table

Function = Callable[..., Any]


def check_names(names: Iterable[str], allowed: Iterable[str], what: str) -> None:
    """Raise ValueError for a name that is not allowed; it names the nearest one that is."""
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(allowed)
            raise ValueError(f"unknown name '{name}' in {what}; {hint}")


def argument_types(functions: Sequence[Function], skip: Sequence[str] = ()) -> dict[str, Any]:
    """Return the type of each argument of some functions or classes.

    Args:
        functions: several have their arguments together.
        skip: arguments that a recipe does not set.
    """
    hints: dict[str, Any] = {}
    for function in functions:
        types = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
        hints |= {name: types[name] for name in inspect.signature(function).parameters if name not in skip}
    return hints


def is_group(hint: Any) -> TypeGuard[type]:
    """Return whether a type is a dataclass, which a recipe writes as a table of its arguments."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def check_table(table: Mapping[str, Any], functions: Sequence[Function], what: str, skip: Sequence[str] = ()) -> Table:
    """Return the table with its values checked and converted.

    An argument whose type is a dataclass is a table of that class's arguments.

    Args:
        table: values by argument.
        functions: whose arguments they are.
        what: name of the table, for errors.
        skip: arguments that a recipe does not set; `group.name` for one inside a dataclass.

    Raises:
        ValueError: an unknown argument, or a value of another type.
    """
    hints = argument_types(functions, skip)
    groups = {name: list(inspect.signature(hint).parameters) for name, hint in hints.items() if is_group(hint)}
    for name in table:
        if name not in hints and (group := next((group for group, inner in groups.items() if name in inner), None)):
            raise ValueError(f"unknown name '{name}' in [{what}]; did you mean '{group}.{name}'?")
    check_names(table, hints, f"[{what}]")
    checked: Table = {}
    for name, value in table.items():
        if name in groups:
            if not isinstance(value, dict):
                raise ValueError(
                    f"[{what}] {name} = {value!r}: expected a table with some of {', '.join(groups[name])}"
                )
            inner = [each.removeprefix(f"{name}.") for each in skip if each.startswith(f"{name}.")]
            checked[name] = check_table(value, [hints[name]], f"{what}.{name}", inner)
            continue
        if "bool" not in str(hints[name]) and any(each is True or each is False for each in _scalars(value)):
            raise ValueError(f"[{what}] {name} = {value!r}: true and false are no numbers")
        try:
            checked[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"[{what}] {name} = {value!r}: {error.errors()[0]['msg']}") from None
    return checked


def _scalars(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def check_member(
    table: Table, find: Callable[[str], Function], known: Iterable[str], what: str, skip: Sequence[str]
) -> Table:
    """Return the checked table of a member of a family: its name, and its arguments.

    Args:
        table: the section of a recipe.
        find: name -> class, such as `find_encoder`.
        known: names, for the error where the table has none.
        what: name of the section.
        skip: arguments that a recipe does not set.
    """
    if "name" not in table:
        raise ValueError(f"[{what}] has no name; one of {', '.join(known)}")
    rest = {key: value for key, value in table.items() if key != "name"}
    return {"name": table["name"], **check_table(rest, [find(table["name"])], what, skip)}


def build_arguments(table: Mapping[str, Any], function: Function) -> Table:
    """Return the arguments of a function with each table that stands for a dataclass built."""
    hints = argument_types([function])
    return {name: hints[name](**value) if is_group(hints[name]) else value for name, value in table.items()}


def has_argument(function: Function, path: str) -> bool:
    """Return whether a function has an argument, such as `lr`, or `sampling.share` inside a dataclass."""
    name, _, rest = path.partition(".")
    hints = argument_types([function])
    if not rest or name not in hints:
        return name in hints
    return is_group(hints[name]) and has_argument(hints[name], rest)


def nested(path: str, value: Any) -> Table:
    """Return `{"a": {"b": value}}` for the path `a.b`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]
