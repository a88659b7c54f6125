"""Commands for own recordings: label, adapt, zeroshot."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from otolith.cli.command import command
from otolith.cli.console import escape, notes, put_json, results, warn
from otolith.cli.labelled import show_recordings
from otolith.cli.options import (
    DayGroup,
    EngineOptions,
    FilesArgument,
    JsonOption,
    ModelOptions,
    ParquetOption,
    RecordingOptions,
    ResultsOption,
)
from otolith.cli.progress import progress

if TYPE_CHECKING:
    from otolith.apps.adapt.estimate import Choice
    from otolith.apps.adapt.spans import Material


@command
def label(
    words: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] FILE...",
            help="A classifier, *.safetensors of `otolith transfer` or `otolith adapt`; hub:USER/NAME, a model on the hub; "
            "or activity, the model that ships (the default). Then recordings, or folders of them: tables of any layout, "
            "exports of apps, device files.",
        ),
    ],
    folder: ResultsOption = None,
    placement: Annotated[
        str | None,
        typer.Option("--placement", metavar="NAME", help="Where the sensor was worn; for the activity model."),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-low-accuracy", help="Use the activity model also where it is below 0.6 macro F1 on new corpora."
        ),
    ] = False,
    smooth: Annotated[
        bool, typer.Option("--smooth/--no-smooth", help="Smooth by how long activities last and what follows them.")
    ] = True,
    parquet: ParquetOption = False,
    as_json: JsonOption = False,
    *,
    engine: EngineOptions,
    day: DayGroup,
    recording: RecordingOptions,
) -> None:
    """Label recordings: per recording a timeline (start, end, label, probability), minutes per day and hour, and a page.

    What is unlike the movements that the model knows is labelled "unknown" (models of `otolith adapt`). The page shows
    the days as ribbons, with the signal; it needs no network. A recording that was labelled before, with the same model
    and options, is not labelled again. Recordings of a day (24 h) or more are calibrated by gravity, and time in which the
    device was not worn is left out.

    Recordings are tables of any layout (.csv, .txt, .gz, .zip, .xlsx, .parquet), folders or zip files of phone apps, GoPro
    clips or device files. What was decided about columns, units, clock and rate is shown; options override it.

    Without MODEL, the activity model labels walking, stairs, running, sitting or standing, lying and other.

    [bold]Example:[/] otolith label model.safetensors monday.csv --acc-unit g
    """
    from otolith.apps.label import LabelOptions
    from otolith.apps.label.activity import check_placement
    from otolith.checkpoints import shipped
    from otolith.classifiers.baselines import load_classifier
    from otolith.storage.files import sha256
    from otolith.storage.hub import is_hub_name

    first = words[0]
    given = first.suffix == ".safetensors" or first.as_posix() == shipped.ACTIVITY or is_hub_name(first)
    if not given:
        _no_model(words)
    model, files = (shipped.locate(words[0]), words[1:]) if given else (shipped.locate(shipped.ACTIVITY), words)
    if not files:
        raise ValueError(f"'{words[0]}' is the model; name the recordings after it: otolith label {words[0]} FILE...")
    classifier = load_classifier(model)
    if "judged" in classifier.about_:
        for note in check_placement(classifier.about_, placement, accept=accept):
            notes.print(note, highlight=False, markup=False, soft_wrap=True)
    elif placement is not None or accept:
        raise ValueError(f"'{model}' is no activity model: leave out --placement and --accept-low-accuracy")
    show_recordings(
        classifier,
        sha256(model),
        files,
        folder,
        recording.read_options(),
        how=LabelOptions(smooth=smooth, day=day.options(), parquet=parquet),
        engine=engine,
        as_json=as_json,
    )


_OTHERS = (
    ".pt", ".pth", ".ckpt", ".onnx", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".tflite",
    ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".toml", ".py", ".ipynb", ".md",
)  # fmt: skip
"""Endings of files that are neither a model of Otolith nor a recording."""


def _no_model(words: Sequence[Path]) -> None:
    """Refuse a first argument that is no recording and was meant as a model, and a model that does not come first."""
    from otolith.checkpoints import shipped

    first, model = words[0], next((word for word in words[1:] if word.suffix == ".safetensors"), None)
    if model is not None:
        others = " ".join(str(word) for word in words if word is not model)
        raise ValueError(f"the model comes first: otolith label {model} {others}")
    expected = (
        "expected a classifier (*.safetensors of `otolith adapt` or `otolith transfer`), 'activity', or a recording"
    )
    if first.is_file() and first.suffix.lower() in _OTHERS:
        raise ValueError(f"'{first}' is neither a model of Otolith nor a recording: {expected}")
    if first.exists() or first.suffix.lower() not in (*_OTHERS, ".bin", ""):
        return  # a recording, whether or not it exists
    near = difflib.get_close_matches(first.as_posix().lower(), [shipped.ACTIVITY, shipped.ENCODER], 1)
    hint = ""
    if near:
        hint = f"; did you mean '{shipped.ACTIVITY}'?"
        if near[0] == shipped.ENCODER:
            hint += f" '{shipped.ENCODER}' is an encoder, which `otolith adapt {shipped.ENCODER}` makes a model of"
    raise ValueError(f"'{first}' is neither a model nor a recording that exists: {expected}{hint}")


@command
def adapt(
    recordings: Annotated[Path, typer.Option("--recordings", metavar="DIR", help="Folder of the recordings.")],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE", help="CSV with columns recording,start,end,label\\[,person].")
    ],
    encoder: Annotated[
        str,
        typer.Argument(
            metavar="[ENCODER]",
            help="own: one that is pretrained on the recordings first; shipped: the one in the package, which takes seconds "
            "and is slightly worse; a checkpoint of `otolith pretrain`; or hub:USER/NAME, an encoder on the hub.",
        ),
    ] = "own",
    folder: Annotated[Path, typer.Option("--out", help="Folder for model, estimate and picture.")] = Path(
        "runs/adapted"
    ),
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe whose \\[transfer] says how the encoder is adapted.")
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            "--pretrain-steps",
            min=1,
            help="Steps of pretraining, about, of the encoder own; per group of people left out.",
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of folds, weights and trees.")] = 0,
    as_json: JsonOption = False,
    *,
    engine: EngineOptions,
    model: ModelOptions,
    day: DayGroup,
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

    [bold]Example:[/] otolith adapt --recordings recordings --labels labels.csv
    """
    if not labels.is_file():  # before slow imports
        raise FileNotFoundError(f"no labels file at '{labels}'")
    if not recordings.is_dir():
        raise FileNotFoundError(f"no folder of recordings at '{recordings}'")
    options: dict[str, Any] = {"recipe": recipe, "steps": steps, "seed": seed, "day": day, "model": model}
    options["engine"] = engine
    adapt_and_show(encoder, recordings, labels, folder, recording=recording, as_json=as_json, **options)


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
    parquet: ParquetOption = False,
    as_json: JsonOption = False,
    *,
    engine: EngineOptions,
    day: DayGroup,
    recording: RecordingOptions,
) -> None:
    """Label recordings zero-shot, with labels in words and no training: a timeline, minutes per day and hour, and a page.

    Each window gets the label whose text embedding is nearest. Unlike `otolith label` it gives no calibrated
    probability: check a time span that you know first.

    [bold]Example:[/] otolith zeroshot primus.safetensors monday.csv --labels "walking,climbing stairs"
    """
    from otolith.apps.label import LabelOptions
    from otolith.checkpoints import shipped
    from otolith.classifiers.transfer import TransferClassifier
    from otolith.experiments.shipped import locate
    from otolith.storage.files import fingerprint, sha256

    model = shipped.locate(model)
    names = [name.strip() for name in labels.split(",") if name.strip()]
    sentences = None if prompts is None else locate(prompts)
    classifier = TransferClassifier.from_words(model, names, prompts=sentences, text=text)
    known = fingerprint([sha256(model), names, None if sentences is None else sentences.read_text("utf-8"), text])
    show_recordings(
        classifier,
        known,
        files,
        folder,
        recording.read_options(),
        how=LabelOptions(smooth=False, day=day.options(), parquet=parquet),
        engine=engine,
        as_json=as_json,
    )


