"""Pages: parts that a template turns into HTML, with one style sheet for all pages (`templates/`)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from otolith import __version__
from otolith.reports.drawing import THEME, inline_svg
from otolith.reports.references import bibtex
from otolith.reports.terms import TERMS


class Section(NamedTuple):
    """A part of a page, with a line in its contents.

    Attributes:
        title: heading.
        parts: HTML, in order.
    """

    title: str
    parts: Sequence[Markup]

    @property
    def anchor(self) -> str:
        """Name of the section in addresses."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: Markup | str = "",
    terms: Sequence[str] = ("macro F1",),
    references: Sequence[str] = (),
) -> str:
    """Return a page of sections; it needs no network and no other file.

    Args:
        title: heading of the page.
        sections: in order; those without parts are left out.
        lead: the paragraph below the heading.
        terms: words of `terms.TERMS` that the page explains at its end.
        references: what was used, as keys of `references.bib`.
    """
    known = {name: TERMS[name] for name in terms}
    return render(
        "page.html",
        title=title,
        lead=lead,
        sections=[section for section in sections if section.parts],
        terms=known,
        bibtex=bibtex(references),
    )


def render(template: str, **values: Any) -> str:
    """Return a template with its values; a value that is missing is an error."""
    return _environment().get_template(template).render(**values)


def term(name: str) -> Markup:
    """Return a term as a link to its explanation on the same page."""
    return Markup('<a href="#term-{}">{}</a>').format(_anchor(name), name)


def paragraph(text: str | Markup, kind: str = "") -> Markup:
    """Return a paragraph; `kind` is a class of the style sheet, such as `note` or `warning`."""
    return Markup('<p class="{}">{}</p>').format(kind, text) if kind else Markup("<p>{}</p>").format(text)


def bullets(texts: Iterable[str]) -> Markup:
    """Return a list of sentences."""
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(text) for text in texts))


def details(summary: str, *parts: Markup) -> Markup:
    """Return parts that a click on the summary shows."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, Markup("").join(parts))


def code(text: str) -> Markup:
    """Return text as it is, in a box that scrolls."""
    return Markup('<pre tabindex="0">{}</pre>').format(text)


def figure(drawn: Figure, caption: str, alt: str, *, wide: bool = False) -> Markup:
    """Return a figure of matplotlib with its caption; `alt` says in words what it shows."""
    return Markup('<figure class="{}">{}<figcaption>{}</figcaption></figure>').format(
        "wide" if wide else "", inline_svg(drawn, alt), caption
    )


def figures(*drawn: Markup) -> Markup:
    """Return figures side by side, where the window is wide enough."""
    return Markup('<div class="figures">{}</div>').format(Markup("").join(drawn))


def legend(lines: Iterable[Line2D]) -> Markup:
    """Return the legend of lines that several figures share; it wraps where the window is narrow."""
    items = [
        Markup('<li><i style="border-top: 3px {} var(--{})"></i>{}</li>').format(
            _STYLES[str(line.get_linestyle())], THEME[str(line.get_color())], line.get_label()
        )
        for line in lines
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


_STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashed"}
"""Style of a border for each style of a line."""


def table(
    cells: pd.DataFrame,
    caption: str | Markup,
    *,
    corner: str = "",
    shade: pd.DataFrame | None = None,
    hidden_caption: bool = False,
    kind: str = "",
) -> Markup:
    """Return a table; its index and columns are headings of rows and columns.

    Args:
        cells: text.
        caption: what the table shows.
        corner: heading of the first column.
        shade: of the same shape, from 0 to 1 or NaN: how strongly each cell is shaded.
        hidden_caption: whether the caption is for screen readers only, as the text above says the same.
        kind: a class of the style sheet.
    """
    rows = []
    for number, (name, line) in enumerate(zip(cells.index, cells.to_numpy(), strict=True)):
        shades = [None] * len(line) if shade is None else shade.iloc[number].astype(float).tolist()
        shades = [None if value is None or value != value else round(value, 3) for value in shades]
        rows.append((str(name), list(zip(map(_unbroken, line), shades, strict=True))))
    macro = _environment().get_template("parts.html").module.table  # type: ignore[attr-defined]
    found: Markup = macro(caption, hidden_caption, corner, list(map(str, cells.columns)), rows, kind)
    return found


def _unbroken(cell: object) -> str:
    """Return the text of a cell, whose interval and p value are not broken over lines."""
    return re.sub(r"(?<=,) (?=[^\[\]]*\])|(?<=\bp) ", "\u00a0", str(cell))


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("otolith.reports"),
        autoescape=lambda name: name is None or not name.endswith(".md"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["anchor"] = _anchor
    made.globals["version"] = __version__
    return made
