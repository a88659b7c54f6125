"""Compare an exported graph with its model, on windows of recordings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from otolith.apps.label import resampled
from otolith.classifiers.rejection import Rejection
from otolith.data.cutting import cut
from otolith.data.recording import GYROSCOPE
from otolith.data.store import open_store
from otolith.data.windows import SignalSpec
from otolith.formats import ReadOptions, Units, survey
from otolith.formats.options import DEFAULTS

MOST_WINDOWS = 1024
"""Windows that a graph is calibrated on or compared on, evenly spaced among those that there are."""
_RANDOM = 64  # windows where no recording is given
_RUNS = 30  # of which the median time is taken
_BATCH = 256  # windows that are computed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Windows to compare on.

    Attributes:
        x: (windows, channels, time) float32, in g and rad/s.
        person: (windows,) text; the recording's name where no person is known.
        what: in words.
    """

    x: Float[np.ndarray, "windows channels time"]
    person: np.ndarray
    what: str

    def take(self, rows: np.ndarray) -> Sample:
        """Return some of the windows; at most `MOST_WINDOWS`, evenly spaced."""
        if len(rows) > MOST_WINDOWS:
            rows = rows[np.linspace(0, len(rows) - 1, MOST_WINDOWS).round().astype(int)]
        return Sample(self.x[rows], self.person[rows], self.what)

    def halves(self) -> tuple[Sample, Sample]:
        """Return windows to calibrate on, and windows of other people to compare on; of one person, the earlier and the
        later half.

        Raises:
            ValueError: there are fewer than two windows.
        """
        if len(self.x) < 2:
            raise ValueError(
                f"one window alone: {self.what}; calibration and comparison need windows of their own, so give longer "
                "recordings"
            )
        people = list(dict.fromkeys(self.person.tolist()))
        if len(people) == 1:
            rows = np.arange(len(self.x))
            middle = len(rows) // 2
            return self.take(rows[:middle]), self.take(rows[middle:])
        first = np.isin(self.person, people[::2])
        return self.take(np.flatnonzero(first)), self.take(np.flatnonzero(~first))


def random_sample(signal: SignalSpec, seed: int = 0) -> Sample:
    """Return windows of no recording: a random direction of gravity, slow turns and noise, in g and rad/s."""
    random = np.random.default_rng(seed)
    shape = _RANDOM, len(signal.channels)
    level, size = random.normal(0, 0.6, shape)[..., None], random.uniform(0, 1, shape)[..., None]
    phase = random.uniform(0, 2 * np.pi, shape)[..., None]
    turn = np.sin(phase + 2 * np.pi * np.arange(signal.steps) / signal.rate_hz)
    x = level + size * turn + random.normal(0, 0.1, (*shape, signal.steps))
    return Sample(x.astype(np.float32), np.arange(_RANDOM).astype(str), "random windows, as no recordings were named")


def read_sample(
    path: Path, signal: SignalSpec, *, recorded_in: Mapping[str, Any] | None = None, options: ReadOptions = DEFAULTS
) -> Sample:
    """Return windows of a prepared store, or of recordings, without overlap.

    Args:
        path: folder of a store, folder of recordings, or one recording.
        signal: contract of the windows.
        recorded_in: units that a model's recordings had, assumed where a file states none.
        options: of the reader.

    Raises:
        FileNotFoundError: the path does not exist, or a folder holds no recording.
        ValueError: a store or recording does not suit the contract, or no window fits.
    """
    if (path / "manifest.json").is_file():
        windows = cut(open_store(path), seconds=signal.seconds, channels=list(signal.channels), label=None, overlap=0)
        if difference := signal.difference(windows.contract):
            raise ValueError(f"the store '{path}' does not fit the model: {difference}; prepare it with --store-rate")
        rows = np.arange(len(windows))
        if len(rows) > 4 * MOST_WINDOWS:  # enough of each half, without reading all of a large corpus
            rows = rows[np.linspace(0, len(rows) - 1, 4 * MOST_WINDOWS).round().astype(int)]
        chosen = windows[rows]
        x, person = chosen.array().numpy(), np.array(chosen.subject_names)[chosen.subject]
    else:
        x, person = _of_recordings(path, signal, recorded_in, options)
    if not len(x):
        raise ValueError(f"no window of {signal.seconds:g} s in '{path}'; give longer recordings")
    return Sample(x, person, f"windows of {len(set(person.tolist()))} people or recordings in '{path}'")


def _of_recordings(
    path: Path, signal: SignalSpec, recorded_in: Mapping[str, Any] | None, options: ReadOptions
) -> tuple[np.ndarray, np.ndarray]:
    known = Units(recorded_in["acc"], recorded_in.get("gyro")) if recorded_in else None
    found = survey([path], options, gyro=bool(set(signal.channels) & set(GYROSCOPE)), known=known)
    parts: list[np.ndarray] = []
    people: list[str] = []
    for source in found.sources:
        for session in found.read(source):
            for piece in resampled(session, signal):
                if len(piece.signal) >= signal.steps:
                    x = torch.from_numpy(piece.signal).unfold(0, signal.steps, signal.steps).numpy()
                    parts.append(x)
                    people += [session.subject or session.name] * len(x)
    empty = np.empty((0, len(signal.channels), signal.steps), np.float32)
    return np.concatenate([empty, *parts]).astype(np.float32), np.array(people, str)


@dataclasses.dataclass(frozen=True)
class Compared:
    """How near a graph's outputs are to the model's.

    Attributes:
        windows: that were compared.
        largest: difference of each output, as a share of the output's largest absolute value where that is above 1.
        equal_labels: share of windows to which both give the same label; None without labels.
        equal_unknown: share of windows that both call unknown or both do not; None where a model does not know the unknown.
        cosine: mean cosine between the features.
    """

    windows: int
    largest: dict[str, float]
    equal_labels: float | None
    cosine: float
    equal_unknown: float | None = None


def compared(
    expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], rejection: Rejection | None = None
) -> Compared:
    """Compare outputs by name; `rejection` says which windows are unknown."""
    largest = {
        name: float(np.abs(found[name] - value).max() / max(1.0, np.abs(value).max()))
        for name, value in expected.items()
    }
    equal = None
    if "probabilities" in expected:
        same = expected["probabilities"].argmax(axis=1) == found["probabilities"].argmax(axis=1)
        equal = float(same.mean())
    one, two = expected["features"], found["features"]
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = float(((one * two).sum(axis=1) / np.maximum(sizes, 1e-12)).mean())
    unknown = None
    if rejection is not None:
        mine, other = (rejection.beyond(each["probabilities"], each["distances"]) for each in (expected, found))
        unknown = float((mine == other).mean())
    return Compared(len(one), largest, equal, cosine, unknown)


def session_of(content: bytes) -> Any:
    """Return an onnxruntime session of a graph, on one core."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def run(session: Any, x: Float[np.ndarray, "batch channels time"]) -> dict[str, np.ndarray]:
    """Return a graph's outputs of windows by name."""
    names = [output.name for output in session.get_outputs()]
    parts = [session.run(names, {"windows": x[at : at + _BATCH]}) for at in range(0, len(x), _BATCH)]
    return {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def milliseconds(compute: Callable[[], Any]) -> float:
    """Return the median time of a computation over some runs."""
    taken = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken))
