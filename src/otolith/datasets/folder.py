"""A folder of one's own: motion as a table, and beside it a video and what happens in it, in words.

Card
    people any number; the folder's first level names them, else each clip is a person named by its file
    classes none; narrations in words instead
    channels acceleration in g, angular rate in rad/s, as the columns are named
    rate the table's own, by the median of its steps; placement own
    licence one's own

Layout
    `DIR/[PERSON/]CLIP.csv`: a header, time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z, in any order, other columns left out;
    `CLIP.mp4`, optional: its pictures; `CLIP.srt` or `CLIP.narration.csv` (start_s,stop_s,text), optional: what happens,
    on the video's clock. `DIR/offsets.toml`, optional, says where each video begins on its motion's clock, in seconds
    from the table's first row:

        default = 0.0
        "anna/walk" = 1.25     # the first picture of anna/walk.mp4 was taken 1.25 s after the first row of anna/walk.csv

Quirks
    Units are not guessed: a table in m/s^2 or deg/s is refused, and the message says what to divide by.
    The subset `accelerometer` reads tables without a gyroscope too.
    Rows are laid on a regular clock; gaps longer than half a second end a recording.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording
from otolith.data.resample import Piece, regular_pieces
from otolith.datasets.align import Extent, multimodal_data_of
from otolith.datasets.card import Dataset
from otolith.datasets.gopro import clips
from otolith.datasets.official import named_numbers
from otolith.formats.narrations import narrations_of
from otolith.formats.video import video_stream

OFFSETS = "offsets.toml"
_MAX_BYTES = 1 << 32
_NARRATION = ".narration"


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """One part a table.

    Args:
        source: the folder.
        placement: `own`.
        subset: `all`, or `accelerometer` for tables without a gyroscope.

    Raises:
        FileNotFoundError: no table is there.
        ValueError: a video without a table, or offsets that cannot be understood.
    """
    del placement
    return [Part(name, partial(_read, path, name, person, subset)) for path, name, person in _tables(source)]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Each clip's pictures and narrations, moved by its offset. Arguments and errors as `parts`.

    Raises:
        ValueError: a clip is damaged, or its clocks disagree.
    """
    del placement
    assert source is not None or not _tables(source)
    names = [name for _, name, _ in _tables(source)]
    known = offsets(source, names) if source is not None and source.is_dir() else {}
    for path, name, _ in _tables(source):
        yield from beside(path, name, offset_s=known.get(name, 0.0), gyroscope=subset == "all")


def beside(table: Path, name: str, *, offset_s: float = 0.0, gyroscope: bool = True) -> Iterator[MultimodalData]:
    """What lies beside one table.

    Args:
        table: of the motion.
        name: of the clip; its recordings are called name/0, name/1 ...
        offset_s: where the video begins, in seconds from the table's first row; negative, if before it.
        gyroscope: whether the table has to have one.
    """
    pieces, rate_hz = read_table(table, gyroscope=gyroscope)
    extents = [Extent(f"{name}/{n}", p.start_s, p.start_s + len(p.signal) / rate_hz) for n, p in enumerate(pieces)]
    video = table.with_suffix(".mp4")
    said = [Narration(n.start_s + offset_s, n.stop_s + offset_s, n.text) for n in narrations_of(table)]
    pictures = video_stream(video, offset_s) if video.is_file() else None
    yield from multimodal_data_of(extents, pictures, said, clip=name)


def _tables(source: Path | None) -> list[tuple[Path, str, str]]:
    """The tables of motion: `clips`, less those of narrations."""
    found = [clip for clip in clips(source, DATASET, ".csv") if Path(clip[1]).suffix != _NARRATION]
    names = {name for _, name, _ in found}
    if source is not None and source.is_dir():
        for path in sorted(source.rglob("*.mp4")):
            name = path.relative_to(source).with_suffix("").as_posix()
            if name not in names and not any(part.startswith(".") for part in Path(name).parts):
                raise ValueError(
                    f"'{path}' has no motion beside it: expected {path.with_suffix('.csv').name} with "
                    f"{', '.join(_columns())}; a GoPro's own file carries its motion, read it as the corpus 'gopro'"
                )
    if not found:
        raise FileNotFoundError(f"'{source}' holds narrations but no table of motion: expected {DATASET.expects}")
    return found


