"""What lies beside a person's own recording: narrations in a file of their own, footage, and whether their clocks agree."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otolith.data.multimodal import MultimodalData, Narration, VideoStream

_ENDS_EARLY_S = 1.0  # a camera's pictures and its telemetry may differ by as much


class Extent(NamedTuple):
    """Where a recording lies on its clip's clock, in seconds."""

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
    """What lies beside each recording of a clip, moved to the recording's own clock.

    Args:
        pieces: the clip's recordings.
        footage: on the clip's clock.
        narrations: on the clip's clock.
        clip: its name, for messages.
        strict: narrations that begin outside the clip, and footage that meets none of its recordings, are an error: the
            clocks disagree. Else they are left out.

    Yields:
        One companion a recording that has any; a narration belongs to every recording that it overlaps.

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
                "video's end have no pictures",
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
    """The same footage on a clock that shows `by_s` more."""
    frames = _Shifted(video_stream, by_s)
    return VideoStream(video_stream.key, video_stream.start_s + by_s, video_stream.stop_s + by_s, frames)


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """Footage's `frames` on another clock; it pickles."""

    video_stream: VideoStream
    by_s: float

    def __call__(self, times_s: Sequence[float]) -> Iterator:
        return self.video_stream.frames([time_s - self.by_s for time_s in times_s])


def narration_start(time_s: float, duration_s: float, seconds: float = 5.0) -> int | None:
    """Where the window about a moment that was narrated begins, as PRIMUS was published.

    Around the moment; at a take's first and last `seconds`, the window lies at its very beginning or end. Both ends are
    then rounded down to whole seconds.

    Args:
        time_s: of the narration, in seconds from the take's beginning.
        duration_s: of the take.
        seconds: of the window.

    Returns:
        Seconds from the take's beginning; None where the window would leave the take, or has another length after rounding.
    """
    if time_s <= seconds:
        start, stop = 0.0, seconds
    elif time_s + seconds >= duration_s:
        start, stop = duration_s - seconds, duration_s
    else:
        start, stop = time_s - seconds / 2, time_s + seconds / 2
    first, last = math.floor(start), math.floor(stop)
    return first if first >= 0 and last <= duration_s and last - first == seconds else None
