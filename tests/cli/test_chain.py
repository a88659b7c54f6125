"""The whole chain through the command line, on made recordings."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import RECIPE, Ran
from otolith.data.store import open_store


def test_from_a_corpus_to_a_report(
    otolith: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    ran = otolith("prepare", "synthetic")
    assert ran.status == 0 and "18 recordings of 6 people" in ran.out
    ran = otolith("datasets")
    assert ran.status == 0
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert lines["synthetic"].rstrip().endswith("data/synthetic") and lines["spar"].rstrip().endswith("-")

    assert otolith("evaluate", "small.toml").err.count("run first: otolith pretrain") == 1
    assert otolith("pretrain", "small.toml").status == 0
    encoders = sorted(path.name.rpartition("-")[0] for path in Path("runs/small/encoders").iterdir())
    assert encoders == [f"simclr-folds0-fold{fold}" for fold in range(3)]
    before = {path: path.stat().st_mtime_ns for path in Path("runs/small/encoders").iterdir()}
    assert otolith("pretrain", "small.toml").status == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs/small/encoders").iterdir()}, "done is done"
    assert "run first: otolith pretrain" in otolith("evaluate", "small.toml", "--set", "pretrain.lr=0.5").err

    assert "36 of 36 rows are not in" in otolith("report", "small.toml").err
    ran = otolith("evaluate", "small.toml", "--jobs", "1")
    assert ran.status == 0 and ran.out.strip() == "runs/small/rows: 36 rows" and "macro F1" in ran.err
    assert len(list(Path("runs/small/rows").glob("*.json"))) == 36
    ran = otolith("report", "small.toml")
    assert ran.status == 0 and "random forest" in ran.out and "Fine-tuning compared with freezing" in ran.out
    table = pd.read_csv("runs/small/rows.csv")
    assert len(table) == 36 and not table["test_seen_in_pretraining"].any()
    assert "<svg viewBox=" in Path("runs/small/report.html").read_text()

    ran = otolith("report", "small.toml", "--json")
    found = json.loads(ran.out)
    assert ran.status == 0 and "random forest" in ran.err
    assert found["rows"] == {"file": "runs/small/rows.csv", "count": 36} and found["report"] == "runs/small/report.html"
    assert {line["mode"] for line in found["summary"]} == {"frozen", "finetune", "forest"}
    assert all(0 <= line["macro_f1"] <= 1 for line in found["summary"]) and found["findings"]


def test_a_classifier_labels_a_recording(here: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("transfer", "small.toml", "--shots", "20")
    assert ran.status == 0 and "try: otolith label runs/small/model.safetensors" in ran.out
    store = open_store(Path("data/synthetic"))
    signal = store.signal(store.entries[0])[:, :3] * 9.80665
    mine = pd.DataFrame(signal, columns=["ax", "ay", "az"]).assign(time=np.arange(len(signal)) / 50)
    mine.to_csv("mine.csv", index=False)
    ran = otolith("label", "runs/small/model.safetensors", "mine.csv")
    assert ran.status == 0 and "acceleration in m/s2" in ran.err and "rate 50 Hz" in ran.err
    timeline = pd.read_csv("mine.timeline.csv")
    assert timeline["end_s"].iloc[-1] == pytest.approx(len(signal) / 50)
    assert Path("mine.png").exists()
    ran = otolith("label", "runs/small/model.safetensors", "mine.csv", "--json", "--out", "labels", "--quiet")
    found = json.loads(ran.out)
    assert ran.status == 0 and ran.err == ""
    (found,) = found["recordings"]
    assert [line["label"] for line in found["timeline"]] == timeline["label"].tolist()
    assert found["summary"][0]["label"] and found["facts"] and Path(found["files"]["timeline"]).is_file()
    ran = otolith("label", "runs/small/model.safetensors", "mine.csv", "--acc-unit", "furlong")
    assert ran.status == 1 and "--acc-unit" in ran.err and "mg" in ran.err
    ran = otolith("label", next(Path("runs/small/encoders").glob("*everyone*")), "mine.csv")
    assert ran.status == 1 and "holds an encoder without a classifier" in ran.err


def test_a_classifier_needs_the_encoder_that_saw_everyone(here: Path, otolith: Callable[..., Ran]) -> None:
    next(Path("runs/small/encoders").glob("*everyone*")).unlink()
    assert "run first: otolith pretrain RECIPE --everyone" in otolith("transfer", "small.toml").err


def test_an_encoder_that_saw_test_people_cannot_be_evaluated_on_them(here: Path, otolith: Callable[..., Ran]) -> None:
    everyone = next(Path("runs/small/encoders").glob("*everyone*"))
    for fold in Path("runs/small/encoders").glob("*fold?-*"):
        shutil.copy(everyone, fold)
    ran = otolith("evaluate", "small.toml", "--jobs", "1")
    assert ran.status == 1 and "holds another encoder than its name says" in ran.err
    ran = otolith("evaluate", "small.toml", "--jobs", "1", "--allow-seen", "--set", "protocol.shots=[2]")
    assert ran.status == 0
    ran = otolith("report", "small.toml", "--set", "protocol.shots=[2]", "--json")
    assert pd.read_csv("runs/small/rows.csv").query("mode == 'frozen'")["test_seen_in_pretraining"].all()


@pytest.mark.parametrize("more", [[], ["--everyone"]])
def test_an_altered_store_is_never_pretrained_on(here: Path, otolith: Callable[..., Ran], more: list[str]) -> None:
    path = Path("data/synthetic/signal.f32")
    content = bytearray(path.read_bytes())
    content[12_345] ^= 1
    path.write_bytes(content)
    ran = otolith("pretrain", "small.toml", "--out", "runs/altered", *more)
    assert ran.status == 1 and "signal.f32' was altered" in ran.err and not Path("runs/altered/encoders").exists()


def test_the_seed_changes_folds_and_the_recipe(here: Path, otolith: Callable[..., Ran]) -> None:
    assert otolith("pretrain", "small.toml", "--seed", "5", "--out", "runs/other").status == 0
    names = sorted(path.name.rpartition("-")[0] for path in Path("runs/other/encoders").iterdir())
    assert names == [f"simclr-folds5-fold{fold}" for fold in range(3)]
    assert "seed = 5" in Path("runs/other/recipe.toml").read_text()


def test_a_row_is_made_again(here: Path, otolith: Callable[..., Ran]) -> None:
    assert otolith("evaluate", "small.toml", "--jobs", "1").status == 0
    assert otolith("report", "small.toml").status == 0
    table = pd.read_csv("runs/small/rows.csv", dtype=str, keep_default_na=False)
    name = table["fingerprint"][table["mode"] == "frozen"].iloc[0]
    ran = otolith("rerun", f"runs/small/rows.csv#{name[:10]}")
    assert ran.status == 0 and "made again, it is the same to the bit" in ran.out
    table.assign(accuracy="0.5", machine="another").to_csv("changed.csv", index=False)
    ran = otolith("rerun", "changed.csv", "1")
    assert ran.status == 1 and "accuracy: 0.5, again 0." in ran.out and "differs in accuracy" in ran.out
    assert "machine: another, now" in ran.err
    table.drop(columns="recipe").to_csv("old.csv", index=False)
    assert "holds no recipe" in otolith("rerun", "old.csv", "1").err
    assert otolith("rerun", "old.csv", "1", "--recipe", "small.toml").status == 0
    assert "change the recipe that --recipe names" in otolith("rerun", "old.csv", "1", "--variant", "x").err


def test_a_study_runs_every_variant_and_writes_its_page(here: Path, otolith: Callable[..., Ran]) -> None:
    text = RECIPE.replace("folds = 3", "folds = 2").replace("[0, 1]", "[0]").replace('name = "small"', "")
    Path("base.toml").write_text(text)
    variants = '[variants.simclr]\n[variants.reconstruction]\nobjective = { name = "reconstruction" }\n'
    Path("two.toml").write_text('extends = "base.toml"\n' + variants)
    assert "no result rows of this study yet" in otolith("study", "two.toml", "--only-page").err
    ran = otolith("study", "two.toml", "--data", "empty", "--jobs", "1", "--page", "docs/page.md", "--table", "t/t.csv")
    assert ran.status == 0 and "docs/page.md: 24 rows, page.html, page.svg" in ran.out
    assert Path("empty/synthetic/manifest.json").exists(), "a corpus that needs no files is prepared on the way"
    rows = pd.read_csv("t/t.csv")
    assert set(rows["variant"]) == {"simclr", "reconstruction"}
    assert set(rows["mode"]) == {"frozen", "finetune", "forest"}
    assert rows["fingerprint"].nunique() == 20  # the forest's 4 rows serve both variants
    page = Path("docs/page.md").read_text()
    assert "| synthetic, reconstruction | 12 of 12 | synthetic | strided |" in page
    assert "### Which objective scores highest?" in page and Path("docs/page.svg").exists()
    ran = otolith("study", "--from", "t/t.csv", "--page", "again/page.md", "--table", "again/t.csv")
    assert ran.status == 0 and Path("again/page.md").read_text() == page
    assert Path("again/t.csv").read_text() == Path("t/t.csv").read_text()
    next(Path("runs/study/rows").iterdir()).unlink()
    assert otolith("study", "two.toml", "--only-page", "--data", "empty").status == 0
    assert " 11 of 12 " in Path("runs/study/study.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "pamap"], "unknown corpus 'pamap'; did you mean 'pamap2'?"),
        (["prepare", "motionsense"], "pass --download to get them, or --source DIR"),
        (["prepare", "motionsense", "--source", "absent"], "nothing at '"),
        (["prepare", "motionsense", "--source", "."], "MotionSense not found in '"),
        (["pretrain", "absent.toml"], "no recipe at 'absent.toml'; there are: small.toml"),
        (["pretrain", "motionsens-simclr"], "did you mean 'motionsense-simclr'?"),
        (["pretrain", "small.toml", "--data", "nowhere"], "otolith prepare synthetic"),
        (["pretrain", "small.toml", "--set", "pretrain.epoch=1"], "did you mean 'epochs'"),
        (["label", "absent.safetensors", "mine.csv"], "no checkpoint at 'absent.safetensors'"),
        (["zeroshot", "absent.safetensors", "mine.csv", "--labels", "a,b"], "no checkpoint at 'absent.safetensors'"),
        (["zeroshot", "absent.safetensors", "mine.csv", "--labels", "a,"], "the labels are a; expected at least two"),
        (["export", "absent.safetensors"], "no checkpoint at 'absent.safetensors'"),
        (["export", "small.toml", "--to", "tflite"], "--to is 'tflite'; expected onnx"),
        (["retrieve", "small.toml"], "objective 'simclr' is trained on motion alone, so it cannot retrieve other"),
        (["study"], "no recipe given; for example: otolith study dont-freeze/pamap2"),
        (["study", "absent/"], "no recipes in 'absent/'; folders that ship: data-size/, dont-freeze/"),
        (["study", "small.toml", "--source", "here"], "cannot read --source here; expected NAME=DIR"),
        (["recipes", "copy", "motionsense"], "did you mean"),
        (["recipes", "copy", "demo", "small.toml"], "'small.toml' exists"),
    ],
)
def test_mistakes_are_answered_in_one_message(
    here: Path, otolith: Callable[..., Ran], words: list[str], message: str
) -> None:
    Path("mine.csv").write_text("time,x,y,z\n" + "".join(f"{row / 50},0,0,1\n" for row in range(200)))
    before = sorted(here.rglob("*"))
    ran = otolith(*words)
    assert ran.status == 1
    assert message in ran.err
    assert ran.err.strip().startswith("error:") and "Traceback" not in ran.text and ran.out == ""
    assert sorted(here.rglob("*")) == before, "an error touches nothing"
