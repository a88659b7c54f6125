"""Recordings of any layout -> labelled timelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.recording import GYROSCOPE, Recording
from otolith.data.resample import Piece, resample
from otolith.data.windows import SignalSpec
from otolith.encoders import ENCODERS
from otolith.formats import ReadOptions, Session, Survey, Units, survey
from otolith.formats.options import DEFAULTS
from otolith.reports.style import CLASSES, svg
from otolith.storage.files import replacing

_AXES_COLOURS = ("#4c78a8", "#f58518", "#54a24b")


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """A timeline and what it was made of.

    Attributes:
        timeline: start_s, end_s, label, probability (and start, end, where the file has dates), in order of time;
            stretches that could not be labelled have the label "" and a reason.
        summary: label, seconds, share of the labelled time, bouts, probability.
        session: what was read.
        labels: all labels the model knows.
        files: paths of what was written, by kind: `timeline`, `summary`, `picture`.
    """

    timeline: pd.DataFrame
    summary: pd.DataFrame
    session: Session
    labels: tuple[str, ...]
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)


def label(
    model: TransferClassifier | ForestClassifier, session: Session, *, overlap: float = 0.5, allow_none: bool = False
) -> Labelled:
    """Label a session: overlapping windows vote with their probabilities on every stretch they cover.

    Args:
        model: fitted, with a signal contract.
        session: of `otolith.formats.read`.
        overlap: of the windows.
        allow_none: whether a session may be too short for any label.

    Raises:
        ValueError: the recording lacks a channel, has too low a rate, or no stretch without a gap is as long as a window.
    """
    assert model.signal_ is not None
    contract: SignalSpec = model.signal_
    hop = max(1, round(contract.steps * (1 - overlap)))
    lines: list[dict[str, Any]] = [
        {"start_s": gap.start_s, "end_s": gap.stop_s, "label": "", "reason": gap.reason} for gap in session.missing
    ]
    for piece in resampled(session, contract, encoder=model.about_.get("encoder", "")):
        end_s = piece.start_s + len(piece.signal) / contract.rate_hz
        if len(piece.signal) < contract.steps:
            reason = f"shorter than a window of {contract.seconds:g} s"
            lines.append({"start_s": piece.start_s, "end_s": end_s, "label": "", "reason": reason})
            continue
        lines += _vote(model, piece.signal, contract, hop, piece.start_s)
    if not allow_none and all(line["label"] == "" for line in lines):
        longest = max((recording.seconds for recording in session.recordings), default=0.0)
        raise ValueError(
            f"the longest stretch without a gap lasts {longest:.2f} s; the model needs {contract.seconds:g} s at once"
        )
    timeline = pd.DataFrame(lines, columns=["start_s", "end_s", "label", "probability", "reason"])
    timeline = timeline.sort_values("start_s", kind="stable", ignore_index=True)
    timeline["reason"] = timeline["reason"].fillna("")
    if session.start is not None:
        for name in ("start", "end"):
            timeline[name] = pd.Timestamp(session.start) + pd.to_timedelta(timeline[f"{name}_s"], unit="s")
    names = tuple(str(name) for name in model.classes_)
    return Labelled(timeline, _summary(timeline, names), session, names)


def write(
    labelled: Labelled, folder: Path, stem: str, *, truth: Sequence[tuple[float, float, str]] | None = None
) -> Labelled:
    """Write `<stem>.timeline.csv`, `<stem>.summary.csv` and `<stem>.png` into `folder`; return the same with their paths."""
    kinds = {"timeline": "timeline.csv", "summary": "summary.csv", "picture": "png"}
    files = {kind: folder / f"{stem}.{ending}" for kind, ending in kinds.items()}
    for kind, content in (("timeline", labelled.timeline), ("summary", labelled.summary)):
        with replacing(files[kind]) as part:
            content.to_csv(part, index=False, float_format="%.4f", lineterminator="\n")
    with replacing(files["picture"]) as part:
        timeline_figure(labelled, truth=truth).savefig(part, format="png", dpi=150)
    return dataclasses.replace(labelled, files=files)


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
        unit, per = ("min", 60.0) if labelled.session.seconds > 600 else ("s", 1.0)
        for recording in labelled.session.recordings:
            time, low, high = _envelope(recording, at_most=4000)
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
        band.set_xlim(0, labelled.session.seconds / per)
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


def _vote(
    model: TransferClassifier | ForestClassifier, signal: np.ndarray, contract: SignalSpec, hop: int, start_s: float
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
            {
                "label": name,
                "seconds": seconds,
                "share": seconds / total if total else 0.0,
                "bouts": len(mine),
                "probability": mean,
            }
        )
    without = float(lasting.loc[lasting["label"] == "", "seconds"].sum())
    if without:
        lines.append({"label": "", "seconds": without, "bouts": int((lasting["label"] == "").sum())})
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


def _envelope(recording: Recording, at_most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time and, for each of at most `at_most` stretches, the lowest and highest value: a plot of any length."""
    size = max(1, -(-len(recording.signal) // at_most))
    starts = np.arange(0, len(recording.signal), size)
    low = np.minimum.reduceat(recording.signal[:, :3], starts, axis=0)
    high = np.maximum.reduceat(recording.signal[:, :3], starts, axis=0)
    return recording.start_s + starts / recording.rate_hz, low, high


def survey_for(
    model: TransferClassifier | ForestClassifier, sources: Sequence[Path], options: ReadOptions = DEFAULTS
) -> Survey:
    """Look at recordings that a model is to label: a gyroscope is read where the model needs one.

    Args:
        model: fitted, with a signal contract. The units of the recordings that it was adapted on are assumed where a file
            states none.
        sources: files and folders of recordings.
        options: of the reader.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no recording.
        ValueError: a recording cannot be understood.
    """
    assert model.signal_ is not None
    known = model.about_.get("recorded_in")
    return survey(
        sources,
        options,
        gyro=bool(set(model.signal_.channels) & set(GYROSCOPE)),
        known=Units(known["acc"], known.get("gyro")) if known else None,
    )


def label_recordings(
    model: TransferClassifier | ForestClassifier,
    sources: Sequence[Path],
    out: Path | None = None,
    *,
    options: ReadOptions = DEFAULTS,
    found: Survey | None = None,
    truth: Sequence[tuple[float, float, str]] | None = None,
) -> Iterator[Labelled]:
    """Label recordings, and write `<name>.timeline.csv`, `<name>.summary.csv` and `<name>.png` of each session.

    Args:
        model: fitted, with a signal contract.
        sources: files and folders of recordings.
        out: folder of the results, in which folders of recordings keep their subfolders; None: where each recording lies.
        options: of the reader.
        found: what `survey_for` found in these sources; None: it is called here.
        truth: true labels, for the picture.

    Yields:
        What each session holds, once its files are written.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no recording.
        ValueError: a recording cannot be understood, or does not suit the model.
    """
    found = found or survey_for(model, sources, options)
    alone = len(found.sources) == 1
    for source in found.sources:
        sessions = found.read(source)
        for session in sessions:
            try:
                labelled = label(model, session, allow_none=not alone or len(sessions) > 1)
            except ValueError as error:
                if alone:
                    raise
                raise ValueError(f"'{session.name}': {error}") from error
            folder, stem = _place(session, sources, out, alone=alone)
            yield write(labelled, folder, stem, truth=truth)


def _place(session: Session, sources: Sequence[Path], out: Path | None, *, alone: bool) -> tuple[Path, str]:
    """The folder and the beginning of the names of a session's results."""
    name = PurePosixPath(session.name)
    inside = next(
        (source for source in sources if source.is_dir() and session.source.path.is_relative_to(source)), None
    )
    if inside is not None and alone and len(sources) == 1:  # a folder that holds one recording gives it its name
        name = PurePosixPath(session.name.replace(session.source.name, inside.resolve().name, 1))
    folder = out
    if folder is None:
        folder = session.source.path.parent if inside is None else inside
    return folder / Path(*name.parts[:-1]), name.name


def resampled(session: Session, contract: SignalSpec, *, encoder: str = "") -> list[Piece]:
    """Return a session's stretches without a gap as a model takes them: its channels at its rate.

    Args:
        session: of `otolith.formats.read`.
        contract: the model's.
        encoder: its encoder's name, for advice in errors.

    Raises:
        ValueError: the recording lacks a channel or has too low a rate.
    """
    missing = [name for name in contract.channels if name not in session.channels]
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
    if session.rate_hz < contract.rate_hz / 2:
        raise ValueError(
            f"the recording has {session.rate_hz:g} Hz and the model was trained at {contract.rate_hz:g} Hz: what happens "
            "above half the recording's rate is missing; use a model trained at a rate like the recording's"
        )
    columns = [session.channels.index(name) for name in contract.channels]
    return [
        Piece(one.start_s, resample(one.signal[:, columns], one.rate_hz, contract.rate_hz))
        for one in session.recordings
    ]
