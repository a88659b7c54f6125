"""LIS alphabet: the letters of the Italian sign language, muscle signals and motion of one armband at once.

Card
    people one, who is not named; recordings on three days of 2020. A day counts as a subject, so that splits are over days
    classes the 26 letters A to Z, 30 gestures of 2 s each
    channels acceleration in g, angular rate in rad/s (published in deg/s), EMG of 8 electrodes as shares of full scale
    (published as signed bytes, divided by 128)
    rate 200 Hz; placement forearm
    licence research and education, cite
    source GitHub airtlab/An-EMG-and-IMU-Dataset-for-the-Italian-Sign-Language-Alphabet
    cite Pacifici et al., Data in Brief 33 (2020) 106455

Layout
    `Dataset/<letter>/<id>.json`: `timestamp` (DD/MM/YY/hh:mm:ss), `duration` 2000, `emg.data` (400 x 8) and `imu.data`
    (400 x {gyroscope, acceleration, orientation}).

Quirks
    A quarter of the motion's rows repeats the one before, because the armband's motion sensor is slower than 200 Hz. A split
    over people is not possible; scores over days say nothing of other people. The letters A to R were recorded on the first
    day and S to Z on the second, 27 times each, and every letter three times on the third, 2020-07-09: testing on the
    third day is the only split over days in which every letter is trained and tested. The orientation is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.multimodal import MultimodalData, SensorStream
from otolith.data.recording import ACCELEROMETER, ARMBAND, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset
from otolith.datasets.official import find
from otolith.storage.files import Archive

RATE_HZ = 200.0
FULL_SCALE = 128.0
FRAME = 20  # time steps of a value of the sensor stream
_MEMBER = re.compile(r"(?:^|/)([A-Z])/([0-9a-f-]{36})\.json$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per letter.

    Args:
        source: the zip file, the extracted folder, or a folder that holds either.
        placement: `forearm`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
    """
    del placement, subset
    path, matches = find(source, DATASET, _MEMBER)
    letters: dict[str, list[str]] = {}
    for match in sorted(matches, key=lambda match: match.string):
        letters.setdefault(match[1], []).append(match.string)
    return [Part(letter, partial(_read, path, letter, letters[letter])) for letter in sorted(letters)]


def _read(path: Path, letter: str, members: list[str]) -> Iterator[Recording]:
    """Yield one recording per gesture."""
    with Archive(path) as archive:
        for member in members:
            day, signal = _gesture(archive.read(member), member)
            yield Recording(
                name=f"{letter}/{Path(member).stem}",
                signal=signal,
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER + GYROSCOPE + ARMBAND,
                subject=day,
                placement="forearm",
                spans=(Span(0.0, len(signal) / RATE_HZ, letter),),
            )


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    """Yield the muscle signals of each gesture as a sensor stream `emg`, for encoders that take motion alone.

    Each of its 20 values of a gesture is `muscle_pattern` of 0.1 s.

    Args:
        source: as in `parts`.
        placement: `forearm`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file is damaged.
    """
    for part in parts(source, placement, subset):
        for recording in part.read():
            frames = muscle_pattern(recording.signal[:, -len(ARMBAND) :], FRAME)
            time_s = (np.arange(len(frames)) + 0.5) * FRAME / RATE_HZ
            yield MultimodalData(recording.name, sensor_streams={"emg": SensorStream(time_s, frames)})


def muscle_pattern(signal: np.ndarray, steps: int) -> np.ndarray:
    """Return which electrodes are how active in each frame.

    These are the mean absolute value and the waveform length of Hudgins, Parker and Scott, IEEE TBME 1993, as logarithms.
    Their mean over the electrodes is subtracted, because all frames would be alike with it: what is left is the pattern
    around the arm, whatever the strength.

    Args:
        signal: (time, electrodes) in shares of full scale.
        steps: time steps per frame; an incomplete last frame is left out.

    Returns:
        (frames, 2 x electrodes) float32.
    """
    count, electrodes = len(signal) // steps, signal.shape[1]
    frames = signal[: count * steps].reshape(count, steps, electrodes).astype(np.float64)
    size, length = np.abs(frames).mean(axis=1), np.abs(np.diff(frames, axis=1)).mean(axis=1)
    logs = np.log(np.stack([size, length], axis=1) + 1 / FULL_SCALE)  # a step of the converter, so that rest is no -inf
    pattern: np.ndarray = (logs - logs.mean(axis=2, keepdims=True)).astype(np.float32)
    return pattern.reshape(count, 2 * electrodes)


def _gesture(data: bytes, name: str) -> tuple[str, np.ndarray]:
    """Return the day as YYYY-MM-DD, and (time, 14): acceleration in g, angular rate in rad/s, EMG in full scale."""
    try:
        found = json.loads(data)
        day, month, year = found["timestamp"].split("/")[:3]
        motion = found["imu"]["data"]
        parts = [
            np.array([row["acceleration"] for row in motion], np.float64),
            np.deg2rad(np.array([row["gyroscope"] for row in motion], np.float64)),
            np.array(found["emg"]["data"], np.float64) / FULL_SCALE,
        ]
        signal = np.concatenate(parts, axis=1).astype(np.float32)
        rates = {found["emg"]["frequency"], found["imu"]["frequency"]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"'{name}' is no gesture of the official layout ({type(error).__name__}: {error})") from error
    if signal.shape[1] != 14 or rates != {RATE_HZ}:
        raise ValueError(f"'{name}' holds {signal.shape[1]} channels at {rates} Hz; expected 14 at {RATE_HZ:g} Hz")
    return f"20{year}-{month}-{day}", signal


DATASET = Dataset(
    name="lis-emg-imu",
    title="LIS alphabet",
    subjects=3,
    classes=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE + ARMBAND,
    placements=("forearm",),
    licence="research and education, with citation",
    origin="GitHub airtlab/An-EMG-and-IMU-Dataset-for-the-Italian-Sign-Language-Alphabet",
    cite="Pacifici et al., Data in Brief 2020",
    expects="italian-sign-language-emg-imu.zip or Dataset/<letter>/<id>.json",
    parts=parts,
    multimodal_data=multimodal_data,
    terms="https://github.com/airtlab/An-EMG-and-IMU-Dataset-for-the-Italian-Sign-Language-Alphabet",
    store_rate_hz=RATE_HZ,
)
