"""Write the report of one run: one self-contained HTML page with its findings, tables and figures. Trains nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from otolith.datasets import Dataset
from otolith.evaluation.statistics import gains, summary
from otolith.reports import html, references
from otolith.reports.figures import Embedding, curve, embedding_figure, gain_figure, history_figure, score_figure
from otolith.reports.findings import (
    COMPARISONS,
    best_arm,
    findings,
    gain_pairs,
    gain_table,
    pretrained_arms,
    table,
)
from otolith.reports.html import Section
from otolith.reports.people import scores_by_class, scores_by_subject
from otolith.reports.study_tables import NO_INTERVAL, gain_text, legend, sorted_by_shots
from otolith.reports.style import arms_in_order, by_shots, mode_title, same_shots, shots_text
from otolith.storage.files import write_text

_TERMS = (
    "macro F1",
    "interval",
    "held-out subjects",
    "labelled windows per class",
    "method",
    "gain",
    "confusion matrix",
)
_MARKS = html.paragraph(
    "Diamonds and lines: mean and 95 % interval over groups of test subjects; dots: subjects. Point at a mark for its "
    "value.",
    "note",
)


def write(
    path: Path,
    rows: pd.DataFrame,
    *,
    title: str,
    card: Dataset,
    recipe: str,
    embedding: Embedding | None = None,
    history: Sequence[Sequence[Any]] = (),
    picture: Markup | None = None,
) -> None:
    """Write the page atomically; it needs no network and no other file. It links to `rows.csv` in its folder.

    Args:
        path: the HTML file.
        rows: result rows of the run.
        title: heading of the page.
        card: facts of the corpus.
        recipe: the recipe's text.
        embedding: a map of windows of test subjects.
        history: lines of (epoch, training loss, validation loss or None).
        picture: figure of a labelled recording (`html.figure`).
    """
    shots = sorted(rows["shots"].unique(), key=by_shots)
    middle = shots[len(shots) // 2]
    sections = [
        Section("Findings", [*_warnings(rows), html.bullets(findings(rows))]),
        Section("Scores", _scores(rows, shots)),
        Section("Gains", _gains(rows)),
        Section("Classes and people", _classes_and_people(rows, middle)),
        Section("Confusion matrix", _confusions(rows, middle)),
        Section("Features of the encoder", [] if embedding is None else [_map(embedding)]),
        Section("A labelled recording", [] if picture is None else [picture]),
        Section("How it was made", _made(rows, card, recipe, history)),
    ]
    lead, used = _lead(rows), references.used(rows)
    write_text(path, html.page(title, sections, lead=lead, terms=_TERMS, references=used))


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of the report as text, by caption: scores, gains, F1 by class and by subject, confusions."""
    shots = sorted(rows["shots"].unique(), key=by_shots)
    middle = shots[len(shots) // 2]
    words = f"with {shots_text(middle)} labelled windows per class"
    found = {"Macro F1 by labelled windows per class; mean and 95 % interval over groups of test subjects": table(rows)}
    if gain_pairs(rows):
        found["Paired gains in points of macro F1, by labelled windows per class"] = gain_table(rows)
    by_class, by_subject = _by_class(rows, middle), _by_subject(rows, middle)
    found[f"F1 by class, {words}"] = two_decimals(by_class)
    found[f"Macro F1 by subject, {words}"] = two_decimals(by_subject)
    for mode, shares in _confusion_shares(rows, middle).items():
        found[f"Confusion of {mode_title(mode)}, {words}: percent of the true class"] = percent(shares)
    return found


def _lead(rows: pd.DataFrame) -> Markup:
    subjects, folds = rows["test_subjects"].str.split().explode().nunique(), rows["fold"].nunique()
    seeds, classes = rows["seed"].nunique(), len(json.loads(rows["f1_by_class"].iloc[0]))
    words = (
        f"{subjects} subjects, each tested by models that were trained without that subject: {folds} folds by subject, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, "
    )
    rows_link = Markup('<a href="rows.csv">{} results (CSV)</a>').format(f"{len(rows):,}")
    return Markup("{}{}. Scores are {} over {} classes.").format(words, rows_link, html.term("macro F1"), classes)


def _warnings(rows: pd.DataFrame) -> list[Markup]:
    if not bool(rows["test_seen_in_pretraining"].any()):
        return []
    words = "Some encoders saw test subjects in pretraining: those rows are not of held-out subjects."
    return [html.paragraph(words, "warning")]


def _scores(rows: pd.DataFrame, shots: Sequence[Any]) -> list[Markup]:
    scores, found = table(rows), summary(rows)
    best = {shots_text(n): best_arm(found, list(found["mode"]), n)[0] for n in shots}
    winners = "; ".join(f"with {n} windows per class {mode_title(mode)} is highest" for n, mode in best.items())
    drawn = [html.figure(curve(rows), "Macro F1 by number of labels.", f"Macro F1 by number of labels: {winners}.")]
    for n in shots:
        here = found[same_shots(found["shots"], n)].sort_values("macro_f1", ascending=False)
        words = ", ".join(f"{mode_title(line.mode)} {line.macro_f1:.2f}" for line in here.itertuples())
        alt = f"Macro F1 with {shots_text(n)} windows: {words}."
        drawn.append(html.figure(score_figure(rows, n), f"{shots_text(n)} labelled windows per class.", alt))
    caption = f"Mean and 95 % interval over groups of test subjects, by labelled windows per class. {NO_INTERVAL}"
    return [html.table(scores, _with_legend(caption, scores), corner="method"), html.figures(*drawn), _MARKS]


def _gains(rows: pd.DataFrame) -> list[Markup]:
    pairs = gain_pairs(rows)
    if not pairs:
        return []
    drawn = []
    for over, arms in pairs.items():
        words = "; ".join(
            f"{mode_title(arm)} with {shots_text(gain.shots)} windows {gain_text(gain)}"
            for arm in arms
            for gain in sorted_by_shots(gains(rows, arm, over))
        )
        caption = f"Gain over {mode_title(over)}, by method and labelled windows per class."
        drawn.append(html.figure(gain_figure(rows, arms, over), caption, f"Gain over {mode_title(over)}: {words}."))
    differences = gain_table(rows)
    count = int((differences != "-").to_numpy().sum())
    caption = f"{count} comparisons, paired on fold, seed and labelled windows, in points. {COMPARISONS}"
    return [
        html.figures(*drawn),
        _MARKS,
        html.table(differences, _with_legend(caption, differences), corner="comparison"),
    ]


def _classes_and_people(rows: pd.DataFrame, shots: Any) -> list[Markup]:
    by_class, by_subject = _by_class(rows, shots), _by_subject(rows, shots)
    words = f"with {shots_text(shots)} labelled windows per class, over all folds and seeds in which it is tested"
    return [
        html.paragraph("Averages hide people and classes. The stronger a cell's colour, the higher the score."),
        html.table(two_decimals(by_class), f"F1 of each class {words}", corner="class", shade=by_class, kind="matrix"),
        html.table(
            two_decimals(by_subject),
            f"Macro F1 of each subject {words}",
            corner="subject",
            shade=by_subject,
            kind="matrix",
        ),
    ]


def _confusions(rows: pd.DataFrame, shots: Any) -> list[Markup]:
    parts = []
    for mode, shares in _confusion_shares(rows, shots).items():
        caption = (
            f"{mode_title(mode)[0].upper()}{mode_title(mode)[1:]}, {shots_text(shots)} windows per class: percent of each "
            "true class (row) that got each label (column); all folds and seeds together"
        )
        parts.append(html.table(percent(shares), caption, corner="true class", shade=shares, kind="matrix"))
    return parts


def _map(embedding: Embedding) -> Markup:
    caption = (
        "Map (t-SNE) of the pretrained encoder's features for windows of held-out subjects, before any label was used, "
        "coloured by {}."
    )
    good = {"label": "Good features group windows by label.", "subject": "Good features mix subjects."}
    return html.figures(
        *(
            html.figure(embedding_figure(embedding, by), f"{caption.format(by)} {words}", caption.format(by))  # type: ignore[arg-type]
            for by, words in good.items()
        )
    )


def _made(rows: pd.DataFrame, card: Dataset, recipe: str, history: Sequence[Sequence[Any]]) -> list[Markup]:
    parts = [html.table(_facts(rows, card), "Corpus, code and machine", hidden_caption=True)]
    short = sorted({text for text in rows["fewer"] if text != "{}"})
    if short:
        words = "In some draws, some classes had fewer windows than requested; one example:"
        parts.append(html.paragraph(f"{words} {short[0]}.", "note"))
    if history:
        first, last = history[0][1], history[-1][1]
        alt = f"The pretraining loss on training subjects goes from {first:.2f} to {last:.2f} in {len(history)} epochs."
        parts.append(html.figure(history_figure(history), "Pretraining losses of the first fold.", alt))
    return [*parts, html.details("The recipe as it was run", html.code(recipe))]


def _facts(rows: pd.DataFrame, card: Dataset) -> pd.DataFrame:
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
    return pd.DataFrame({"": facts})


def _by_class(rows: pd.DataFrame, shots: Any) -> pd.DataFrame:
    return pd.DataFrame({mode_title(mode): scores_by_class(part) for mode, part in _by_mode(rows, shots).items()})


def _by_subject(rows: pd.DataFrame, shots: Any) -> pd.DataFrame:
    scores = {mode_title(mode): scores_by_subject(part) for mode, part in _by_mode(rows, shots).items()}
    return pd.DataFrame(scores).sort_index(key=lambda names: names.map(natural_order))


def natural_order(name: str) -> str:
    """Return a sort key that puts subject 9 before subject 10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(9), name)


def _by_mode(rows: pd.DataFrame, shots: Any) -> dict[str, pd.DataFrame]:
    """Return the rows with these shots by mode; zero-shot modes, which have no other, are there too."""
    here = rows[same_shots(rows["shots"], shots) | same_shots(rows["shots"], 0)]
    return {mode: here[here["mode"] == mode] for mode in arms_in_order(here)}


def _confusion_shares(rows: pd.DataFrame, shots: Any) -> Mapping[str, pd.DataFrame]:
    """Return, of the best pretrained arm and of the forest, the shares of each true class (rows) by label (columns)."""
    found = summary(rows)
    classes = list(json.loads(rows["f1_by_class"].iloc[0]))
    shares = {}
    for mode in best_arm(found, pretrained_arms(rows), shots) + best_arm(found, ["forest"], shots):
        chosen = rows[(rows["mode"] == mode) & same_shots(rows["shots"], shots)]
        total = np.sum([json.loads(text) for text in chosen["confusion"]], axis=0)
        shares[mode] = confusion_shares(total, classes)
    return shares


def confusion_shares(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return (classes, classes) windows as shares of each true class, which are the rows."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(shares, index=list(classes), columns=list(classes))


def two_decimals(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores as text; NaN becomes -."""
    return scores.map(lambda value: "-" if np.isnan(value) else f"{value:.2f}")


def percent(shares: pd.DataFrame) -> pd.DataFrame:
    """Return shares as text in percent; what rounds to 0 is empty."""
    return shares.map(lambda value: f"{100 * value:.0f}" if value >= 0.005 else "")


def _with_legend(caption: str, cells: pd.DataFrame) -> str:
    return f"{caption} {legend(cells)}".strip()
