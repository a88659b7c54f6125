"""Run commands as a user does, in a folder of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import RECIPE, Ran
from otolith.cli import console
from otolith.cli.main import app


def invoke(capture: pytest.CaptureFixture[str], *words: object) -> Ran:
    """Run a command in this process."""
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    printed = capture.readouterr()
    return Ran(int(ended.value.code or 0), printed.out, printed.err)


@pytest.fixture
def otolith(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command: `otolith("datasets", "--json")`."""
    for each in (console.out, console.notes, console.errors):
        monkeypatch.setattr(each, "width", 300)
    return lambda *words: invoke(capsys, *words)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small recipe, the synthetic corpus, and encoders pretrained on each fold and on everyone."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.toml").write_text(RECIPE)
    common = ["small.toml", "--data", "data", "--out", "runs/small", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (["prepare", "synthetic"], ["pretrain", *common], ["pretrain", *common, "--everyone"]):
            with pytest.raises(SystemExit) as ended:
                app(words)
            assert not ended.value.code
    return folder


@pytest.fixture
def here(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `pretrained` as the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(pretrained, folder)
    monkeypatch.chdir(folder)
    return folder
