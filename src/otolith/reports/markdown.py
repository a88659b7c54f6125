"""The Markdown of a study's page -> sections of an HTML page and tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from otolith.reports import html
from otolith.reports.html import Section


class Block(NamedTuple):
    """A block of a document.

    Attributes:
        kind: `h1`, `h2`, `h3`, `p`, `image` or `table`.
        text: without markup; of a table, its caption.
        markup: HTML of a paragraph.
        cells: of a table.
        titled: whether a table's caption is no other block, such as a bold line above the table.
    """

    kind: str
    text: str
    markup: Markup = Markup()
    cells: pd.DataFrame = pd.DataFrame()
    titled: bool = False


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a document; a bold line above a table is its caption, else the nearest heading is."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    heading, waiting = "", None
    place = 0
    while place < len(tokens):
        kind = tokens[place].type
        if kind == "table_open":
            end = next(k for k in range(place, len(tokens)) if tokens[k].type == "table_close")
            caption = waiting.text if waiting else heading
            yield Block("table", caption, cells=_cells(tokens[place:end]), titled=waiting is not None)
            waiting, place = None, end
        elif kind in ("heading_open", "paragraph_open"):
            if waiting:
                yield waiting
            waiting, inline = None, tokens[place + 1]
            block = Block(
                tokens[place].tag, _plain(inline), Markup(parser.renderer.render([inline], parser.options, {}))
            )
            if any(child.type == "image" for child in inline.children or ()):
                block = Block("image", block.text)
            elif block.kind.startswith("h"):
                heading = block.text
            elif inline.content.startswith("**"):
                waiting = block
            if waiting is None:
                yield block
        place += 1
    if waiting:
        yield waiting


def sections(text: str) -> tuple[list[Markup], list[Section]]:
    """Return the paragraphs before the first section, and the sections, of which each begins with a heading of level 2."""
    parts = before = list[Markup]()
    found = list[Section]()
    for block in blocks(text):
        if block.kind in ("h1", "image"):
            continue
        if block.kind == "h2":
            parts = []
            found.append(Section(block.text, parts))
            continue
        if block.kind == "table":
            part = html.table(block.cells, block.text, hidden_caption=not block.titled)
        elif block.kind == "h3":
            part = Markup("<h3>{}</h3>").format(block.text)
        else:
            part = html.paragraph(block.markup)
        parts.append(part)
    return before, found


def tables(text: str) -> dict[str, pd.DataFrame]:
    """Return the tables of a document by caption; captions that occur again are numbered."""
    found: dict[str, pd.DataFrame] = {}
    for block in blocks(text):
        if block.kind == "table":
            numbers = (block.text if number == 1 else f"{block.text} ({number})" for number in itertools.count(1))
            found[next(caption for caption in numbers if caption not in found)] = block.cells
    return found


def _cells(tokens: Sequence[Token]) -> pd.DataFrame:
    """Return the table of these tokens; the first column is its index."""
    lines: list[list[str]] = []
    for number, token in enumerate(tokens):
        if token.type == "tr_open":
            lines.append([])
        elif token.type in ("th_open", "td_open"):
            lines[-1].append(_plain(tokens[number + 1]))
    (_, *columns), *rows = lines
    return pd.DataFrame([row[1:] for row in rows], index=[row[0] for row in rows], columns=columns)


def _plain(inline: Token) -> str:
    return "".join(
        child.content for child in inline.children or () if child.type in ("text", "code_inline", "softbreak")
    )
