"""Recipes that ship: listed, shown, copied, and found by name where there is no checkout."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Ran
from otolith.experiments.recipe import load, variants
from otolith.experiments.shipped import find_shipped, shipped_prompts, shipped_recipes


def test_every_recipe_is_listed_with_a_sentence(otolith: Callable[..., Ran]) -> None:
    ran = otolith("recipes")
    assert ran.status == 0
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert {"demo", "motionsense-simclr", "few-shot/proof/spar", "primus/utd-mhad", "prompts/spar"} <= set(lines)
    assert all(line.strip()[0].isupper() and line.strip().endswith(".") for line in lines.values())
    assert json.loads(otolith("recipes", "list", "--json").out) == {**shipped_recipes(), **shipped_prompts()}


@pytest.mark.parametrize("name", ["motionsense-simclr", "few-shot/proof/spar", "primus/utd-mhad"])
def test_a_recipe_is_shown_as_its_file_stands(otolith: Callable[..., Ran], name: str) -> None:
    assert otolith("recipes", "show", name).out == find_shipped(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*shipped_recipes()])
def test_a_copy_means_what_the_original_means(
    otolith: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = otolith("recipes", "copy", name)
    copied = Path(ran.out.strip())
    assert (
        ran.status == 0
        and copied.name == f"{name.rpartition('/')[2]}.toml"
        and [*tmp_path.iterdir()] == [tmp_path / copied]
    )
    assert load(copied) == load(name) and variants(copied) == variants(name)
    for variant in variants(name)[:2]:
        assert load(copied, variant=variant) == load(name, variant=variant)


def test_a_copy_never_replaces_a_file(otolith: Callable[..., Ran], tmp_path: Path) -> None:
    target = tmp_path / "new" / "mine.toml"
    assert otolith("recipes", "copy", "demo", target).status == 0
    target.write_text("# changed\n")
    ran = otolith("recipes", "copy", "demo", target)
    assert ran.status == 1 and "exists" in ran.err and target.read_text() == "# changed\n"


def test_a_file_comes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = find_shipped("demo").read_text(encoding="utf-8").replace('name = "demo"', 'name = "own"')
    Path("demo").write_text(own)
    assert load("demo").name == "own"
    Path("demo").unlink()
    assert load("demo").name == "demo"


def test_a_recipe_extends_a_shipped_one_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "motionsense-simclr"\nprompts = "prompts/spar"\n[pretrain]\nepochs = 3\n')
    loaded = load(path)
    assert loaded.pretrain["epochs"] == 3 and loaded.encoder["name"] == "tpn" and loaded.prompts
    path.write_text('extends = "motionsense"\n')
    with pytest.raises(FileNotFoundError, match=r"no recipe at .*motionsense.*did you mean"):
        load(path)


def test_a_name_with_a_slash_at_its_end_means_all_inside(
    otolith: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = otolith("study", "few-shot/proof/", "--only-page")
    assert ran.status == 1 and "no result rows of this study yet" in ran.err
