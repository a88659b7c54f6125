"""A person's own recording -> a labelled timeline. Columns, units and rate are taken as given, or guessed and shown."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from otolith.baseline import ForestClassifier
from otolith.encoders import ENCODERS
from otolith.files import replacing
from otolith.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Piece, regular_pieces, resample
from otolith.report import CLASSES, svg
from otolith.transfer import TransferClassifier
from otolith.windows import Signal

AccUnit = Literal["g", "m/s2", "mg"]
GyroUnit = Literal["rad/s", "deg/s"]
_PER_G = {"g": 1.0, "m/s2": STANDARD_GRAVITY, "mg": 1000.0}
_PER_RAD = {"rad/s": 1.0, "deg/s": 180 / np.pi}
_TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_RATES = (4.0, 2000.0)  # Hz: what a time column may mean

_AXES_COLOURS = ("#4c78a8", "#f58518", "#54a24b")

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


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """A timeline and what it was made of.

    Attributes:
        timeline: start_s, end_s, label, probability (and start, end, where the file has dates), in order of time;
            stretches that could not be labelled have the label "" and a reason.
        summary: label, seconds, share of the labelled time, bouts, probability.
        read: the file.
        labels: all labels the model knows.
    """

    timeline: pd.DataFrame
    summary: pd.DataFrame
    read: Read
    labels: tuple[str, ...]


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
    from otolith.datasets.gopro import telemetry

    motion = telemetry(path)
    seconds = len(motion.signal) / motion.rate_hz
    note = f"a GoPro's clip: {motion.rate_hz:.0f} Hz, {seconds:.1f} s of acceleration in g and angular rate in rad/s"
    return Read(
        [Piece(motion.start_s, motion.signal)], motion.rate_hz, ACCELEROMETER + GYROSCOPE, None, seconds, (note,)
    )


def label(model: TransferClassifier | ForestClassifier, read: Read, *, overlap: float = 0.5) -> Labelled:
    """Labels a recording: overlapping windows vote with their probabilities on every stretch they cover.

    Args:
        model: fitted, with a signal contract.
        read: from `read_csv`.
        overlap: of the windows.

    Raises:
        ValueError: the recording lacks a channel, has too low a rate, or no piece is as long as a window.
    """
    assert model.signal_ is not None
    contract: Signal = model.signal_
    hop = max(1, round(contract.steps * (1 - overlap)))
    lines: list[dict[str, Any]] = []
    for piece in resampled(read, contract, encoder=model.about_.get("encoder", "")):
        end_s = piece.start_s + len(piece.signal) / contract.rate_hz
        if len(piece.signal) < contract.steps:
            reason = f"shorter than a window of {contract.seconds:g} s"
            lines.append({"start_s": piece.start_s, "end_s": end_s, "label": "", "reason": reason})
            continue
        lines += _vote(model, piece.signal, contract, hop, piece.start_s)
    if all(line["label"] == "" for line in lines):
        longest = max((len(piece.signal) for piece in read.pieces), default=0) / read.rate_hz
        raise ValueError(
            f"the longest stretch without a gap lasts {longest:.2f} s; the model needs {contract.seconds:g} s at once"
        )
    timeline = pd.DataFrame(lines, columns=["start_s", "end_s", "label", "probability", "reason"])
    timeline["reason"] = timeline["reason"].fillna("")
    if read.start is not None:
        for name in ("start", "end"):
            timeline[name] = read.start + pd.to_timedelta(timeline[f"{name}_s"], unit="s")
    names = tuple(str(name) for name in model.classes_)
    return Labelled(timeline, _summary(timeline, names), read, names)


def resampled(read: Read, contract: Signal, *, encoder: str = "") -> list[Piece]:
    """A recording's pieces as a model takes them: its channels at its rate.

    Args:
        read: from `read_csv`.
        contract: the model's.
        encoder: its encoder's name, for advice in errors.

    Raises:
        ValueError: the recording lacks a channel or has too low a rate.
    """
    missing = [name for name in contract.channels if name not in read.channels]
    if missing:
        alone = ""
        if set(missing) <= set(GYROSCOPE):
            itself = "; published PRIMUS weights always need both" if encoder == "primus" else ""
            alone = (
                f" (every encoder, {', '.join(ENCODERS)}, can be pretrained on 3 channels: [windows] channels = "
                f'["acc_x", "acc_y", "acc_z"] in its recipe{itself})'
            )
        raise ValueError(
            f"the model needs {', '.join(contract.channels)}; the recording has no {', '.join(missing)}: record it, name "
            f"its columns, or use a model trained on the accelerometer alone{alone}"
        )
    if read.rate_hz < contract.rate_hz / 2:
        raise ValueError(
            f"the recording has {read.rate_hz:g} Hz and the model was trained at {contract.rate_hz:g} Hz: what happens "
            "above half the recording's rate is missing; use a model trained at a rate like the recording's"
        )
    columns = [read.channels.index(name) for name in contract.channels]
    return [
        Piece(piece.start_s, resample(piece.signal[:, columns], read.rate_hz, contract.rate_hz))
        for piece in read.pieces
    ]


def stem(file: Path) -> str:
    """A recording's name without `.csv`, `.csv.gz` and the like."""
    return Path(file.stem).stem if file.suffix == ".gz" else file.stem


