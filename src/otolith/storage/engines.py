"""Run tasks on an engine: processes of this machine, a Ray cluster, SLURM, or any executor of `concurrent.futures`.

Every stage that has many tasks calls `map_unordered`. Tasks write their results atomically, under a name that follows from
what they depend on, so a task that an engine repeats after the loss of a node finds what it wrote before. Signals are not
sent: a process maps the files of a store where they lie.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from otolith.storage.files import fingerprint, sha256
from otolith.storage.processes import unordered

Result = TypeVar("Result")
Workers = int | Executor
"""A number of processes of this machine, or an executor."""

ENGINES = ("processes", "ray", "slurm")
RETRIES = 3
"""Times that a task whose process or node was lost is run again."""


def map_unordered(
    function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], *, jobs: Workers = 1
) -> Generator[Result, None, None]:
    """Yield the results of `function(*task)` in the order they are ready.

    What all tasks share belongs into the function (`functools.partial`), which is sent once.

    Args:
        function: of a module, or a partial of one; it is pickled.
        tasks: positional arguments; each is pickled.
        jobs: a number of processes (1: this process runs the tasks), or an executor, which stays open. Its processes
            must see the working directory and all paths, and must run the same code of Otolith.

    Raises:
        OSError: a worker process was killed, or another error of the function.
        ValueError: a process of the executor runs other code, or does not see the working directory.
    """
    if not isinstance(jobs, Executor):
        yield from unordered(function, tasks, jobs=jobs)
        return
    shared = str(Path.cwd()), source_hash(), pickle.dumps(function)
    futures = [jobs.submit(_run, *shared, pickle.dumps(task)) for task in tasks]
    try:
        for future in as_completed(futures):
            try:
                done, found = pickle.loads(future.result())  # of our own processes
            except (Exception, CancelledError) as error:
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise OSError(
                    f"the engine stopped, or lost a task {RETRIES + 1} times: {said[0][:300]}; give each task more memory, "
                    "and run the same command again: what was finished is kept"
                ) from error
            if not done:
                raise found
            yield found
    finally:
        for future in futures:
            future.cancel()


def threads_of(jobs: Workers, threads: int) -> int | None:
    """Return the threads that each task may use of this machine's; None: as many as it likes."""
    if isinstance(jobs, Executor):
        return 1
    return None if jobs == 1 else max(1, threads // jobs)


@contextlib.contextmanager
def open_engine(name: str, jobs: int, options: Mapping[str, str] = {}) -> Iterator[Workers]:
    """Yield the workers of an engine, which are released at the end; tasks that still wait or run are then cancelled.

    Args:
        name: `processes`; `ray`, the cluster that `RAY_ADDRESS` names or that runs on this machine; or `slurm`.
        jobs: processes of this machine. For SLURM, the most jobs in the queue at a time.
        options: of the engine, as text. Ray: `address`, and resources per task such as `num_cpus` and `num_gpus`. SLURM:
            `folder` of the logs, `cluster` (`local` runs jobs here, without SLURM), and submitit's parameters such as
            `slurm_partition`, `timeout_min`, `mem_gb` and `cpus_per_task`.

    Raises:
        ValueError: there is no such engine, or it has no such option.
        ImportError: the engine's package is missing.
        OSError: the engine cannot be reached.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine '{name}'; choose one of {', '.join(ENGINES)}")
    if name == "processes":
        if options:
            raise ValueError(f"the engine processes has no option '{min(options)}'; --jobs says how many there are")
        yield jobs
        return
    executor: Executor
    if name == "ray":
        from otolith.storage.ray_engine import RayExecutor

        executor = RayExecutor(options)
    else:
        from otolith.storage.slurm_engine import SlurmExecutor

        executor = SlurmExecutor(jobs, options)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@functools.cache
def source_hash() -> str:
    """Return a hash of all of Otolith's sources."""
    root = Path(__file__).parents[1]
    return fingerprint({path.relative_to(root).as_posix(): sha256(path) for path in sorted(root.rglob("*.py"))})


def _run(folder: str, code: str, function: bytes, task: bytes) -> bytes:
    """Run a task in a process of an executor; return whether it succeeded, and its result or error, pickled."""
    try:
        if code != source_hash():
            raise ValueError(f"'{socket.gethostname()}' runs other code of Otolith than this process; install the same")
        if str(Path.cwd()) != folder:
            os.chdir(folder)
        return pickle.dumps((True, _unpickled(function)(*pickle.loads(task))))
    except FileNotFoundError as error:
        if error.filename == folder:
            error = FileNotFoundError(
                f"'{socket.gethostname()}' does not see '{folder}'; run in a folder that all nodes share"
            )
        return _failed(error)
    except Exception as error:
        return _failed(error)


@functools.lru_cache(maxsize=2)
def _unpickled(function: bytes) -> Callable[..., Any]:
    """Unpickle a function, once for all its tasks in this process."""
    found: Callable[..., Any] = pickle.loads(function)
    return found


def _failed(error: Exception) -> bytes:
    try:
        packed = pickle.dumps((False, error))
        pickle.loads(packed)
    except Exception:  # an error that keeps something that cannot be sent
        kind = next((kind for kind in (ValueError, OSError) if isinstance(error, kind)), RuntimeError)
        packed = pickle.dumps((False, kind(str(error))))
    return packed
