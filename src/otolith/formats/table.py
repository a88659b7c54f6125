"""Read recordings from text tables."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY
from otolith.data.resample import Piece, regular_pieces

AccUnit = Literal["g", "m/s2", "mg"]
GyroUnit = Literal["rad/s", "deg/s"]
_PER_G = {"g": 1.0, "m/s2": STANDARD_GRAVITY, "mg": 1000.0}
_PER_RAD = {"rad/s": 1.0, "deg/s": 180 / np.pi}
_TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_RATES = (4.0, 2000.0)  # Hz: what a time column may mean

_TIME = re.compile(r"^(t|time.*|timestamp.*|date.*|epoch.*|seconds.*|elapsed.*|.*_time|.*timestamp)$")
_AXES = {
    "acc": re.compile(r"^(?:a|acc|accel|acceleration|accelerometer|lacc|wrist_acc)?[ _.\-]?([xyz])(?:[ _(\[].*)?$"),
    "gyro": re.compile(r"^(?:g|w|gyr|gyro|gyroscope|rot|rotation|rotationrate|omega)[ _.\-]?([xyz])(?:[ _(\[].*)?$"),
}


@dataclasses.dataclass(frozen=True)
class Columns:
    """How to read a file; whatever is None is guessed.

    Args:
        time: column of time stamps.
        acc: the accelerometer's three columns, x y z.
        gyro: the gyroscope's.
        acc_unit: `g`, `m/s2` or `mg`.
        gyro_unit: `rad/s` or `deg/s`.
        time_unit: `s`, `ms`, `us` or `ns`, for time stamps that are numbers.
        rate_hz: time steps per second, for a file without a usable clock.
    """

    time: str | None = None
    acc: tuple[str, ...] | None = None
    gyro: tuple[str, ...] | None = None
    acc_unit: AccUnit | None = None
    gyro_unit: GyroUnit | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    rate_hz: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """A file as it was understood.

    Attributes:
        pieces: gap-free stretches at `rate_hz`, in g and rad/s.
        rate_hz: the file's own rate.
        channels: columns of the pieces.
        start: time of the first row, where the file has dates; else None.
        seconds: from first to last row.
        notes: what was taken and what was guessed, a sentence each.
    """

    pieces: list[Piece]
    rate_hz: float
    channels: tuple[str, ...]
    start: pd.Timestamp | None
    seconds: float
    notes: tuple[str, ...]


def read_csv(path: Path, columns: Columns = Columns(), *, max_gap_s: float = 0.5) -> Read:
    """Reads a recording from a text table (comma, semicolon, tab or space; .gz too), or from a GoPro's MP4 file.

    Args:
        path: the file.
        columns: what is known of it.
        max_gap_s: longer stretches without rows split the recording; shorter ones are interpolated.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the table cannot be understood; the message says what to pass.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no recording at '{path}'")
    if path.suffix.lower() == ".mp4":
        return _clip(path)
    table = _table(path)
    notes = []
    time_name, acc, gyro = _find(table, columns)
    found = [f"time {time_name}" if time_name else "no time column", f"acceleration {', '.join(acc)}"]
    if gyro:
        found.append(f"angular rate {', '.join(gyro)}")
    notes.append(f"columns: {'; '.join(found)}{'' if columns.acc else ' (guessed)'}")
    values = np.array(table[[*acc, *gyro]].apply(pd.to_numeric, errors="coerce"), dtype=np.float64)
    good = np.asarray(np.isfinite(values).all(axis=1))
    if not good.any():
        raise ValueError(f"'{path.name}': no row holds numbers in {', '.join([*acc, *gyro])}")
    if not good.all():
        notes.append(f"{(~good).sum():,} of {len(good):,} rows hold no number somewhere and count as missing")
    unit = columns.acc_unit or _acc_unit(values[good][:, :3], path.name)
    size = float(np.median(np.linalg.norm(values[good][:, :3], axis=1)))
    notes.append(f"acceleration in {unit} (median size {size:.3g}{'' if columns.acc_unit else '; guessed'})")
    values[:, :3] /= _PER_G[unit]
    if gyro:
        peak = float(np.percentile(np.abs(values[good][:, 3:]), 99.9))
        turn: str = columns.gyro_unit or ("deg/s" if peak > 35 else "rad/s")  # 35 rad/s are the usual 2,000 deg/s
        notes.append(f"angular rate in {turn} (99.9 % below {peak:.3g}{'' if columns.gyro_unit else '; guessed'})")
        values[:, 3:] /= _PER_RAD[turn]
    time_s, start, rate, note = _clock(table, time_name, columns, path.name)
    notes.append(note)
    pieces = regular_pieces(time_s, values, rate, max_gap_s)
    names = ACCELEROMETER + (GYROSCOPE if gyro else ())
    seconds = float(np.nanmax(time_s) - np.nanmin(time_s)) + 1 / rate
    if len(pieces) > 1:
        notes.append(f"{len(pieces) - 1} gaps longer than {max_gap_s:g} s split the recording")
    return Read(pieces, rate, names, start, seconds, tuple(notes))


