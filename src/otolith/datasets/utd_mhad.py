"""UTD-MHAD: 8 people, 27 short actions, an inertial sensor on the right wrist or the right thigh.

Card
    people 8 (4 female, 4 male); recordings 861 (27 actions x 8 people x 4 trials, three of them missing)
    classes swipe left .. squat, see `ACTIONS`
    channels acceleration in g as published, angular rate in rad/s, published in deg/s
    rate 50 Hz; placement wrist for actions 1 to 21, thigh for 22 to 27
    licence free for research with citation; there is no formal text
    source University of Texas at Dallas, `Inertial.zip`
    cite Chen et al., "UTD-MHAD: A multimodal dataset for human action recognition utilizing a depth camera and a
    wearable inertial sensor", ICIP 2015

Layout
    `Inertial/a<1..27>_s<1..8>_t<1..4>_inertial.mat`, MATLAB 5, variable `d_iner` (time, 6): acceleration x y z (range
    8 g), angular rate x y z (range 1000 deg/s). Optional, read by `multimodal_data` if present:
    `Skeleton/*_skeleton.mat`, `d_skel` (20 joints, 3, frames) in metres, and `Depth/*_depth.mat`, `d_depth` (240, 320,
    frames) in millimetres, 0 outside the person. Colour video is not read.

Quirks
    a8_s1_t4, a23_s6_t4 and a27_s8_t4 are missing in the official release. Recordings last 2 to 7 s. The placement of
    the sensor depends on the action, so with `both` a model could recognise the six leg actions by the orientation of the
    sensor; `wrist` and `thigh` each have one placement. The camera's clock differs from the sensor's: at the nominal rates
    of 50 and 30 Hz, the video would last two thirds of the movement. Both cover the movement from start to end, so the
    frames are spread evenly over the recording.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find
from otolith.formats.matlab import matrices
from otolith.storage.files import Archive, sha256

ACTIONS = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pickup and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
SENTENCES = (
    "a person swipes left",
    "a person swipes right",
    "a person waves",
    "a person claps",
    "a person throws",
    "a person crosses the arms",
    "a person shoots a basketball",
    "a person draws an x",
    "a person draws a circle clockwise",
    "a person draws a circle counter-clockwise",
    "a person draws a triangle",
    "a person is bowling",
    "a person is boxing",
    "a person swings a baseball bat",
    "a person swings a tennis racket",
    "a person curls an arm",
    "a person serves in tennis",
    "a person pushes",
    "a person knocks",
    "a person catches",
    "a person picks up and throws",
    "a person jogs",
    "a person walks",
    "a person sits and then stands up",
    "a person stands and then sits down",
    "a person lunges",
    "a person squats",
)
"""One narration per action."""

RATE_HZ = 50.0
_FIRST_ON_THIGH = 22
_MAX_STEPS = 1_000_000  # hours of data; the longest official file has 326
_MEMBER = re.compile(r"(?:^|/)(a(\d+)_s(\d+)_t(\d+))_inertial\.mat$")
_DEPTH = re.compile(r"(?:^|/)(a\d+_s\d+_t\d+)_depth\.mat$")
_SKELETON = re.compile(r"(?:^|/)(a\d+_s\d+_t\d+)_skeleton\.mat$")
_SHOULDERS, _HIPS = 1, 3  # the Kinect's joints: head, middle of the shoulders, spine, middle of the hips, left arm ...
_MAX_PICTURES = 5_000  # minutes of video; the longest official file has 125 frames
_RENDERING = "grey, person cut out, 1"  # part of the cache key; change it whenever the rendering changes


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person.

    Args:
        source: `Inertial.zip`, the extracted folder, or a folder that holds either.
        placement: `both`, or only the actions with the sensor on the `wrist` or the `thigh`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file has an unknown action.
    """
    del subset
    path, people = _people(source, placement)
    return [Part(f"s{subject}", partial(_read, path, sorted(people[subject]), subject)) for subject in sorted(people)]


class _File(NamedTuple):
    action: int
    trial: int
    name: str
    member: str


