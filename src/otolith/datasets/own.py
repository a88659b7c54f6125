"""Own recordings: a folder of recordings in any layout, with labels, videos and narrations where there are any.

Card
    people any number: as the labels file or a column of the tables names them, else the first level of folders, else one
        per file
    classes those of the labels file; none without it
    channels acceleration in g, angular rate in rad/s
    rate that of the recordings; placement own
    licence your own

Layout
    `DIR/[PERSON/]RECORDING`: files of any layout: tables, exports of apps, device files, folders
    or archives with one table per sensor.
    Labels, optional: a table with the columns recording, start, end, label and, where several people were recorded, person:
    the file that `otolith adapt` takes. It may be in the same folder.
    `clip.mp4`, optional: the video of `clip.csv`. `clip.srt` or `clip.narration.csv` (start_s,stop_s,text), optional:
    narrations on the video's clock. `DIR/offsets.toml`, optional: where each video begins on the clock of its motion, in
    seconds from the first row of the table:

        default = 0.0
        "anna/walk" = 1.25     # the first frame of anna/walk.mp4 was taken 1.25 s after the first row of anna/walk.csv

Quirks
    Units, columns and clocks are decided for all files together; each decision is a fact of the recordings, which
    `ReadOptions` overrides. What cannot be decided is refused.
    The subset `accelerometer` leaves the gyroscope out, also where only some of the recordings have one.
    A recording without any label stays in the store unlabelled.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.align import Extent, multimodal_data_of
from otolith.datasets.card import Dataset
from otolith.formats import ReadOptions, Session, Source, Survey, survey
from otolith.formats.day import BY_LENGTH, DayOptions, corrected
from otolith.formats.labels import LabelRow, LabelSpan, find_source, place_labels, read_labels
from otolith.formats.narrations import NARRATION_SUFFIXES, narrations_of
from otolith.formats.options import DEFAULTS
from otolith.formats.source import is_result
from otolith.formats.video import video_stream

OFFSETS = "offsets.toml"
_LEAST_S = 1e-6
_SIX = (
    "Add --subset accelerometer to use the acceleration alone; the default, six channels, needs a gyroscope everywhere"
)


def parts(
    source: Path | None,
    placement: str,
    subset: str,
    *,
    labels: Path | None = None,
    options: ReadOptions = DEFAULTS,
    day: DayOptions = BY_LENGTH,
) -> list[Part]:
    """List one part per file, or per group of files that make one recording.

    Args:
        source: the folder, or one file.
        placement: `own`.
        subset: `all`, or `accelerometer` without the gyroscope.
        labels: the labels file; None: nothing is labelled.
        options: how to read the recordings.
        day: whether recordings are calibrated by gravity, and time in which the device was not worn is left out.

    Raises:
        FileNotFoundError: there is no recording, or no labels file.
        ValueError: a recording cannot be understood, a video has no motion, or a label names no recording.
    """
    del placement
    rows = read_labels(labels) if labels is not None else []
    found = _survey(source, subset, options, labels)
    assert source is not None
    by_source: dict[str, list[LabelRow]] = {}
    for row in rows:
        assert labels is not None
        by_source.setdefault(find_source(row, found.sources, source, labels).name, []).append(row)
    return [
        Part(
            each.name,
            partial(_read, found, each, tuple(by_source.get(each.name, ())), labels, _person(each, source), day),
        )
        for each in found.sources
    ]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the video and narrations of each recording, moved by its offset. Arguments and errors as `parts`.

    Raises:
        ValueError: a video is damaged, or the clocks disagree.
    """
    del placement
    found = _survey(source, subset, DEFAULTS, None)
    assert source is not None
    folder = source if source.is_dir() else source.parent
    known = offsets(folder, [each.name for each in found.sources])
    for each in found.sources:
        yield from paired_with(found, each, offset_s=known.get(each.name, 0.0))


def paired_with(found: Survey, source: Source, *, offset_s: float = 0.0) -> Iterator[MultimodalData]:
    """Yield the video and narrations that belong to one source.

    Args:
        found: of the folder.
        source: one of its sources.
        offset_s: where the video begins, in seconds from the first row of the recording; negative if before it.

    Raises:
        ValueError: the file is damaged, or the clocks disagree.
    """
    video = source.path.with_suffix(".mp4")
    narrations = [Narration(n.start_s + offset_s, n.stop_s + offset_s, n.text) for n in narrations_of(source.path)]
    frames = video_stream(video, offset_s) if video.is_file() else None
    if not narrations and frames is None:
        return
    first = found.read(source)[0]
    extents = [Extent(each.name, each.start_s, each.start_s + each.seconds) for each in first.recordings]
    yield from multimodal_data_of(extents, frames, narrations, clip=source.name)


