"""Ego4D: narrated videos of 931 people's daily life from a head-mounted camera; only those with inertial data.

Card
    people up to 931 (`fb_participant_id` of ego4d.json); more than a quarter of the 9,611 videos have motion
    classes 15 scenarios (`SCENARIOS`); only videos with exactly one scenario are labelled
    channels acceleration in g, published in m/s^2; angular rate in rad/s
    rate about 200 Hz, resampled to 200 Hz; placement head
    licence Ego4D licence, to be signed at ego4ddataset.com
    source ego4d-data.org, parts `imu`, `annotations`, `video_540ss` or `full_scale`
    cite Grauman et al., "Ego4D: Around the World in 3,000 Hours of Egocentric Video", CVPR 2022

Layout
    `ego4d.json`, `[v2/]imu/<video_uid>.csv` (canonical_timestamp_ms, gyro_x..z, accl_x..z among its columns),
    `[v2/]annotations/narration.json` (videos, if present -> video_uid -> narration_pass_1 and _2 -> narrations of
    timestamp_sec and narration_text), `[v2/]{video_540ss,full_scale}/<video_uid>.mp4`

Quirks
    Motion, narrations and video share the canonical clock, which starts at 0 with the video. Rows without a canonical
    time stamp lie outside the video and are left out. The narrations of both passes are used; each belongs to the 5 s
    window around its time (`align.narration_start`). Narrations that begin outside the video are left out. If a video
    names no participant, it counts as a person of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording, Span
from otolith.data.resample import Piece, regular_pieces
from otolith.datasets.align import Extent, multimodal_data_of, narration_start
from otolith.datasets.card import Dataset
from otolith.datasets.egoexo4d import official_json
from otolith.datasets.official import named_numbers
from otolith.formats.video import video_stream

RATE_HZ = 200.0
WINDOW_S = 5.0
SCENARIOS = {
    "Car mechanic": "car mechanic",
    "Carpenter": "carpenter",
    "Cleaning / laundry": "cleaning",
    "Clothes, other shopping": "shopping for clothes",
    "Cooking": "cooking",
    "Crafting/knitting/sewing/drawing/painting": "crafting",
    "Doing yardwork / shoveling snow": "yardwork",
    "Eating": "eating",
    "Farmer": "farming",
    "Grocery shopping indoors": "grocery shopping",
    "Household management - caring for kids": "caring for kids",
    "Playing cards": "playing cards",
    "Practicing a musical instrument": "practising an instrument",
    "Walking on street": "walking on the street",
    "jobs related to construction/renovation company": "construction work",
}
"""Label by official scenario (its first line)."""

_COLUMNS = ("canonical_timestamp_ms", "accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
_MAX_BYTES = 1 << 32  # of a motion table; one day takes two thirds of this


class Video(NamedTuple):
    """A video whose motion table was downloaded."""

    uid: str
    person: str
    scenario: str | None
    seconds: float
    table: Path
    pictures: Path | None


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per video.

    Args:
        source: the folder that holds `ego4d.json`.
        placement: `head`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing, or no video has a motion table.
        ValueError: a file is not the official one.
    """
    del placement, subset
    return [Part(video.uid, partial(_read, video)) for video in videos(source)]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the frames of each video, and its narrations with their windows. Arguments as `parts`.

    Raises:
        ValueError: a file is damaged or not the official one.
    """
    del placement, subset
    listed = videos(source)
    assert source is not None
    said: dict[str, Any] = {}
    for base in _bases(source):
        for name in ("annotations/narration.json", "narration.json"):
            if (base / name).is_file():
                table = official_json(base / name, source)
                said = table.get("videos", table) if isinstance(table, dict) else {}
    for video in listed:
        pieces = _pieces(video)
        extents = [
            Extent(f"{video.uid}/{n}", p.start_s, p.start_s + len(p.signal) / RATE_HZ) for n, p in enumerate(pieces)
        ]
        pictures = video_stream(video.pictures) if video.pictures else None
        yield from multimodal_data_of(extents, pictures, _narrations(video, said), clip=video.uid, strict=False)


def _narrations(video: Video, said: dict[str, Any]) -> list[Narration]:
    found = []
    try:
        for number in (1, 2):
            for row in (said.get(video.uid, {}).get(f"narration_pass_{number}") or {}).get("narrations", ()):
                start = narration_start(float(row["timestamp_sec"]), video.seconds, WINDOW_S)
                if start is not None:
                    found.append(Narration(start, start + WINDOW_S, str(row["narration_text"]).strip()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"narration.json is not laid out as the official file: {error!r}; download it again"
        ) from error
    return sorted(found)


def videos(source: Path | None) -> list[Video]:
    """Return the videos whose motion tables were downloaded, sorted by id. Argument and errors as `parts`."""
    if source is None or not (source / "ego4d.json").is_file():
        where = "" if source is None else f" not found in '{source}':"
        raise FileNotFoundError(f"{DATASET.title}{where} expected {DATASET.expects}; pass --source DIR")
    tables = {path.stem: path for base in _bases(source) for path in sorted((base / "imu").glob("*.csv"))}
    shown = {
        path.stem: path
        for base in _bases(source)
        for folder in ("full_scale", "video_540ss")
        for path in (base / folder).glob("*.mp4")
    }
    found = []
    try:
        for row in official_json(source / "ego4d.json", source)["videos"]:
            if (uid := str(row["video_uid"])) not in tables:
                continue
            scenarios = row.get("scenarios") or []
            alone = str(scenarios[0]).splitlines()[0].strip() if len(scenarios) == 1 else ""
            person = row.get("fb_participant_id")
            found.append(
                Video(
                    uid=uid,
                    person=f"{float(person):g}" if isinstance(person, int | float) else str(person or f"of {uid}"),
                    scenario=SCENARIOS.get(alone),
                    seconds=float(row["duration_sec"]),
                    table=tables[uid],
                    pictures=shown.get(uid),
                )
            )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"'{source / 'ego4d.json'}' is not laid out as the official file: {error!r}") from error
    if not found:
        raise FileNotFoundError(
            f"'{source}' holds no imu/<video_uid>.csv of a video in ego4d.json; download the part imu"
        )
    return sorted(found, key=lambda video: video.uid)


def _bases(source: Path) -> list[Path]:
    """Return the folders that may hold a download: the source itself, and its version folders."""
    return [source, *sorted(path for path in source.glob("v[0-9]*") if path.is_dir())]


def _pieces(video: Video) -> list[Piece]:
    """Return motion on a regular clock; `start_s` of each piece is on the canonical clock."""
    if (size := video.table.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"'{video.table}' has {size:,} bytes; it is not the official file")
    rows = named_numbers(video.table.read_bytes(), video.table.name, _COLUMNS)
    time_s, values = rows[:, 0] / 1000, rows[:, 1:]
    values[:, :3] /= STANDARD_GRAVITY
    whole = np.isfinite(time_s)
    pieces = regular_pieces(time_s[whole], values[whole], RATE_HZ) if whole.any() else []
    if not pieces:
        raise ValueError(f"'{video.table}' holds no row with a canonical time stamp and a complete signal")
    first = float(time_s[whole].min())
    return [Piece(first + piece.start_s, piece.signal) for piece in pieces]


def _read(video: Video) -> Iterator[Recording]:
    for number, piece in enumerate(_pieces(video)):
        yield Recording(
            name=f"{video.uid}/{number}",
            signal=piece.signal,
            rate_hz=RATE_HZ,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=video.person,
            placement="head",
            spans=(Span(0.0, len(piece.signal) / RATE_HZ, video.scenario),) if video.scenario else (),
        )


DATASET = Dataset(
    name="ego4d",
    title="Ego4D",
    subjects=931,
    classes=tuple(SCENARIOS.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("head",),
    licence="Ego4D's own, to be signed",
    origin="ego4d-data.org",
    cite="Grauman et al., CVPR 2022",
    expects="ego4d.json, v2/imu/<video_uid>.csv and v2/annotations/narration.json",
    parts=parts,
    terms="https://ego4ddataset.com/ego4d-license/",
    multimodal_data=multimodal_data,
)
