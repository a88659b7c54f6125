"""Pictures of video files: the one shown at each time asked for, decoded by PyAV (extra `video`), with seeking.

Times are seconds from the file's own beginning, the clock of all its streams: a GoPro's telemetry and its pictures share it.
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
"""How long the last picture is shown where none follows; later times are beyond the pictures."""

_MAX_PIXELS = 1 << 26  # a picture of 8192 x 8192; larger ones are declared by damaged files alone
_FAR_S = 2.0  # without an index of key pictures: seek to a time that lies further on
_OPTIONS = {  # a file that is in truth a playlist could make FFmpeg read others, over the network too
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf",
}


class Extent(NamedTuple):
    """What a video file declares of its pictures.

    Attributes:
        start_s: of the first picture, in seconds from the file's beginning.
        stop_s: of the end of the last one.
        rate_hz: pictures per second, on average.
    """

    start_s: float
    stop_s: float
    rate_hz: float


def frames_at(path: Path, times_s: Sequence[float], *, offset_s: float = 0.0) -> Iterator[np.ndarray]:
    """Yields the picture shown at each of some times. Only what lies between a time and the key picture before is decoded.

    Args:
        path: of the video file.
        times_s: ascending, in seconds; the same one may come again.
        offset_s: what the clock of `times_s` shows at the file's beginning.

    Yields:
        (height, width, 3) uint8, RGB, upright. The picture shown at a time is the last that begins no later, or the first.

    Raises:
        FileNotFoundError: there is no file.
        ImportError: PyAV is not installed.
        ValueError: times that do not ascend or lie outside the pictures; a file that is damaged, cut off or has none.
    """
    if any(later < earlier for earlier, later in pairwise(times_s)):
        raise ValueError(f"times of pictures asked of '{path}' do not ascend; sort them")
    if not len(times_s):
        return
    with opened(path) as container, _clear(path, times_s[-1]):
        stream, extent = _pictures(path, container)
        for time_s in times_s:  # all at once, before hours are decoded
            if not extent.start_s - HELD_S <= time_s - offset_s <= extent.stop_s + HELD_S:
                raise ValueError(
                    f"'{path}' has no picture at {time_s:.2f} s; its pictures run from {extent.start_s + offset_s:.2f} "
                    f"to {extent.stop_s + offset_s:.2f} s"
                )
        keys = sorted(_seconds(container, stream, e.timestamp) for e in stream.index_entries if e.is_keyframe)
        half = 0.5 / extent.rate_hz
        coming = _decoded(container, stream)
        shown = following = next(coming, None)  # a picture is shown until the following one begins
        if shown is None:
            raise ValueError(f"'{path}' holds no picture that can be decoded; copy it again")
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
                    f"the pictures of '{path}' end at {shown[0] + offset_s:.2f} s although it declares "
                    f"{extent.stop_s + offset_s:.2f} s: it is cut off or damaged; copy it again"
                )
            if picture is None or picture[0] != shown[0]:
                picture = shown[0], _upright(shown[1])
            yield picture[1]


def video_stream(path: Path, offset_s: float = 0.0) -> VideoStream:
    """A video file beside a recording.

    Args:
        path: of the file; it is read once, for its hash.
        offset_s: what the recording's clock shows at the file's beginning.

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
    """When a file's pictures begin and end, as it declares; nothing is decoded. Errors as `frames_at`."""
    with opened(path) as container:
        return _pictures(path, container)[1]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """PyAV's container of a video file.

    Raises:
        FileNotFoundError: there is no file.
        ImportError: PyAV is not installed.
        ValueError: it is no video file, or a damaged one.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are read by PyAV: pip install 'otolith[video]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"no video file at '{path}'")
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS)  # absolute: no name can be taken for an address
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ValueError(
            f"'{path}' ({path.stat().st_size:,} bytes) cannot be opened as a video: {_why(error)}; copy it again"
        ) from error
    with container:
        yield container


@contextlib.contextmanager
def _clear(path: Path, time_s: float) -> Iterator[None]:
    """FFmpeg's errors, in clear words."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise ValueError(f"'{path}' cannot be decoded up to {time_s:.2f} s: {_why(error)}; copy it again") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _pictures(path: Path, container: Any) -> tuple[Any, Extent]:
    """The stream of pictures, and its extent."""
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise ValueError(f"'{path}' has no pictures; it holds {kinds}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError(f"the pictures of '{path}' are coded in an unknown way: it is damaged; copy it again")
    if not 0 < stream.width * stream.height <= _MAX_PIXELS:
        raise ValueError(
            f"'{path}' declares pictures of {stream.width} x {stream.height}: it is damaged; copy it again"
        )
    start = _seconds(container, stream, stream.start_time or 0)
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6 - start
    else:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(
            f"'{path}' does not say how long its pictures run: it is cut off, or a stream; convert it to MP4"
        )
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return stream, Extent(start, start + seconds, rate if rate > 0 else 30.0)


def _seconds(container: Any, stream: Any, stamp: int) -> float:
    """A stream's time stamp in seconds from the file's beginning."""
    return float(stamp * stream.time_base) - (container.start_time or 0) / 1e6


def _decoded(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """The pictures from where the container stands, with the seconds at which they begin."""
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield _seconds(container, stream, frame.pts), frame


def _sought(path: Path, container: Any, stream: Any, wanted: float) -> tuple[Any, Any, Iterator[tuple[float, Any]]]:
    """The picture at or before a time, from where decoding can go on; as both shown and following."""
    for back in (0.0, 1.0, 8.0, 1e9):  # indices hold times of decoding, which may precede those of showing
        begin = max(wanted - back, 0.0) + (container.start_time or 0) / 1e6
        container.seek(int(begin / stream.time_base), stream=stream, backward=True)
        coming = _decoded(container, stream)
        first = next(coming, None)
        if first is not None and first[0] <= wanted + 1e-6:
            return first, first, coming
    raise ValueError(f"'{path}' holds no picture before {wanted:.2f} s that can be decoded; copy it again")


def _upright(frame: Any) -> np.ndarray:
    """(height, width, 3) uint8: a decoded picture in RGB, turned as its file says."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    picture = np.asarray(frame.to_ndarray(format="rgb24"))
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
