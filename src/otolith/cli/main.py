"""The command line: one command a stage. Nothing heavy is imported until a command runs, so that help is instant."""

from __future__ import annotations

import os
import sys

from otolith.cli import data, demo, evaluate, train, use  # noqa: F401 - each adds its commands to the application
from otolith.cli.console import _plain, app, console


def main() -> None:
    """Runs the command line; errors that a user can mend are one message, not a traceback (see it: OTOLITH_DEBUG=1)."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("OTOLITH_DEBUG"):
            raise
        console.print(
            f"[bold red]error:[/] {_plain(str(error) or type(error).__name__)}", highlight=False, soft_wrap=True
        )
        sys.exit(1)