def adapt_and_show(
    encoder: str | Path,
    recordings: Path,
    labels: Path,
    folder: Path,
    *,
    recipe: str | None = None,
    steps: int = 1000,
    model: ModelOptions | None = None,
    seed: int = 0,
    engine: EngineOptions | None = None,
    day: DayGroup | None = None,
    recording: RecordingOptions | None = None,
    as_json: bool = False,
) -> Path:
    """Adapt an encoder as `otolith adapt` does, with a progress bar; show the estimate and return the model's path."""
    from otolith.apps.adapt import adapt as adapting
    from otolith.experiments.shipped import find_shipped

    choice = None
    with (engine or EngineOptions()).workers() as workers:
        material, fits = adapting.adapt_recordings(
            encoder,
            recordings,
            labels,
            folder,
            options=(recording or RecordingOptions()).read_options(),
            day=(day or DayGroup()).options(),
            recipe=None if recipe is None else find_shipped(recipe),
            steps=steps,
            forest=(model or ModelOptions()).forest,
            keep_people=(model or ModelOptions()).keep_people,
            seed=seed,
            jobs=workers,
        )
        for note in material.notes:
            notes.print(note, highlight=False, markup=False, soft_wrap=True)
        for warning in material.warnings:
            warn(warning)
        with progress("fitting") as bar:
            for fit in fits:
                choice = fit.choice
                bar.update(fit.what, fit.done, fit.of)
    assert choice is not None
    path = folder / "model.safetensors"
    files = [path, *(folder / name for name in adapting.FILES)] if choice.estimates else [path]
    if as_json:
        put_json(_adapted_document(material, choice, files))
    _show_adapted(material, choice, files, as_json=as_json)
    return path


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
