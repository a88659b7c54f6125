"""The report of a run: its rows as a table, pages and figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from otolith.checkpoints import checkpoint
from otolith.classifiers.features import embed
from otolith.evaluation.protocol import collect_rows
from otolith.experiments.corpora import card, open_corpus
from otolith.experiments.run import Run
from otolith.reports import figures, findings, page, references
from otolith.reports.latex import latex as latex_tables
from otolith.storage.files import write_text


def report(run: Run, *, picture: Markup | None = None, latex: bool = False) -> tuple[Path, pd.DataFrame]:
    """Collect a run's rows into `rows.csv`; write `report.html` and `report.md`; return the page's path and the rows.

    Args:
        run: whose planned rows are all computed.
        picture: figure of a labelled recording (`apps.label.picture`), for the page.
        latex: whether to write the tables as `tables.tex`, and the BibTeX of what was used as `references.bib`.

    Raises:
        FileNotFoundError: a row or an encoder is missing.
    """
    windows = run.windows()
    rows = collect_rows(run.rows, run.planned_rows(windows, allow_seen=True))
    write_text(run.folder / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
    write_text(run.folder / "report.md", findings.markdown(rows))
    unit = run.plan(windows)[0]
    loaded = checkpoint.load(run.encoder_path(unit))
    unseen = windows.for_subjects(unit.split.test)
    facts = card(run.recipe.dataset, open_corpus(run.data, run.recipe.dataset))
    if latex:
        write_text(run.folder / "tables.tex", latex_tables(page.tables(rows)))
        write_text(run.folder / "references.bib", references.bibtex(references.used(rows)))
    out = run.folder / "report.html"
    page.write(
        out,
        rows,
        title=f"{facts.title}: {run.recipe.name}",
        card=facts,
        recipe=run.recipe.text,
        embedding=figures.Embedding.of(embed(loaded.encoder, unseen), unseen),
        history=loaded.about.get("history", ()),
        picture=picture,
    )
    return out, rows
