"""A committed row is made again from the row alone, to the bit; a changed row is found to differ."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from otolith.data.prepare import prepare
from otolith.datasets import synthetic
from otolith.evaluation.protocol import collect_rows
from otolith.experiments import recipe as recipes
from otolith.experiments import study
from otolith.experiments.rerun import PROVENANCE, Difference, differences, find_row, rerun
from otolith.experiments.run import Run
from otolith.reports.study import write_table

RECIPE = """
dataset = "synthetic"
setting = "easy"
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[encoder]
name = "strided"
[objective]
name = "simclr"
[pretrain]
epochs = 1
batch_size = 32
[protocol]
folds = 3
fold_seed = 0
seeds = [0, 1]
shots = [2, "all"]
modes = ["frozen", "slow", "forest"]
[transfer]
head = { name = "mlp", hidden = [8] }
training = { steps = 3 }
[transfer.slow]
mode = "finetune"
training = { lr = 1e-5 }
[search]
"pretrain.lr" = [1e-3, 1e-4]
[variants.one.pretrain]
lr = 1e-3
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(synthetic.made(subjects=6, seed=0), folder / "synthetic", dataset="synthetic", labels=("slow",))
    return folder


@pytest.fixture(scope="module")
def tables(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows of one recipe, as `otolith report` and as `otolith study` write them."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "small.toml").write_text(RECIPE)
    (run,) = study.study([folder / "small.toml"], folder / "study", data)
    list(run.pretrain())
    _, rows = run.evaluate()
    list(rows)
    found = collect_rows(run.rows)
    (folder / "rows.csv").write_text(found.to_csv(index=False))
    write_table(*study.study_rows([run]), folder / "study.csv")
    return folder


def again(address: str, number: int | None, data: Path, folder: Path) -> tuple[list[Difference], list[Difference]]:
    """Pretrain and compute what an address names, in a folder without encoders."""
    job = rerun(find_row(address, number), data, folder)
    assert len(list(job.run.pretrain(of=[job.unit]))) > 0, "the encoder is made again"
    return differences(job.row, job.again())


@pytest.mark.parametrize("table", ["rows.csv", "study.csv"])
@pytest.mark.parametrize("mode", ["frozen", "slow", "forest"])
def test_a_row_is_made_again_to_the_bit(mode: str, table: str, tables: Path, data: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(tables / table)
    (row, *_) = rows[(rows["mode"] == mode) & (rows["seed"] == 1) & (rows["fold"] == 2)].itertuples()
    assert again(f"{tables / table}#{row.fingerprint}", None, data, tmp_path / "one") == ([], [])
    assert again(str(tables / table), row.Index + 1, data, tmp_path / "two") == ([], [])


def changed(tables: Path, to: Path, number: int, **values: Any) -> Path:
    """A copy of the table in which one row has other values."""
    with (tables / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[number - 1] |= values
    with to.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return to


def test_a_changed_row_is_found_to_differ(tables: Path, data: Path, tmp_path: Path) -> None:
    row = pd.read_csv(tables / "rows.csv", dtype=str).iloc[0]
    near = float(row["macro_f1"]) + 1e-15
    table = changed(tables, tmp_path / "t.csv", 1, macro_f1=repr(near), weights="0" * 16, torch="0.1", seconds="99")
    results, made_by = again(str(table), 1, data, tmp_path / "out")
    assert results == [
        Difference("macro_f1", near, float(row["macro_f1"])),
        Difference("weights", "0" * 16, row["weights"]),
    ]
    assert [each.column for each in made_by] == ["torch"]


def test_another_recipe_gives_another_row(tables: Path, data: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(tables / "rows.csv")
    number = int(rows.index[rows["mode"] == "frozen"][0]) + 1
    tree = json.loads(rows["recipe"][number - 1])
    tree["pretrain"]["lr"] = 0.5
    table = changed(tables, tmp_path / "t.csv", number, recipe=json.dumps(tree))
    results, _ = again(str(table), number, data, tmp_path / "out")
    assert {"weights", "pretraining"} <= {each.column for each in results}


def test_the_recipe_of_a_row_is_whole(tables: Path) -> None:
    given = recipes.load(tables / "small.toml", variant="one")
    read = recipes.from_json(given.as_json())
    ignored = {"text", "search"}
    assert {k: v for k, v in vars(read).items() if k not in ignored} == {
        k: v for k, v in vars(given).items() if k not in ignored
    }
    row = find_row(str(tables / "study.csv"), 1)
    assert row.values["recipe"] == given.as_json() and "\n" not in row.values["recipe"]
    assert row.values["dataset"] == "synthetic", "the corpus, not the setting"
    assert set(PROVENANCE) <= set(row.values)


def without_recipe(tables: Path, tmp_path: Path, _: Path) -> tuple[str, int]:
    table = pd.read_csv(tables / "rows.csv", dtype=str, keep_default_na=False).drop(columns=["recipe", "weights"])
    table.to_csv(tmp_path / "old.csv", index=False)
    return str(tmp_path / "old.csv"), 1


def of_another_corpus(tables: Path, tmp_path: Path, data: Path) -> tuple[str, int]:
    prepare(synthetic.made(subjects=6, seed=1), data / "synthetic", dataset="synthetic", labels=("slow",))
    return str(tables / "rows.csv"), 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            without_recipe,
            r"row 1 of '.*old.csv' holds no recipe, .* \(commit .*\); give the recipe .*: --recipe RECIPE",
        ),
        (of_another_corpus, r"was made from other windows of synthetic: they have the hash .*, those in '.*--data DIR"),
        (
            lambda t, p, _: (str(changed(t, p / "a.csv", 1, recipe="{")), 1),
            "row 1 of '.*', column recipe: the recipe is no",
        ),
        (lambda t, p, _: (str(changed(t, p / "b.csv", 1, fold="7")), 1), "has no fold 7 with seed .*--recipe RECIPE"),
        (
            lambda t, p, _: (str(changed(t, p / "c.csv", 1, fold="x")), 1),
            "row 1 of '.*c.csv', column fold: 'x' is no int",
        ),
        (
            lambda t, p, _: (str(changed(t, p / "d.csv", 1, recipe="[" * 100_000)), 1),
            "column recipe: the recipe is not JSON: maximum recursion",
        ),
        (
            lambda t, p, _: (str(changed(t, p / "e.csv", 1, mode="nope")), 1),
            "plans no row of mode 'nope' with 2 labelled windows per class; give the recipe that made the row",
        ),
        (lambda t, p, _: (str(t / "rows.csv"), 999), r"has no row with the address row 999 of 36; expected one row"),
        (
            lambda t, p, _: (f"{t / 'rows.csv'}#zzz", None),
            "has no row with the address fingerprint zzz; expected one row",
        ),
        (lambda t, p, _: (str(t / "rows.csv"), None), "names no row; expected TABLE.csv#FINGERPRINT, or TABLE.csv and"),
        (lambda t, p, _: (f"{p / 'absent.csv'}#a", None), "no table at '.*absent.csv'; expected a CSV file of rows"),
        (
            lambda t, p, _: (f"{t / 'small.toml'}#a", None),
            "lacks the columns fingerprint, fold, fold_seed, .*; expected res",
        ),
    ],
)
def test_what_cannot_be_made_again_is_explained(
    make: Callable[[Path, Path, Path], tuple[str, int | None]], message: str, tables: Path, data: Path, tmp_path: Path
) -> None:
    here = tmp_path / "data"
    here.mkdir()
    if make is not of_another_corpus:
        here = data
    address, number = make(tables, tmp_path, here)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rerun(find_row(address, number), here, tmp_path / "out")


def test_a_row_without_its_recipe_is_made_again_by_the_recipe_that_is_given(
    tables: Path, data: Path, tmp_path: Path
) -> None:
    address, number = without_recipe(tables, tmp_path, data)
    job = rerun(find_row(address, number), data, tmp_path / "out", recipes.load(tables / "small.toml", variant="one"))
    list(job.run.pretrain(of=[job.unit]))
    assert differences(job.row, job.again()) == ([], [])
    assert isinstance(job.run, Run)
