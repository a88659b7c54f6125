"""Write a prepared store: read a corpus part by part, resample it, and resume after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from otolith.data.conversion import check_number
from otolith.data.recording import UNITS, Part, Recording
from otolith.data.resample import resample
from otolith.data.store import BLOCK_S, FORMAT, MANIFEST, MOMENTS, SIGNAL, Store, open_store
from otolith.storage.engines import Workers, map_unordered
from otolith.storage.files import fingerprint, replacing_folder, sha256, write_text
from otolith.storage.locks import LOCK, claimed
from otolith.storage.processes import check_parent


class PrepareProgress(NamedTuple):
    """A part that is done, as `prepare_iter` reports it.

    Attributes:
        done: number of parts that are done.
        of: number of all parts.
        name: name of this part.
        recordings: number of recordings that were read from it.
        seconds: time that reading took; 0 for parts that an interrupted run had finished.
        facts: how the recordings were read, where their reader says so; empty for parts of an interrupted run.
    """

    done: int
    of: int
    name: str
    recordings: int
    seconds: float
    facts: tuple[str, ...] = ()


def prepare(
    parts: Sequence[Part] | Iterable[Recording],
    folder: str | Path,
    *,
    dataset: str,
    labels: Iterable[str] = (),
    rate_hz: float = 50.0,
    about: dict[str, Any] | None = None,
    source_key: str | None = None,
    jobs: Workers = 1,
) -> Store:
    """Resample recordings and write them as a store.

    Every process has one recording in memory at a time. The result depends neither on `jobs` nor on how often a run was
    killed and started again.

    Args:
        parts: a list of parts; or recordings, which are read in this process, as one part. All have the same channels.
        folder: the folder of the store. It is written next to it and renamed at the end, so it is complete or absent; an
            older store is replaced.
        dataset: name of the corpus.
        labels: label names in the order of their numbers; other names of spans are appended in the order of the parts.
        rate_hz: rate of the store.
        about: further facts for the manifest, such as licence and source.
        source_key: identity of the official files and of what is read from them. An interrupted run is resumed if this
            key, the names of the parts, the rate and the code of the readers are the same. None: nothing is reused from
            an earlier run or kept for a later one.
        jobs: number of processes that read parts (1 reads in this process), or an executor.

    Raises:
        ValueError: there are no recordings, channels differ, two recordings have one name, another process prepares the
            same folder, or a part cannot be read; the message names the part.
        OSError: a file cannot be read; the message names the part.
    """
    about, folder = about or {}, Path(folder)
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
    jobs: Workers,
) -> Iterator[PrepareProgress]:
    """Prepare a store as `prepare` does, and yield after every part; at the end of the generator the store is there."""
    check_number("the rate of a store, in Hz,", rate_hz, above=0, most=100_000)
    if isinstance(parts, Sequence) and parts and isinstance(parts[0], Part):
        listed = list(cast(Sequence[Part], parts))
    else:
        listed = [Part("recordings", lambda: iter(cast(Iterable[Recording], parts)))]
    key = fingerprint([dataset, rate_hz, [part.name for part in listed], source_key, reading_code()])
    work = folder.with_name(f".{folder.name}.work")
    kept = source_key is not None
    with claimed(work):
        if not kept or not (work / "key").exists() or (work / "key").read_text(encoding="utf-8") != key:
            for path in work.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
            write_text(work / "key", key)
        try:
            found = _taken_over(work, len(listed))
            for done, (number, recordings) in enumerate(found.items(), start=1):
                yield PrepareProgress(done, len(listed), listed[number].name, recordings, 0.0)
            missing = [(part, number) for number, part in enumerate(listed) if number not in found]
            with contextlib.closing(_read_parts(missing, work, rate_hz, jobs)) as read:
                for done, (number, recordings, seconds, facts) in enumerate(read, start=1 + len(found)):
                    yield PrepareProgress(done, len(listed), listed[number].name, recordings, seconds, facts)
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


def reading_code() -> dict[str, str]:
    """Return hashes of the source files on which the values of a part depend."""
    root = Path(__file__).parents[1]
    own = (
        root / "storage" / "files.py",
        *(
            root / "data" / f"{name}.py"
            for name in ("units", "conversion", "recording", "resample", "prepare", "store")
        ),
    )
    readers = (path for package in ("formats", "datasets") for path in sorted((root / package).rglob("*.py")))
    return {path.relative_to(root).as_posix(): sha256(path) for path in (*own, *readers)}


def _paths(work: Path, number: int) -> tuple[Path, Path]:
    """Return the path of a part's values, and of the JSON file whose existence says that they are complete."""
    return work / f"{number:06d}.f32", work / f"{number:06d}.json"


