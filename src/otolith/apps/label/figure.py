"""The picture of a labelled recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from otolith.apps.label.recording import Labelled
from otolith.data.recording import Recording
from otolith.reports import html
from otolith.reports.style import CLASSES

AXES = ("#4c78a8", "#f58518", "#54a24b")
"""Colours of the axes x, y and z."""
GREY = "#9a9a9a"
"""Colour of "unknown"."""


def colours(names: Sequence[str], unknown: str = "") -> dict[str, str]:
    """Return a colour for each label."""
    return {name: GREY if name == unknown else CLASSES[k % len(CLASSES)] for k, name in enumerate(names)}


def timeline_figure(
    labelled: Labelled, *, truth: Sequence[tuple[float, float, str]] | None = None, width: float = 11.0
) -> Figure:
    """Draw the acceleration, and under it the labels as a coloured band whose strength is the probability.

    The axis shows dates where the file has dates. The signal is rasterised, also in an SVG.

    Args:
        labelled: a recording.
        truth: true labels, as (start, end, label) in seconds.
        width: of the figure in inches.
    """
    from matplotlib.colors import to_rgb

    known = [name for name in labelled.labels if name in set(labelled.timeline["label"]) | {t[2] for t in truth or ()}]
    colour = colours(labelled.labels, labelled.unknown)
    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, 4.4 if truth else 4.1), layout="constrained")
        signal, band = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1.0 if truth else 0.55], "hspace": 0.02}
        )
        origin, per, unit = _axis(labelled)
        for recording in labelled.session.recordings:
            time, low, high = envelope(recording, at_most=2000)
            for axis, shade in zip(range(3), AXES, strict=True):
                signal.fill_between(
                    origin + time / per,
                    low[:, axis],
                    high[:, axis],
                    color=shade,
                    linewidth=0.6,
                    edgecolor=shade,
                    rasterized=True,
                )
        signal.set_ylabel("acceleration, g")
        top = 1 if truth else 0
        said = labelled.timeline[labelled.timeline["label"] != ""]
        for name, lines in said.groupby("label"):  # one collection a label, however long the recording
            spans = np.column_stack([origin + lines["start_s"] / per, (lines["end_s"] - lines["start_s"]) / per])
            strength = lines["probability"].astype(float).fillna(1.0)
            shades = [(*to_rgb(colour[name]), 0.25 + 0.75 * p) for p in strength]
            band.broken_barh(spans.tolist(), (top + 0.08, 0.84), facecolors=shades)
        for start, end, name in truth or ():
            spot = (origin + start / per, (end - start) / per)
            band.broken_barh([spot], (0.08, 0.84), color=colour.get(name, "#bbbbbb"))
        band.set_ylim(0, top + 1)
        band.set_xlim(origin, origin + labelled.session.seconds / per)
        band.set_yticks([0.5, 1.5] if truth else [0.5], ["truth", "labelled"] if truth else ["labelled"])
        band.set_xlabel(f"time, {unit}" if unit else "")
        if not unit:
            locator = AutoDateLocator(tz=labelled.session.start.tzinfo if labelled.session.start else None)
            band.xaxis.set_major_locator(locator)
            band.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes = [Patch(color=c, label=n) for c, n in zip(AXES, "xyz", strict=True)]
        figure.legend(handles=axes, loc="outside upper right", ncols=3, frameon=False, fontsize=8)
        figure.legend(
            handles=[Patch(color=colour[name], label=name) for name in known],
            loc="outside lower center",
            ncols=min(7, max(1, len(known)), max(1, int(width / 1.7))),
            frameon=False,
            fontsize=9,
        )
        return figure


def _axis(labelled: Labelled) -> tuple[float, float, str]:
    """Where second 0 is on the axis, seconds per unit of the axis, and the unit; an empty unit for dates."""
    if labelled.session.start is not None:
        return float(date2num(pd.Timestamp(labelled.session.start).to_pydatetime())), 86400.0, ""
    return (0.0, 60.0, "min") if labelled.session.seconds > 600 else (0.0, 1.0, "s")


def picture(labelled: Labelled, *, truth: Sequence[tuple[float, float, str]] | None = None) -> Markup:
    """Return the same as a figure for the report."""
    lines = labelled.timeline[labelled.timeline["label"] != ""]
    seconds = (lines["end_s"] - lines["start_s"]).groupby(lines["label"]).sum().sort_values(ascending=False)
    words = ", ".join(f"{name} {total:.0f} s" for name, total in seconds.items())
    caption = "A recording of a subject that neither pretraining nor the classifier has seen, with the labels it got."
    alt = f"Acceleration and labels of {labelled.session.name}; labelled: {words}."
    return html.figure(timeline_figure(labelled, truth=truth, width=5.2), caption, alt)


def envelope(recording: Recording, at_most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return time and, for each of at most `at_most` stretches, the lowest and highest acceleration of each axis."""
    size = max(1, -(-len(recording.signal) // at_most))
    starts = np.arange(0, len(recording.signal), size)
    low = np.minimum.reduceat(recording.signal[:, :3], starts, axis=0)
    high = np.maximum.reduceat(recording.signal[:, :3], starts, axis=0)
    return recording.start_s + starts / recording.rate_hz, low, high
