"""myo-readings: muscle signals of the forearm, 8 electrodes of a Myo armband, gestures of the wrist.

Card
    people 38 with the right hand (the first session of 24 was tried); a recording per gesture and session
    classes rest, flexion, extension, radial deviation, ulnar deviation, pronation, supination, fist
    channels EMG of 8 electrodes around the forearm, `emg_1` to `emg_8`; published as signed bytes, here as shares of full
    scale (divided by 128). No accelerometer
    rate about 200 Hz, without a clock; placement forearm (right, thickest part)
    licence MIT
    source GitHub aljazfrancic/myo-readings-dataset

Layout
    `_readings_right_hand/<person>-<session>/<0..7>.txt`, or `_readings_left_hand`: one minute each,
    `e1,...,e8,label` per line. Files with 1 to 7 alternate every 5 s between rest (0) and the gesture; file 0 is rest alone.

Quirks
    Where the electrodes lie differs between people and sessions. Rest "contains various slight movements". The stores of
    Otolith have 50 Hz for motion; this corpus's usual rate is 200 Hz, because muscle signals reach beyond 100 Hz.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from otolith.data.recording import ARMBAND, Part, Recording
from otolith.datasets.card import Dataset
from otolith.datasets.official import find, known_labels, numbers, spans
from otolith.storage.files import Archive

GESTURES = ("rest", "flexion", "extension", "radial deviation", "ulnar deviation", "pronation", "supination", "fist")
RATE_HZ = 200.0
FULL_SCALE = 128.0
_MEMBER = re.compile(r"(?:^|/)_readings_(right|left)_hand/(\d+)-(\d+)/([0-7])\.txt$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person and session.

    Args:
        source: the zip file, the extracted folder, or a folder that holds either.
        placement: `forearm`.
        subset: `right` or `left`.

    Raises:
        FileNotFoundError: the official files are missing, or there are none of this hand.
    """
    del placement
    path, matches = find(source, DATASET, _MEMBER)
    files = sorted((m[2], int(m[3]), int(m[4]), m.string) for m in matches if m[1] == subset)
    if not files:
        raise FileNotFoundError(f"'{path}' has no recordings of the {subset} hand")
    return [
        Part(f"{person}-{session}", partial(_read, path, f"{person}-{session}", person, [name for *_, name in members]))
        for (person, session), members in groupby(files, key=lambda file: file[:2])
    ]


def _read(path: Path, session: str, person: str, members: list[str]) -> Iterator[Recording]:
    """Yield one recording per file."""
    with Archive(path) as archive:
        for member in members:
            table = numbers(archive.read(member).replace(b",", b" "), member, len(ARMBAND) + 1)
            signal, gesture = table[:, :-1], int(Path(member).stem)
            if np.abs(signal).max() > FULL_SCALE:
                raise ValueError(f"'{member}' holds {np.abs(signal).max():g}; expected signed bytes, -128 to 127")
            labels = known_labels(table[:, -1], {0, gesture}, member)
            yield Recording(
                name=f"{session}/{gesture}",
                signal=(signal / FULL_SCALE).astype(np.float32),
                rate_hz=RATE_HZ,
                channels=ARMBAND,
                subject=person,
                placement="forearm",
                spans=spans(labels, dict(enumerate(GESTURES)), RATE_HZ),
            )


DATASET = Dataset(
    name="myo-readings",
    title="myo-readings",
    subjects=38,
    classes=GESTURES,
    rate_hz=RATE_HZ,
    channels=ARMBAND,
    placements=("forearm",),
    licence="MIT",
    origin="GitHub aljazfrancic/myo-readings-dataset",
    cite="GitHub aljazfrancic/myo-readings-dataset",
    expects="myo-readings-dataset.zip or _readings_right_hand/<person>-<session>/<0..7>.txt",
    parts=parts,
    subsets=("right", "left"),
    terms="https://github.com/aljazfrancic/myo-readings-dataset",
    store_rate_hz=RATE_HZ,
)
