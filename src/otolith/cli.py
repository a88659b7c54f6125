"""The command line: one command a stage. Nothing heavy is imported until a command runs, so that help is instant."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from otolith.datasets import Dataset
    from otolith.predict import Columns, Labelled
    from otolith.stages import Run

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


@app.command()
def datasets(data: DataOption = Path("data")) -> None:
    """List the corpora Otolith can read, and which are prepared here."""
    from otolith.datasets import DATASETS
    from otolith.store import MANIFEST

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "people", "classes", "Hz", "placement", "licence", "from", "prepared"):
        table.add_column(
            column, justify="right" if column in ("people", "classes", "Hz") else "left", no_wrap=column == "name"
        )
    for name, card in DATASETS.items():
        here = data / name / MANIFEST
        table.add_row(
            name,
            str(card.subjects),
            str(len(card.classes)),
            f"{card.rate_hz:g}",
            ", ".join(card.placements),
            card.licence,
            card.origin,
            str(here.parent) if here.exists() else "-",
        )
    out.print(table)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="A name that `otolith datasets` lists.")],
    source: Annotated[
        Path | None,
        typer.Option("--source", help="Folder (or zip) with the official files; spar finds its own."),
    ] = None,
    data: DataOption = Path("data"),
    rate: Annotated[
        float, typer.Option("--rate", help="Rate of the store in Hz; recordings are resampled once, here.")
    ] = 50.0,
    placement: Annotated[
        str | None, typer.Option("--placement", help="Where the sensor sat. Default: the first `datasets` lists.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", help="Part of the corpus, as docs/datasets.md names them.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option("--channels", metavar="NAME,...", help="Which, such as acc_x,acc_y,acc_z. Default: all."),
    ] = None,
    jobs: JobsOption = 0,
    download: Annotated[
        bool, typer.Option("--download", help="First bring the official files, to DIR or DATA/.downloads/NAME.")
    ] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="The corpus's licence is accepted; otherwise a terminal asks.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; preparing draws nothing.")] = 0,
) -> None:
    """Turn a corpus's official files into a prepared store: one rate, one unit a channel, memory-mapped."""
    del seed
    what = {"placement": placement, "subset": subset, "channels": channels.split(",") if channels else None}
    _prepare(name, source, data, jobs, download=download, accept_licence=accept_licence, rate_hz=rate, **what)


@app.command()
def pair(
    name: Annotated[str, typer.Argument(help="A prepared corpus that has words, pictures or other sensors beside it.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="Folder with the official files, as for `otolith prepare`.")
    ] = None,
    data: DataOption = Path("data"),
    text: Annotated[
        str, typer.Option("--text", help="minilm; a sentence encoder or CLIP, by folder or hub name; or none.")
    ] = "minilm",
    image: Annotated[
        str, typer.Option("--image", help="efficientnet-lite0; a CLIP model, by folder or hub name; or none.")
    ] = "efficientnet-lite0",
    fps: Annotated[float, typer.Option("--fps", help="Pictures that are looked at in a second.")] = 10.0,
    near: Annotated[
        float | None,
        typer.Option("--near", metavar="SECONDS", help="Only pictures this near to a narration. Default: all."),
    ] = None,
    placement: Annotated[str | None, typer.Option("--placement", help="As the corpus was prepared.")] = None,
    subset: Annotated[str | None, typer.Option("--subset", help="As the corpus was prepared.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; pairing draws nothing.")] = 0,
) -> None:
    """Turn what lies beside a corpus's recordings into vectors, once: words, pictures, other sensors.

    Nothing that is finished is made twice, neither after an interruption nor for another preparation of the corpus.
    """
    del seed
    _pair(name, source, data, text, image, fps=fps, near_s=near, placement=placement, subset=subset)


@app.command()
def pretrain(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    everyone: Annotated[
        bool, typer.Option("--everyone", help="One encoder on all people, for use; not for scores on this corpus.")
    ] = False,
) -> None:
    """Pretrain the recipe's encoder without labels: once for each group of training people.

    The people of a fold's test are never seen by its encoder. Several devices: torchrun --nproc-per-node N -m otolith
    pretrain RECIPE.
    """
    _pretrain(_run(recipe, change, seed, run, data, shared, variant), everyone=everyone)


@app.command()
def search(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials to finish, of all processes together.")] = 20,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="An Optuna storage for many machines. Default: search.db in the run's folder."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="loss: the pretext's, on validation people; transfer: macro F1 on --on.")
    ] = "loss",
    on: Annotated[
        str | None, typer.Option("--on", metavar="CORPUS", help="A further prepared corpus with labels, to judge on.")
    ] = None,
) -> None:
    """Search the settings of pretraining: trials drawn by Optuna; writes recipe-best.toml, search.csv, search.png.

    Searches what the recipe's section \\[search] names, else the paper's ranges. The first fold's test people have no say.
    """
    _search(_run(recipe, change, seed, run, data, shared, variant), trials=trials, storage=storage, by=by, on=on)


