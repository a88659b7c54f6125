"""Load a corpus by its name; prepare it first if necessary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from otolith import plugins
from otolith.data.store import MANIFEST, Store, open_store
from otolith.datasets import DATASETS, find_dataset
from otolith.datasets.download import fetch
from otolith.datasets.prepare import prepare_dataset
from otolith.storage.remote import exists


def load_dataset(
    name: str | Path,
    data: str | Path = "data",
    source: str | Path | None = None,
    *,
    download: bool = False,
    accept_licence: bool = False,
    **settings: Any,
) -> Store:
    """Return a prepared corpus; prepare it from its official files if it is not prepared yet.

    Args:
        name: a corpus of `DATASETS` or of another package (see `plugins`), a corpus in `data`, or the folder of a prepared
            store.
        data: the folder of the prepared corpora.
        source: the folder (or zip) with the official files of a corpus that is not prepared; `spar` and `synthetic` need
            none.
        download: download the official files to `source`, or else to `data/.downloads/name`.
        accept_licence: accept the corpus's licence for the download.
        settings: `rate_hz`, `placement`, `subset`, `channels` and `jobs` of `prepare_dataset`.

    Raises:
        FileNotFoundError: there is no corpus of this name, or its official files are missing.
        ValueError: the store is damaged, or it was prepared with other settings than those given here.
    """
    for folder in (Path(data) / name, Path(name)):
        if exists(folder / MANIFEST):
            return _as_prepared(open_store(folder), settings)
    names = plugins.names(DATASETS, "dataset")
    known = ", ".join(names)
    if str(name) not in names:
        raise FileNotFoundError(
            f"no prepared corpus at '{Path(data) / name}' or '{name}', and no corpus has this name; known: {known}"
        )
    files = None if source is None else Path(source)
    if download:
        files = files or Path(data) / ".downloads" / name
        for _ in fetch(find_dataset(str(name)), files, accept=accept_licence):
            pass
    for _ in prepare_dataset(str(name), files, Path(data), **settings):
        pass
    return open_store(Path(data) / name, verify=False)


def _as_prepared(store: Store, settings: dict[str, Any]) -> Store:
    """Return the store; raise ValueError if it was prepared with other settings."""
    found = {
        "rate_hz": store.rate_hz,
        "channels": list(store.channels),
        "placement": store.entries[0].placement if store.entries else None,
        "subset": store.about.get("subset"),
    }
    for key, value in settings.items():
        wanted = list(value) if key == "channels" and value is not None else value
        if key in found and value is not None and wanted != found[key]:
            raise ValueError(
                f"'{store.folder}' was prepared with {key} {found[key]}, not {wanted}; leave {key} out, or name another "
                "folder (data=)"
            )
    return store
