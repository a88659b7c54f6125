"""Write a study's page, figure and tables from the rows of several variants and corpora. Trains nothing.

The page answers the questions of one paper: those of PRIMUS if an encoder was pretrained by PRIMUS, else those of "Don't
freeze". Every answer is a paired comparison on the same folds, seeds and labelled windows, with an interval over groups of
test subjects. A question whose variants were not run is left out, and the page lists what was not run.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.evaluation.recalls import Recall
from otolith.evaluation.rows import Row
from otolith.reports import dont_freeze, primus
from otolith.reports.style import svg
from otolith.storage.files import write_text

_JSON = ("pretraining", "transfer", "f1_by_class", "f1_by_subject", "confusion")


def write(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    path: Path,
    title: str,
    recalls: pd.DataFrame | None = None,
) -> None:
    """Write the page and its figure (`<page>.svg`), each atomically; the rows' objectives determine whose paper it is."""
    figure = path.with_suffix(".svg")
    if (rows["objective"] == "primus").any():
        drawn = primus.curves(rows)
        text = primus.page(rows, planned, title=title, figure=figure.name, recalls=recalls)
    else:
        drawn = dont_freeze.curves(rows)
        text = dont_freeze.page(rows, planned, title=title, figure=figure.name)
    write_text(figure, svg(drawn).decode())
    write_text(path, text)


def write_table(
    rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], path: Path, recalls: pd.DataFrame | None = None
) -> None:
    """Write all rows as CSV, with `planned` as a column, and the recalls, if there are any, as `<table>-recalls.csv`.

    `read_table` and `read_recalls` read them back, and the same page follows from them.
    """
    keys = list(zip(rows["dataset"], rows["variant"], strict=True))
    kept = rows.assign(planned=[planned[key] for key in keys])
    order = {key: place for place, key in enumerate(planned)}
    kept = kept.assign(_=[order[key] for key in keys]).sort_values(["_", "mode", "shots", "seed", "fold"])
    write_text(path, kept.drop(columns="_").to_csv(index=False, lineterminator="\n"))
    if recalls is not None and len(recalls):
        write_text(_recalls_path(path), recalls.to_csv(index=False, lineterminator="\n"))


def read_table(path: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    """Return the rows and planned numbers that `write_table` wrote.

    Raises:
        ValueError: the file is not such a table.
    """
    rows = _table(path, Row)
    if missing := {"dataset", "variant", "planned", "macro_f1", "shots"} - set(rows.columns):
        raise ValueError(
            f"'{path}' lacks the columns {', '.join(sorted(missing))}; expected a table that otolith study wrote"
        )
    rows["shots"] = pd.to_numeric(rows["shots"]).astype("Int64")
    groups = rows.groupby(["dataset", "variant"], sort=False)["planned"].first()
    return rows.drop(columns="planned"), {(str(a), str(b)): int(n) for (a, b), n in groups.items()}


def read_recalls(path: Path) -> pd.DataFrame:
    """Return the recalls that `write_table` wrote with the table `path`; empty if there are none.

    Raises:
        ValueError: the file is not such a table.
    """
    file = _recalls_path(path)
    if not file.is_file():
        return pd.DataFrame()
    table = _table(file, Recall)
    expected = {
        "setting",
        "variant",
        "modality",
        *(name for name in Recall.__dataclass_fields__ if re.search(r"_r\d+$", name)),
    }
    if missing := expected - set(table.columns):
        raise ValueError(
            f"'{file}' lacks the columns {', '.join(sorted(missing))}; expected recalls that this version of otolith study "
            "wrote"
        )
    return table


def _table(path: Path, kind: type) -> pd.DataFrame:
    """Read records of a kind.

    Raises:
        ValueError: the file is no table, or a column of numbers holds text; the message names its line.
    """
    words = {field.name: str for field in dataclasses.fields(kind) if field.type == "str"}
    try:
        table: pd.DataFrame = pd.read_csv(path, dtype=words, keep_default_na=False)
    except ValueError as error:  # pandas' own errors too
        raise ValueError(f"'{path}' cannot be read as a table: {str(error).strip()}") from error
    numbers = [field.name for field in dataclasses.fields(kind) if field.type in ("int", "float", "int | None")]
    for name in {*numbers, "planned"} & set(table.columns):
        cells = table[name].astype(str)
        found = pd.to_numeric(cells, errors="coerce")
        wrong = ~np.isfinite(found) & (cells != "")
        if name in ("accuracy", "macro_f1"):
            wrong |= (found < 0) | (found > 1)
        if wrong.any():
            line = int(np.argmax(wrong))
            wanted = "a number from 0 to 1" if name in ("accuracy", "macro_f1") else "a number"
            raise ValueError(f"'{path}', row {line + 1}: {name} is '{cells.iloc[line]}'; expected {wanted}")
    for name in set(_JSON) & set(table.columns):
        for line, cell in enumerate(table[name]):
            try:
                fine = cell == "" or isinstance(json.loads(cell), dict | list)
            except (ValueError, RecursionError):
                fine = False
            if not fine:
                raise ValueError(f"'{path}', row {line + 1}: {name} is '{cell[:40]}'; expected JSON")
    return table


def _recalls_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-recalls.csv")
