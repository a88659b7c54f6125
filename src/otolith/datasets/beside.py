"""What lies beside a person's own recording: narrations in a file of their own, footage, and whether their clocks agree."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from otolith.recording import Companion, Footage, Narration

NARRATION_SUFFIXES = (".srt", ".narration.csv")
"""Endings of the file with a clip's narrations; the rest of its name is the clip's."""

_MAX_BYTES = 1 << 26  # a day of words takes less than a hundredth of it
_ENDS_EARLY_S = 1.0  # a camera's pictures and its telemetry may differ by as much
_STAMP = r"(\d{1,3}):(\d{2}):(\d{2})[,.](\d{1,3})"
_CUE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?$")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")


class Extent(NamedTuple):
    """Where a recording lies on its clip's clock, in seconds."""

    recording: str
    start_s: float
    stop_s: float


def narrations_of(clip: Path, suffixes: Sequence[str] = NARRATION_SUFFIXES) -> tuple[Narration, ...]:
    """The narrations that lie beside a clip, on its video's clock; none, if no such file does.

    Args:
        clip: any file of the clip; `walk.mp4` is narrated by `walk.srt`.
        suffixes: endings looked for.

    Raises:
        ValueError: two such files, or one that cannot be understood.
    """
    paths = [path for suffix in suffixes if (path := clip.with_suffix(suffix)).is_file()]
    if len(paths) > 1:
        raise ValueError(f"'{clip.stem}' has its narrations twice, in {paths[0].name} and {paths[1].name}; remove one")
    return read_narrations(paths[0]) if paths else ()


def read_narrations(path: Path) -> tuple[Narration, ...]:
    """Reads narrations, in order of time, from subtitles (`.srt`) or a table (`.csv`) with columns start_s,stop_s,text.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it cannot be understood; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no narrations at '{path}'")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"'{path}' has {size:,} bytes, more than narrations can have: it is some other file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    found = _subtitles(text, path) if path.suffix.lower() == ".srt" else _table(text, path)
    return tuple(sorted(found))


def _subtitles(text: str, path: Path) -> Iterator[Narration]:
    lines = text.splitlines()
    cues = [number for number, line in enumerate(lines) if "-->" in line]
    if not cues and text.strip():
        raise ValueError(f"'{path}' holds no line such as 00:00:01,000 --> 00:00:04,500; it is not a subtitle file")
    for place, number in enumerate(cues):
        cue = _CUE.match(lines[number])
        if cue is None:
            raise ValueError(
                f"line {number + 1} of '{path}' is '{lines[number]}'; expected HH:MM:SS,mmm --> HH:MM:SS,mmm"
            )
        start, stop = (
            3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(rest.ljust(3, "0")) / 1000
            for hours, minutes, seconds, rest in (cue.groups()[:4], cue.groups()[4:])
        )
        end = cues[place + 1] if place + 1 < len(cues) else len(lines)
        words = []
        for line in lines[number + 1 : end]:
            if not line.strip():
                break  # what follows is the next cue's number
            words.append(_MARKUP.sub("", line).strip())
        yield from _checked(start, stop, " ".join(words), f"line {number + 1} of '{path}'")


def _table(text: str, path: Path) -> Iterator[Narration]:
    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    except ValueError as error:  # pandas' own errors are kinds of it
        raise ValueError(f"'{path}' cannot be read as a table: {error}") from error
    if missing := [name for name in ("start_s", "stop_s", "text") if name not in table.columns]:
        raise ValueError(f"'{path}' lacks {', '.join(missing)}; expected the columns start_s,stop_s,text")
    for number, (start, stop, words) in enumerate(
        zip(table["start_s"], table["stop_s"], table["text"], strict=True), 2
    ):
        here = f"row {number} of '{path}'"
        try:
            times = float(start), float(stop)
        except ValueError:
            raise ValueError(f"{here}: '{start}' to '{stop}' are not two numbers of seconds") from None
        yield from _checked(*times, words, here)


def _checked(start_s: float, stop_s: float, text: str, here: str) -> Iterator[Narration]:
    if not (math.isfinite(start_s) and math.isfinite(stop_s) and start_s < stop_s):
        raise ValueError(f"{here}: runs from {start_s:g} s to {stop_s:g} s, which is not forwards")
    if text.strip():
        yield Narration(start_s, stop_s, " ".join(text.split()))


def companions_of(
    pieces: Sequence[Extent],
    footage: Footage | None,
    narrations: Sequence[Narration],
    *,
    clip: str,
    strict: bool = True,
) -> Iterator[Companion]:
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
    if footage is not None:
        start, stop = min(start, footage.start_s), max(stop, footage.stop_s)
        meets = any(footage.start_s < piece.stop_s and footage.stop_s > piece.start_s for piece in pieces)
        last = max(piece.stop_s for piece in pieces)
        if not meets and strict:
            raise ValueError(
                f"the video of '{clip}' runs from {footage.start_s:.1f} s to {footage.stop_s:.1f} s, its motion from "
                f"{min(piece.start_s for piece in pieces):.1f} s to {last:.1f} s: they share no moment; check the offset "
                "between their clocks"
            )
        if meets and strict and footage.stop_s < last - _ENDS_EARLY_S:
            warnings.warn(
                f"the video of '{clip}' ends at {footage.stop_s:.1f} s, its motion at {last:.1f} s: windows after the "
                "video's end have no pictures",
                UserWarning,
                stacklevel=3,
            )
        footage = footage if meets else None
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
        if footage is not None and footage.start_s < piece.stop_s and footage.stop_s > piece.start_s:
            pictures = shifted(footage, -piece.start_s)
        if words or pictures:
            yield Companion(piece.recording, words, pictures)


def shifted(footage: Footage, by_s: float) -> Footage:
    """The same footage on a clock that shows `by_s` more."""
    frames = _Shifted(footage, by_s)
    return Footage(footage.key, footage.start_s + by_s, footage.stop_s + by_s, frames)


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """Footage's `frames` on another clock; it pickles."""

    footage: Footage
    by_s: float

    def __call__(self, times_s: Sequence[float]) -> Iterator:
        return self.footage.frames([time_s - self.by_s for time_s in times_s])


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
