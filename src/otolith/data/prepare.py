"""Write a prepared store: read a corpus part by part, resample it once, resume after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from otolith.data.recording import UNITS, Part, Recording
from otolith.data.resample import resample
from otolith.data.store import BLOCK_S, FORMAT, MANIFEST, MOMENTS, SIGNAL, Store, open_store
from otolith.storage.files import claimed, fingerprint, replacing_folder, sha256, write_text


class PrepareProgress(NamedTuple):
    """What `preparing` reports: a part that is done.

    Attributes:
        done: parts that are done so far.
        of: parts in all.
        name: of this one.
        recordings: read from it.
        seconds: that took; 0 for what an interrupted run had left behind.
    """

    done: int
    of: int
    name: str
    recordings: int
    seconds: float


def prepare(
    parts: Sequence[Part] | Iterable[Recording],
    folder: Path,
    *,
    dataset: str,
    labels: Iterable[str] = (),
    rate_hz: float = 50.0,
    about: dict[str, Any] | None = None,
    source_key: str | None = None,
    jobs: int = 1,
) -> Store:
    """Resamples recordings and writes them as a store.

    Every process holds one recording in memory at a time. What comes out does not depend on `jobs`, nor on how often a
    run was killed and started again.

    Args:
        parts: a list of parts; or any number of recordings, which are read here, as one part. All have the same channels.
        folder: the store's folder; written beside it first and renamed into place, so that it is whole or absent. An
            older store there is replaced.
        dataset: the corpus's name.
        labels: label names in the order of their numbers; names met in spans beyond these are appended, in the order of
            the parts.
        rate_hz: the rate of the store.
        about: further facts for the manifest, such as licence and source.
        source_key: tells the official files, and what of them is read, from any other. A run that was interrupted goes
            on where it stopped if this, the names of the parts, the rate and the code that reads are the same. None:
            nothing is taken over from an earlier run, nor left for a later one.
        jobs: processes that read parts; 1: this one.

    Raises:
        ValueError: no recordings, different channels, two recordings of one name, another process that prepares the same
            folder; or a part that cannot be read, which is named, as in an OSError.
    """
    about = about or {}
    for _ in prepare_iter(
        parts,
        folder,
        dataset=dataset,
        labels=labels,
        rate_hz=rate_hz,
        about=about,
        source_key=source_key,
        jobs=jobs,
    ):
        pass
    return open_store(folder, verify=False)


def prepare_iter(
    parts: Sequence[Part] | Iterable[Recording],
    folder: Path,
    *,
    dataset: str,
    labels: Iterable[str],
    rate_hz: float,
    about: dict[str, Any],
    source_key: str | None,
    jobs: int,
) -> Iterator[PrepareProgress]:
    """As `prepare`, but says after every part how far it is; when the generator is exhausted, the store can be opened."""
    if isinstance(parts, Sequence) and parts and isinstance(parts[0], Part):
        listed = list(cast(Sequence[Part], parts))
    else:
        listed = [Part("recordings", lambda: iter(cast(Iterable[Recording], parts)))]
    key = fingerprint([dataset, rate_hz, [part.name for part in listed], source_key, _reading_code()])
    work = folder.with_name(f".{folder.name}.work")
    kept = source_key is not None
    with claimed(work):
        if not kept or not (work / "key").exists() or (work / "key").read_text(encoding="utf-8") != key:
            for path in work.iterdir():
                path.unlink()
            write_text(work / "key", key)
        try:
            found = _taken_over(work, len(listed))
            for done, (number, recordings) in enumerate(found.items(), start=1):
                yield PrepareProgress(done, len(listed), listed[number].name, recordings, 0.0)
            missing = [(part, number) for number, part in enumerate(listed) if number not in found]
            with contextlib.closing(_read_parts(missing, work, rate_hz, jobs)) as read:
                for done, (number, recordings, seconds) in enumerate(read, start=1 + len(found)):
                    yield PrepareProgress(done, len(listed), listed[number].name, recordings, seconds)
            manifest = _joined(work, len(listed), dataset, labels, rate_hz) | {"about": about}
            manifest["hash"] = fingerprint(manifest)
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            with replacing_folder(folder) as part:
                for name in (SIGNAL, MOMENTS, MANIFEST):
                    (work / name).replace(part / name)
            kept = False
        finally:
            if not kept:
                shutil.rmtree(work, ignore_errors=True)


def _reading_code() -> dict[str, str]:
    """Hashes of the sources on which a part's values depend."""
    root = Path(__file__).parents[1]
    own = (
        root / "storage" / "files.py",
        *(
            root / "data" / f"{name}.py"
            for name in ("units", "conversion", "recording", "resample", "prepare", "store")
        ),
    )
    readers = (path for package in ("formats", "datasets") for path in sorted((root / package).glob("*.py")))
    return {path.relative_to(root).as_posix(): sha256(path) for path in (*own, *readers)}


