"""Where the commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape, render

# Lines that go into a file or a pipe are neither wrapped nor cut at a terminal's 80 columns.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000

log = logging.getLogger("otolith.cli")
"""What the commands write, for the file of --log."""


class _Logged(Console):
    """A console whose text also goes to the log."""

    level = logging.INFO

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and log what is text."""
        super().print(*objects, **options)
        text = [each for each in objects if isinstance(each, str)]
        if text and log.isEnabledFor(self.level):
            plain = text if options.get("markup") is False else [render(each).plain for each in text]
            log.log(self.level, " ".join(plain).strip())


out = _Logged(width=_WIDTH, emoji=False)
"""Results."""
notes = _Logged(stderr=True, width=_WIDTH, emoji=False)
"""What happens on the way; silent with --quiet."""
errors = _Logged(stderr=True, width=_WIDTH, emoji=False)
"""Errors and warnings, which --quiet keeps."""
errors.level = logging.WARNING

__all__ = ["errors", "escape", "log", "notes", "out", "put_json", "results", "set_verbosity", "warn"]

_handlers = list[logging.Handler]()


def set_verbosity(*, verbose: bool, quiet: bool, file: Path | None = None) -> None:
    """Set how much the commands tell.

    Args:
        verbose: also what libraries log at level INFO; otherwise their warnings and errors.
        quiet: results, warnings and errors alone.
        file: what to append everything to, with the time and the process; None: no file.

    Raises:
        OSError: the file cannot be opened.
    """
    root = logging.getLogger()
    while _handlers:
        root.removeHandler(handler := _handlers.pop())
        handler.close()
    notes.quiet = quiet
    screen = logging.StreamHandler()
    screen.addFilter(lambda record: record.name != log.name)  # these lines are on the screen
    screen.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    screen.setLevel(logging.INFO if verbose else logging.WARNING)
    _handlers.append(screen)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = logging.FileHandler(file, encoding="utf-8")
        kept.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
        _handlers.append(kept)
    for handler in _handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO if verbose or file is not None else logging.WARNING)


def results(as_json: bool) -> Console:
    """Return the console for results in words: standard output, or standard error where JSON goes to standard output."""
    return notes if as_json else out


def put_json(document: Any) -> None:
    """Write one JSON document to standard output; paths become text, NaN becomes null."""
    out.file.write(json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def warn(text: str) -> None:
    """Write a warning to standard error."""
    errors.print(f"[bold yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """Return a value in JSON's own types."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # of NumPy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str | int | bool | None) else str(value)