def write(
    labelled: Labelled, folder: Path, stem: str, *, truth: Sequence[tuple[float, float, str]] | None = None
) -> list[Path]:
    """Writes `<stem>.timeline.csv`, `<stem>.summary.csv` and `<stem>.png` into `folder`; returns their paths."""
    paths = [folder / f"{stem}.{kind}" for kind in ("timeline.csv", "summary.csv", "png")]
    for path, content in zip(paths, (labelled.timeline, labelled.summary), strict=False):
        with replacing(path) as part:
            content.to_csv(part, index=False, float_format="%.4f", lineterminator="\n")
    with replacing(paths[2]) as part:
        timeline_figure(labelled, truth=truth).savefig(part, format="png", dpi=150)
    return paths


def timeline_figure(labelled: Labelled, *, truth: Sequence[tuple[float, float, str]] | None = None) -> Figure:
    """The acceleration, and under it the labels as a coloured band whose strength is the probability."""
    known = [name for name in labelled.labels if name in set(labelled.timeline["label"]) | {t[2] for t in truth or ()}]
    colour = {name: CLASSES[k % len(CLASSES)] for k, name in enumerate(known)}
    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(11, 4.2 if truth else 3.9), layout="constrained")
        signal, band = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1.0 if truth else 0.55], "hspace": 0.02}
        )
        unit, per = ("min", 60.0) if labelled.read.seconds > 600 else ("s", 1.0)
        for piece in labelled.read.pieces:
            time, low, high = _envelope(piece, labelled.read.rate_hz, at_most=4000)
            for axis, shade in zip(range(3), _AXES_COLOURS, strict=True):
                signal.fill_between(
                    time / per, low[:, axis], high[:, axis], color=shade, linewidth=0.6, edgecolor=shade
                )
        signal.set_ylabel("acceleration, g")
        signal.legend(
            handles=[Patch(color=c, label=n) for c, n in zip(_AXES_COLOURS, "xyz", strict=True)],
            loc="upper right",
            ncols=3,
            frameon=False,
            fontsize=8,
        )
        top = 1 if truth else 0
        said = labelled.timeline[labelled.timeline["label"] != ""]
        for name, lines in said.groupby("label"):  # one collection a label, however long the recording
            spans = np.column_stack([lines["start_s"], lines["end_s"] - lines["start_s"]]) / per
            shades = [(*to_rgb(colour[name]), 0.25 + 0.75 * p) for p in lines["probability"].astype(float)]
            band.broken_barh(spans.tolist(), (top + 0.08, 0.84), facecolors=shades)
        for start, end, name in truth or ():
            band.broken_barh([(start / per, (end - start) / per)], (0.08, 0.84), color=colour.get(name, "#bbbbbb"))
        band.set_ylim(0, top + 1)
        band.set_xlim(0, labelled.read.seconds / per)
        band.set_yticks([0.5, 1.5] if truth else [0.5], ["truth", "labelled"] if truth else ["labelled"])
        band.set_xlabel(f"time, {unit}")
        figure.legend(
            handles=[Patch(color=colour[name], label=name) for name in known],
            loc="outside lower center",
            ncols=min(7, max(1, len(known))),
            frameon=False,
            fontsize=9,
        )
        return figure


