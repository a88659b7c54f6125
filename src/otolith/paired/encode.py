"""Precompute embeddings of text, video and other sensors that are aligned with a corpus's recordings."""

from __future__ import annotations

import contextlib
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import safetensors
from safetensors.numpy import save_file

from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.store import Store, open_store
from otolith.datasets.card import Dataset
from otolith.paired.embeddings import PairedEmbeddings, _microseconds, _save, folder_of
from otolith.paired.image import ImageEncoder
from otolith.paired.text import TextEncoder, clean_narration
from otolith.storage.files import claimed, fingerprint, replacing, unnested

_CHUNK = 600  # pictures that are encoded and kept at a time: a minute of them
_MODALITY = re.compile(r"[a-z0-9][\w-]*", re.ASCII | re.IGNORECASE)


class Progress(NamedTuple):
    """What `compute` reports: how far it is.

    Attributes:
        done: recordings that are done, of those with a companion.
        of: recordings in the store, which may be more.
        recording: the one at hand.
        made: vectors made so far.
        kept: vectors taken over from earlier runs so far.
    """

    done: int
    of: int
    recording: str
    made: int
    kept: int


def pair(
    dataset: Dataset,
    source: Path | None,
    data: Path,
    *,
    text: TextEncoder | None,
    image: ImageEncoder | None,
    fps: float = 10.0,
    near_s: float | None = None,
    placement: str | None = None,
    subset: str | None = None,
) -> Iterator[Progress]:
    """Computes what `compute` does for a prepared corpus, from its official files, into `folder_of(data, dataset.name)`.

    Args:
        dataset: the corpus.
        source: its official files, as for preparing.
        data: folder of the prepared corpora.
        text: as for `compute`, and so are the following.
        image: the same.
        fps: the same.
        near_s: the same.
        placement: as the corpus was prepared.
        subset: as the corpus was prepared, which is the default.

    Raises:
        FileNotFoundError: the corpus is not prepared, or the official files are not there.
        ValueError: nothing lies beside its recordings; or as `compute`.
    """
    if dataset.multimodal_data is None:
        raise ValueError(f"nothing is known to lie beside the recordings of '{dataset.name}': it cannot be paired")
    store = open_store(data / dataset.name, verify=False)
    subset = subset or store.about.get("subset") or dataset.subsets[0]
    folder = folder_of(data, dataset.name)
    with unnested(source, folder) as files:
        multimodal_data = dataset.multimodal_data(files, placement or dataset.placements[0], subset)
        yield from compute(multimodal_data, store, folder, text=text, image=image, fps=fps, near_s=near_s)


