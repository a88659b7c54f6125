"""Data of other modalities on the clock of a recording: narrations, video and other sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Narration(NamedTuple):
    """A text about a span of a recording; seconds from the recording's first time step."""

    start_s: float
    stop_s: float
    text: str


class VideoStream(NamedTuple):
    """Video that was recorded together with a recording. It can be pickled, so that processes can share the work.

    Attributes:
        key: identity of the frames: a hash of their file, and which part of the file they are.
        start_s: start of the first frame, in seconds from the recording's first time step; may be negative.
        stop_s: end of the last frame.
        frames: function from ascending times between these two to the frames shown at them, one by one, each (height, width,
            3) uint8 RGB; a function of some module with its arguments bound (`functools.partial`).
    """

    key: str
    start_s: float
    stop_s: float
    frames: Callable[[Sequence[float]], Iterator[np.ndarray]]


class SensorStream(NamedTuple):
    """Values of another sensor that was recorded together with a recording.

    Attributes:
        time_s: (times,) ascending, seconds from the recording's first time step.
        values: (times, dim) float32.
    """

    time_s: np.ndarray
    values: np.ndarray


class MultimodalData(NamedTuple):
    """What was recorded together with a recording, on its clock; the input from which paired embeddings are computed.

    Attributes:
        recording: name of the recording in the corpus.
        narrations: in order of time; they may overlap.
        video_stream: video, or None.
        sensor_streams: values of other sensors by modality, for example `skeleton`.
    """

    recording: str
    narrations: tuple[Narration, ...] = ()
    video_stream: VideoStream | None = None
    sensor_streams: Mapping[str, SensorStream] = {}
