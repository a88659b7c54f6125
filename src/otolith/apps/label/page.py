"""One self-contained page of a labelled recording: its days as ribbons, with the signal."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from otolith.apps.label.figure import AXES, colours, envelope
from otolith.apps.label.recording import Labelled
from otolith.reports import html
from otolith.reports.drawing import THEME
from otolith.reports.terms import TERMS

MOST_BINS = 90_000
"""Stretches of the signal that a page holds, each with its lowest and highest value: a day at about one a second."""


def page(labelled: Labelled, timeline: str = "") -> str:
    """Return the HTML page; it needs no network and no other file, and is at most about 2 MB large.

    Args:
        labelled: a recording.
        timeline: address of its timeline as CSV, relative to the page; empty: no link.
    """
    session = labelled.session
    counts = f"{session.seconds / 3600:.1f} h" if session.seconds >= 3600 else f"{session.seconds:.1f} s"
    when = "" if session.start is None else f"{pd.Timestamp(session.start):%Y-%m-%d %H:%M:%S}, "
    seconds = labelled.timeline.assign(seconds=labelled.timeline["end_s"] - labelled.timeline["start_s"])
    totals = seconds[seconds["label"] != ""].groupby("label")["seconds"].sum().sort_values(ascending=False)
    return html.render(
        "recording.html",
        title=session.name,
        lead=f"{when}{counts} at {session.rate_hz:g} Hz",
        warnings=labelled.warnings,
        alt="In all: " + ", ".join(f"{name} {total / 60:.1f} min" for name, total in totals.items()) + ".",
        days=_table(labelled.days, "Minutes of each label per day"),
        hours=_table(labelled.hours, "Minutes of each label per hour"),
        facts=session.facts,
        terms={name: TERMS[name] for name in ("probability", "unknown")},
        timeline=timeline,
        data=Markup(json.dumps(_data(labelled), separators=(",", ":")).replace("</", "<\\/")),
    )


def _data(labelled: Labelled) -> dict[str, Any]:
    """Return what the page's script draws."""
    session = labelled.session
    names = list(labelled.labels)
    shades = colours(names, labelled.unknown)
    said = labelled.timeline[labelled.timeline["label"] != ""]
    gaps = labelled.timeline[labelled.timeline["label"] == ""]
    start = None if session.start is None else pd.Timestamp(session.start)
    midnight_s = 0.0 if start is None else (start - start.normalize()).total_seconds()
    return {
        "seconds": round(session.seconds, 3),
        "day": None if start is None else f"{start:%Y-%m-%d}",
        "offset": midnight_s,
        "labels": [{"name": name, "colour": f"--{THEME[shades[name]]}"} for name in names],
        "runs": {
            "start": said["start_s"].round(2).tolist(),
            "end": said["end_s"].round(2).tolist(),
            "label": [names.index(name) for name in said["label"]],
        },
        "cells": _cells(labelled),
        "gaps": [[round(a, 2), round(b, 2), text] for a, b, text in zip(*_columns(gaps), strict=True)],
        "signal": _signal(labelled),
        "axes": [{"name": name, "colour": f"--{THEME[colour]}"} for name, colour in zip("xyz", AXES, strict=True)],
    }


def _columns(gaps: pd.DataFrame) -> tuple[list[float], list[float], list[str]]:
    return gaps["start_s"].tolist(), gaps["end_s"].tolist(), gaps["reason"].tolist()


def _cells(labelled: Labelled) -> dict[str, Any]:
    """Return starts and probabilities of the cells; 255 stands for no probability."""
    if labelled.cells is None or not len(labelled.cells.number):
        return {"start": "", "probability": ""}
    likely = labelled.cells.probability
    shares = np.where(np.isnan(likely), 255, np.round(100 * np.nan_to_num(likely))).astype(np.uint8)
    return {"start": _base64(labelled.cells.start_s.astype("<f4")), "probability": _base64(shares)}


def _signal(labelled: Labelled) -> dict[str, Any]:
    """Return pieces of the acceleration: where each begins, seconds per bin, and (bins, 6) lowest and highest values in
    127ths of the largest."""
    session = labelled.session
    steps = sum(len(each.signal) for each in session.recordings)
    size = max(1, -(-steps // MOST_BINS))
    bound = max((float(np.abs(each.signal[:, :3]).max()) for each in session.recordings), default=1.0) or 1.0
    pieces = []
    for each in session.recordings:
        _, low, high = envelope(each, at_most=-(-len(each.signal) // size))
        both = np.stack([low, high], axis=2).reshape(len(low), 6)
        values = np.clip(np.round(both / bound * 127), -127, 127).astype(np.int8)
        pieces.append({"start": round(each.start_s, 3), "step": size / each.rate_hz, "values": _base64(values)})
    return {"bound": bound, "pieces": pieces}


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _table(minutes: pd.DataFrame | None, caption: str) -> Markup | None:
    """Return minutes as an HTML table; columns without a minute are left out."""
    if minutes is None:
        return None
    keys = [name for name in ("day", "hour") if name in minutes]
    shown = [name for name in minutes.columns if name not in keys and minutes[name].sum() >= 0.005]
    cells = minutes[shown].map(lambda value: f"{value:.1f}" if value >= 0.005 else "")
    cells.index = pd.Index([" ".join(map(str, key)) for key in minutes[keys].itertuples(index=False)])
    return html.table(cells, caption, corner=", ".join(keys), kind="minutes")