def _clip(path: Path) -> Read:
    """A GoPro's MP4 file, which carries its motion."""
    from otolith.formats.gpmf import telemetry

    motion = telemetry(path)
    seconds = len(motion.signal) / motion.rate_hz
    note = f"a GoPro's clip: {motion.rate_hz:.0f} Hz, {seconds:.1f} s of acceleration in g and angular rate in rad/s"
    return Read(
        [Piece(motion.start_s, motion.signal)], motion.rate_hz, ACCELEROMETER + GYROSCOPE, None, seconds, (note,)
    )


def stem(file: Path) -> str:
    """A recording's name without `.csv`, `.csv.gz` and the like."""
    return Path(file.stem).stem if file.suffix == ".gz" else file.stem


def _table(path: Path) -> pd.DataFrame:
    try:
        head = pd.read_csv(path, header=None, sep="\0", nrows=20, quoting=csv.QUOTE_NONE, engine="python", dtype=str)
        lines = head[0].tolist()
        candidates = {sep: min(line.count(sep) for line in lines) for sep in (",", ";", "\t")}
        sep = max(candidates, key=lambda key: candidates[key])
        pattern = sep if candidates[sep] else r"\s+"
        cells = re.split(pattern, lines[0].strip().lstrip("\ufeff"))
        bare = any(_is_number(cell) for cell in cells)  # no column is named by a number
        table: pd.DataFrame = pd.read_csv(path, sep=pattern, header=None if bare else 0, encoding="utf-8-sig")
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        OSError,
        EOFError,
        ValueError,
    ) as error:
        raise ValueError(f"'{path.name}' cannot be read as a table: {str(error).strip()}") from error
    if bare:
        names = {3: "xyz", 4: ["time", *"xyz"], 6: ["x", "y", "z", "gx", "gy", "gz"]}.get(table.shape[1])
        names = ["time", "x", "y", "z", "gx", "gy", "gz"] if table.shape[1] == 7 else names
        table.columns = list(names) if names else [str(number) for number in range(table.shape[1])]
    table.columns = [str(name).strip() for name in table.columns]
    if len(table) < 2:
        raise ValueError(f"'{path.name}' has {len(table)} rows; a recording needs at least 2")
    return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _find(table: pd.DataFrame, columns: Columns) -> tuple[str | None, list[str], list[str]]:
    names = [str(name) for name in table.columns]
    given = [name for name in [columns.time, *(columns.acc or ()), *(columns.gyro or ())] if name is not None]
    absent = [name for name in given if name not in names]
    if absent:
        raise ValueError(f"no column '{absent[0]}'; the file has: {', '.join(names)}")
    for kind, chosen in (("acc", columns.acc), ("gyro", columns.gyro)):
        if chosen is not None and len(chosen) != 3:
            raise ValueError(f"--{kind} names {len(chosen)} columns; expected three: x,y,z")

    def axes(kind: str) -> list[str]:
        matches = [(match[1], name) for name in names if (match := _AXES[kind].match(name.lower()))]
        found = dict(reversed(matches))
        return [found[axis] for axis in "xyz"] if len(found) == 3 else []

    acc = list(columns.acc) if columns.acc else axes("acc")
    if not acc:
        raise ValueError(
            f"cannot tell which columns are the accelerometer's; the file has: {', '.join(names)}; pass --acc X,Y,Z"
        )
    time = columns.time or next((name for name in names if _TIME.match(name.lower()) and name not in acc), None)
    return time, acc, list(columns.gyro) if columns.gyro else axes("gyro")