def offsets(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Return the seconds of a folder's `offsets.toml` by recording; 0 for those it does not name, or its `default`.

    Raises:
        ValueError: it cannot be understood, or names a recording that does not exist.
    """
    path = folder / OFFSETS
    if not path.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from error
    default = found.pop("default", 0.0)
    for name, value in {"default": default, **found}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"'{path}': '{name}' is {value!r}; expected seconds, such as 1.25")
        if name != "default" and name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"'{path}' names '{name}', but there is no such recording{hint}")
    return {name: float(found.get(name, default)) for name in names}


def _survey(source: Path | None, subset: str, options: ReadOptions, labels: Path | None) -> Survey:
    """Look at all recordings of the folder, without narrations, labels and the videos of recordings."""
    if source is None:
        raise FileNotFoundError(f"{DATASET.title} need your files: {DATASET.expects}; pass --source DIR")
    others = [] if labels is None else [labels]
    if source.is_dir():
        videos = [path for path in sorted(source.rglob("*")) if path.suffix.lower() == ".mp4"]
        others += videos
        others += [path for path in source.rglob("*") if path.name.lower().endswith(NARRATION_SUFFIXES)]
        _check_videos([path for path in videos if not _hidden(path, source)], source)
    try:
        return survey([source], options, gyro=subset == "all", exclude=others)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{DATASET.title} not found in '{source}': {error}") from error
    except ValueError as error:
        if subset == "all" and "gyroscope" in str(error):
            raise ValueError(f"{error}. {_SIX}") from error
        raise


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _check_videos(videos: Sequence[Path], source: Path) -> None:
    for path in videos:
        same = [
            other
            for other in path.parent.glob(f"{path.stem}.*")
            if other.suffix.lower() not in (".mp4", ".srt", ".png")
        ]
        if not [one for one in same if not one.name.lower().endswith(NARRATION_SUFFIXES) and not is_result(one)]:
            raise ValueError(
                f"'{path.relative_to(source)}' has no recording of motion with its name, such as {path.stem}.csv; the file "
                "of a GoPro, which contains its motion, is read as the corpus 'gopro'"
            )


def _person(source: Source, folder: Path) -> str:
    """The first level of folders, else the name of the source."""
    inside = source.path.relative_to(folder) if folder.is_dir() else Path(source.path.name)
    return inside.parts[0] if len(inside.parts) > 1 else ""


def _read(
    found: Survey, source: Source, rows: tuple[LabelRow, ...], labels: Path | None, person: str, day: DayOptions
) -> Iterator[Recording]:
    sessions = [corrected(session, day) for session in found.read(source)]
    placed: dict[str, list[LabelSpan]] = {}
    if rows and labels is not None:
        by_name = {row.recording: sessions for row in rows}
        placed = place_labels(rows, by_name, labels, date_order=found.options.date_order)
    for session in sessions:
        if found.gyro and len(session.channels) == 3:
            raise ValueError(f"'{source.name}' has no gyroscope. {_SIX}")
        spans = placed.get(session.name, [])
        subject = _subject(session, spans, person, source)
        for recording in session.recordings:
            yield dataclasses.replace(recording, subject=subject, spans=_inside(spans, recording))


def _subject(session: Session, spans: Sequence[LabelSpan], person: str, source: Source) -> str:
    people = sorted({span.person for span in spans if span.person != session.name})
    if len(people) > 1:
        raise ValueError(
            f"'{session.name}' is labelled with the people {', '.join(people)}; a recording of a corpus is of one person: "
            "cut the file, or name the column of the people (`ReadOptions.subject_column`)"
        )
    return (people[0] if people else session.subject or person or source.name).replace(":", "_")


def _inside(spans: Sequence[LabelSpan], recording: Recording) -> tuple[Span, ...]:
    """The parts of a session's spans that lie inside a recording, in seconds from its first time step."""
    found = []
    for span in spans:
        start = max(span.start_s - recording.start_s, 0.0)
        stop = min(span.end_s - recording.start_s, recording.seconds)
        if stop - start > _LEAST_S:
            found.append(Span(start, stop, span.label))
    return tuple(found)


DATASET = Dataset(
    name="own",
    title="Own recordings",
    subjects=0,
    classes=(),
    rate_hz=50.0,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("own",),
    licence="your own",
    origin="your own",
    cite="-",
    expects="[person/]recording.csv in any layout; optionally its clip.mp4 and clip.srt",
    parts=parts,
    subsets=("all", "accelerometer"),
    multimodal_data=multimodal_data,
)
