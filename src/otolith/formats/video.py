"""Read the frames of video files at given times, decoded by PyAV (extra `video`), with seeking.

Times are seconds from the start of the file. All streams share this clock, for example a GoPro's telemetry and video.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from otolith.data.multimodal import VideoStream
from otolith.storage.files import sha256

HELD_S = 0.5
"""Seconds for which the last frame is shown; later times are outside the video."""

_MAX_PIXELS = 1 << 26  # a frame of 8192 x 8192; only damaged files declare larger ones
_FAR_S = 2.0  # without an index of key frames: seek if the time is further ahead than this
_OPTIONS = {  # a file that is really a playlist could make FFmpeg read other files, also over the network
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf",
}


class Extent(NamedTuple):
    """Start, end and rate of the frames of a video, as its file declares them.

    Attributes:
        start_s: time of the first frame, in seconds from the start of the file.
        stop_s: end of the last frame.
        rate_hz: average number of frames per second.
    """

    start_s: float
    stop_s: float
    rate_hz: float


def frames_at(path: Path, times_s: Sequence[float], *, offset_s: float = 0.0) -> Iterator[np.ndarray]:
    """Yield the frame shown at each of some times; only frames from the preceding key frame on are decoded.

    Args:
        path: path of the video file.
        times_s: times in seconds, ascending; times may repeat.
        offset_s: time at the start of the file, on the clock of `times_s`.

    Yields:
        (height, width, 3) uint8, RGB, upright. The frame shown at a time is the last one that begins no later, or the
        first frame of the video.

    Raises:
        FileNotFoundError: the file does not exist.
        ImportError: PyAV is not installed.
        ValueError: times do not ascend or lie outside the video; the file is damaged, truncated or holds no video.
    """
    if any(later < earlier for earlier, later in pairwise(times_s)):
        raise ValueError(f"the requested times of '{path}' do not ascend; sort them")
    if not len(times_s):
        return
    with opened(path) as container, _clear(path, times_s[-1]):
        stream, extent = _pictures(path, container)
        for time_s in times_s:  # check all times before the slow decoding
            if not extent.start_s - HELD_S <= time_s - offset_s <= extent.stop_s + HELD_S:
                raise ValueError(
                    f"'{path}' has no frame at {time_s:.2f} s; its frames run from {extent.start_s + offset_s:.2f} "
                    f"to {extent.stop_s + offset_s:.2f} s"
                )
        keys = sorted(_seconds(container, stream, e.timestamp) for e in stream.index_entries if e.is_keyframe)
        half = 0.5 / extent.rate_hz
        coming = _decoded(container, stream)
        shown = following = next(coming, None)  # a frame is shown until the next one begins
        if shown is None:
            raise ValueError(f"'{path}' holds no frame that can be decoded; copy it again")
        picture: tuple[float, np.ndarray] | None = None
        for time_s in times_s:
            wanted = time_s - offset_s
            now = following or shown
            reach = keys[bisect_right(keys, wanted) - 1] > now[0] + half if keys else wanted > now[0] + _FAR_S
            if reach and wanted > now[0]:
                shown, following, coming = _sought(path, container, stream, wanted)
            while following is not None and following[0] <= wanted + 1e-6:
                shown, following = following, next(coming, None)
            if following is None and wanted > shown[0] + HELD_S + 2 * half:
                raise ValueError(
                    f"the frames of '{path}' end at {shown[0] + offset_s:.2f} s although it declares "
                    f"{extent.stop_s + offset_s:.2f} s: it is truncated or damaged; copy it again"
                )
            if picture is None or picture[0] != shown[0]:
                picture = shown[0], _upright(shown[1])
            yield picture[1]


def video_stream(path: Path, offset_s: float = 0.0) -> VideoStream:
    """Return the video stream of a file, on the clock of a recording.

    Args:
        path: path of the file; it is read once, for its hash.
        offset_s: time at the start of the file, on the recording's clock.

    Raises:
        As `frames_at`.
    """
    declared = extent(path)
    return VideoStream(
        key=sha256(path),
        start_s=declared.start_s + offset_s,
        stop_s=declared.stop_s + offset_s,
        frames=partial(frames_at, path, offset_s=offset_s),
    )


def extent(path: Path) -> Extent:
    """Return the start, end and rate that a file declares; no frame is decoded. Errors as `frames_at`."""
    with opened(path) as container:
        return _pictures(path, container)[1]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video file as a PyAV container.

    Raises:
        FileNotFoundError: the file does not exist.
        ImportError: PyAV is not installed.
        ValueError: the file is not a video, or it is damaged.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are read by PyAV: pip install 'otolith[video]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"no video file at '{path}'")
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS)  # an absolute path cannot be read as a URL
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ValueError(
            f"'{path}' ({path.stat().st_size:,} bytes) cannot be opened as a video: {_why(error)}; copy it again"
        ) from error
    with container:
        yield container


@contextlib.contextmanager
def _clear(path: Path, time_s: float) -> Iterator[None]:
    """Turn FFmpeg's errors into ValueErrors with clear messages."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise ValueError(f"'{path}' cannot be decoded up to {time_s:.2f} s: {_why(error)}; copy it again") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _pictures(path: Path, container: Any) -> tuple[Any, Extent]:
    """Return the video stream of a container, and its extent."""
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise ValueError(f"'{path}' has no video; it holds {kinds}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError(f"the video codec of '{path}' is unknown: the file is damaged; copy it again")
    if not 0 < stream.width * stream.height <= _MAX_PIXELS:
        raise ValueError(f"'{path}' declares frames of {stream.width} x {stream.height}: it is damaged; copy it again")
    start = _seconds(container, stream, stream.start_time or 0)
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6 - start
    else:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"'{path}' does not state its duration: it is truncated, or a live stream; convert it to MP4")
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return stream, Extent(start, start + seconds, rate if rate > 0 else 30.0)


def _seconds(container: Any, stream: Any, stamp: int) -> float:
    """Return a stream's time stamp in seconds from the start of the file."""
    return float(stamp * stream.time_base) - (container.start_time or 0) / 1e6


def _decoded(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Yield the frames from the current position of the container, with their start times in seconds."""
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield _seconds(container, stream, frame.pts), frame


def _sought(path: Path, container: Any, stream: Any, wanted: float) -> tuple[Any, Any, Iterator[tuple[float, Any]]]:
    """Seek to the frame at or before a time; return it as both shown and following, and the frames after it."""
    for back in (0.0, 1.0, 8.0, 1e9):  # indices hold decoding times, which may precede presentation times
        begin = max(wanted - back, 0.0) + (container.start_time or 0) / 1e6
        container.seek(int(begin / stream.time_base), stream=stream, backward=True)
        coming = _decoded(container, stream)
        first = next(coming, None)
        if first is not None and first[0] <= wanted + 1e-6:
            return first, first, coming
    raise ValueError(f"'{path}' holds no frame before {wanted:.2f} s that can be decoded; copy it again")


def _upright(frame: Any) -> np.ndarray:
    """Return a decoded frame in RGB, (height, width, 3) uint8, rotated as the file declares."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    picture = np.asarray(frame.to_ndarray(format="rgb24"))
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
