"""Commands on corpora: datasets, prepare, pair."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import DownloadColumn, TaskID, TransferSpeedColumn
from rich.table import Table

from otolith.cli.console import _plain, _progress, app, console, out
from otolith.cli.options import DataOption, JobsOption

if TYPE_CHECKING:
    from otolith.datasets import Dataset


@app.command()
def datasets(data: DataOption = Path("data")) -> None:
    """List the corpora Otolith can read, and which are prepared here."""
    from otolith.data.store import MANIFEST
    from otolith.datasets import DATASETS

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
    from otolith.data.store import open_store
    from otolith.datasets.prepare import prepare_dataset

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
    from otolith.data.store import open_store

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
    from otolith.datasets.download import accepted, fetch, terms

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
