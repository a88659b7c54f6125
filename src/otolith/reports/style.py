"""Titles, colours and formats that all figures and tables share."""

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
    "random-frozen": "random encoder, frozen",
    "zero-shot": "zero-shot",
    "forest": "random forest",
    "svm": "SVM",
    "minirocket": "MiniRocket",
    "hydra": "Hydra",
    "forest-copies": "random forest with augmented copies",
    "statistics-head": "few-shot head on statistics",
    "minirocket-head": "few-shot head on MiniRocket",
    "hydra-head": "few-shot head on Hydra",
}
"""Title of each mode, in the order of tables and legends."""

COLOURS = {
    "finetune": "#d55e00",
    "frozen": "#0072b2",
    "scratch": "#8a6fb0",
    "random-frozen": "#9a9a9a",
    "zero-shot": "#e69f00",
    "forest": "#117733",
    "svm": "#b8a800",
    "minirocket": "#333333",
    "hydra": "#8c510a",
    "forest-copies": "#66c2a5",
    "statistics-head": "#a6761d",
    "minirocket-head": "#6a3d9a",
    "hydra-head": "#cc79a7",
}
CLASSES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#6a3d9a", "#8c510a", "#666666"]
"""Colours of classes: the colour-blind-safe palette of Okabe and Ito, extended."""

OTHERS = ["#cc79a7", "#56b4e9", "#6a3d9a", "#8c510a", "#666666"]
"""Colours of a recipe's own arms: those of `CLASSES` that differ clearly from all of `COLOURS`."""

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
"""Settings of matplotlib for all figures."""


def markdown_table(text: pd.DataFrame) -> str:
    """Return a table of text in Markdown, with its index as the first column."""
    lines = [["", *text.columns], ["---"] * (len(text.columns) + 1)]
    lines += [[str(name), *cells] for name, cells in zip(text.index, text.to_numpy().tolist(), strict=True)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def points(share: float) -> str:
    """Return a difference of scores as text: in points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def p_value(value: float) -> str:
    """Return a p value as text: three decimals without the leading zero, or - for NaN."""
    return "-" if np.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def mode_title(mode: str) -> str:
    """Return the title of a mode; a recipe's own arm has its name as title."""
    return TITLES.get(mode, mode)


def arms_in_order(found: pd.DataFrame) -> list[str]:
    """Return the values of the column `mode`: known modes in the order of `TITLES`, then a recipe's own arms."""
    present = dict.fromkeys(found["mode"])
    return [mode for mode in TITLES if mode in present] + [mode for mode in present if mode not in TITLES]


def same_shots(column: pd.Series, shots: Any) -> pd.Series:
    """Return which values equal these shots; a missing value means all windows."""
    return column.isna() if pd.isna(shots) else (column == shots).fillna(False)


def shots_text(shots: Any) -> str:
    """Return the number of shots as text, `all` for all windows."""
    return "all" if shots is None or pd.isna(shots) else str(int(shots))


def by_shots(shots: Any) -> float:
    """Return a sort key of shots that puts all windows last."""
    return float("inf") if shots is None or pd.isna(shots) else float(shots)
