"""Search: which settings are tried, what they are judged by, whose recordings have a say, and that nothing is lost."""

import contextlib
import dataclasses
import functools
import inspect
import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from filelock import FileLock

from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.store import open_store
from otolith.data.windows import Windows
from otolith.datasets import synthetic
from otolith.encoders import ENCODERS
from otolith.experiments import recipe, search, search_space, trials
from otolith.experiments.run import Run
from otolith.objectives import CPC, OBJECTIVES, SimCLR
from otolith.pretraining import pretrain

TEXT = """
name = "small"
dataset = "synthetic"
pretrain_on = ["motionsense"]
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[unlabelled]
overlap = 0.0
[encoder]
name = "strided"
[objective]
name = "simclr"
[pretrain]
epochs = 2
batch_size = 32
[protocol]
folds = 3
[search]
"encoder.dropout" = [0.0, 0.1]
pretrain.lr = { low = 1e-4, high = 1e-2, log = true }
pretrain.batch_size = [16, 32]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target, a corpus to pretrain on and one to judge on; six people each."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("synthetic", "motionsense", "spar")):
        prepare(synthetic.made(seed=seed, seconds=14), folder / name, dataset=name, labels=synthetic.DATASET.classes)
    return folder


def run(data: Path, folder: Path, *changes: str, text: str = TEXT) -> Run:
    path = folder / "r.toml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Run(recipe.load(path, changes), folder, data)


def table(job: Run) -> pd.DataFrame:
    return pd.read_csv(job.folder / "search.csv")


def ends(found: list[search.Trial]) -> list[search.Trial]:
    return [trial for trial in found if trial.step is None and not trial.done]


def the_study(job: Run) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{job.folder / 'search.db'}")


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[search.Trial]]:
    """Five trials that nothing interrupts."""
    job = run(data, tmp_path_factory.mktemp("unbroken"))
    return job, list(search.search(job, trials=5))


searched = functools.partial(search.search, picture=False)  # drawing takes longer than these trials


# what is searched


SHORT = [name for name in ENCODERS if name != "primus"]  # which needs more than the 100 time steps of a window here


def fitting(objective: str, data: Path, by: search_space.Metric = "transfer", **unlabelled: float) -> dict:
    changes = {"objective.name": objective, "encoder.name": "cpc"}
    alone = {"objective.alpha": 1.0} if objective == "primus" else {}  # nothing is paired here
    loaded = recipe.changed(run(data, data / "recipes").recipe, changes | alone)
    train = cut(open_store(data / "motionsense"), channels=["acc_x", "acc_y", "acc_z"], label=None, **unlabelled)
    return search_space.space(loaded, train, by)


def test_the_space_is_the_papers_as_far_as_the_objective_has_it(data: Path) -> None:
    rest = {
        "encoder.dropout": [0.1, 0.2],
        "pretrain.lr": {"low": 5e-5, "high": 5e-3, "log": True},
        "pretrain.weight_decay": [0.0, 1e-5, 1e-4, 5e-4],
    }
    every = {**rest, "encoder.name": SHORT, "encoder.kernel": [3, 5], "pretrain.batch_size": [64, 128, 256]}
    assert fitting("reconstruction", data) == fitting("transform_discrimination", data) == every
    assert fitting("simclr", data) == {
        **every,
        "pretrain.batch_size": [512, 1024, 4096],
        "objective.temperature": [0.07, 0.1, 0.5],
    }
    future = {**every, "encoder.name": ["cpc", "deepconvlstm"], "objective.future_steps": [16, 32, 48, 64]}
    assert fitting("cpc", data) == fitting("cpc_reconstruction", data) == future


def test_by_loss_the_space_has_nothing_that_changes_what_the_loss_measures(data: Path) -> None:
    for objective, lost in (
        ("simclr", {"objective.temperature"}),
        ("cpc", {"objective.future_steps"}),
        ("primus", {"objective.temperature", "pretrain.batch_size"}),
        ("reconstruction", set()),
    ):
        every = fitting(objective, data)
        assert fitting(objective, data, by="loss") == {key: what for key, what in every.items() if key not in lost}
        assert lost <= every.keys()


def test_sizes_of_heads_leave_losses_comparable() -> None:
    names = ["objective.widths", "objective.alpha", "objective.queue", "pretrain.batch_size", "pretrain.lr"]
    assert search_space.incomparable("simclr", names) == ["objective.alpha", "objective.queue"]
    assert search_space.incomparable("primus", names) == ["objective.alpha", "objective.queue", "pretrain.batch_size"]


def test_short_windows_leave_out_what_does_not_fit_them(data: Path) -> None:
    assert fitting("cpc", data, seconds=1.0)["objective.future_steps"] == [16, 32]  # of 34 steps of deepconvlstm
    assert fitting("reconstruction", data, seconds=0.8)["encoder.name"] == [n for n in SHORT if n != "tpn"]
    with pytest.raises(ValueError, match=r"no encoder fits: .*set future_steps below 15"):
        fitting("cpc", data, seconds=0.3)


def test_a_value_is_tried_beside_others_of_the_space(data: Path, tmp_path: Path) -> None:
    changes = "search={encoder.dropout=[0.0, 0.1], objective.future_steps=[16, 32]}", "encoder={name='cpc'}"
    job = run(data, tmp_path, *changes, "objective={name='cpc', future_steps=64}", "unlabelled.seconds=1.0")
    train = job.unlabelled["motionsense"]
    assert (
        search_space.space(job.recipe, train, "transfer") == job.recipe.search
    )  # 64 steps ahead do not fit, but the search does not try them
    fits = run(data, tmp_path, *changes[1:], "search={objective.future_steps=[16, 64]}", "objective={name='cpc'}")
    with pytest.raises(ValueError, match="future_steps = 64 does not fit cpc and cpc"):
        search_space.space(fits.recipe, train)


def test_settings_that_the_drawn_encoder_lacks_are_not_drawn(data: Path, tmp_path: Path) -> None:
    found = fitting("reconstruction", data)
    study = optuna.create_study()
    loaded = recipe.changed(run(data, tmp_path).recipe, {"objective.name": "reconstruction"})
    drawn = [trials.draw_settings(study, study.ask(), loaded, found) for _ in range(30)]
    encoders = Counter(settings["encoder.name"] for settings in drawn)
    assert set(encoders) == set(SHORT)
    for settings in drawn:
        assert ("encoder.kernel" in settings) == (settings["encoder.name"] == "cpc")
        assert {"encoder.dropout", "pretrain.lr", "pretrain.weight_decay", "pretrain.batch_size"} <= set(settings)
        assert 5e-5 <= settings["pretrain.lr"] <= 5e-3
        other = recipe.changed(loaded, settings)
        assert other.encoder["name"] == settings["encoder.name"] and other.pretrain["lr"] == settings["pretrain.lr"]
        assert other.search == {} and other.pretrain["epochs"] == 2
    assert sum(settings["pretrain.lr"] < 5e-4 for settings in drawn) > 8, "drawn on a logarithmic scale"
    assert len({settings["pretrain.lr"] for settings in drawn}) == 30


def test_another_encoder_starts_from_its_own_defaults(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, "encoder.dropout=0.3")
    assert recipe.changed(job.recipe, {"encoder.name": "strided"}).encoder == {"name": "strided", "dropout": 0.3}
    assert recipe.changed(job.recipe, {"encoder.name": "tpn"}).encoder == {"name": "tpn"}
    both = recipe.changed(job.recipe, {"encoder.kernel": 5, "encoder.name": "cpc", "pretrain.patience": None})
    assert both.encoder == {"name": "cpc", "kernel": 5} and both.pretrain["patience"] is None
    assert both.name == "small"
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        recipe.changed(job.recipe, {"encoder.dropot": 0.1})


def test_the_recipes_own_space_replaces_the_papers(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path)
    expected = {
        "encoder.dropout": [0.0, 0.1],
        "pretrain.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "pretrain.batch_size": [16, 32],
    }
    assert job.recipe.search == expected
    again = run(data, tmp_path, text=job.recipe.text).recipe  # as it is kept
    assert again.search == expected and again.text == job.recipe.text
    changes = ['search.objective.augmentations=[[{name="noise"}], [{name="rotation"}, {name="noise"}]]']
    changes += ["search.pretrain.patience=[3, 'none']", "search.pretrain.batch_size={low=8, high=64}"]
    changes += ["search.pretrain.sampling.share=[0.5, 1.0]"]
    loaded = run(data, tmp_path, *changes).recipe
    assert loaded.search["pretrain.patience"] == [3, None]
    assert loaded.search["pretrain.batch_size"] == {"low": 8, "high": 64, "log": False}
    study = optuna.create_study()
    drawn = [trials.draw_settings(study, study.ask(), loaded, loaded.search) for _ in range(12)]
    assert {type(settings["pretrain.batch_size"]) for settings in drawn} == {int}
    assert {settings["pretrain.patience"] for settings in drawn} == {3, None}
    shares = {recipe.changed(loaded, settings).pretrain["sampling"]["share"] for settings in drawn}
    assert shares == {0.5, 1.0}
    assert {len(settings["objective.augmentations"]) for settings in drawn} == {1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search.pretrian.lr=[0.1]", r"unknown name 'pretrian' in \[search\]; did you mean 'pretrain'"),
        ("search.pretrain.l=[0.1]", r"unknown name 'l' in \[search.pretrain\]; did you mean 'lr'"),
        ("search.windows.seconds=[1.0]", r"unknown name 'windows' in \[search\]; known: encoder, objective, pretrain"),
        ("search.encoder.dropot=[0.1]", r"unknown name 'dropot' in \[search.encoder\]; did you mean 'dropout'"),
        ("search.encoder.kernel=[3]", r"unknown name 'kernel' in \[search.encoder\]"),  # strided has none
        ("search.encoder.name=['tpm']", r"unknown encoder 'tpm'; did you mean 'tpn'"),
        ("search.encoder.channels=[3]", "unknown name 'channels'"),
        ("search.pretrain.seed=[3]", "unknown name 'seed'"),
        ("search.pretrain.lr=0.1", r"\[search\] pretrain.lr is 0.1; expected a list of choices, or a range"),
        ("search.pretrain.lr=[]", "expected a list of choices, or a range"),
        ("search.pretrain.lr={low=0.1}", "expected a list of choices, or a range"),
        ("search.pretrain.lr={low=0.1, hi=0.2}", r"unknown name 'hi' in \[search\] pretrain.lr; did you mean 'high'"),
        ("search.pretrain.lr={low=0.2, high=0.1}", "expected numbers with low < high"),
        ("search.pretrain.lr={low=0, high=0.1, log=true}", "low > 0 for log"),
        ("search.pretrain.lr=['fast']", r"\[search.pretrain\] lr = 'fast'"),
        ("search.pretrain.lr=[0.1, 0.1]", "names a value twice"),
        ("search.pretrain.batch_size={low=0.5, high=2}", "batch_size = 0.5"),
        ("search.pretrain.sampling.draw={low='subject', high='uniform'}", "expected numbers"),
        ("search=3", r"'search' is a value; expected a section \[search\]"),
    ],
)
def test_mistakes_in_a_space_are_named(data: Path, tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(data, tmp_path, change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["search.encoder.name=['strided', 'cpc']", "search.encoder.kernel=[3, 4]"], "kernel = 4 does not fit cpc and"),
        (["objective.name='cpc'"], "encoder.name|dropout = 0.0 does not fit strided and cpc: .*context over time"),
        (["search.objective.name=['simclr', 'reconstruction']"], "losses of different objectives cannot be compared"),
        (
            ["search.objective.temperature=[0.1, 0.5]"],
            r"losses at different objective.temperature cannot be compared: .*'simclr' measures; .*--by transfer --on CORP",
        ),
        (
            ["objective={name='primus', alpha=1.0}", "search.objective.queue=[64, 128]"],
            "losses at different .*pretrain.batch_size.* cannot be compared: .* 'primus' measures",
        ),
        (["pretrain_on=['spar']", "search.encoder.dropout=[0.0, 1.5]"], "dropout = 1.5 does not fit"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, changes: list[str], message: str
) -> None:
    job = run(data, tmp_path, *changes)
    with pytest.raises(ValueError, match=message):
        next(searched(job))
    assert not (job.folder / "search.db").exists() and not job.encoders.exists()


# what trials are judged by


@pytest.mark.parametrize("kind", ["simclr", "cpc"])
def test_the_same_weights_are_worth_the_same_whatever_the_batch(kind: str, windows: Windows) -> None:
    train, held = windows.for_subjects(["1", "2", "3", "4"])[::2], windows.for_subjects(["5", "6"])[:90]
    values, raw = [], []
    for size in (16, 64):
        torch.manual_seed(0)
        encoder = ENCODERS["cpc" if kind == "cpc" else "strided"](channels=6, **windows.statistics())
        objective = SimCLR(encoder) if kind == "simclr" else CPC(encoder, future_steps=16)
        *_, last = pretrain(objective, train, held, epochs=1, batch_size=size, lr=1e-12)
        raw.append(last.validation)
        values.append(last.validation - search_space.chance_loss(kind, len(held), size))
    assert raw[1] - raw[0] > 0.9
    assert values[0] == pytest.approx(values[1], abs=0.06)


def test_chance_is_that_of_the_batches_there_are() -> None:
    assert search_space.chance_loss("simclr", 64, 32) == pytest.approx(math.log(63))
    assert (
        search_space.chance_loss("cpc", 64, 32)
        == search_space.chance_loss("cpc_reconstruction", 64, 32)
        == pytest.approx(math.log(32))
    )
    assert search_space.chance_loss("simclr", 10, 4096) == pytest.approx(math.log(19))
    assert search_space.chance_loss("cpc", 40, 32) == pytest.approx((32 * math.log(32) + 8 * math.log(8)) / 40)
    assert search_space.chance_loss("cpc", 33, 32) == pytest.approx(
        math.log(32)
    )  # validation on one window is impossible
    assert (
        search_space.chance_loss("reconstruction", 64, 32)
        == search_space.chance_loss("transform_discrimination", 64, 32)
        == 0
    )
    assert search_space.CHANCE.keys() <= OBJECTIVES.keys()


def test_a_trials_value_is_its_best_loss_less_chance(unbroken: tuple[Run, list[search.Trial]]) -> None:
    job, found = unbroken
    held = job.pretraining(job.plan(job.windows())[0]).validation
    assert held is not None
    for trial in ends(found):
        losses = [t.step.validation for t in found if t.number == trial.number and t.step and t.step.validation]
        size = trial.settings["pretrain.batch_size"]
        if trial.state == "complete":
            assert trial.value == pytest.approx(min(losses) - search_space.chance_loss("simclr", len(held), size))


def test_judging_by_transfer_takes_the_highest_score_of_another_corpus(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, 'search={"objective.name"=["simclr", "reconstruction"]}', "pretrain.epochs=1")
    found = list(searched(job, trials=3, by="transfer", on="spar"))
    rows = pd.DataFrame(json.loads(path.read_text()) for path in job.rows.iterdir())
    assert set(rows["dataset"]) == {"spar"} and set(rows["mode"]) == {"frozen"} and set(rows["shots"]) == {10}
    scores = rows.groupby("objective")["macro_f1"]
    assert set(scores.count()) == {15} and len(scores) == 2, "5 folds, 3 draws; equal settings are scored once"
    for trial in ends(found):
        assert trial.value == pytest.approx(scores.mean()[trial.settings["objective.name"]])
    assert found[-1].value == max(scores.mean()) > min(scores.mean())
    head = (job.folder / "recipe-best.toml").read_text().replace("\n# ", " ")
    assert "frozen features of spar" in head and "6 of motionsense; 6 of spar" in head


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"by": "transfer"}, "--by transfer --on CORPUS"),
        ({"on": "spar"}, "--by transfer --on CORPUS"),
        ({"by": "transfer", "on": "synthetic"}, "'synthetic' is the recipe's own corpus"),
        ({"by": "transfer", "on": "motionsense"}, "'motionsense' is pretrained on"),
        ({"by": "transfer", "on": "pamap2"}, "otolith prepare pamap2"),
    ],
)
def test_where_features_may_be_judged(data: Path, tmp_path: Path, how: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        next(searched(run(data, tmp_path), **how))


def test_one_search_is_one_process(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="start it several times with one --storage"):
        next(searched(run(data, tmp_path)))


# what happens


def test_the_best_recipe_is_complete_and_its_encoder_is_there(
    unbroken: tuple[Run, list[search.Trial]], data: Path
) -> None:
    job, found = unbroken
    last = found[-1]
    assert last.done and not any(trial.done for trial in found[:-1])
    assert last.value == min(trial.value for trial in ends(found) if trial.state == "complete")
    path = job.folder / "recipe-best.toml"
    best = recipe.load(path)
    assert best.name == "small" and best.search == {} and best.protocol == job.recipe.protocol
    assert best.pretrain == {
        "epochs": 2,
        **{key: last.settings[f"pretrain.{key}"] for key in ("lr", "batch_size")},
    }
    assert best.encoder == {"name": "strided", "dropout": last.settings["encoder.dropout"]}
    made = Run(best, job.folder, data)
    assert made.encoder_path(made.plan(made.windows())[0]).exists()
    head = path.read_text().replace("\n# ", " ")
    assert f"trial {last.number} of 5 (" in head and "from chance level in its batches" in head
    assert "6 of motionsense; of synthetic none" in head and "changes what the loss measures" not in head
    picture = (job.folder / "search.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    page = (job.folder / "search.html").read_text()
    assert f"trial {last.number} of 5 (" in page and '<th scope="row">4</th>' in page and 'href="search.csv"' in page
    assert sorted(path.suffix for path in job.encoders.iterdir()) == [".safetensors"] * sum(
        trial.state == "complete" for trial in ends(found)
    )


def test_a_row_a_trial(unbroken: tuple[Run, list[search.Trial]]) -> None:
    job, found = unbroken
    rows = table(job)
    assert list(rows["number"]) == [0, 1, 2, 3, 4]
    for trial, (_, row) in zip(ends(found), rows.iterrows(), strict=True):
        assert (row["number"], row["state"]) == (trial.number, trial.state)
        assert row["pretrain.lr"] == pytest.approx(trial.settings["pretrain.lr"])
        assert row["pretrain.batch_size"] == trial.settings["pretrain.batch_size"]
        assert row["seconds"] > 0 and row["epochs"] == 2
        assert trial.state != "complete" or row["value"] == pytest.approx(trial.value)
    assert [trial.finished for trial in ends(found)] == [1, 2, 3, 4, 5]
    assert {trial.of for trial in found} == {5}


def test_a_search_goes_on_as_if_it_had_not_stopped(
    unbroken: tuple[Run, list[search.Trial]], data: Path, tmp_path: Path
) -> None:
    job = run(data, tmp_path)
    list(searched(job, trials=3))
    before = {path: path.stat().st_mtime_ns for path in job.encoders.iterdir()}
    assert len(table(job)) == 3 and len(before) == 3
    found = list(searched(job, trials=5))
    assert {trial.number for trial in found if not trial.done} == {3, 4}
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    pd.testing.assert_frame_equal(table(job).drop(columns="seconds"), table(unbroken[0]).drop(columns="seconds"))
    assert [trial.done for trial in searched(job, trials=5)] == [True]
    other = list(searched(run(data, tmp_path, "pretrain.epochs=1"), trials=1))
    assert other[0].number == 0, "another recipe is another study"


def test_the_targets_test_people_have_no_say(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, "pretrain_on=['synthetic']", "search={pretrain.lr=[1e-3, 1e-4]}", "pretrain.epochs=1")
    job = dataclasses.replace(job, shared=tmp_path / "shared")
    list(searched(job, trials=1))
    unit = job.plan(job.windows())[0]
    assert len(list(job.encoders.iterdir())) == 1, "one fold's encoder, where runs share theirs"
    head = " ".join(line[2:] for line in (job.folder / "recipe-best.toml").read_text().splitlines() if line[0:1] == "#")
    say = sorted(unit.split.train + unit.split.validation)
    assert f"of synthetic {', '.join(say)}." in head and f"{', '.join(unit.split.test)}, the test subjects" in head


def test_bad_trials_end_early(data: Path, tmp_path: Path) -> None:
    space = "search={pretrain.lr=[1e-3, 1e-9], encoder.dropout={low=0.0, high=0.01}}"
    changes = "pretrain={epochs=3, batch_size=8}", "objective={name='reconstruction'}", "seed=26"
    found = ends(list(searched(job := run(data, tmp_path, space, *changes), trials=6)))
    drawn = [(trial.settings["pretrain.lr"], trial.state) for trial in found]
    good, bad = (1e-3, "complete"), (1e-9, "complete")
    assert drawn == [bad, good, good, good, good, (1e-9, "pruned")], "five trials are not judged yet"
    assert found[-1].value is None
    rows = table(job)
    assert rows["epochs"].iloc[-1] < 3 and f"median after {rows['epochs'].iloc[-1]} epochs" in rows["why"].iloc[-1]
    assert len(list(job.encoders.iterdir())) == 5, "no state of a trial that is over"


def test_the_first_tenth_of_the_epochs_ends_no_trial(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict] = []
    nop = optuna.pruners.NopPruner()
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **how: seen.append(how) or nop)
    next(searched(run(data, tmp_path, "pretrain.epochs=30"), trials=1))
    next(searched(run(data, tmp_path, "pretrain={}"), trials=1))
    assert seen == [{"n_warmup_steps": 3}, {"n_warmup_steps": 5}]


def test_training_that_breaks_down_is_a_finished_trial(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, "search={pretrain.lr=[1e-3, 1e30]}", "pretrain.epochs=1")
    found = ends(list(searched(job, trials=4)))
    states = {trial.settings["pretrain.lr"]: trial.state for trial in found}
    assert states == {1e-3: "complete", 1e30: "pruned"} and len(found) == 4
    rows = table(job)
    assert rows.loc[rows["pretrain.lr"] == 1e30, "why"].str.contains("training diverged").all()
    hopeless = run(data, tmp_path / "hopeless", "search={pretrain.lr=[1e29, 1e30]}", "pretrain.epochs=1")
    with pytest.raises(ValueError, match=r"none of 2 trials was completed, the first because .*diverged"):
        list(searched(hopeless, trials=2))


def test_a_mistake_that_shows_in_training_ends_the_search(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, 'search={pretrain.runtime.precision=["odd"]}')
    with pytest.raises(ValueError, match=r"trial 0 \(pretrain.runtime.precision odd\): .*odd"):
        list(searched(job, trials=2))
    assert [trial.state.name for trial in the_study(job).trials] == ["FAIL"]


# what is cut off


def test_a_search_that_is_stopped_takes_its_trial_up_again(
    unbroken: tuple[Run, list[search.Trial]], data: Path, tmp_path: Path
) -> None:
    job = run(data, tmp_path)
    records = searched(job, trials=2)
    seen = next(trial for trial in records if trial.number == 1 and trial.step and trial.step.epoch == 2)
    records.close()  # as Ctrl-C does
    assert [trial.state.name for trial in the_study(job).trials] == ["COMPLETE", "FAIL", "WAITING"]
    assert len(list(job.encoders.glob("*.state"))) == 1
    assert len(table(job)) == 1 and recipe.load(job.folder / "recipe-best.toml").name == "small", (
        "what there is, is told"
    )
    found = list(searched(job, trials=5))
    assert found[0].number == 2 and found[0].settings == seen.settings
    assert found[0].step is not None and found[0].step.epoch == 2, "from where its training stopped"
    rows, expected = table(job), table(unbroken[0])
    assert list(rows["state"])[1] == "fail" and len(rows) == 6
    rows = rows[rows["state"] != "fail"]
    for column in ("state", "value", "pretrain.lr", "pretrain.batch_size", "encoder.dropout", "epochs"):
        assert list(rows[column]) == list(expected[column]), column
    losses = [trial.intermediate_values for trial in the_study(job).trials]
    assert set(losses[2]) == {1, 2}, "epochs before the stop count too"


KILL = """
import os, signal, sys
from pathlib import Path
from otolith.experiments import recipe, search
from otolith.experiments.run import Run