@app.command()
def evaluate(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    jobs: JobsOption = 0,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also judge encoders that saw test people; their rows say so.")
    ] = False,
) -> None:
    """Run the protocol: folds by person x windows per class x seeds x modes, one row each."""
    _evaluate(_run(recipe, change, seed, run, data, shared, variant), jobs, allow_seen)


@app.command()
def study(
    recipe: Annotated[
        list[Path] | None, typer.Argument(help="Recipes with variants, such as recipes/dont-freeze/pamap2.toml.")
    ] = None,
    change: ChangeOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Official files of a corpus that is not prepared yet."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Bring the official files of corpora that are not prepared yet.")
    ] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="The corpora's licences are accepted; otherwise a terminal asks.")
    ] = False,
    run: Annotated[Path, typer.Option("--out", help="Folder of the study: encoders, rows, page.")] = Path("runs/study"),
    data: DataOption = Path("data"),
    page: Annotated[
        Path | None, typer.Option("--page", help="The page. Default: study.md in the study's folder.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="All rows as CSV. Default: study.csv in the study's folder.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Results",
    jobs: JobsOption = 0,
    only_page: Annotated[
        bool, typer.Option("--only-page", help="Compute nothing: write the page from the rows that are there.")
    ] = False,
    read: Annotated[
        Path | None,
        typer.Option("--from", help="Compute nothing: write the page from a table that a study has written."),
    ] = None,
) -> None:
    """Run a whole experiment: prepare, pretrain and evaluate every variant of the recipes; a page with figure and answers.

    The questions are those of "Don't freeze", or of PRIMUS where an encoder was pretrained by it.

    One command a target of the paper: otolith study recipes/dont-freeze/pamap2.toml --source pamap2=DIR --source
    capture24=DIR. It takes hours to days on a GPU; interrupted, it goes on where it stopped.
    """
    from otolith import stages
    from otolith.store import MANIFEST
    from otolith.study import read_recalls, read_table, write, write_table

    runs = stages.study(recipe or (), run, data, change or ())
    if not (runs or read):
        raise ValueError("no recipe given; for example: otolith study recipes/dont-freeze/pamap2.toml")
    if not (only_page or read):
        given = dict(_named(text) for text in source or ())
        wanted = dict.fromkeys(name for job in runs for name in (job.recipe.dataset, *job.recipe.pretrain_on))
        for name in wanted:
            if not (data / name / MANIFEST).exists():
                _prepare(name, given.get(name), data, jobs, download=download, accept_licence=accept_licence)
        for number, job in enumerate(runs):
            console.print(f"[bold]{number + 1}/{len(runs)}[/] {job.folder.name}", highlight=False)
            _pretrain(job)
            _evaluate(job, jobs)
            if job.searchable:
                _retrieve(job)
    target = page or run / "study.md"
    rows, planned = read_table(read) if read else stages.study_rows(runs)
    recalls = read_recalls(read) if read else stages.study_recalls(runs)
    write_table(rows, planned, table or run / "study.csv", recalls)
    write(rows, planned, path=target, title=title, recalls=recalls)
    out.print(f"{target}: {len(rows):,} rows, {target.with_suffix('.svg').name}", highlight=False)


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise ValueError(f"cannot read --source {text}; expected NAME=DIR, such as pamap2=downloads/pamap2")
    return name, Path(folder)


@app.command()
def report(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
) -> None:
    """Gather the rows into rows.csv; write report.html and report.md: table, figures, findings in words."""
    job = _run(recipe, change, seed, run, data, shared, variant)
    _report(job)


@app.command()
def transfer(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    mode: Annotated[
        str, typer.Option("--mode", help="finetune, frozen, scratch, random-frozen, or an arm of the recipe.")
    ] = "finetune",
    shots: Annotated[
        int | None,
        typer.Option("--shots", min=1, help="Labelled windows a class; default: all."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", min=0, help="Train on this fold's training people only; default: on everybody."),
    ] = None,
) -> None:
    """Fit a classifier on a pretrained encoder and save it for `otolith label`."""
    path = _run(recipe, change, seed, run, data, shared, variant).transfer(mode=mode, shots=shots, fold=fold)
    out.print(f"{path}\ntry: otolith label {path} YOUR.csv", highlight=False)


@app.command()
def label(
    model: Annotated[
        Path,
        typer.Argument(help="A classifier: model.safetensors, from `otolith transfer`, `otolith adapt` or the demo."),
    ],
    file: FileArgument,
    folder: ResultsOption = None,
    time: TimeOption = None,
    acc: AccOption = None,
    gyro: GyroOption = None,
    acc_unit: AccUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    time_unit: TimeUnitOption = None,
    rate: RateOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; labelling draws nothing.")] = 0,
) -> None:
    """Label a recording: a timeline (start, end, label, probability), a summary by label and a plot.

    Columns, units and rate are guessed where they are not given, and what was guessed is shown.
    """
    del seed
    from otolith.stages import label_file

    columns = _columns(time, acc, gyro, acc_unit, gyro_unit, time_unit, rate)
    target = folder or file.parent
    _show(label_file(model, file, target, columns=columns), file, target)


@app.command()
def adapt(
    encoder: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="An encoder, from `otolith pretrain`.")],
    recordings: Annotated[Path, typer.Option("--recordings", metavar="DIR", help="Folder of your recordings.")],
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="Who did what when: a CSV, see above.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for model, estimate and picture.")] = Path(
        "runs/adapted"
    ),
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="A recipe whose \\[transfer] says how the encoder is adapted.")
    ] = None,
    time: TimeOption = None,
    acc: AccOption = None,
    gyro: GyroOption = None,
    acc_unit: AccUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    time_unit: TimeUnitOption = None,
    rate: RateOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of folds, weights and trees.")] = 0,
    jobs: JobsOption = 0,
) -> None:
    """Teach an encoder your own labels, with an honest estimate beside a random forest; the better one becomes the model.

    The labels file is a table with a line for each stretch you know:

    \b
    recording,start,end,label,person
    anna-monday.csv,0,60,walking,anna
    anna-monday.csv,75,130,climbing stairs,anna
    ben.csv,2024-03-01 08:00:05,2024-03-01 08:01:00,walking,ben

    Start and end are seconds from the recording's first row or, where it has dates, date-times. Ten windows a class, that is
    ten to twenty seconds, of three people or more are a good beginning. The estimate leaves people out: it says how the
    model does on people it has not seen. Without the column person, each recording counts as a person of its own.
    """
    from joblib import cpu_count

    from otolith import stages

    columns = _columns(time, acc, gyro, acc_unit, gyro_unit, time_unit, rate)
    material, fits = stages.adapt_recordings(
        encoder, recordings, labels, folder, columns=columns, recipe=recipe, seed=seed, jobs=jobs or min(8, cpu_count())
    )
    for note in material.notes:
        console.print(_plain(note), highlight=False)
    for warning in material.warnings:
        console.print(f"[bold yellow]warning:[/] {_plain(warning)}", highlight=False)
    choice = None
    with _progress() as bar:
        task = bar.add_task("fitting", total=None)
        for fit in fits:
            choice = fit.choice
            bar.update(task, completed=fit.done, total=fit.of, description=_plain(fit.what))
    assert choice is not None
    from otolith.adapt import CANDIDATES, FILES

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("label")
    for name in ("windows", "people", *(f"F1 {CANDIDATES[name]}" for name in choice.estimates)):
        table.add_column(name, justify="right")
    for number, line in enumerate(material.counts.itertuples()):
        scores = (f"{found.f1[number]:.2f}" for found in choice.estimates.values())
        table.add_row(_plain(line.label), str(line.windows), str(line.people), *scores)
    if choice.estimates:
        table.add_row("macro F1", "", "", *map(_plain, map(str, choice.estimates.values())), style="bold")
    out.print(table)
    for sentence in choice.why:
        out.print(_plain(sentence), highlight=False)
    model = folder / "model.safetensors"
    files = [model, *(folder / name for name in FILES)] if choice.estimates else [model]
    out.print("\n".join(map(str, files)), f"\ntry: otolith label {model} YOUR.csv", highlight=False, sep="")


