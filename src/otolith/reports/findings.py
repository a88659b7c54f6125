"""Tables and findings of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, gains, summary
from otolith.reports.study_tables import gain_cell, interval, sorted_by_shots
from otolith.reports.style import (
    TITLES,
    arms_in_order,
    by_shots,
    markdown_table,
    mode_title,
    p_value,
    points,
    same_shots,
    shots_text,
)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return macro F1 with its interval as text, with one line per mode and one column per number of shots."""
    found = summary(rows)
    shots = sorted(found["shots"].unique(), key=by_shots)
    lines = {}
    for mode in arms_in_order(found):
        of_mode = found[found["mode"] == mode]
        lines[mode_title(mode)] = {shots_text(n): _cell(of_mode[same_shots(of_mode["shots"], n)]) for n in shots}
    result: pd.DataFrame = pd.DataFrame.from_dict(lines, orient="index")
    return result


def markdown(rows: pd.DataFrame) -> str:
    """Return the table, the paired gains, the findings and their provenance in Markdown."""
    first = rows.iloc[0]
    parts = [
        f"Macro F1 on held-out subjects by labelled windows per class; {rows['fold'].nunique()} folds by subject, "
        f"{rows['seed'].nunique()} seeds; mean \u00b1 half of the 95 % interval over seeds.",
        markdown_table(table(rows)),
    ]
    if "finetune" in set(rows["mode"]):
        parts += ["Paired gains in points, with 95 % bootstrap intervals over groups of test subjects:"]
        parts += [markdown_table(gain_table(rows))]
    parts += [
        "\n".join(f"- {text}" for text in findings(rows)),
        f"Made by otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}, {first['machine']}.",
    ]
    return "\n\n".join(parts) + "\n"


def findings(rows: pd.DataFrame) -> list[str]:
    """Return what the rows show, in sentences; a difference whose interval contains zero is called not clear."""
    modes, found = set(rows["mode"]), summary(rows)
    sentences = []
    for over, title in (("frozen", "freezing"), ("scratch", "training the same network from scratch")):
        if {"finetune", over} <= modes:
            differences = "; ".join(map(_gain_text, gains(rows, "finetune", over)))
            sentences.append(f"Fine-tuning compared with {title}: {differences}.")
    sentences += _against_classical(rows, found)
    if "zero-shot" in modes:
        zero = found[found["mode"] == "zero-shot"].iloc[0]
        sentences.append(
            f"Zero-shot, without any label, reaches macro F1 {zero['macro_f1']:.2f} and accuracy {zero['accuracy']:.2f}."
        )
    best = found.loc[found["macro_f1"].idxmax()]
    sentences.append(
        f"The mean hides differences between subjects: {mode_title(best['mode'])} with {shots_text(best['shots'])} windows "
        f"per class reaches {best['macro_f1']:.2f} on average and {best['worst_subject']:.2f} for the worst subject."
    )
    return sentences


def pretrained_arms(rows: pd.DataFrame) -> list[str]:
    """Return the arms that trained or fitted a head on a pretrained encoder, with labels."""
    return sorted(set(rows.loc[(rows["objective"] != "-") & ~same_shots(rows["shots"], 0), "mode"]))


def best_arm(found: pd.DataFrame, modes: Sequence[str], shots: Any) -> list[str]:
    """Return the mode with the highest mean in a table of `summary`; empty if none of the modes has rows of these shots."""
    here = found[same_shots(found["shots"], shots) & found["mode"].isin(modes)]
    return [str(mode) for mode in here.nlargest(1, "macro_f1")["mode"]]


def gain_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the paired gains of fine-tuning over each control, with intervals and p values, as text."""
    lines = {}
    for over in ("frozen", "scratch", *CLASSICAL):
        if over in set(rows["mode"]):
            lines[f"fine-tuned over {TITLES[over]}"] = {
                shots_text(gain.shots): f"{gain_cell(gain)}, p {p_value(gain.p)}"
                for gain in sorted_by_shots(gains(rows, "finetune", over))
            }
    result: pd.DataFrame = pd.DataFrame.from_dict(lines, orient="index")
    return result


def _against_classical(rows: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Compare the best pretrained arm with each classical method, in one sentence per method."""
    arms, sentences = pretrained_arms(rows), []
    for classical in [name for name in CLASSICAL if name in set(rows["mode"]) and arms]:
        parts, worse = [], False
        for n in sorted(found.loc[found["mode"].isin(arms), "shots"].unique(), key=by_shots):
            (best,) = best_arm(found, arms, n)
            gain = next(g for g in gains(rows, best, classical) if by_shots(g.shots) == by_shots(n))
            parts.append(f"{_gain_text(gain)} ({mode_title(best)})")
            worse = worse or gain.high < 0
        sentences.append(f"The best pretrained arm compared with {TITLES[classical]}: " + "; ".join(parts) + ".")
        if classical == "forest" and worse:
            sentences.append(
                "Where the random forest is better, use it: it needs no pretraining. More unlabelled recordings, or an "
                "objective that preserves what the forest uses, may change this."
            )
    return sentences


def _gain_text(gain: Gain) -> str:
    unclear = "" if gain.low > 0 or gain.high < 0 else ", not clear"
    return f"{points(gain.gain)} points {interval(gain)} with {shots_text(gain.shots)} windows per class{unclear}"


def _cell(lines: pd.DataFrame) -> str:
    if len(lines) == 0:
        return "-"
    line = lines.iloc[0]
    half = "" if np.isnan(line["low"]) else f" \u00b1 {line['high'] - line['macro_f1']:.3f}"
    return f"{line['macro_f1']:.3f}{half}"
