"""RealWorld (HAR): 15 people, 8 activities, phones and a watch at seven places on the body.

Card
    people 15 (`1` .. `15`); about 10 minutes of each activity, less of jumping
    classes climbing down, climbing up, jumping, lying, running, sitting, standing, walking
    channels acceleration in m/s^2, angular rate in rad/s
    rate 50 Hz; placements forearm (nearest to a wrist), chest, head, shin, thigh, upperarm, waist
    licence none stated; source University of Mannheim
    cite Sztyler and Stuckenschmidt, "On-body Localization of Wearable Devices", PerCom 2016

Layout
    `proband<1..15>/data/{acc,gyr}_<activity>_csv.zip` inside `realworld2016_dataset.zip`; they hold
    `acc_<activity>_<position>.csv` and `Gyroscope_<activity>_<position>.csv` with the columns id, attr_time (ms),
    attr_x, attr_y, attr_z.

Quirks
    Climbing was interrupted for persons 4, 7 and 14: their archives hold another archive for each session, and file names
    contain the session's number from the second one on. Other files have the number 2 although there is no first one.
    Person 2 has no climbing up at the forearm, person 6 no jumping at the thigh. The two sensors of a device are sampled
    at different times of the same clock: angular rate is interpolated at the time stamps of the acceleration, and times
    at which only one of the sensors ran are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, named_numbers, stamped_recordings
from otolith.storage.files import Archive

ACTIVITIES = {
    "climbingdown": "climbing down",
    "climbingup": "climbing up",
    "jumping": "jumping",
    "lying": "lying",
    "running": "running",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
}
PLACEMENTS = ("forearm", "chest", "head", "shin", "thigh", "upperarm", "waist")
RATE_HZ = 50.0
MAX_GAP_S = 0.5  # the longest gap that `regular_pieces` interpolates
COLUMNS = ("attr_time", "attr_x", "attr_y", "attr_z")
_MEMBER = re.compile(r"(?:^|/)proband(\d+)/(?:.*/)?(acc|Gyroscope)_([a-z]+)(?:_(\d+))?_([a-z]+)\.csv$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person, activity and session, sorted in this order.

    Args:
        source: a folder that holds `proband<1..15>`, with the archives in it extracted.
        placement: one of `PLACEMENTS`.
        subset: `all`.

    Raises:
        FileNotFoundError: there is no official file of that placement, or the angular rate is missing.
        ValueError: an activity is unknown, or a session has two files.
    """
    del subset
    path, matches = find(source, DATASET, _MEMBER)
    sessions: dict[tuple[int, str, int], dict[str, str]] = {}
    for match in matches:
        person, sensor, activity, number, position = match.groups()
        if activity not in ACTIVITIES:
            raise ValueError(f"'{match.string}': unknown activity '{activity}'; expected {', '.join(ACTIVITIES)}")
        if position == placement:
            session = sessions.setdefault((int(person), activity, int(number or 1)), {})
            if sensor in session:
                raise ValueError(f"'{match.string}' and '{session[sensor]}' belong to one session; keep one of them")
            session[sensor] = match.string
    sessions = {key: session for key, session in sessions.items() if "acc" in session}
    if not sessions:
        raise FileNotFoundError(f"'{path}' holds no acc_<activity>_{placement}.csv; found {matches[0].string}")
    for session in sessions.values():
        if "Gyroscope" not in session:
            raise FileNotFoundError(
                f"'{path}' lacks the Gyroscope file that belongs to '{session['acc']}': extract gyr_*.zip too"
            )
    return [
        Part(
            f"proband{person}/{activity}/{number}",
            partial(_read, path, session["acc"], session["Gyroscope"], person, activity, number, placement),
        )
        for (person, activity, number), session in sorted(sessions.items())
    ]


def _read(
    path: Path, acc_member: str, gyro_member: str, person: int, activity: str, number: int, placement: str
) -> Iterator[Recording]:
    with Archive(path) as archive:
        acc, gyro = (_rows(archive.read(member), member) for member in (acc_member, gyro_member))
    # Milliseconds since 1970 are integers; as seconds they would be rounded to a tenth of a microsecond.
    time_s, gyro_s = ((rows[:, 0] - acc[0, 0]) / 1000 for rows in (acc, gyro))
    signal = [acc[:, 1:] / STANDARD_GRAVITY, _interpolated(time_s, gyro_s, gyro[:, 1:])]
    yield from stamped_recordings(
        f"proband{person}/{activity}/{number}",
        time_s,
        np.concatenate(signal, axis=1),
        np.zeros(len(acc), dtype=np.int64),
        {0: ACTIVITIES[activity]},
        rate_hz=RATE_HZ,
        channels=ACCELEROMETER + GYROSCOPE,
        subject=str(person),
        placement=placement,
    )


def _rows(data: bytes, name: str) -> np.ndarray:
    """Return an array (time, 4): milliseconds since 1970 and three axes."""
    rows = named_numbers(data, name, COLUMNS)
    if len(rows) == 0 or not np.isfinite(rows).all():
        raise ValueError(
            f"'{name}' has no rows, or a row with a missing value: it was truncated or altered; download it again"
        )
    return rows


def _interpolated(at_s: np.ndarray, time_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate rows linearly, (time, 3); NaN outside the range of `time_s` and in gaps longer than `MAX_GAP_S`."""
    time_s, first = np.unique(time_s, return_index=True)
    there = [np.interp(at_s, time_s, axis, left=np.nan, right=np.nan) for axis in values[first].T]
    after = np.searchsorted(time_s, at_s).clip(1, max(len(time_s) - 1, 1))
    inside_gap = np.append(np.diff(time_s), 0.0)[after - 1] > MAX_GAP_S
    return np.where(inside_gap[:, None], np.nan, np.stack(there, axis=1))


DATASET = Dataset(
    name="realworld",
    title="RealWorld (HAR)",
    subjects=15,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=PLACEMENTS,
    licence="none stated",
    origin="University of Mannheim",
    cite="Sztyler and Stuckenschmidt, PerCom 2016",
    expects="realworld2016_dataset.zip or proband<1..15>/data/ with acc_<activity>_<position>.csv",
    parts=parts,
    remotes=(
        Remote(
            "http://wifo5-14.informatik.uni-mannheim.de/sensor/dataset/realworld2016/realworld2016_dataset.zip",
            "realworld2016_dataset.zip",
        ),
    ),
    terms="https://www.uni-mannheim.de/dws/research/projects/activity-recognition/dataset/dataset-realworld/",
)
