"""The activity model that ships: `otolith label FILE` without a model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import Ran
from motion import G, motion
from otolith.apps.label.activity import LEAST_F1, check_placement
from otolith.checkpoints import shipped
from otolith.classifiers.baselines import load_classifier
from otolith.datasets import DATASETS

CLASSES = {"walking", "stairs", "running", "sitting or standing", "lying", "other"}
JUDGED = {
    "pocket": {"macro_f1": 0.7, "corpora": {"one": 0.8, "two": 0.6}},
    "wrist": {"macro_f1": 0.5, "corpora": {"two": 0.5}},
}


@pytest.fixture
def unknown_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that no reader names: semicolons, decimal commas, milliseconds, m/s^2, and lines before the header."""
    monkeypatch.chdir(tmp_path)
    time, acc, _ = motion(40, 31)
    table = pd.DataFrame(np.round(acc * G, 4), columns=["Beschl. X", "Beschl. Y", "Beschl. Z"])
    table.insert(0, "Zeit [ms]", np.round(time * 1000, 1))
    text = table.to_csv(index=False, sep=";", decimal=",")
    Path("Aufnahme 7.csv").write_text(f"Logger 3000\nFirmware 1.2\n{text}", encoding="utf-8")
    return Path("Aufnahme 7.csv")


def test_a_table_of_unknown_layout_is_labelled_without_a_model(
    unknown_layout: Path, otolith: Callable[..., Ran]
) -> None:
    ran = otolith("label", unknown_layout, "--accept-low-accuracy", "--json", "--quiet")
    assert ran.status == 0, ran.err
    (found,) = json.loads(ran.out)["recordings"]
    assert {line["label"] for line in found["timeline"]} <= CLASSES | {"unknown"}
    ran = otolith(
        "label", "activity", unknown_layout, "--placement", "pocket", "--accept-low-accuracy", "--out", "again"
    )
    assert ran.status == 0 and "Assumed placement: pocket" in ran.err and "never saw" in ran.err and "lying" in ran.err
    assert list(Path("again").glob("*.timeline.csv"))


def test_a_placement_that_was_not_judged_well_is_refused(unknown_layout: Path, otolith: Callable[..., Ran]) -> None:
    judged = load_classifier(shipped.locate(shipped.ACTIVITY)).about_["judged"]
    poor = [name for name, found in judged.items() if found["macro_f1"] < LEAST_F1]
    for placement in poor:
        ran = otolith("label", unknown_layout, "--placement", placement)
        assert ran.status == 1 and "--accept-low-accuracy" in ran.err and not list(Path().glob("*.timeline.csv"))
    ran = otolith("label", unknown_layout)
    assert (ran.status == 1 and "--placement" in ran.err) if poor else ran.status == 0
    ran = otolith("label", unknown_layout, "--placement", "ankle")
    assert ran.status == 1 and "was judged on" in ran.err


def test_the_gate_says_what_the_labels_are_worth() -> None:
    with pytest.raises(ValueError, match=r"pocket 0\.70, wrist 0\.50.*worn at the wrist.*--placement"):
        check_placement({"judged": JUDGED}, None)
    with pytest.raises(ValueError, match=r"the wrist is below 0\.6"):
        check_placement({"judged": JUDGED}, "wrist")
    assert "two 0.50" in check_placement({"judged": JUDGED}, "wrist", accept=True)[0]
    assert "one 0.80, two 0.60" in check_placement({"judged": JUDGED}, "pocket")[0]


def test_a_model_without_recordings_and_a_broken_model_are_named(
    unknown_layout: Path, otolith: Callable[..., Ran]
) -> None:
    ran = otolith("label", "activity")
    assert ran.status == 1 and "name the recordings after it" in ran.err
    Path("broken.safetensors").write_text("no model")
    ran = otolith("label", "broken.safetensors", unknown_layout)
    assert ran.status == 1 and "is not a complete safetensors file" in ran.err


@pytest.mark.parametrize("name", ["model.pt", "plot.PNG", "weights.onnx", "notes.md"])
def test_a_first_argument_that_is_no_model_is_named(
    name: str, unknown_layout: Path, otolith: Callable[..., Ran]
) -> None:
    Path(name).write_bytes(b"\x89PNG\r\n")
    ran = otolith("label", name, unknown_layout, "--placement", "pocket")
    assert (
        ran.status == 1 and f"'{name}' is neither a model of Otolith nor a recording: expected a classifier" in ran.err
    )
    assert not list(Path().glob("*.timeline.csv"))


def test_a_model_after_the_recordings_is_named(unknown_layout: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("label", unknown_layout, "model.safetensors")
    assert ran.status == 1 and "the model comes first: otolith label model.safetensors" in ran.err


def test_it_is_small_and_credits_what_it_was_learnt_from() -> None:
    model = load_classifier(shipped.locate("activity"))
    assert set(model.classes_) == CLASSES and model.rejection_ is not None
    assert sum(path.stat().st_size for path in shipped.WEIGHTS.glob("*.safetensors")) < 3e6
    titles = [entry["title"] for entry in model.about_["data"]]
    assert titles == [DATASETS[name].title for name in ("motionsense", "wisdm", "dsads", "sp-sw-har")]
    assert {entry["licence"] for entry in model.about_["data"]} == {"MIT", "CC BY 4.0"}


def test_a_model_that_ships_is_exported_into_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, otolith: Callable[..., Ran]
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
    monkeypatch.chdir(tmp_path)
    ran = otolith("export", "activity")
    assert ran.status == 0, ran.err
    assert Path("activity.onnx").stat().st_size > 100_000 and not list(shipped.WEIGHTS.glob("*.onnx"))