def picture(labelled: Labelled, *, truth: Sequence[tuple[float, float, str]] | None = None) -> bytes:
    """The same as SVG, for the report."""
    return svg(timeline_figure(labelled, truth=truth))


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
                f"'{file}': {name} grows by {gap:g} a row, which may be a counter; pass --rate HZ or --time-unit s|ms|us|ns"
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


def _vote(
    model: TransferClassifier | ForestClassifier, signal: np.ndarray, contract: Signal, hop: int, start_s: float
) -> list[dict[str, Any]]:
    """Timeline lines of one piece: cells of `hop` steps, each labelled by the mean over the windows that cover it."""
    steps = contract.steps
    first = np.arange(0, len(signal) - steps + 1, hop)
    if first[-1] + steps < len(signal):
        first = np.append(first, len(signal) - steps)  # a last window that ends with the piece
    x = torch.from_numpy(signal).unfold(0, steps, 1)[torch.from_numpy(first)]
    probability = model.predict_proba(x)
    edges = np.append(np.arange(0, len(signal), hop), len(signal))
    votes = np.zeros((len(edges) - 1, probability.shape[1]))
    for shift in range(-(-steps // hop) + 1):  # the few cells a window covers, for all windows at once
        cell = first // hop + shift
        covered = (cell < len(votes)) & (edges[np.minimum(cell, len(votes) - 1)] < first + steps)
        np.add.at(votes, cell[covered], probability[covered])
    votes /= votes.sum(axis=1, keepdims=True)
    best = votes.argmax(axis=1)
    starts = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
    ends = np.append(starts[1:], len(best))
    return [
        {
            "start_s": start_s + edges[a] / contract.rate_hz,
            "end_s": start_s + edges[b] / contract.rate_hz,
            "label": str(model.classes_[best[a]]),
            "probability": float(votes[a:b, best[a]].mean()),
            "reason": "",
        }
        for a, b in zip(starts, ends, strict=True)
    ]


def _summary(timeline: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    lasting = timeline.assign(seconds=timeline["end_s"] - timeline["start_s"])
    total = lasting.loc[lasting["label"] != "", "seconds"].sum()
    lines = []
    for name in labels:
        mine = lasting[lasting["label"] == name]
        seconds = float(mine["seconds"].sum())
        mean = float((mine["probability"] * mine["seconds"]).sum() / seconds) if seconds else float("nan")
        lines.append(
            {"label": name, "seconds": seconds, "share": seconds / total, "bouts": len(mine), "probability": mean}
        )
    without = float(lasting.loc[lasting["label"] == "", "seconds"].sum())
    if without:
        lines.append({"label": "", "seconds": without, "bouts": int((lasting["label"] == "").sum())})
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


def _envelope(piece: Piece, rate_hz: float, at_most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time and, for each of at most so many stretches, the lowest and highest value: a plot of any length."""
    size = max(1, -(-len(piece.signal) // at_most))
    starts = np.arange(0, len(piece.signal), size)
    low = np.minimum.reduceat(piece.signal[:, :3], starts, axis=0)
    high = np.maximum.reduceat(piece.signal[:, :3], starts, axis=0)
    return piece.start_s + starts / rate_hz, low, high