def _taken_over(work: Path, of: int) -> dict[int, int]:
    """Return number -> recordings of the parts that an earlier run finished, in files of their own or joined."""
    found, start = {}, 0
    for number in range(of):
        values, mark = _paths(work, number)
        try:
            known = json.loads(mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):  # never written, or incomplete
            continue
        path, first = (values, 0) if values.exists() else (work / SIGNAL, start)
        if path.exists() and sha256(path, first, known["bytes"]) == known["sha256"]:
            found[number] = len(known["recordings"])
        start += known["bytes"]
    return found


def _read_parts(
    parts: Sequence[tuple[Part, int]], work: Path, rate_hz: float, jobs: Workers
) -> Generator[tuple[int, int, float, tuple[str, ...]], None, None]:
    """Yield number, recordings, seconds and facts of each part when it was read, in any order."""
    tasks = [(part, number, work, rate_hz) for part, number in parts]
    jobs = max(1, min(jobs, len(parts))) if isinstance(jobs, int) else jobs
    yield from map_unordered(_read_part, tasks, jobs=jobs)


def _read_part(part: Part, number: int, work: Path, rate_hz: float) -> tuple[int, int, float, tuple[str, ...]]:
    """Write the values of a part and their JSON file; stop when the process that wants them has ended."""
    started = time.perf_counter()
    recordings, digest, count = [], hashlib.sha256(), 0
    facts: dict[str, None] = {}
    path, mark = _paths(work, number)
    try:
        with path.open("wb") as file:
            for recording in part.read():
                check_parent()
                facts |= dict.fromkeys(str(fact) for fact in recording.facts)
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
    # Nothing is flushed to the disk, which would take longer than reading a small part: an incomplete file is no valid
    # JSON, and a complete one has the hash of the values.
    known = {"bytes": count, "sha256": digest.hexdigest(), "recordings": recordings}
    mark.write_text(json.dumps(known), encoding="utf-8")
    return number, len(recordings), time.perf_counter() - started, tuple(facts)


def _joined(work: Path, of: int, dataset: str, labels: Iterable[str], rate_hz: float) -> dict[str, Any]:
    """Join the values of the parts, compute their moments, and return the manifest without its hash.

    The file of a part is removed as soon as it is copied, so that the disk never has a corpus twice. After an
    interruption, the parts without a file are already in the signal.
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
                        f"recording '{name}' has the channels {', '.join(found)}, and those before have "
                        f"{', '.join(channels)}; expected one set of channels"
                    )
                if name in seen:
                    raise ValueError(f"two recordings are named '{name}'; expected different names in a corpus")
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
        os.fsync(signal.fileno())  # also here, where an interrupted run finds it
    if not entries:
        raise ValueError(f"there are no recordings to prepare for '{dataset}'")
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
    """Return (2, channels, blocks): mean and sum of squared deviations of each whole block of `steps` time steps."""
    blocks = values.shape[1] // steps
    summary = np.empty((2, len(values), blocks), dtype="<f4")
    for channel, own in enumerate(values):  # one at a time, because float64 takes twice the memory
        wide = own[: blocks * steps].reshape(blocks, steps).astype(np.float64)
        mean = wide.mean(axis=1)
        wide -= mean[:, None]
        summary[:, channel] = mean, np.einsum("bs,bs->b", wide, wide)
    return summary
