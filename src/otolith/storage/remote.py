"""Files at addresses that fsspec knows (`s3://`, `gs://`, `https://`, `file://`), kept in a cache on this machine.

Paths that are addresses go wherever a path goes: `pathlib` makes `s3:/bucket` of `s3://bucket`, which is understood.
A file that changed is fetched again. Extra `remote`; each kind of address may need a further package, such as s3fs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from otolith.storage.files import fingerprint, replacing_folder

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)")  # two letters or more: `C:/` is a drive
_STATES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created", "size")
_origins = dict[Path, str]()


def address_of(path: str | Path) -> str | None:
    """Return the address that a path is; None for a path of this machine."""
    found = _ADDRESS.fullmatch(Path(path).as_posix())
    if found is None:
        return None
    slashes = ":///" if found[1] in ("file", "local") else "://"
    return f"{found[1]}{slashes}{found[2]}"


def fetched(path: str | Path, names: Sequence[str] = ()) -> Path:
    """Return the path of a file, or of a folder with these files, on this machine; fetch what is at an address.

    Args:
        path: of this machine, which is returned as it is, or an address.
        names: of the files in the folder, of which the first changes whenever another does; empty: the path is a file.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: fsspec, or what it needs for this kind of address, is missing.
        OSError: the address cannot be read.
    """
    address = address_of(path)
    if address is None:
        return Path(path)
    name = address.rstrip("/").rpartition("/")[2]
    files, opened = _opened(address)
    places = {each: f"{opened.rstrip('/')}/{each}" for each in names} or {name: opened}
    about = files.info(next(iter(places.values())))
    key = fingerprint([address, {state: str(about[state]) for state in _STATES if state in about}])[:24]
    target = cache() / key / name
    with FileLock(_made(target.parent.parent) / f"{key}.lock"):  # one process of a node fetches, the others wait
        if not target.parent.exists():
            with replacing_folder(target.parent) as part:
                inside = part / name if names else part
                inside.mkdir(exist_ok=True)
                for each, place in places.items():
                    files.get_file(place, str(inside / each))
    if names:
        _origins[target] = address
    return target


def exists(path: Path) -> bool:
    """Return whether there is a file at a path or address."""
    address = address_of(path)
    if address is None:
        return path.exists()
    files, opened = _opened(address)
    return bool(files.exists(opened))


def origin_of(file: str | Path) -> str:
    """Return the address of a file in a folder that was fetched, or the path itself: what another node can read."""
    origin = _origins.get(Path(file).parent)
    return str(file) if origin is None else f"{origin}/{Path(file).name}"


def cache() -> Path:
    """Return the folder of what was fetched: `OTOLITH_CACHE`, or the user's cache."""
    import pooch

    return Path(os.environ.get("OTOLITH_CACHE") or pooch.os_cache("otolith"))


def _opened(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the address as it takes it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError(f"'{address}' needs fsspec: pip install 'otolith[remote]'") from error
    try:
        files, opened = url_to_fs(address)
    except ValueError as error:
        raise ValueError(f"'{address}' cannot be read: {error}") from error
    return files, str(opened)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
