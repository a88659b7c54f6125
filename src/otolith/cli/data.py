"""Commands on corpora: datasets, prepare, pair."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from otolith.cli.command import command
from otolith.cli.console import errors, notes, out, put_json, results
from otolith.cli.options import DataOption, DayGroup, DownloadOptions, EngineOptions, JsonOption, RecordingOptions
from otolith.cli.progress import progress

if TYPE_CHECKING:
    from otolith.datasets import Dataset


@command
def datasets(data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """List the corpora that Otolith reads, and which of them are prepared here.

    [bold]Example:[/] otolith datasets
    """
    from otolith.data.store import MANIFEST
    from otolith.datasets import DATASETS
    from otolith.storage.remote import exists

    prepared = {name: data / name if exists(data / name / MANIFEST) else None for name in DATASETS}
    if as_json:
        put_json([_card(card, prepared[name]) for name, card in DATASETS.items()])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "people", "classes", "Hz", "placement", "licence", "from", "prepared"):
        right = column in ("people", "classes", "Hz")
        table.add_column(column, justify="right" if right else "left", no_wrap=column == "name")
    for name, card in DATASETS.items():
        table.add_row(
            name,
            str(card.subjects),
            str(len(card.classes)),
            f"{card.rate_hz:g}",
            ", ".join(card.placements),
            card.licence,
            card.origin,
            str(prepared[name] or "-"),
        )
    results(as_json).print(table)


def _card(card: Dataset, prepared: Path | None) -> dict[str, Any]:
    names = (
        "name",
        "title",
        "subjects",
        "classes",
        "rate_hz",
        "channels",
        "placements",
        "subsets",
        "licence",
        "origin",
        "cite",
    )
    return {**{name: getattr(card, name) for name in names}, "prepared": prepared}


@command
def prepare(
    name: Annotated[str, typer.Argument(metavar="CORPUS", help="A name that `otolith datasets` lists.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="Folder (or zip) with the official files; spar needs none.")
    ] = None,
    data: DataOption = Path("data"),
    rate: Annotated[
        float | None,
        typer.Option(
            "--store-rate",
            help="Sampling rate of the store in Hz; recordings are resampled to it once.",
            show_default="50, or 200 for muscle signals",
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option("--placement", help="Placement of the sensor.", show_default="the first that `datasets` lists"),
    ] = None,
    subset: Annotated[str | None, typer.Option("--subset", help="A part of the corpus, see docs/datasets.md.")] = None,
    channels: Annotated[
        str | None,
        typer.Option("--channels", metavar="NAME,...", help="Channels, such as acc_x,acc_y,acc_z.", show_default="all"),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labels of own recordings, as `otolith adapt` takes them.")
    ] = None,
    *,
    engine: EngineOptions,
    download: DownloadOptions,
    day: DayGroup,
    recording: RecordingOptions,
) -> None:
    """Turn a corpus's official files into a prepared store: one sampling rate, one unit per channel, memory-mapped.

    [bold]Example:[/] otolith prepare motionsense --source downloads/motionsense
    """
    from otolith.formats.day import BY_LENGTH
    from otolith.formats.options import DEFAULTS

    selection: dict[str, Any] = {
        "placement": placement,
        "subset": subset,
        "channels": channels.split(",") if channels else None,
    }
    options = recording.read_options()
    selection |= {"labels": labels, "options": None if options == DEFAULTS else options}
    selection |= {"day": None if day.options() == BY_LENGTH else day.options()}
    prepare_corpus(name, source, data, engine, download, rate_hz=rate, **selection)


@command
def pair(
    name: Annotated[
        str, typer.Argument(metavar="CORPUS", help="A prepared corpus with paired text, video or other sensors.")
    ],
    source: Annotated[
        Path | None, typer.Option("--source", help="Folder with the official files, as for `otolith prepare`.")
    ] = None,
    data: DataOption = Path("data"),
    text: Annotated[
        str,
        typer.Option(
            "--text", help="Text encoder: minilm; a sentence encoder or CLIP, by folder or hub name; or none."
        ),
    ] = "minilm",
    image: Annotated[
        str,
        typer.Option(
            "--image", help="Image encoder: efficientnet-lite0; a CLIP model, by folder or hub name; or none."
        ),
    ] = "efficientnet-lite0",
    fps: Annotated[float, typer.Option("--fps", help="Video frames per second to embed.")] = 10.0,
    near: Annotated[
        float | None,
        typer.Option(
            "--near", metavar="SECONDS", help="Embed only frames this close to a narration.", show_default="all frames"
        ),
    ] = None,
    placement: Annotated[str | None, typer.Option("--placement", help="As the corpus was prepared.")] = None,
    subset: Annotated[str | None, typer.Option("--subset", help="As the corpus was prepared.")] = None,
) -> None:
    """Precompute text, image and sensor embeddings that are aligned to a corpus's recordings.

    What is finished is not computed again, neither after an interruption nor for another preparation of the corpus.

    [bold]Example:[/] otolith pair utd-mhad --source downloads/utd-mhad
    """
    from otolith.datasets import find_dataset

    dataset = find_dataset(name)
    import torch

    from otolith import paired
    from otolith.data.store import open_store

    store = open_store(data / name, verify=False)  # before models are loaded
    device = "cuda" if torch.cuda.is_available() else "cpu"
    words = None if text == "none" else paired.text_encoder(text, device=device)
    pictures = None if image == "none" else paired.image_encoder(image, device=device)
    selection: dict[str, Any] = {"fps": fps, "near_s": near, "placement": placement, "subset": subset}
    with progress(f"embedding {name}") as bar:
        for at in paired.precompute(dataset, source, data, text=words, image=pictures, **selection):
            bar.update(f"embedding {name}: {at.recording}, {at.made:,} computed, {at.kept:,} kept", at.done, at.of)
    folder = paired.folder_of(data, name)
    for modality in paired.modalities(folder):
        made = paired.load(folder, modality, store)
        by = f" by {made.about['encoder']}" if "encoder" in made.about else ""
        out.print(
            f"{folder / modality}.safetensors: {len(made):,} embeddings of {made.dim} dimensions{by} for "
            f"{len(set(made.recording.tolist()))} of {len(store.entries)} recordings",
            highlight=False,
        )


def prepare_corpus(
    name: str, source: Path | None, data: Path, engine: EngineOptions, download: DownloadOptions, **selection: Any
) -> None:
    """Prepare a corpus, with a progress bar, and say what the store holds."""
    from otolith.datasets import find_dataset

    dataset = find_dataset(name)
    if download.download:
        source = source or data / ".downloads" / name
        _download(dataset, source, download.accept_licence)
    from otolith.data.store import open_store
    from otolith.datasets.prepare import prepare_dataset

    facts: dict[str, int] = {}
    with engine.workers() as workers, progress(f"preparing {name}") as bar:
        for part in prepare_dataset(name, source, data, jobs=workers, **selection):
            bar.update(f"preparing {name}: {part.name}", part.done, part.of)
            for fact in part.facts:
                facts[fact] = facts.get(fact, 0) + 1
    for fact, count in facts.items():
        notes.print(f"{fact} [{count} of {part.of}]", highlight=False, markup=False, soft_wrap=True)
    store = open_store(data / name, verify=False)
    hours = sum(entry.steps for entry in store.entries) / store.rate_hz / 3600
    out.print(
        f"{data / name}: {len(store.entries)} recordings of {len(store.subjects)} people, {hours:.1f} h at "
        f"{store.rate_hz:g} Hz, {store.values.nbytes / 1e6:.0f} MB; licence {store.about['licence']}; cite "
        f"{store.about['cite']}",
        highlight=False,
        markup=False,
    )
    if name == "own":
        counts = Counter(store.labels[number] for entry in store.entries for _, _, number in entry.spans)
        said = ", ".join(f"{label} {count}" for label, count in counts.items())
        text = (
            f"labels: {counts.total()} spans of {len(counts)} classes: {said}"
            if counts
            else "labels: none; see --labels"
        )
        out.print(text, highlight=False, markup=False, soft_wrap=True)


def _download(dataset: Dataset, folder: Path, accept: bool) -> None:
    from otolith.datasets.download import accepted, fetch, terms

    if dataset.remotes and not (accept or accepted(dataset, folder)) and sys.stdin.isatty():
        errors.print(terms(dataset), markup=False, highlight=False)
        accept = typer.confirm("Do you accept it?", err=True)
    with progress(f"downloading {dataset.name}", of_bytes=True) as bar:
        for name, done, total, note in fetch(dataset, folder, accept=accept):
            bar.update(f"downloading {name}", done, total, task=name)
            if note:
                bar.note(note)
