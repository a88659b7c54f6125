"""The programs of examples/ run, and the package of examples/plugin is found by its entry points."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otolith.cli.main import app
from otolith.encoders import find_encoder
from otolith.experiments.toml import tomllib

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_grid_search_scores_people_left_out(
    corpora: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["search.py", "--data", str(corpora), "--shots", "3"])
    runpy.run_path(str(EXAMPLES / "sklearn" / "search.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[6].startswith("chosen: {'head__C'")
    assert 0.3 < float(lines[7].rpartition(" ")[2]) <= 1


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of examples/plugin, as an editable install leaves it."""
    project = tomllib.loads((EXAMPLES / "plugin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in names.items()) for group, names in groups
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    for folder in (tmp_path / "site", EXAMPLES / "plugin" / "src"):
        monkeypatch.syspath_prepend(str(folder))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "otolith_extras"]:
        del sys.modules[name]


def test_a_package_of_ones_own_is_pretrained_and_compared(
    plugin: None, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "plugin" / "recipe.toml", tmp_path)
    small = ["--data", str(corpora), "--set", "dataset=synthetic", "--set", "pretrain.epochs=1"]
    small += ["--set", "protocol.folds=2", "--quiet"]
    for words in (["pretrain"], ["evaluate", "--jobs", "1"], ["report"]):
        assert app([*words, "recipe.toml", *small], standalone_mode=False) in (None, 0)
    assert find_encoder("gated").__module__ == "otolith_extras.gated"
    table = next(tmp_path.rglob("rows.csv")).read_text(encoding="utf-8")
    assert "gated" in table and "next-half" in table and "random-frozen" in table
