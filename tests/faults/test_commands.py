"""Every command, with every kind of file that it reads damaged in every way: a message and an exit code, no traceback."""

import gzip
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from damage import DAMAGE

from commands import RECIPE
from otolith.cli.main import COMMANDS, app
from otolith.data.store import open_store
from otolith.pretraining.state import TrainingState

FAST = ["--quiet"]
RUN = ["small.toml", *FAST]

# command -> the files that it reads, as patterns in the project -> the words after its name
READS: dict[str, dict[str, list[str]]] = {
    "datasets": {"data/synthetic/manifest.json": []},
    "prepare": {
        "mine/1.csv": ["own", "--source", "mine", "--data", "new", "--subset", "accelerometer", "--jobs", "1", *FAST]
    },
    "pair": {"data/synthetic/manifest.json": ["synthetic", "--text", "none", "--image", "none", *FAST]},
    "pretrain": {
        "small.toml": [*RUN, "--everyone"],
        "data/synthetic/manifest.json": [*RUN, "--everyone"],
        "data/synthetic/signal.f32": [*RUN, "--everyone"],
        "runs/small/encoders/*everyone*.safetensors": [*RUN, "--everyone"],
    },
    "search": {"runs/small/search.db": [*RUN, "--trials", "1"]},
    "evaluate": {
        "runs/small/encoders/*fold0*.safetensors": [*RUN, "--jobs", "1"],
        "runs/small/rows/*.json": [*RUN, "--jobs", "1"],
    },
    "report": {"runs/small/rows/*.json": RUN},
    "study": {"study.csv": ["--from", "study.csv", "--out", "again", *FAST]},
    "transfer": {"runs/small/encoders/*everyone*.safetensors": RUN},
    "label": {
        "model.safetensors": ["model.safetensors", "mine/1.csv", "--out", "labelled", *FAST],
        **{
            f"mine/{name}": ["model.safetensors", f"mine/{name}", "--out", "labelled", *FAST]
            for name in ("1.csv", "2.csv.gz", "3.zip", "4.xlsx", "5.parquet", "6.zip")
        },
    },
    "adapt": {
        "encoder.safetensors": ["encoder.safetensors", "--recordings", "mine", "--labels", "labels.csv", *FAST],
        "labels.csv": ["encoder.safetensors", "--recordings", "mine", "--labels", "labels.csv", *FAST],
        "mine/3.zip": ["encoder.safetensors", "--recordings", "mine", "--labels", "labels.csv", *FAST],
    },
    "export": {"model.safetensors": ["model.safetensors", "--to", "onnx", "--out", "model.onnx", *FAST]},
    "zeroshot": {
        "encoder.safetensors": ["encoder.safetensors", "mine/1.csv", "--labels", "walking,running", *FAST],
        "prompts.toml": ["encoder.safetensors", "mine/1.csv", "--labels", "a,b", "--prompts", "prompts.toml", *FAST],
    },
    "retrieve": {"runs/small/encoders/*fold0*.safetensors": RUN},
    "rerun": {"study.csv": ["study.csv", "1", *FAST]},
    "import-primus": {"best_model.ckpt": ["best_model.ckpt", "--any-hash", *FAST]},
    "push": {"model.safetensors": ["model.safetensors", "--licence", "mit", "--out", "pushed", *FAST]},
    "recipes": {"small.toml": ["show", "small.toml"]},
    "demo": {},  # reads what seglearn ships alone
}
UNFIT = ("pair", "adapt", "zeroshot", "retrieve", "import-primus")
"""Commands that have nothing sound to read in the project, and adapt, which takes long."""

CASES = [(name, pattern) for name, patterns in READS.items() for pattern in patterns]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(ended.value.code or 0)


