"""Recordings of any layout -> labelled timelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.apps.label.minutes import minutes
from otolith.apps.label.stream import Cells, Labeller, joined
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.recording import GYROSCOPE
from otolith.data.resample import Piece, resample
from otolith.data.windows import SignalSpec
from otolith.encoders import ENCODERS
from otolith.formats import ReadOptions, Session, Survey, Units, survey
from otolith.formats.options import DEFAULTS, Fact

TABLES = ("timeline.csv", "timeline.parquet", "summary.csv", "days.csv", "hours.csv")
"""Endings of the tables that are written."""
MOSTLY = 0.5
"""Share of unknown time from which on a recording gets a warning."""
_NEVER_UNKNOWN = (
    "the model never says 'unknown', as it was not calibrated on people left out: it labels whatever it is given ("
    "otolith adapt calibrates it where two people or more are labelled)"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """A timeline and what it was made of.

    Attributes:
        timeline: start_s, end_s, label, probability (and start, end, where the file has dates), in order of time;
            stretches that could not be labelled have the label "" and a reason.
        summary: label, seconds, share of the labelled time, bouts, probability.
        session: what was read.
        labels: all labels the model knows, and `unknown` last, if that is not empty.
        cells: the timeline before neighbours with one label were joined, with one probability a cell.
        days: minutes of each label, not worn and missing, a line a day.
        hours: the same, a line an hour.
        unknown: the label of what is unknown to the model; empty if it does not know that.
        warnings: what makes the timeline worth little, a sentence each.
        files: paths of what was written, by kind: `timeline`, `summary`, `days`, `hours`, `page`, `picture`.
    """

    timeline: pd.DataFrame
    summary: pd.DataFrame
    session: Session
    labels: tuple[str, ...]
    cells: Cells | None = None
    days: pd.DataFrame | None = None
    hours: pd.DataFrame | None = None
    unknown: str = ""
    warnings: tuple[str, ...] = ()
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)


def label(
    model: TransferClassifier | ForestClassifier,
    session: Session,
    *,
    overlap: float = 0.5,
    smooth: bool = True,
    allow_none: bool = False,
) -> Labelled:
    """Label a session; see `Labeller`, which labels each stretch without a gap.

    Args:
        model: fitted, with a signal contract.
        session: of `otolith.formats.read`.
        overlap: of the windows.
        smooth: whether to smooth by how long activities last.
        allow_none: whether a session may be too short for any label.

    Raises:
        ValueError: the recording lacks a channel, has too low a rate, or no stretch without a gap is as long as a window.
    """
    assert model.signal_ is not None
    contract = model.signal_
    columns = _columns(session, contract, encoder=model.about_.get("encoder", ""))
    gaps = [(gap.start_s, gap.stop_s, gap.reason) for gap in session.missing]
    found: list[Cells] = []
    first = Labeller(model)
    labels, unknown = first.labels, first.unknown
    for recording in session.recordings:
        labeller = Labeller(model, rate_hz=recording.rate_hz, overlap=overlap, smooth=smooth)
        for part in (labeller.push(recording.signal[:, columns]), labeller.close()):
            moved = part._replace(start_s=part.start_s + recording.start_s, end_s=part.end_s + recording.start_s)
            found.append(moved)
        if labeller.steps < contract.steps:
            reason = f"shorter than a window of {contract.seconds:g} s"
            gaps.append((recording.start_s, recording.start_s + labeller.steps / contract.rate_hz, reason))
    cells = joined(found)
    if not allow_none and not len(cells.number):
        longest = max((recording.seconds for recording in session.recordings), default=0.0)
        raise ValueError(
            f"the longest stretch without a gap lasts {longest:.2f} s; the model needs {contract.seconds:g} s at once"
        )
    if not unknown:
        session = dataclasses.replace(session, facts=(*session.facts, Fact("unknown", _NEVER_UNKNOWN)))
    timeline = _timeline(cells, labels, gaps)
    if session.start is not None:
        for name in ("start", "end"):
            timeline[name] = pd.Timestamp(session.start) + pd.to_timedelta(timeline[f"{name}_s"], unit="s")
    summary = _summary(timeline, labels)
    days, hours = (minutes(timeline, labels, session.start, each) for each in ("day", "hour"))
    warnings = _warnings(summary, session, labels, unknown)
    return Labelled(timeline, summary, session, labels, cells, days, hours, unknown, warnings)


def _timeline(cells: Cells, labels: Sequence[str], gaps: Sequence[tuple[float, float, str]]) -> pd.DataFrame:
    """Return lines of neighbouring cells with one label, and of what could not be labelled."""
    changes = np.append(True, (cells.number[1:] != cells.number[:-1]) | (cells.start_s[1:] > cells.end_s[:-1] + 1e-6))
    first = np.flatnonzero(changes[: len(cells.number)])
    last = np.append(first[1:], len(cells.number)) - 1
    lasting = cells.end_s - cells.start_s
    weighted = np.add.reduceat(cells.probability * lasting, first) if len(first) else np.empty(0)
    known = pd.DataFrame({"start_s": cells.start_s[first], "end_s": cells.end_s[last]})
    known["label"] = np.array(labels, object)[cells.number[first]]
    known["probability"] = weighted / np.add.reduceat(lasting, first) if len(first) else weighted
    known["reason"] = ""
    lost = pd.DataFrame(gaps, columns=["start_s", "end_s", "reason"]).assign(label="", probability=np.nan)
    parts = [part for part in (known, lost[known.columns]) if len(part)]
    timeline: pd.DataFrame = pd.concat(parts or [known]).sort_values("start_s", kind="stable", ignore_index=True)
    return timeline


def _warnings(summary: pd.DataFrame, session: Session, labels: Sequence[str], unknown: str) -> tuple[str, ...]:
    share = float(summary.loc[summary["label"] == unknown, "share"].sum()) if unknown else 0.0
    if share < MOSTLY:
        return ()
    known = ", ".join(name for name in labels if name != unknown)
    return (
        f"{100 * share:.0f} % of '{session.name}' is unknown to the model, which knows {known}: most movements are unlike "
        "those that it was trained on, and the labels of the rest deserve little trust",
    )


def _summary(timeline: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    lasting = timeline.assign(seconds=timeline["end_s"] - timeline["start_s"])
    total = lasting.loc[lasting["label"] != "", "seconds"].sum()
    lines = []
    for name in labels:
        mine = lasting[lasting["label"] == name]
        seconds = float(mine["seconds"].sum())
        mean = float((mine["probability"] * mine["seconds"]).sum() / seconds) if seconds else float("nan")
        mean = float("nan") if mine["probability"].isna().any() else mean
        share = seconds / total if total else 0.0
        lines.append({"label": name, "seconds": seconds, "share": share, "bouts": len(mine), "probability": mean})
    without = float(lasting.loc[lasting["label"] == "", "seconds"].sum())
    if without:
        lines.append({"label": "", "seconds": without, "bouts": int((lasting["label"] == "").sum())})
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


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
    results = [
        path for folder in sources if folder.is_dir() for ending in TABLES for path in folder.rglob(f"*.{ending}")
    ]
    return survey(
        sources,
        options,
        exclude=results,  # of an earlier call, which wrote them next to the recordings
        gyro=bool(set(model.signal_.channels) & set(GYROSCOPE)),
        known=Units(known["acc"], known.get("gyro")) if known else None,
    )


def resampled(session: Session, contract: SignalSpec, *, encoder: str = "") -> list[Piece]:
    """Return a session's stretches without a gap as a model takes them: its channels at its rate.

    Args:
        session: of `otolith.formats.read`.
        contract: the model's.
        encoder: its encoder's name, for advice in errors.

    Raises:
        ValueError: the recording lacks a channel or has too low a rate.
    """
    columns = _columns(session, contract, encoder=encoder)
    return [
        Piece(one.start_s, resample(one.signal[:, columns], one.rate_hz, contract.rate_hz))
        for one in session.recordings
    ]


def _columns(session: Session, contract: SignalSpec, *, encoder: str) -> list[int] | slice:
    """Return the columns of the contract's channels; errors as `resampled`."""
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
    return slice(len(columns)) if columns == list(range(len(columns))) else columns  # a slice copies nothing
