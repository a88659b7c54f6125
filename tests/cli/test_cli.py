"""The whole chain through the command line, on made recordings, and the errors a user would meet."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from otolith.cli import console, main
from otolith.data.store import open_store

RECIPE = """
name = "small"
dataset = "synthetic"
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[unlabelled]
overlap = 0.0
[encoder]
name = "strided"
[objective]
name = "simclr"
augmentations = [{ name = "rotation", sd_degrees = 20 }]
[pretrain]
epochs = 2
batch_size = 64
[protocol]
folds = 3
fold_seed = 0
seeds = [0, 1]
shots = [2, 10]
modes = ["frozen", "finetune", "forest"]
[transfer]
head = "logistic"
steps = 10
"""


@pytest.fixture
def otolith(capsys, monkeypatch):
    """Runs a command; returns (exit status, what it printed)."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["otolith", *map(str, words)])
        monkeypatch.setattr(console.out, "width", 300)
        monkeypatch.setattr(console.console, "width", 300)
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return run


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.toml").write_text(RECIPE)
    return folder


def test_the_whole_chain(here, otolith, monkeypatch) -> None:
    monkeypatch.chdir(here)
    status, text = otolith("prepare", "synthetic")
    assert status == 0 and "18 recordings of 6 people" in text
    status, text = otolith("datasets")
    assert status == 0
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["synthetic"].rstrip().endswith("data/synthetic") and lines["spar"].rstrip().endswith("-")

    assert otolith("evaluate", "small.toml")[1].count("run first: otolith pretrain") == 1
    assert otolith("pretrain", "small.toml")[0] == 0
    encoders = sorted(path.name.rpartition("-")[0] for path in Path("runs/small/encoders").iterdir())
    assert encoders == [f"simclr-folds0-fold{fold}" for fold in range(3)]
    before = {path: path.stat().st_mtime_ns for path in Path("runs/small/encoders").iterdir()}
    assert otolith("pretrain", "small.toml")[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs/small/encoders").iterdir()}, "done is done"
    assert "run first: otolith pretrain" in otolith("evaluate", "small.toml", "--set", "pretrain.lr=0.5")[1]

    assert "36 of 36 rows are not in" in otolith("report", "small.toml")[1]
    assert otolith("evaluate", "small.toml", "--jobs", "1")[0] == 0
    assert len(list(Path("runs/small/rows").glob("*.json"))) == 36
    status, text = otolith("report", "small.toml")
    assert status == 0 and "random forest" in text and "Fine-tuning against freezing" in text
    table = pd.read_csv("runs/small/rows.csv")
    assert len(table) == 36 and not table["test_seen_in_pretraining"].any()
    assert "data:image/svg+xml" in Path("runs/small/report.html").read_text()

    assert "run first: otolith pretrain RECIPE --everyone" in otolith("transfer", "small.toml")[1]
    assert otolith("pretrain", "small.toml", "--everyone")[0] == 0
    status, text = otolith("transfer", "small.toml", "--shots", "20")
    assert status == 0 and "try: otolith label runs/small/model.safetensors" in text

    store = open_store(Path("data/synthetic"))
    signal = store.signal(store.entries[0])[:, :3] * 9.80665
    mine = pd.DataFrame(signal, columns=["ax", "ay", "az"]).assign(time=np.arange(len(signal)) / 50)
    mine.to_csv("mine.csv", index=False)
    status, text = otolith("label", "runs/small/model.safetensors", "mine.csv")
    assert status == 0 and "acceleration in m/s2" in text and "rate 50 Hz" in text
    assert pd.read_csv("mine.timeline.csv")["end_s"].iloc[-1] == pytest.approx(len(signal) / 50)
    assert Path("mine.png").exists()
    assert (
        "--acc-unit: Input should be 'g', 'm/s2' or 'mg'"
        in otolith("label", "runs/small/model.safetensors", "mine.csv", "--acc-unit", "furlong")[1]
    )
    assert (
        "holds an encoder without a classifier"
        in otolith("label", str(next(Path("runs/small/encoders").glob("*everyone*"))), "mine.csv")[1]
    )


def test_an_encoder_that_saw_everybody_cannot_be_scored_on_them(here, otolith, monkeypatch) -> None:
    monkeypatch.chdir(here)
    shutil.copytree("runs/small", "runs/leaky")
    everyone = next(Path("runs/small/encoders").glob("*everyone*"))
    for fold in Path("runs/leaky/encoders").glob("*fold?-*"):
        shutil.copy(everyone, fold)
    status, text = otolith("evaluate", "small.toml", "--out", "runs/leaky", "--jobs", "1")
    assert status == 1 and "was pretrained on test subjects (synthetic:" in text


def test_ones_own_labels_become_a_model_with_an_estimate(here, otolith, monkeypatch) -> None:
    from otolith.apps.adapt import adapt

    monkeypatch.chdir(here)
    monkeypatch.setattr(adapt, "TRANSFER", {**adapt.TRANSFER, "steps": 2})
    store, rows = open_store(Path("data/synthetic")), ["recording,start,end,label,person"]
    Path("mine").mkdir()
    for number, entry in enumerate(store.entries):
        signal = store.signal(entry)[:, :3]
        table = pd.DataFrame(signal, columns=list("xyz")).assign(time=np.arange(len(signal)) / 50)
        table.to_csv(f"mine/{number}.csv", index=False)
        rows.append(f"{number},1,7,{store.labels[entry.spans[0][2]]},{entry.subject}")
    Path("labels.csv").write_text("\n".join([*rows, "0,8,12,[odd],1"]))
    encoder = next(Path("runs/small/encoders").glob("*everyone*"))
    status, text = otolith(
        "adapt", encoder, "--recordings", "mine", "--labels", "labels.csv", "--out", "own", "--jobs", "1"
    )
    assert status == 0 and "warning: '[odd]' is known of 1 alone" in text
    line = next(line.split() for line in text.splitlines() if line.startswith("fast"))
    assert line[1:3] == ["30", "6"] and len(line) == 5
    assert "slightly optimistic" in text and "try: otolith label own/model.safetensors YOUR.csv" in text
    assert Path("own/estimate.csv").exists() and Path("own/estimate.png").exists()
    assert otolith("label", "own/model.safetensors", "mine/3.csv")[0] == 0
    Path("labels.csv").write_text("\n".join(line for line in rows if line.endswith((",1", "person"))))
    status, text = otolith(
        "adapt", encoder, "--recordings", "mine", "--labels", "labels.csv", "--out", "own", "--jobs", "1"
    )
    assert status == 0 and "All windows are of one person (1)" in text and "F1" not in text
    assert [path.name for path in Path("own").iterdir()] == ["model.safetensors"]
    wrong = otolith("adapt", encoder, "--recordings", "mine", "--labels", "labels.csv", "--acc", "a,b,c")
    assert wrong[0] == 1 and "no column 'a'; the file has: x, y, z, time" in wrong[1]
    wrong = otolith("adapt", "own/absent.safetensors", "--recordings", "mine", "--labels", "labels.csv")
    assert wrong[0] == 1 and "no checkpoint at 'own/absent.safetensors'" in wrong[1]


def test_a_study_runs_every_variant_and_writes_its_page(here, otolith, monkeypatch) -> None:
    monkeypatch.chdir(here)
    text = RECIPE.replace("folds = 3", "folds = 2").replace("[0, 1]", "[0]").replace('name = "small"', "")
    Path("base.toml").write_text(text)
    variants = '[variants.simclr]\n[variants.reconstruction]\nobjective = { name = "reconstruction" }\n'
    Path("two.toml").write_text('extends = "base.toml"\n' + variants)
    assert "no result rows of this study yet" in otolith("study", "two.toml", "--only-page")[1]
    assert (
        "no prepared corpus" not in otolith("study", "two.toml", "--data", "empty", "--jobs", "1", "--out", "runs/e")[1]
    )
    assert Path("empty/synthetic/manifest.json").exists(), "a corpus that finds its own files is prepared on the way"
    status, said = otolith("study", "two.toml", "--jobs", "1", "--page", "docs/page.md", "--table", "results/t.csv")
    assert status == 0 and "docs/page.md: 24 rows, page.svg" in said
    rows = pd.read_csv("results/t.csv")
    assert set(rows["variant"]) == {"simclr", "reconstruction"} and set(rows["mode"]) == {
        "frozen",
        "finetune",
        "forest",
    }
    assert rows["fingerprint"].nunique() == 20  # the forest's 4 rows serve both variants
    page = Path("docs/page.md").read_text()
    assert "| synthetic, reconstruction | 12 of 12 | synthetic | strided |" in page
    assert "### Which objective is best?" in page and Path("docs/page.svg").exists()
    status, _ = otolith("study", "--from", "results/t.csv", "--page", "again/page.md", "--table", "again/t.csv")
    assert status == 0 and Path("again/page.md").read_text() == page
    assert Path("again/t.csv").read_text() == Path("results/t.csv").read_text()
    assert "no recipe given" in otolith("study")[1]
    next(Path("runs/study/rows").iterdir()).unlink()
    assert otolith("study", "two.toml", "--only-page")[0] == 0
    assert " 11 of 12 " in Path("runs/study/study.md").read_text()
    assert "cannot read --source here; expected NAME=DIR" in otolith("study", "two.toml", "--source", "here")[1]


def test_the_seed_moves_everything(here, otolith, monkeypatch) -> None:
    monkeypatch.chdir(here)
    assert otolith("pretrain", "small.toml", "--seed", "5", "--out", "runs/other")[0] == 0
    names = sorted(path.name.rpartition("-")[0] for path in Path("runs/other/encoders").iterdir())
    assert names == [f"simclr-folds5-fold{fold}" for fold in range(3)]
    assert "seed = 5" in Path("runs/other/recipe.toml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "pamap"], "unknown corpus 'pamap'; known: aria, capture24, "),
        (["prepare", "motionsense"], "pass --source DIR"),
        (["prepare", "motionsense", "--source", "absent"], "nothing at '"),
        (["prepare", "motionsense", "--source", "."], "MotionSense not found in '"),
        (["pretrain", "absent.toml"], "no recipe at 'absent.toml'"),
        (["pretrain", "small.toml", "--data", "nowhere"], "otolith prepare synthetic"),
        (["pretrain", "small.toml", "--set", "pretrain.epoch=1"], "did you mean 'epochs'"),
        (["label", "absent.safetensors", "mine.csv"], "no checkpoint at 'absent.safetensors'"),
        (["label", "small.toml", "mine.csv"], "is not a complete safetensors file"),
        (["zeroshot", "absent.safetensors", "mine.csv", "--labels", "a,b"], "no checkpoint at 'absent.safetensors'"),
        (["zeroshot", "absent.safetensors", "mine.csv", "--labels", "a,"], "the labels are a; expected at least two"),
        (["retrieve", "small.toml"], "objective 'simclr' is trained on motion alone, so it finds nothing in other"),
    ],
)
def test_mistakes_are_answered_in_one_message(here, otolith, monkeypatch, words, message) -> None:
    monkeypatch.chdir(here)
    before = sorted(here.rglob("*"))
    status, text = otolith(*words)
    assert status == 1
    assert message in text
    assert text.strip().startswith("error:") and "Traceback" not in text
    assert sorted(here.rglob("*")) == before, "an error touches nothing"


