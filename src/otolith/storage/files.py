"""Whole or not at all: atomic writes, hashes, and archives that are checked before anything is read from them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cached_property, partial
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
    recover(folder)
    with _temporary(folder) as part:
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


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yields a new folder beside `folder`, removed when the block ends; clears those that dead processes left there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in _parts(folder):
        if not _alive(stale):
            shutil.rmtree(stale, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{os.getpid()}-", suffix=".part", dir=folder.parent))
    part.chmod(0o777 & ~_umask())
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Inside, `folder` (made if need be) is this process's. The system frees it however the process ends.

    Windows, and file systems without locks, keep nobody out.

    Raises:
        ValueError: another process has claimed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"'{folder}' is in use by another process; wait until it has ended") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


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


def sha256(path: Path, start: int = 0, count: int | None = None) -> str:
    """SHA-256 (hexadecimal) of a file, or of `count` bytes of it from byte `start` on; read in blocks."""
    digest = hashlib.sha256()
    left = sys.maxsize if count is None else count
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(min(_BLOCK, left)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def listing(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of a file, or of all files below a folder but hidden ones, sorted.

    Where two listings are equal, nobody has exchanged a file; nothing is read to know that.
    """
    rows = []
    for file in [path] if path.is_file() else path.rglob("*"):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            stat = file.stat()
            rows.append((name.as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(rows)


@contextlib.contextmanager
def unnested(path: Path | None, beside: Path, max_bytes: int = 8 << 30) -> Iterator[Path | None]:
    """Yields a folder with the zip files that lie inside a zip file, as in many downloads; or `path`, where none do.

    Only members at the top level or one folder deep are taken out, into one folder that is removed when the block ends;
    archives that lie deeper belong to a corpus's own layout, and its reader knows them. What else lies in the outer zip
    file is left there.

    Args:
        path: a zip file, a folder with one zip file in it, or anything else, which is yielded as it is.
        beside: the temporary folder is made beside this path, as `replacing_folder` makes its own.
        max_bytes: inner zip files that together declare more are refused before anything is written.

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
        with _temporary(beside) as folder:
            for name in inner:
                with (folder / re.sub(r"[/\\]", "-", name)).open("wb") as file:
                    file.writelines(archive.blocks(name))
            yield folder


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

    @cached_property
    def names(self) -> list[str]:
        """All members, sorted."""
        if self._zip is None:
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def size(self, name: str) -> int:
        """Bytes of one member, as the archive declares them."""
        return (self.path / name).stat().st_size if self._zip is None else self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """The bytes of one member, its checksum verified where the archive has one."""
        return b"".join(self.blocks(name, max(1, self.size(name))))

    def blocks(self, name: str, size: int = _BLOCK) -> Iterator[bytes]:
        """The bytes of one member, up to `size` at a time; its checksum, if any, is verified with the last of them."""
        if self._zip is None:
            with (self.path / name).open("rb") as file:
                yield from iter(partial(file.read, size), b"")
            return
        if (declared := self.size(name)) > self.max_member_bytes:
            raise ValueError(
                f"member '{name}' of '{self.path}' declares {declared:,} bytes, more than {self.max_member_bytes:,}"
            )
        try:
            with self._zip.open(name) as member:
                yield from iter(partial(member.read, size), b"")
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
