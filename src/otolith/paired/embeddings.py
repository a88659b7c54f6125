"""Companions of recordings -> vectors on disk, made once, and the vector of any window.

    <data>/.paired/<dataset>/<modality>.safetensors   a vector for each narration (text), picture (video) or time of a track,
                                                      and its place in time; the header names store, encoder, weights
    <data>/.paired/<dataset>/.cache/                  what is finished, by content: narrations of a recording, pictures of
                                                      a minute; a killed run goes on from there. It can be deleted

A cache entry's name is a hash of what was encoded (words; the pictures' file and times) and of the encoder's weights and
settings, so that nothing is made twice and nothing stale is ever used, whatever was renamed, moved or prepared again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from otolith.data.store import Store
from otolith.storage import tensors

FORMAT = 1
_BLOCK = 4096  # windows looked up at a time


@dataclasses.dataclass(frozen=True, eq=False)
class PairedEmbeddings:
    """One modality's vectors beside a store's recordings.

    Attributes:
        modality: its name, such as `text`.
        recording: (vectors,) number among `store.entries`, ascending.
        start_s: (vectors,) from when each is valid, in seconds from the recording's first time step; ascending in a
            recording.
        stop_s: (vectors,) until when; a picture's and a track's are equal to their start.
        vectors: (vectors, dim) float32.
        reduce: what a window is given: `mean`, of all vectors that begin inside; `cover`, the one that overlaps it most.
        store: hash of the store.
        about: how they were made: `encoder` and `sha256` of its weights, where there is one; `dim`, `fps`.
    """

    modality: str
    recording: np.ndarray
    start_s: np.ndarray
    stop_s: np.ndarray
    vectors: np.ndarray
    reduce: Literal["mean", "cover"]
    store: str
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    @functools.cached_property
    def content_hash(self) -> str:
        """A hash of the vectors, their places, and what a window is given of them."""
        digest = hashlib.sha256(f"{self.modality} {self.reduce} {self.vectors.shape}".encode())
        for array in (self.recording, self.start_s, self.stop_s, self.vectors):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def of(self, recording: np.ndarray, start_s: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """The vector of each of some windows.

        A window holds its start and not its end. Times are compared in whole microseconds, so that a picture taken as a
        window ends is never in it, however the two were rounded. Of narrations that overlap a window alike, the one
        whose middle is nearer is taken, then the earlier.

        Args:
            recording: (windows,) number of the recording.
            start_s: (windows,) seconds from its first time step.
            seconds: length of a window.

        Returns:
            (windows, dim) float32 of length 1, and (windows,) whether there is one; zeros where there is none.
        """
        values = np.zeros((len(recording), self.dim), dtype=np.float32)
        order = np.argsort(recording, kind="stable")
        numbers, first = np.unique(recording[order], return_index=True)
        for number, rows in zip(numbers, np.split(order, first[1:]), strict=False):
            low, high = np.searchsorted(self.recording, [number, number + 1])
            if low == high:
                continue
            start, stop, own = self.start_s[low:high], self.stop_s[low:high], self.vectors[low:high]
            begin = _microseconds(start_s[rows])
            end = begin + _microseconds(seconds)
            if self.reduce == "mean":
                running = np.zeros((high - low + 1, self.dim))
                np.cumsum(own, axis=0, dtype=np.float64, out=running[1:])
                edges = [np.searchsorted(_microseconds(start), edge) for edge in (begin, end)]
                total = running[edges[1]] - running[edges[0]]
                total[edges[1] == edges[0]] = 0
                values[rows] = total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-12)
                continue
            for at in range(0, len(rows), _BLOCK):
                some = slice(at, at + _BLOCK)
                chosen = _covering(_microseconds(start), _microseconds(stop), begin[some], end[some])
                there = chosen >= 0
                values[rows[some][there]] = own[chosen[there]]
        values /= np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
        return values, np.asarray(values.any(axis=1))


def _microseconds(seconds: Any) -> Any:
    return np.rint(np.asarray(seconds, dtype=np.float64) * 1e6).astype(np.int64)


def _covering(start: np.ndarray, stop: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(windows,) number of the stretch that overlaps each window most, -1: none; `start` ascends, stretches may overlap."""
    stop = np.maximum(stop, start + 1)  # a moment counts where it lies inside
    first = np.searchsorted(np.maximum.accumulate(stop), begin, side="right")  # all before have ended
    count = np.maximum(np.searchsorted(start, end) - first, 0)
    window = np.repeat(np.arange(len(begin)), count)
    item = np.arange(len(window)) + np.repeat(first - np.cumsum(count) + count, count)
    overlap = np.minimum(stop[item], end[window]) - np.maximum(start[item], begin[window])
    apart = np.abs(start[item] + stop[item] - begin[window] - end[window])
    best = np.lexsort((item, apart, -overlap, window))
    best = best[overlap[best] > 0]
    owner, at = np.unique(window[best], return_index=True)
    chosen = np.full(len(begin), -1)
    chosen[owner] = item[best[at]]
    return chosen


