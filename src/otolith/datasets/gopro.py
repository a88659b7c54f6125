"""GoPro clips: your own MP4 files, in which the camera stored accelerometer and gyroscope together with the video.

Card
    people any number; the top-level folder names the person; otherwise each clip is a person named by its file
    classes none; narrations instead
    channels acceleration in g, published in m/s^2; angular rate in rad/s
    rate measured from the file: about 200 Hz, on HERO5 400 Hz for the angular rate
    placement camera
    licence yours
    source HERO5 and later, Fusion and MAX; the format is GPMF, github.com/gopro/gpmf-parser

Layout
    `DIR/[PERSON/]CLIP.MP4`. The same folder may hold narrations on the video's clock: `CLIP.srt` (subtitles), or
    `CLIP.narration.csv` or `CLIP.csv` (start_s,stop_s,text). Telemetry is a separate stream of the MP4 file, in payloads
    of about one second.

Quirks
    Axes are converted to x right, y forward, z up of the camera. Newer cameras store a matrix (MTRX) and the names of its
    rows (ORIO), or an order (ORIN); older ones write the order into the stream's name.
    Clocks: a payload's duration says when it was written, not when its time steps were measured, and the last payload
    declares one second although it may hold 14 of 199 time steps. Each sensor's clock is therefore a straight line fitted
    through (time steps before a payload, start of the payload). HERO5's gyroscope has twice the rate of its accelerometer:
    the slower sensor is interpolated by a cubic spline at the time steps of the faster one.
    The subset `accelerometer` also reads clips without a gyroscope.
    Chapters of one long take (GX01.., GX02..) are separate clips. The sizes that payloads declare are checked first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from otolith.data.multimodal import MultimodalData
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording
from otolith.datasets.align import Extent, multimodal_data_of
from otolith.datasets.card import Dataset
from otolith.formats.gpmf import telemetry
from otolith.formats.narrations import NARRATION_SUFFIXES, narrations_of
from otolith.formats.video import video_stream


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per clip.

    Args:
        source: a folder with MP4 files, or one such file.
        placement: `camera`.
        subset: `all`, or `accelerometer` for clips without a gyroscope.

    Raises:
        FileNotFoundError: the source holds no MP4 file.
    """
    del placement
    return [Part(name, partial(_read, path, name, person, subset)) for path, name, person in clips(source, DATASET)]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the video and narrations of each clip. Arguments as `parts`.

    Raises:
        ValueError: a clip is damaged, or its narrations lie outside it.
    """
    del placement
    for path, name, _ in clips(source, DATASET):
        motion = telemetry(path, gyroscope=subset == "all")
        stop = motion.start_s + len(motion.signal) / motion.rate_hz
        words = narrations_of(path, (*NARRATION_SUFFIXES, ".csv"))
        yield from multimodal_data_of([Extent(name, motion.start_s, stop)], video_stream(path), words, clip=name)


def clips(source: Path | None, card: Dataset, suffix: str = ".mp4") -> list[tuple[Path, str, str]]:
    """Return the path, name (relative to the source, without suffix) and person of each clip, sorted by name.

    The person is the top-level folder, or the file's stem for a file outside such folders.

    Raises:
        FileNotFoundError: there is no clip.
    """
    if source is None:
        raise FileNotFoundError(f"{card.title} needs your files: {card.expects}; pass --source DIR")
    if source.is_file() and source.suffix.lower() == suffix:
        return [(source, source.stem, source.stem)]
    found = []
    for path in sorted(source.rglob("*")) if source.is_dir() else []:
        inside = path.relative_to(source)
        if path.suffix.lower() == suffix and path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found.append(
                (path, inside.with_suffix("").as_posix(), inside.parts[0] if len(inside.parts) > 1 else path.stem)
            )
    if not found:
        here = sorted(path.name for path in source.iterdir())[:3] if source.is_dir() else [source.name]
        raise FileNotFoundError(
            f"{card.title} not found in '{source}': expected {card.expects}; found {', '.join(here) or 'nothing'}"
        )
    return found


def _read(path: Path, name: str, person: str, subset: str) -> Iterator[Recording]:
    motion = telemetry(path, gyroscope=subset == "all")
    yield Recording(
        name=name,
        signal=motion.signal,
        rate_hz=motion.rate_hz,
        channels=ACCELEROMETER + (GYROSCOPE if subset == "all" else ()),
        subject=person,
        placement="camera",
    )


DATASET = Dataset(
    name="gopro",
    title="GoPro clips",
    subjects=0,
    classes=(),
    rate_hz=200.0,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("camera",),
    licence="your own",
    origin="your own GoPro",
    cite="-",
    expects="[person/]clip.mp4 as the camera wrote it, and clip.srt or clip.csv (start_s,stop_s,text) if it is narrated",
    parts=parts,
    subsets=("all", "accelerometer"),
    terms="https://github.com/gopro/gpmf-parser",
    multimodal_data=multimodal_data,
)
