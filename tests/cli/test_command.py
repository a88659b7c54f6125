"""What every command has: options, help, exit codes, a version, and an import that is light."""

import dataclasses
import inspect
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer

import otolith as package
from commands import Ran
from otolith.cli.command import command
from otolith.cli.console import put_json
from otolith.cli.main import COMMANDS, app
from otolith.cli.progress import progress

NAMES = [name for commands in COMMANDS.values() for name in commands]


def test_the_help_lists_the_commands_in_the_order_of_the_work(otolith: Callable[..., Ran]) -> None:
    ran = otolith("--help")
    found = [line.split()[1] for line in ran.out.splitlines() if line.startswith("\u2502") and line.split()[1] in NAMES]
    assert ran.status == 0 and found == NAMES
    assert all(panel in ran.out for panel in COMMANDS) and "Exit codes" in ran.out and "--install-completion" in ran.out


@pytest.mark.parametrize("name", [*NAMES, "recipes show", "recipes copy", "recipes schema"])
def test_every_command_teaches_by_an_example(otolith: Callable[..., Ran], name: str) -> None:
    ran = otolith(*name.split(), "--help")
    assert ran.status == 0 and "Usage" in ran.out
    assert f"Example: otolith {name}" in ran.out
    assert "--quiet" in ran.out or name == "recipes"


@pytest.mark.parametrize("name", ["prepare", "pair", "label", "zeroshot", "import-primus"])
def test_commands_that_draw_nothing_take_no_seed(otolith: Callable[..., Ran], name: str) -> None:
    assert "--seed" not in otolith(name, "--help").out
    assert otolith(name, "x", "--seed", "1").status == 2


def test_the_version(otolith: Callable[..., Ran]) -> None:
    ran = otolith("--version")
    assert ran.status == 0 and ran.out == f"otolith {package.__version__}\n"


def test_wrong_usage_ends_with_2(otolith: Callable[..., Ran]) -> None:
    assert otolith("pretrain").status == 2
    ran = otolith("pretrain", "demo", "--sett", "a=1")
    assert ran.status == 2 and "--sett" in ran.err


def test_verbose_shows_where_an_error_arose(otolith: Callable[..., Ran]) -> None:
    ran = otolith("pretrain", "absent.toml", "--verbose")
    assert ran.status == 1 and "Traceback" in ran.err and "error: no recipe at 'absent.toml'" in ran.err


def test_quiet_keeps_results_alone(here: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("pretrain", "small.toml", "--out", "runs/quiet", "--set", "pretrain.epochs=1", "-q")
    assert ran.status == 0 and ran.err == "" and ran.out == "runs/quiet/encoders: 3 encoders\n"


def test_progress_is_lines_where_there_is_no_terminal(here: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("pretrain", "small.toml", "--out", "runs/lines", "--set", "pretrain.epochs=1")
    assert ran.status == 0 and "\x1b" not in ran.err
    lines = ran.err.splitlines()
    assert sum("(3/3) epoch 1" in line for line in lines) >= 1 and sum(line.endswith(" s") for line in lines) == 3


def test_colours_without_a_terminal_are_no_reason_for_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does for the cells of a notebook
    with progress("working") as shown:
        shown.update("half", 1, 2)
    assert capsys.readouterr().err.splitlines() == ["half [1/2, 0 s]"]


def test_an_interruption_ends_with_130(here: Path) -> None:
    words = ["pretrain", "small.toml", "--out", "runs/long", "--set", "pretrain.epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "otolith", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "epoch" in first and process.returncode == 130
    assert "the same command continues where this one stopped" in said and "Traceback" not in said


def test_datasets_as_json(otolith: Callable[..., Ran], tmp_path: Path) -> None:
    ran = otolith("datasets", "--json", "--data", tmp_path)
    cards = {card["name"]: card for card in json.loads(ran.out)}
    assert cards["spar"]["subjects"] == 10 and cards["spar"]["prepared"] is None and len(cards["spar"]["classes"]) == 7
    assert "spar" in ran.err


def test_a_group_of_options_becomes_options_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass(frozen=True)
    class Size:
        width: Annotated[int, typer.Option("--width")]
        height: Annotated[int, typer.Option("--high")] = 3

    got = []

    def draw(name: str, times: int = 1, *, size: Size) -> None:
        """Draw."""
        got.append((name, times, size))

    draw.__annotations__["size"] = Size
    made = command(draw)
    assert [*inspect.signature(made).parameters] == ["name", "times", "width", "height", "verbose", "quiet", "log"]
    assert made.__annotations__["height"] == Annotated[int, typer.Option("--high")] or "height" in made.__annotations__
    small = typer.Typer()
    small.command()(made)
    with pytest.raises(SystemExit) as ended:
        small(["box", "--width", "4"])
    assert not ended.value.code and got == [("box", 1, Size(4, 3))]
    with pytest.raises(SystemExit) as ended:
        small(["box"])
    assert ended.value.code == 2 and "--width" in capsys.readouterr().err


def test_json_holds_neither_nan_nor_types_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    put_json(
        {"a": np.float32(2), "b": [float("nan"), float("inf")], "c": Path("x/y"), "d": np.arange(2), 5: None, "e": True}
    )
    assert json.loads(capsys.readouterr().out) == {
        "a": 2, "b": [None, None], "c": "x/y", "d": [0, 1], "5": None, "e": True
    }  # fmt: skip


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = "torch lightning_fabric pandas scipy sklearn matplotlib".split()  # noqa: SIM905
    code = f"import otolith, otolith.cli.main, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_application_is_one_typer() -> None:
    assert {*typer.main.get_command(app).commands} == set(NAMES)  # type: ignore[attr-defined]
