"""Run tasks in worker processes that end with the process that started them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_parent: int | None = None  # of a worker process


def unordered(
    function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], *, jobs: int
) -> Generator[Result, None, None]:
    """Yield the results of `function(*task)` in the order they are ready, from `jobs` processes.

    On Linux, the system kills workers with their parent. Elsewhere they end at their next `check_parent`, which every task
    begins with.

    Raises:
        OSError: a worker process was killed, or another error of the function.
    """
    if jobs == 1:
        for task in tasks:
            yield function(*task)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    parent = os.getpid()
    found = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_worked)(parent, function, task) for task in tasks
    )
    try:
        for result in found:  # noqa: UP028 - `yield from` would close it outside the filter of warnings
            yield result
    except TerminatedWorkerError as error:
        raise OSError(
            "a worker process was killed, most often because memory ran out; run fewer of them with --jobs"
        ) from error
    finally:
        with warnings.catch_warnings():  # about results that nothing waits for
            warnings.simplefilter("ignore", UserWarning)
            found.close()


def check_parent() -> None:
    """Raise InterruptedError in a worker process whose parent has ended; another run may write the same files."""
    if _parent is not None and os.getppid() != _parent:
        raise InterruptedError(f"process {_parent}, which started this one, has ended")


def _worked(parent: int, function: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    global _parent
    if _parent is None and parent != os.getpid():
        _parent = parent
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    check_parent()
    return function(*task)
