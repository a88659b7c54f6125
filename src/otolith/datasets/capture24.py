"""Capture-24: 151 people, about one day each of free living with an accelerometer on the wrist.

Card
    people 151 (P001 .. P151), about 24 h each, 3,883 h in all, about 2,500 h of it annotated
    classes none by default; with a label scheme as subset, that scheme's (Walmsley2020: sleep, sedentary, light,
    moderate-vigorous)
    channels acceleration in g, as published
    rate 100 Hz; placement wrist (Axivity AX3, dominant hand)
    licence CC BY 4.0
    source Oxford University Research Archive, uuid 99d7c092-d865-4a19-b096-cc16440cd001 (6.9 GB)
    cite Chan et al., "CAPTURE-24: A large dataset of wrist-worn activity tracker data collected in the wild for human
    activity recognition", Scientific Data 2024

Layout
    `P001.csv.gz` .. `P151.csv.gz`, columns time,x,y,z,annotation, and `annotation-label-dictionary.csv`, columns
    annotation, label:<scheme>, ...; time stamps as `2016-10-17 03:53:00.010000`.

Quirks
    A participant has 8.6 million rows. They are read `CHUNK_ROWS` at a time and every chunk gives separate recordings,
    so that memory does not grow with the file: a recording lasts 2 h 47 min at most, and a window across the end of a
    chunk is lost (one in 5,000 windows of 2 s). Time before and after the camera was worn has no annotation. Copies of
    the dictionary from before the full release lack annotations; an annotation that is not listed there is an error.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.data.recording import ACCELEROMETER, Part, Recording
from otolith.datasets.card import Dataset, Remote
from otolith.datasets.official import find, stamped_recordings
from otolith.formats.stamps import DAY_NS, NAT, parse
from otolith.storage.files import Archive

RATE_HZ = 100.0
CHUNK_ROWS = 1_000_000
_STAMP = "S64"
SCHEMES = ("Walmsley2020", "Doherty2018", "Willetts2018")
_MEMBER = re.compile(r"(?:^|/)(P\d{3})\.csv\.gz$")
_DICTIONARY = re.compile(r"(?:^|/)annotation-label-dictionary\.csv$")


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part per person.

    Args:
        source: `capture24.zip`, the extracted folder, or a folder that holds either.
        placement: `wrist`.
        subset: `unlabelled`, or the scheme by which the dictionary turns annotations into labels.

    Raises:
        FileNotFoundError: the official files are missing, or the dictionary that a scheme needs.
        ValueError: the dictionary does not contain the scheme.
    """
    del placement
    path, matches = find(source, DATASET, _MEMBER)
    labels = None if subset == "unlabelled" else _labels(path, subset)
    return [Part(match[1], partial(read_rows, path, match.string, match[1], RATE_HZ, labels)) for match in matches]


def _labels(path: Path, scheme: str) -> dict[str, str | None]:
    """Return the label of each annotation in a scheme; None if the scheme has no label for it."""
    with Archive(path) as archive:
        name = next(filter(_DICTIONARY.search, archive.names), None)
        if name is None:
            raise FileNotFoundError(
                f"labels need annotation-label-dictionary.csv, which is not in '{path}'; put it in the folder of "
                "the participants' files, or prepare the subset 'unlabelled'"
            )
        table = pd.read_csv(io.BytesIO(archive.read(name)), dtype=str)
    missing = {"annotation", f"label:{scheme}"} - set(table.columns)
    if missing:
        raise ValueError(f"'{name}' has columns {', '.join(table.columns)}; it lacks {', '.join(sorted(missing))}")
    column = table[f"label:{scheme}"]
    return dict(zip(table["annotation"], column.astype(object).where(column.notna(), None), strict=True))


