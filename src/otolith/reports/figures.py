"""Figures of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from otolith.classifiers.baselines import CLASSICAL
from otolith.data.windows import Windows
from otolith.evaluation.statistics import gains, summary
from otolith.reports.drawing import add_tips
from otolith.reports.people import gains_by_subject, scores_by_subject
from otolith.reports.study_tables import gain_text, score_text, sorted_by_shots
from otolith.reports.style import (
    CLASSES,
    COLOURS,
    OTHERS,
    STYLE,
    arms_in_order,
    by_shots,
    mode_title,
    same_shots,
    shots_text,
)

WIDTH = 4.7
"""Inches. Two figures fit side by side on a page, and one on a phone."""


class Line(NamedTuple):
    """A line of `interval_figure`.

    Attributes:
        label: words at its left.
        colour: of the line.
        mean: the estimate.
        low: lower end of its interval; NaN without one.
        high: upper end, likewise.
        text: the estimate and its interval in words, for the tooltip.
        people: value of each subject.
    """

    label: str
    colour: str
    mean: float
    low: float
    high: float
    text: str
    people: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A two-dimensional map of windows.

    Attributes:
        xy: (windows, 2), the coordinates.
        label: (windows,), the name of each window's label.
        subject: (windows,), the name of each window's subject.
        label_names: all labels, in their order.
    """

    xy: np.ndarray
    label: np.ndarray
    subject: np.ndarray
    label_names: tuple[str, ...]

    @classmethod
    def of(cls, features: Tensor, windows: Windows, *, at_most: int = 1000) -> Embedding:
        """Map up to `at_most` labelled windows by scikit-learn's t-SNE (perplexity 30, principal components as start)."""
        from sklearn.manifold import TSNE

        rows = np.sort(np.random.default_rng(0).permutation(len(windows))[:at_most])
        x = features.numpy()[rows]
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
        xy = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(x)
        chosen = windows[rows]
        assert chosen.y is not None
        subjects = np.array(chosen.subject_names)[chosen.subject]
        return cls(xy, np.array(chosen.label_names)[chosen.y], subjects, chosen.label_names)


def curve(rows: pd.DataFrame) -> Figure:
    """Draw macro F1 against labelled windows per class; one line per mode. `score_figure` has the intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        axes = figure.add_subplot()
        found = summary(rows)
        shots = sorted(found["shots"].unique(), key=by_shots)
        for mode, colour in mode_colours(rows):
            line = found[found["mode"] == mode].set_index("shots").reindex(shots)
            middle = line["macro_f1"].to_numpy(float)
            style = "--s" if mode in CLASSICAL else "-o"
            x = np.arange(len(shots))
            axes.plot(x, middle, style.rstrip("os"), color=colour, linewidth=1.4)
            there = ~np.isnan(middle)
            (marks,) = axes.plot(x[there], middle[there], style[-1], color=colour, markersize=6)
            axes.plot([], [], style, color=colour, label=mode_title(mode))  # for the legend
            tips = zip(line.index[there], line[there].itertuples(), strict=True)
            add_tips(marks, [f"{mode_title(mode)}, {_windows(n)}: {score_text(each)}" for n, each in tips])
        axes.set_xticks(range(len(shots)), [shots_text(n) for n in shots])
        axes.set(xlabel="labelled windows per class", ylabel="macro F1", ylim=(0, 1), xlim=(-0.3, len(shots) - 0.7))
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def interval_curve(
    axes: Axes,
    rows: pd.DataFrame,
    shots: Sequence[Any],
    style: str,
    colour: str,
    title: str,
    *,
    legend: str | None = None,
    band: bool = True,
) -> Any:
    """Draw macro F1 by shots as a line; return it.

    Args:
        axes: to draw on.
        rows: of one arm.
        shots: of the axis, in order.
        style: of the line; with `o`, each mean is a mark with a tooltip.
        colour: of the line.
        title: of the arm, for tooltips.
        legend: of the line; None: none.
        band: whether to draw the intervals as a band, and every subject as a dot.
    """
    found = summary(rows).set_index("shots").reindex(shots)
    middle, x = found["macro_f1"].to_numpy(float), np.arange(len(shots))
    if band:
        low, high = found["low"].to_numpy(float), found["high"].to_numpy(float)
        axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
        for place, n in enumerate(shots):
            people = scores_by_subject(rows[same_shots(rows["shots"], n)])
            if people:
                (dots,) = axes.plot(
                    [place] * len(people),
                    list(people.values()),
                    "o",
                    color=colour,
                    markersize=2.4,
                    alpha=0.5,
                    markeredgewidth=0,
                )
                add_tips(dots, [f"{title}, subject {name}: {value:.2f}" for name, value in people.items()])
    (line,) = axes.plot(x, middle, style, color=colour, label=legend, markersize=4, linewidth=1.4)
    if "o" in style:
        told = found[found["macro_f1"].notna()].itertuples()
        add_tips(line, [f"{title}, {_windows(each.Index)}: {score_text(each)}" for each in told])
    return line


def score_figure(rows: pd.DataFrame, shots: Any) -> Figure:
    """Draw macro F1 of every mode with these shots: mean and interval, and every subject as a dot."""
    here = rows[same_shots(rows["shots"], shots)]
    found = summary(here)
    colours = dict(mode_colours(rows))  # a mode has one colour in all figures
    lines = []
    for mode in arms_in_order(found):
        (each,) = found[found["mode"] == mode].itertuples()
        people = scores_by_subject(here[here["mode"] == mode])
        lines.append(
            Line(mode_title(mode), colours[mode], each.macro_f1, each.low, each.high, score_text(each), people)
        )
    return interval_figure(lines, xlabel=f"macro F1, {_windows(shots)}", limits=(0, 1))


def gain_figure(rows: pd.DataFrame, arms: Sequence[str], over: str) -> Figure:
    """Draw the paired gain of some modes over another: mean and interval by shots, and every subject as a dot."""
    colours = dict(mode_colours(rows))
    lines = []
    for arm in arms:
        for gain in sorted_by_shots(gains(rows, arm, over)):
            mine, other = (rows[(rows["mode"] == mode) & same_shots(rows["shots"], gain.shots)] for mode in (arm, over))
            people = {name: 100 * value for name, value in gains_by_subject(mine, other).items()}
            ends = 100 * gain.gain, 100 * gain.low, 100 * gain.high
            label = f"{mode_title(arm)}, {shots_text(gain.shots)}"
            lines.append(Line(label, colours[arm], *ends, f"{gain_text(gain)} points", people))
    return interval_figure(lines, xlabel=f"gain over {mode_title(over)}, points of macro F1")


def interval_figure(lines: Sequence[Line], *, xlabel: str, limits: tuple[float, float] | None = None) -> Figure:
    """Draw estimates as points with their intervals, one below the other, and the subjects as dots below each.

    Args:
        lines: from top to bottom.
        xlabel: of the axis.
        limits: of the axis; None: differences, with a line at zero.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.36 * len(lines)), layout="constrained")
        axes = figure.add_subplot()
        if limits is None:
            axes.axvline(0, color="#555555", linewidth=0.8)
        for place, line in enumerate(lines):
            people = {name: value for name, value in line.people.items() if not np.isnan(value)}
            (dots,) = axes.plot(
                list(people.values()),
                [place + 0.3] * len(people),
                "o",
                color=line.colour,
                markersize=3.5,
                alpha=0.55,
                markeredgewidth=0,
                clip_on=False,
            )
            number = "+.1f" if limits is None else ".2f"
            add_tips(dots, [f"subject {name}: {value:{number}}" for name, value in people.items()])
            if not np.isnan(line.low):
                axes.plot([line.low, line.high], [place, place], "-", color=line.colour, linewidth=2.2)
            (mark,) = axes.plot([line.mean], [place], "D", color=line.colour, markersize=6, clip_on=False)
            add_tips(mark, [f"{line.label}: {line.text}"])
        axes.set_yticks(range(len(lines)), [line.label for line in lines])
        axes.set(ylim=(len(lines) - 0.35, -0.5), xlabel=xlabel)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        if limits is not None:
            axes.set_xlim(*limits)
        return figure