@app.command()
def zeroshot(
    model: Annotated[
        Path, typer.Argument(help="An encoder pretrained with words: of `otolith pretrain` or `otolith import-primus`.")
    ],
    file: FileArgument,
    labels: Annotated[
        str,
        typer.Option("--labels", metavar="WORDS,WORDS...", help='What may happen in it, such as "walking,running".'),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help='TOML file of sentences by label: walking = ["a person walks", ...].'),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="NAME", help="Text encoder: a name or folder. Default: what the model names."),
    ] = None,
    folder: ResultsOption = None,
    time: TimeOption = None,
    acc: AccOption = None,
    gyro: GyroOption = None,
    acc_unit: AccUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    time_unit: TimeUnitOption = None,
    rate: RateOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; labelling draws nothing.")] = 0,
) -> None:
    """Label a recording in words that nobody trained on: a timeline, a summary by label and a plot.

    Each window goes to the label whose words lie nearest to it. Unlike `otolith label` it cannot say how sure it may be:
    look at a stretch you know first.
    """
    del seed
    from otolith.stages import zeroshot_file

    columns = _columns(time, acc, gyro, acc_unit, gyro_unit, time_unit, rate)
    target = folder or file.parent
    words = [word.strip() for word in labels.split(",") if word.strip()]
    _show(zeroshot_file(model, file, target, words, prompts=prompts, text=text, columns=columns), file, target)