def contents(folder: Path) -> dict[Path, bytes]:
    """What the files in a folder hold, but for locks."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def own_recordings(folder: Path) -> None:
    store, lines = open_store(Path("data/synthetic")), ["recording,start,end,label,person"]
    folder.mkdir()
    for number, entry in enumerate(store.entries[:7]):
        signal = store.signal(entry)[:600, :3]
        table = pd.DataFrame(signal, columns=["acc_x", "acc_y", "acc_z"])
        table.insert(0, "time", table.index / 50)
        text = table.to_csv(index=False)
        if number == 2:
            (folder / "2.csv.gz").write_bytes(gzip.compress(text.encode()))
        elif number in (3, 6):
            method = zipfile.ZIP_DEFLATED if number == 3 else zipfile.ZIP_LZMA
            with zipfile.ZipFile(folder / f"{number}.zip", "w", method) as archive:
                archive.writestr(f"{number}.csv", text)
        elif number == 4:
            table.to_excel(folder / "4.xlsx", index=False)
        elif number == 5:
            table.to_parquet(folder / "5.parquet")
        else:
            (folder / f"{number}.csv").write_text(text)
        lines.append(f"{number},1,7,{store.labels[entry.spans[0][2]]},{entry.subject}")
    Path("labels.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every command has what it reads."""
    folder = tmp_path_factory.mktemp("sound")
    recipe = RECIPE.replace("epochs = 2", "epochs = 1").replace("seeds = [0, 1]", "seeds = [0]")
    recipe = recipe.replace("shots = [2, 10]", "shots = [2]").replace(', "finetune", "forest"', "")
    (folder / "small.toml").write_text(recipe + "[search]\npretrain.batch_size = [32, 64]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("prepare", "synthetic", *FAST) == 0
        own_recordings(folder / "mine")
        for words in (
            ["pretrain", *RUN],
            ["pretrain", *RUN, "--everyone"],
            ["evaluate", *RUN, "--jobs", "1"],
            ["transfer", *RUN],
            ["search", *RUN, "--trials", "1"],
            ["study", "small.toml", "--only-page", "--out", "runs/small", "--table", "study.csv", *FAST],
        ):
            run(*words)
        shutil.copy("runs/small/model.safetensors", "model.safetensors")
        shutil.copy(next(Path("runs/small/encoders").glob("*everyone*")), "encoder.safetensors")
        if not Path("study.csv").exists():
            pd.concat(
                [pd.read_json(p, typ="series").to_frame().T for p in Path("runs/small/rows").glob("*.json")]
            ).assign(variant="small", planned=3).to_csv("study.csv", index=False)
        Path("prompts.toml").write_text('a = ["a person walks"]\nb = ["a person runs"]\n')
        Path("best_model.ckpt").write_bytes(b"PK\x03\x04" + bytes(500))
    return folder


@pytest.fixture
def here(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "project"
    shutil.copytree(sound, folder)
    monkeypatch.chdir(folder)
    yield folder


def test_every_command_is_tried() -> None:
    assert READS.keys() == {name for panel in COMMANDS.values() for name in panel}


@pytest.mark.parametrize(("name", "pattern"), CASES)
@pytest.mark.filterwarnings("default")  # a warning is no error of a command
def test_damaged_files_end_a_command_in_words(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, pattern: str
) -> None:
    file = next(iter(sorted(here.glob(pattern))))
    whole = file.read_bytes()
    if name not in UNFIT:
        assert run(name, *READS[name][pattern]) == 0, capsys.readouterr().err
    for kind, damage in DAMAGE.items():
        damage(file)
        status = run(name, *READS[name][pattern])
        printed = capsys.readouterr()
        assert status in (0, 1, 2), f"{kind}: {status}"
        assert "Traceback" not in printed.err, f"{kind}: {printed.err}"
        if status == 1:
            said = printed.err.strip().splitlines()[-1]
            assert "error: " in said, f"{kind}: {printed.err}"
        if file.is_dir():
            file.rmdir()
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "synthetic", "--data", "small.toml/data"],
        ["pretrain", *RUN, "--out", "small.toml/run"],
        ["search", *RUN, "--trials", "1", "--out", "small.toml/run"],
        ["label", "model.safetensors", "mine/1.csv", "--out", "small.toml/labelled", *FAST],
        ["study", "--from", "study.csv", "--out", "small.toml/again", *FAST],
        ["recipes", "copy", "motionsense-simclr", "small.toml/mine.toml"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.filterwarnings("default")
def test_a_place_that_cannot_be_written_is_named_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(*words) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ") and "small.toml" in said[-1] and "Traceback" not in "".join(said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "model.safetensors", "--out", "model.safetensors"], "is the file that is read"),
        (["push", "model.safetensors", "--licence", "mit", "--out", "."], "is the file that is read"),
        (["import-primus", "best_model.ckpt", "--any-hash", "--out", "best_model.ckpt"], "is the file that is read"),
        (["push", "model.safetensors", "--licence", "mit", "--out", "labels.csv"], "'labels.csv' is no folder"),
        (
            ["push", "model.safetensors", "--licence", "mit", "--out", "x", "--rows", "cut.csv"],
            "fewer cells than columns",
        ),
        (["push", "model.safetensors", "--licence", "mit", "--out", "x", "--rows", "none.csv"], "has no rows"),
        (["search", "small.toml", "--trials", "1", "--out", "x", "--storage", "journal:odd.log"], "is no journal"),
        (["rerun", "study.csv", "1", "--out", "labels.csv"], "'labels.csv' is no folder"),
    ],
    ids=lambda value: " ".join(value[::3]) if isinstance(value, list) else "",
)
@pytest.mark.filterwarnings("default")
def test_what_would_replace_its_input_or_reads_what_is_cut_off_touches_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    table = Path("study.csv").read_text()
    Path("cut.csv").write_text(table + "synthetic,small\n")
    Path("odd.log").write_text('{"op_code": 99, "worker_id": "a"}\n')
    Path("none.csv").write_text(table.splitlines()[0] + "\n")
    before = contents(here)
    assert run(*words, *FAST) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ") and message in said[-1] and "Traceback" not in "".join(said)
    assert contents(here) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there_is_named_with_those_that_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pretrain", *RUN, "--everyone", "--set", 'pretrain.runtime.accelerator="cuda"', "--out", "new") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "error: the accelerator 'cuda' has 0 devices here, and 1 are wanted; there is 1 x cpu" in said


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
            ),
            "the memory of the device ran out: CUDA out of memory; lower pretrain.batch_size",
        ),
        (MemoryError("Unable to allocate 8 GiB"), "memory ran out: Unable to allocate 8 GiB; run fewer processes"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "the memory ran out: DefaultCPU"),
    ],
)
def test_memory_that_runs_out_names_the_setting_to_lower(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
) -> None:
    def raising(self: TrainingState, batch: object) -> None:
        raise error

    monkeypatch.setattr(TrainingState, "train_on", raising)
    assert run("pretrain", *RUN, "--everyone", "--out", "new") == 1
    assert f"error: {message}" in " ".join(capsys.readouterr().err.split())
