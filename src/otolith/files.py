"""Whole or not at all: atomic writes, hashes, and archives that are checked before anything is read from them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

_BLOCK = 1 << 20  # bytes read at a time


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there takes the final name when the block ends well.

    A process killed at any moment leaves the old file or the new one, never a part of either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `folder`, renamed to it when the block ends well; an older one is replaced.

    A folder cannot take another's place in one step, so the older one steps aside first; `recover` brings it back where
    a process was killed between the two steps.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    for stale in _parts(folder):
        if not _alive(stale):
            shutil.rmtree(stale, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{os.getpid()}-", suffix=".part", dir=folder.parent))
    part.chmod(0o777 & ~_umask())
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
        if folder.exists():
            shutil.rmtree(_aside(folder), ignore_errors=True)
            folder.replace(_aside(folder))
        part.replace(folder)
        shutil.rmtree(_aside(folder), ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def recover(folder: Path) -> None:
    """Brings back a folder that stepped aside for a new one which never came."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).replace(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _parts(folder: Path) -> list[Path]:
    """Temporary folders of this and other processes that prepare `folder`."""
    pattern = re.compile(re.escape(f".{folder.name}.") + r"\d+-[^.]*\.part")
    return [path for path in folder.parent.iterdir() if pattern.fullmatch(path.name)]


def _alive(part: Path) -> bool:
    """Whether the process that made a temporary folder still runs."""
    if os.name == "nt":  # there, os.kill ends the process it asks about
        return True
    pid = int(part.name.rsplit(".", 2)[1].split("-")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, no NaN. What fingerprints are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def fingerprint(value: Any) -> str:
    """SHA-256 (hexadecimal) of a JSON-able value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Archive:
    """The members of a zip file or of a folder, under one interface, so that readers need not care which they get.

    Members are read in memory and never extracted, so no name in an archive can reach the disk; names that
    would leave a folder (`../`, `/etc/...`, `C:\\...`) are refused all the same, because such an archive is not the
    official one.

    Args:
        path: a folder or a `.zip` file.
        max_member_bytes: members that declare more than this are refused before they are read.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: the zip is truncated, corrupt or hostile.
    """

    def __init__(self, path: Path, max_member_bytes: int = 1 << 30) -> None:
        self.path = path
        self.max_member_bytes = max_member_bytes
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        if not path.exists():
            raise FileNotFoundError(f"nothing at '{path}': expected a folder or a .zip file")
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ValueError(
                f"'{path}' ({path.stat().st_size:,} bytes) is not a complete zip file: {error}; download it again"
            ) from error
        for name in self.names:
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
                self._zip.close()
                raise ValueError(f"'{path}' has a member named '{name}', which would leave its folder: refused")

    @functools.cached_property
    def names(self) -> list[str]:
        """All members, sorted."""
        if self._zip is None:
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """The bytes of one member, its checksum verified where the archive has one."""
        if self._zip is None:
            return (self.path / name).read_bytes()
        declared = self._zip.getinfo(name).file_size
        if declared > self.max_member_bytes:
            raise ValueError(
                f"member '{name}' of '{self.path}' declares {declared:,} bytes, more than {self.max_member_bytes:,}"
            )
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, _zlib_error()) as error:
            raise ValueError(f"member '{name}' of '{self.path}' is damaged: {error}; download it again") from error

    def close(self) -> None:
        """Closes the zip file, where there is one."""
        if self._zip is not None:
            self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _zlib_error() -> type[Exception]:
    import zlib

    return zlib.error
