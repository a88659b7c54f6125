"""Project Aria: recordings of smart glasses, with two inertial sensors, video and speech.

Card
    people any number; the top-level folder names the person; a file outside such a folder is a person of its own
    classes none; speech or narrations instead
    channels acceleration in g, published in m/s^2; angular rate in rad/s
    rate 1000 Hz at the right temple, 800 Hz at the left
    placement right temple or left temple
    licence yours for your own recordings; published corpora have theirs (Aria Everyday Activities: a research licence)
    source www.projectaria.com; a short test recording at GitHub facebookresearch/projectaria_tools
    cite Engel et al., "Project Aria: A New Tool for Egocentric Multi-Modal AI Research", arXiv 2308.13561

Layout
    `DIR/[PERSON/]NAME.vrs`: streams 1202-1 and 1202-2 (inertial), 214-1 (colour video). The same folder may
    hold `speech.csv` as in Aria Everyday Activities (startTime_ns,endTime_ns,written,confidence; one word per row; device
    time), or `NAME.srt` or `NAME.narration.csv` (start_s,stop_s,text; seconds from the first time step).

Quirks
    Words are joined to utterances: an utterance ends at a full stop or after a second of silence. Speech outside a
    recording is left out, since published excerpts keep the speech of the whole recording.
    Time stamps jitter by 6 %; time steps are resampled to a regular clock. Axes are those of the sensor.
    Gaps longer than half a second end a recording. See `formats.vrs` for the handling of damaged files.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.data.multimodal import MultimodalData, Narration, VideoStream
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording
from otolith.data.resample import Piece, regular_pieces
from otolith.datasets.align import Extent, multimodal_data_of
from otolith.datasets.card import Dataset
from otolith.datasets.gopro import clips
from otolith.formats.narrations import narrations_of
from otolith.formats.vrs import motion, pictures, streams
from otolith.storage.files import sha256

STREAMS = {"right temple": "1202-1", "left temple": "1202-2"}
COLOUR = "214-1"
PAUSE_S = 1.0
"""Silence in seconds that ends an utterance."""


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per VRS file.

    Args:
        source: a folder with VRS files, or one such file.
        placement: `right temple` or `left temple`.
        subset: `all`.

    Raises:
        FileNotFoundError: the source holds no VRS file.
    """
    del subset
    return [
        Part(name, partial(_read, path, name, person, placement))
        for path, name, person in clips(source, DATASET, ".vrs")
    ]


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the video and the speech or narrations of each recording. Arguments as `parts`.

    Raises:
        ValueError: a file is damaged.
    """
    del subset
    for path, name, _ in clips(source, DATASET, ".vrs"):
        first_ns, pieces, rate_hz = inertial(path, STREAMS[placement])
        extents = [Extent(f"{name}/{n}", p.start_s, p.start_s + len(p.signal) / rate_hz) for n, p in enumerate(pieces)]
        speech, words = path.with_name("speech.csv"), narrations_of(path)
        if words and speech.is_file():
            raise ValueError(
                f"'{path}' has narrations in speech.csv and in a file with its own name; remove one of them"
            )
        said = utterances(speech, first_ns) if speech.is_file() else words
        yield from multimodal_data_of(extents, colour(path, first_ns), said, clip=name, strict=bool(words))


def _read(path: Path, name: str, person: str, placement: str) -> Iterator[Recording]:
    _, pieces, rate_hz = inertial(path, STREAMS[placement])
    for number, piece in enumerate(pieces):
        yield Recording(
            name=f"{name}/{number}",
            signal=piece.signal,
            rate_hz=rate_hz,
            channels=ACCELEROMETER + GYROSCOPE,
            subject=person,
            placement=placement,
        )


def inertial(path: Path, stream: str) -> tuple[int, list[Piece], float]:
    """Return an inertial stream on a regular clock, in g and rad/s.

    Returns:
        Device time of the first time step in ns, the pieces, and their rate.

    Raises:
        ValueError: the file is damaged, or holds no complete time step.
    """
    read = motion(path, stream)
    values = read.values.copy()
    values[:, :3] /= STANDARD_GRAVITY
    first_ns = int(read.time_ns[0])
    pieces = regular_pieces((read.time_ns - first_ns) / 1e9, values, read.rate_hz)
    if not pieces:
        raise ValueError(f"'{path}': stream {stream} holds no complete time step; the sensor was off")
    return first_ns, pieces, read.rate_hz


def colour(path: Path, zero_ns: int) -> VideoStream | None:
    """Return the video of the colour camera on a clock that starts at a device time; None if the file has none."""
    found = streams(path).get(COLOUR)
    if found is None:
        return None
    each = (found.last_ns - found.first_ns) / max(1, found.records - 1)
    return VideoStream(
        key=f"{sha256(path)}:{COLOUR}",
        start_s=(found.first_ns - zero_ns) / 1e9,
        stop_s=(found.last_ns + each - zero_ns) / 1e9,
        frames=partial(pictures, path, stream=COLOUR, zero_ns=zero_ns),
    )


def utterances(path: Path, zero_ns: int) -> tuple[Narration, ...]:
    """Read `speech.csv` as utterances, in seconds after a device time; a full stop or a pause ends an utterance.

    Raises:
        ValueError: the table cannot be read.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False)
        words = [str(word).strip() for word in table["written"]]
        times = table[["startTime_ns", "endTime_ns"]].to_numpy(np.float64)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"'{path}' cannot be read: {error}; expected the columns startTime_ns,endTime_ns,written,confidence"
        ) from error
    times = (times - zero_ns) / 1e9
    if not (np.isfinite(times).all() and (times[:, 0] <= times[:, 1]).all() and (np.diff(times[:, 0]) >= 0).all()):
        raise ValueError(f"'{path}': the words' times are not in ascending order")
    found: list[Narration] = []
    ended = True
    for (start, stop), word in zip(times.tolist(), words, strict=True):
        if ended or start - found[-1].stop_s > PAUSE_S:
            found.append(Narration(start, max(stop, start + 1e-3), word))
        else:
            last = found[-1]
            found[-1] = Narration(last.start_s, max(stop, last.stop_s), f"{last.text} {word}")
        ended = word.endswith((".", "?", "!"))
    return tuple(found)


DATASET = Dataset(
    name="aria",
    title="Project Aria",
    subjects=0,
    classes=(),
    rate_hz=1000.0,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("right temple", "left temple"),
    licence="your own, or the corpus's",
    origin="your own Aria, or www.projectaria.com",
    cite="Engel et al., arXiv 2308.13561",
    expects="[person/]name.vrs, with speech.csv or name.srt in the same folder if it is narrated",
    parts=parts,
    terms="https://www.projectaria.com/datasets/",
    multimodal_data=multimodal_data,
)