def _columns(gyroscope: bool = True) -> tuple[str, ...]:
    return ("time_s", *ACCELEROMETER, *(GYROSCOPE if gyroscope else ()))


def offsets(folder: Path, names: list[str]) -> dict[str, float]:
    """Seconds by clip from a folder's `offsets.toml`; 0 for those it does not name, or its `default`.

    Raises:
        ValueError: it cannot be understood, or names a clip that is not there.
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
            raise ValueError(
                f"'{path}' names '{name}', but there is no such clip{f'; is it {near[0]}?' if near else ''}"
            )
    return {name: float(found.get(name, default)) for name in names}


def read_table(path: Path, *, gyroscope: bool = True) -> tuple[list[Piece], float]:
    """Motion on a regular clock, and its rate.

    Raises:
        ValueError: the table lacks a column, holds no whole row, or is in other units.
    """
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"'{path}' has {size:,} bytes, more than {_MAX_BYTES:,}; cut it into pieces")
    try:
        rows = named_numbers(path.read_bytes(), path.name, _columns(False))
        if gyroscope:
            rows = named_numbers(path.read_bytes(), path.name, _columns())
    except ValueError as error:
        if "gyro_" in str(error):
            raise ValueError(
                f"'{path}' has no gyroscope ({', '.join(GYROSCOPE)}). Six channels need one; every encoder takes three when "
                "it is pretrained on three: read it with --subset accelerometer"
            ) from error
        raise ValueError(
            f"{str(error).removesuffix('; it is not the official file')}; expected {DATASET.expects}"
        ) from error
    time_s, values = rows[:, 0], rows[:, 1:]
    whole = np.isfinite(rows).all(axis=1)
    step_s = np.diff(np.unique(time_s[whole]))
    if np.count_nonzero(whole) < 2 or not len(step_s):
        raise ValueError(f"'{path}' holds fewer than two whole rows with different times")
    rate_hz = float(1 / np.median(step_s))
    if not 1 <= rate_hz <= 10_000:
        raise ValueError(f"the times of '{path}' step by {np.median(step_s):g} in the median; time_s is in seconds")
    size_g = float(np.median(np.linalg.norm(values[whole, :3], axis=1)))
    if not 0.3 < size_g < 3:
        raise ValueError(
            f"the acceleration of '{path}' is {size_g:.3g} in the median, where gravity alone makes 1 g: divide m/s^2 by "
            "9.80665 or mg by 1000, and write total acceleration, with gravity in it"
        )
    if gyroscope and (peak := float(np.percentile(np.abs(values[whole, 3:]), 99.9))) > 35:
        raise ValueError(
            f"the angular rate of '{path}' reaches {peak:.3g} rad/s: multiply it by pi/180 if it is in deg/s"
        )
    return regular_pieces(time_s, values, rate_hz), rate_hz


def _read(path: Path, name: str, person: str, subset: str) -> Iterator[Recording]:
    pieces, rate_hz = read_table(path, gyroscope=subset == "all")
    for number, piece in enumerate(pieces):
        yield Recording(
            name=f"{name}/{number}",
            signal=piece.signal,
            rate_hz=rate_hz,
            channels=ACCELEROMETER + (GYROSCOPE if subset == "all" else ()),
            subject=person,
            placement="own",
        )


DATASET = Dataset(
    name="own",
    title="A folder of one's own",
    subjects=0,
    classes=(),
    rate_hz=50.0,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("own",),
    licence="your own",
    origin="your own",
    cite="-",
    expects="[person/]clip.csv (time_s,acc_x..acc_z in g,gyro_x..gyro_z in rad/s), and clip.mp4, clip.srt beside it",
    parts=parts,
    subsets=("all", "accelerometer"),
    multimodal_data=multimodal_data,
)
