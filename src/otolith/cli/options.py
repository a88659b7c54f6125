"""Options that several commands take, each declared once; `command` expands the groups.

A further option of a group is one more line in its class.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from otolith.experiments.run import Run
    from otolith.formats import ReadOptions
    from otolith.formats.day import DayOptions
    from otolith.storage.engines import Workers


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
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        envvar="OTOLITH_ENGINE",
        metavar="NAME",
        help="Where tasks run: processes (of this machine), ray or slurm; see docs/cluster.md.",
    ),
]
EngineSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-set",
        envvar="OTOLITH_ENGINE_SET",
        metavar="NAME=VALUE",
        help="An option of the engine, such as slurm_partition=long; may be given many times.",
    ),
]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="Recordings, or folders of them: tables of any layout, exports of apps, device files."
    ),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the results.", show_default="each recording's folder")
]
ParquetOption = Annotated[bool, typer.Option("--parquet", help="Write each timeline as a Parquet file too.")]
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
class EngineOptions:
    """Where tasks run, and how many at a time."""

    jobs: JobsOption = 0
    engine: EngineOption = "processes"
    engine_set: EngineSetOption = None

    @contextlib.contextmanager
    def workers(self) -> Iterator[Workers]:
        """Yield the workers, as the stages take them."""
        from otolith.storage.engines import open_engine

        given = dict[str, str]()
        for text in self.engine_set or ():
            name, equals, value = text.partition("=")
            if not (name and equals):
                raise ValueError(f"cannot read --engine-set {text}; expected NAME=VALUE, such as slurm_partition=long")
            given[name] = value
        with open_engine(self.engine, jobs_of(self.jobs), given) as workers:
            yield workers


@dataclasses.dataclass(frozen=True)
class DownloadOptions:
    """Whether official files are downloaded."""

    download: Annotated[
        bool, typer.Option("--download", help="Download the official files of corpora that are not here yet.")
    ] = False
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the corpora's licences; otherwise a terminal asks.")
    ] = False


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What the model of `otolith adapt` is and holds."""

    forest: Annotated[
        bool,
        typer.Option(
            "--forest/--no-forest", help="Whether the random forest may become the model, where it is better."
        ),
    ] = True
    keep_people: Annotated[
        bool,
        typer.Option("--keep-people", help="Keep the people's names in the model; otherwise it has their numbers."),
    ] = False


@dataclasses.dataclass(frozen=True)
class DayGroup:
    """What is done to recordings: one line for each field of `DayOptions`."""

    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Correct the acceleration by gravity.",
            show_default="recordings of 24 h or more",
        ),
    ] = None
    nonwear: Annotated[
        bool | None,
        typer.Option(
            "--nonwear/--no-nonwear",
            help="Leave out time in which the device was not worn.",
            show_default="recordings of 24 h or more",
        ),
    ] = None

    def options(self) -> DayOptions:
        """Return the options as the reader takes them."""
        from otolith.formats.day import DayOptions

        return DayOptions(self.calibrate, self.nonwear)


_PANEL = "How to read recordings (what is not given is decided from the files, and shown)"


def _reading(*names: str, help: str, metavar: str | None = None) -> Any:
    """Return an option of how to read recordings."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_PANEL)


@dataclasses.dataclass(frozen=True)
class RecordingOptions:
    """How to read recordings: one line for each field of `ReadOptions`, under the field's name."""

    time: Annotated[str | None, _reading("--time", help="Column of the time stamps; or date and time: DATE,TIME.")] = (
        None
    )
    acc: Annotated[str | None, _reading("--acc", metavar="X,Y,Z", help="The accelerometer's columns.")] = None
    gyro: Annotated[str | None, _reading("--gyro", metavar="X,Y,Z", help="The gyroscope's columns.")] = None
    gravity: Annotated[
        str | None, _reading("--gravity", metavar="X,Y,Z", help="Columns of gravity, added to the acceleration.")
    ] = None
    acc_unit: Annotated[
        str | None, _reading("--acc-unit", metavar="UNIT", help="g, m/s2, mg, or counts per g such as g/64.")
    ] = None
    gyro_unit: Annotated[str | None, _reading("--gyro-unit", metavar="UNIT", help="rad/s, deg/s or mdeg/s.")] = None
    time_unit: Annotated[
        str | None, _reading("--time-unit", metavar="UNIT", help="s, ms, us, ns, 100us, 100ns (ticks), min, h or days.")
    ] = None
    rate_hz: Annotated[float | None, _reading("--rate", help="Sampling rate in Hz, for files without a clock.")] = None
    date_order: Annotated[
        str | None, _reading("--date-order", metavar="ORDER", help="day-first or month-first, for 03/04/2024.")
    ] = None
    has_gravity: Annotated[
        bool | None,
        _reading(
            "--has-gravity/--no-gravity", help="The acceleration contains gravity, or does not; not checked then."
        ),
    ] = None
    skip_rows: Annotated[int | None, _reading("--skip-rows", help="Lines before the header.")] = None
    column_names: Annotated[
        str | None, _reading("--columns", metavar="NAME,...", help="Names of the columns, instead of the header's.")
    ] = None
    header: Annotated[
        bool | None, _reading("--header/--no-header", help="Whether the table's first line names the columns.")
    ] = None
    sensor: Annotated[
        str | None, _reading("--sensor", metavar="WORD", help="Word in the columns' names that selects a sensor.")
    ] = None
    subject_column: Annotated[
        str | None, _reading("--subject-column", metavar="NAME", help="Column that names each row's person.")
    ] = None
    device_column: Annotated[
        str | None, _reading("--device-column", metavar="NAME", help="Column that names each row's device.")
    ] = None
    max_gap_s: Annotated[
        float | None, _reading("--max-gap", metavar="SECONDS", help="Longer gaps split a recording; 0.5 by default.")
    ] = None

    max_bytes: Annotated[
        int | None,
        _reading(
            "--max-bytes",
            metavar="BYTES",
            help="Largest uncompressed size of a table; by default 8 GiB and, of a compressed file, 100 times its size.",
        ),
    ] = None

    def read_options(self) -> ReadOptions:
        """Return the options as the reader takes them; what was not given keeps the reader's default."""
        from pydantic import TypeAdapter, ValidationError

        from otolith.formats import ReadOptions

        lists = {name for name, hint in typing.get_type_hints(ReadOptions).items() if "tuple" in str(hint)}
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        given |= {name: tuple(part.strip() for part in given[name].split(",")) for name in lists & given.keys()}
        try:
            return TypeAdapter(ReadOptions).validate_python(given)
        except ValidationError as error:
            problem = error.errors()[0]
            said = str(problem["msg"]).removeprefix("Value error, ")
            where = f"--{str(problem['loc'][0]).replace('_', '-')}: " if problem["loc"] else ""
            raise ValueError(f"{where}{said}") from None


def jobs_of(jobs: int) -> int:
    """Return the number of processes: `jobs`, or one for each core that this machine or container grants, at most 8."""
    from joblib import cpu_count

    if jobs < 0:
        raise ValueError(f"--jobs is {jobs}; expected a number of processes, or 0 for one per core")
    return jobs or min(8, int(cpu_count()))
