"""What the documents say is run, or compared with the code."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import otolith
from otolith.cli.main import app
from otolith.datasets import DATASETS
from otolith.evaluation.rows import Row
from otolith.experiments.shipped import find_shipped_group

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_example_runs_as_it_stands(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("importlib.util").find_spec("seglearn") or pytest.skip("the extra 'demo' is not installed")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    lines = [line for line in code[1].splitlines() if line.strip()]
    assert len(lines) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "README.md", "exec"), {})  # the reader's example, from this repository
    assert 0.2 < float(capsys.readouterr().out.splitlines()[-1]) <= 1
    assert (tmp_path / "model.safetensors").exists()


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = sorted((Path(otolith.__file__).parent / "recipes").rglob("*.toml"))
LOG = ROOT / "docs" / "evidence"  # its commands are those of the commits that it names


def test_every_command_in_the_documents_exists() -> None:
    for path in [*PAGES, *RECIPES]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"(?:^|`|\s{2})otolith ([a-z]+(?:-[a-z]+)*)", text, re.MULTILINE):
            assert name in COMMANDS, f"{path.name} names 'otolith {name}'"


def commands_of(path: Path) -> list[list[str]]:
    """The commands in a document's blocks of shell code, or in a recipe's first comment, as words after `otolith`."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        lines = [line[1:] for line in text.splitlines() if line.startswith("#   otolith")]
    else:
        lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.split()[:1] == ["otolith"]]


@pytest.mark.parametrize("path", [path for path in [*PAGES, *RECIPES] if commands_of(path)], ids=lambda path: path.stem)
def test_every_command_line_in_the_documents_is_accepted(path: Path) -> None:
    for name, *words in commands_of(path):
        context = COMMANDS[name].make_context(name, list(words))  # raises for an unknown option or a missing argument
        recipes = context.params.get("recipe") or context.params.get("recipes") or ()
        for recipe in [recipes] if isinstance(recipes, str) else recipes:
            own = recipe.isupper() or recipe.endswith(".toml") or LOG in path.parents
            assert own or find_shipped_group(recipe), f"{path.name}: {recipe}"


def test_the_trees_name_every_module() -> None:
    package = Path(otolith.__file__).parent
    parts = {path.name + ("/" if path.is_dir() else "") for path in package.iterdir()}
    parts -= {"__init__.py", "__main__.py", "__pycache__/", "py.typed"}
    flow = (ROOT / "docs" / "flow.md").read_text(encoding="utf-8")
    for name in sorted(parts):
        assert f"  {name} " in flow, f"docs/flow.md does not list {name}"
    for name in sorted(parts):
        assert f"  {name} " in README, f"README.md does not list {name}"


def test_corpora_and_columns_are_documented() -> None:
    corpora = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name, card in DATASETS.items():
        assert f"| `{name}` | {card.subjects} | {len(card.classes)} | {card.rate_hz:g} |" in corpora
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = protocol[protocol.index("| column | meaning |") :]
    documented = set(
        re.findall(r"\w+", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    )
    assert set(Row.__dataclass_fields__) <= documented


def test_the_changelog_knows_this_version() -> None:
    assert f"## {otolith.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            made = re.search(r"^(\.\./)*(api|commands)/|\.ipynb$", link)  # when the site is built, which checks them
            if not link.startswith("http") and not made:
                assert (path.parent / link).exists(), f"{path.name} links to {link}"
