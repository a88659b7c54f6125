"""What a command writes to its log, and lines of progress where there is no terminal."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Ran
from otolith.cli import progress as bars
from otolith.cli.command import shortened


def test_a_log_holds_notes_progress_results_and_errors(here: Path, otolith: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "logs" / "run.log"
    words = ["small.toml", "--out", "runs/logged", "--set", "pretrain.epochs=1", "--log", file]
    assert otolith("pretrain", *words, "--quiet").err == ""
    assert otolith("report", "absent.toml", "--log", file).status == 1
    lines = file.read_text().splitlines()
    stamped = [
        line for line in lines if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ (INFO|WARNING|ERROR) ", line)
    ]
    text = "\n".join(stamped)
    assert "started: " in stamped[0] and "(3/3) epoch 1" in text and "runs/logged/encoders: 3 encoders" in text
    assert "error: no recipe at 'absent.toml'" in text and "Traceback" in "\n".join(lines)


def test_a_log_that_cannot_be_written_is_an_error_in_words(here: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("datasets", "--log", ".")
    assert ran.status == 1 and ran.err.startswith("error: ") and "Traceback" not in ran.err


def test_a_log_does_not_stand_still(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bars, "EVERY_S", 0.05)
    with bars.progress("evaluating") as bar:
        for done in (1, 2):
            bar.update("row", done, 3)
        until, found = time.monotonic() + 20, ""
        while found.count("row [2/3") < 3 and time.monotonic() < until:
            time.sleep(0.02)
            found += capsys.readouterr().err
        bar.update("row", 3, 3)
    found += capsys.readouterr().err
    lines = found.splitlines()
    assert lines[0].startswith("row [1/3, 0 s]") and found.count("row [2/3") >= 3 and lines[-1].startswith("row [3/3")


def test_a_long_message_loses_its_middle() -> None:
    assert shortened("short") == "short"
    assert len(shortened("x" * 9000 + "end")) < 1600 and shortened("x" * 9000 + "end").endswith("xend")