def mode_colours(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the modes of rows in their order, each with its colour."""
    others = 0
    for mode in arms_in_order(rows):
        if mode in COLOURS:
            yield mode, COLOURS[mode]
        else:
            yield mode, OTHERS[others % len(OTHERS)]
            others += 1


def _windows(shots: Any) -> str:
    """Return the number of labelled windows in words."""
    return f"{shots_text(shots)} window{'' if shots_text(shots) == '1' else 's'} per class"


def confusion_panel(axes: Axes, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Draw one confusion matrix (classes, classes) of counts in percent of the true class; rows are true classes."""
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i in range(len(classes)):
        for j in range(len(classes)):
            if share[i, j] >= 0.5:
                ink = "white" if share[i, j] > 55 else "#222222"
                axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")


def embedding_figure(embedding: Embedding, by: Literal["label", "subject"]) -> Figure:
    """Draw the map, coloured by label or by subject."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        axes = figure.add_subplot()
        names = embedding.label if by == "label" else embedding.subject
        order = embedding.label_names if by == "label" else sorted(set(names.tolist()))
        for k, name in enumerate(name for name in order if name in set(names.tolist())):
            mine, colour = embedding.xy[names == name], CLASSES[k % len(CLASSES)]
            axes.scatter(mine[:, 0], mine[:, 1], s=9, color=colour, linewidths=0, rasterized=True)
            axes.plot([], [], "o", color=colour, label=name)  # for the legend, which is not rasterised
        axes.set(xticks=[], yticks=[])
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def history_figure(history: Sequence[Sequence[Any]]) -> Figure:
    """Draw the pretraining losses by epoch."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        axes = figure.add_subplot()
        lines = {"training subjects": ("-o", "#555555", 1), "validation subjects": ("-s", "#0072b2", 2)}
        for name, (style, colour, column) in lines.items():
            told = [(line[0], line[column]) for line in history if line[column] is not None]
            if told:
                axes.plot(*zip(*told, strict=True), "-", color=colour, linewidth=1.4)
                (marks,) = axes.plot(*zip(*told, strict=True), style[-1], color=colour, markersize=3.5)
                axes.plot([], [], style, color=colour, markersize=3.5, label=name)
                add_tips(marks, [f"epoch {epoch}, {name}: {loss:.3f}" for epoch, loss in told])
        axes.set(xlabel="epoch", ylabel="pretraining loss")
        figure.legend(loc="outside lower center", ncols=2)
        return figure