def _people(source: Path | None, placement: str) -> tuple[Path, dict[int, list[_File]]]:
    """Return the path to open, and the inertial files of each person in any order."""
    path, matches = find(source, DATASET, _MEMBER)
    people: dict[int, list[_File]] = {}
    for match in matches:
        action, subject, trial = (int(match[group]) for group in (2, 3, 4))
        if not 1 <= action <= len(ACTIONS):
            raise ValueError(f"'{match.string}': unknown action {action}; expected 1 to {len(ACTIONS)}")
        if placement in ("both", _placement(action)):
            people.setdefault(subject, []).append(_File(action, trial, match[1], match.string))
    if not people:
        raise FileNotFoundError(f"'{path}' holds no action with the sensor on the {placement}; pass another placement")
    return path, people


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the multimodal data of each recording: its action as a narration, depth video and the skeleton.

    The narration covers the whole recording. Depth frames (`Depth*.zip` or a folder `Depth`, which may hold only some of
    the trials) are rendered as video: only the person, cropped to one square for the whole recording, near parts bright,
    grey in three equal channels. The skeleton (`Skeleton.zip` or its folder) is a sensor stream `skeleton` of 60 values:
    the displacement of each of 20 joints from its position at the start of the recording, relative to the middle of the
    hips, in trunk lengths. (Displacements are used since postures are too similar: the cosine of two recordings' mean
    postures is 0.97 on average, that of their displacements 0.54. With both, the nearest recording of another person shows
    the same action equally often, in 6 of 10 cases.)

    Args:
        source: as in `parts`; depth and skeleton are found only in a folder that also holds the inertial files.
        placement: as in `parts`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file is damaged.
    """
    del subset
    path, people = _people(source, placement)
    depth, skeletons = _find_optional(source, _DEPTH), _find_optional(source, _SKELETON)
    hashed = sha256(depth[0]) if depth is not None and depth[0].is_file() else ""
    with Archive(path) as archive, Archive(path if skeletons is None else skeletons[0]) as skeleton_archive:
        for subject in sorted(people):
            for action, _, name, member in sorted(people[subject]):
                seconds = len(_signal(archive.read(member), member)) / RATE_HZ
                video_stream, sensor_streams = None, {}
                if depth is not None and name in depth[1]:
                    file = depth[1][name]
                    video_stream = VideoStream(
                        key=f"{hashed or sha256(depth[0] / file)} {file if hashed else ''} {_RENDERING}",
                        start_s=0.0,
                        stop_s=seconds,
                        frames=partial(_frames, depth[0], file, seconds),
                    )
                if skeletons is not None and name in skeletons[1]:
                    file = skeletons[1][name]
                    sensor_streams = {"skeleton": _skeleton(skeleton_archive.read(file), file, seconds)}
                yield MultimodalData(
                    name, (Narration(0.0, seconds, SENTENCES[action - 1]),), video_stream, sensor_streams
                )


def _find_optional(source: Path | None, pattern: re.Pattern[str]) -> tuple[Path, dict[str, str]] | None:
    """Return the path to open for files of another kind, and the file of each recording; None if there are none."""
    try:
        path, matches = find(source, DATASET, pattern)
    except FileNotFoundError:
        return None
    return path, {match[1]: match.string for match in matches}


def _frames(path: Path, member: str, seconds: float, times_s: Sequence[float]) -> Iterator[np.ndarray]:
    """Yield the rendered depth frames at some times of a recording."""
    with Archive(path) as archive:
        depth = _depth(archive.read(member), member)
    pictures = rendered(depth)
    for time_s in times_s:
        yield pictures[min(max(int(time_s / seconds * len(pictures)), 0), len(pictures) - 1)]


def _depth(data: bytes, name: str) -> np.ndarray:
    """Return depth in millimetres, (frames, 240, 320) float32, 0 outside the person."""
    values = matrices(data, name, ["d_depth"], max_bytes=1 << 32).get("d_depth")
    shape = () if values is None else values.shape
    if values is None or len(shape) != 3 or shape[:2] != (240, 320) or not 0 < shape[2] <= _MAX_PICTURES:
        raise ValueError(f"'{name}': variable 'd_depth' has the shape {shape}, expected (240, 320, frames)")
    if not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise ValueError(f"'{name}' holds depths that are negative, not finite, or 0 throughout; download it again")
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def rendered(depth: np.ndarray) -> np.ndarray:
    """Render depth frames as images for an image encoder.

    Args:
        depth: (frames, height, width), millimetres; 0 outside the person.

    Returns:
        (frames, side, side, 3) uint8: the square that contains the person in all frames, with a margin of a twentieth. The
        nearest parts are white, the farthest dark grey, the background black. All frames have the same square and scale,
        so that only the person moves.
    """
    there = depth > 0
    edges = []
    for axis in (1, 2):  # stray points, which occur in single frames, do not belong to the person
        shares = there.any(axis=0).mean(axis=2 - axis)
        inside = np.flatnonzero(shares > 0.01)
        edges.append((int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, depth.shape[axis]))
    side = int(1.1 * max(stop - start for start, stop in edges)) + 1
    top, left = ((start + stop - side) // 2 for start, stop in edges)
    near, far = np.percentile(depth[there], [1, 99]).tolist()
    grey = np.where(there, 255 - 191 * np.clip((depth - near) / max(far - near, 1.0), 0, 1), 0).astype(np.uint8)
    padded = np.pad(grey, ((0, 0), (side, side), (side, side)))
    cut = padded[:, top + side : top + 2 * side, left + side : left + 2 * side]
    return np.repeat(cut[..., None], 3, axis=3)


def _skeleton(data: bytes, name: str, seconds: float) -> SensorStream:
    """Return the joints' displacement since the first frame, relative to the hips, in trunk lengths."""
    joints = matrices(data, name, ["d_skel"]).get("d_skel")
    shape = () if joints is None else joints.shape
    if joints is None or len(shape) != 3 or shape[:2] != (20, 3) or not 0 < shape[2] <= _MAX_PICTURES:
        raise ValueError(f"'{name}': variable 'd_skel' has the shape {shape}, expected (20, 3, frames)")
    trunk = float(np.median(np.linalg.norm(joints[_SHOULDERS] - joints[_HIPS], axis=0)))
    if not (np.isfinite(joints).all() and trunk > 0):
        raise ValueError(f"'{name}' holds joints that are not finite, or a trunk of length 0; download it again")
    pose = (joints - joints[_HIPS]) / trunk
    pose -= pose[..., :1]
    time_s = (np.arange(shape[2]) + 0.5) / shape[2] * seconds
    return SensorStream(time_s, np.ascontiguousarray(pose.transpose(2, 0, 1).reshape(shape[2], 60), dtype=np.float32))


