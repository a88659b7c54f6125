"""Open a prepared corpus: one memory-mapped signal file and a JSON manifest, checked when opened.

    <folder>/signal.f32      little-endian float32, recordings one after another, each (channels, time)
    <folder>/moments.f32     little-endian float32, for every recording (2, channels, blocks): mean and sum of squared
                             deviations of each whole block of half a second, for the variance of windows
    <folder>/manifest.json   rate, channels, units, recordings (place, subject, placement, label spans), labels, source,
                             licence, SHA-256 of the two files, and a hash of all of this
    .<folder>.work/          next to the folder, while it is prepared: `key`, a hash of what is read and by which code; the
                             values of each part (<number>.f32) and, when these are complete, <number>.json

Each channel of a recording is contiguous, so a window is a few contiguous copies and a batch needs no transposition;
gathering is five times faster than from rows of time steps. The format is raw float32 and not .npy, because recordings are
appended while files are read and their number is known last; the manifest has the sizes. The hash of the manifest is the
identity of the store, and result rows name it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from otolith.storage.files import fingerprint, recover, sha256
from otolith.storage.remote import address_of, fetched

if TYPE_CHECKING:
    import otolith.data.windows  # imports torch, which the processes that prepare a store do without

FORMAT = 2
SIGNAL, MOMENTS, MANIFEST = "signal.f32", "moments.f32", "manifest.json"
BLOCK_S = 0.5


@dataclasses.dataclass(frozen=True)
class Entry:
    """The place of one recording in the store, and what is known of it.

    Attributes:
        name: name of the recording.
        subject: name of the subject.
        placement: where the sensor was worn.
        start: number of its first value among all values.
        steps: number of time steps, which is also the distance between the first values of two channels.
        block: number of its first block among the blocks of all channels.
        native_rate_hz: rate before resampling.
        spans: labelled spans: first time step, end (exclusive), label number.
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
        folder: folder of the store.
        dataset: name of the corpus.
        rate_hz: sampling rate of all recordings.
        channels: names of the channels; `units.UNITS` gives their units.
        labels: label names; the number of a label is its place here.
        entries: the recordings.
        values: (values,) float32, memory-mapped; see `signal`.
        block_steps: time steps of a block.
        blocks: (values,) float32, memory-mapped; see `moments`.
        hash: identity of the content, hexadecimal.
        about: source, licence and other facts, as given to `prepare`.
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
        """Return the (time, channels) signal of one recording, as a view."""
        count = entry.steps * len(self.channels)
        values = self.values[entry.start : entry.start + count]
        return np.asarray(values.reshape(len(self.channels), entry.steps).T)

    def moments(self, entry: Entry) -> np.ndarray:
        """Return the (2, channels, blocks) means and sums of squared deviations of a recording's blocks, as a view."""
        shape = 2, len(self.channels), entry.steps // self.block_steps
        values = self.blocks[2 * entry.block :][: shape[0] * shape[1] * shape[2]]
        return np.asarray(values.reshape(shape))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Return the subjects, in order of first appearance."""
        return tuple(dict.fromkeys(entry.subject for entry in self.entries))

    def windows(self, **options: Any) -> otolith.data.windows.Windows:
        """Cut the recordings into windows; the options are those of `cutting.cut`, for example `seconds=2, channels="acc"`.

        Raises:
            ValueError: see `cutting.cut`.
        """
        from otolith.data.cutting import cut

        return cut(self, **options)


_hashes: dict[tuple[Path, int, int], str] = {}


def _sha256_of(path: Path) -> str:
    """The hash of a file, computed once per process while its time and size stay."""
    found = path.stat()
    key = (path.resolve(), found.st_mtime_ns, found.st_size)
    if key not in _hashes:
        _hashes[key] = sha256(path)
    return _hashes[key]


def local_store(folder: str | Path) -> Path:
    """Return the folder of a store on this machine; one at an address is fetched."""
    return fetched(folder, (MANIFEST, SIGNAL, MOMENTS))


def local_file(file: str) -> Path:
    """Return the path on this machine of a file of a store; one at an address is fetched with its store."""
    return local_store(Path(file).parent) / Path(file).name if address_of(file) else Path(file)


def open_store(folder: str | Path, *, verify: bool = True) -> Store:
    """Open a prepared corpus.

    Args:
        folder: the folder that `prepare` wrote, or its address (`storage.remote`), from which it is fetched.
        verify: also compare the hashes of signal and moments, which takes about one second per gigabyte, once per process
            while the files keep their size and time; sizes and the manifest are always checked.

    Raises:
        FileNotFoundError: there is no store at `folder`.
        ValueError: the store is truncated, altered or of another format.
    """
    again = "prepare it again (otolith prepare)"
    try:
        folder = local_store(folder)
        recover(folder)
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no prepared corpus at '{folder}': expected {MANIFEST} and {SIGNAL}; "
            f"run: otolith prepare {Path(folder).name} --source DIR"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"'{folder / MANIFEST}' is damaged: {error}; {again}") from error
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or "format" not in manifest:
            raise ValueError("it is not the manifest of a store")
        if manifest["format"] != FORMAT:
            raise ValueError(f"its store format is {manifest['format']}, and this version reads format {FORMAT}")
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
        if verify and _sha256_of(path) != digest:
            raise ValueError(f"'{path}' was altered: its SHA-256 does not match its manifest; {again}")
    return Store(
        folder=folder,
        dataset=manifest["dataset"],
        rate_hz=float(manifest["rate_hz"]),
        channels=channels,
        labels=tuple(manifest["labels"]),
        entries=entries,
        # Copy-on-write: the file is opened read-only and cannot change, and torch accepts the array without a copy.
        values=np.memmap(folder / SIGNAL, dtype="<f4", mode="c", shape=(count,)),
        block_steps=int(manifest["block_steps"]),
        # An empty file, of recordings shorter than half a second, cannot be mapped.
        blocks=np.memmap(folder / MOMENTS, dtype="<f4", mode="c", shape=(2 * blocks,))
        if blocks
        else np.empty(0, "<f4"),
        hash=stated,
        about=manifest["about"],
    )
