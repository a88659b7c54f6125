"""PAMAP2: 9 people, 12 activities of a protocol and 6 optional ones, sensors on hand, chest and ankle.

Card
    people 9 (`101` .. `109`); files 14: 9 of the protocol, 5 of optional activities
    classes lying, sitting, standing, walking, running, cycling, Nordic walking, ascending stairs, descending stairs,
    vacuum cleaning, ironing, rope jumping; with the subsets `optional` and `both` also watching TV, computer work, car
    driving, folding laundry, house cleaning, playing soccer
    channels acceleration (the +-16 g sensor) in m/s^2, angular rate in rad/s
    rate 100 Hz; placements wrist (the hand sensor, on the dominant wrist), chest, ankle (dominant side)
    licence CC BY 4.0; source UCI 231
    cite Reiss and Stricker, "Introducing a New Benchmarked Dataset for Activity Monitoring", ISWC 2012

Layout
    `PAMAP2_Dataset/{Protocol,Optional}/subject<101..109>.dat`: 54 columns separated by spaces, NaN for missing values.
    From 0: time (s), activity, heart rate, then 17 columns each for hand, chest and ankle: temperature, acceleration
    +-16 g, acceleration +-6 g, angular rate, magnetic field, orientation (invalid).

Quirks
    Wireless sensors drop rows: runs of NaN up to half a second are interpolated, and longer ones split the
    recording. The +-6 g sensor saturates in running and jumping and is not read. Activity 0 is the time between
    activities: it stays in the signal without a label. Person 109's protocol file holds almost only rope jumping, so
    folds without some classes do occur. Heart rate, at about 9 Hz, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, known_labels, numbers, stamped_recordings
from otolith.storage.files import Archive

PROTOCOL = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    24: "rope jumping",
}
OPTIONAL = {
    9: "watching TV",
    10: "computer work",
    11: "car driving",
    18: "folding laundry",
    19: "house cleaning",
    20: "playing soccer",
}
SHA256 = {
    "Protocol/subject101.dat": "80b3fffd089c236ae88098df3b906b8d3c67a858023fe4f75045d78612147266",
    "Protocol/subject102.dat": "468f3c6ba3e6e961f383783665265afbcddbbd33a3a84bba0386b7d0d4e3c632",
    "Protocol/subject103.dat": "5be64631d085e3efc700728395516da3512ff9de17dab30d253508441a98d3f0",
    "Protocol/subject104.dat": "7eb272213cbfe11d9e466a2163b6c9c2ed8d2542fc6f08283fd1bf222cac8994",
    "Protocol/subject105.dat": "7837cfede57fe45ec20d553c6c2b0c498ab324daae23bfd202c0ffea9f71a7f6",
    "Protocol/subject106.dat": "0da1dda3fa56d75d6413fc9198949d3ebc2102d77574cb5fe0739674687609f2",
    "Protocol/subject107.dat": "a02195e9599eb249f79103912d27eb4f62d8a0f59e4763b0dd8250fee5f3f020",
    "Protocol/subject108.dat": "81ce6b21b9c1e01dc02099c4f9387699547b08b28b387d09a56e0cb0a8af22fc",
    "Protocol/subject109.dat": "5109d5cd8334769566b4ae602adf3e5f4bb7b9ee8ca678f0c481d333114b07c7",
    "Optional/subject101.dat": "a8b71371406001ae563acad1d7d946ceacd0afeb51b97bfb9a9cbad95c78e52c",
    "Optional/subject105.dat": "a7c4ccd8d7e8fe21abad8c111229649ec10ca9b353cc29fcc4986c2243301adc",
    "Optional/subject106.dat": "50882fc519f01e8fe200a5a4373daff443e88624d7e8a2d31d759569823fb491",
    "Optional/subject108.dat": "e871b2e5692867f8655b69b769e866927739aa288b9da5cc9a15dc930f154336",
    "Optional/subject109.dat": "a6a8f7521d63fe80bd7f203c5ee1256a2bc8b3772f028ae767256ec1d6a93930",
}
"""SHA-256 of the official files, to check members of an archive after a download. Readers compute no hashes."""
BYTES = {
    "Protocol/subject101.dat": 141_698_539,
    "Protocol/subject102.dat": 207_349_310,
    "Protocol/subject103.dat": 117_863_364,
    "Protocol/subject104.dat": 153_227_482,
    "Protocol/subject105.dat": 173_773_599,
    "Protocol/subject106.dat": 168_263_273,
    "Protocol/subject107.dat": 145_823_268,
    "Protocol/subject108.dat": 190_019_653,
    "Protocol/subject109.dat": 3_891_140,
    "Optional/subject101.dat": 121_246_257,
    "Optional/subject105.dat": 72_521_536,
    "Optional/subject106.dat": 60_905_306,
    "Optional/subject108.dat": 85_403_002,
    "Optional/subject109.dat": 90_594_049,
}
"""Sizes of the official files. A copy with other line ends is valid, so another size alone is not an error."""
RATE_HZ = 100.0
COLUMNS = 54
_FIRST = {"wrist": 3, "chest": 20, "ankle": 37}  # column of each sensor's temperature
_MEMBER = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, SHA256))})$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per file, protocol before optional.

    Args:
        source: the extracted folder, the zip file that holds it, or a folder that holds that.
        placement: `wrist`, `chest` or `ankle`.
        subset: `protocol`, `optional` or `both`.

    Raises:
        FileNotFoundError: there is no official file of that subset.
    """
    path, matches = find(source, DATASET, _MEMBER)
    members = {match[1]: match.string for match in matches}
    wanted = [file for file in SHA256 if file in members and subset in ("both", file.split("/")[0].lower())]
    if not wanted:
        raise FileNotFoundError(f"'{path}' holds no file of the subset '{subset}'; found {', '.join(members)}")
    return [Part(_name(file), partial(_read, path, members[file], file, placement)) for file in wanted]


def _name(file: str) -> str:
    return file.removesuffix(".dat").lower()


def _read(path: Path, member: str, file: str, placement: str) -> Iterator[Recording]:
    first = _FIRST[placement]
    use = [0, 1, *range(first + 1, first + 4), *range(first + 7, first + 10)]
    with Archive(path) as archive:
        data = archive.read(member)
    try:
        table = numbers(data, member, COLUMNS, use)
    except ValueError as error:
        raise ValueError(f"{error} (the official file has {BYTES[file]:,} bytes)") from error
    yield from stamped_recordings(
        _name(file),
        table[:, 0],
        table[:, 2:] / np.repeat([STANDARD_GRAVITY, 1.0], 3),
        known_labels(table[:, 1], [0, *PROTOCOL, *OPTIONAL], member),
        PROTOCOL | OPTIONAL,
        rate_hz=RATE_HZ,
        channels=ACCELEROMETER + GYROSCOPE,
        subject=_name(file)[-3:],
        placement=placement,
    )


DATASET = Dataset(
    name="pamap2",
    title="PAMAP2",
    subjects=9,
    classes=tuple(PROTOCOL.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("wrist", "chest", "ankle"),
    licence="CC BY 4.0",
    origin="UCI 231",
    cite="Reiss and Stricker, ISWC 2012",
    expects="PAMAP2_Dataset.zip or Protocol/subject<101..109>.dat",
    parts=parts,
    subsets=("protocol", "optional", "both"),
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
            "pamap2+physical+activity+monitoring.zip",
            688_226_940,
            "76b3580bd5a804121f507717cb498c66a312ef5c774f4a78ac470e6558add352",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/231/pamap2+physical+activity+monitoring",
)
