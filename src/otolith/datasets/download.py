"""Download official files: resume broken downloads, check them, and name a file finally only when it is complete.

<folder>/<name>                  a checked file
<folder>/<name>.partial          the bytes so far; .partial.json: the version of the file that they belong to
<folder>/SHA256SUMS              hashes, from the first download, of files whose card has none; for `sha256sum -c`
<folder>/LICENCE-ACCEPTED.json   the terms that were accepted, and when
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from otolith.datasets.card import Dataset, Remote
from otolith.storage.files import Archive, sha256, write_text

_BLOCK = 1 << 16  # bytes between two progress records; a killed process loses at most this many
_TIMEOUT_S = 30.0  # of silence
_WAITS_S = (1.0, 2.0, 4.0, 8.0)  # before each retry; start again from the first when a try has received more bytes
_TRY_AGAIN = {408, 425, 429}  # retried, as is every status from 500


class DownloadProgress(NamedTuple):
    """Progress of the download of one file.

    Attributes:
        name: name of the file.
        done: bytes received.
        total: size of the file in bytes, if known.
        note: message for the user, or empty.
    """

    name: str
    done: int
    total: int | None
    note: str = ""


def accepted(dataset: Dataset, folder: Path) -> bool:
    """Return whether the current licence of the card was accepted for `folder`."""
    try:
        found = json.loads((folder / "LICENCE-ACCEPTED.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.items() >= _agreement(dataset).items()


def terms(dataset: Dataset) -> str:
    """Return a sentence that names the licence of a corpus and where to read it."""
    return f"{dataset.title} may be used under this licence: {dataset.licence}; read {_place(dataset)}"


def fetch(dataset: Dataset, folder: Path, *, accept: bool = False) -> Iterator[DownloadProgress]:
    """Download the files that are not yet in `folder`, one by one, and yield the progress.

    An interrupted file is resumed, also by a later call, if it has not changed on the server. A file without a known hash
    is trusted on the first download; later it must have the same hash.

    Args:
        dataset: the corpus whose `remotes` are downloaded.
        folder: target folder; most readers accept it as `source`.
        accept: whether the licence is accepted; recorded in `folder`.

    Raises:
        ValueError: the corpus cannot be downloaded, its licence is not accepted, or a file is not the official one.
        ConnectionError: the server refuses, or all retries failed; the bytes received are kept.
    """
    if not dataset.remotes:
        raise ValueError(
            f"{dataset.title} has no automatic download: get it from {_place(dataset)}; expected {dataset.expects}; "
            "then prepare it without --download (--source DIR names its folder)"
        )
    if not accepted(dataset, folder):
        if not accept:
            raise ValueError(f"{terms(dataset)}; run again with --accept-licence")
        agreement = {**_agreement(dataset), "date": datetime.date.today().isoformat()}
        write_text(folder / "LICENCE-ACCEPTED.json", json.dumps(agreement, indent=2) + "\n")
    for remote in dataset.remotes:
        path, sums = folder / remote.name, _sums(folder)
        known = remote.sha256 or sums.get(remote.name)
        if not path.exists():
            yield from _download(remote, path, known, _place(dataset))
        else:
            try:
                _check(path, remote, known)
            except ValueError as error:
                raise ValueError(f"{error}; move it away and run again") from error
        note = ""
        if known is None:
            sums[remote.name] = sha256(path)
            write_text(folder / "SHA256SUMS", "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
            note = f"{remote.name}: no hash is published; SHA-256 {sums[remote.name]} is recorded in SHA256SUMS"
        _forget(_partial(path))
        size = path.stat().st_size
        yield DownloadProgress(remote.name, size, size, note)


def _agreement(dataset: Dataset) -> dict[str, str]:
    return {"dataset": dataset.name, "licence": dataset.licence, "terms": dataset.terms}


def _place(dataset: Dataset) -> str:
    return f"{dataset.origin} ({dataset.terms})" if dataset.terms else dataset.origin


def _sums(folder: Path) -> dict[str, str]:
    """Return the recorded SHA-256 by name."""
    path = folder / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    matches = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines]
    if None in matches:
        raise ValueError(
            f"line {matches.index(None) + 1} of '{path}' is not a SHA-256 and a name; correct or remove it"
        )
    return {match[2]: match[1] for match in matches if match}


def _download(remote: Remote, path: Path, known: str | None, place: str) -> Iterator[DownloadProgress]:
    """Download one file; pooch compares its hash and gives it its final name."""
    import pooch

    partial = _partial(path)
    yield from _persist(remote, partial, known)

    def hand_over(_url: str, target: str, _pooch: object) -> None:
        """Hard-link the file; the first name remains if the process stops while pooch compares."""
        Path(target).unlink()
        try:
            os.link(partial, target)
        except OSError:  # a file system without hard links
            partial.replace(target)

    pooch.get_logger().setLevel("WARNING")  # otherwise it prints a line per file
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    try:
        _check(partial, remote, None)
        pooch.retrieve(remote.url, known and f"sha256:{known}", fname=path.name, path=path.parent, downloader=hand_over)
    except ValueError as error:
        _forget(partial)
        raise ValueError(
            f"the download of {remote.url} as '{remote.name}' is not the expected file and was removed: {error}; run again, "
            f"or download it manually from {place}"
        ) from error


def _check(path: Path, remote: Remote, known: str | None) -> None:
    """Raise ValueError if a file does not have the known hash or, without one, the expected size and members."""
    if known is not None:
        if (found := sha256(path)) != known:
            whose = "of the published file" if remote.sha256 else "of the first download, from SHA256SUMS"
            raise ValueError(f"'{path}' has SHA-256 {found[:16]}..., expected {known[:16]}... ({whose})")
        return
    size = path.stat().st_size
    if remote.bytes not in (None, size):
        raise ValueError(f"'{path}' has {size:,} bytes, expected {remote.bytes:,}")
    if remote.name.lower().endswith(".zip"):
        Archive(path).close()
    if remote.members:
        try:
            with zipfile.ZipFile(path) as archive:
                missing = set(remote.members) - _official(archive, remote.members)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"'{path}' is damaged: {error}") from error
        if missing:
            raise ValueError(f"'{path}' lacks {', '.join(sorted(missing)[:3])}")


def _official(archive: zipfile.ZipFile, members: Mapping[str, str]) -> set[str]:
    """Return those of `members` that are in the archive or in archives inside it; each must have its hash."""
    found: set[str] = set()
    for info in archive.infolist():
        name = next((name for name in members if f"/{info.filename}".endswith(f"/{name}")), None)
        if name is not None:
            digest = hashlib.sha256()
            with archive.open(info) as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            if digest.hexdigest() != members[name]:
                raise ValueError(f"its member '{info.filename}' is not the published file")
            found.add(name)
        elif info.filename.lower().endswith(".zip"):
            with archive.open(info) as file, zipfile.ZipFile(file) as inner:
                found |= _official(inner, members)
    return found


def _persist(remote: Remote, partial: Path, known: str | None) -> Iterator[DownloadProgress]:
    """Fills `partial`, in as many tries as it takes while they get further."""
    import requests

    best, waits = -1, iter(_WAITS_S)
    while True:
        try:
            yield from _try(remote, partial, known)
            return
        except requests.RequestException as error:
            done = _size(partial)
            if done > best:
                best, waits = done, iter(_WAITS_S)
            wait = next(waits, None)
            if wait is None:
                raise ConnectionError(
                    f"'{remote.name}' could not be downloaded from {remote.url}: {error}; {done:,} bytes are kept, and "
                    "the same command continues from there"
                ) from error
            yield DownloadProgress(remote.name, done, remote.bytes, f"{remote.name}: {error}; next try in {wait:g} s")
            time.sleep(wait)


def _try(remote: Remote, partial: Path, known: str | None) -> Iterator[DownloadProgress]:
    """Send one request for the missing bytes.

    Raises:
        requests.RequestException: a temporary error; the request can be repeated.
        ConnectionError, ValueError: a permanent error.
    """
    import requests
    import urllib3

    done, version, total = _kept(remote, partial, known)
    if done and done == total:
        return
    headers = {"Accept-Encoding": "identity"}  # the bytes as stored on the server, which ranges count
    if done:
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": version} if version else {})
    with requests.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as reply:
        status = f"{reply.status_code} {reply.reason}"
        if reply.status_code == 416:
            _forget(partial)
            raise requests.ConnectionError(f"the server has nothing after byte {done:,}; starting again")
        if reply.status_code in _TRY_AGAIN or reply.status_code >= 500:
            raise requests.ConnectionError(f"the server answered {status}")
        if reply.status_code not in (200, 206):
            raise ConnectionError(f"'{remote.name}' could not be downloaded: {remote.url} answered {status}")
        if reply.headers.get("Content-Type", "").startswith("text/html") and not remote.name.endswith(".html"):
            raise ValueError(f"{remote.url} answered with a web page instead of '{remote.name}'; open it in a browser")
        theirs = _version(reply.headers)
        continued = done > 0 and reply.status_code == 206
        if continued:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("Content-Range", ""))
            start, whole = (int(match[1]), int(match[2])) if match else (-1, -1)
            if start != done or total not in (None, whole) or theirs not in ("", version):
                _forget(partial)
                raise requests.ConnectionError("the file has changed on the server; starting again")
            total = whole
        else:  # nothing to resume, or the file has changed, or the server does not support ranges
            length = reply.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else remote.bytes
        if total is not None and remote.bytes not in (None, total):
            raise ValueError(
                f"{remote.url} offers {total:,} bytes as '{remote.name}', expected {remote.bytes:,}: it is not the "
                "published file"
            )
        if not continued:
            done = 0
            _forget(partial)
            note = {"url": remote.url, "version": theirs, "bytes": total}
            write_text(_note(partial), json.dumps(note))  # before the first byte, so that its version is known
        with partial.open("r+b" if continued else "wb") as file:
            file.seek(done)
            try:
                for block in reply.raw.stream(_BLOCK, decode_content=False):
                    file.write(block)
                    done += len(block)
                    yield DownloadProgress(remote.name, done, total)
                    if total is not None and done > total:
                        raise ValueError(f"{remote.url} sends more than the {total:,} bytes of '{remote.name}'")
                broken = total is not None and done < total
            except urllib3.exceptions.HTTPError:
                broken = True
        if broken:
            raise requests.ConnectionError(f"the connection broke after {done:,} bytes")


def _version(headers: Mapping[str, str]) -> str:
    """Return an identifier of the file's version. Weak tags are not used: they do not identify the exact bytes."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _kept(remote: Remote, partial: Path, known: str | None) -> tuple[int, str, int | None]:
    """Return the resumable bytes, the version and the total; without a version, the hash must be known."""
    try:
        note = json.loads(_note(partial).read_text(encoding="utf-8"))
        url, version, total = note["url"], note["version"], note["bytes"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return 0, "", None
    done = _size(partial)
    if url != remote.url or not (version or known) or (total is not None and done > total):
        return 0, "", None
    return done, version, total


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(partial: Path) -> None:
    for path in (partial, _note(partial)):
        path.unlink(missing_ok=True)
