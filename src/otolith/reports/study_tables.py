"""Tables and sentences that the pages of all studies share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from otolith.evaluation.statistics import GROUPS_FOR_INTERVAL, Gain, holm
from otolith.reports.style import by_shots, markdown_table, points, shots_text

FEWER = "\u2020"
FEWER_LEGEND = f"{FEWER} rests on fewer folds or seeds than another cell of this table."
NO_INTERVAL = f"A cell without an interval rests on fewer than {GROUPS_FOR_INTERVAL} groups of test subjects."


class Cell(NamedTuple):
    """A cell of a table, with what it rests on.

    Attributes:
        text: what the cell says.
        folds: number of folds.
        seeds: number of seeds.
        cells: number of combinations of both that have rows.
    """

    text: str
    folds: int
    seeds: int
    cells: int

    def rests_on_less(self, other: Cell) -> bool:
        """Return whether this cell rests on fewer rows than the other and on no more folds and seeds."""
        return self[1:] != other[1:] and all(mine <= theirs for mine, theirs in zip(self[1:], other[1:], strict=True))


class Answer(NamedTuple):
    """An answer of a page.

    Attributes:
        question: the question.
        text: the answer in Markdown; empty if no rows answer it.
        gains: the comparisons that it makes.
    """

    question: str
    text: str
    gains: list[Gain]


def provenance(rows: pd.DataFrame) -> str:
    """Return what the page counts and what made it: the number of results, commit, torch, machine, hours."""
    commits, versions, machines = (", ".join(sorted(set(rows[name]))) for name in ("commit", "torch", "machine"))
    unique = rows.drop_duplicates("fingerprint")
    return (
        f"{len(unique):,} results on held-out subjects; the score is macro F1. Made by commit {commits}, torch {versions}, "
        f"{machines}; fitting and scoring took {unique['seconds'].sum() / 3600:.1f} hours. The CSV table of this page has "
        "every row with its settings."
    )


def run_table(rows: pd.DataFrame, planned: Mapping[tuple[str, str], int]) -> str:
    """Return a table of what was planned and what was run, per corpus and variant."""
    lines: dict[str, dict[str, str | Cell]] = {}
    for (target, variant), of in planned.items():
        here = rows[(rows["dataset"] == target) & (rows["variant"] == variant)]
        done = len(here)
        here = here[here["objective"] != "-"]
        settings = json.loads(here["pretraining"].iloc[0]).get("pretrain", {}) if len(here) else {}
        lines[f"{target}, {variant}"] = {
            "rows": f"{done} of {of}" if done else f"not run ({of})",
            "pretrained on": here["pretrained_on"].iloc[0] if len(here) else "-",
            "encoder": here["encoder"].iloc[0] if len(here) else "-",
            "pretraining": ", ".join(_settings(settings)),
        }
    return text_table(lines)


def _settings(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return settings as `name value`; those of a nested table have dotted names."""
    found = []
    for key, value in table.items():
        nested = isinstance(value, Mapping)
        found += _settings(value, f"{prefix}{key}.") if nested else [f"{prefix}{key} {value}"]
    return found


def marked(lines: Mapping[str, Mapping[str, str | Cell]]) -> pd.DataFrame:
    """Return lines of cells by column as a table of text; a missing cell becomes -.

    A cell that rests on fewer folds or seeds than another one is marked with `FEWER`; see `legend`.
    """
    every = {cell for line in lines.values() for cell in line.values() if isinstance(cell, Cell)}

    def text(cell: str | Cell) -> str:
        if isinstance(cell, str):
            return cell
        return f"{cell.text} {FEWER}" if any(map(cell.rests_on_less, every)) else cell.text

    cells = {name: {column: text(cell) for column, cell in line.items()} for name, line in lines.items()}
    table: pd.DataFrame = pd.DataFrame.from_dict(cells, orient="index").fillna("-")
    return table


def legend(table: pd.DataFrame) -> str:
    """Return the legend of a table of `marked`; empty if no cell is marked."""
    return FEWER_LEGEND if any(str(text).endswith(FEWER) for text in table.to_numpy().ravel()) else ""


def text_table(lines: Mapping[str, Mapping[str, str | Cell]]) -> str:
    """Return the table of `marked` in Markdown, with its legend if it needs one."""
    table = marked(lines)
    return "\n\n".join(part for part in (markdown_table(table), legend(table)) if part)


def score_cell(line: Any, more: str = "") -> str | Cell:
    """Return the cell of a line of `statistics.summary`, such as `0.823 [0.77, 0.88]`, or - where it has no score."""
    if np.isnan(line.macro_f1):
        return "-"
    return Cell(f"{score_text(line)}{more}", int(line.folds), int(line.seeds), int(line.cells))


def score_text(line: Any) -> str:
    """Return the score of a line of `statistics.summary` with its interval, if it has one."""
    ends = "" if np.isnan(line.low) else f" [{line.low:.2f}, {line.high:.2f}]"
    return f"{line.macro_f1:.3f}{ends}"


def gain_cells(gains: Sequence[Gain]) -> dict[str, str | Cell]:
    """Return the cells of a table line by number of shots, in ascending order: each gain with its interval."""
    return {shots_text(gain.shots): gain_cell(gain) for gain in sorted_by_shots(gains)}


def gain_cell(gain: Gain, before: str = "") -> Cell:
    """Return the cell of a gain."""
    return Cell(before + gain_text(gain), gain.folds, gain.seeds, gain.cells)


def gain_text(gain: Gain) -> str:
    """Return a gain in points with its interval, if it has one, such as `+1.2 [+0.3, +2.1]`."""
    return f"{points(gain.gain)}{gain_interval(gain)}"


def gain_interval(gain: Gain) -> str:
    """Return the interval of a gain in points after a space, such as ` [+0.3, +2.1]`; empty if it has none."""
    return "" if np.isnan(gain.low) else f" [{points(gain.low)}, {points(gain.high)}]"


def sorted_by_shots(gains: Sequence[Gain]) -> list[Gain]:
    """Return the gains in ascending order of shots, all windows last."""
    return sorted(gains, key=lambda gain: by_shots(gain.shots))


def clear(gains: Sequence[Gain]) -> list[bool]:
    """Return which gains clearly differ from zero: p < .05 after Holm's adjustment for all of `gains`."""
    return [bool(p < 0.05) for p in holm([gain.p for gain in gains])]


def verdict(gains: Sequence[Gain], subject: str = "the first") -> str:
    """Return in words how many comparisons were made, and in how many of them `subject` is clearly better or worse."""
    better = sum(gain.gain > 0 for gain, sure in zip(gains, clear(gains), strict=True) if sure)
    worse = sum(clear(gains)) - better
    none = sum(np.isnan(gain.low) for gain in gains)
    if none == len(gains):
        return f"none of {none} comparisons has an interval"
    without = f"; {none} have no interval" if none else ""
    return f"of {len(gains)} comparisons, {subject} is clearly better in {better} and clearly worse in {worse}{without}"


def comparisons_note(count: int) -> str:
    """Return what a page says about the number of its comparisons."""
    return (
        f"The page makes {count} comparisons. An interval is not adjusted for their number: one in 20 misses the true "
        "difference. Clearly better or worse means p < .05 of Student's t test after Holm's adjustment for all comparisons "
        "of the same answer."
    )
