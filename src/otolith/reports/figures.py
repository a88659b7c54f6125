"""Figures of one run."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from otolith.classifiers.baselines import CLASSICAL
from otolith.data.windows import Windows
from otolith.evaluation.statistics import gains, summary
from otolith.reports.study_tables import sorted_by_shots
from otolith.reports.style import (
    CLASSES,
    COLOURS,
    OTHERS,
    STYLE,
    TITLES,
    arms_in_order,
    by_shots,
    group_dots,
    mode_title,
    same_shots,
    score_axis,
    shots_text,
)


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
    """Draw macro F1 against labelled windows per class, with 95 % intervals over groups of test subjects; one line per mode.

    Dots are the groups, where they are too few for an interval.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        found = summary(rows)
        shots = sorted(found["shots"].unique(), key=by_shots)
        colours = itertools.cycle(OTHERS)
        for number, mode in enumerate(arms := arms_in_order(found)):
            line = found[found["mode"] == mode].set_index("shots").reindex(shots)
            x = np.arange(len(shots)) + 0.04 * (number - (len(arms) - 1) / 2)
            middle = line["macro_f1"].to_numpy(float)
            ends = [middle - line["low"].to_numpy(float), line["high"].to_numpy(float) - middle]
            style = "--s" if mode in CLASSICAL else "-o"
            colour = COLOURS.get(mode) or next(colours)
            axes.errorbar(
                x,
                middle,
                yerr=np.nan_to_num(ends),
                fmt=style,
                color=colour,
                capsize=3,
                label=mode_title(mode),
                markersize=5,
            )
            few = line["low"].isna() & line["macro_f1"].notna()
            group_dots(axes, x[few], line.loc[few, "by_group"], colour)
        axes.set_xticks(range(len(shots)), [shots_text(n) for n in shots])
        axes.set(
            xlabel="labelled windows per class",
            ylabel="macro F1, held-out subjects",
            title="Macro F1 by number of labels",
        )
        score_axis(axes)
        axes.legend()
        return figure


def gain_figure(rows: pd.DataFrame) -> Figure | None:
    """Draw the paired gain of fine-tuning over each control, with 95 % intervals; None without fine-tuned rows.

    Dots are the groups of test subjects, where they are too few for an interval.
    """
    pairs = [("finetune", over) for over in ("frozen", "scratch", *CLASSICAL) if over in set(rows["mode"])]
    if not pairs or "finetune" not in set(rows["mode"]):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        names: list[str] = []
        for number, (mode, over) in enumerate(pairs):
            found = sorted_by_shots(gains(rows, mode, over))
            names = [shots_text(gain.shots) for gain in found]
            x = np.arange(len(found)) + 0.12 * (number - (len(pairs) - 1) / 2)
            middle = np.array([100 * gain.gain for gain in found])
            ends = np.nan_to_num([[100 * (g.gain - g.low) for g in found], [100 * (g.high - g.gain) for g in found]])
            axes.errorbar(x, middle, yerr=ends, fmt="o", color=COLOURS[over], capsize=4, label=f"over {TITLES[over]}")
            for place, gain in zip(x, found, strict=True):
                if np.isnan(gain.low):
                    group_dots(axes, [place], [[100 * value for value in gain.by_group]], COLOURS[over])
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_xticks(range(len(names)), names)
        axes.set(
            xlabel="labelled windows per class",
            ylabel="gain in points of macro F1",
            title="Paired gain of fine-tuning",
        )
        axes.legend()
        return figure


def confusion_figure(rows: pd.DataFrame, modes: Sequence[str], classes: Sequence[str], shots: Any) -> Figure:
    """Draw the confusion matrices of some modes, summed over folds and seeds; rows are true classes and sum to 100 %."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(5.2 * len(modes), 4.8), layout="constrained")
        for number, mode in enumerate(modes):
            axes = figure.add_subplot(1, len(modes), number + 1)
            chosen = rows[(rows["mode"] == mode) & same_shots(rows["shots"], shots)]
            total = np.sum([json.loads(text) for text in chosen["confusion"]], axis=0)
            confusion_panel(axes, total, classes)
            axes.set_title(f"{mode_title(mode)}, {shots_text(shots)} per class")
            if number:
                axes.set_yticklabels([])
                axes.set_ylabel("")
        return figure


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


def embedding_figure(embedding: Embedding) -> Figure:
    """Draw the map twice: coloured by label and by subject."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(10.4, 4.6), layout="constrained")
        subjects = sorted(set(embedding.subject.tolist()))
        panels = [(embedding.label, embedding.label_names, "by label"), (embedding.subject, subjects, "by subject")]
        for number, (names, order, title) in enumerate(panels):
            axes = figure.add_subplot(1, 2, number + 1)
            for k, name in enumerate(name for name in order if name in set(names.tolist())):
                mine = embedding.xy[names == name]
                axes.scatter(mine[:, 0], mine[:, 1], s=7, color=CLASSES[k % len(CLASSES)], label=name, linewidths=0)
            axes.set(xticks=[], yticks=[], title=title)
            axes.legend(markerscale=2, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure


def history_figure(history: Sequence[Sequence[Any]]) -> Figure:
    """Draw the pretraining losses by epoch."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        epoch = [line[0] for line in history]
        axes.plot(epoch, [line[1] for line in history], "-", color="#555555", label="training subjects")
        held = [(line[0], line[2]) for line in history if line[2] is not None]
        if held:
            axes.plot(*zip(*held, strict=True), "-o", color="#0072b2", markersize=3, label="validation subjects")
        axes.set(xlabel="epoch", ylabel="pretraining loss", title="Pretraining without labels")
        axes.legend()
        return figure