PAIRED = """
name = "words"
dataset = "synthetic"
[windows]
seconds = 2.5
[paired]
modalities = ["text"]
[encoder]
name = "primus"
width = 16
[objective]
name = "primus"
width = 8
heads = "own"
queue = 32
[pretrain]
epochs = 1
[protocol]
test = ["1", "2"]
seeds = [0]
shots = [2]
modes = ["zero-shot", "frozen"]
[transfer]
head = "text"
steps = 2
"""


def test_words_from_pairs_to_a_recording_of_ones_own(here, otolith, monkeypatch) -> None:
    from otolith import paired
    from otolith.classifiers import prompts
    from otolith.data.multimodal import MultimodalData, Narration

    def encode(texts: list[str]) -> torch.Tensor:
        rows = [np.random.default_rng(list(text.encode())).normal(size=24) for text in texts]
        return torch.tensor(np.array(rows)).float()

    words = paired.TextEncoder("words", "5" * 64, 24, encode)
    monkeypatch.chdir(here)
    monkeypatch.setattr(paired, "text_encoder", lambda name="minilm", **_: words)
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()
    Path("words.toml").write_text(PAIRED)
    assert otolith("prepare", "synthetic")[0] == 0
    assert "run first: otolith pair synthetic" in otolith("pretrain", "words.toml")[1]
    store = open_store(Path("data/synthetic"))
    multimodal_data = [
        MultimodalData(entry.name, (Narration(0.0, 20.0, store.labels[entry.spans[0][2]]),)) for entry in store.entries
    ]
    list(paired.compute(multimodal_data, store, paired.folder_of(Path("data"), "synthetic"), text=words, image=None))
    assert otolith("pretrain", "words.toml")[0] == 0
    status, text = otolith("retrieve", "words.toml")
    assert status == 0 and "motion -> text" in text and "text -> motion" in text and "1.000 (1.000)" in text
    status, text = otolith("study", "words.toml", "--jobs", "1", "--out", "runs/words-study", "--title", "Words")
    page = Path("runs/words-study/study.md").read_text()
    assert status == 0 and "## Without labels" in page and "## Retrieval" in page
    assert Path("runs/words-study/study-recalls.csv").exists()
    again = [
        "study",
        "--from",
        "runs/words-study/study.csv",
        "--page",
        "page.md",
        "--table",
        "t.csv",
        "--title",
        "Words",
    ]
    assert otolith(*again)[0] == 0 and Path("page.md").read_text() == page.replace("study.svg", "page.svg")
    (encoder,) = Path("runs/words/encoders").iterdir()
    signal = store.signal(store.entries[0])
    header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    rows = np.column_stack([np.arange(len(signal)) / 50, signal])
    np.savetxt("words.csv", rows, delimiter=",", header=header, comments="")
    status, text = otolith("zeroshot", encoder, "words.csv", "--labels", "slow, fast")
    assert status == 0 and "acceleration in g" in text and "words.timeline.csv" in text
    assert set(pd.read_csv("words.timeline.csv")["label"]) <= {"slow", "fast"} and Path("words.png").exists()
    Path("mine.toml").write_text('slow = ["a person moves slowly"]\n')
    wrong = otolith("zeroshot", encoder, "words.csv", "--labels", "slow,fast", "--prompts", "mine.toml")
    assert "the prompts have none for 'fast'; they know: slow" in wrong[1]
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "datasets",
        "prepare",
        "pretrain",
        "evaluate",
        "transfer",
        "report",
        "label",
        "adapt",
        "zeroshot",
        "retrieve",
    ],
)
def test_every_command_has_help(otolith, command) -> None:
    status, text = otolith(*[word for word in (command, "--help") if word])
    assert status == 0
    assert "Usage" in text


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = "torch lightning_fabric pandas scipy sklearn matplotlib".split()  # noqa: SIM905
    code = f"import otolith, otolith.cli.main, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
