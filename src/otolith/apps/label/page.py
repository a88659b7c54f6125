"""One self-contained page of a labelled recording: its days as ribbons, with the signal."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from otolith.apps.label.figure import AXES, colours, envelope
from otolith.apps.label.recording import Labelled

MOST_BINS = 90_000
"""Stretches of the signal that a page holds, each with its lowest and highest value: a day at about one a second."""
_TEMPLATE = Path(__file__).with_name("page.html")


def page(labelled: Labelled) -> str:
    """Return the HTML page; it needs no network and no other file, and is at most about 2 MB large."""
    session = labelled.session
    counts = f"{session.seconds / 3600:.1f} h" if session.seconds >= 3600 else f"{session.seconds:.1f} s"
    when = "" if session.start is None else f"{pd.Timestamp(session.start):%Y-%m-%d %H:%M:%S}, "
    warnings = "".join(f"<p class=warning>{html.escape(text)}</p>" for text in labelled.warnings)
    facts = "".join(f"<li>{html.escape(str(fact))}</li>" for fact in session.facts)
    parts = {
        "title": html.escape(session.name),
        "lead": html.escape(f"{when}{counts} at {session.rate_hz:g} Hz"),
        "warnings": warnings,
        "days": _table(labelled.days),
        "hours": _table(labelled.hours),
        "facts": facts,
        "data": json.dumps(_data(labelled), separators=(",", ":")).replace("</", "<\\/"),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in parts.items():
        text = text.replace(f"<!--{name}-->", value)
    return text


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
        "labels": [{"name": name, "colour": shades[name]} for name in names],
        "runs": {
            "start": said["start_s"].round(2).tolist(),
            "end": said["end_s"].round(2).tolist(),
            "label": [names.index(name) for name in said["label"]],
        },
        "cells": _cells(labelled),
        "gaps": [[round(a, 2), round(b, 2), text] for a, b, text in zip(*_columns(gaps), strict=True)],
        "signal": _signal(labelled),
        "axes": [{"name": name, "colour": colour} for name, colour in zip("xyz", AXES, strict=True)],
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


def _table(table: pd.DataFrame | None) -> str:
    """Return minutes as an HTML table; columns without a minute are left out."""
    if table is None:
        return ""
    keys = [name for name in ("day", "hour") if name in table]
    shown = [name for name in table.columns if name not in keys and table[name].sum() >= 0.005]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in [*keys, *shown])
    lines = "".join(
        "<tr>"
        + "".join(f"<th>{html.escape(str(line[name]))}</th>" for name in keys)
        + "".join(f"<td>{line[name]:.1f}</td>" if line[name] >= 0.005 else "<td></td>" for name in shown)
        + "</tr>"
        for line in table.to_dict(orient="records")
    )
    return f"<div class=wide><table><tr>{head}</tr>{lines}</table></div>"
