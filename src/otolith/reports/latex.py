"""The tables of a page in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

_SIGNS = {"\u2020": r"\textdagger{}", "<": r"\textless{}", ">": r"\textgreater{}", "->": r"$\to$"}


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return tables by caption as LaTeX, each a `table` with a label; they need the package booktabs.

    Args:
        tables: text by caption.
    """
    parts = ["% Needs \\usepackage{booktabs}"]
    labels = set[str]()
    for caption, cells in tables.items():
        label = "tab:" + "-".join(re.findall(r"[a-z0-9]+", caption.lower())[:6])
        label = label if label not in labels else f"{label}-{len(labels) + 1}"
        labels.add(label)
        parts.append(
            cells.to_latex(
                escape=True,
                caption=caption.replace("%", r"\%"),
                label=label,
                position="t",
                column_format="l" * (1 + len(cells.columns)),
            )
        )
    text = "\n".join(parts)
    return re.sub("|".join(sorted(map(re.escape, _SIGNS), key=len, reverse=True)), lambda sign: _SIGNS[sign[0]], text)
