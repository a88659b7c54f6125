"""The page of an estimate: how well left-out people's classes are recognised, by class and by person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from otolith.apps.adapt.estimate import CANDIDATES, Choice
from otolith.data.windows import Windows
from otolith.reports import html
from otolith.reports.figures import Line, interval_figure
from otolith.reports.html import Section
from otolith.reports.page import confusion_shares, natural_order, percent, two_decimals
from otolith.reports.style import COLOURS


def page(choice: Choice, windows: Windows, csv: str) -> str:
    """Return the HTML page of an estimate; it needs no network and no other file.

    Args:
        choice: with estimates.
        windows: that the candidates were estimated on.
        csv: address of the table of the estimate, relative to the page.
    """
    classes, chosen = list(windows.label_names), choice.estimates[choice.chosen]
    people = [windows.subject_names[number] for number in np.unique(windows.subject)]
    by_person = pd.DataFrame(chosen.f1_by_person, index=people, columns=classes)
    by_person["macro F1"] = np.nanmean(chosen.f1_by_person, axis=1)
    by_person = by_person.sort_index(key=lambda names: names.map(natural_order))
    by_class = pd.DataFrame({CANDIDATES[name]: found.f1 for name, found in choice.estimates.items()}, index=classes)
    shares = confusion_shares(chosen.confusion, classes)
    figures = [_figure(choice, name, colour, classes, people) for name, colour in _COLOURS.items()]
    title = f"The {CANDIDATES[choice.chosen]}: macro F1 {chosen} on people left out"
    lead = Markup(
        "{} windows of {} people; every window was classified once, by a model fitted on other people alone. Scores are {}. "
        '<a href="{}">By fold (CSV)</a>.'
    ).format(f"{len(windows):,}", len(people), html.term("macro F1"), csv)
    chosen_title = f"the {CANDIDATES[choice.chosen]}"
    sections = [
        Section("Result", [html.bullets([*_scores(choice), *choice.why])]),
        Section(
            "By class",
            [
                html.figures(*figures),
                html.paragraph("Diamonds: F1 of all windows together; dots: people.", "note"),
                html.table(two_decimals(by_class), "F1 of each class", corner="class", shade=by_class, kind="matrix"),
            ],
        ),
        Section(
            "By person",
            [
                html.table(
                    two_decimals(by_person),
                    f"F1 of each class on each person's windows alone, {chosen_title}; - where a person lacks a class",
                    corner="person",
                    shade=by_person,
                    kind="matrix",
                )
            ],
        ),
        Section(
            "Confusion matrix",
            [
                html.table(
                    percent(shares),
                    f"Percent of each true class (row) that got each label (column), {chosen_title}",
                    corner="true class",
                    shade=shares,
                    kind="matrix",
                )
            ],
        ),
    ]
    return html.page(title, sections, lead=lead, terms=("macro F1", "interval", "confusion matrix", "unknown"))


_COLOURS = {"encoder": COLOURS["finetune"], "forest": COLOURS["forest"]}
"""Colour of each candidate."""


def _scores(choice: Choice) -> list[str]:
    return [f"{CANDIDATES[name].capitalize()}: macro F1 {found}." for name, found in choice.estimates.items()]


def _figure(choice: Choice, name: str, colour: str, classes: Sequence[str], people: Sequence[str]) -> Markup:
    """Return the figure of one candidate: F1 of each class, and of each person in it."""
    found = choice.estimates[name]
    lines = [
        Line(label, colour, score, np.nan, np.nan, f"{score:.2f}", dict(zip(people, column, strict=True)))
        for label, score, column in zip(classes, found.f1.tolist(), found.f1_by_person.T.tolist(), strict=True)
    ]
    title = CANDIDATES[name].capitalize()
    alt = f"F1 by class, {title}: " + ", ".join(f"{line.label} {line.text}" for line in lines) + "."
    return html.figure(interval_figure(lines, xlabel="F1, people left out", limits=(0, 1)), f"{title}.", alt)
