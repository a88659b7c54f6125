"""Align narrations and video with the recordings of a clip, and check that their clocks agree."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otolith.data.multimodal import MultimodalData, Narration, VideoStream

_ENDS_EARLY_S = 1.0  # a camera's video and its telemetry may differ by this much


class Extent(NamedTuple):
    """The start and end of a recording on its clip's clock, in seconds."""

    recording: str
    start_s: float
    stop_s: float


def multimodal_data_of(
    pieces: Sequence[Extent],
    video_stream: VideoStream | None,
    narrations: Sequence[Narration],
    *,
    clip: str,
    strict: bool = True,
) -> Iterator[MultimodalData]:
    """Yield the multimodal data of each recording of a clip, shifted to the recording's own clock.

    Args:
        pieces: extents of the clip's recordings.
        video_stream: the clip's video, on the clip's clock, or None.
        narrations: the clip's narrations, on the clip's clock.
        clip: name of the clip, for messages.
        strict: whether it is an error if a narration begins outside the clip or the video overlaps none of its
            recordings, which shows that the clocks disagree. If false, such data are left out.

    Yields:
        One item per recording that has narrations or video. A narration belongs to every recording that it overlaps.

    Raises:
        ValueError: the clocks disagree.
    """
    if not pieces:
        return
    start, stop = min(piece.start_s for piece in pieces), max(piece.stop_s for piece in pieces)
    if video_stream is not None:
        start, stop = min(start, video_stream.start_s), max(stop, video_stream.stop_s)
        meets = any(video_stream.start_s < piece.stop_s and video_stream.stop_s > piece.start_s for piece in pieces)
        last = max(piece.stop_s for piece in pieces)
        if not meets and strict:
            raise ValueError(
                f"the video of '{clip}' runs from {video_stream.start_s:.1f} s to {video_stream.stop_s:.1f} s, its motion "
                f"from {min(piece.start_s for piece in pieces):.1f} s to {last:.1f} s: they do not overlap; check the "
                "offset between their clocks"
            )
        if meets and strict and video_stream.stop_s < last - _ENDS_EARLY_S:
            warnings.warn(
                f"the video of '{clip}' ends at {video_stream.stop_s:.1f} s, its motion at {last:.1f} s: windows after the "
                "video's end have no video frames",
                UserWarning,
                stacklevel=3,
            )
        video_stream = video_stream if meets else None
    for narration in narrations:
        if strict and not start - _ENDS_EARLY_S <= narration.start_s < stop:
            raise ValueError(
                f"'{clip}' runs from {start:.1f} s to {stop:.1f} s, but '{narration.text}' is said at "
                f"{narration.start_s:.1f} s: check the narrations' times, and the offset between the clocks"
            )
    for piece in pieces:
        words = tuple(
            Narration(said.start_s - piece.start_s, said.stop_s - piece.start_s, said.text)
            for said in narrations
            if said.start_s < piece.stop_s and said.stop_s > piece.start_s
        )
        pictures = None
        if video_stream is not None and video_stream.start_s < piece.stop_s and video_stream.stop_s > piece.start_s:
            pictures = shifted(video_stream, -piece.start_s)
        if words or pictures:
            yield MultimodalData(piece.recording, words, pictures)


def shifted(video_stream: VideoStream, by_s: float) -> VideoStream:
    """Return the same video with `by_s` seconds added to all its times."""
    frames = _Shifted(video_stream, by_s)
    return VideoStream(video_stream.key, video_stream.start_s + by_s, video_stream.stop_s + by_s, frames)


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """The `frames` function of a video whose times are shifted; a class, so that it can be pickled."""

    video_stream: VideoStream
    by_s: float

    def __call__(self, times_s: Sequence[float]) -> Iterator:
        return self.video_stream.frames([time_s - self.by_s for time_s in times_s])


def narration_start(time_s: float, duration_s: float, seconds: float = 5.0) -> int | None:
    """Return the start of the window around the time of a narration, by the rule of the published code of PRIMUS.

    The window is centred on the narration. For a narration in the first or last `seconds` of the take, the window is the
    first or last one of the take. Both ends are then rounded down to whole seconds.

    Args:
        time_s: time of the narration, in seconds from the start of the take.
        duration_s: length of the take in seconds.
        seconds: length of the window.

    Returns:
        Seconds from the start of the take; None if the window would leave the take, or if rounding changes its length.
    """
    if time_s <= seconds:
        start, stop = 0.0, seconds
    elif time_s + seconds >= duration_s:
        start, stop = duration_s - seconds, duration_s
    else:
        start, stop = time_s - seconds / 2, time_s + seconds / 2
    first, last = math.floor(start), math.floor(stop)
    return first if first >= 0 and last <= duration_s and last - first == seconds else None
