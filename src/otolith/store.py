"""A prepared corpus on disk: one memory-mapped signal and a JSON manifest. Resampled once, written whole, checked on open.

    <folder>/signal.f32      little-endian float32, recordings one after another, each (channels, time)
    <folder>/manifest.json   rate, channels, units, recordings (place, person, placement, label spans), labels, source,
                             licence, SHA-256 of the signal, and a hash of all of that

Each channel of a recording lies in one piece, so that a window is a few straight copies and a batch needs no transposing:
gathering is five times faster than from rows of time steps. Raw float32 rather than .npy, because recordings are
appended while files are read and their number is known last; the sizes stand in the manifest. The manifest's own hash is
the store's identity: rows of results name it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from otolith.files import fingerprint, recover, replacing_folder, sha256
from otolith.recording import UNITS, Recording, resample

FORMAT = 1
SIGNAL, MANIFEST = "signal.f32", "manifest.json"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One recording's place in the store.

    Attributes:
        name: of the recording.
        subject: the person.
        placement: where the sensor sat.
        start: where its first value lies among all values.
        steps: time steps; the next channel's values begin so many values further on.
        native_rate_hz: before resampling.
        spans: labelled stretches: first time step, end (exclusive), label number.
    """

    name: str
    subject: str
    placement: str
    start: int
    steps: int
    native_rate_hz: float
    spans: tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """A prepared corpus, opened read-only.

    Attributes:
        folder: where it lies.
        dataset: the corpus's name.
        rate_hz: the one rate of all recordings.
        channels: column names; units by kind in `recording.UNITS`.
        labels: label names; a label's number is its place here.
        entries: the recordings.
        values: (values,) float32, memory-mapped: reading touches only the pages asked for. See `signal`.
        hash: identity of the content, hexadecimal.
        about: source, licence and the like, as given to `prepare`.
    """

    folder: Path
    dataset: str
    rate_hz: float
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    values: np.memmap
    hash: str
    about: dict[str, Any]

    def signal(self, entry: Entry) -> np.ndarray:
        """(time, channels): one recording, as a view."""
        count = entry.steps * len(self.channels)
        values = self.values[entry.start : entry.start + count]
        return np.asarray(values.reshape(len(self.channels), entry.steps).T)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The people, in order of first appearance."""
        return tuple(dict.fromkeys(entry.subject for entry in self.entries))


def prepare(
    recordings: Iterable[Recording],
    folder: Path,
    *,
    dataset: str,
    labels: Iterable[str] = (),
    rate_hz: float = 50.0,
    about: dict[str, Any] | None = None,
) -> Store:
    """Resamples recordings and writes them as a store, in one pass that holds one recording in memory at a time.

    Args:
        recordings: any number, all with the same channels.
        folder: the store's folder; written beside it first and renamed into place, so that it is whole or absent. An
            older store there is replaced.
        dataset: the corpus's name.
        labels: label names in the order of their numbers; names met in spans beyond these are appended.
        rate_hz: the rate of the store.
        about: further facts for the manifest, such as licence and source.

    Raises:
        ValueError: no recordings, different channels, or two recordings of one name.
    """
    names = list(labels)
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    channels: tuple[str, ...] = ()
    start = 0
    digest = hashlib.sha256()
    with replacing_folder(folder) as part:
        with (part / SIGNAL).open("wb") as file:
            for recording in recordings:
                channels = channels or recording.channels
                if recording.channels != channels:
                    raise ValueError(
                        f"recording '{recording.name}' has channels {', '.join(recording.channels)}; the store so far "
                        f"has {', '.join(channels)}; a store holds one set of channels"
                    )
                if recording.name in seen:
                    raise ValueError(f"two recordings are named '{recording.name}'; names are unique in a corpus")
                seen.add(recording.name)
                signal = resample(recording.signal, recording.rate_hz, rate_hz)
                block = np.ascontiguousarray(signal.T, dtype="<f4").tobytes()
                digest.update(block)
                file.write(block)
                spans = []
                for span in recording.spans:
                    if span.label not in names:
                        names.append(span.label)
                    first, end = round(span.start_s * rate_hz), min(round(span.stop_s * rate_hz), len(signal))
                    spans.append([first, end, names.index(span.label)])
                entries.append(
                    {
                        "name": recording.name,
                        "subject": recording.subject,
                        "placement": recording.placement,
                        "start": start,
                        "steps": len(signal),
                        "native_rate_hz": recording.rate_hz,
                        "spans": spans,
                    }
                )
                start += signal.size
        if not entries:
            raise ValueError(f"no recordings to prepare for '{dataset}'")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "dataset": dataset,
            "rate_hz": rate_hz,
            "channels": list(channels),
            "units": {channel: UNITS[channel.split("_")[0]] for channel in channels},
            "labels": names,
            "about": about or {},
            "values": start,
            "signal_sha256": digest.hexdigest(),
            "recordings": entries,
        }
        manifest["hash"] = fingerprint(manifest)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return open_store(folder, verify=False)


def open_store(folder: Path, *, verify: bool = True) -> Store:
    """Opens a prepared corpus.

    Args:
        folder: what `prepare` wrote.
        verify: also hash the whole signal (about a second a gigabyte); its size and the manifest are always checked.

    Raises:
        FileNotFoundError: there is no store at `folder`.
        ValueError: the store is truncated, altered or of another format.
    """
    again = "prepare it again (otolith prepare)"
    recover(folder)
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no prepared corpus at '{folder}': expected {MANIFEST} and {SIGNAL}; "
            f"run: otolith prepare {folder.name} --source DIR"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"'{folder / MANIFEST}' is damaged: {error}; {again}") from error
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError(f"it is not of store format {FORMAT}")
        claimed = manifest.pop("hash", None)
        if fingerprint(manifest) != claimed:
            raise ValueError("its content does not match its hash")
        entries = tuple(
            Entry(**{**entry, "spans": tuple(tuple(span) for span in entry["spans"])})
            for entry in manifest["recordings"]
        )
        count, channels = int(manifest["values"]), tuple(manifest["channels"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"'{folder / MANIFEST}' is damaged or altered: {error}; {again}") from error
    path = folder / SIGNAL
    expected = count * 4
    size = path.stat().st_size if path.is_file() else 0
    if size != expected:
        raise ValueError(f"'{path}' has {size:,} bytes; its manifest says {expected:,}; {again}")
    if verify and sha256(path) != manifest["signal_sha256"]:
        raise ValueError(f"'{path}' was altered: its SHA-256 does not match its manifest; {again}")
    # Copy-on-write: the file is opened read-only and can never change, yet torch accepts the array without a copy.
    values = np.memmap(path, dtype="<f4", mode="c", shape=(count,))
    return Store(
        folder=folder,
        dataset=manifest["dataset"],
        rate_hz=float(manifest["rate_hz"]),
        channels=channels,
        labels=tuple(manifest["labels"]),
        entries=entries,
        values=values,
        hash=claimed,
        about=manifest["about"],
    )
