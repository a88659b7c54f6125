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
from otolith.paired.embeddings import PairedEmbeddings, folder_of, microseconds, save
from otolith.paired.image import ImageEncoder
from otolith.paired.text import TextEncoder, clean_narration
from otolith.storage.files import fingerprint, replacing, unnested
from otolith.storage.locks import claimed, sweep

_CHUNK = 600  # frames that are encoded and cached at a time
_MODALITY = re.compile(r"[a-z0-9][\w-]*", re.ASCII | re.IGNORECASE)


class EmbedProgress(NamedTuple):
    """How far `embed` is.

    Attributes:
        done: number of recordings that are done, among those with data of other modalities.
        of: number of recordings in the store, which may be larger.
        recording: name of the current recording.
        made: number of embeddings computed so far.
        kept: number of embeddings reused from earlier runs so far.
    """

    done: int
    of: int
    recording: str
    made: int
    kept: int


def precompute(
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
) -> Iterator[EmbedProgress]:
    """Embed the other modalities of a prepared corpus, from its official files, into `folder_of(data, dataset.name)`.

    Args:
        dataset: the corpus.
        source: its official files, as for `prepare_dataset`.
        data: folder of the prepared corpora.
        text: see `embed`.
        image: see `embed`.
        fps: see `embed`.
        near_s: see `embed`.
        placement: the placement with which the corpus was prepared; None: the default one.
        subset: the subset with which the corpus was prepared; None: the one that the store names.

    Raises:
        FileNotFoundError: the corpus is not prepared, or the official files do not exist.
        ValueError: the corpus has no other modalities; or see `embed`.
    """
    if dataset.multimodal_data is None:
        raise ValueError(f"the corpus '{dataset.name}' has no text, video or other sensors to embed")
    store = open_store(data / dataset.name, verify=False)
    subset = subset or store.about.get("subset") or dataset.subsets[0]
    folder = folder_of(data, dataset.name)
    with unnested(source, folder) as files:
        multimodal_data = dataset.multimodal_data(files, placement or dataset.placements[0], subset)
        yield from embed(multimodal_data, store, folder, text=text, image=image, fps=fps, near_s=near_s)


