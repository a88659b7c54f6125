"""Write files atomically, hash them, and read archives that were checked first."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from otolith.storage.locks import temporary_folder

_BLOCK = 1 << 20  # bytes read at a time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path near `path`; the file takes its final name when the block ends without an error.

    A process that is killed at any moment leaves the old file or the new one, never a part of either, and the temporary
    folder, which the next process that writes there removes.

    Raises:
        OSError: the file cannot be written, for example as the disk is full; the message names it.
    """
    try:
        with temporary_folder(path) as folder:
            part = folder / path.name
            part.touch()
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_apart(source: Path, *outs: Path) -> None:
    """Raise ValueError if a file that is to be written is the one that is read."""
    for out in outs:
        if out.resolve() == source.resolve():
            raise ValueError(f"'{out}' is the file that is read, which would be replaced; name another one with --out")


def _unwritable(path: Path, error: OSError) -> OSError:
    """Return an error that names `path` in place of a temporary file; one that names another file stays."""
    named = str(error.filename or "")
    if error.errno is None or (named and f".{path.name}." not in named and Path(named) != path):
        return error
    remedy = "; free some space, or choose another folder" if error.errno in _FULL else ""
    return type(error)(f"'{path}' cannot be written: {error.strerror}{remedy}")


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` when the block ends without an error.

    A folder cannot replace another one in a single step, so the older one is renamed first; `recover` restores it if the
    process was killed between the two steps.

    Raises:
        OSError: a file cannot be written, for example as the disk is full.
    """
    recover(folder)
    with temporary_folder(folder) as holder:
        part = holder / folder.name
        part.mkdir()
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


def recover(folder: Path) -> None:
    """Restore a folder that was renamed for a new one that was never written."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).replace(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """Return the same text for equal values: sorted keys, no spaces, no NaN; `fingerprint` hashes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 (hexadecimal) of a value that JSON can represent."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256(path: Path, start: int = 0, count: int | None = None) -> str:
    """Return the SHA-256 (hexadecimal) of a file, or of `count` bytes from byte `start` on."""
    digest = hashlib.sha256()
    left = sys.maxsize if count is None else count
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(min(_BLOCK, left)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def listing(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and modification time (ns) of a file, or of all files below a folder except hidden ones, sorted.

    Equal listings mean that no file was exchanged; no file is opened to find out.
    """
    rows = []
    for file in [path] if path.is_file() else path.rglob("*"):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            stat = file.stat()
            rows.append((name.as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(rows)


@contextlib.contextmanager
def unnested(path: Path | None, near: Path, max_bytes: int = 8 << 30) -> Iterator[Path | None]:
    """Yield a folder with the zip files that a zip file contains, as in many downloads; or `path` if there are none.

    Only members at the top level or one folder deep are extracted, into one folder that is removed at the end. Archives
    that are nested deeper belong to the layout of a corpus, and its reader opens them. Other members are not extracted.

    Args:
        path: a zip file, or a folder with one zip file; anything else is yielded unchanged.
        near: the temporary folder is created next to this path.
        max_bytes: inner zip files that declare more in total are refused before anything is written.

    Raises:
        ValueError: a zip file is truncated, corrupt or hostile, or too large.
    """
    outer = [] if path is None else sorted(path.glob("*.zip")) if path.is_dir() else [path]
    if len(outer) != 1 or outer[0].suffix.lower() != ".zip" or not outer[0].is_file():
        yield path
        return
    with Archive(outer[0], max_bytes) as archive:
        inner = [
            name for name in archive.names if re.fullmatch(r"(?!__MACOSX/)(?:[^/]+/)?[^/]+\.zip", name, re.IGNORECASE)
        ]
        if not inner:
            yield path
            return
        if (total := sum(map(archive.size, inner))) > max_bytes:
            raise ValueError(f"the zip files in '{outer[0]}' declare {total:,} bytes, more than {max_bytes:,}")
        with temporary_folder(near) as holder:
            folder = holder / near.name
            folder.mkdir()
            for name in inner:
                with (folder / re.sub(r"[/\\]", "-", name)).open("wb") as file:
                    file.writelines(archive.blocks(name))
            yield folder


class Archive:
    """The members of a zip file or of a folder, with one interface for both.

    Members are read into memory and never extracted, so no name in an archive can reach the disk. Names that would leave
    a folder (`../`, `/etc/...`, `C:\\...`) are refused nevertheless, because such an archive is not the official one.

    Args:
        path: a folder or a `.zip` file.
        max_member_bytes: a member that declares more is refused before it is read.

    Raises:
        FileNotFoundError: nothing exists at `path`.
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
        found = path.stat()
        self._zip = _opened(path, found.st_size, found.st_mtime_ns)

    @cached_property
    def names(self) -> list[str]:
        """Return the names of all members, sorted."""
        if self._zip is None:
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        every = (info.filename for info in self._zip.infolist())
        return sorted(name for name in every if name and not name.endswith("/"))

    def size(self, name: str) -> int:
        """Return the size of one member in bytes, as the archive declares it."""
        return (self.path / name).stat().st_size if self._zip is None else self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of one member; its checksum is verified if the archive has one."""
        return b"".join(self.blocks(name, max(1, self.size(name))))

    def blocks(self, name: str, size: int = _BLOCK) -> Iterator[bytes]:
        """Yield the bytes of one member, up to `size` at a time; its checksum, if any, is verified at the end."""
        if self._zip is None:
            with (self.path / name).open("rb") as file:
                yield from iter(partial(file.read, size), b"")
            return
        if (declared := self.size(name)) > self.max_member_bytes:
            raise ValueError(
                f"member '{name}' of '{self.path}' declares {declared:,} bytes, more than {self.max_member_bytes:,}"
            )
        damaged: tuple[type[Exception], ...] = (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            *_packing_errors(),
        )
        try:
            with self._zip.open(name) as member:
                yield from iter(partial(member.read, size), b"")
        except damaged as error:
            raise ValueError(f"member '{name}' of '{self.path}' is damaged: {error}; download it again") from error

    def close(self) -> None:
        """Close the zip file, if there is one. Where open files can be replaced, the last stays open for the next part."""
        if self._zip is not None and os.name == "nt":
            self._zip.close()
            _opened.cache_clear()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=1)
def _opened(path: Path, size: int, mtime_ns: int) -> zipfile.ZipFile:  # noqa: ARG001 - of which the file is known
    """Open a zip file and check the names of its members, once for all parts of a corpus: this takes as long as to read one.

    Raises:
        ValueError: as `Archive`.
    """
    try:
        found = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"'{path}' ({size:,} bytes) is not a complete zip file: {error}; download it again") from error
    for info in found.infolist():
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
            found.close()
            raise ValueError(f"'{path}' has a member named '{name}', which would leave its folder: refused")
    return found


def _packing_errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return zlib.error, lzma.LZMAError
