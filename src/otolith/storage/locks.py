"""Lock folders against other processes, and make temporary folders that are removed once their process has ended.

Whether a process lives is told by its lock, which the system takes back however it ends, and never by its number, which
means nothing on another machine that shares the disk. Locks are those of `filelock`: of the system on Linux, macOS and
Windows, and files that it looks after itself where a file system has no locks.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""Name of the file in a folder that is locked in its place."""

_swept = set[Path]()


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock `folder`, which is created if necessary, for this process; the system unlocks it however the process ends.

    Raises:
        ValueError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"'{folder}' is in use by another process; wait until it has ended") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder `.<name>.<random>.part` next to `path`, which is removed at the end.

    What killed processes left next to `path` is removed when this process first writes there, and what they left of `path`
    itself every time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.parent.resolve()
    sweep(path.parent, ".*.part" if place not in _swept else f".{path.name}.*.part")
    _swept.add(place)
    part, lock = _claimed_part(path)
    try:
        yield part
    finally:
        lock.release()
        shutil.rmtree(part, ignore_errors=True)


def is_free(lock: Path) -> bool:
    """Return whether a lock's file exists and no process holds it."""
    if not lock.is_file():
        return False
    one = FileLock(lock)
    try:
        one.acquire(timeout=0)
    except Timeout:
        return False
    one.release()
    return True


def sweep(folder: Path, pattern: str = ".*.part") -> None:
    """Remove the temporary folders in `folder`, among them those of other libraries inside, whose processes have ended."""
    for part in folder.glob(pattern):
        if not (part / LOCK).is_file():  # no folder of ours, or one that is being made
            continue
        lock = FileLock(part / LOCK)
        with contextlib.suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            try:
                shutil.rmtree(part, ignore_errors=True)
            finally:
                lock.release()
                shutil.rmtree(part, ignore_errors=True)  # on Windows, a file that is open stays


def _claimed_part(path: Path) -> tuple[Path, FileLock]:
    """Make a temporary folder and lock it, again if another process swept it in between."""
    for _ in range(10):
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        lock = FileLock(part / LOCK)
        with contextlib.suppress(Timeout, FileNotFoundError):
            lock.acquire(timeout=0)
            if (part / LOCK).exists():
                return part, lock
            lock.release()
    raise OSError(f"no temporary folder can be locked in '{path.parent}'; another process removes them")
