"""Progress of long work: bars on a terminal, a line every few seconds elsewhere and in the log, nothing with --quiet."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from otolith.cli.console import escape, log, notes

EVERY_S = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress(ABC):
    """Show how far some work is."""

    @abstractmethod
    def update(self, text: str, done: float | None = None, of: float | None = None, *, task: str = "") -> None:
        """Show that `done` of `of` steps of a task are finished; text says what is going on."""

    @abstractmethod
    def finish(self, text: str, *, task: str = "") -> None:
        """Write a line that stays, and show the task no longer."""

    def note(self, text: str) -> None:
        """Write a line that stays."""
        notes.print(text, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def progress(text: str, *, of_bytes: bool = False) -> Iterator[Progress]:
    """Show the progress of the work inside; Ctrl-C inside says how to continue.

    Args:
        text: shown until the first update.
        of_bytes: the amounts are bytes.
    """
    try:
        terminal = notes.is_terminal and notes.file.isatty() and not notes.quiet  # FORCE_COLOR asks for colours alone
        with contextlib.closing(_Lines(text, log.info if terminal else _note, of_bytes=of_bytes)) as lines:
            if not terminal:
                yield lines
                return
            amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
            if of_bytes:
                amounts = DownloadColumn(), TransferSpeedColumn()
            columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *amounts
            with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bars:
                yield _Bars(bars, text, lines)
    except KeyboardInterrupt:
        notes.print("interrupted; the same command continues where this one stopped", highlight=False)
        raise


def _note(text: str) -> None:
    notes.print(text, highlight=False, markup=False, soft_wrap=True)


class _Bars(Progress):
    """Bars on a terminal, one for each task at work."""

    def __init__(self, bars: Bars, text: str, lines: _Lines) -> None:
        self._bars, self._lines = bars, lines
        self._first: TaskID | None = bars.add_task(escape(text), total=None)
        self._tasks: dict[str, TaskID] = {}

    def update(self, text: str, done: float | None = None, of: float | None = None, *, task: str = "") -> None:
        if self._first is not None:
            self._bars.remove_task(self._first)
            self._first = None
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task("", total=of)
        self._bars.update(self._tasks[task], description=escape(text), completed=done, total=of)
        self._lines.update(text, done, of, task=task)

    def finish(self, text: str, *, task: str = "") -> None:
        if task in self._tasks:
            self._bars.remove_task(self._tasks.pop(task))
        self._lines.forget(task)
        self.note(text)


@dataclasses.dataclass
class _Task:
    """The latest state of a task."""

    text: str
    done: float | None
    of: float | None
    first: float
    started: float


class _Lines(Progress):
    """Lines for logs: of each task the first, one every `EVERY_S` seconds, also while nothing is reported, and the last.

    Args:
        text: stands for the work until the first update.
        write: what takes a line.
        of_bytes: the amounts are bytes.
    """

    def __init__(self, text: str, write: Callable[[str], None], *, of_bytes: bool = False) -> None:
        self._write, self._bytes = write, of_bytes
        self._tasks = {"": _Task(text, None, None, 0, time.monotonic())}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._begun = False
        threading.Thread(target=self._repeat, daemon=True).start()

    def update(self, text: str, done: float | None = None, of: float | None = None, *, task: str = "") -> None:
        now = time.monotonic()
        with self._lock:
            if not self._begun:
                self._tasks.clear()
                self._begun = True
            known = self._tasks.get(task)
            started, first = (now, done or 0) if known is None else (known.started, known.first)
            latest = _Task(text, done, of, first, started)
            complete = of is not None and done is not None and done >= of
            if complete:
                self._tasks.pop(task, None)
            else:
                self._tasks[task] = latest
        if complete or known is None:
            self._write(self._line(latest))

    def finish(self, text: str, *, task: str = "") -> None:
        self.forget(task)
        self.note(text)

    def forget(self, task: str) -> None:
        """Write no further line of a task."""
        with self._lock:
            self._tasks.pop(task, None)

    def close(self) -> None:
        """Write nothing any more."""
        self._closed.set()

    def _repeat(self) -> None:
        while not self._closed.wait(EVERY_S):
            with self._lock:
                lines = [self._line(task) for task in self._tasks.values()]
            for line in lines:
                self._write(line)

    def _line(self, task: _Task) -> str:
        """Return the state of a task: text [done/of, rate, time so far]."""
        seconds = time.monotonic() - task.started
        facts = []
        if task.done is not None and task.of:
            unit, scale = (" MB", 1e6) if self._bytes else ("", 1)
            places = 1 if self._bytes else 0
            facts.append(f"{task.done / scale:,.{places}f}/{task.of / scale:,.{places}f}{unit}")
            if seconds >= 1 and task.done > task.first:
                facts.append(f"{(task.done - task.first) / scale / seconds:,.2f}{unit}/s")
        return f"{task.text} [{', '.join([*facts, f'{seconds:.0f} s'])}]"
