"""Read narrations: SubRip subtitles and tables of start, stop and text."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from otolith.data.multimodal import Narration

NARRATION_SUFFIXES = (".srt", ".narration.csv")
"""Suffixes of files with narrations; the rest of the file's name is that of the clip."""

_MAX_BYTES = 1 << 26  # a day of narrations takes less than a hundredth of this
_STAMP = r"(\d{1,3}):(\d{2}):(\d{2})[,.](\d{1,3})"
_CUE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?$")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")


def narrations_of(clip: Path, suffixes: Sequence[str] = NARRATION_SUFFIXES) -> tuple[Narration, ...]:
    """Read the narrations in the file with a clip's name, on the video's clock; empty if there is no such file.

    Args:
        clip: any file of the clip; the narrations of `walk.mp4` are in `walk.srt`.
        suffixes: suffixes of files with narrations.

    Raises:
        ValueError: there are two such files, or one that cannot be read.
    """
    paths = [path for suffix in suffixes if (path := clip.with_suffix(suffix)).is_file()]
    if len(paths) > 1:
        raise ValueError(f"'{clip.stem}' has two files of narrations, {paths[0].name} and {paths[1].name}; remove one")
    return read_narrations(paths[0]) if paths else ()


def read_narrations(path: Path) -> tuple[Narration, ...]:
    """Read narrations, sorted by time, from subtitles (`.srt`) or a table (`.csv`) with columns start_s,stop_s,text.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be read; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no narrations at '{path}'")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"'{path}' has {size:,} bytes, more than narrations can have: it is another kind of file")
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
                break  # the next cue's number follows
            words.append(_MARKUP.sub("", line).strip())
        yield from _checked(start, stop, " ".join(words), f"line {number + 1} of '{path}'")


def _table(text: str, path: Path) -> Iterator[Narration]:
    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    except ValueError as error:  # pandas' errors are subclasses
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
        raise ValueError(f"{here}: runs from {start_s:g} s to {stop_s:g} s, but start must be before stop")
    if text.strip():
        yield Narration(start_s, stop_s, " ".join(text.split()))