@app.command()
def retrieve(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also judge encoders that saw test people; their recalls say so.")
    ] = False,
) -> None:
    """Search people never seen in words and pictures, and back: recall at 1, 5 and 10 of every fold's encoder.

    Beside each recall stands what drawing by lot would give.
    """
    _retrieve(_run(recipe, change, seed, run, data, shared, variant), allow_seen)


@app.command(name="import-primus")
def import_primus(
    file: Annotated[Path, typer.Argument(help="The authors' best_model.ckpt (zenodo.org/records/15147513, 622 MB).")],
    target: Annotated[Path, typer.Option("--out", help="The checkpoint to write.")] = Path("primus.safetensors"),
    any_hash: Annotated[
        bool, typer.Option("--any-hash", help="Weights of your own in the same layout: do not compare the SHA-256.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; importing draws nothing.")] = 0,
) -> None:
    """Turn the published weights of PRIMUS into an encoder for `otolith zeroshot` and for transfer."""
    del seed
    from otolith import published

    with console.status(f"reading {file}"):
        made = published.import_primus(file, target, sha256=None if any_hash else published.PRIMUS_SHA256)
    out.print(
        f"{target}: encoder primus, heads {', '.join(sorted(made.heads))}, {target.stat().st_size / 1e6:.1f} MB\n"
        f"{made.about['licence']}; please cite: {made.about['cite']}",
        highlight=False,
    )


