"""An executor on SLURM through submitit; extra `slurm`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from otolith.storage.engines import RETRIES

_POLL_S = 0.2
_CANCEL_S = 10.0  # until jobs that were cancelled are waited for no longer
_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class SlurmExecutor(Executor):
    """Submit each task as a job of SLURM; a job that dies (node failure, preemption, kill) is submitted again.

    Args:
        jobs: the most jobs in the queue at a time.
        options: `folder` of submitit's files (`.submitit`), on a disk that all nodes share; `cluster`, `slurm` or `local`;
            further ones are parameters of `submitit.AutoExecutor`.

    Raises:
        ImportError: submitit is not installed.
        OSError: there is no SLURM on this machine.
        ValueError: submitit has no such parameter.
    """

    def __init__(self, jobs: int, options: Mapping[str, str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ImportError("the engine slurm needs submitit: pip install 'otolith[slurm]'") from error
        given = {name: _typed(value) for name, value in options.items()}
        folder, cluster = Path(str(given.pop("folder", ".submitit"))).absolute(), given.pop("cluster", "slurm")
        try:
            self._submitit = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._submitit.update_parameters(**{"name": "otolith", **given})
        except (RuntimeError, AssertionError) as error:
            raise OSError(f"the engine slurm cannot be used on this machine: {error}") from error
        except (NameError, TypeError, ValueError) as error:
            raise ValueError(f"the engine slurm: {' '.join(str(error).split())}") from error
        self._most = max(1, jobs)
        self._waiting = deque[tuple[Future[Any], _Call]]()
        self._jobs = list[tuple[Future[Any], _Call, Any, int]]()
        self._closed, self._lock = False, threading.Lock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Queue a function; it is submitted once fewer than `jobs` jobs are in the queue."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, (function, arguments, named)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what still waits or runs, if asked to, and stop watching the queue."""
        if wait and not cancel_futures:
            while self._waiting or self._jobs:
                time.sleep(_POLL_S)
        self._closed = True
        self._watcher.join()
        for _, _, job, _ in self._jobs:
            job.cancel()
        until = time.monotonic() + _CANCEL_S
        while time.monotonic() < until and not all(job.done() for *_, job, _ in self._jobs):
            time.sleep(_POLL_S)
        for future, _ in self._waiting:
            future.cancel()

    def _watch(self) -> None:
        """Submit what waits, and pass on the results of jobs that ended, until the executor is closed."""
        while not self._closed:
            for each in list(self._jobs):
                if self._ended(*each):
                    self._jobs.remove(each)
            while self._waiting and len(self._jobs) < self._most and not self._closed:
                with self._lock:
                    future, call = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    self._start(future, call, 0)
            time.sleep(_POLL_S)

    def _start(self, future: Future[Any], call: _Call, retries: int) -> None:
        function, arguments, named = call
        try:
            self._jobs.append((future, call, self._submitit.submit(function, *arguments, **named), retries))
        except Exception as error:  # of sbatch
            future.set_exception(error)

    def _ended(self, future: Future[Any], call: _Call, job: Any, retries: int) -> bool:
        """Whether a job is over; its result is passed on, or it is submitted again."""
        if not job.done():
            return False
        try:
            future.set_result(job.result())
        except Exception as error:  # the job died: functions of `engines` return their errors
            if retries < RETRIES and not self._closed:
                self._start(future, call, retries + 1)
            else:
                future.set_exception(error)
        return True


def _typed(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
