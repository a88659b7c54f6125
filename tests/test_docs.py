"""What the documents say is run, or compared with the code."""

import re
from pathlib import Path

import pytest

import otolith
from otolith.datasets import DATASETS
from otolith.evaluation.rows import Row

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


def test_every_command_in_the_documents_exists() -> None:
    from otolith.cli.console import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((Path(otolith.__file__).parent / "recipes").rglob("*.toml")),
    ]:
        for name in re.findall(
            r"(?:^|`|\s{2})otolith ([a-z]+(?:-[a-z]+)*)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert name in known, f"{path.name} names 'otolith {name}'"


def test_the_trees_name_every_module() -> None:
    package = Path(otolith.__file__).parent
    parts = {path.name + ("/" if path.is_dir() else "") for path in package.iterdir()}
    parts -= {"__init__.py", "__main__.py", "__pycache__/"}
    flow = (ROOT / "docs" / "flow.md").read_text(encoding="utf-8")
    for name in sorted(parts - {"recipes/"}):
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
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{path.name} links to {link}"
