"""Write the report of one run: one self-contained HTML page with its findings, tables and figures. Trains nothing."""

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
from otolith.reports.findings import COMPARISONS, best_arm, findings, gain_table, pretrained_arms, table
from otolith.reports.study_tables import NO_INTERVAL, legend
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
    """Write the page atomically; it needs no network and no other file.

    Args:
        path: the HTML file.
        rows: result rows of the run.
        title: heading of the page.
        card: facts of the corpus.
        recipe: the recipe's text.
        embedding: a map of windows of test subjects.
        history: lines of (epoch, training loss, validation loss or None).
        picture: SVG of a labelled recording.
    """
    parts = [f"<h1>{_e(title)}</h1>", *_findings(rows), *_scores(rows), *_confusion(rows)]
    if embedding is not None:
        caption = (
            "Map (t-SNE) of the pretrained encoder's features for windows of held-out subjects, before any label was used. "
            "Good features group windows by label and mix subjects."
        )
        parts += ["<h2>Features of the encoder</h2>", _figure(embedding_figure(embedding), caption)]
    if picture is not None:
        caption = "A labelled recording of a subject that neither pretraining nor the classifier has seen."
        parts += ["<h2>A labelled recording</h2>", _image(picture, caption)]
    parts += ["<h2>How it was made</h2>"]
    if history:
        parts.append(_figure(history_figure(history), "Pretraining losses of the first fold."))
    parts += [_facts(rows, card), *_notes(rows)]
    parts.append(f"<details><summary>The recipe as it was run</summary><pre>{_e(recipe)}</pre></details>")
    write_text(path, _PAGE.replace("{title}", _e(title)).replace("{body}", "\n".join(parts)))


def _findings(rows: pd.DataFrame) -> list[str]:
    subjects, folds = rows["test_subjects"].str.split().explode().nunique(), rows["fold"].nunique()
    seeds, classes = rows["seed"].nunique(), len(json.loads(rows["f1_by_class"].iloc[0]))
    return [
        f"<p class=lead>{subjects} subjects, each tested by models that were trained without that subject: {folds} folds by "
        f"subject, {seeds} seed{'s' if seeds > 1 else ''}, {len(rows)} results. Scores are macro F1 over {classes} "
        "classes.</p>",
        "<h2>Findings</h2><ul>" + "".join(f"<li>{_e(text)}</li>" for text in findings(rows)) + "</ul>",
    ]


def _scores(rows: pd.DataFrame) -> list[str]:
    scores = table(rows)
    parts = [
        "<h2>Scores</h2>" + _html_table(scores),
        f"<p class=note>Mean and 95 % interval (Student's t) over groups of test subjects. Columns: labelled windows per "
        f"class. {NO_INTERVAL} {legend(scores)}</p>",
        _figure(
            curve(rows),
            "Macro F1 against labelled windows per class. Bars: 95 % intervals over groups of test subjects; dots: the "
            "groups, where they are too few for an interval.",
        ),
    ]
    if (figure := gain_figure(rows)) is not None:
        differences = gain_table(rows)
        caption = (
            "Paired on the same fold, seed and labelled windows. Bars: 95 % intervals over groups of test subjects; dots: "
            "the groups, where they are too few for an interval. A bar that crosses zero is no clear difference."
        )
        count = int((differences != "-").to_numpy().sum())
        note = f"<p class=note>{count} comparisons. {_e(COMPARISONS)} {legend(differences)}</p>"
        parts += [_figure(figure, caption), _html_table(differences), note]
    return parts


def _confusion(rows: pd.DataFrame) -> list[str]:
    """The confusion matrices of the best pretrained arm and of the forest, at the middle number of shots."""
    shots = sorted(rows["shots"].unique(), key=by_shots)
    middle, found = shots[len(shots) // 2], summary(rows)
    modes = best_arm(found, pretrained_arms(rows), middle) + best_arm(found, ["forest"], middle)
    if not modes:
        return []
    classes = list(json.loads(rows["f1_by_class"].iloc[0]))
    caption = "Percent of the true class; all folds and seeds together; held-out subjects."
    return ["<h2>Confusion matrix</h2>", _figure(confusion_figure(rows, modes, classes, middle), caption)]


def _facts(rows: pd.DataFrame, card: Dataset) -> str:
    first = rows.iloc[0]
    pairs = sorted(set(zip(rows["encoder"], rows["objective"], strict=True)))
    draws = max(1, rows.groupby(["mode", "shots", "seed"], dropna=False).ngroups)
    facts = {
        "Corpus": f"{card.title}: {card.subjects} subjects, {len(card.classes)} classes, {card.placements[0]}, "
        f"{card.rate_hz:g} Hz; {card.cite}; {card.licence}",
        "Encoder, objective": " / ".join(f"{encoder}, {objective}" for encoder, objective in pairs if objective != "-"),
        "Code": f"otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}",
        "Machine": str(first["machine"]),
        "Time": f"{rows['seconds'].sum():,.0f} s of fitting and scoring in total",
        "Windows": f"{rows['n_test'].sum() // draws:,} test windows per seed",
    }
    lines = "".join(f"<tr><th>{_e(key)}</th><td>{_e(value)}</td></tr>" for key, value in facts.items())
    return f"<table class=facts>{lines}</table>"


def _notes(rows: pd.DataFrame) -> list[str]:
    parts = []
    if bool(rows["test_seen_in_pretraining"].any()):
        parts.append(
            "<p class=warning>Some encoders saw test subjects in pretraining: those rows are not of held-out subjects.</p>"
        )
    short = sorted({text for text in rows["fewer"] if text != "{}"})
    if short:
        parts.append(
            f"<p class=note>In some draws, some classes had fewer windows than requested; one example: {_e(short[0])}.</p>"
        )
    return parts


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
