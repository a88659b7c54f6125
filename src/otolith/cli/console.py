"""The console and the application that all commands share."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Pretrain encoders of wearable motion sensors without labels, adapt them with a few, prove them on new people.

    [bold]Try it:[/] otolith demo

    [bold]The whole path:[/] otolith prepare motionsense --source DIR; then, with a recipe (a TOML file),
    otolith pretrain RECIPE, otolith evaluate RECIPE, otolith report RECIPE;
    then otolith pretrain RECIPE --everyone, otolith transfer RECIPE and otolith label MODEL FILE.csv.
    With recordings and labels of your own: otolith adapt CHECKPOINT --recordings DIR --labels FILE.
    With words instead of labels: otolith pair, otolith pretrain, otolith zeroshot ENCODER FILE.csv --labels "...".

    Every stage goes on where it was interrupted when the same command is given again.""",
)
# Lines that go into a file or a pipe are neither wrapped nor cut at a terminal's 80 columns.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000
console = Console(stderr=True, width=_WIDTH)
out = Console(width=_WIDTH)


@contextlib.contextmanager
def _progress(*amounts: ProgressColumn) -> Iterator[Progress]:
    """Bars for long work; Ctrl-C inside ends the command with a word on how to go on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *(amounts or (MofNCompleteColumn(),)))
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
            yield bars
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one stopped", highlight=False)
        raise typer.Exit(130) from None


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
