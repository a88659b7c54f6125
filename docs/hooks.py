"""Pages that mkdocs makes when it builds the manual: the commands, the API, notebooks, and files outside this folder.

mkdocs calls `on_config`, `on_files` and `on_page_markdown`. A link from a page to a file outside `docs/`, as an example,
leads to a copy of this file in the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import typer
from mkdocs.structure.files import File, Files

import otolith
from otolith.cli.main import COMMANDS, app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTSIDE = "project"  # folder of the site for files outside docs/
MERMAID = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)  # drawn by scripts from the network; the site shows a picture
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")

GROUPS = {
    "data": "Recordings, prepared stores, windows and splits",
    "datasets": "Corpora",
    "encoders": "Encoders",
    "objectives": "Objectives of pretraining",
    "pretraining": "The training loop",
    "checkpoints": "Files of models",
    "classifiers": "Classifiers",
    "evaluation": "The protocol: folds, rows and statistics",
    "paired": "Text, video and other sensors",
    "experiments": "Recipes, runs and studies",
    "apps": "Own recordings: adapt and label",
}
"""Packages with public names, in data order, and the titles of their pages."""


def on_config(config: Any) -> Any:
    """List the generated pages in the navigation."""
    for section in config["nav"]:
        for title, pages in [("Commands", command_pages()), ("API", api_pages())]:
            if title in section:
                section[title] = [name for name, _ in pages]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those of the folder."""
    for name, text in [*command_pages(), *api_pages()]:
        files.append(File.generated(config, name, content=text))
    for path in sorted((DOCS / "tutorials").glob("*.md")):
        files.append(File.generated(config, f"tutorials/{path.stem}.ipynb", content=notebook(path)))
    for path in outside(
        [DOCS / file.src_uri for file in files.documentation_pages() if (DOCS / file.src_uri).is_file()]
    ):
        files.append(File.generated(config, site_path(path), content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    uri = page.file.src_uri
    origin = ROOT / Path(uri).relative_to(OUTSIDE) if uri.startswith(f"{OUTSIDE}/") else DOCS / uri
    if not origin.is_file():
        return markdown

    markdown = MERMAID.sub(f"![]({os.path.relpath('images/flow.svg', Path(uri).parent)})\n", markdown)

    def moved(match: re.Match[str]) -> str:
        target = local(origin, match[2])
        if target is None:
            return match[0]
        return match[1] + os.path.relpath(site_path(target), Path(uri).parent) + match[3]

    return LINK.sub(moved, markdown)


def local(origin: Path, link: str) -> Path | None:
    """Return the file of the repository that a link names; None: it is no such file."""
    target = Path(os.path.normpath(origin.parent / link))
    return target if "://" not in link and target.is_file() and target.is_relative_to(ROOT) else None


def site_path(path: Path) -> str:
    """Return where a file of the repository is in the site."""
    inside = path.is_relative_to(DOCS)
    return path.relative_to(DOCS).as_posix() if inside else f"{OUTSIDE}/{path.relative_to(ROOT).as_posix()}"


def outside(pages: list[Path]) -> list[Path]:
    """Return the files outside `docs/` that pages link to, those that these link to, and the pages of the project."""
    found = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    found += sorted((ROOT / "examples").glob("*/README.md"))
    waiting = [*pages, *found]
    while waiting:
        page = waiting.pop()
        links = [local(page, link) for _, link, _ in LINK.findall(page.read_text(encoding="utf-8"))]
        new = {target for target in links if target is not None and not target.is_relative_to(DOCS)} - set(found)
        found += sorted(new)
        waiting += [target for target in new if target.suffix == ".md"]
    return found


def notebook(path: Path) -> str:
    """Return a tutorial as a notebook; blocks of shell code become cells of the shell."""
    return jupytext.writes(jupytext.read(path), fmt="ipynb")


def api_pages() -> Iterator[tuple[str, str]]:
    """Yield one page per package with the docstrings of its public names."""
    places = {name: f"{module}.{name}" for module, names in otolith._NAMES.items() for name in names}
    places |= {name: f"{module}.{original}" for name, (module, original) in otolith._RENAMED.items()}
    for module in otolith._MODULES:
        places |= {name: f"{module}.{name}" for name in getattr(otolith, module).__all__ if name not in places}
    for package, title in GROUPS.items():
        names = sorted((name for name in places if places[name].partition(".")[0] == package), key=str.lower)
        blocks = [f"::: otolith.{places[name]}\n    options:\n      heading_level: 2\n" for name in names]
        yield f"api/{package}.md", f"# {title}\n\n" + "\n".join(blocks)
    rows = [
        f"- [{title}]({package}.md): "
        + ", ".join(f"`{n}`" for n in sorted(places, key=str.lower) if places[n].partition(".")[0] == package)
        for package, title in GROUPS.items()
    ]
    yield (
        "api/index.md",
        "# API reference\n\nAll names are in `otolith`: `import otolith as ot`.\n\n" + "\n".join(rows) + "\n",
    )


def command_pages() -> Iterator[tuple[str, str]]:
    """Yield one page per command, made from what `--help` shows."""
    root: Any = typer.main.get_command(app)
    with root.make_context("otolith", [], resilient_parsing=True) as context:
        lines = [
            f"\n## {panel}\n\n" + "\n".join(f"- [`otolith {n}`]({n}.md): {short(root.commands[n])}" for n in commands)
            for panel, commands in COMMANDS.items()
        ]
        yield "commands/index.md", f"# Commands\n\n{prose(root.help)}\n" + "\n".join(lines) + f"\n\n{root.epilog}\n"
        for name, command in root.commands.items():
            yield f"commands/{name}.md", "\n".join(command_page(f"otolith {name}", command, context))


def command_page(name: str, command: Any, parent: Any) -> Iterator[str]:
    """Yield the lines of a command's page."""
    with command.make_context(name.split()[-1], [], parent=parent, resilient_parsing=True) as context:
        parameters = command.get_params(context)
        usage = " ".join([name, *(piece for each in parameters for piece in each.get_usage_pieces(context))])
        yield f"# {name}\n\n```text\n{usage} [OPTIONS]\n```\n\n{prose(command.help or '')}\n"
        panels: dict[str, list[str]] = {}
        for each in parameters:
            plain = "Arguments" if each.param_type_name == "argument" else "Options"
            panel = getattr(each, "rich_help_panel", None) or plain
            if record := each.get_help_record(context):
                first = record[0].replace("|", "\\|")
                panels.setdefault(panel, []).append(f"| `{first}` | {cell(record[1])} |")
        for panel, rows in panels.items():
            yield f"## {panel}\n\n| name | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
        for inner, each in getattr(command, "commands", {}).items():
            for line in command_page(f"{name} {inner}", each, context):
                yield "#" + line if line.startswith("#") else line


def cell(text: str) -> str:
    """Return a help text as one cell of a table."""
    return " ".join(prose(text).split()).replace("|", "\\|")


def short(command: Any) -> str:
    """Return the first paragraph of a command's help."""
    return prose(command.help or "").partition("\n\n")[0]


def prose(text: str) -> str:
    """Return a help text without the terminal's markup, as Markdown."""
    text = re.sub(r"\\\[", "[", text.replace("\b\n", ""))
    text = re.sub(r"\[bold\](.*?)\[/(?:bold)?\]", r"**\1**", text)
    return text.replace("<", "&lt;")
