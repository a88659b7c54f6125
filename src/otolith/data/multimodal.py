"""Recordings of other modalities on a recording's clock: narrations, video and other sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Narration(NamedTuple):
    """Words about a stretch of a recording; seconds from the recording's first time step."""

    start_s: float
    stop_s: float
    text: str


class VideoStream(NamedTuple):
    """Moving pictures beside a recording. It pickles, so that processes can share the work.

    Attributes:
        key: identity of the pictures: a hash of the file they lie in, and which part of it they are.
        start_s: of the first picture, in seconds from the recording's first time step; may be negative.
        stop_s: of the end of the last one.
        frames: ascending times between these two -> the picture shown at each, (height, width, 3) uint8 RGB, one by one;
            a function of some module with its arguments bound (`functools.partial`).
    """

    key: str
    start_s: float
    stop_s: float
    frames: Callable[[Sequence[float]], Iterator[np.ndarray]]


class SensorStream(NamedTuple):
    """Vectors of another sensor beside a recording.

    Attributes:
        time_s: (times,) ascending, seconds from the recording's first time step.
        vectors: (times, dim) float32.
    """

    time_s: np.ndarray
    vectors: np.ndarray


class MultimodalData(NamedTuple):
    """What was recorded beside a recording, on the recording's own clock; the raw material of paired vectors.

    Attributes:
        recording: its name in the corpus.
        narrations: in order of time; they may overlap.
        footage: pictures, or None.
        tracks: other sensors' vectors by modality, for example `skeleton`.
    """

    recording: str
    narrations: tuple[Narration, ...] = ()
    video_stream: VideoStream | None = None
    sensor_streams: Mapping[str, SensorStream] = {}
