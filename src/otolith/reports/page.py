"""Rows -> a table, figures and one self-contained HTML page that says in words what was found. Trains nothing."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from otolith.datasets import Dataset
from otolith.evaluation.statistics import summary
from otolith.reports.figures import Embedding, confusion_figure, curve, embedding_figure, gain_figure, history_figure
from otolith.reports.findings import _best, _gain_table, _pretrained, findings, table
from otolith.reports.style import by_shots, svg
from otolith.storage.files import write_text


def write(
    path: Path,
    rows: pd.DataFrame,
    *,
    title: str,
    card: Dataset,
    recipe: str,
    embedding: Embedding | None = None,
    history: Sequence[Sequence[Any]] = (),
    picture: bytes | None = None,
) -> None:
    """Writes the page, atomically; it needs no network and no other file.

    Args:
        path: the HTML file.
        rows: from `evaluate.gather`.
        title: of the page.
        card: facts of the corpus.
        recipe: the recipe's text.
        embedding: a map of test people's windows.
        history: lines of epoch, training loss, validation loss.
        picture: SVG of a labelled recording.
    """
    classes = list(json.loads(rows["f1_by_class"].iloc[0]))
    shots = sorted(rows["shots"].unique(), key=by_shots)
    middle = shots[len(shots) // 2]
    found = summary(rows)
    compared = _best(found, _pretrained(rows), middle) + _best(found, ["forest"], middle)
    first = rows.iloc[0]
    parts = [
        f"<h1>{_e(title)}</h1>",
        f"<p class=lead>{rows['test_subjects'].str.split().explode().nunique()} people, each tested by models that never "
        f"saw them: {rows['fold'].nunique()} folds by person, {rows['seed'].nunique()} "
        f"seed{'s' if rows['seed'].nunique() > 1 else ''}, {len(rows)} results. Scores are macro F1 over "
        f"{len(classes)} classes.</p>",
        "<h2>What was found</h2><ul>" + "".join(f"<li>{_e(text)}</li>" for text in findings(rows)) + "</ul>",
        "<h2>Scores</h2>" + _html_table(table(rows)),
        "<p class=note>Mean over folds for each seed, then mean over seeds &plusmn; half of the 95 % interval (Student's t "
        "over seeds). Columns: labelled windows a class.</p>",
        _figure(curve(rows), "Macro F1 against labelled windows a class. Bars: 95 % intervals over seeds."),
    ]
    if (figure := gain_figure(rows)) is not None:
        parts.append(
            _figure(
                figure,
                "Paired on the same fold, seed and labelled windows. Bars: 95 % bootstrap intervals over groups of test "
                "people. A bar that crosses zero shows no difference that could be relied on.",
            )
        )
        parts.append(_html_table(_gain_table(rows)))
    if compared:
        parts.append("<h2>Who is taken for whom</h2>")
        parts.append(
            _figure(
                confusion_figure(rows, compared, classes, middle),
                "Percent of the true class; all folds and seeds together; people never seen.",
            )
        )
    if embedding is not None:
        parts.append("<h2>What the encoder sees</h2>")
        parts.append(
            _figure(
                embedding_figure(embedding),
                "Map (t-SNE) of the pretrained encoder's 256 features for windows of people it has never seen, before any "
                "label was used. Good features lie together by label and mix people.",
            )
        )
    if picture is not None:
        parts.append("<h2>A recording, labelled</h2>")
        parts.append(
            _image(picture, "A recording of a person that neither pretraining nor the classifier has seen, labelled.")
        )
    parts.append("<h2>How it was made</h2>")
    if history:
        parts.append(_figure(history_figure(history), "The first fold's pretraining."))
    facts = {
        "Corpus": f"{card.title}: {card.subjects} people, {len(card.classes)} classes, {card.placements[0]}, "
        f"{card.rate_hz:g} Hz; {card.cite}; {card.licence}",
        "Encoder, objective": " / ".join(
            f"{encoder}, {objective}"
            for encoder, objective in sorted(set(zip(rows["encoder"], rows["objective"], strict=True)) - {("-", "-")})
            if objective != "-"
        ),
        "Code": f"otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}",
        "Machine": str(first["machine"]),
        "Time": f"{rows['seconds'].sum():,.0f} s of fitting and scoring in all",
        "Windows": f"{rows['n_test'].sum() // max(1, rows.groupby(['mode', 'shots', 'seed'], dropna=False).ngroups):,} "
        "test windows a seed",
    }
    lines = "".join(f"<tr><th>{_e(key)}</th><td>{_e(value)}</td></tr>" for key, value in facts.items())
    parts.append(f"<table class=facts>{lines}</table>")
    if bool(rows["test_seen_in_pretraining"].any()):
        parts.append(
            "<p class=warning>Some encoders saw test people in pretraining: those rows are not of people never seen.</p>"
        )
    short = sorted({text for text in rows["fewer"] if text != "{}"})
    if short:
        parts.append(f"<p class=note>Some classes had fewer windows than asked for in some draws: {_e(short[0])}.</p>")
    parts.append(f"<details><summary>The recipe, as it was run</summary><pre>{_e(recipe)}</pre></details>")
    page = _PAGE.replace("{title}", _e(title)).replace("{body}", "\n".join(parts))
    write_text(path, page)


def _e(text: object) -> str:
    return html.escape(str(text))


def _html_table(text: pd.DataFrame) -> str:
    head = "".join(f"<th>{_e(column)}</th>" for column in text.columns)
    lines = "".join(
        f"<tr><th>{_e(name)}</th>" + "".join(f"<td>{_e(cell)}</td>" for cell in line) + "</tr>"
        for name, line in zip(text.index, text.to_numpy(), strict=True)
    )
    return f"<div class=wide><table><tr><th></th>{head}</tr>{lines}</table></div>"


def _figure(figure: Figure, caption: str) -> str:
    return _image(svg(figure), caption)


def _image(data: bytes, caption: str) -> str:
    text = base64.b64encode(data).decode()
    image = f'<img src="data:image/svg+xml;base64,{text}" alt="{_e(caption)}">'
    return f"<figure>{image}<figcaption>{_e(caption)}</figcaption></figure>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; color: #1c1c1c;
  background: #fff; max-width: 60rem; margin: 2.5rem auto 5rem; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
.lead { color: #444; } .note, figcaption { color: #555; font-size: .875rem; }
.warning { background: #fff1e0; border-left: 4px solid #d55e00; padding: .6rem 1rem; }
li { margin-bottom: .45rem; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid #e3e3e3; font-size: .93rem; }
.facts th { font-weight: 600; white-space: nowrap; vertical-align: top; }
.wide { overflow-x: auto; }
figure { margin: 1.2rem 0 1.6rem; } figure img { max-width: 100%; height: auto; display: block; }
pre { background: #f6f6f6; padding: .9rem 1.1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; }
</style></head><body>
{body}
</body></html>
"""
