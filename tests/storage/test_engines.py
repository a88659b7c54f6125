"""Tasks on an executor: results, errors in words, code and folders that differ; jobs that die under submitit."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from otolith.data.windows import Windows
from otolith.storage import engines
from otolith.storage.engines import map_unordered, open_engine, threads_of


def add(left: int, right: int) -> int:
    return left + right


def refuse(number: int) -> None:
    raise ValueError(f"no {number}")


class HeldError(OSError):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.held = lambda: None  # cannot be pickled


def hold(text: str) -> None:
    raise HeldError(text)


def die_once(folder: Path, number: int) -> int:
    """Kill this process the first time, as the loss of a node does."""
    with (folder / f"{number}.tried").open("a") as file:
        file.write("x")
    if number == 1 and (folder / "1.tried").stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def total(windows: Windows, factor: int) -> float:
    return factor * float(sum(values.sum() for values in windows.values))


@pytest.fixture(scope="module", params=[ThreadPoolExecutor, ProcessPoolExecutor])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with request.param(max_workers=2) as made:
        yield made


def test_results_of_an_executor_are_those_of_this_process(executor: Executor) -> None:
    tasks = [(number,) for number in range(20)]
    assert sorted(map_unordered(partial(add, 3), tasks, jobs=executor)) == list(map_unordered(partial(add, 3), tasks))


def test_an_error_of_a_task_is_raised_here(executor: Executor) -> None:
    with pytest.raises(ValueError, match="no 7"):
        list(map_unordered(refuse, [(7,)], jobs=executor))
    with pytest.raises(OSError, match="a is bad"):
        list(map_unordered(hold, [("a is bad",)], jobs=executor))


def test_tasks_run_in_this_folder(executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(map_unordered(os.getcwd, [()], jobs=executor)) == [str(tmp_path)]


def test_a_folder_that_a_node_does_not_see_and_other_code_are_named(tmp_path: Path) -> None:
    gone = pickle.loads(engines._run(str(tmp_path / "gone"), engines.source_hash(), b"", b""))
    assert not gone[0] and f"does not see '{tmp_path / 'gone'}'" in str(gone[1])
    other = pickle.loads(engines._run(str(tmp_path), "other", b"", b""))
    assert not other[0] and "runs other code of Otolith" in str(other[1])


def test_an_executor_whose_process_died_is_an_error_in_words() -> None:
    with ProcessPoolExecutor(max_workers=1) as pool, pytest.raises(OSError, match="what was finished is kept"):
        list(map_unordered(die, [(1,), (2,)], jobs=pool))


def test_windows_are_sent_as_the_place_of_their_store(windows: Windows) -> None:
    assert windows.memmaps[0].tobytes()[4000:8000] not in pickle.dumps(windows)
    with ProcessPoolExecutor(max_workers=1) as pool:
        sums = sorted(map_unordered(partial(total, windows), [(1,), (2,)], jobs=pool))
    assert sums == sorted([total(windows, 1), total(windows, 2)])


def test_each_task_of_an_executor_has_one_thread_and_processes_share(executor: Executor) -> None:
    assert [threads_of(jobs, 8) for jobs in (1, 2, 16)] == [None, 4, 1] and threads_of(executor, 8) == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dask", {}, "there is no engine 'dask'; choose one of processes, ray, slurm"),
        ("processes", {"a": "1"}, "the engine processes has no option 'a'"),
        ("slurm", {"cluster": "local", "wrong": "1"}, "the engine slurm: .*wrong"),
        ("slurm", {"cluster": "moon"}, "the engine slurm.*moon"),
    ],
)
def test_engines_and_options_that_are_not_there_are_named(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message), open_engine(name, 1, options):
        pass


def test_a_job_that_died_is_submitted_again_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    options = {"cluster": "local", "folder": str(tmp_path / "log")}
    with open_engine("slurm", 2, options) as workers:
        found = sorted(map_unordered(partial(die_once, tmp_path), [(n,) for n in range(2)], jobs=workers))
    assert found == [0, 1]
    assert [len((tmp_path / f"{n}.tried").read_text()) for n in range(2)] == [1, 2]


def test_jobs_end_with_the_engine(tmp_path: Path) -> None:
    with open_engine("slurm", 1, {"cluster": "local", "folder": str(tmp_path / "log")}) as workers:
        assert isinstance(workers, Executor)
        future = workers.submit(time.sleep, 600)
        while not future.running():
            time.sleep(0.05)
        jobs = [job for *_, job, _ in vars(workers)["_jobs"]]
    assert all(job.done() for job in jobs)
