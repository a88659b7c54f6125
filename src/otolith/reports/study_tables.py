"""Tables and small helpers that study pages share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from otolith.evaluation.statistics import Gain
from otolith.reports.style import by_shots, markdown_table, points


def _ran(rows: pd.DataFrame, planned: Mapping[tuple[str, str], int]) -> str:
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
            "pretraining": ", ".join(f"{key} {value}" for key, value in settings.items()),
        }
    return markdown_table(_frame(lines))


def _count(rows: pd.DataFrame) -> str:
    folds, seeds = rows["fold"].nunique(), rows["seed"].nunique()
    return (
        f"{folds} folds by person, {seeds} seeds. With so many comparisons, one in forty errs by chance on either side."
    )


def _frame(lines: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    result: pd.DataFrame = pd.DataFrame.from_dict(lines, orient="index").fillna("-")
    return result


def _cell(gain: Gain) -> str:
    return f"{points(gain.gain)} {_ends(gain)}"


def _ends(gain: Gain) -> str:
    return f"[{points(gain.low)}, {points(gain.high)}]"


def _sorted(gains: Sequence[Gain]) -> list[Gain]:
    return sorted(gains, key=lambda gain: by_shots(gain.shots))
