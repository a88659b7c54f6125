"""NHANES-style wrist recordings: free living, without labels; a sample of one person is public.

Card
    people 1 in the sample (75 min); any number of files can be given, each of them a person named by the file
    classes none
    channels acceleration in g, as published
    rate 80 Hz; placement wrist (ActiGraph GT3X+)
    licence the repository's, academic use alone
    source GitHub OxWearables/Oxford_Wearables_Activity_Recognition, `10_cluster_computing/sample.csv.gz`
    cite Belcher et al., "US Population-referenced Percentiles for Wrist-Worn Accelerometer-derived Activity", MSSE 2021

Layout
    `<person>.csv.gz`, columns time,x,y,z; time stamps as `2000-01-07 12:30:00.013`.

Quirks
    Dates are set to the year 2000. Time stamps are cut to milliseconds, so that steps take turns between 12 and 13 ms.
    Files are read piece by piece, as Capture-24's are.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from otolith.data.recording import ACCELEROMETER, Part
from otolith.datasets.capture24 import read_rows
from otolith.datasets.card import Dataset
from otolith.datasets.official import find

RATE_HZ = 80.0
_MEMBER = re.compile(r"(?:^|/)([^/.][^/]*)\.csv\.gz$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """One part a file.

    Args:
        source: a folder, or a zip file, with `*.csv.gz`.
        placement: `wrist`.
        subset: `all`.

    Raises:
        FileNotFoundError: no such file is there.
    """
    del placement, subset
    path, matches = find(source, DATASET, _MEMBER)
    return [Part(match[1], partial(read_rows, path, match.string, match[1], RATE_HZ)) for match in matches]


DATASET = Dataset(
    name="nhanes",
    title="NHANES wrist sample",
    subjects=1,
    classes=(),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER,
    placements=("wrist",),
    licence="academic use",
    origin="GitHub OxWearables/Oxford_Wearables_Activity_Recognition",
    cite="Belcher et al., MSSE 2021",
    expects="<person>.csv.gz with columns time,x,y,z",
    parts=parts,
    terms="https://github.com/OxWearables/Oxford_Wearables_Activity_Recognition",
)
