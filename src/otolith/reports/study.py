"""Rows of several variants and corpora -> one figure and one page that answers a paper's questions in numbers: those of
"Don't freeze", or, where an encoder was pretrained by PRIMUS, those of PRIMUS.

Every answer is a paired comparison on the same folds, seeds and labelled windows, with a bootstrap interval over groups of
test people. An answer whose variants were not run is left out, and the page says what was left. Trains nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from otolith.evaluation.recalls import Recall
from otolith.evaluation.rows import Row
from otolith.reports.dont_freeze import curves, page
from otolith.reports.primus import primus_curves, primus_page
from otolith.reports.style import svg
from otolith.storage.files import write_text


def write(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    path: Path,
    title: str,
    recalls: pd.DataFrame | None = None,
) -> None:
    """Writes the page and its figure (`<page>.svg`), each atomically. Which paper's follows from the rows' objectives."""
    figure = path.with_suffix(".svg")
    if (rows["objective"] == "primus").any():
        drawn, text = primus_curves(rows), primus_page(rows, planned, title=title, figure=figure.name, recalls=recalls)
    else:
        drawn, text = curves(rows), page(rows, planned, title=title, figure=figure.name)
    write_text(figure, svg(drawn).decode())
    write_text(path, text)


def write_table(
    rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], path: Path, recalls: pd.DataFrame | None = None
) -> None:
    """Writes all rows as CSV, from which `read_table` gives the same page again; `planned` becomes a column. Recalls, if
    there are any, go beside it: `<table>-recalls.csv`."""
    keys = list(zip(rows["dataset"], rows["variant"], strict=True))
    kept = rows.assign(planned=[planned[key] for key in keys])
    order = {key: place for place, key in enumerate(planned)}
    kept = kept.assign(_=[order[key] for key in keys]).sort_values(["_", "mode", "shots", "seed", "fold"])
    write_text(path, kept.drop(columns="_").to_csv(index=False, lineterminator="\n"))
    if recalls is not None and len(recalls):
        write_text(_beside(path), recalls.to_csv(index=False, lineterminator="\n"))


def read_recalls(path: Path) -> pd.DataFrame:
    """The recalls beside a table of rows, as `write_table` wrote them; empty where there are none."""
    beside = _beside(path)
    if not beside.is_file():
        return pd.DataFrame()
    words = {field.name: str for field in dataclasses.fields(Recall) if field.type == "str"}
    table: pd.DataFrame = pd.read_csv(beside, dtype=words, keep_default_na=False)
    return table


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-recalls.csv")


def read_table(path: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    """Rows and planned numbers, as `write_table` wrote them.

    Raises:
        ValueError: the file is no such table.
    """
    words = {field.name: str for field in dataclasses.fields(Row) if field.type == "str"}
    rows = pd.read_csv(path, dtype={**words, "shots": "Int64"}, keep_default_na=False, na_values={"shots": [""]})
    if missing := {"dataset", "variant", "planned", "macro_f1"} - set(rows.columns):
        raise ValueError(f"'{path}' lacks the columns {', '.join(sorted(missing))}; otolith study writes such tables")
    groups = rows.groupby(["dataset", "variant"], sort=False)["planned"].first()
    return rows.drop(columns="planned"), {(str(a), str(b)): int(n) for (a, b), n in groups.items()}
