"""Commands for own recordings: label, adapt, zeroshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from otolith.cli.console import _plain, _progress, app, console, out
from otolith.cli.options import (
    AccOption,
    AccUnitOption,
    FileArgument,
    GyroOption,
    GyroUnitOption,
    JobsOption,
    RateOption,
    ResultsOption,
    TimeOption,
    TimeUnitOption,
    _columns,
)

if TYPE_CHECKING:
    from otolith.apps.label import Labelled


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
    from otolith.apps.label import label_file

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

    from otolith.apps.adapt import adapt

    columns = _columns(time, acc, gyro, acc_unit, gyro_unit, time_unit, rate)
    material, fits = adapt.adapt_recordings(
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
    from otolith.apps.adapt.adapt import FILES
    from otolith.apps.adapt.estimate import CANDIDATES

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
    from otolith.apps.label import zeroshot_file

    columns = _columns(time, acc, gyro, acc_unit, gyro_unit, time_unit, rate)
    target = folder or file.parent
    words = [word.strip() for word in labels.split(",") if word.strip()]
    _show(zeroshot_file(model, file, target, words, prompts=prompts, text=text, columns=columns), file, target)


def _show(labelled: Labelled, file: Path, target: Path) -> None:
    """A labelled recording's notes, summary and files."""

    from otolith.formats.table import stem as table_stem

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
    stem = target / table_stem(file)
    out.print(f"{stem}.timeline.csv\n{stem}.summary.csv\n{stem}.png", highlight=False)