@app.command()
def demo(
    run: Annotated[Path, typer.Option("--out", help="Folder for everything the demo writes.")] = Path("runs/demo"),
    seed: SeedOption = None,
    jobs: JobsOption = 0,
) -> None:
    """Run the main job on real data: pretrain, compare, report, and label the recording of a person never seen.

    SPAR: 10 people, 7 shoulder exercises, a smartwatch; it ships in the package seglearn. A few minutes on two cores.
    """
    from otolith import predict, stages
    from otolith import recipe as recipes

    data = run / "data"
    console.print("[bold]1/5[/] prepare SPAR: 10 people, 7 shoulder exercises, wrist, 50 Hz", highlight=False)
    for _ in stages.prepare_dataset("spar", None, data):
        pass
    job = stages.Run(recipes.load(Path(__file__).with_name("demo.toml"), seed=seed), run, data)
    console.print("[bold]2/5[/] pretrain without labels, once a fold, never on its test people", highlight=False)
    _pretrain(job)
    console.print(
        "[bold]3/5[/] compare the few-shot head, frozen, fine-tuned, from scratch and a random forest on people never seen",
        highlight=False,
    )
    _evaluate(job, jobs)
    console.print(
        "[bold]4/5[/] fit a classifier with 50 windows a class; label a recording of a person never seen",
        highlight=False,
    )
    model = job.transfer(shots=50, fold=0)
    file, truth = stages.held_out_session(job, fold=0)
    labelled = stages.label_file(model, file, run, columns=predict.Columns(), truth=truth)
    for note in labelled.read.notes:
        console.print(f"    {note}", highlight=False)
    console.print("[bold]5/5[/] report", highlight=False)
    _report(job, picture=predict.picture(labelled, truth=truth))
    out.print(
        f"\n[bold]model[/]   {model}\n[bold]labels[/]  {run / file.stem}.timeline.csv, .png\n\n"
        "[bold]What to try next[/]\n"
        f"  your own recording (a CSV with time, x, y, z):  otolith label {model} YOUR.csv\n"
        "  a larger corpus, MotionSense (24 people):       otolith prepare motionsense --source DIR\n"
        "                                                  otolith pretrain recipes/motionsense-simclr.toml",
        highlight=False,
    )


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

    from otolith import predict

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
        return TypeAdapter(predict.Columns).validate_python(given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}") from None


