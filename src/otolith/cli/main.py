"""The command line: one command per stage. Nothing heavy is imported until a command runs, so that help is instant."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperGroup

from otolith import __version__
from otolith.cli import data, demo, evaluate, export, share, train, use
from otolith.cli.command import unwrapped
from otolith.cli.recipes import recipes

COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Corpora": {"datasets": data.datasets, "prepare": data.prepare, "pair": data.pair},
    "Pretrain and evaluate": {
        "pretrain": train.pretrain,
        "search": train.search,
        "evaluate": evaluate.evaluate,
        "report": evaluate.report,
        "study": evaluate.study,
    },
    "Own recordings": {
        "label": use.label,
        "adapt": use.adapt,
        "zeroshot": use.zeroshot,
        "export": export.export,
        "push": share.push,
        "transfer": train.transfer,
    },
    "More": {
        "retrieve": evaluate.retrieve,
        "rerun": evaluate.rerun,
        "import-primus": train.import_primus,
        "recipes": recipes,
        "demo": demo.demo,
    },
}
"""Every command, in the order and the panels of the help."""


class _InOrder(TyperGroup):
    """List the commands in the order of `COMMANDS`."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return [name for commands in COMMANDS.values() for name in commands]


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=unwrapped("""
    Pretrain encoders of wearable motion sensors without labels, adapt them with few labels, evaluate on held-out people.

    [bold]Try it:[/] otolith demo

    [bold]With a corpus:[/] otolith prepare motionsense --source DIR, then, with a recipe that `otolith recipes` lists
    or a TOML file, otolith pretrain RECIPE, otolith evaluate RECIPE and otolith report RECIPE.

    [bold]With your recordings:[/] otolith label FILE.csv. With your own labels: otolith adapt --recordings DIR --labels
    FILE, then otolith label MODEL FILE.csv.

    [bold]With words in place of labels:[/] otolith pair, otolith pretrain, then otolith zeroshot CHECKPOINT FILE.csv
    --labels "...".

    An interrupted stage continues where it stopped when the same command is given again."""),
    epilog="Exit codes: 0 done; 1 an error, which a message explains; 2 wrong usage; 130 interrupted; 143 terminated.",
)


def _version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"otolith {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = None,
) -> None:
    del version


for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            app.command(name=_name, rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line."""
    gc.set_threshold(100_000)  # imports make a million objects that stay; looking at them took 5 % of a short command
    app()
