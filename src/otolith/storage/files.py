"""Write files atomically, hash them, and read archives that were checked first."""

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
    """Yield a temporary path in the folder of `path`; the file takes its final name when the block ends without an error.

    A process that is killed at any moment leaves the old file or the new one, never a part of either.
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
    """Yield a temporary folder that replaces `folder` when the block ends without an error.

    A folder cannot replace another one in a single step, so the older one is renamed first; `recover` restores it if the
    process was killed between the two steps.
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
    """Yield a new folder next to `folder`, which is removed at the end; remove those that dead processes left there."""
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
    """Lock `folder`, which is created if necessary, for this process; the system unlocks it however the process ends.

    On Windows, and on file systems without locks, nothing is locked.

    Raises:
        ValueError: another process has locked it.
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
    """Restore a folder that was renamed for a new one that was never written."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).replace(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _parts(folder: Path) -> list[Path]:
    """Return the temporary folders of all processes that prepare `folder`."""
    pattern = re.compile(re.escape(f".{folder.name}.") + r"\d+-[^.]*\.part")
    return [path for path in folder.parent.iterdir() if pattern.fullmatch(path.name)]


def _alive(part: Path) -> bool:
    """Return whether the process that created a temporary folder still runs."""
    if os.name == "nt":  # os.kill would end the process
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
        with _temporary(near) as folder:
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
        """Return the names of all members, sorted."""
        if self._zip is None:
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

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
        try:
            with self._zip.open(name) as member:
                yield from iter(partial(member.read, size), b"")
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, _zlib_error()) as error:
            raise ValueError(f"member '{name}' of '{self.path}' is damaged: {error}; download it again") from error

    def close(self) -> None:
        """Close the zip file, if there is one."""
        if self._zip is not None:
            self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _zlib_error() -> type[Exception]:
    import zlib

    return zlib.error
