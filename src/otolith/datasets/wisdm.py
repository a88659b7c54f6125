"""WISDM-51: 51 people, 18 activities of about three minutes each, a watch on the wrist and a phone in the pocket.

Card
    people 51 (1600 .. 1650); one file per person and device
    classes walking, jogging, stairs, sitting, standing, typing, brushing teeth, eating soup, eating chips, eating pasta,
    drinking, eating sandwich, kicking, playing catch, dribbling, writing, clapping, folding clothes
    channels acceleration in g, published in m/s^2. The full release has gyroscope files, which have separate clocks;
    they are left out
    rate 20 Hz; placement wrist (LG G Watch, dominant hand) or pocket (phone)
    licence CC BY 4.0
    source UCI Machine Learning Repository, data set 507
    cite Weiss et al., "Smartphone and Smartwatch-Based Biometrics Using Activities of Daily Living", IEEE Access 2019

Layout
    `wisdm-dataset/raw/{phone,watch}/accel/data_<id>_accel_{phone,watch}.txt`, lines `id,code,timestamp_ns,x,y,z;` with
    codes A to S except N.

Quirks
    Time stamps are nanoseconds since the device started: they jump forwards and backwards by hours between activities,
    so activities are separated before their rows are put on a regular clock. Some people lack activities (1616 has no
    jogging, 1618 no catch). In 14 of the 430 watch activities of the first 24 people, the watch switched to 100 Hz for
    some seconds, with gaps of 0.2 to 0.3 s. Such an activity is put on the faster clock: decimation here would alias,
    whereas `prepare` filters. The reader was not tested on the phones' official files.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.data.recording import ACCELEROMETER, STANDARD_GRAVITY, Part, Recording, Span
from otolith.data.resample import regular_pieces
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find
from otolith.storage.files import Archive

ACTIVITIES = {
    "A": "walking",
    "B": "jogging",
    "C": "stairs",
    "D": "sitting",
    "E": "standing",
    "F": "typing",
    "G": "brushing teeth",
    "H": "eating soup",
    "I": "eating chips",
    "J": "eating pasta",
    "K": "drinking",
    "L": "eating sandwich",
    "M": "kicking",
    "O": "playing catch",
    "P": "dribbling",
    "Q": "writing",
    "R": "clapping",
    "S": "folding clothes",
}
DEVICES = {"wrist": "watch", "pocket": "phone"}
RATE_HZ = 20.0
_MAX_RATE_HZ = 500  # more rows per second than any such device records
_MAX_GAP_S = 0.5
_COLUMNS = {"id": np.int64, "code": str, "time_ns": np.int64, "x": np.float64, "y": np.float64, "z": np.float64}


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person.

    Args:
        source: `wisdm-dataset.zip`, the extracted folder, or a folder that holds either.
        placement: `wrist` (the watch) or `pocket` (the phone).
        subset: `all`.

    Raises:
        FileNotFoundError: there is no official file of that placement.
    """
    del subset
    device = DEVICES[placement]
    path, matches = find(source, DATASET, re.compile(rf"(?:^|/)data_(\d+)_accel_{device}\.txt$"))
    return [Part(match[1], partial(_read, path, match.string, match[1], placement)) for match in matches]


def _read(path: Path, member: str, subject: str, placement: str) -> Iterator[Recording]:
    """Yield one recording per gap-free segment of an activity, in the file's order."""
    with Archive(path) as archive:
        table = _table(archive.read(member), member, subject)
    time_s = (table["time_ns"] - table["time_ns"].min()).to_numpy() / 1e9  # subtract integers: floats are exact to 2^53
    codes = table["code"].to_numpy()
    signal = table[["x", "y", "z"]].to_numpy() / STANDARD_GRAVITY
    # Within an activity the clock can still be set back, if a recording was restarted.
    cuts = np.flatnonzero((codes[1:] != codes[:-1]) | (np.diff(time_s) < -_MAX_GAP_S)) + 1
    pieces: Counter[str] = Counter()
    for rows in np.split(np.arange(len(codes)), cuts):
        code = codes[rows[0]]
        rate_hz = _rate_hz(time_s[rows], f"'{member}', activity {code}")
        for piece in regular_pieces(time_s[rows], signal[rows], rate_hz, _MAX_GAP_S):
            yield Recording(
                name=f"{subject}/{code}/{pieces[code]}",
                signal=piece.signal,
                rate_hz=rate_hz,
                channels=ACCELEROMETER,
                subject=subject,
                placement=placement,
                spans=(Span(0.0, len(piece.signal) / rate_hz, ACTIVITIES[code]),),
            )
            pieces[code] += 1


def _table(data: bytes, name: str, subject: str) -> pd.DataFrame:
    """Return the rows of a file, with the columns of `_COLUMNS`."""
    try:  # the semicolon at the end of a line is read as the start of a comment
        table = pd.read_csv(io.BytesIO(data), header=None, comment=";", names=list(_COLUMNS), dtype=_COLUMNS)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"'{name}' cannot be read as lines id,code,timestamp,x,y,z;: {error}") from error
    if table.empty or not data.rstrip().endswith(b";"):
        raise ValueError(f"'{name}' does not end with a complete line id,code,timestamp,x,y,z;; download it again")
    if unknown := sorted(set(table["code"].fillna("none")) - set(ACTIVITIES)):
        raise ValueError(f"'{name}': unknown activity {', '.join(unknown)}; expected {', '.join(ACTIVITIES)}")
    if (others := table["id"][table["id"] != int(subject)]).size:
        raise ValueError(f"'{name}' holds rows of person {others.iloc[0]}; expected only {subject}")
    return table


def _rate_hz(time_s: np.ndarray, where: str) -> float:
    """Return the nominal 20 Hz, or the number of rows in the densest second of an activity if that is much larger."""
    stamps = np.unique(time_s)
    densest = int(np.unique(np.floor(stamps), return_counts=True)[1].max())
    if densest > _MAX_RATE_HZ or (len(stamps) > 1 and np.median(np.diff(stamps)) > _MAX_GAP_S):
        raise ValueError(
            f"{where}: {densest} rows in the densest second; expected about {RATE_HZ:g} by time stamps in nanoseconds"
        )
    return RATE_HZ if densest < 1.5 * RATE_HZ else float(densest)


DATASET = Dataset(
    name="wisdm",
    title="WISDM-51",
    subjects=51,
    classes=tuple(ACTIVITIES.values()),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER,
    placements=tuple(DEVICES),
    licence="CC BY 4.0",
    origin="UCI data set 507",
    cite="Weiss et al., IEEE Access 2019",
    expects="wisdm-dataset.zip or wisdm-dataset/raw/{phone,watch}/accel/data_<id>_accel_{phone,watch}.txt",
    parts=parts,
    remotes=(
        Remote(
            "https://archive.ics.uci.edu/static/public/507/"
            "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip",
            "wisdm-dataset.zip",
        ),
    ),
    terms="https://archive.ics.uci.edu/dataset/507/wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset",
)
