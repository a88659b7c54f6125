"""Findings in words, and tables, of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, gains, summary
from otolith.reports.figures import _arms
from otolith.reports.style import (
    TITLES,
    _p,
    _plain,
    _title,
    by_shots,
    markdown_table,
    points,
    same_shots,
    shots_in_words,
)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Macro F1 with its interval, a line a mode and a column a number of shots; text, ready to print."""
    found = summary(rows)
    shots = sorted(found["shots"].unique(), key=by_shots)
    lines = {}
    for mode in _arms(found):
        of_mode = found[found["mode"] == mode]
        lines[_title(mode)] = {shots_in_words(n): _cell(of_mode[same_shots(of_mode["shots"], n)]) for n in shots}
    result: pd.DataFrame = pd.DataFrame.from_dict(lines, orient="index")
    return result


def markdown(rows: pd.DataFrame) -> str:
    """The table, the paired gains and the findings in Markdown, with what made them."""
    first = rows.iloc[0]
    made = f"otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}, {first['machine']}"
    parts = [
        f"Macro F1 on people never seen, by labelled windows a class; {rows['fold'].nunique()} folds by person, "
        f"{rows['seed'].nunique()} seeds; mean \u00b1 half of the 95 % interval over seeds.",
        markdown_table(table(rows)),
    ]
    if "finetune" in set(rows["mode"]):
        parts += ["Paired gains in points, with 95 % bootstrap intervals over groups of test people:"]
        parts += [markdown_table(_gain_table(rows))]
    parts += ["\n".join(f"- {text}" for text in findings(rows)), f"Made by {made}."]
    return "\n\n".join(parts) + "\n"


def findings(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences; nothing is claimed whose interval contains zero."""
    said = []
    modes, found = set(rows["mode"]), summary(rows)
    if {"finetune", "frozen"} <= modes:
        said.append(
            "Fine-tuning against freezing: " + "; ".join(map(_gain_in_words, gains(rows, "finetune", "frozen"))) + "."
        )
    if {"finetune", "scratch"} <= modes:
        said.append(
            "Pretraining, then fine-tuning, against the same network from scratch: "
            + "; ".join(map(_gain_in_words, gains(rows, "finetune", "scratch")))
            + "."
        )
    ours = _pretrained(rows)
    for classical in [name for name in CLASSICAL if name in modes and ours]:
        parts = []
        for n in sorted(found.loc[found["mode"].isin(ours), "shots"].unique(), key=by_shots):
            (best,) = _best(found, ours, n)
            gain = next(g for g in gains(rows, best, classical) if g.shots == _plain(n))
            parts.append(f"{_gain_in_words(gain)} ({_title(best)})")
        said.append(f"The best of the pretrained against the {TITLES[classical]}: " + "; ".join(parts) + ".")
        if classical == "forest" and any("loses" in part for part in parts):
            said.append(
                "Where the forest is ahead, use the forest: it needs no pretraining. More unlabelled recordings, or "
                "objectives that keep what the forest sees, are the ways to change that."
            )
    if "zero-shot" in modes:
        words = found[found["mode"] == "zero-shot"].iloc[0]
        said.append(
            f"Words alone, without any label, reach macro F1 {words['macro_f1']:.2f} and accuracy {words['accuracy']:.2f}."
        )
    best_line = found.loc[found["macro_f1"].idxmax()]
    said.append(
        f"Averages hide people: with {shots_in_words(best_line['shots'])} windows a class, {_title(best_line['mode'])} "
        f"reaches {best_line['macro_f1']:.2f} on average and {best_line['worst_subject']:.2f} for the person served worst."
    )
    return said


def _pretrained(rows: pd.DataFrame) -> list[str]:
    """The arms that trained or fitted a head on a pretrained encoder, with labels."""
    return sorted(set(rows.loc[(rows["objective"] != "-") & ~same_shots(rows["shots"], 0), "mode"]))


def _best(found: pd.DataFrame, modes: Sequence[str], shots: Any) -> list[str]:
    """The mode with the highest mean among these, by `summary`; none where none has rows of these shots."""
    here = found[same_shots(found["shots"], shots) & found["mode"].isin(modes)]
    return [str(mode) for mode in here.nlargest(1, "macro_f1")["mode"]]


def _gain_table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = {}
    for over in ("frozen", "scratch", *CLASSICAL):
        if over in set(rows["mode"]):
            found = sorted(gains(rows, "finetune", over), key=lambda gain: by_shots(gain.shots))
            lines[f"fine-tuned over {TITLES[over]}"] = {
                shots_in_words(g.shots): f"{points(g.gain)} [{points(g.low)}, {points(g.high)}], p {_p(g.p)}"
                for g in found
            }
    result: pd.DataFrame = pd.DataFrame.from_dict(lines, orient="index")
    return result


def _gain_in_words(gain: Gain) -> str:
    size, ends = f"{points(gain.gain)} points", f"[{points(gain.low)}, {points(gain.high)}]"
    verdict = "gains" if gain.low > 0 else "loses" if gain.high < 0 else "no clear difference,"
    return f"with {shots_in_words(gain.shots)} windows a class {verdict} {size} {ends}"


def _cell(lines: pd.DataFrame) -> str:
    if len(lines) == 0:
        return "-"
    line = lines.iloc[0]
    half = "" if np.isnan(line["low"]) else f" \u00b1 {line['high'] - line['macro_f1']:.3f}"
    return f"{line['macro_f1']:.3f}{half}"
