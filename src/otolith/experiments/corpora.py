"""Open the prepared corpora that a recipe names: any store in the data folder, also one that another program wrote."""

from __future__ import annotations

import difflib
from pathlib import Path

from otolith import paired, plugins
from otolith.data.store import MANIFEST, Store, open_store
from otolith.datasets import DATASETS, Dataset, find_dataset


def open_corpus(data: Path, name: str) -> Store:
    """Open a prepared corpus by its name.

    Args:
        data: folder of the prepared corpora.
        name: of the corpus's folder in it. It need not be one of `DATASETS`.

    Raises:
        FileNotFoundError: there is no such corpus; the error says how to prepare it, or names the nearest one.
        ValueError: see `open_store`.
    """
    try:
        return open_store(data / name)
    except FileNotFoundError as error:
        known = plugins.names(DATASETS, "dataset")
        if name in known:
            raise
        there = sorted(path.parent.name for path in data.glob(f"*/{MANIFEST}"))
        near = difflib.get_close_matches(name, [*there, *known], n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"prepared are: {', '.join(there) or 'none'}"
        raise FileNotFoundError(f"no prepared corpus '{name}' in '{data}'; {hint}") from error


def card(name: str, store: Store) -> Dataset:
    """Return the facts of a corpus: its card, or the metadata of a store that has no card.

    Args:
        name: of the corpus's folder.
        store: the prepared corpus.
    """
    if name in plugins.names(DATASETS, "dataset"):
        return find_dataset(name)
    about = {key: str(store.about.get(key, "")) for key in ("title", "licence", "origin", "cite")}
    return Dataset(
        name=name,
        title=about["title"] or name,
        subjects=len(store.subjects),
        classes=store.labels,
        rate_hz=store.rate_hz,
        channels=store.channels,
        placements=tuple(dict.fromkeys(entry.placement for entry in store.entries)),
        licence=about["licence"] or "not stated",
        origin=about["origin"] or "not stated",
        cite=about["cite"] or "not stated",
        expects="a prepared store",
        parts=_no_parts,
    )


def _no_parts(*_: object) -> list:
    raise ValueError("this corpus was prepared elsewhere; its original files are unknown")


def pairs_of(data: Path, corpus: str, names: tuple[str, ...], store: Store) -> dict[str, paired.PairedEmbeddings]:
    """Return a corpus's paired embeddings by modality, of those that were computed, in the order of `names`."""
    folder = paired.folder_of(data, corpus)
    return {name: paired.load(folder, name, store) for name in names if has_pairs(data, corpus, name)}


def has_pairs(data: Path, corpus: str, modality: str) -> bool:
    """Return whether the paired embeddings of a modality were computed for a corpus."""
    return (paired.folder_of(data, corpus) / f"{modality}.safetensors").is_file()
