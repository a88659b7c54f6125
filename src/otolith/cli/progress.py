"""Progress of long work: bars on a terminal, now and then a line elsewhere, nothing with --quiet."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

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

from otolith.cli.console import escape, notes

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
        if not notes.is_terminal or notes.quiet:
            yield _Lines()
            return
        amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
        if of_bytes:
            amounts = DownloadColumn(), TransferSpeedColumn()
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *amounts
        with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bars:
            yield _Bars(bars, text)
    except KeyboardInterrupt:
        notes.print("interrupted; the same command continues where this one stopped", highlight=False)
        raise


class _Bars(Progress):
    """Bars on a terminal, one for each task at work."""

    def __init__(self, bars: Bars, text: str) -> None:
        self._bars = bars
        self._first: TaskID | None = bars.add_task(escape(text), total=None)
        self._tasks: dict[str, TaskID] = {}

    def update(self, text: str, done: float | None = None, of: float | None = None, *, task: str = "") -> None:
        if self._first is not None:
            self._bars.remove_task(self._first)
            self._first = None
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task("", total=of)
        self._bars.update(self._tasks[task], description=escape(text), completed=done, total=of)

    def finish(self, text: str, *, task: str = "") -> None:
        if task in self._tasks:
            self._bars.remove_task(self._tasks.pop(task))
        self.note(text)


class _Lines(Progress):
    """Lines for logs: of each task the first, one every `EVERY_S` seconds, and the last."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def update(self, text: str, done: float | None = None, of: float | None = None, *, task: str = "") -> None:
        now = time.monotonic()
        complete = of is not None and done is not None and done >= of
        if complete or now - self._last.get(task, -EVERY_S) >= EVERY_S:
            self._last[task] = now
            amount = f" [{100 * done / of:.0f} %]" if of and done is not None else ""
            self.note(f"{text}{amount}")

    def finish(self, text: str, *, task: str = "") -> None:
        del task
        self.note(text)
