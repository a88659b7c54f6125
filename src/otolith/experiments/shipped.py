"""Find, list and copy the recipes that ship with Otolith."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path

from otolith.storage.files import write_text

ROOT = Path(str(resources.files("otolith"))) / "recipes"
"""The folder of the shipped files. A file's name is its path in here without `.toml`, such as `few-shot/proof/spar`."""

_POINTS_TO_FILE = re.compile(r'^(\s*(?:extends|prompts)\s*=\s*)"([^"]+)"', re.MULTILINE)


def shipped_recipes() -> dict[str, str]:
    """Return the first comment line of every shipped recipe by name, in alphabetical order."""
    return {name: line for name, line in _described().items() if not name.startswith("prompts/")}


def shipped_prompts() -> dict[str, str]:
    """Return the first comment line of every shipped file of prompts by name, in alphabetical order."""
    return {name: line for name, line in _described().items() if name.startswith("prompts/")}


def locate(name: str | Path, folder: Path = Path()) -> Path:
    """Return `folder / name`, or the file that ships by this name if there is none at `folder / name`."""
    path, shipped = folder / name, Path(name).as_posix()
    return _file(shipped) if not path.is_file() and shipped in _names() else path


def find_shipped(recipe: str | Path, folder: Path = Path()) -> Path:
    """Return the file of a recipe that is given as a path or as a shipped name. A path comes first.

    Args:
        recipe: the path or the name.
        folder: the folder that a relative path starts from.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name; the message names the nearest one.
    """
    path = locate(recipe, folder)
    if path.is_file():
        return path
    local = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    there = f"there are: {', '.join(local)}; " if local else ""
    raise FileNotFoundError(f"no recipe at '{path}'; {there}{_nearest(Path(recipe).as_posix())}")


def find_shipped_group(recipe: str | Path) -> list[Path]:
    """Return the files of a recipe, or of all recipes in a folder where the path or the shipped name ends in a slash.

    Raises:
        FileNotFoundError: there is no such file, name or folder, or the folder holds no recipe.
    """
    if not str(recipe).endswith("/"):
        return [find_shipped(recipe)]
    folder = Path(recipe) if Path(recipe).is_dir() else ROOT / str(recipe)
    found = sorted(folder.glob("*.toml"))
    if not found:
        folders = sorted({f"{name.rpartition('/')[0]}/" for name in shipped_recipes() if "/" in name})
        raise FileNotFoundError(f"no recipes in '{recipe}'; folders that ship: {', '.join(folders)}")
    return found


def copy_shipped(name: str, to: Path) -> Path:
    """Copy a shipped recipe for editing and return the path of the copy.

    What the recipe extends is not copied: the copy names it, so that it works in any folder.

    Args:
        name: a shipped name.
        to: the new file, or a folder for it.

    Raises:
        FileExistsError: the new file exists.
        FileNotFoundError: there is no such name.
    """
    if name not in _names():
        raise FileNotFoundError(f"no recipe named '{name}' ships; {_nearest(name)}")
    source = _file(name)
    target = to if to.suffix == ".toml" else to / source.name
    if target.exists():
        raise FileExistsError(f"'{target}' exists; name another file: otolith recipes copy {name} FILE.toml")

    def by_name(found: re.Match[str]) -> str:
        path = (source.parent / found[2]).resolve()
        shipped = path.is_relative_to(ROOT.resolve()) and path.is_file()
        value = path.relative_to(ROOT.resolve()).with_suffix("").as_posix() if shipped else found[2]
        return f'{found[1]}"{value}"'

    write_text(target, _POINTS_TO_FILE.sub(by_name, source.read_text(encoding="utf-8")))
    return target


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.removesuffix(".toml").removeprefix("recipes/"), _names(), n=1)
    return (f"did you mean '{near[0]}'? " if near else "") + "`otolith recipes` lists the recipes that ship"


def _names() -> list[str]:
    return sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.toml"))


def _file(name: str) -> Path:
    return ROOT / f"{name}.toml"


def _described() -> dict[str, str]:
    found = {}
    for name in _names():
        first = _file(name).read_text(encoding="utf-8").partition("\n")[0]
        found[name] = first.removeprefix("#").strip()
    return found
