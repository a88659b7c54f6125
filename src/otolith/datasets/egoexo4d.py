"""Ego-Exo4D: skilled activities of 740 people in first- and third-person video, with a description per action.

Card
    people 740 (`participant_uid` of takes.json); takes 5,035
    classes the 8 scenarios of PRIMUS's in-domain task, derived from the take's name (`SCENARIOS`)
    channels acceleration in g, published in m/s^2; angular rate in rad/s
    rate 1000 Hz, read here at 50 Hz; placement right temple (Aria glasses, stream 1202-1)
    licence Ego-Exo4D licence, to be signed at ego4ddataset.com
    source ego-exo4d-data.org, parts `takes`, `take_vrs_noimagestream`, `downscaled_takes/448`, `annotations`
    cite Grauman et al., "Ego-Exo4D: Understanding Skilled Human Activity from First- and Third-Person Perspectives",
    CVPR 2024

Layout
    `takes.json`; `takes/<take_name>/*_noimagestreams.vrs`; `takes/<take_name>/frame_aligned_videos/[downscaled/448/]
    *_214-1.mp4`; `annotations/atomic_descriptions_{train,val}.json`: annotations -> take_uid -> annotators ->
    descriptions of text, timestamp (s). Takes that were not downloaded are left out.

Quirks
    A subset holds the takes with descriptions in that split, `train` by default; `all` holds every take, with or
    without descriptions.
    As in PRIMUS: the take begins with the first time step of 1202-1; the first annotator who was not rejected is used; a
    description belongs to the 5 s window around its time (`align.narration_start`). The window is left out if it leaves
    the take, or if motion ends more than 0.1 s before it. `cutting.cut(..., starts=starts(...))` cuts those windows.
    Unlike PRIMUS: time steps are first put on a regular clock by their time stamps, then the whole take is resampled
    (`resample.resample_sinc`), not each window, which would ring at its edges. Recordings therefore have 50 Hz.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.data.resample import resample_sinc
from otolith.datasets.align import Extent, multimodal_data_of, narration_start
from otolith.datasets.aria import STREAMS, inertial
from otolith.datasets.card import Dataset
from otolith.formats.video import video_stream

RATE_HZ = 50.0
WINDOW_S = 5.0
MISSING_S = 0.1
"""Seconds by which motion may end before the end of a window."""

SCENARIOS = {
    "covid test": ("covidtest", "pcr", "covid"),
    "bike repair": ("bike",),
    "climbing": ("bouldering", "rockclimbing"),
    "ball sports": ("soccer", "basketball"),
    "first aid": ("cpr",),
    "cooking": ("cooking", "omelet", "salad", "sushi"),
    "dance": ("dance",),
    "music": ("music", "guitar", "piano", "violin"),
}
"""Substrings of a take's name, compared in lower case, by class of PRIMUS; the first match in this order is used."""

_MAX_BYTES = 1 << 30  # the largest official file has about a fifth of this


class Take(NamedTuple):
    """A take that was downloaded."""

    uid: str
    name: str
    person: str
    folder: Path
    vrs: Path
    seconds: float


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per take.

    Args:
        source: the folder that holds `takes.json`.
        placement: `right temple`.
        subset: `train`, `val` or `all`.

    Raises:
        FileNotFoundError: the official files are missing, or no take has a VRS file.
        ValueError: a file is not the official one.
    """
    del placement
    return [Part(take.name, partial(_read, take)) for take in takes(source, subset)]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the first-person video of each take, and its descriptions with their windows. Arguments as `parts`.

    Raises:
        ValueError: a file is damaged or not the official one.
    """
    del placement
    said = _descriptions(source, subset)
    for take in takes(source, subset):
        pieces = _extents(take)
        videos = [
            path
            for folder in ("frame_aligned_videos/downscaled/448", "frame_aligned_videos")
            for path in sorted((take.folder / folder).glob("*_214-1.mp4"))
        ]
        words = [
            Narration(start, start + WINDOW_S, text)
            for time_s, text in said.get(take.uid, ())
            if (start := _window(time_s, take.seconds, pieces)) is not None
        ]
        yield from multimodal_data_of(
            pieces, video_stream(videos[0]) if videos else None, words, clip=take.name, strict=False
        )  # fmt: skip


def starts(source: Path | None, subset: str) -> dict[str, tuple[float, ...]]:
    """Return the starts of PRIMUS's windows by recording, in seconds from its first time step; one per description.

    Args:
        source: as in `parts`.
        subset: as in `parts`.
    """
    found: dict[str, tuple[float, ...]] = {}
    said = _descriptions(source, subset)
    for take in takes(source, subset):
        pieces = _extents(take)
        for piece in pieces:
            begins = [
                min(start, piece.stop_s - WINDOW_S) - piece.start_s
                for time_s, _ in said.get(take.uid, ())
                if (start := _window(time_s, take.seconds, [piece])) is not None
            ]
            found[piece.recording] = tuple(max(0.0, begin) for begin in begins)
    return found


