"""Write a study's page, figure and tables from the rows of several variants and corpora. Trains nothing.

The page answers the questions of one paper: those of PRIMUS if an encoder was pretrained by PRIMUS, else those of "Don't
freeze". Every answer is a paired comparison on the same folds, seeds and labelled windows, with an interval over groups of
test subjects. A question whose variants were not run is left out, and the page lists what was not run.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from otolith.evaluation.recalls import Recall
from otolith.evaluation.rows import Row
from otolith.reports import dont_freeze, html, markdown, primus, references
from otolith.reports.latex import latex as latex_tables
from otolith.reports.style import by_shots, mode_title, same_shots, shots_text, svg
from otolith.storage.files import write_text

_TERMS = ("macro F1", "interval", "held-out subjects", "labelled windows per class", "method", "gain")
_JSON = ("pretraining", "transfer", "f1_by_class", "f1_by_subject", "confusion")


def write(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    path: Path,
    title: str,
    rows_link: str,
    recalls: pd.DataFrame | None = None,
    latex: bool = False,
) -> None:
    """Write the page as Markdown with its figure (`<page>.svg`), and as one self-contained `<page>.html`, each atomically.

    The rows' objectives determine whose paper it is.

    Args:
        rows: of all variants.
        planned: number of planned rows by (corpus, variant).
        path: of the Markdown.
        title: heading of the page.
        rows_link: address of the table of all rows, relative to the page.
        recalls: cross-modal recalls, if there are any.
        latex: also write the tables as `<page>.tex`, and BibTeX of what was used as `<page>.bib`.
    """
    paper = primus if (rows["objective"] == "primus").any() else dont_freeze
    figure = path.with_suffix(".svg")
    more = {"recalls": recalls} if paper is primus else {}
    text = paper.page(rows, planned, title=title, figure=figure.name, **more)
    write_text(figure, svg(paper.curves(rows)).decode())
    write_text(path, text)
    drawn, lines = list[Markup](), dict[str, Any]()
    for caption, each, here in paper.panels(rows):
        drawn.append(html.figure(each, caption, _alt(caption, here)))
        lines |= {line.get_label(): line for line in each.axes[0].get_legend_handles_labels()[0]}
    before, sections = markdown.sections(text)
    lead = Markup('{} <a href="{}">All rows (CSV)</a>. The score is {}.').format(
        before[0].striptags(), rows_link, html.term("macro F1")
    )
    curves = html.Section(
        "Macro F1 by number of labels", [*before[1:], html.legend(lines.values()), html.figures(*drawn)]
    )
    whole = html.page(title, [curves, *sections], lead=lead, terms=_TERMS, references=references.used(rows))
    write_text(path.with_suffix(".html"), whole)
    if latex:
        write_text(path.with_suffix(".tex"), latex_tables(markdown.tables(text)))
        write_text(path.with_suffix(".bib"), references.bibtex(references.used(rows)))


def _alt(caption: str, rows: pd.DataFrame) -> str:
    """Return what a panel shows: the arm with the highest mean for each number of labelled windows."""
    best = []
    for shots in sorted(rows["shots"].unique(), key=by_shots):
        here = rows[same_shots(rows["shots"], shots)]
        means = here.groupby(["variant", "mode"])["macro_f1"].mean()
        variant, mode = means.idxmax()
        best.append(f"with {shots_text(shots)} windows per class {variant}, {mode_title(mode)}, {means.max():.2f}")
    return f"Macro F1, {caption}; the highest mean is, {'; '.join(best)}."


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


def read_rows(path: Path) -> pd.DataFrame:
    """Return result rows of any CSV table, such as `rows.csv` of a report.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is no table of rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table at '{path}'; otolith report writes rows.csv")
    rows = _table(path, Row)
    if missing := {"dataset", "mode", "macro_f1", "shots", "f1_by_subject", "test_subjects"} - set(rows.columns):
        raise ValueError(
            f"'{path}' lacks the columns {', '.join(sorted(missing))}; expected rows.csv of otolith report"
        )
    if not len(rows):
        raise ValueError(f"'{path}' has no rows; otolith report writes them")
    return rows.assign(shots=pd.to_numeric(rows["shots"]).astype("Int64"))


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
    with path.open(encoding="utf-8", newline="") as file:  # pandas fills rows that were cut off
        lines = [len(cells) for cells in csv.reader(file) if cells]
    if short := sum(found < lines[0] for found in lines):
        raise ValueError(
            f"'{path}' is damaged: {short} of {len(table)} rows have fewer cells than columns; copy it again"
        )
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
