"""Commands on the recipes that ship: recipes, recipes show, copy and schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from otolith.cli.command import command, unwrapped
from otolith.cli.console import escape, out, put_json
from otolith.cli.options import JsonOption, RecipeArgument


class _ListByDefault(TyperGroup):
    """Run `list` where no other command is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments, begun with `list` if they name no command."""
        bare = not args or (args[0].startswith("-") and args[0] != "--help")
        return super().parse_args(ctx, ["list", *args] if bare else args)


recipes = typer.Typer(
    cls=_ListByDefault,
    rich_markup_mode="rich",
    help=unwrapped("""List the recipes that ship with Otolith; show or copy one.

    A recipe is a TOML file with the settings of an experiment; commands take its name or a path.

    [bold]Example:[/] otolith recipes copy motionsense-simclr mine.toml"""),
)


@recipes.command(name="list")
@command
def list_recipes(as_json: JsonOption = False) -> None:
    """List the recipes that ship, and the files of prompts, with a line each."""
    from otolith.experiments.shipped import shipped_prompts, shipped_recipes

    found = {**shipped_recipes(), **shipped_prompts()}
    if as_json:
        put_json(found)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    for name, line in found.items():
        table.add_row(name, escape(line))
    out.print(table, highlight=False)


@recipes.command()
@command
def show(name: RecipeArgument) -> None:
    """Write a recipe to standard output.

    [bold]Example:[/] otolith recipes show motionsense-simclr
    """
    from otolith.experiments.shipped import find_shipped

    typer.echo(find_shipped(name).read_text(encoding="utf-8"), nl=False)


@recipes.command()
@command
def copy(
    name: RecipeArgument,
    to: Annotated[Path, typer.Argument(metavar="TO", help="The new file, or a folder for it.")] = Path(),
) -> None:
    """Copy a recipe that ships, to change it; what it extends is found by name from any folder.

    [bold]Example:[/] otolith recipes copy primus/utd-mhad mine.toml
    """
    from otolith.experiments.shipped import copy_shipped

    out.print(f"{copy_shipped(name, to)}", highlight=False, markup=False)


@recipes.command()
@command
def schema() -> None:
    """Write the JSON schema of recipes, with which editors complete and check them.

    [bold]Example:[/] otolith recipes schema > recipe.schema.json
    """
    from otolith.experiments.schema import recipe_schema

    put_json(recipe_schema())
