"""Find what other packages add to Otolith: corpora, encoders and objectives, through entry points.

A package declares them in its `pyproject.toml`; afterwards recipes, `otolith prepare` and checkpoints know the names:

    [project.entry-points."otolith.encoders"]      # subclasses of `otolith.encoders.Encoder`
    mine = "my_package.encoder:MyEncoder"
    [project.entry-points."otolith.objectives"]    # subclasses of `otolith.objectives.Objective`
    [project.entry-points."otolith.datasets"]      # instances of `otolith.datasets.Dataset`

Otolith's own names win. Nothing is loaded before its name is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, TypeVar, cast

T = TypeVar("T")

_WORDS = {"dataset": "corpus"}  # what messages call a family's members, where it is another word


def find(name: str, own: Mapping[str, T], kind: str, expected: type) -> T:
    """Return the member of a family by its name.

    Args:
        name: as recipes write it.
        own: Otolith's own members by name; they are looked up first.
        kind: of the family, in the singular: `encoder`, `objective` or `dataset`. The group of entry points is
            `otolith.` and its plural.
        expected: class that a member of another package must be a subclass or an instance of.

    Raises:
        ValueError: no member has this name, or it cannot be loaded, or it is something else.
    """
    if name in own:
        return own[name]
    word = _WORDS.get(kind, kind)
    found = metadata.entry_points(group=f"otolith.{kind}s", name=str(name))
    if not found:
        known = names(own, kind)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"unknown {word} '{name}'; {hint}")
    (entry, *_) = found
    source = f"the {word} '{name}' ({entry.value}) of the package {entry.dist.name if entry.dist else '?'}"
    try:
        member: Any = entry.load()
    except Exception as error:
        raise ValueError(
            f"{source} cannot be loaded: {type(error).__name__}: {error}; update or uninstall that package"
        ) from error
    if not (isinstance(member, type) and issubclass(member, expected)) and not isinstance(member, expected):
        raise ValueError(f"{source} is {member!r}; expected {expected.__module__}.{expected.__name__}")
    return cast(T, member)


def names(own: Iterable[str], kind: str) -> list[str]:
    """Return the names of a family, Otolith's own first; nothing is loaded."""
    return list(dict.fromkeys([*own, *sorted(entry.name for entry in metadata.entry_points(group=f"otolith.{kind}s"))]))


def name_of(member: Any, own: Mapping[str, Any], kind: str) -> str | None:
    """Return the name under which a family has this member; None: it is not in the family."""
    for name, value in own.items():
        if value is member:
            return name
    for entry in metadata.entry_points(group=f"otolith.{kind}s"):
        if entry.name in own or _package(entry.value) != _package(getattr(member, "__module__", "")):
            continue
        with contextlib.suppress(Exception):  # an entry that cannot be loaded is another one
            if entry.load() is member:
                return entry.name
    return None


def _package(path: str) -> str:
    """The top package of `package.module:object`."""
    return path.partition(":")[0].partition(".")[0]