def read_rows(
    path: Path, member: str, subject: str, rate_hz: float, labels: Mapping[str, str | None] | None = None
) -> Iterator[Recording]:
    """Yield the recordings of a gzip-compressed table of time-stamped acceleration while it is decompressed.

    Args:
        path: folder or zip file that holds the table.
        member: name of the table in `path`; columns time, x, y, z in g, and annotation if `labels` are given.
        subject: the person.
        rate_hz: the rate that the time stamps must show, within a tenth.
        labels: label by annotation, None for an annotation without a label. If not given, only the signal is parsed.

    Yields:
        One recording per segment without gaps, of `CHUNK_ROWS` rows at most.

    Raises:
        ValueError: the file is truncated, damaged, or has another layout or rate, or it holds an annotation that is
            not in `labels`.
    """
    stretch = 0
    for table in _chunks(path, member, annotated=labels is not None):
        if table.empty:  # happens only for the first chunk, if the file is only a header
            raise ValueError(f"'{member}' holds no rows; download it again")
        time_s = _seconds(table["time"], member)
        steps = np.diff(time_s)
        if len(steps) and not 0.9 < np.median(steps) * rate_hz < 1.1:
            raise ValueError(
                f"'{member}': rows come every {np.median(steps):g} s; expected {1 / rate_hz:g} s ({rate_hz:g} Hz)"
            )
        signal = table[["x", "y", "z"]].to_numpy()
        codes, names = (
            _codes(table["annotation"], labels, member) if labels is not None else (np.full(len(table), -1), {})
        )
        # If the clock was set back, the two segments would overlap.
        for rows in np.split(np.arange(len(time_s)), np.flatnonzero(steps < 0) + 1):
            yield from stamped_recordings(
                f"{subject}/{stretch}",
                time_s[rows],
                signal[rows],
                codes[rows],
                names,
                rate_hz=rate_hz,
                channels=ACCELEROMETER,
                subject=subject,
                placement="wrist",
            )
            stretch += 1


def _chunks(path: Path, member: str, *, annotated: bool) -> Iterator[pd.DataFrame]:
    """Yield tables of up to `CHUNK_ROWS` rows. The compressed member of a zip file is held in memory as a whole."""
    columns: dict[str, object] = {"time": _STAMP, "x": np.float32, "y": np.float32, "z": np.float32}
    if annotated:
        columns["annotation"] = "category"
    source: Path | io.BytesIO = path / member
    if not path.is_dir():
        with Archive(path) as archive:
            source = io.BytesIO(archive.read(member))
    try:
        with (
            gzip.open(source) as file,
            pd.read_csv(file, usecols=list(columns), dtype=columns, chunksize=CHUNK_ROWS) as tables,
        ):
            yield from tables
    except (EOFError, zlib.error, OSError, ValueError) as error:
        raise ValueError(
            f"'{member}' cannot be read to its end as gzip-compressed rows {','.join(columns)}: {error}; "
            "download it again"
        ) from error


def _seconds(column: pd.Series, member: str) -> np.ndarray:
    """Return seconds since the first time stamp; an offset from UTC is taken into account where stamps have one."""
    cells = column.to_numpy().astype(_STAMP)
    stamps = parse(cells)
    known = (stamps.clock != NAT) & (stamps.day != NAT)
    if not known.all() or not (stamps.dated and stamps.timed) or stamps.day_month_first is not None:
        row = int(np.argmin(known))
        if not known[row] and cells[row] in (b"", b"nan"):
            raise ValueError(f"'{member}': a row has no time; download it again")
        shown = cells[row].decode("utf-8", "replace")
        raise ValueError(f"'{member}': '{shown}' is no time; expected times such as 2016-10-17 03:53:00.010000")
    instant = stamps.day * DAY_NS + stamps.clock
    if stamps.offset is not None:
        instant = instant - stamps.offset * 60_000_000_000
    seconds: np.ndarray = (instant - instant[0]) / 1e9
    return seconds


def _codes(annotations: pd.Series, labels: Mapping[str, str | None], member: str) -> tuple[np.ndarray, dict[int, str]]:
    """Return the label number of each row (-1: no label), and the labels by number."""
    met = [str(annotation) for annotation in annotations.cat.categories]
    if unknown := [annotation for annotation in met if annotation not in labels]:
        raise ValueError(
            f"'{member}': annotation '{unknown[0]}' is not in annotation-label-dictionary.csv ({len(labels)} rows); "
            "use the dictionary of the same release"
        )
    names = dict(enumerate(dict.fromkeys(label for label in map(labels.get, met) if label is not None)))
    number: dict[str | None, int] = {label: place for place, label in names.items()}
    of_category = [number.get(labels[annotation], -1) for annotation in met]
    return np.array([*of_category, -1])[annotations.cat.codes.to_numpy()], names  # a missing annotation has code -1


DATASET = Dataset(
    name="capture24",
    title="Capture-24",
    subjects=151,
    classes=(),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER,
    placements=("wrist",),
    licence="CC BY 4.0",
    origin="Oxford University Research Archive",
    cite="Chan et al., Sci. Data 2024",
    expects="capture24.zip or P001.csv.gz .. P151.csv.gz with annotation-label-dictionary.csv",
    parts=parts,
    subsets=("unlabelled", *SCHEMES),
    remotes=(
        Remote(
            "https://ora.ox.ac.uk/objects/uuid:99d7c092-d865-4a19-b096-cc16440cd001/files/rpr76f381b",
            "capture24.zip",
        ),
    ),
    terms="https://ora.ox.ac.uk/objects/uuid:99d7c092-d865-4a19-b096-cc16440cd001",
)
