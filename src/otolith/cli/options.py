"""Command-line options, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from otolith.experiments.run import Run
    from otolith.formats.table import Columns


DataOption = Annotated[
    Path, typer.Option("--data", envvar="OTOLITH_DATA", help="Folder of the prepared corpora.", show_default=True)
]
RecipeArgument = Annotated[Path, typer.Argument(help="A recipe: a TOML file such as recipes/motionsense-simclr.toml.")]
ChangeOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe; may be given many times."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything; wins over the recipe's.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the run. Default: runs/ and the recipe's name."),
]
VariantOption = Annotated[str | None, typer.Option("--variant", help="One of the recipe's variants.")]
SharedOption = Annotated[
    Path | None,
    typer.Option(help="Folder where several runs keep encoders and rows together, so that none is made twice."),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Processes; 0: one for each core, at most 8.")]
FileArgument = Annotated[
    Path, typer.Argument(help="A recording: a table with a header, a row a time step (.csv, .csv.gz).")
]
ResultsOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the results. Default: beside the recording.")
]
TimeOption = Annotated[str | None, typer.Option(help="Column of time stamps; guessed if not given.")]
AccOption = Annotated[str | None, typer.Option(metavar="X,Y,Z", help="The accelerometer's columns.")]
GyroOption = Annotated[str | None, typer.Option(metavar="X,Y,Z", help="The gyroscope's columns.")]
AccUnitOption = Annotated[str | None, typer.Option(help="g, m/s2 or mg.")]
GyroUnitOption = Annotated[str | None, typer.Option(help="rad/s or deg/s.")]
TimeUnitOption = Annotated[str | None, typer.Option(help="s, ms, us or ns.")]
RateOption = Annotated[float | None, typer.Option(help="Rate in Hz, for files without a clock.")]


def _columns(
    time: str | None,
    acc: str | None,
    gyro: str | None,
    acc_unit: str | None,
    gyro_unit: str | None,
    time_unit: str | None,
    rate: float | None,
) -> Columns:
    """What a command line says of a recording."""
    from pydantic import TypeAdapter, ValidationError

    from otolith.formats import table

    given = {
        "time": time,
        "acc": tuple(acc.split(",")) if acc else None,
        "gyro": tuple(gyro.split(",")) if gyro else None,
        "acc_unit": acc_unit,
        "gyro_unit": gyro_unit,
        "time_unit": time_unit,
        "rate_hz": rate,
    }
    try:
        return TypeAdapter(table.Columns).validate_python(given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}") from None


def _run(
    path: Path,
    change: list[str] | None,
    seed: int | None,
    folder: Path | None,
    data: Path,
    shared: Path | None,
    variant: str | None,
) -> Run:
    from otolith.experiments import recipe
    from otolith.experiments.run import Run

    loaded = recipe.load(path, change or (), seed, variant)
    return Run(loaded, folder or Path("runs") / loaded.name, data, shared)
