"""A prepared corpus on disk: one memory-mapped signal and a JSON manifest. Resampled once, written whole, checked on open.

    <folder>/signal.f32      little-endian float32, recordings one after another, each (channels, time)
    <folder>/moments.f32     the same of every recording's whole blocks of half a second, each (mean or sum of squared
                             deviations, channels, blocks): the variance of windows that consist of such blocks
    <folder>/manifest.json   rate, channels, units, recordings (place, person, placement, label spans), labels, source,
                             licence, SHA-256 of the two, and a hash of all of that
    .<folder>.work/          beside it, while it is being prepared: `key`, of what is being read and by which code, and
                             for each part its values (<number>.f32) and, once they are all there, <number>.json

Each channel of a recording lies in one piece, so that a window is a few straight copies and a batch needs no transposing:
gathering is five times faster than from rows of time steps. Raw float32 rather than .npy, because recordings are
appended while files are read and their number is known last; the sizes stand in the manifest. The manifest's own hash is
the store's identity: rows of results name it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from otolith.storage.files import fingerprint, recover, sha256

if TYPE_CHECKING:
    import otolith.data.windows  # imports torch, which the processes that prepare a store do without

FORMAT = 2
SIGNAL, MOMENTS, MANIFEST = "signal.f32", "moments.f32", "manifest.json"
BLOCK_S = 0.5


@dataclasses.dataclass(frozen=True)
class Entry:
    """One recording's place in the store.

    Attributes:
        name: of the recording.
        subject: the person.
        placement: where the sensor sat.
        start: where its first value lies among all values.
        steps: time steps; the next channel's values begin so many values further on.
        block: where its first block lies among all blocks of all channels.
        native_rate_hz: before resampling.
        spans: labelled stretches: first time step, end (exclusive), label number.
    """

    name: str
    subject: str
    placement: str
    start: int
    steps: int
    block: int
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
        block_steps: time steps of a block.
        blocks: (values,) float32, memory-mapped. See `moments`.
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
    block_steps: int
    blocks: np.ndarray
    hash: str
    about: dict[str, Any]

    def signal(self, entry: Entry) -> np.ndarray:
        """(time, channels): one recording, as a view."""
        count = entry.steps * len(self.channels)
        values = self.values[entry.start : entry.start + count]
        return np.asarray(values.reshape(len(self.channels), entry.steps).T)

    def moments(self, entry: Entry) -> np.ndarray:
        """(2, channels, blocks): mean and sum of squared deviations of each whole block of one recording, as a view."""
        shape = 2, len(self.channels), entry.steps // self.block_steps
        values = self.blocks[2 * entry.block :][: shape[0] * shape[1] * shape[2]]
        return np.asarray(values.reshape(shape))

    @property
    def subjects(self) -> tuple[str, ...]:
        """The people, in order of first appearance."""
        return tuple(dict.fromkeys(entry.subject for entry in self.entries))

    def windows(self, **options: Any) -> otolith.data.windows.Windows:
        """Cut the recordings into windows; the options are those of `cutting.cut`, for example `seconds=2, channels="acc"`.

        Raises:
            ValueError: see `cutting.cut`.
        """
        from otolith.data.cutting import cut

        return cut(self, **options)


def open_store(folder: Path, *, verify: bool = True) -> Store:
    """Opens a prepared corpus.

    Args:
        folder: what `prepare` wrote.
        verify: also hash signal and moments (about a second a gigabyte); sizes and the manifest are always checked.

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
        if not isinstance(manifest, dict) or "format" not in manifest:
            raise ValueError("it is no manifest of a store")
        if manifest["format"] != FORMAT:
            raise ValueError(f"it is of store format {manifest['format']}, and this version reads format {FORMAT}")
        stated = manifest.pop("hash", None)
        if fingerprint(manifest) != stated:
            raise ValueError("its content does not match its hash")
        entries = tuple(
            Entry(**{**entry, "spans": tuple(tuple(span) for span in entry["spans"])})
            for entry in manifest["recordings"]
        )
        count, blocks, channels = int(manifest["values"]), int(manifest["blocks"]), tuple(manifest["channels"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"'{folder / MANIFEST}' is damaged or altered: {error}; {again}") from error
    for name, size, digest in (
        (SIGNAL, 4 * count, manifest["signal_sha256"]),
        (MOMENTS, 8 * blocks, manifest["moments_sha256"]),
    ):
        path = folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise ValueError(f"'{path}' has {found:,} bytes; its manifest says {size:,}; {again}")
        if verify and sha256(path) != digest:
            raise ValueError(f"'{path}' was altered: its SHA-256 does not match its manifest; {again}")
    return Store(
        folder=folder,
        dataset=manifest["dataset"],
        rate_hz=float(manifest["rate_hz"]),
        channels=channels,
        labels=tuple(manifest["labels"]),
        entries=entries,
        # Copy-on-write: the file is opened read-only and can never change, yet torch accepts the array without a copy.
        values=np.memmap(folder / SIGNAL, dtype="<f4", mode="c", shape=(count,)),
        block_steps=int(manifest["block_steps"]),
        # Nothing can be mapped of an empty file: no recording lasts half a second.
        blocks=np.memmap(folder / MOMENTS, dtype="<f4", mode="c", shape=(2 * blocks,))
        if blocks
        else np.empty(0, "<f4"),
        hash=stated,
        about=manifest["about"],
    )
