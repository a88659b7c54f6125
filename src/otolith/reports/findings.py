"""Tables and findings of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, gains, summary
from otolith.reports.study_tables import (
    NO_INTERVAL,
    Cell,
    clear,
    gain_cell,
    gain_interval,
    gain_text,
    legend,
    marked,
    score_cell,
    sorted_by_shots,
)
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

COMPARISONS = (
    "p is of Student's t test and, like the interval, of one comparison alone. In the findings, a difference is not clear "
    "unless p < .05 after Holm's adjustment for all comparisons of the same sentence."
)
"""What a report says about its several comparisons."""


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return macro F1 with its interval as text, with one line per mode and one column per number of shots."""
    found = summary(rows)
    shots = sorted(found["shots"].unique(), key=by_shots)
    lines: dict[str, dict[str, str | Cell]] = {}
    for mode in arms_in_order(found):
        of_mode = found[found["mode"] == mode]
        here = {shots_text(n): of_mode[same_shots(of_mode["shots"], n)] for n in shots}
        lines[mode_title(mode)] = {n: score_cell(line.iloc[0]) if len(line) else "-" for n, line in here.items()}
    return marked(lines)


def markdown(rows: pd.DataFrame) -> str:
    """Return the table, the paired gains, the findings and their provenance in Markdown."""
    first = rows.iloc[0]
    parts = [
        f"Macro F1 on held-out subjects by labelled windows per class; {rows['fold'].nunique()} folds by subject, "
        f"{rows['seed'].nunique()} seeds; mean and 95 % interval (Student's t) over groups of test subjects. {NO_INTERVAL}",
        *_with_legend(table(rows)),
    ]
    if gain_pairs(rows):
        parts += [f"Paired gains in points, with 95 % intervals over groups of test subjects. {COMPARISONS}"]
        parts += _with_legend(gain_table(rows))
    parts += [
        "\n".join(f"- {text}" for text in findings(rows)),
        f"Made by otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}, {first['machine']}.",
    ]
    return "\n\n".join(parts) + "\n"


def findings(rows: pd.DataFrame) -> list[str]:
    """Return what the rows show, in sentences; a difference is called not clear unless `study_tables.clear` says it is."""
    modes, found = set(rows["mode"]), summary(rows)
    sentences = []
    for over, title in (("frozen", "freezing"), ("scratch", "training the same network from scratch")):
        if {"finetune", over} <= modes:
            differences = "; ".join(_gain_texts(gains(rows, "finetune", over)))
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


def gain_pairs(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return, for each control that the rows have, the pretrained arms that are compared with it.

    Fine-tuning is no control, and freezing is one of the other pretrained arms only.
    """
    present = dict.fromkeys(rows["mode"])
    arms = [mode for mode in arms_in_order(rows) if mode in pretrained_arms(rows)]
    controls = [name for name in ("frozen", "scratch", "random-frozen", *CLASSICAL) if name in present]
    pairs = {over: [arm for arm in arms if arm != over] for over in controls}
    return {over: arms for over, arms in pairs.items() if arms}


def gain_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the paired gains of every pretrained arm over each control, with intervals and p values, as text."""
    lines: dict[str, dict[str, str | Cell]] = {}
    for over, arms in gain_pairs(rows).items():
        for arm in arms:
            lines[f"{mode_title(arm)} over {mode_title(over)}"] = {
                shots_text(gain.shots): gain_cell(gain)._replace(text=_with_p(gain))
                for gain in sorted_by_shots(gains(rows, arm, over))
            }
    return marked(lines)


def _with_p(gain: Gain) -> str:
    """Return a gain with its interval and p value, if it has them."""
    return gain_text(gain) + ("" if np.isnan(gain.p) else f", p {p_value(gain.p)}")


def _against_classical(rows: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Compare the best pretrained arm with each classical method, in one sentence per method."""
    arms, sentences = pretrained_arms(rows), []
    for classical in [name for name in CLASSICAL if name in set(rows["mode"]) and arms]:
        best_arms, found_gains = [], []
        for n in sorted(found.loc[found["mode"].isin(arms), "shots"].unique(), key=by_shots):
            (best,) = best_arm(found, arms, n)
            best_arms.append(best)
            found_gains.append(next(g for g in gains(rows, best, classical) if by_shots(g.shots) == by_shots(n)))
        texts = zip(_gain_texts(found_gains), best_arms, strict=True)
        parts = [f"{text} ({mode_title(best)})" for text, best in texts]
        worse = any(gain.gain < 0 for gain, sure in zip(found_gains, clear(found_gains), strict=True) if sure)
        sentences.append(f"The best pretrained arm compared with {TITLES[classical]}: " + "; ".join(parts) + ".")
        if classical == "forest" and worse:
            sentences.append(
                "Where the random forest is better, use it: it needs no pretraining. More unlabelled recordings, or an "
                "objective that preserves what the forest uses, may change this."
            )
    return sentences


def _gain_texts(found: Sequence[Gain]) -> list[str]:
    """Return each gain in words; whether it is clear is adjusted for the number of them."""
    return [
        f"{points(gain.gain)} points{gain_interval(gain)} with {shots_text(gain.shots)} windows per class"
        f"{'' if sure else ', not clear'}"
        for gain, sure in zip(found, clear(found), strict=True)
    ]


def _with_legend(text: pd.DataFrame) -> list[str]:
    return [part for part in (markdown_table(text), legend(text)) if part]
