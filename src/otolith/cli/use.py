"""Commands for own recordings: label, adapt, zeroshot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from otolith.cli.command import command
from otolith.cli.console import escape, notes, put_json, results, warn
from otolith.cli.options import (
    FilesArgument,
    JobsOption,
    JsonOption,
    RecordingOptions,
    ResultsOption,
    jobs_of,
)
from otolith.cli.progress import progress

if TYPE_CHECKING:
    from otolith.apps.adapt.estimate import Choice
    from otolith.apps.adapt.spans import Material
    from otolith.apps.label import Labelled
    from otolith.classifiers.baselines import ForestClassifier
    from otolith.classifiers.transfer import TransferClassifier


@command
def label(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A classifier: model.safetensors of `otolith transfer` or `otolith adapt`."
        ),
    ],
    files: FilesArgument,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
    *,
    recording: RecordingOptions,
) -> None:
    """Label recordings: per recording a timeline (start, end, label, probability), a summary by label and a plot.

    Recordings are tables of any layout (.csv, .txt, .gz, .zip, .xlsx, .parquet), folders or zip files of phone apps, GoPro
    clips or device files. What was decided about columns, units, clock and rate is shown; options override it.

    [bold]Example:[/] otolith label model.safetensors monday.csv --acc-unit g
    """
    from otolith.classifiers.baselines import load_classifier

    show_recordings(load_classifier(model), files, folder, recording, as_json=as_json)


@command
def adapt(
    encoder: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="An encoder, from `otolith pretrain`.")],
    recordings: Annotated[Path, typer.Option("--recordings", metavar="DIR", help="Folder of the recordings.")],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE", help="CSV with columns recording,start,end,label\\[,person].")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for model, estimate and picture.")] = Path(
        "runs/adapted"
    ),
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe whose \\[transfer] says how the encoder is adapted.")
    ] = None,
    forest: Annotated[
        bool,
        typer.Option(
            "--forest/--no-forest", help="Whether the random forest may become the model, where it is better."
        ),
    ] = True,
    keep_people: Annotated[
        bool,
        typer.Option("--keep-people", help="Keep the people's names in the model; otherwise it has their numbers."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of folds, weights and trees.")] = 0,
    jobs: JobsOption = 0,
    as_json: JsonOption = False,
    *,
    recording: RecordingOptions,
) -> None:
    """Adapt an encoder to your own labels; estimate how well it does on new people, compared with a random forest.

    The better of the two becomes the model; with --no-forest, the encoder. The labels file is a table with one line for
    each labelled time span:

    \b
    recording,start,end,label,person
    anna-monday.csv,0,60,walking,anna
    anna-monday.csv,75,130,climbing stairs,anna
    ben.csv,2024-03-01 08:00:05,2024-03-01 08:01:00,walking,ben

    Start and end are seconds from the recording's first row or, if it has dates, date-times. Ten windows per class
    (ten to twenty seconds) of three people or more are a good beginning. The estimate leaves people out: it says how
    the model does on people that it has not seen. Without the column person, each recording counts as one person.

    [bold]Example:[/] otolith adapt encoder.safetensors --recordings recordings --labels labels.csv
    """
    adapt_and_show(
        encoder,
        recordings,
        labels,
        folder,
        recipe=recipe,
        forest=forest,
        keep_people=keep_people,
        seed=seed,
        jobs=jobs,
        recording=recording,
        as_json=as_json,
    )


@command
def zeroshot(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="An encoder pretrained with text, from `otolith pretrain` or `otolith import-primus`.",
        ),
    ],
    files: FilesArgument,
    labels: Annotated[
        str, typer.Option("--labels", metavar="TEXT,TEXT...", help='The possible labels, such as "walking,running".')
    ],
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help='TOML file of sentences by label: walking = ["a person walks", ...].'),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="NAME", help="Text encoder, a name or folder.", show_default="the model's"),
    ] = None,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
    *,
    recording: RecordingOptions,
) -> None:
    """Label recordings zero-shot, with labels in words and no training: a timeline, a summary by label and a plot.

    Each window gets the label whose text embedding is nearest. Unlike `otolith label` it gives no calibrated
    probability: check a time span that you know first.

    [bold]Example:[/] otolith zeroshot primus.safetensors monday.csv --labels "walking,climbing stairs"
    """
    from otolith.classifiers.transfer import TransferClassifier
    from otolith.experiments.shipped import locate

    names = [name.strip() for name in labels.split(",") if name.strip()]
    sentences = None if prompts is None else locate(prompts)
    classifier = TransferClassifier.from_words(model, names, prompts=sentences, text=text)
    show_recordings(classifier, files, folder, recording, as_json=as_json)


def adapt_and_show(
    encoder: Path,
    recordings: Path,
    labels: Path,
    folder: Path,
    *,
    recipe: str | None = None,
    forest: bool = True,
    keep_people: bool = False,
    seed: int = 0,
    jobs: int = 0,
    recording: RecordingOptions | None = None,
    as_json: bool = False,
) -> Path:
    """Adapt an encoder as `otolith adapt` does, with a progress bar; show the estimate and return the model's path."""
    from otolith.apps.adapt import adapt as adapting
    from otolith.experiments.shipped import find_shipped

    material, fits = adapting.adapt_recordings(
        encoder,
        recordings,
        labels,
        folder,
        options=(recording or RecordingOptions()).read_options(),
        recipe=None if recipe is None else find_shipped(recipe),
        forest=forest,
        keep_people=keep_people,
        seed=seed,
        jobs=jobs_of(jobs),
    )
    for note in material.notes:
        notes.print(note, highlight=False, markup=False, soft_wrap=True)
    for warning in material.warnings:
        warn(warning)
    choice = None
    with progress("fitting") as bar:
        for fit in fits:
            choice = fit.choice
            bar.update(fit.what, fit.done, fit.of)
    assert choice is not None
    model = folder / "model.safetensors"
    files = [model, *(folder / name for name in adapting.FILES)] if choice.estimates else [model]
    if as_json:
        put_json(_adapted_document(material, choice, files))
    _show_adapted(material, choice, files, as_json=as_json)
    return model


