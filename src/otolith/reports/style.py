"""Colours, titles and small helpers that all figures and tables share."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

TITLES = {
    "finetune": "fine-tuned",
    "frozen": "frozen",
    "scratch": "from scratch",
    "random-frozen": "random, frozen",
    "zero-shot": "words alone",
    "forest": "random forest",
    "svm": "SVM",
    "minirocket": "MiniRocket",
}
"""Modes in words, in the order of tables and legends."""

COLOURS = {
    "finetune": "#d55e00",
    "frozen": "#0072b2",
    "scratch": "#8a6fb0",
    "random-frozen": "#9a9a9a",
    "zero-shot": "#e69f00",
    "forest": "#117733",
    "svm": "#b8a800",
    "minirocket": "#333333",
}
CLASSES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#6a3d9a", "#8c510a", "#666666"]
"""Colours told apart with any eyesight (Okabe and Ito), extended."""

OTHERS = ["#cc79a7", "#56b4e9", "#6a3d9a", "#8c510a", "#666666"]
"""Colours of arms under names of their own: those of `CLASSES` that are near none of `COLOURS`."""

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "svg.hashsalt": "otolith",  # equal input, equal bytes
}
"""What all figures look like."""


def markdown_table(text: pd.DataFrame) -> str:
    """A table of text in Markdown, its index as the first column."""
    lines = [["", *text.columns], ["---"] * (len(text.columns) + 1)]
    lines += [[str(name), *cells] for name, cells in zip(text.index, text.to_numpy().tolist(), strict=True)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def svg(figure: Figure) -> bytes:
    """The figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def points(share: float) -> str:
    """A difference of scores in points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def _p(value: float) -> str:
    return "-" if np.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _title(mode: str) -> str:
    return TITLES.get(mode, mode)


def _plain(shots: Any) -> int | None:
    return None if pd.isna(shots) else int(shots)


def same_shots(column: pd.Series, shots: Any) -> pd.Series:
    """Which values are these shots, where missing stands for all windows."""
    return column.isna() if pd.isna(shots) else (column == shots).fillna(False)


def shots_in_words(shots: Any) -> str:
    """A number of shots, or `all`."""
    return "all" if shots is None or pd.isna(shots) else str(int(shots))


def by_shots(shots: Any) -> float:
    """Key to sort by, all windows last."""
    return float("inf") if shots is None or pd.isna(shots) else float(shots)
