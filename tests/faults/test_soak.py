"""Every stage, killed at random moments again and again, ends as an unbroken one, and leaves nothing half-written.

`OTOLITH_SOAK_KILLS` says how often each stage is killed (50); the tests of `make test` kill two of them once.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from test_commands import own_recordings

from commands import RECIPE
from otolith.cli.main import app
from otolith.data.store import MANIFEST, open_store
from otolith.storage import tensors

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the stages are forked"),
    pytest.mark.filterwarnings("default"),
]
KILLS = int(os.environ.get("OTOLITH_SOAK_KILLS", "50"))
RUN = ["small.toml", "--quiet", "--out", "out"]
WORN = ["--placement", "wrist", "--accept-low-accuracy"]
ADAPTED = ["--out", "adapted", "--jobs", "1", "--quiet"]


class Stage(NamedTuple):
    """A command, what it makes, and what of that is the result."""

    words: list[str]
    made: str
    result: Callable[[Path], Any]


def of_stores(folder: Path) -> Any:
    return {path.parent.name: open_store(path.parent).hash for path in folder.glob(f"*/{MANIFEST}")}


def of_tensors(folder: Path) -> Any:
    found = {}
    for path in folder.rglob("*.safetensors"):
        header, state = tensors.read(path)
        header.get("about", {}).pop("made_by", None)
        found[path.name] = tensors.digest(header, state)
    return found


def of_rows(folder: Path) -> Any:
    rows = {path.name: json.loads(path.read_text()) for path in (folder / "rows").glob("*.json")}
    return {name: {k: v for k, v in row.items() if k not in ("seconds", "sha256")} for name, row in rows.items()}


def of_search(folder: Path) -> Any:
    table = pd.read_csv(folder / "search.csv")
    return table[table["state"] != "fail"].drop(columns=["number", "seconds"]).to_csv(index=False)


def of_files(folder: Path) -> Any:
    return {path.name: path.read_text() for path in folder.rglob("*.csv")}


STAGES = {
    "prepare": Stage(["prepare", "spar", "--data", "new", "--jobs", "2", "--quiet"], "new", of_stores),
    "pretrain": Stage(["pretrain", *RUN, "--set", "pretrain.epochs=6"], "out/encoders", of_tensors),
    "evaluate": Stage(["evaluate", *RUN, "--jobs", "1"], "out/rows", lambda folder: of_rows(folder.parent)),
    "adapt": Stage(
        ["adapt", "encoder.safetensors", "--recordings", "mine", "--labels", "labels.csv", *ADAPTED],
        "adapted",
        lambda folder: (of_tensors(folder), of_files(folder)),
    ),
    "search": Stage(
        ["search", "small.toml", "--trials", "6", "--out", "found", "--quiet", "--set", "pretrain.epochs=6"],
        "found",
        of_search,
    ),
    "label": Stage(
        ["label", "activity", "mine", *WORN, "--out", "labelled", "--jobs", "1", "--quiet"], "labelled", of_files
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with what the stages read."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.toml").write_text(RECIPE + "[search]\npretrain.lr = { low = 1e-4, high = 1e-2, log = true }\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ["prepare", "synthetic", "--quiet"],
            ["pretrain", *RUN],
            ["pretrain", *RUN, "--everyone", "--out", "all"],
        ):
            assert run(words, folder) == 0
        shutil.copy(next(Path("all/encoders").glob("*.safetensors")), "encoder.safetensors")
        own_recordings(Path("mine"))
    return folder


def run(words: list[str], folder: Path, after: float | None = None) -> int:
    """Run a command in a fork of this process, which has loaded everything; return its exit status.

    Args:
        words: the command.
        folder: where it runs.
        after: seconds after which it is killed, unless it has ended; None: it is not killed.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(folder)
            app(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    until = float("inf") if after is None else time.monotonic() + after
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.kill(pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.002)


def soak(name: str, whole: Path, tmp_path: Path, kills: int) -> None:
    """Kill a stage so often, and compare each of its results with that of an unbroken run."""
    stage, draw = STAGES[name], random.Random(name)
    folder, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    for each in (folder, unbroken):
        shutil.copytree(whole, each)
        shutil.rmtree(each / stage.made, ignore_errors=True)
    clock = time.monotonic()
    assert run(stage.words, unbroken) == 0
    lasts = time.monotonic() - clock
    expected, done, ended, differ = stage.result(unbroken / stage.made), 0, 0, 0
    while done < kills:
        clock = time.monotonic()
        status = run(stage.words, folder, after=draw.uniform(0, lasts))
        if status == 0:  # other programs slow this machine down now and then
            lasts = min(lasts, time.monotonic() - clock)
        assert status in (0, -signal.SIGKILL), f"after {done} kills: {status}"
        done += status != 0
        of_tensors(folder)  # what is there is whole
        if status == 0 or done == kills:
            assert run(stage.words, folder) == 0
            ended += 1
            differ += stage.result(folder / stage.made) != expected
            left = list(folder.rglob(".*.part"))
            assert not left, f"after {done} kills: {left}"
            shutil.rmtree(folder / stage.made)
    if table := os.environ.get("OTOLITH_SOAK_TABLE"):
        with Path(table).open("a") as file:
            file.write(f"| `{name}` killed at random moments | {done} kills, {ended} results | {differ} |\n")
    assert not differ


@pytest.mark.soak
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_is_killed_again_and_again_ends_as_an_unbroken_one(whole: Path, tmp_path: Path, name: str) -> None:
    soak(name, whole, tmp_path, KILLS)


@pytest.mark.parametrize("name", ["pretrain", "evaluate"])
def test_a_stage_that_is_killed_ends_as_an_unbroken_one(whole: Path, tmp_path: Path, name: str) -> None:
    soak(name, whole, tmp_path, 2)


def of_rank(rank: int, parent: int) -> int | None:
    """Return the process of a rank that torchrun started."""
    for entry in Path("/proc").iterdir():
        try:
            mine = f"\nPPid:\t{parent}\n" in (entry / "status").read_text()
            if mine and f"\0RANK={rank}\0".encode() in b"\0" + (entry / "environ").read_bytes():
                return int(entry.name)
        except (OSError, ValueError):
            continue
    return None


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_of_which_one_is_killed_end_with_the_bits_of_an_unbroken_two(
    whole: Path, tmp_path: Path, rank: int
) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "otolith"]
    words += ["pretrain", "small.toml", "--everyone", "--out", "two", "--set", "pretrain.epochs=30"]
    words += ["--set", 'pretrain.runtime.accelerator="cpu"', "--set", "pretrain.patience=30"]
    expected = None
    for broken in (False, True):
        folder = tmp_path / f"broken-{broken}"
        shutil.copytree(whole, folder)
        if broken:
            with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
                while not list(folder.glob("two/encoders/*.state")):
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.01)
                victim = of_rank(rank, process.pid)
                assert victim is not None
                os.kill(victim, signal.SIGKILL)
                process.communicate(timeout=300)
            assert process.returncode != 0 and not list(folder.glob("two/encoders/*.safetensors"))
            assert list(folder.glob("two/encoders/*.state"))
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
        found = of_tensors(folder / "two")
        expected = expected or found
    assert len(found) == 1 and found == expected
