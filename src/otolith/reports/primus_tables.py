"""Tables of the page of PRIMUS: scores, zero-shot and retrieval, and the names of its arms."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from otolith.evaluation.retrieval import RECALL_AT
from otolith.evaluation.statistics import mean_interval, summary
from otolith.reports.study_tables import Cell, score_cell, text_table
from otolith.reports.style import by_shots, shots_text

ARMS = {
    "primus-wordless": ("PRIMUS without text", "#8c510a"),
    "simclr": ("SimCLR", "#d55e00"),
    "ssl": ("self-supervised term only", "#56b4e9"),
    "multimodal": ("multimodal term only", "#009e73"),
    "ssl-multimodal": ("both terms", "#e69f00"),
    "primus": ("both terms and nearest neighbours", "#0072b2"),
    "primus-tenth": ("PRIMUS with a tenth of the pairs", "#cc79a7"),
}
"""Title and colour of the arms, which are variants of the PRIMUS recipes. The first is the one to compare with arms that
have seen no names of classes."""

TRAINED = {
    "frozen": "frozen",
    "finetune": "fine-tuned",
    "frozen-logistic": "frozen, logistic head",
    "frozen-statistics": "frozen, logistic head with statistics",
    "few-shot": "frozen, few-shot head",
}
PANELS = {"frozen": "frozen", "finetune": "fine-tuned"}
UNTRAINED = {
    "frozen": "random-frozen",
    "finetune": "scratch",
    "frozen-logistic": "random-logistic",
    "frozen-statistics": "random-statistics",
    "few-shot": "random-few-shot",
}

TEXT_NOTE = (
    "Arms marked (text) were pretrained with text. Where the texts are names of the classes, such an arm has seen the "
    "labels of the training subjects, and the arm to compare is `primus-wordless`."
)


def without_pretraining(here: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Return the rows of a mode without pretraining, each once, although several variants share them."""
    return here[here["mode"] == mode].drop_duplicates("fingerprint")


def score_tables(rows: pd.DataFrame) -> list[str]:
    """Return the tables of scores, one per setting, with the arm without text first."""
    parts = []
    for setting, here in rows.groupby("dataset", sort=False):
        trained = here[here["mode"] != "zero-shot"]
        shots = sorted(trained["shots"].unique(), key=by_shots)
        arms = [
            (
                f"{variant}{_text(here, variant)}, {mode_title}",
                here[(here["variant"] == variant) & (here["mode"] == mode)],
            )
            for variant in sorted(dict.fromkeys(here["variant"]), key=lambda name: name != next(iter(ARMS)))
            for mode, mode_title in TRAINED.items()
        ]
        controls = (*UNTRAINED.values(), "forest", "svm")
        arms += [(f"no pretraining: {mode}", without_pretraining(here, mode)) for mode in controls]
        lines: dict[str, dict[str, str | Cell]] = {}
        for name, part in arms:
            if not len(part):
                continue
            found = summary(part).set_index("shots").reindex(shots)
            lines[name] = {
                shots_text(n): score_cell(line, f" ({line.accuracy:.2f})")
                for n, line in zip(shots, found.itertuples(), strict=True)
            }
        classes = len(json.loads(here["f1_by_class"].iloc[0]))
        subjects = len({name for text in here["test_subjects"] for name in str(text).split()})
        parts += [
            f"**{setting}**: {classes} classes, {subjects} test subjects (in brackets: accuracy)",
            text_table(lines),
        ]
    return parts


def _text(rows: pd.DataFrame, variant: str) -> str:
    """Return a mark if a variant's pretraining matched windows with text, else an empty text."""
    settings = [json.loads(text) for text in rows.loc[rows["variant"] == variant, "pretraining"].unique()]
    given = [each for each in settings if "text" in each.get("paired", {}).get("modalities", ())]
    return " (text)" if any(each.get("objective", {}).get("alpha") != 1 for each in given) else ""


def zero_shot_table(rows: pd.DataFrame) -> str:
    """Return zero-shot macro F1 and accuracy by setting and variant, with the chance level of the accuracy."""
    lines = {}
    zero = rows[rows["mode"] == "zero-shot"].drop_duplicates(["dataset", "variant", "checkpoint", "fold"])
    for (setting, variant), part in zero.groupby(["dataset", "variant"], sort=False):
        classes = len(json.loads(part["f1_by_class"].iloc[0]))
        lines[f"{setting}, {variant}"] = {
            "macro F1": f"{part['macro_f1'].mean():.3f}",
            "accuracy": _with_interval(part.groupby("test_subjects")["accuracy"].mean()),
            "accuracy at chance level": f"{1 / classes:.3f}",
            "encoders": str(len(part)),
        }
    if not lines:
        return ""
    return (
        "A window is assigned to the class with the most similar text. Where the paired texts contain the names of the "
        "classes, the texts of the training subjects are their labels. This is then zero-shot for the subject, but not for "
        f"the activity.\n\n{text_table(lines)}"
    )


def retrieval_tables(recalls: pd.DataFrame) -> list[str]:
    """Return the recalls, averaged over groups of test subjects, with their intervals and, in brackets, chance levels."""
    parts = []
    for setting, here in recalls.groupby("setting", sort=False):
        lines = {}
        for (variant, modality), part in here.groupby(["variant", "modality"], sort=False):
            groups = part.groupby("test_subjects").mean(numeric_only=True)
            for way, direction, candidates in (
                ("imu_to_paired", f"IMU -> {modality}", "n_keys"),
                ("paired_to_imu", f"{modality} -> IMU", "n_windows"),
            ):
                lines[f"{variant}, {direction}"] = {"candidates": f"{groups[candidates].mean():,.0f}"} | {
                    f"recall@{k}": _recall(groups[f"{way}_r{k}"], groups[f"{way}_chance_r{k}"]) for k in RECALL_AT
                }
        parts += [f"**{setting}** (in brackets: chance level)", text_table(lines)]
    return parts


def _recall(recalls: pd.Series, chance: pd.Series) -> str:
    return f"{_with_interval(recalls)} ({chance.mean():.3f})"


def _with_interval(scores: pd.Series) -> str:
    """Return the mean of scores of groups of test subjects with its interval, if it has one."""
    mean, low, high, _ = map(float, mean_interval(scores.to_numpy(float), bounds=(0.0, 1.0)))
    ends = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{mean:.3f}{ends}"