def _acc_unit(values: np.ndarray, name: str) -> AccUnit:
    size = float(np.median(np.linalg.norm(values, axis=1)))
    units: tuple[AccUnit, ...] = ("g", "m/s2", "mg")
    best = min(units, key=lambda unit: abs(np.log(max(size, 1e-12) / _PER_G[unit])))
    if not 0.5 < size / _PER_G[best] < 2:
        raise ValueError(
            f"'{name}': the median size of acceleration is {size:.3g}, which is gravity in none of g (1), m/s2 (9.8), "
            "mg (1000); pass --acc-unit, and check that gravity was not removed"
        )
    return best


def _clock(
    table: pd.DataFrame, name: str | None, columns: Columns, file: str
) -> tuple[np.ndarray, pd.Timestamp | None, float, str]:
    """(time,) seconds from the first row, its date if there is one, the rate, and a sentence."""
    if name is None:
        if columns.rate_hz is None:
            raise ValueError(f"'{file}' has no time column; pass --rate HZ, or --time COLUMN")
        time_s = np.arange(len(table)) / columns.rate_hz
        return time_s, None, columns.rate_hz, f"rate {columns.rate_hz:g} Hz (given; no time column)"
    start = None
    if pd.api.types.is_numeric_dtype(table[name]):
        raw = table[name].to_numpy(np.float64)
        gap = _typical_gap(raw, name, file)
        fits = [unit for unit, size in _TIME_UNITS.items() if _RATES[0] <= 1 / (gap * size) <= _RATES[1]]
        if columns.time_unit is None and columns.rate_hz is not None and gap == 1:
            time_s = raw / columns.rate_hz  # a counter
            return (
                time_s - np.nanmin(time_s),
                None,
                columns.rate_hz,
                f"rate {columns.rate_hz:g} Hz (given; {name} counts rows)",
            )
        if columns.time_unit is None and (not fits or gap == 1):
            raise ValueError(
                f"'{file}': {name} grows by {gap:g} a row, which may be a counter; pass --rate HZ or --time-unit "
                "s|ms|us|ns"
            )
        unit = columns.time_unit or fits[0]
        seconds, how = raw * _TIME_UNITS[unit], f"{name} in {unit}{'' if columns.time_unit else ', guessed'}"
    else:
        dates = _dates(table[name])
        if dates is None:
            raise ValueError(f"'{file}': {name} holds neither numbers nor dates, such as '{table[name].iloc[0]}'")
        start = dates.min()
        seconds, how = (dates - start).dt.total_seconds().to_numpy(np.float64), f"{name} holds dates"
    gap = _typical_gap(seconds, name, file)
    rate = columns.rate_hz or _round_rate(1 / gap)
    if not _RATES[0] <= rate <= _RATES[1]:
        raise ValueError(
            f"'{file}': a rate of {rate:g} Hz follows from {name}; expected {_RATES[0]:g} to {_RATES[1]:g} Hz"
        )
    how += "" if columns.rate_hz is None else "; rate given"
    return seconds - np.nanmin(seconds), start, rate, f"rate {rate:g} Hz ({how})"


def _dates(column: pd.Series) -> pd.Series | None:
    for form in ("ISO8601", "mixed"):  # the first is many times faster
        with contextlib.suppress(ValueError, TypeError):
            return pd.to_datetime(column, format=form)
    return None


def _typical_gap(stamps: np.ndarray, name: str, file: str) -> float:
    steps = np.diff(np.sort(stamps[np.isfinite(stamps)]))
    steps = steps[steps > 0]
    if len(steps) == 0:
        raise ValueError(f"'{file}': {name} never moves on; pass --rate HZ")
    # Stamps are often rounded or sent in packets: rows over time, with long gaps left out, is steadier than the median.
    return float(steps[steps <= 5 * np.median(steps)].mean())


def _round_rate(rate: float) -> float:
    return float(round(rate)) if abs(rate - round(rate)) < 0.02 * rate and rate > 10 else round(rate, 2)
