"""Store paired embeddings on disk, and look up the embedding of any window.

    <data>/.paired/<dataset>/<modality>.safetensors   one embedding per narration (text), frame (video) or time of a sensor
                                                      stream, and its time; the header names store, encoder and weights
    <data>/.paired/<dataset>/.cache/                  what is finished, by content: narrations of a recording, frames of a
                                                      minute; an interrupted run resumes from it; it can be deleted

The name of a cache entry is a hash of the input (texts; file and times of the frames) and of the encoder's weights and
settings. So nothing is computed twice and nothing stale is used, even if files were renamed, moved or prepared again.
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
    """Embeddings of one modality for the recordings of a store.

    Attributes:
        modality: name of the modality, such as `text`.
        recording: (embeddings,) number of the recording among `store.entries`, ascending.
        start_s: (embeddings,) from when each is valid, in seconds from the recording's first time step; ascending within a
            recording.
        stop_s: (embeddings,) until when each is valid; equal to the start for frames and sensor streams.
        embeddings: (embeddings, dim) float32.
        reduce: the embedding of a window: `mean` of all that begin inside it, or `cover`, the one that overlaps it most.
        store: hash of the store.
        about: how they were computed: `encoder` and `sha256` of its weights, if there is one; `dim`, `fps`.
    """

    modality: str
    recording: np.ndarray
    start_s: np.ndarray
    stop_s: np.ndarray
    embeddings: np.ndarray
    reduce: Literal["mean", "cover"]
    store: str
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Return the dimension of an embedding."""
        return int(self.embeddings.shape[1])

    @functools.cached_property
    def content_hash(self) -> str:
        """Return a hash of the embeddings, their times, and how the embedding of a window is derived from them."""
        digest = hashlib.sha256(f"{self.modality} {self.reduce} {self.embeddings.shape}".encode())
        for array in (self.recording, self.start_s, self.stop_s, self.embeddings):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def for_windows(self, recording: np.ndarray, start_s: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the embedding of each window.

        A window includes its start and excludes its end. Times are compared in whole microseconds, so that a frame at the
        end of a window is never inside it, however the two were rounded. Of several narrations that overlap a window
        equally, the one whose middle is nearest is used, then the earliest.

        Args:
            recording: (windows,) number of the recording.
            start_s: (windows,) seconds from its first time step.
            seconds: length of a window.

        Returns:
            (windows, dim) float32, each of norm 1, and (windows,) whether a window has one; zeros where it has none.
        """
        values = np.zeros((len(recording), self.dim), dtype=np.float32)
        order = np.argsort(recording, kind="stable")
        numbers, first = np.unique(recording[order], return_index=True)
        for number, rows in zip(numbers, np.split(order, first[1:]), strict=False):
            low, high = np.searchsorted(self.recording, [number, number + 1])
            if low == high:
                continue
            start, stop, own = self.start_s[low:high], self.stop_s[low:high], self.embeddings[low:high]
            begin = microseconds(start_s[rows])
            end = begin + microseconds(seconds)
            if self.reduce == "mean":
                running = np.zeros((high - low + 1, self.dim))
                np.cumsum(own, axis=0, dtype=np.float64, out=running[1:])
                edges = [np.searchsorted(microseconds(start), edge) for edge in (begin, end)]
                total = running[edges[1]] - running[edges[0]]
                total[edges[1] == edges[0]] = 0
                values[rows] = total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-12)
                continue
            for at in range(0, len(rows), _BLOCK):
                some = slice(at, at + _BLOCK)
                chosen = _covering(microseconds(start), microseconds(stop), begin[some], end[some])
                there = chosen >= 0
                values[rows[some][there]] = own[chosen[there]]
        values /= np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
        return values, np.asarray(values.any(axis=1))


def microseconds(seconds: Any) -> Any:
    """Return seconds as whole microseconds, int64."""
    return np.rint(np.asarray(seconds, dtype=np.float64) * 1e6).astype(np.int64)


def _covering(start: np.ndarray, stop: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the (windows,) number of the span that overlaps each window most, -1 for none.

    Starts ascend; spans may overlap.
    """
    stop = np.maximum(stop, start + 1)  # a span of length 0 counts if it is inside
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
    """Return the folder of a corpus's paired embeddings."""
    return data / ".paired" / dataset


def modalities(folder: Path) -> list[str]:
    """Return the modalities that were computed, sorted."""
    return sorted(path.stem for path in folder.glob("*.safetensors") if not path.name.startswith("."))


def save(path: Path, embeddings: PairedEmbeddings) -> None:
    """Write the embeddings of a modality, atomically."""
    header = {
        "format": FORMAT,
        "modality": embeddings.modality,
        "reduce": embeddings.reduce,
        "store": embeddings.store,
        "about": embeddings.about,
    }
    arrays = {
        "recording": embeddings.recording.astype(np.int64),
        "start_s": embeddings.start_s,
        "stop_s": embeddings.stop_s,
        "vectors": embeddings.embeddings,
    }
    tensors.write(path, {name: torch.from_numpy(np.ascontiguousarray(rows)) for name, rows in arrays.items()}, header)


def load(folder: Path, modality: str, store: Store) -> PairedEmbeddings:
    """Read the embeddings of a modality, and check them.

    Args:
        folder: the folder to which `embed` wrote; for a prepared corpus `folder_of(data, dataset)`.
        modality: name of the modality, such as `text`.
        store: the store whose recordings they belong to.

    Raises:
        FileNotFoundError: they were not computed.
        ValueError: the file is damaged, or was computed for another preparation of the corpus.
    """
    again = f"run again: otolith pair {store.dataset} --source DIR"
    path = folder / f"{modality}.safetensors"
    if not path.is_file():
        there = ", ".join(modalities(folder)) or "nothing"
        raise FileNotFoundError(
            f"no embeddings '{modality}' of '{store.dataset}' at '{path}' (found {there}); "
            f"run: otolith pair {store.dataset} --source DIR"
        )
    try:
        header, state = tensors.read(path)
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from error
    try:
        arrays = {name: state[name].numpy() for name in ("recording", "start_s", "stop_s", "vectors")}
        arrays["embeddings"] = arrays.pop("vectors")
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']}, and this version reads format {FORMAT}")
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
        raise ValueError(f"'{path}' was computed for another preparation of '{store.dataset}'; {again}")
    return found


def _check(found: PairedEmbeddings, recordings: int | None) -> None:
    if found.embeddings.ndim != 2 or found.embeddings.dtype != np.float32 or found.recording.dtype != np.int64:
        raise ValueError(
            f"its embeddings are {found.embeddings.dtype} {found.embeddings.shape}; expected float32 (embeddings, dim)"
        )
    for array in (found.recording, found.start_s, found.stop_s):
        if array.shape != (len(found.embeddings),) or not np.isfinite(array).all():
            raise ValueError("it has not one time per embedding")
    if not np.isfinite(found.embeddings).all():
        raise ValueError("it has embeddings that are not finite")
    forwards = (np.diff(found.start_s) >= 0) | (np.diff(found.recording) > 0)
    if (np.diff(found.recording) < 0).any() or not forwards.all() or (found.stop_s < found.start_s).any():
        raise ValueError("its embeddings are not in order of time")
    if recordings is not None and len(found) and not 0 <= found.recording[0] <= found.recording[-1] < recordings:
        raise ValueError("it names recordings that the store does not have")
