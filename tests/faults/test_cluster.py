"""A grid on a Ray cluster of a head and two nodes on this machine, of which one is killed, and on submitit's local jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import RECIPE

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default")]  # Ray leaves files open
pytest.importorskip("ray", reason="Ray is not installed: pip install 'otolith[ray]'")

SETTINGS = ["--quiet", "--out", "out", "--set", "protocol.seeds=[0,1,2,3]", "--set", "protocol.shots=[2]"]
NICENESS = "RAY_worker_niceness"
MADE_BY = ("seconds", "machine")


def otolith(*words: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "otolith", *words], text=True, stderr=subprocess.PIPE, **options)


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    found = {path.name: json.loads(path.read_text()) for path in (folder / "out" / "rows").glob("*.json")}
    return {name: {k: v for k, v in row.items() if k not in (*MADE_BY, "sha256")} for name, row in found.items()}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with encoders and no rows."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "small.toml").write_text(RECIPE)
    for words in (["prepare", "synthetic", "--quiet"], ["pretrain", "small.toml", *SETTINGS]):
        assert otolith(*words, cwd=folder).wait() == 0
    return folder


@pytest.fixture(scope="module")
def alone(pretrained: Path) -> dict[str, dict[str, Any]]:
    """The rows of one process."""
    assert otolith("evaluate", "small.toml", *SETTINGS, "--jobs", "1", cwd=pretrained).wait() == 0
    found = rows(pretrained)
    for path in (pretrained / "out" / "rows").glob("*.json"):
        path.unlink()
    return found


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ[NICENESS] = "0"  # 15 otherwise, which starves the workers of a busy machine
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20})
    yield made
    made.shutdown()


def written(folder: Path, count: int, process: "subprocess.Popen[str]") -> dict[str, int]:
    """Wait for so many rows, and return when each was written, in ns."""
    while process.poll() is None:
        found = {path.name: path.stat().st_mtime_ns for path in (folder / "out" / "rows").glob("*.json")}
        if len(found) >= count:
            return found
        time.sleep(0.02)
    pytest.fail(f"it ended early: {process.communicate()}")


def worker_pids() -> list[int]:
    found = subprocess.run(["pgrep", "-f", "^ray::_run"], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


@pytest.mark.parametrize("lost", ["a node", "a worker process"])
def test_a_grid_survives_what_is_killed(pretrained: Path, alone: dict[str, Any], cluster: Any, lost: str) -> None:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    cluster.wait_for_nodes()
    for path in (pretrained / "out" / "rows").glob("*.json"):
        path.unlink()
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "OTOLITH_ENGINE": "ray"}
    process = otolith("evaluate", "small.toml", *SETTINGS, cwd=pretrained, env=environment)
    before = written(pretrained, 4, process)
    if lost == "a node":
        cluster.remove_node(nodes[0], allow_graceful=False)
    else:
        os.kill(worker_pids()[0], signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    after = {path.name: path.stat().st_mtime_ns for path in (pretrained / "out" / "rows").glob("*.json")}
    assert len(before) < len(after) == len(alone)  # it was killed in the middle
    assert {name: after[name] for name in before} == before  # nothing was written twice
    assert rows(pretrained) == alone


def test_a_grid_as_jobs_of_submitit(pretrained: Path, alone: dict[str, Any]) -> None:
    for path in (pretrained / "out" / "rows").glob("*.json"):
        path.unlink()
    engine = ["--engine", "slurm", "--engine-set", "cluster=local", "--jobs", "2", "--set", "protocol.seeds=[0]"]
    process = otolith("evaluate", "small.toml", *SETTINGS, *engine, cwd=pretrained)
    written(pretrained, 1, process)
    jobs = subprocess.run(
        ["pgrep", "-f", f"submitit.core._submit {pretrained}"], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(jobs[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    few = {name: row for name, row in alone.items() if row["seed"] == 0}
    assert {name: {**row, "recipe": ""} for name, row in rows(pretrained).items()} == {
        name: {**row, "recipe": ""} for name, row in few.items()
    }