def _show(labelled: Labelled, file: Path, target: Path) -> None:
    """A labelled recording's notes, summary and files."""
    from otolith import predict

    for note in labelled.read.notes:
        console.print(note, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "time", "share", "bouts", "mean probability"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for line in labelled.summary.itertuples():
        if line.seconds > 0:
            known = line.label != ""
            table.add_row(
                line.label or "(not labelled)",
                f"{line.seconds:,.1f} s",
                f"{100 * line.share:.0f} %" if known else "",
                str(int(line.bouts)),
                f"{line.probability:.2f}" if known else "",
            )
    out.print(table)
    stem = target / predict.stem(file)
    out.print(f"{stem}.timeline.csv\n{stem}.summary.csv\n{stem}.png", highlight=False)


def _run(
    path: Path,
    change: list[str] | None,
    seed: int | None,
    folder: Path | None,
    data: Path,
    shared: Path | None,
    variant: str | None,
) -> Run:
    from otolith import recipe as recipes
    from otolith.stages import Run

    loaded = recipes.load(path, change or (), seed, variant)
    return Run(loaded, folder or Path("runs") / loaded.name, data, shared)


def _prepare(
    name: str,
    source: Path | None,
    data: Path,
    jobs: int,
    *,
    download: bool = False,
    accept_licence: bool = False,
    **what: Any,
) -> None:
    from joblib import cpu_count

    from otolith.datasets import DATASETS

    if name not in DATASETS:
        raise ValueError(f"unknown corpus '{name}'; known: {', '.join(DATASETS)}")
    if download:
        source = source or data / ".downloads" / name
        _download(DATASETS[name], source, accept_licence)
    from otolith.stages import prepare_dataset
    from otolith.store import open_store

    with _progress() as bar:
        task = bar.add_task(f"preparing {name}", total=None)
        for part in prepare_dataset(name, source, data, jobs=jobs or min(8, cpu_count()), **what):
            bar.update(task, completed=part.done, total=part.of, description=f"preparing {name}: {_plain(part.name)}")
    store = open_store(data / name, verify=False)
    hours = sum(entry.steps for entry in store.entries) / store.rate_hz / 3600
    out.print(
        f"{data / name}: {len(store.entries)} recordings of {len(store.subjects)} people, {hours:.1f} h at "
        f"{store.rate_hz:g} Hz, {store.values.nbytes / 1e6:.0f} MB; licence {store.about['licence']}; cite "
        f"{store.about['cite']}",
        highlight=False,
    )


def _pair(name: str, source: Path | None, data: Path, text: str, image: str, **what: Any) -> None:
    from otolith.datasets import DATASETS

    if name not in DATASETS:
        raise ValueError(f"unknown corpus '{name}'; known: {', '.join(DATASETS)}")
    import torch

    from otolith import paired
    from otolith.store import open_store

    store = open_store(data / name, verify=False)  # before models are loaded
    device = "cuda" if torch.cuda.is_available() else "cpu"
    words = None if text == "none" else paired.text_encoder(text, device=device)
    pictures = None if image == "none" else paired.image_encoder(image, device=device)
    with _progress() as bar:
        task = bar.add_task(f"pairing {name}", total=None)
        for at in paired.pair(DATASETS[name], source, data, text=words, image=pictures, **what):
            said = f"pairing {name}: {_plain(at.recording)}, {at.made:,} vectors made, {at.kept:,} kept"
            bar.update(task, completed=at.done, total=at.of, description=said)
    folder = paired.folder_of(data, name)
    for modality in paired.modalities(folder):
        made = paired.load(folder, modality, store)
        by = f" by {made.about['encoder']}" if "encoder" in made.about else ""
        beside = len(set(made.recording.tolist()))
        out.print(
            f"{folder / modality}.safetensors: {len(made):,} vectors of {made.dim} numbers{by}, beside {beside} of "
            f"{len(store.entries)} recordings",
            highlight=False,
        )


def _download(dataset: Dataset, folder: Path, accept: bool) -> None:
    from otolith.download import accepted, fetch, terms

    if dataset.remotes and not (accept or accepted(dataset, folder)) and sys.stdin.isatty():
        console.print(terms(dataset), markup=False, highlight=False)
        accept = typer.confirm("Do you accept it?", err=True)
    with _progress(DownloadColumn(), TransferSpeedColumn()) as bar:
        tasks: dict[str, TaskID] = {}
        for name, done, total, note in fetch(dataset, folder, accept=accept):
            if name not in tasks:
                tasks[name] = bar.add_task(f"downloading {name}")
            bar.update(tasks[name], completed=done, total=total)
            if note:
                bar.console.print(note, markup=False, highlight=False)


def _pretrain(job: Run, *, everyone: bool = False) -> None:
    if int(os.environ.get("RANK", "0")):  # of several processes, the first one speaks
        for _ in job.pretrain(everyone=everyone):
            pass
        return
    with _progress() as bar:
        task, name, said = None, "", ""
        for number, of, current, step in job.pretrain(everyone=everyone):
            if task is None or current != name:
                if task is not None:
                    bar.remove_task(task)
                task, name, said = bar.add_task("", total=step.of), current, ""
            if step.validation is not None:
                said = f", validation {step.validation:.3f}"
            loss = f"loss {sum(step.losses.values()):.3f}" if step.losses else ""
            text = f"{current} ({number}/{of}) epoch {step.epoch} {loss}{said}, {step.windows_per_s:,.0f} windows/s"
            bar.update(task, completed=step.index, total=step.of, description=text)
            if step.done:
                bar.console.print(f"    {text}, {step.seconds:.0f} s", highlight=False)
    folder = job.encoders
    out.print(f"{folder}: {len(list(folder.glob('*.safetensors')))} encoders", highlight=False)


def _search(job: Run, *, trials: int, **how: Any) -> None:
    from otolith import search

    with _progress() as bar:
        task = bar.add_task("searching", total=trials)
        for trial in search.search(job, trials=trials, **how):
            text = f"trial {trial.number} {trial.state}: {search.in_words(trial.settings)}"
            if trial.step is not None:
                held = "" if trial.step.validation is None else f", validation {trial.step.validation:.3f}"
                loss = f", loss {sum(trial.step.losses.values()):.3f}" if trial.step.losses else ""
                text += f"; epoch {trial.step.epoch}{loss}{held}"
            elif not trial.done:
                value = "" if trial.value is None else f", {trial.value:.4f}"
                bar.console.print(f"    {text}{value}", highlight=False, markup=False)
            bar.update(task, completed=trial.finished, description=_plain(text))
    best = job.folder / "recipe-best.toml"
    said = [line.removeprefix("# ") for line in best.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    out.print("\n".join([*said, str(best)]), highlight=False, markup=False)


def _evaluate(job: Run, jobs: int, allow_seen: bool = False) -> None:
    from joblib import cpu_count  # knows the limits of containers

    total, rows = job.evaluate(jobs=jobs or min(8, cpu_count()), allow_seen=allow_seen)
    with _progress() as bar:
        task = bar.add_task("evaluating", total=total)
        for row in rows:
            shots = "all" if row.shots is None else row.shots
            text = f"fold {row.fold} seed {row.seed} {row.mode} {shots}: macro F1 {row.macro_f1:.3f}"
            bar.update(task, advance=1, description=text)
    out.print(f"{job.folder / 'rows'}: {total} rows", highlight=False)


def _retrieve(job: Run, allow_seen: bool = False) -> None:
    table = Table(title="recall on people never seen (by lot)", box=None, pad_edge=False, header_style="bold")
    for name in ("fold", "search", "among", "at 1", "at 5", "at 10"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for found in job.retrieve(allow_seen=allow_seen):
        for way, words, among in (
            ("there", f"motion -> {found.modality}", found.n_keys),
            ("back", f"{found.modality} -> motion", found.n_windows),
        ):
            cells = [f"{getattr(found, f'{way}_{k}'):.3f} ({getattr(found, f'{way}_{k}_lot'):.3f})" for k in (1, 5, 10)]
            table.add_row(str(found.fold), words, f"{among:,}", *cells)
    out.print(table)


def _report(job: Run, picture: bytes | None = None) -> None:
    from otolith import report as reports

    path, rows = job.report(picture=picture)
    text = reports.table(rows)
    table = Table(title="macro F1 on people never seen, by labelled windows a class", box=None, pad_edge=False)
    table.add_column("")
    for column in text.columns:
        table.add_column(str(column), justify="right")
    for name, line in zip(text.index, text.to_numpy(), strict=True):
        table.add_row(str(name), *map(str, line))
    out.print(table)
    for sentence in reports.findings(rows):
        out.print(f"- {sentence}", highlight=False)
    out.print(f"\n[bold]report[/]  {path}", highlight=False)


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
