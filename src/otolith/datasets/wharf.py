"""WHARF 1.2: 17 people, 14 gestures of daily living, an accelerometer on the right wrist.

Card
    people 17 (f1 .. f6, m1 .. m11); recordings 892, one per trial
    classes brush teeth, climb stairs, comb hair, descend stairs, drink glass, eat meat, eat soup, get up from bed,
    lie down on bed, pour water, sit down on chair, stand up from chair, use telephone, walk
    channels acceleration in g; published as integers 0 .. 63, which represent -1.5 g .. +1.5 g
    rate 32 Hz; placement wrist
    licence research use and modification; redistribution only by agreement with the authors
    source GitHub fulviomas/WHARF
    cite Bruno et al., "A Public Domain Dataset for ADL Recognition Using Wrist-placed Accelerometers", RO-MAN 2014

Layout
    `WHARF Data Set/Data/<Gesture>/Accelerometer-<YYYY-MM-DD-HH-MM-SS>-<gesture>-<person>.txt`, three integers
    per line, separated by spaces; no clock.

Quirks
    `Data/MODELS` holds copies of trials that were shifted to align them; they are left out. People and classes are very
    imbalanced: f1 has 347 of the trials, and only 3 trials show eating soup. One trial of f6 descending stairs
    (2014-03-30) occurs twice, with two times: a split by trial leaks it, a split by person does not. The sensor clips at
    1.5 g.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, Part, Recording, Span
from otolith.datasets.card import Dataset
from otolith.datasets.official import find, numbers
from otolith.storage.files import Archive

GESTURES = {
    "brush_teeth": "brush teeth",
    "climb_stairs": "climb stairs",
    "comb_hair": "comb hair",
    "descend_stairs": "descend stairs",
    "drink_glass": "drink glass",
    "eat_meat": "eat meat",
    "eat_soup": "eat soup",
    "getup_bed": "get up from bed",
    "liedown_bed": "lie down on bed",
    "pour_water": "pour water",
    "sitdown_chair": "sit down on chair",
    "standup_chair": "stand up from chair",
    "use_telephone": "use telephone",
    "walk": "walk",
}
RATE_HZ = 32.0
_TOP = 63  # represents +1.5 g; 0 represents -1.5 g
_MEMBER = re.compile(r"^(?!.*MODELS/).*?([^/]+)/Accelerometer-([\d-]+)-([a-z_]+)-([fm]\d+)\.txt$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person.

    Args:
        source: the zip file, the extracted folder, or a folder that holds either.
        placement: `wrist`.
        subset: `all`.

    Raises:
        FileNotFoundError: the official files are missing.
        ValueError: a file has an unknown gesture, or is in another gesture's folder.
    """
    del placement, subset
    path, matches = find(source, DATASET, _MEMBER)
    people: dict[str, list[tuple[str, str, str]]] = {}
    for match in matches:
        folder, stamp, gesture, person = match.groups()
        if gesture not in GESTURES or folder.lower() != gesture:
            raise ValueError(
                f"'{match.string}': gesture '{gesture}' in folder '{folder}'; "
                f"expected one of {', '.join(GESTURES)}, in the folder of its name"
            )
        people.setdefault(person, []).append((match.string, gesture, f"{gesture}/{stamp}-{person}"))
    order = sorted(people, key=lambda person: (person[0], int(person[1:])))
    return [Part(person, partial(_read, path, people[person], person)) for person in order]


def _read(path: Path, trials: Sequence[tuple[str, str, str]], person: str) -> Iterator[Recording]:
    """Yield one recording per trial."""
    with Archive(path) as archive:
        for member, gesture, name in trials:
            signal = _signal(archive.read(member), member)
            yield Recording(
                name=name,
                signal=signal,
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER,
                subject=person,
                placement="wrist",
                spans=(Span(0.0, len(signal) / RATE_HZ, GESTURES[gesture]),),
            )


def _signal(data: bytes, name: str) -> np.ndarray:
    """Return acceleration, (time, 3) float32, in g."""
    codes = numbers(data, name, 3)
    if not ((codes == np.round(codes)) & (codes >= 0) & (codes <= _TOP)).all():
        raise ValueError(
            f"'{name}' holds values {codes.min():g} .. {codes.max():g}; "
            f"expected integers 0 .. {_TOP}, which represent -1.5 .. +1.5 g"
        )
    return (-1.5 + 3.0 / _TOP * codes).astype(np.float32)


DATASET = Dataset(
    name="wharf",
    title="WHARF",
    subjects=17,
    classes=tuple(GESTURES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER,
    placements=("wrist",),
    licence="research, no redistribution",
    origin="GitHub fulviomas/WHARF",
    cite="Bruno et al., RO-MAN 2014",
    expects="WHARF*.zip or WHARF Data Set/Data/<Gesture>/Accelerometer-<time>-<gesture>-<person>.txt",
    parts=parts,
    terms="https://github.com/fulviomas/WHARF",
)