def _placement(action: int) -> str:
    return "wrist" if action < _FIRST_ON_THIGH else "thigh"


def _read(path: Path, files: Sequence[_File], subject: int) -> Iterator[Recording]:
    """Yield one recording per file, sorted by action and trial."""
    with Archive(path) as archive:
        for action, _, name, member in files:
            signal = _signal(archive.read(member), member)
            yield Recording(
                name=name,
                signal=signal,
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER + GYROSCOPE,
                subject=str(subject),
                placement=_placement(action),
                spans=(Span(0.0, len(signal) / RATE_HZ, ACTIONS[action - 1]),),
            )


def _signal(data: bytes, name: str) -> np.ndarray:
    """Return (time, 6) float32: acceleration in g, angular rate in rad/s."""
    values = matrices(data, name, ["d_iner"]).get("d_iner")
    found = "nothing" if values is None else f"{values.dtype} {values.shape}"
    if values is None or values.dtype != np.float64 or values.ndim != 2 or values.shape[1:] != (6,):
        raise ValueError(f"'{name}': variable 'd_iner' is {found}, expected float64 (time, 6); download it again")
    if not 0 < len(values) <= _MAX_STEPS:
        raise ValueError(f"'{name}': variable 'd_iner' is {found}, expected 1 to {_MAX_STEPS:,} time steps")
    values[:, 3:] = np.deg2rad(values[:, 3:])
    return values.astype(np.float32)


DATASET = Dataset(
    name="utd-mhad",
    title="UTD-MHAD",
    subjects=8,
    classes=ACTIONS,
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("both", "wrist", "thigh"),
    licence="research, with citation",
    origin="University of Texas at Dallas",
    cite="Chen et al., ICIP 2015",
    expects="Inertial.zip or Inertial/a<action>_s<person>_t<trial>_inertial.mat",
    parts=parts,
    multimodal_data=multimodal_data,
    remotes=(Remote("https://www.utdallas.edu/~kehtar/UTD-MAD/Inertial.zip", "Inertial.zip"),),
    terms="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
)
