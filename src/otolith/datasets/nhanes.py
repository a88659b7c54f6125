"""NHANES-style wrist recordings: free living without labels; a sample of one person is public.

Card
    people 1 in the sample (75 min); any number of files is accepted; each is a person named by the file
    classes none
    channels acceleration in g, as published
    rate 80 Hz; placement wrist (ActiGraph GT3X+)
    licence that of the repository, academic use only
    source GitHub OxWearables/Oxford_Wearables_Activity_Recognition, `10_cluster_computing/sample.csv.gz`
    cite Belcher et al., "US Population-referenced Percentiles for Wrist-Worn Accelerometer-derived Activity", MSSE 2021

Layout
    `<person>.csv.gz`, columns time,x,y,z; time stamps as `2000-01-07 12:30:00.013`.

Quirks
    Dates are set to the year 2000. Time stamps are truncated to milliseconds, so that steps alternate between 12
    and 13 ms. Files are read in chunks, like those of Capture-24.
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
    """Return one part per file.

    Args:
        source: a folder, or a zip file, with `*.csv.gz`.
        placement: `wrist`.
        subset: `all`.

    Raises:
        FileNotFoundError: there is no such file.
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