def _paths(work: Path, number: int) -> tuple[Path, Path]:
    """A part's values, and what is known of them: the mark of their being whole."""
    return work / f"{number:06d}.f32", work / f"{number:06d}.json"


def _taken_over(work: Path, of: int) -> dict[int, int]:
    """Number -> recordings of the parts that an earlier run has left as they should be, in their own file or joined."""
    found, start = {}, 0
    for number in range(of):
        values, mark = _paths(work, number)
        try:
            known = json.loads(mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # never written, or cut off
            continue
        path, first = (values, 0) if values.exists() else (work / SIGNAL, start)
        if path.exists() and sha256(path, first, known["bytes"]) == known["sha256"]:
            found[number] = len(known["recordings"])
        start += known["bytes"]
    return found


def _read_parts(
    parts: Sequence[tuple[Part, int]], work: Path, rate_hz: float, jobs: int
) -> Generator[tuple[int, int, float], None, None]:
    """Number, recordings and seconds of each part, as they are read, in any order."""
    if min(jobs, len(parts)) < 2:
        yield from (_read_part(part, number, work, rate_hz) for part, number in parts)
        return
    from joblib import Parallel, delayed

    read = Parallel(n_jobs=min(jobs, len(parts)), return_as="generator_unordered")(
        delayed(_read_part)(part, number, work, rate_hz, os.getpid()) for part, number in parts
    )
    try:
        for result in read:  # noqa: UP028 - `yield from` would close it, too, but outside the filter
            yield result
    finally:
        with warnings.catch_warnings():  # of results for which the caller does not wait; their parts are kept
            warnings.simplefilter("ignore", UserWarning)
            read.close()


def _read_part(
    part: Part, number: int, work: Path, rate_hz: float, parent: int | None = None
) -> tuple[int, int, float]:
    """Writes a part's values and their mark; with `parent`, in a process of its own, until that process is gone."""

    def still_wanted() -> None:
        if parent is not None and os.getppid() != parent:  # killed, and its successor may be writing the same files
            raise InterruptedError(f"process {parent}, which asked for it, has ended")

    started = time.perf_counter()
    recordings, digest, count = [], hashlib.sha256(), 0
    path, mark = _paths(work, number)
    try:
        still_wanted()
        with path.open("wb") as file:
            for recording in part.read():
                still_wanted()
                signal = resample(recording.signal, recording.rate_hz, rate_hz)
                values = np.ascontiguousarray(signal.T, dtype="<f4")
                digest.update(values.data)
                count += file.write(values.data)
                spans = [
                    [round(span.start_s * rate_hz), min(round(span.stop_s * rate_hz), len(signal)), span.label]
                    for span in recording.spans
                ]
                recordings.append(
                    {
                        "name": recording.name,
                        "subject": recording.subject,
                        "placement": recording.placement,
                        "channels": recording.channels,
                        "steps": len(signal),
                        "native_rate_hz": recording.rate_hz,
                        "spans": spans,
                    }
                )
    except (ValueError, OSError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"part '{part.name}' cannot be prepared: {error}") from error
    # Nothing is forced to the disk, which would take longer than reading a small part: half a mark is no JSON, and a
    # whole one tells by its hash whether the values are whole.
    known = {"bytes": count, "sha256": digest.hexdigest(), "recordings": recordings}
    mark.write_text(json.dumps(known), encoding="utf-8")
    return number, len(recordings), time.perf_counter() - started


def _joined(work: Path, of: int, dataset: str, labels: Iterable[str], rate_hz: float) -> dict[str, Any]:
    """Joins the parts' values into the signal, takes its moments, and returns the manifest without its hash.

    A part's file is removed as soon as it is copied, so that the disk never holds a corpus twice. Where that was
    interrupted, the parts that have no file any more stand in the signal already.
    """
    names, entries, seen = list(labels), list[dict[str, Any]](), set[str]()
    channels: list[str] = []
    block_steps = max(1, round(BLOCK_S * rate_hz))
    start = block = 0
    of_signal, of_moments = hashlib.sha256(), hashlib.sha256()
    joined = work / SIGNAL
    joined.touch()
    with joined.open("rb+") as signal, (work / MOMENTS).open("wb") as moments:
        for number in range(of):
            path, mark = _paths(work, number)
            source, first = (path, start) if path.exists() else (joined, 0)
            for entry in json.loads(mark.read_text(encoding="utf-8"))["recordings"]:
                name, found = entry["name"], entry.pop("channels")
                channels = channels or found
                if found != channels:
                    raise ValueError(
                        f"recording '{name}' has channels {', '.join(found)}; the store so far "
                        f"has {', '.join(channels)}; a store holds one set of channels"
                    )
                if name in seen:
                    raise ValueError(f"two recordings are named '{name}'; names are unique in a corpus")
                seen.add(name)
                names += dict.fromkeys(label for *_, label in entry["spans"] if label not in names)
                entry["spans"] = [[begin, end, names.index(label)] for begin, end, label in entry["spans"]]
                entries.append(entry | {"start": start, "block": block})
                count = len(channels) * entry["steps"]
                values = np.fromfile(source, "<f4", count, offset=4 * (start - first))
                if source is path:
                    signal.seek(4 * start)
                    signal.write(values.data)
                of_signal.update(values.data)
                summary = _moments(values.reshape(len(channels), -1), block_steps)
                moments.write(summary.data)
                of_moments.update(summary.data)
                start, block = start + count, block + summary.size // 2
            signal.flush()
            path.unlink(missing_ok=True)
        os.fsync(signal.fileno())  # here, where an interrupted run finds it, and not only on the way to the final name
    if not entries:
        raise ValueError(f"no recordings to prepare for '{dataset}'")
    return {
        "format": FORMAT,
        "dataset": dataset,
        "rate_hz": rate_hz,
        "channels": channels,
        "units": {channel: UNITS[channel.split("_")[0]] for channel in channels},
        "labels": names,
        "values": start,
        "signal_sha256": of_signal.hexdigest(),
        "block_steps": block_steps,
        "blocks": block,
        "moments_sha256": of_moments.hexdigest(),
        "recordings": entries,
    }


def _moments(values: np.ndarray, steps: int) -> np.ndarray:
    """(channels, time) -> (2, channels, blocks): mean and sum of squared deviations of each whole block of `steps`."""
    blocks = values.shape[1] // steps
    summary = np.empty((2, len(values), blocks), dtype="<f4")
    for channel, own in enumerate(values):  # one at a time: in float64 they take twice the memory
        wide = own[: blocks * steps].reshape(blocks, steps).astype(np.float64)
        mean = wide.mean(axis=1)
        wide -= mean[:, None]
        summary[:, channel] = mean, np.einsum("bs,bs->b", wide, wide)
    return summary
