"""Stages: which people an encoder sees, where it lies, and what several runs share."""

import dataclasses
from pathlib import Path

import pytest

from otolith import checkpoint, recipe
from otolith.datasets import synthetic
from otolith.stages import Run
from otolith.store import prepare

TEXT = """
dataset = "synthetic"
pretrain_on = {corpora}
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[unlabelled]
overlap = 0.0
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
shots = [2]
modes = ["frozen", "scratch", "forest"]
[transfer]
head = "logistic"
steps = 2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target and two further corpora, of 6, 6 and 1 people; two of them name their people alike."""
    folder = tmp_path_factory.mktemp("data")
    for name, people, seed in (("synthetic", 6, 0), ("motionsense", 6, 1), ("spar", 1, 2)):
        prepare(synthetic.made(subjects=people, seed=seed), folder / name, dataset=name, labels=("slow",))
    return folder


def run(data: Path, folder: Path, corpora: str, shared: Path | None = None) -> Run:
    path = folder / "r.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(corpora=corpora))
    return Run(recipe.load(path), folder, data, shared)


def test_other_corpora_alone_give_one_encoder_a_seed(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["motionsense", "spar"]')
    plan = job.plan(job.windows())
    paths = {job.encoder_path(unit) for unit in plan}
    assert len(plan) == 6 and len(paths) == 2
    for seed in (0, 1):
        made = job.pretraining(next(unit for unit in plan if unit.seed == seed))
        assert made.validation is not None
        train, held = set(made.train.people), set(made.validation.people)
        assert train | held == {"spar:1", *(f"motionsense:{n}" for n in range(1, 7))} and not train & held
        assert "spar:1" in train and len(held) == 2  # a fifth of six people, rounded up; one person only trains


def test_the_target_among_them_keeps_its_test_people_out(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["motionsense", "synthetic"]')
    for unit in job.plan(job.windows()):
        made = job.pretraining(unit)
        assert made.validation is not None
        assert {f"synthetic:{name}" for name in unit.split.train} < set(made.train.people)
        assert {f"synthetic:{name}" for name in unit.split.validation} < set(made.validation.people)
        assert not {f"synthetic:{name}" for name in unit.split.test} & {*made.train.people, *made.validation.people}
    assert len(job.pretraining(None).train.people) == 12 and job.pretraining(None).validation is None


def test_the_name_of_an_encoder_follows_from_all_that_made_it(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    unit = job.plan(job.windows())[0]
    names = {job.encoder_path(unit).name, run(data, tmp_path, '["motionsense"]').encoder_path(unit).name}
    for change in (
        {"pretrain": {"epochs": 2}},
        {"objective": {"name": "simclr", "temperature": 0.5}},
        {"encoder": {"name": "strided", "dropout": 0.1}},
        {"unlabelled": {**job.recipe.unlabelled, "overlap": 0.5}},
    ):
        other = Run(dataclasses.replace(job.recipe, **change), tmp_path, data)
        names.add(other.encoder_path(unit).name)
    assert len(names) == 6
    again = run(data, tmp_path / "elsewhere", '["synthetic"]').encoder_path(unit)
    assert again.name == job.encoder_path(unit).name and again.parent != job.encoder_path(unit).parent


def test_runs_share_encoders_and_the_rows_that_do_not_depend_on_them(data: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    one = run(data, tmp_path / "one", '["motionsense", "spar"]', shared)
    list(one.pretrain())
    encoders = sorted((shared / "encoders").iterdir())
    assert len(encoders) == 2 and all(path.suffix == ".safetensors" for path in encoders)
    about = checkpoint.load(encoders[0]).about
    assert about["pretrained_on"] == "motionsense+spar" and "spar:1" in about["subjects"]
    assert about["settings"]["pretrain"] == {"epochs": 1, "batch_size": 32}
    assert about["objective_arguments"]["temperature"] == 0.1 and "head" in checkpoint.load(encoders[0]).heads
    total, rows = one.evaluate()
    made = list(rows)
    assert total == len(made) == 18 and not any(row.test_seen_in_pretraining for row in made)
    assert {row.pretrained_on for row in made if row.mode == "frozen"} == {"motionsense+spar"}
    before = {path: path.stat().st_mtime_ns for path in (shared / "rows").iterdir()}
    two = run(data, tmp_path / "two", '["motionsense", "spar"]', shared)
    assert list(two.pretrain()) == []
    assert [row.fingerprint for row in two.evaluate()[1]] == [row.fingerprint for row in made]
    assert before == {path: path.stat().st_mtime_ns for path in (shared / "rows").iterdir()}
    target = run(data, tmp_path / "three", '["synthetic"]', shared)
    list(target.pretrain())
    rows = list(target.evaluate()[1])
    mine = {row.fingerprint for row in rows} & {row.fingerprint for row in made}
    assert mine == {row.fingerprint for row in rows if row.mode == "forest"}