def _window(time_s: float, seconds: float, pieces: list[Extent]) -> float | None:
    """Return the start of a description's window in its take; None if no recording contains the window."""
    start = narration_start(time_s, seconds, WINDOW_S)
    if start is None:
        return None
    for piece in pieces:
        long_enough = piece.stop_s - piece.start_s >= WINDOW_S
        if long_enough and piece.start_s - MISSING_S <= start and start + WINDOW_S <= piece.stop_s + MISSING_S:
            return float(start)
    return None


def takes(source: Path | None, subset: str) -> list[Take]:
    """Return the takes of a subset whose motion was downloaded, sorted by name. Arguments and errors as `parts`."""
    root, listed = _root(source), None
    if subset != "all":
        listed = set(
            official_json(root / "annotations" / f"atomic_descriptions_{subset}.json", root).get("annotations", {})
        )
    found = []
    rows = official_json(root / "takes.json", root)
    for row in rows if isinstance(rows, list) else []:
        try:
            uid, name, seconds = str(row["take_uid"]), str(row["take_name"]), float(row["duration_sec"])
            folder = _inside(root, str(row.get("root_dir") or f"takes/{name}"))
            person = row.get("participant_uid")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a take in '{root / 'takes.json'}' has no sound {error}; download it again") from error
        if listed is not None and uid not in listed:
            continue
        if files := sorted(folder.glob("*_noimagestreams.vrs")):
            found.append(
                Take(uid, name, str(person) if person is not None else f"of {name}", folder, files[0], seconds)
            )
    if not found:
        raise FileNotFoundError(
            f"no take of '{root}' (subset {subset}) has a *_noimagestreams.vrs; download the part take_vrs_noimagestream"
        )
    return sorted(found, key=lambda take: take.name)


def _root(source: Path | None) -> Path:
    if source is None or not (source / "takes.json").is_file():
        where = "" if source is None else f" not found in '{source}':"
        raise FileNotFoundError(f"{DATASET.title}{where} expected {DATASET.expects}; pass --source DIR")
    return source


def _inside(root: Path, name: str) -> Path:
    """Return a folder that a table names; raise ValueError if it lies outside the corpus."""
    folder = (root / name).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise ValueError(f"root_dir '{name}', which leaves the corpus's folder")
    return folder


def official_json(path: Path, root: Path) -> Any:
    """Return the content of an official JSON file."""
    if not path.is_file():
        raise FileNotFoundError(f"'{path.relative_to(root)}' is not in '{root}'; download the part annotations")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"'{path}' has {size:,} bytes; it is not the official file")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' cannot be read as JSON: {error}; download it again") from error


def _descriptions(source: Path | None, subset: str) -> Mapping[str, list[tuple[float, str]]]:
    """Return times (s) and texts by take, of the first annotator who was not rejected."""
    root = _root(source)
    found: dict[str, list[tuple[float, str]]] = {}
    for split in (subset,) if subset != "all" else ("train", "val"):
        path = root / "annotations" / f"atomic_descriptions_{split}.json"
        if subset == "all" and not path.is_file():
            continue
        try:
            for uid, annotators in official_json(path, root)["annotations"].items():
                sound = [one for one in annotators if not one.get("rejected")]
                rows = sound[0]["descriptions"] if sound else []
                found[uid] = sorted((float(row["timestamp"]), str(row["text"])) for row in rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"'{path}' is not laid out as the official file: {error!r}; download it again") from error
    return found


def _extents(take: Take) -> list[Extent]:
    _, pieces, rate_hz = inertial(take.vrs, STREAMS["right temple"])
    return [
        Extent(f"{take.name}/{number}", piece.start_s, piece.start_s + len(piece.signal) / rate_hz)
        for number, piece in enumerate(pieces)
    ]


def _read(take: Take) -> Iterator[Recording]:
    _, pieces, rate_hz = inertial(take.vrs, STREAMS["right temple"])
    scenario = scenario_of(take.name)
    for number, piece in enumerate(pieces):
        signal = resample_sinc(piece.signal, rate_hz, RATE_HZ)
        yield Recording(
            name=f"{take.name}/{number}",
            signal=signal,
            rate_hz=RATE_HZ,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=take.person,
            placement="right temple",
            spans=(Span(0.0, len(signal) / RATE_HZ, scenario),) if scenario else (),
        )


def scenario_of(name: str) -> str | None:
    """Return PRIMUS's class of a take by its name; None if the name matches no class."""
    low = name.lower()
    return next((scenario for scenario, marks in SCENARIOS.items() if any(mark in low for mark in marks)), None)


DATASET = Dataset(
    name="egoexo4d",
    title="Ego-Exo4D",
    subjects=740,
    classes=tuple(SCENARIOS),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("right temple",),
    licence="Ego-Exo4D's own, to be signed",
    origin="ego-exo4d-data.org",
    cite="Grauman et al., CVPR 2024",
    expects="takes.json, takes/<take>/*_noimagestreams.vrs and annotations/atomic_descriptions_train.json",
    parts=parts,
    subsets=("train", "val", "all"),
    terms="https://ego4ddataset.com/egoexo-license/",
    multimodal_data=multimodal_data,
)