def compute(
    multimodal_data: Iterable[MultimodalData],
    store: Store,
    folder: Path,
    *,
    text: TextEncoder | None,
    image: ImageEncoder | None,
    fps: float = 10.0,
    near_s: float | None = None,
) -> Iterator[Progress]:
    """Encodes what lies beside a store's recordings and writes one file a modality, each whole or not at all.

    Narrations are cleaned (`clean_narration`), encoded and become `text`; pictures become `video`; tracks keep their names
    and numbers. Vectors wait on disk: those of a recording or of a minute are in memory, not those of a corpus. Nothing that
    an earlier run has finished is computed again, and what comes out does not depend on where that one was interrupted.
    Companions of recordings that the store lacks are left out.

    Args:
        companions: any number; each is looked at once.
        store: the prepared corpus.
        folder: for the files and the cache.
        text: encodes narrations; None: they are left out.
        image: encodes pictures; None: they are left out, and no video is opened.
        fps: pictures that are looked at in a second.
        near_s: only pictures within so many seconds of a narration are looked at; None: all.

    Yields:
        How far it is, after every recording and every minute of pictures. When the generator is exhausted, the files are
        there.

    Raises:
        ValueError: narrations, pictures or tracks that do not go with their recording; files that cannot be read; no
            companion at all; another process that computes in the same folder.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}; expected a positive number of pictures a second")
    if near_s is not None and not near_s >= 0:
        raise ValueError(f"near_s is {near_s}; expected seconds, 0 or more")
    work = _EmbeddingJob(store, folder / ".cache", text, image, fps, near_s)
    numbers = {entry.name: number for number, entry in enumerate(store.entries)}
    with claimed(folder / ".cache"), contextlib.closing(work):
        for stale in folder.rglob(".*.part"):  # of a process that was killed as it wrote
            stale.unlink()
        done, seen, strange = 0, set[str](), list[str]()
        for companion in multimodal_data:
            name = companion.recording
            if name in seen:
                raise ValueError(f"two companions are for recording '{name}'")
            seen.add(name)
            if name not in numbers:
                strange.append(name)
                continue
            for _ in work.take(numbers[name], companion):
                yield Progress(done, len(numbers), name, work.made, work.kept)
            done += 1
            yield Progress(done, len(numbers), name, work.made, work.kept)
        if not work.found:
            met = f"; there are companions for others, such as '{strange[0]}'" if strange else ""
            raise ValueError(
                f"nothing to pair was found beside the {len(numbers)} recordings of '{store.dataset}'{met}; "
                "pass the source and the placement with which it was prepared"
            )
        for modality in work.found:
            _save(folder / f"{modality}.safetensors", work.vectors(modality))


class _Place(NamedTuple):
    recording: int
    start_s: np.ndarray
    stop_s: np.ndarray
    first: int  # row of its vectors in the modality's file


class _EmbeddingJob:
    """Vectors as they are found, by modality, each in a file that has no name and ends with the process."""

    def __init__(
        self,
        store: Store,
        cache: Path,
        text: TextEncoder | None,
        image: ImageEncoder | None,
        fps: float,
        near_s: float | None,
    ) -> None:
        self.store, self.cache, self.text, self.image, self.fps, self.near_s = store, cache, text, image, fps, near_s
        self.found: dict[str, list[_Place]] = {}
        self.files: dict[str, IO[bytes]] = {}
        self.dims: dict[str, int] = {}
        self.words: dict[str, np.ndarray] = {}
        self.made = self.kept = 0

    def take(self, number: int, companion: MultimodalData) -> Iterator[None]:
        """Encodes one recording's companion, and pauses after every minute of pictures."""
        entry = self.store.entries[number]
        seconds = entry.steps / self.store.rate_hz
        for narration in companion.narrations:
            _check_narration(narration, entry.name, seconds)
        if self.text is not None and companion.narrations:
            self._narrations(number, companion.narrations, self.text)
        if self.image is not None and companion.video_stream is not None:
            yield from self._pictures(number, companion.video_stream, companion.narrations, seconds, self.image)
        for modality, track in companion.sensor_streams.items():
            self._track(number, modality, track, entry.name)

    def _narrations(self, number: int, narrations: Sequence[Narration], encoder: TextEncoder) -> None:
        said = sorted((n.start_s, n.stop_s, words) for n in narrations if (words := clean_narration(n.text)))
        if not said:
            return
        new = [words for words in dict.fromkeys(words for *_, words in said) if words not in self.words]
        if new:
            key = fingerprint(["text", encoder.sha256, encoder.settings, new])
            vectors = self._cached(key, len(new), encoder.dim)
            if vectors is None:
                vectors = encoder(new)
                self._keep(key, vectors)
            self.words |= dict(zip(new, vectors, strict=True))
        start, stop, _ = zip(*said, strict=True)
        vectors = np.stack([self.words[words] for *_, words in said])
        self._add("text", number, np.array(start), np.array(stop), vectors)

    def _pictures(
        self,
        number: int,
        video_stream: VideoStream,
        narrations: Sequence[Narration],
        seconds: float,
        encoder: ImageEncoder,
    ) -> Iterator[None]:
        name = self.store.entries[number].name
        if not video_stream.start_s < min(video_stream.stop_s, seconds) or video_stream.stop_s <= 0:
            raise ValueError(
                f"the pictures beside '{name}' run from {video_stream.start_s:.2f} to {video_stream.stop_s:.2f} s, outside "
                f"its {seconds:.2f} s: the two clocks do not agree; give their offset"
            )
        first = math.ceil(max(video_stream.start_s, 0.0) * self.fps - 1e-6)
        ticks = np.arange(first, math.ceil(min(video_stream.stop_s, seconds) * self.fps - 1e-6))
        if self.near_s is not None:
            near = np.zeros(len(ticks), dtype=bool)
            for narration in narrations:
                times = ticks / self.fps
                near |= (times >= narration.start_s - self.near_s) & (times <= narration.stop_s + self.near_s)
            ticks = ticks[near]
        for part in np.split(ticks, np.flatnonzero(np.diff(ticks // _CHUNK)) + 1):
            if not len(part):
                continue
            times = part / self.fps
            where = _microseconds(times - video_stream.start_s).tolist()  # in the pictures' own time
            key = fingerprint(["video", encoder.sha256, encoder.settings, video_stream.key, where])
            vectors = self._cached(key, len(part), encoder.dim)
            if vectors is None:
                try:
                    vectors = encoder(video_stream.frames(times.tolist()))
                except ValueError as error:
                    raise ValueError(f"pictures beside '{name}': {error}") from error
                if len(vectors) != len(part):
                    raise ValueError(f"pictures beside '{name}': {len(vectors)} came where {len(part)} were asked for")
                self._keep(key, vectors)
            self._add("video", number, times, times, vectors)
            yield

    def _track(self, number: int, modality: str, track: SensorStream, name: str) -> None:
        here = f"track '{modality}' beside '{name}'"
        if modality in ("text", "video") or not _MODALITY.fullmatch(modality):
            raise ValueError(f"{here}: such a name is not free; use letters and digits, but not 'text' or 'video'")
        time_s, vectors = np.asarray(track.time_s, dtype=np.float64), np.asarray(track.vectors)
        if vectors.ndim != 2 or vectors.dtype != np.float32 or time_s.shape != vectors.shape[:1]:
            raise ValueError(
                f"{here}: {time_s.shape} times and {vectors.dtype} {vectors.shape} vectors; expected float32 (times, dim)"
            )
        if not (np.isfinite(time_s).all() and np.isfinite(vectors).all()) or (np.diff(time_s) < 0).any():
            raise ValueError(f"{here}: times do not ascend, or something is not finite; cut it there")
        if vectors.size:
            self._add(modality, number, time_s, time_s, vectors)

    def _add(self, modality: str, number: int, start_s: np.ndarray, stop_s: np.ndarray, vectors: np.ndarray) -> None:
        if modality not in self.files:
            self.found[modality], self.dims[modality] = [], vectors.shape[1]
            self.files[modality] = tempfile.TemporaryFile(dir=self.cache)  # noqa: SIM115 - `close` closes it
        places, dim = self.found[modality], self.dims[modality]
        if dim != vectors.shape[1]:
            names = [self.store.entries[recording].name for recording in (places[0].recording, number)]
            raise ValueError(
                f"'{modality}' has {dim} numbers beside '{names[0]}' and {vectors.shape[1]} beside '{names[1]}'; expected "
                "as many everywhere"
            )
        first = places[-1].first + len(places[-1].start_s) if places else 0
        self.files[modality].write(np.ascontiguousarray(vectors, np.float32).data)
        places.append(_Place(number, start_s, stop_s, first))

    def close(self) -> None:
        """Frees the disk."""
        for file in self.files.values():
            file.close()

    def _cached(self, key: str, rows: int, dim: int) -> np.ndarray | None:
        """What an earlier run has kept; None if it has not, or if the file is damaged."""
        try:
            with safetensors.safe_open(self._path(key), framework="np") as file:
                vectors: np.ndarray = file.get_tensor("vectors")
        except (OSError, ValueError, KeyError, safetensors.SafetensorError):
            return None
        if vectors.shape != (rows, dim) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            return None
        self.kept += rows
        return vectors

    def _keep(self, key: str, vectors: np.ndarray) -> None:
        self.made += len(vectors)
        with replacing(self._path(key)) as part:
            save_file({"vectors": vectors}, part)

    def _path(self, key: str) -> Path:
        return self.cache / key[:2] / f"{key}.safetensors"

    def vectors(self, modality: str) -> PairedEmbeddings:
        """All of a modality, in order of recording and time, memory-mapped."""
        places = sorted(self.found[modality], key=lambda place: (place.recording, place.start_s[0]))
        about: dict[str, Any] = {"dim": self.dims[modality]}
        encoder = {"text": self.text, "video": self.image}.get(modality)
        if encoder is not None:
            about |= {"encoder": encoder.name, "sha256": encoder.sha256}
        if modality == "video":
            about |= {"fps": self.fps} | ({} if self.near_s is None else {"near_s": self.near_s})
        shape = sum(len(place.start_s) for place in places), self.dims[modality]
        self.files[modality].flush()
        found = np.memmap(self.files[modality], np.float32, "r", shape=shape)
        with tempfile.TemporaryFile(dir=self.cache) as file:
            ordered, at = np.memmap(file, np.float32, "w+", shape=shape), 0
        for place in places:
            rows = found[place.first : place.first + len(place.start_s)]
            ordered[at : at + len(rows)] = rows
            at += len(rows)
        return PairedEmbeddings(
            modality=modality,
            recording=np.repeat([place.recording for place in places], [len(place.start_s) for place in places]),
            start_s=np.concatenate([place.start_s for place in places]),
            stop_s=np.concatenate([place.stop_s for place in places]),
            vectors=ordered,
            reduce="cover" if modality == "text" else "mean",
            store=self.store.hash,
            about=about,
        )


def _check_narration(narration: Narration, name: str, seconds: float) -> None:
    start, stop, words = narration
    if not (math.isfinite(start) and math.isfinite(stop) and start <= stop):
        raise ValueError(
            f"narration '{words[:60]}' of '{name}' runs from {start} to {stop} s; expected forwards in time"
        )
    if stop < 0 or start > seconds:
        raise ValueError(
            f"narration '{words[:60]}' at {start:.2f} to {stop:.2f} s lies outside recording '{name}' of {seconds:.2f} s: "
            "the two clocks do not agree, or it belongs to another recording; give their offset, or remove it"
        )