def embed(
    multimodal_data: Iterable[MultimodalData],
    store: Store,
    folder: Path,
    *,
    text: TextEncoder | None,
    image: ImageEncoder | None,
    fps: float = 10.0,
    near_s: float | None = None,
) -> Iterator[EmbedProgress]:
    """Embed the data of other modalities for the recordings of a store, and write one file per modality, atomically.

    Narrations are cleaned (`clean_narration`), encoded and become `text`; frames become `video`; sensor streams keep their
    names and values. Embeddings are collected on disk; only those of one recording or of one minute of video are in memory.
    Nothing that an earlier run finished is computed again, and the result does not depend on where it was interrupted. Data
    for recordings that the store does not have are left out.

    Args:
        multimodal_data: data of other modalities, at most one for each recording.
        store: the prepared corpus.
        folder: folder for the files and the cache.
        text: encoder of narrations; None: they are left out.
        image: encoder of frames; None: they are left out, and no video is opened.
        fps: frames per second that are embedded.
        near_s: embed only frames at most this many seconds from a narration; None: all frames.

    Yields:
        Progress after every recording and every minute of video. At the end of the generator the files are there.

    Raises:
        ValueError: narrations, video or sensor streams do not fit their recording; a file cannot be read; there are no
            data for any recording; or another process uses the same folder.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}; expected a positive number of frames per second")
    if near_s is not None and not near_s >= 0:
        raise ValueError(f"near_s is {near_s}; expected seconds, 0 or more")
    work = _EmbeddingJob(store, folder / ".cache", text, image, fps, near_s)
    numbers = {entry.name: number for number, entry in enumerate(store.entries)}
    with claimed(folder / ".cache"), contextlib.closing(work):
        for place in {folder, *(path for path in (folder / ".cache").iterdir() if path.is_dir())}:
            sweep(place)
        done, seen, strange = 0, set[str](), list[str]()
        for one in multimodal_data:
            name = one.recording
            if name in seen:
                raise ValueError(f"the recording '{name}' has multimodal data twice; expected once")
            seen.add(name)
            if name not in numbers:
                strange.append(name)
                continue
            for _ in work.take(numbers[name], one):
                yield EmbedProgress(done, len(numbers), name, work.made, work.kept)
            done += 1
            yield EmbedProgress(done, len(numbers), name, work.made, work.kept)
        if not work.found:
            met = f", but for others such as '{strange[0]}'" if strange else ""
            raise ValueError(
                f"no text, video or other sensors were found for the {len(numbers)} recordings of '{store.dataset}'{met}; "
                "pass the source and the placement with which it was prepared"
            )
        for modality in work.found:
            save(folder / f"{modality}.safetensors", work.embeddings(modality))


class _Place(NamedTuple):
    """Times of the embeddings of a recording, and their place in the file of the modality."""

    recording: int
    start_s: np.ndarray
    stop_s: np.ndarray
    first: int  # row of the first embedding


class _EmbeddingJob:
    """Collect embeddings by modality, each in an unnamed temporary file that ends with the process."""

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

    def take(self, number: int, data: MultimodalData) -> Iterator[None]:
        """Embed the data of one recording, and yield after every minute of video."""
        entry = self.store.entries[number]
        seconds = entry.steps / self.store.rate_hz
        for narration in data.narrations:
            _check_narration(narration, entry.name, seconds)
        if self.text is not None and data.narrations:
            self._narrations(number, data.narrations, self.text)
        if self.image is not None and data.video_stream is not None:
            yield from self._frames(number, data.video_stream, data.narrations, seconds, self.image)
        for modality, stream in data.sensor_streams.items():
            self._sensor(number, modality, stream, entry.name)

    def _narrations(self, number: int, narrations: Sequence[Narration], encoder: TextEncoder) -> None:
        cleaned = sorted((n.start_s, n.stop_s, words) for n in narrations if (words := clean_narration(n.text)))
        if not cleaned:
            return
        new = [words for words in dict.fromkeys(words for *_, words in cleaned) if words not in self.words]
        if new:
            key = fingerprint(["text", encoder.sha256, encoder.settings, new])
            vectors = self._cached(key, len(new), encoder.dim)
            if vectors is None:
                vectors = encoder(new)
                self._keep(key, vectors)
            self.words |= dict(zip(new, vectors, strict=True))
        start, stop, _ = zip(*cleaned, strict=True)
        vectors = np.stack([self.words[words] for *_, words in cleaned])
        self._add("text", number, np.array(start), np.array(stop), vectors)

    def _frames(
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
                f"the video of '{name}' lasts from {video_stream.start_s:.2f} to {video_stream.stop_s:.2f} s, outside the "
                f"{seconds:.2f} s of the recording: their clocks disagree; pass the offset between them"
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
            where = microseconds(times - video_stream.start_s).tolist()  # on the clock of the video
            key = fingerprint(["video", encoder.sha256, encoder.settings, video_stream.key, where])
            vectors = self._cached(key, len(part), encoder.dim)
            if vectors is None:
                try:
                    vectors = encoder(video_stream.frames(times.tolist()))
                except ValueError as error:
                    raise ValueError(f"the video of '{name}': {error}") from error
                if len(vectors) != len(part):
                    raise ValueError(f"the video of '{name}' gave {len(vectors)} frames; expected {len(part)}")
                self._keep(key, vectors)
            self._add("video", number, times, times, vectors)
            yield

    def _sensor(self, number: int, modality: str, stream: SensorStream, name: str) -> None:
        here = f"sensor stream '{modality}' of '{name}'"
        if modality in ("text", "video") or not _MODALITY.fullmatch(modality):
            raise ValueError(
                f"{here}: the name is reserved or invalid; use letters and digits, but not 'text' or 'video'"
            )
        time_s, values = np.asarray(stream.time_s, dtype=np.float64), np.asarray(stream.values)
        if values.ndim != 2 or values.dtype != np.float32 or time_s.shape != values.shape[:1]:
            raise ValueError(
                f"{here}: {time_s.shape} times and {values.dtype} {values.shape} values; expected float32 (times, dim)"
            )
        if not (np.isfinite(time_s).all() and np.isfinite(values).all()) or (np.diff(time_s) < 0).any():
            raise ValueError(f"{here}: times do not ascend, or a value is not finite; split the stream there")
        if values.size:
            self._add(modality, number, time_s, time_s, values)

    def _add(self, modality: str, number: int, start_s: np.ndarray, stop_s: np.ndarray, vectors: np.ndarray) -> None:
        if modality not in self.files:
            self.found[modality], self.dims[modality] = [], vectors.shape[1]
            self.files[modality] = tempfile.TemporaryFile(dir=self.cache)  # noqa: SIM115 - `close` closes it
        places, dim = self.found[modality], self.dims[modality]
        if dim != vectors.shape[1]:
            names = [self.store.entries[recording].name for recording in (places[0].recording, number)]
            raise ValueError(
                f"'{modality}' has {dim} dimensions in '{names[0]}' and {vectors.shape[1]} in '{names[1]}'; expected one "
                "number of dimensions"
            )
        first = places[-1].first + len(places[-1].start_s) if places else 0
        self.files[modality].write(np.ascontiguousarray(vectors, np.float32).data)
        places.append(_Place(number, start_s, stop_s, first))

    def close(self) -> None:
        """Remove the temporary files."""
        for file in self.files.values():
            file.close()

    def _cached(self, key: str, rows: int, dim: int) -> np.ndarray | None:
        """Return what an earlier run cached; None if it did not, or if the file is damaged."""
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

    def embeddings(self, modality: str) -> PairedEmbeddings:
        """Return the embeddings of a modality in order of recording and time, memory-mapped."""
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
            embeddings=ordered,
            reduce="cover" if modality == "text" else "mean",
            store=self.store.hash,
            about=about,
        )


def _check_narration(narration: Narration, name: str, seconds: float) -> None:
    start, stop, words = narration
    if not (math.isfinite(start) and math.isfinite(stop) and start <= stop):
        raise ValueError(
            f"narration '{words[:60]}' of '{name}' is from {start} to {stop} s; expected a start before the end"
        )
    if stop < 0 or start > seconds:
        raise ValueError(
            f"narration '{words[:60]}' at {start:.2f} to {stop:.2f} s is outside recording '{name}' of {seconds:.2f} s: "
            "their clocks disagree, or it belongs to another recording; pass the offset between the clocks, or remove it"
        )
