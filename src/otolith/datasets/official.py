"""Shared functions of the readers of official files: find files, read tables of numbers, turn labels into spans."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.data.recording import Recording, Span
from otolith.data.resample import regular_pieces
from otolith.datasets.card import Dataset
from otolith.storage.files import Archive


def find(source: Path | None, card: Dataset, pattern: re.Pattern[str]) -> tuple[Path, list[re.Match[str]]]:
    """Find the official files in a folder, in a zip file, or in the first zip file of a folder that holds any.

    Args:
        source: path from the user.
        card: card of the corpus, for error messages.
        pattern: regular expression that is searched in the members' names.

    Returns:
        The path to open with `Archive`, and one match per file; `match.string` is the member's name.

    Raises:
        FileNotFoundError: no source is given, or no name in it matches.
        ValueError: a zip file is damaged or unsafe.
    """
    if source is None:
        get = "--download to get them, or --source DIR" if card.remotes else "--source DIR"
        raise FileNotFoundError(f"{card.title} needs its official files: {card.expects}; pass {get}")
    met: list[str] = []
    for path in [source, *sorted(source.glob("*.zip") if source.is_dir() else ())]:
        with Archive(path) as archive:
            names = [
                name for name in archive.names if "__MACOSX" not in name
            ]  # resource forks have the names of the files
        if matches := [match for name in names if (match := pattern.search(name))]:
            return path, matches
        met += names
    raise FileNotFoundError(
        f"{card.title} not found in '{source}': expected {card.expects}; found {', '.join(met[:3]) or 'nothing'}; "
        "pass --source with the folder that holds it"
    )


def numbers(data: bytes, name: str, columns: int, use: Sequence[int] | None = None) -> np.ndarray:
    """Read a table without a header whose values are separated by spaces or tabs.

    Args:
        data: content of the file.
        name: its name, for error messages.
        columns: number of values in every row.
        use: columns to return, in this order; default: all.

    Returns:
        (rows, requested columns), float64. NaN in the file stays NaN.

    Raises:
        ValueError: a value is not a number, or a row has another number of values, as the last row of a truncated file.
    """
    try:
        table = pd.read_csv(io.BytesIO(data), sep=r"\s+", header=None, usecols=use, dtype=np.float64)
    except ValueError as error:  # pandas' errors are subclasses
        raise ValueError(f"'{name}' cannot be read as {columns} columns of numbers: {error}") from error
    space = np.frombuffer(data, np.uint8) <= ord(" ")
    values = np.count_nonzero(space[:-1] & ~space[1:]) + int(not space[0])  # pandas fills short rows with NaN
    if values != len(table) * columns:
        raise ValueError(
            f"'{name}' ({len(data):,} bytes) holds {values:,} values in {len(table):,} rows; expected {columns} in each: "
            "it was truncated or altered; download it again"
        )
    return np.asarray(table[list(use)] if use is not None else table)


def named_numbers(data: bytes, name: str, columns: Sequence[str]) -> np.ndarray:
    """Read columns of a comma-separated table by the names in its header.

    Args:
        data: content of the file, UTF-8 with or without a byte-order mark.
        name: its name, for error messages.
        columns: names of the columns to return, in this order.

    Returns:
        (rows, requested columns), float64. Missing values are NaN.

    Raises:
        ValueError: a column is missing, a value is not a number, or rows hold more values than the header names.
    """
    try:
        table = pd.read_csv(io.BytesIO(data), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"'{name}' cannot be read as numbers: {error}") from error
    names = table.columns.tolist()
    missing = [column for column in columns if column not in names]
    if missing:
        raise ValueError(
            f"'{name}' has {len(names)} columns and lacks {', '.join(missing)}; it is not the official file"
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift every value to its neighbour's column
        raise ValueError(f"the rows of '{name}' hold more values than its header names; download it again")
    return np.asarray(table)[:, [names.index(column) for column in columns]]


def known_labels(values: np.ndarray, known: Iterable[int], name: str) -> np.ndarray:
    """Return label numbers as int64; raise ValueError if the corpus has no such label."""
    known = list(known)
    strange = ~np.isin(values, known)
    if strange.any():
        raise ValueError(
            f"'{name}' has the label {values[strange][0]:g}; expected one of {', '.join(map(str, known))}; "
            "it is not the official file"
        )
    return values.astype(np.int64)


def spans(labels: np.ndarray, names: Mapping[int, str], rate_hz: float) -> tuple[Span, ...]:
    """Return one span for each run of equal labels; numbers that are not in `names` give no span.

    Args:
        labels: (time,) integers, one per time step.
        names: label names by number.
        rate_hz: time steps per second.
    """
    edges = (np.flatnonzero(np.diff(labels)) + 1).tolist()
    return tuple(
        Span(start / rate_hz, stop / rate_hz, names[int(labels[start])])
        for start, stop in pairwise([0, *edges, len(labels)])
        if int(labels[start]) in names
    )


def stamped_recordings(
    name: str,
    time_s: np.ndarray,
    signal: np.ndarray,
    labels: np.ndarray,
    names: Mapping[int, str],
    *,
    rate_hz: float,
    channels: tuple[str, ...],
    subject: str,
    placement: str,
) -> Iterator[Recording]:
    """Yield recordings on a regular clock from rows with time stamps; short gaps are interpolated, long ones split.

    Args:
        name: base name; the recordings are named name/0, name/1 ...
        time_s: (rows,), seconds, in any order.
        signal: (rows, channels) in the units of `UNITS`; rows that hold NaN count as missing.
        labels: (rows,) integers; a time step has the label of the nearest row, even if the signal of that row is missing.
        names: label names by number; other numbers give no span.
        rate_hz: sampling rate of the source.
        channels: names of the channels of the signal.
        subject: the person.
        placement: place of the sensor on the body.

    Raises:
        ValueError: no row is complete.
    """
    pieces = regular_pieces(time_s, signal, rate_hz)
    if not pieces:
        raise ValueError(f"'{name}' holds no row with a time stamp and a complete signal; it is not the official file")
    stamped = np.isfinite(time_s)
    order = np.argsort(time_s[stamped], kind="stable")
    stamps, labels = time_s[stamped][order], labels[stamped][order]
    for number, piece in enumerate(pieces):
        clock = stamps[0] + piece.start_s + np.arange(len(piece.signal)) / rate_hz
        after = np.searchsorted(stamps, clock).clip(max=len(stamps) - 1)
        before = (after - 1).clip(min=0)
        nearest = np.where(clock - stamps[before] <= stamps[after] - clock, before, after)
        yield Recording(
            name=f"{name}/{number}",
            signal=piece.signal,
            rate_hz=rate_hz,
            channels=channels,
            subject=subject,
            placement=placement,
            spans=spans(labels[nearest], names, rate_hz),
        )