def folder_of(data: Path, dataset: str) -> Path:
    """Where a corpus's paired vectors lie."""
    return data / ".paired" / dataset


def modalities(folder: Path) -> list[str]:
    """The modalities that were computed, sorted."""
    return sorted(path.stem for path in folder.glob("*.safetensors") if not path.name.startswith("."))


def _save(path: Path, vectors: PairedEmbeddings) -> None:
    header = {
        "format": FORMAT,
        "modality": vectors.modality,
        "reduce": vectors.reduce,
        "store": vectors.store,
        "about": vectors.about,
    }
    arrays = {
        "recording": vectors.recording.astype(np.int64),
        "start_s": vectors.start_s,
        "stop_s": vectors.stop_s,
        "vectors": vectors.vectors,
    }
    tensors.write(path, {name: torch.from_numpy(np.ascontiguousarray(rows)) for name, rows in arrays.items()}, header)


def load(folder: Path, modality: str, store: Store) -> PairedEmbeddings:
    """Reads a modality's vectors, strictly.

    Args:
        folder: what `compute` wrote to; for a prepared corpus, `folder_of(data, dataset)`.
        modality: such as `text`.
        store: whose recordings they lie beside.

    Raises:
        FileNotFoundError: they were not computed.
        ValueError: the file is damaged, or was computed for another preparation of the corpus.
    """
    again = f"run again: otolith pair {store.dataset} --source DIR"
    path = folder / f"{modality}.safetensors"
    if not path.is_file():
        there = ", ".join(modalities(folder)) or "nothing"
        raise FileNotFoundError(
            f"no vectors '{modality}' of '{store.dataset}' at '{path}' (there is {there}); "
            f"run: otolith pair {store.dataset} --source DIR"
        )
    try:
        header, state = tensors.read(path)
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from error
    try:
        arrays = {name: state[name].numpy() for name in ("recording", "start_s", "stop_s", "vectors")}
        if header["format"] != FORMAT:
            raise ValueError(f"it is of format {header['format']}, and this version reads format {FORMAT}")
        if header["modality"] != modality or header["reduce"] not in ("mean", "cover"):
            raise ValueError(f"its header says '{header['modality']}', '{header['reduce']}'")
        found = PairedEmbeddings(
            **arrays,
            modality=str(header["modality"]),
            reduce=header["reduce"],
            store=str(header["store"]),
            about=dict(header["about"]),
        )
        _check(found, len(store.entries) if header["store"] == store.hash else None)
    except (ValueError, KeyError, TypeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"'{path}' cannot be used: {why}; {again}") from error
    if found.store != store.hash:
        raise ValueError(f"'{path}' was made for another preparation of '{store.dataset}'; {again}")
    return found


def _check(found: PairedEmbeddings, recordings: int | None) -> None:
    if found.vectors.ndim != 2 or found.vectors.dtype != np.float32 or found.recording.dtype != np.int64:
        raise ValueError(
            f"its vectors are {found.vectors.dtype} {found.vectors.shape}; expected float32 (vectors, dim)"
        )
    for array in (found.recording, found.start_s, found.stop_s):
        if array.shape != (len(found.vectors),) or not np.isfinite(array).all():
            raise ValueError("vectors and their times do not fit together")
    if not np.isfinite(found.vectors).all():
        raise ValueError("it holds vectors that are not finite")
    forwards = (np.diff(found.start_s) >= 0) | (np.diff(found.recording) > 0)
    if (np.diff(found.recording) < 0).any() or not forwards.all() or (found.stop_s < found.start_s).any():
        raise ValueError("its vectors are not in order of time")
    if recordings is not None and len(found) and not 0 <= found.recording[0] <= found.recording[-1] < recordings:
        raise ValueError("it names recordings that the store does not have")
