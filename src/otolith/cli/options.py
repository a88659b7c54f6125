"""Options that several commands take, each declared once; `command` expands the groups.

A further option of a group is one more line in its class.
"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from otolith.experiments.run import Run
    from otolith.formats.table import Columns


def _recipe_names(incomplete: str) -> list[str]:
    """Complete a recipe's name, or a TOML file of this folder, in the shell."""
    from otolith.experiments.shipped import shipped_recipes

    files = [path.as_posix() for path in Path().glob("*.toml")]
    return [name for name in [*files, *shipped_recipes()] if name.startswith(incomplete)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=_recipe_names,
        help="A recipe that `otolith recipes` lists, such as motionsense-simclr, or a TOML file.",
    ),
]
ChangeOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe; may be given many times."),
]
DataOption = Annotated[Path, typer.Option("--data", envvar="OTOLITH_DATA", help="Folder of the prepared corpora.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=0, help="Processes; 0 starts one for each core, at most 8.")
]
FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A recording: a table with one row per time step (.csv, .csv.gz, ...)."),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the results.", show_default="the recording's folder")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the results as one JSON document to standard output.")]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """A recipe, what is changed in it, and the folders of its run."""

    recipe: RecipeArgument
    change: ChangeOption = None
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed; overrides the recipe.")] = None
    variant: Annotated[str | None, typer.Option("--variant", help="One of the recipe's variants.")] = None
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run.", show_default="runs/ and the recipe's name")
    ] = None
    shared: Annotated[
        Path | None,
        typer.Option(
            "--shared", help="Folder in which several runs share encoders and rows, so that each is made once."
        ),
    ] = None
    data: DataOption = Path("data")

    def open(self) -> Run:
        """Return the run of the recipe."""
        from otolith.experiments import recipe
        from otolith.experiments.run import Run

        loaded = recipe.load(self.recipe, self.change or (), self.seed, self.variant)
        return Run(loaded, self.out or Path("runs") / loaded.name, self.data, self.shared)


@dataclasses.dataclass(frozen=True)
class DownloadOptions:
    """Whether official files are downloaded."""

    download: Annotated[
        bool, typer.Option("--download", help="Download the official files of corpora that are not here yet.")
    ] = False
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the corpora's licences; otherwise a terminal asks.")
    ] = False


_PANEL = "How to read the recording (what is not given is guessed, and what was guessed is shown)"


@dataclasses.dataclass(frozen=True)
class RecordingOptions:
    """How to read a recording: one line for each field of `Columns`, under the field's name."""

    time: Annotated[str | None, typer.Option("--time", help="Column of the time stamps.", rich_help_panel=_PANEL)] = (
        None
    )
    acc: Annotated[
        str | None, typer.Option("--acc", metavar="X,Y,Z", help="The accelerometer's columns.", rich_help_panel=_PANEL)
    ] = None
    gyro: Annotated[
        str | None, typer.Option("--gyro", metavar="X,Y,Z", help="The gyroscope's columns.", rich_help_panel=_PANEL)
    ] = None
    acc_unit: Annotated[str | None, typer.Option("--acc-unit", help="g, m/s2 or mg.", rich_help_panel=_PANEL)] = None
    gyro_unit: Annotated[str | None, typer.Option("--gyro-unit", help="rad/s or deg/s.", rich_help_panel=_PANEL)] = None
    time_unit: Annotated[str | None, typer.Option("--time-unit", help="s, ms, us or ns.", rich_help_panel=_PANEL)] = (
        None
    )
    rate_hz: Annotated[
        float | None,
        typer.Option("--rate", help="Sampling rate in Hz, for files without a clock.", rich_help_panel=_PANEL),
    ] = None

    def columns(self) -> Columns:
        """Return the options as the reader takes them; what was not given keeps the reader's default."""
        from pydantic import TypeAdapter, ValidationError

        from otolith.formats.table import Columns

        lists = {name for name, hint in typing.get_type_hints(Columns).items() if "tuple" in str(hint)}
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        given |= {name: tuple(part.strip() for part in given[name].split(",")) for name in lists & given.keys()}
        try:
            return TypeAdapter(Columns).validate_python(given)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ValueError(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}") from None


def jobs_of(jobs: int) -> int:
    """Return the number of processes: `jobs`, or one for each core that this machine or container grants, at most 8."""
    from joblib import cpu_count

    return jobs or min(8, int(cpu_count()))