def show_recordings(
    model: TransferClassifier | ForestClassifier,
    files: list[Path],
    folder: Path | None,
    recording: RecordingOptions,
    *,
    as_json: bool = False,
) -> None:
    """Label recordings, and show what was read of each, its summary by label and its files; with `as_json` also as JSON."""
    from otolith.apps.label import label_recordings, survey_for

    found = survey_for(model, files, recording.read_options())
    for skipped in found.skipped:
        notes.print(f"not a recording: {skipped.path}: {skipped.reason}", highlight=False, markup=False)
    shown: set[str] = set()
    documents = []
    for labelled in label_recordings(model, files, folder, found=found):
        _show_facts(labelled, shown, alone=len(found.sources) == 1)
        show_labelled(labelled, as_json=as_json)
        documents.append(_labelled_document(labelled))
    if as_json:
        put_json({"recordings": documents, "skipped": [{"file": s.path, "reason": s.reason} for s in found.skipped]})


def _show_facts(labelled: Labelled, shown: set[str], *, alone: bool) -> None:
    """Show the facts of a recording that were not shown for another; numbers aside, many are alike."""
    for fact in labelled.session.facts:
        pattern = re.sub(r"\d[\d.,]*", "#", fact.text)
        if pattern not in shown:
            shown.add(pattern)
            text = str(fact) if alone else f"{labelled.session.name}: {fact}"
            notes.print(text, highlight=False, markup=False, soft_wrap=True)


def _labelled_document(labelled: Labelled) -> dict[str, Any]:
    dates = [name for name in ("start", "end") if name in labelled.timeline]
    timeline = labelled.timeline.assign(**{name: labelled.timeline[name].astype(str) for name in dates})
    session = labelled.session
    return {
        "recording": session.source.path,
        "session": session.name,
        "subject": session.subject,
        "rate_hz": session.rate_hz,
        "seconds": session.seconds,
        "facts": [fact._asdict() for fact in session.facts],
        "timeline": timeline.to_dict(orient="records"),
        "summary": labelled.summary.to_dict(orient="records"),
        "files": labelled.files,
    }


def show_labelled(labelled: Labelled, *, as_json: bool = False) -> None:
    """Show a recording's summary by label and its files."""
    screen = results(as_json)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "time", "share", "bouts", "mean probability"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for line in labelled.summary.itertuples():
        if line.seconds > 0:
            known = line.label != ""
            table.add_row(
                escape(line.label or "(not labelled)"),
                f"{line.seconds:,.1f} s",
                f"{100 * line.share:.0f} %" if known else "",
                str(int(line.bouts)),
                f"{line.probability:.2f}" if known else "",
            )
    screen.print(table)
    screen.print("\n".join(map(str, labelled.files.values())), highlight=False, markup=False)


def _show_adapted(material: Material, choice: Choice, files: list[Path], *, as_json: bool) -> None:
    from otolith.apps.adapt.estimate import CANDIDATES

    screen = results(as_json)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("label")
    for name in ("windows", "people", *(f"F1 {CANDIDATES[name]}" for name in choice.estimates)):
        table.add_column(name, justify="right")
    for number, line in enumerate(material.counts.itertuples()):
        scores = (f"{found.f1[number]:.2f}" for found in choice.estimates.values())
        table.add_row(escape(line.label), str(line.windows), str(line.people), *scores)
    if choice.estimates:
        table.add_row("macro F1", "", "", *(escape(str(found)) for found in choice.estimates.values()), style="bold")
    screen.print(table)
    for sentence in choice.why:
        screen.print(sentence, highlight=False, markup=False)
    screen.print("\n".join(map(str, files)), highlight=False, markup=False)
    screen.print(f"try: otolith label {files[0]} YOUR.csv", highlight=False, markup=False)


def _adapted_document(material: Material, choice: Choice, files: list[Path]) -> dict[str, Any]:
    labels = [str(name) for name in material.counts["label"]]
    return {
        "model": files[0],
        "chosen": choice.chosen,
        "why": choice.why,
        "labels": material.counts.to_dict(orient="records"),
        "estimates": {
            name: {
                "macro_f1": found.macro_f1,
                "low": found.low,
                "high": found.high,
                "f1": dict(zip(labels, found.f1, strict=True)),
            }
            for name, found in choice.estimates.items()
        },
        "notes": material.notes,
        "warnings": material.warnings,
        "files": files,
    }
