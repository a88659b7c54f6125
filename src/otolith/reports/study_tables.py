"""Tables and sentences that the pages of all studies share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from otolith.evaluation.statistics import Gain
from otolith.reports.style import by_shots, markdown_table, points, shots_text

MULTIPLE_COMPARISONS = (
    "With many comparisons, about one interval in 40 lies above zero by chance alone, and one in 40 below zero."
)
"""The warning of every page about its many intervals."""


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
    lines = {}
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


def text_table(lines: Mapping[str, Mapping[str, str]]) -> str:
    """Return lines of cells by column as a Markdown table; a missing cell becomes -."""
    return markdown_table(pd.DataFrame.from_dict(lines, orient="index").fillna("-"))


def gain_cells(gains: Sequence[Gain]) -> dict[str, str]:
    """Return the cells of a table line by number of shots, in ascending order: each gain with its interval."""
    return {shots_text(gain.shots): gain_cell(gain) for gain in sorted_by_shots(gains)}


def gain_cell(gain: Gain) -> str:
    """Return a gain in points with its interval, such as `+1.2 [+0.3, +2.1]`."""
    return f"{points(gain.gain)} {interval(gain)}"


def interval(gain: Gain) -> str:
    """Return the interval of a gain in points, such as `[+0.3, +2.1]`."""
    return f"[{points(gain.low)}, {points(gain.high)}]"


def sorted_by_shots(gains: Sequence[Gain]) -> list[Gain]:
    """Return the gains in ascending order of shots, all windows last."""
    return sorted(gains, key=lambda gain: by_shots(gain.shots))


def count_clear(gains: Sequence[Gain]) -> tuple[int, int]:
    """Return how many intervals lie above zero and how many below."""
    return sum(gain.low > 0 for gain in gains), sum(gain.high < 0 for gain in gains)
