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
from otolith.reports.style import CLASSES, COLOURS, OTHERS, STYLE, TITLES, _title, by_shots, same_shots, shots_in_words


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A 2-D map of windows.

    Attributes:
        xy: (windows, 2).
        label: (windows,) label names.
        subject: (windows,) names of people.
        label_names: all labels, in their order.
    """

    xy: np.ndarray
    label: np.ndarray
    subject: np.ndarray
    label_names: tuple[str, ...]

    @classmethod
    def of(cls, features: Tensor, windows: Windows, *, at_most: int = 1000) -> Embedding:
        """t-SNE (scikit-learn, perplexity 30, started from principal components) of up to `at_most` windows."""
        from sklearn.manifold import TSNE

        rows = np.sort(np.random.default_rng(0).permutation(len(windows))[:at_most])
        x = features.numpy()[rows]
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
        xy = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(x)
        chosen = windows[rows]
        assert chosen.y is not None
        people = np.array(chosen.subject_names)[chosen.subject]
        return cls(xy, np.array(chosen.label_names)[chosen.y], people, chosen.label_names)


def curve(rows: pd.DataFrame) -> Figure:
    """Macro F1 against windows a class, with intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        found = summary(rows)
        shots = sorted(found["shots"].unique(), key=by_shots)
        colours = itertools.cycle(OTHERS)
        for number, mode in enumerate(arms := _arms(found)):
            line = found[found["mode"] == mode].set_index("shots").reindex(shots)
            x = np.arange(len(shots)) + 0.04 * (number - (len(arms) - 1) / 2)
            middle = line["macro_f1"].to_numpy(float)
            spread = np.nan_to_num(line["high"].to_numpy(float) - middle)
            style = "--s" if mode in CLASSICAL else "-o"
            axes.errorbar(
                x,
                middle,
                yerr=spread,
                fmt=style,
                color=COLOURS.get(mode) or next(colours),
                capsize=3,
                label=_title(mode),
                markersize=5,
            )
        axes.set_xticks(range(len(shots)), [shots_in_words(n) for n in shots])
        axes.set(
            xlabel="labelled windows a class", ylabel="macro F1, people never seen", title="Few labels, new people"
        )
        axes.legend()
        return figure


def gain_figure(rows: pd.DataFrame) -> Figure | None:
    """Paired gain of fine-tuning over freezing, and over the classical methods, with bootstrap intervals."""
    pairs = [("finetune", over) for over in ("frozen", "scratch", *CLASSICAL) if over in set(rows["mode"])]
    if not pairs or "finetune" not in set(rows["mode"]):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        names: list[str] = []
        for number, (mode, over) in enumerate(pairs):
            found = sorted(gains(rows, mode, over), key=lambda gain: by_shots(gain.shots))
            names = [shots_in_words(gain.shots) for gain in found]
            x = np.arange(len(found)) + 0.12 * (number - (len(pairs) - 1) / 2)
            middle = np.array([100 * gain.gain for gain in found])
            ends = np.nan_to_num([[100 * (g.gain - g.low) for g in found], [100 * (g.high - g.gain) for g in found]])
            axes.errorbar(x, middle, yerr=ends, fmt="o", color=COLOURS[over], capsize=4, label=f"over {TITLES[over]}")
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_xticks(range(len(names)), names)
        axes.set(
            xlabel="labelled windows a class",
            ylabel="gain in points of macro F1",
            title="What fine-tuning gains, in pairs",
        )
        axes.legend()
        return figure


def confusion_figure(rows: pd.DataFrame, modes: Sequence[str], classes: Sequence[str], shots: Any) -> Figure:
    """Confusion matrices side by side, summed over folds and seeds; rows are the truth and sum to 100 %."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(5.2 * len(modes), 4.8), layout="constrained")
        for number, mode in enumerate(modes):
            axes = figure.add_subplot(1, len(modes), number + 1)
            chosen = rows[(rows["mode"] == mode) & same_shots(rows["shots"], shots)]
            total = np.sum([json.loads(text) for text in chosen["confusion"]], axis=0)
            confusion_panel(axes, total, classes)
            axes.set_title(f"{_title(mode)}, {shots_in_words(shots)} a class")
            if number:
                axes.set_yticklabels([])
                axes.set_ylabel("")
        return figure


def confusion_panel(axes: Axes, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """One confusion matrix (classes, classes) of counts, drawn in percent of the true class, which are its rows."""
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
    """The map twice: coloured by label, and by person."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(10.4, 4.6), layout="constrained")
        people = sorted(set(embedding.subject.tolist()))
        panels = [(embedding.label, embedding.label_names, "by label"), (embedding.subject, people, "by person")]
        for number, (names, order, title) in enumerate(panels):
            axes = figure.add_subplot(1, 2, number + 1)
            for k, name in enumerate(name for name in order if name in set(names.tolist())):
                mine = embedding.xy[names == name]
                axes.scatter(mine[:, 0], mine[:, 1], s=7, color=CLASSES[k % len(CLASSES)], label=name, linewidths=0)
            axes.set(xticks=[], yticks=[], title=title)
            axes.legend(markerscale=2, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure


def history_figure(history: Sequence[Sequence[Any]]) -> Figure:
    """Pretraining losses by epoch."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        epoch = [line[0] for line in history]
        axes.plot(epoch, [line[1] for line in history], "-", color="#555555", label="training people")
        held = [(line[0], line[2]) for line in history if line[2] is not None]
        if held:
            axes.plot(*zip(*held, strict=True), "-o", color="#0072b2", markersize=3, label="validation people")
        axes.set(xlabel="epoch", ylabel="pretraining loss", title="Pretraining, without labels")
        axes.legend()
        return figure


def _arms(found: pd.DataFrame) -> list[str]:
    """The modes that are there in the order of `TITLES`, then arms under names of their own."""
    present = dict.fromkeys(found["mode"])
    return [mode for mode in TITLES if mode in present] + [mode for mode in present if mode not in TITLES]
