"""Where the commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

# Lines that go into a file or a pipe are neither wrapped nor cut at a terminal's 80 columns.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000

out = Console(width=_WIDTH, emoji=False)
"""Results."""
notes = Console(stderr=True, width=_WIDTH, emoji=False)
"""What happens on the way; silent with --quiet."""
errors = Console(stderr=True, width=_WIDTH, emoji=False)
"""Errors and warnings, which --quiet keeps."""

__all__ = ["errors", "escape", "notes", "out", "put_json", "results", "set_verbosity", "warn"]


def set_verbosity(*, verbose: bool, quiet: bool) -> None:
    """Set how much the commands tell: also what libraries log (verbose), or results, warnings and errors alone (quiet)."""
    notes.quiet = quiet
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)


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