folder, data, kill, storage = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "kill", sys.argv[4] or None
job = Run(recipe.load(folder / "r.toml"), folder, data)
for trial in search.search(job, trials=3, storage=storage, picture=False):
    print(trial.number, trial.state, flush=True)
    if kill and trial.number == 1 and trial.step and trial.step.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def other_process(job: Run, kill: bool, storage: str = "") -> subprocess.Popen:
    words = [sys.executable, "-c", KILL, str(job.folder), str(job.data), "kill" if kill else "", storage]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_search_takes_its_trial_up_again(
    unbroken: tuple[Run, list[search.Trial]], data: Path, tmp_path: Path
) -> None:
    job = run(data, tmp_path)
    killed = other_process(job, kill=True)
    _, errors = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, errors
    assert [trial.state.name for trial in the_study(job).trials] == ["COMPLETE", "RUNNING"]
    for state in job.encoders.glob("*.state"):
        state.unlink()  # as for another machine
    found = list(searched(job, trials=3))
    assert [trial.state.name for trial in the_study(job).trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found[0].step is not None and found[0].step.epoch == 1
    rows = table(job)
    assert list(rows.loc[rows["state"] == "complete", "value"]) == list(table(unbroken[0])["value"][:3])


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_a_search_killed_while_it_draws_ends_as_an_unbroken_one(
    unbroken: tuple[Run, list[search.Trial]],
    data: Path,
    tmp_path: Path,
    stored: int,
) -> None:
    """The process ends before a trial has a name, or when it has stored a part of its settings."""
    job = run(data, tmp_path)
    list(searched(job, trials=1))
    study = the_study(job)
    half = study.ask()
    if stored:
        half.set_user_attr("process", "killed")
        half.set_user_attr("heartbeat", time.time())
        trials.lock_of(job.folder, "killed").touch()
    if stored == 2:
        half.suggest_categorical("encoder.dropout", ["0.0", "0.1"])
    list(searched(job, trials=3))
    rows, expected = table(job), table(unbroken[0])
    rows = rows[rows["state"] != "fail"]
    for column in ("value", "pretrain.lr", "pretrain.batch_size", "encoder.dropout"):
        assert list(rows[column]) == list(expected[column][:3]), column


@pytest.mark.parametrize("kind", ["random", "cut", "other program", "folder"])
def test_a_damaged_storage_is_refused_in_one_line_and_stays(data: Path, tmp_path: Path, kind: str) -> None:
    job = run(data, tmp_path)
    file = job.folder / "search.db"
    if kind == "folder":
        file.mkdir()
    elif kind == "random":
        file.write_bytes(bytes(range(256)) * 40)
    else:
        with contextlib.closing(sqlite3.connect(file)) as made:
            made.execute("CREATE TABLE photos (name TEXT)")
            made.executemany("INSERT INTO photos VALUES (?)", [("x" * 500,)] * 40)
            made.commit()
        if kind == "cut":
            file.write_bytes(file.read_bytes()[:9000])
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(ValueError, match=r"search\.db' (is damaged|cannot be used|is a database of another)") as caught:
        next(searched(job, trials=1))
    assert "\n" not in str(caught.value) and "move it away" in str(caught.value)
    assert before is None or file.read_bytes() == before


def test_a_storage_is_shared_by_processes(data: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    one, two = run(data, tmp_path / "one"), run(data, tmp_path / "two")
    records = searched(one, trials=3, storage=storage)
    first = next(records)  # while this trial runs, another process makes the others
    other = other_process(two, kill=False, storage=storage)
    text, errors = other.communicate(timeout=120)
    assert other.returncode == 0, errors
    assert {line.split()[0] for line in text.splitlines()} == {"1", "2"}
    rest = list(records)
    assert {trial.number for trial in rest if not trial.done} == {first.number} == {0}
    assert not (one.folder / "search.db").exists()
    assert len(table(one)) == 3 and set(table(one)["state"]) == {"complete"}
    assert len(set(table(one)["pretrain.lr"])) == 3, "they do not draw the same"


def test_which_trials_are_stale(tmp_path: Path) -> None:
    study, now = optuna.create_study(), time.time()
    locks = {token: FileLock(trials.lock_of(tmp_path, token)) for token in ("lives", "ended")}
    trials.lock_of(tmp_path, "lives").parent.mkdir()
    for lock in locks.values():
        lock.acquire()
    locks["ended"].release()
    for token, heartbeat, expected in [
        ("in another folder", now - 60, False),
        ("in another folder", now - 4000, True),
        ("lives", now, False),
        ("lives", now - 4000, True),
        ("ended", now, True),
    ]:
        trial = study.ask()
        unsigned = study.trials[trial.number]
        assert not trials.is_stale(unsigned, tmp_path), "just asked, and not signed yet"
        assert trials.is_stale(unsigned, tmp_path, alone=True), "signed under the lock, had its search lived"
        trial.set_user_attr("process", token)
        trial.set_user_attr("heartbeat", heartbeat)
        for alone in (True, False):
            assert trials.is_stale(study.trials[trial.number], tmp_path, alone=alone) == expected, token
    locks["lives"].release()


def test_settings_that_kill_their_process_are_not_tried_for_ever() -> None:
    study = optuna.create_study()
    first = study.ask()
    drawn = first.suggest_float("pretrain.lr", 0.0, 1.0)
    first.set_user_attr("drawn", True)
    for number in range(3):
        trials.give_up(
            study, study.trials[number], killed=0 if number == 1 else 1
        )  # the second was stopped, not killed
        trials.give_up(study, study.trials[number], killed=1)  # by another process too
        assert [trial.state.name for trial in study.trials] == ["FAIL"] * (number + 1) + ["WAITING"]
        again = study.ask()
        assert (again.number, again.suggest_float("pretrain.lr", 0.0, 1.0)) == (number + 1, drawn)
        assert again.user_attrs["retry_of"] == number
        again.set_user_attr("drawn", True)
    trials.give_up(study, study.trials[3], killed=1)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 4


def test_a_trial_that_another_process_runs_counts_while_it_lives(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, "pretrain.epochs=1")
    list(searched(job, trials=1))
    study = the_study(job)
    asked = study.ask()
    asked.set_user_attr("process", "elsewhere:1")
    asked.set_user_attr("heartbeat", time.time())
    assert [trial.done for trial in searched(job, trials=2)] == [True]
    asked.set_user_attr("heartbeat", 0.0)
    left = study.ask()  # by a search that was killed after it had drawn
    left.suggest_float("pretrain.lr", 1e-4, 1e-2, log=True)
    left.set_user_attr("process", "killed")
    left.set_user_attr("heartbeat", time.time())
    left.set_user_attr("drawn", True)
    trials.lock_of(job.folder, "killed").touch()
    assert {trial.number for trial in searched(job, trials=2) if not trial.done} == {3}
    # The first of the two had drawn nothing that a successor could repeat.
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert (
        study.trials[3].user_attrs["retry_of"] == 2 and study.trials[2].params.items() <= study.trials[3].params.items()
    )


def test_a_trial_that_was_given_up_by_mistake_does_not_count(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path)
    found, given_up = [], False
    for trial in searched(job, trials=2):
        found.append(trial)
        if trial.number == 1 and not given_up:
            the_study(job).tell(1, state=optuna.trial.TrialState.FAIL)
            given_up = True
    assert [trial.state for trial in ends(found)] == ["complete", "lost", "complete"]
    assert ends(found)[1].value is None


def test_heartbeats_say_that_a_trial_lives(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path)
    records = searched(job, trials=1, heartbeat_s=0.0)
    next(records)
    one = the_study(job).trials[0].user_attrs
    next(records)
    two = the_study(job).trials[0].user_attrs
    assert two["heartbeat"] > one["heartbeat"] and trials.lock_of(job.folder, one["process"]).is_file()
    records.close()
    assert not trials.lock_of(job.folder, one["process"]).exists()


def test_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:

    from otolith.cli import console, main

    job = run(data, tmp_path, text=TEXT.replace("epochs = 2", "epochs = 1"))
    words = f"otolith search {tmp_path}/r.toml --data {data} --out {tmp_path} --trials 1".split()
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(console.out, "width", 300)
    monkeypatch.setattr(console.notes, "width", 300)
    monkeypatch.setattr(console.errors, "width", 300)
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    assert "Selected by otolith search: trial" in printed.out and printed.out.strip().endswith("recipe-best.toml")
    assert "trial 0 complete: encoder.dropout" in printed.err and len(table(job)) == 1
    assert inspect.signature(search.search).parameters["trials"].default == 20


@pytest.mark.parametrize("queued", [False, True])
def test_a_process_that_is_killed_while_it_gives_a_trial_up_loses_and_doubles_nothing(queued: bool) -> None:
    study = optuna.create_study()
    drawn = study.ask().suggest_float("pretrain.lr", 0.0, 1.0)
    study._storage.set_trial_user_attr(0, "drawn", True)
    if queued:  # it was killed before it could fail the trial
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trials, "end_trial", lambda *_: False)
            trials.give_up(study, study.trials[0], killed=1)
        assert [trial.state.name for trial in study.trials] == ["RUNNING", "WAITING"]
    trials.give_up(study, study.trials[0], killed=1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert study.ask().suggest_float("pretrain.lr", 0.0, 1.0) == drawn


class KilledError(BaseException):
    """Stands for the end of the process."""


def killed_when(after: str, epoch: int, monkeypatch: pytest.MonkeyPatch, job: Run) -> None:
    """Search until trial 1 has saved an epoch and not reported it, or saved its encoder and not ended."""
    report = optuna.Trial.report

    def reporting(self: optuna.Trial, value: float, step: int) -> None:
        if self.number == 1 and step == epoch:
            raise KilledError
        report(self, value, step)

    def ending(*_: object, **__: object) -> float:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(trials, "give_up", lambda *_, **__: None)
        if after == "epoch":
            patch.setattr(optuna.Trial, "report", reporting)
        else:
            list(searched(job, trials=1))
            patch.setattr(trials, "_value", ending)
        with pytest.raises(KilledError):
            list(searched(job, trials=3))
    trials.lock_of(job.folder, the_study(job).trials[1].user_attrs["process"]).touch()  # as a killed process leaves it


@pytest.mark.parametrize(("after", "epoch"), [("epoch", 1), ("epoch", 2), ("encoder", 0)])
def test_a_search_killed_between_saving_and_reporting_ends_as_an_unbroken_one(
    unbroken: tuple[Run, list[search.Trial]],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
    epoch: int,
) -> None:
    job = run(data, tmp_path)
    killed_when(after, epoch, monkeypatch, job)
    assert the_study(job).trials[1].state.name == "RUNNING"
    list(searched(job, trials=5))
    ended = [trial for trial in the_study(job).trials if trial.state.name != "FAIL"]
    assert [trial.intermediate_values for trial in ended] == [
        trial.intermediate_values for trial in the_study(unbroken[0]).trials
    ]
    rows, expected = table(job), table(unbroken[0])
    assert list(rows[rows["state"] != "fail"]["value"]) == list(expected["value"])


def test_several_processes_finish_each_trial_once(data: Path, tmp_path: Path) -> None:
    job, storage = run(data, tmp_path), f"journal:{tmp_path / 'new' / 'search.journal'}"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(search.search(job, trials=4, picture=False, storage=storage, jobs=pool))
    assert sorted(trial.number for trial in found if not trial.done) == [0, 1, 2, 3] and found[-1].done
    rows = table(job)
    assert set(rows["state"]) <= {"complete", "pruned"} and len(rows) == 4 and len(set(rows["pretrain.lr"])) == 4


def test_an_executor_needs_a_storage_that_it_shares(data: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="--storage journal:"):
        list(search.search(run(data, tmp_path), trials=1, jobs=pool))


def test_two_searches_that_start_together_share_the_trials(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path)
    both = [other_process(job, kill=False) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    rows = table(job)
    assert list(rows["number"]) == [0, 1, 2] and set(rows["state"]) <= {"complete", "pruned"}
    assert len(set(rows["pretrain.lr"])) == 3
