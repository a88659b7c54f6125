"""The questions of PRIMUS (arXiv 2411.15127), answered from result rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.evaluation.statistics import Gain, paired_difference, summary
from otolith.reports.study_tables import _cell, _frame, _ran, _sorted
from otolith.reports.style import STYLE, by_shots, markdown_table, points, same_shots, shots_in_words

# PRIMUS

ARMS = {
    "simclr": ("SimCLR", "#d55e00"),
    "ssl": ("self-supervised term alone", "#56b4e9"),
    "multimodal": ("multimodal term alone", "#009e73"),
    "ssl-multimodal": ("both", "#e69f00"),
    "primus": ("both and nearest neighbours", "#0072b2"),
    "primus-tenth": ("the same, a tenth of the pairs", "#cc79a7"),
    "primus-wordless": ("the same, no words", "#8c510a"),
}
"""Variants of the recipes of PRIMUS: what they are, and their colour."""

SENSITIVE = ("temperature", "neighbours", "queue", "alpha")
"""Variants that change one setting of `primus` are called by it: `queue-1024`."""

_TRAINED = {"frozen": "frozen", "finetune": "fine-tuned", "frozen-logistic": "frozen, logistic head"}
_UNTRAINED = {"frozen": "random-frozen", "finetune": "scratch", "frozen-logistic": "random-logistic"}


def primus_curves(rows: pd.DataFrame) -> Figure:
    """Macro F1 against windows a class: a line of panels a setting, frozen beside fine-tuned; 0 windows are words alone."""
    settings = list(dict.fromkeys(rows["dataset"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.4, 3.3 * len(settings) + 0.9), layout="constrained")
        grid = figure.subplots(len(settings), 2, squeeze=False, sharey="row")
        handles: dict[str, Any] = {}
        for setting, line in zip(settings, grid, strict=True):
            here = rows[rows["dataset"] == setting]
            arms = here["variant"].isin(list(ARMS))
            shots = sorted(here.loc[arms, "shots"].unique(), key=by_shots)
            for axes, mode in zip(line, ("frozen", "finetune"), strict=True):
                parts = [
                    (here[(here["variant"] == name) & (here["mode"] == mode)], words, colour, "-o")
                    for name, (words, colour) in ARMS.items()
                ]
                parts.append((_shared(here, _UNTRAINED[mode]), "no pretraining", "#555555", ":"))
                parts.append((_shared(here, "forest"), "random forest", "#000000", "-."))
                for part, words, colour, style in parts:
                    if len(part):
                        handles[words] = _curve(axes, part, shots, style, colour)
                for name, (_, colour) in ARMS.items():
                    zero = here[(here["variant"] == name) & (here["mode"] == "zero-shot")]
                    if len(zero):
                        axes.plot(shots.index(0), zero["macro_f1"].mean(), "D", color=colour, markersize=6)
                axes.set_xticks(range(len(shots)), [shots_in_words(n) for n in shots])
                axes.set(title=f"{setting}, {_TRAINED[mode]}", xlabel="labelled windows a class")
            line[0].set_ylabel("macro F1, people never seen")
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8)
        return figure


def _curve(axes: Any, part: pd.DataFrame, shots: Sequence[Any], style: str, colour: str) -> Any:
    found = summary(part).set_index("shots").reindex(shots)
    middle = found["macro_f1"].to_numpy(float)
    low, high = found["low"].to_numpy(float), found["high"].to_numpy(float)
    axes.fill_between(range(len(shots)), low, high, color=colour, alpha=0.1, linewidth=0)
    return axes.plot(range(len(shots)), middle, style, color=colour, markersize=3.5, linewidth=1.3)[0]


def primus_page(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    title: str,
    figure: str,
    recalls: pd.DataFrame | None = None,
) -> str:
    """The page of PRIMUS in Markdown.

    Args:
        rows: of all variants, with a column `variant`; `dataset` is the setting.
        planned: number of rows planned, by (setting, variant).
        title: of the page.
        figure: address of the figure, relative to the page.
        recalls: of searches in other modalities, with columns `setting` and `variant`.
    """
    commits = ", ".join(sorted(set(rows["commit"])))
    made = f"commit {commits}, torch {', '.join(sorted(set(rows['torch'])))}, {', '.join(sorted(set(rows['machine'])))}"
    unique = rows.drop_duplicates("fingerprint")
    arms = [f"`{name}`: {words}" for name, (words, _) in ARMS.items() if name in set(rows["variant"])]
    parts = [
        f"# {title}",
        f"{len(unique):,} results, each of people never seen; macro F1. Made by {made}; "
        f"{unique['seconds'].sum() / 3600:.1f} hours of fitting and scoring. Every row, with its settings: the table beside "
        "this page.",
        f"![Macro F1 against labelled windows a class]({figure})",
        "Shaded: 95 % intervals over seeds. Diamonds: words alone. All arms have the same encoder, number of epochs and "
        f"encoder passes a window. {'; '.join(arms)}.",
        "## Scores",
        *_primus_scores(rows),
    ]
    if zero := _zero(rows):
        parts += ["## Without labels", zero]
    if recalls is not None and len(recalls):
        parts += ["## Retrieval", *_retrieval(recalls)]
    parts += [
        "## Answers",
        "Differences in points of each test person's macro F1 over the classes that person performed, paired on person, "
        "seed and labelled windows, with 95 % bootstrap intervals over people (with few people such intervals are too "
        "narrow). With so many comparisons, one in forty errs by chance on either side.",
        *[f"### {question}\n\n{text}" for question, text in primus_answers(rows)],
        "## What was run",
        _ran(rows, planned),
    ]
    return "\n\n".join(parts) + "\n"


def primus_answers(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Questions of PRIMUS, and what the rows say to them; those that the rows do not reach are left out."""
    steps = {
        "the self-supervised term, over no pretraining": ("ssl", None),
        "the multimodal term, over no pretraining": ("multimodal", None),
        "the multimodal term, beside the self-supervised": ("ssl-multimodal", "ssl"),
        "the self-supervised term, beside the multimodal": ("ssl-multimodal", "multimodal"),
        "nearest neighbours, beside both": ("primus", "ssl-multimodal"),
        "all three, over no pretraining": ("primus", None),
    }
    tenth = {
        "all pairs over a tenth of them": ("primus", "primus-tenth"),
        "a tenth of the pairs over none (the self-supervised term alone)": ("primus-tenth", "ssl"),
    }
    found = [
        ("What does each term add?", _steps(rows, steps)),
        (
            "Where is PRIMUS better than SimCLR alone at equal compute?",
            _steps(rows, {"PRIMUS over SimCLR": ("primus", "simclr")}),
        ),
        ("Does a tenth of the pairs suffice?", _steps(rows, tenth)),
        (
            "What are the words worth beside pictures and skeletons?",
            _steps(rows, {"all modalities over those without words": ("primus", "primus-wordless")}),
        ),
        ("Does fine-tuning change the order?", _order(rows)),
        ("How sensitive is it?", _sensitive(rows)),
        ("Is any of it better than the forest?", _over_forest(rows)),
    ]
    return [(question, text) for question, text in found if text]


def _by_person(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each test person, whose macro F1 takes the row's place."""
    scores = [list(json.loads(text).items()) for text in rows["f1_by_subject"]]
    every = rows.loc[rows.index.repeat([len(people) for people in scores])]
    flat = [pair for people in scores for pair in people]
    return every.assign(test_subjects=[who for who, _ in flat], macro_f1=[score for _, score in flat])


def _compare(one: pd.DataFrame, two: pd.DataFrame) -> list[Gain]:
    """Gains of one over two by shots, over people."""
    if not len(one) or not len(two):
        return []
    return _sorted(paired_difference(_by_person(one), _by_person(two), "", "", tested=False))


def _shared(here: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Rows of a mode that no pretraining takes part in, each once."""
    return here[here["mode"] == mode].drop_duplicates("fingerprint")


def _steps(rows: pd.DataFrame, steps: Mapping[str, tuple[str, str | None]]) -> str:
    """A table a step: an arm over another, or (None) over the same network without pretraining; a line a setting, mode."""
    parts = []
    for words, (variant, other) in steps.items():
        lines, every = {}, list[Gain]()
        for setting, here in rows.groupby("dataset", sort=False):
            for mode, named in _TRAINED.items():
                one = here[(here["variant"] == variant) & (here["mode"] == mode)]
                two = here[(here["variant"] == other) & (here["mode"] == mode)]
                gains = _compare(one, _shared(here, _UNTRAINED[mode]) if other is None else two)
                if gains:
                    lines[f"{setting}, {named}"] = {shots_in_words(g.shots): _cell(g) for g in gains}
                    every += gains
        if lines:
            parts += [f"**{words[0].upper()}{words[1:]}**: {_verdict(every)}", markdown_table(_frame(lines))]
    return "\n\n".join(parts)


def _verdict(gains: Sequence[Gain]) -> str:
    better, worse = sum(g.low > 0 for g in gains), sum(g.high < 0 for g in gains)
    mean = float(np.mean([g.gain for g in gains]))
    said = f"{points(mean)} points on average; of {len(gains)} comparisons"
    return f"{said} clearly better in {better}, clearly worse in {worse}."


def _order(rows: pd.DataFrame) -> str:
    """The arms from best to worst, frozen and fine-tuned, how well the two orders agree, and what fine-tuning gains."""
    lines, gained, agreements = {}, {}, []
    for setting, here in rows[rows["variant"].isin(list(ARMS))].groupby("dataset", sort=False):
        for shots in sorted(here["shots"].unique(), key=by_shots):
            part = here[same_shots(here["shots"], shots)]
            means = part[part["mode"].isin(["frozen", "finetune"])].groupby(["variant", "mode"])["macro_f1"].mean()
            table = means.unstack("mode").dropna() if len(means) else pd.DataFrame()
            if len(table) < 3 or not {"frozen", "finetune"} <= set(table.columns):
                continue
            agreement = float(table["frozen"].rank().corr(table["finetune"].rank()))
            agreements.append(agreement)
            lines[f"{setting}, {shots_in_words(shots)}"] = {
                named: " > ".join(table[mode].sort_values(ascending=False).index)
                for mode, named in (("frozen", "frozen"), ("finetune", "fine-tuned"))
            } | {"rank correlation": f"{agreement:+.2f}"}
        for variant in ARMS:
            arm = here[here["variant"] == variant]
            gains = _compare(arm[arm["mode"] == "finetune"], arm[arm["mode"] == "frozen"])
            if gains:
                gained[f"{setting}, {variant}"] = {shots_in_words(g.shots): _cell(g) for g in gains}
    if not lines:
        return ""
    text = (
        f"Rank correlation of the arms' means, frozen against fine-tuned: {np.mean(agreements):+.2f} on average over "
        f"{len(agreements)} settings and numbers of shots (+1: the same order; arms whose intervals overlap swap places by "
        "chance)."
    )
    return "\n\n".join(
        [text, markdown_table(_frame(lines)), "What fine-tuning gains over freezing:", markdown_table(_frame(gained))]
    )


def _sensitive(rows: pd.DataFrame) -> str:
    lines = {}
    for setting, here in rows.groupby("dataset", sort=False):
        for variant in dict.fromkeys(here["variant"]):
            if not str(variant).startswith(tuple(f"{name}-" for name in SENSITIVE)):
                continue
            cells: dict[str, str] = {}
            for mode, named in _TRAINED.items():
                of_mode = here[here["mode"] == mode]
                gains = _compare(of_mode[of_mode["variant"] == variant], of_mode[of_mode["variant"] == "primus"])
                cells |= {f"{named}, {shots_in_words(g.shots)}": _cell(g) for g in gains}
            if cells:
                lines[f"{setting}: {variant} over primus"] = cells
    if not lines:
        return ""
    base = rows[rows["variant"] == "primus"]["pretraining"]
    chosen = json.loads(next((text for text in base if text != "{}"), "{}")).get("objective", {})
    said = ", ".join(f"{key} {value}" for key, value in chosen.items() if key in (*SENSITIVE, "learn_temperature"))
    start = f"`primus` itself: {said}; what is not named has its default." if said else "`primus` itself: the defaults."
    return f"{start}\n\n{markdown_table(_frame(lines))}"


def _over_forest(rows: pd.DataFrame) -> str:
    lines, every = {}, list[Gain]()
    for setting, here in rows.groupby("dataset", sort=False):
        forest = _shared(here, "forest")
        for variant in ("simclr", "primus"):
            for mode, named in _TRAINED.items():
                gains = _compare(here[(here["variant"] == variant) & (here["mode"] == mode)], forest)
                if gains:
                    lines[f"{setting}: {variant}, {named}"] = {shots_in_words(g.shots): _cell(g) for g in gains}
                    every += gains
    return f"{_verdict(every)}\n\n{markdown_table(_frame(lines))}" if lines else ""


def _primus_scores(rows: pd.DataFrame) -> list[str]:
    parts = []
    for setting, here in rows.groupby("dataset", sort=False):
        trained = here[here["mode"] != "zero-shot"]
        shots = sorted(trained["shots"].unique(), key=by_shots)
        arms = [
            (f"{variant}, {named}", here[(here["variant"] == variant) & (here["mode"] == mode)])
            for variant in dict.fromkeys(here["variant"])
            for mode, named in _TRAINED.items()
        ]
        controls = ("random-frozen", "scratch", "random-logistic", "forest")
        arms += [(f"no pretraining: {mode}", _shared(here, mode)) for mode in controls]
        lines: dict[str, dict[str, str]] = {}
        for name, part in arms:
            if not len(part):
                continue
            found = summary(part).set_index("shots").reindex(shots)
            lines[name] = {
                shots_in_words(n): _score(line.macro_f1, line.high, line.accuracy)
                for n, line in zip(shots, found.itertuples(), strict=True)
            }
        classes = len(json.loads(here["f1_by_class"].iloc[0]))
        people = len({who for text in here["test_subjects"] for who in str(text).split()})
        parts += [
            f"**{setting}**: {classes} classes, {people} people tested (in brackets: accuracy)",
            markdown_table(_frame(lines)),
        ]
    return parts


def _score(middle: float, high: float, accuracy: float) -> str:
    if np.isnan(middle):
        return "-"
    half = "" if np.isnan(high) else f" \u00b1 {high - middle:.3f}"
    return f"{middle:.3f}{half} ({accuracy:.2f})"


def _zero(rows: pd.DataFrame) -> str:
    """Words alone: macro F1 and accuracy by setting and variant, and accuracy by lot."""
    lines = {}
    zero = rows[rows["mode"] == "zero-shot"].drop_duplicates(["dataset", "variant", "checkpoint", "fold"])
    for (setting, variant), part in zero.groupby(["dataset", "variant"], sort=False):
        classes = len(json.loads(part["f1_by_class"].iloc[0]))
        lines[f"{setting}, {variant}"] = {
            "macro F1": f"{part['macro_f1'].mean():.3f}",
            "accuracy": f"{part['accuracy'].mean():.3f}",
            "accuracy by lot": f"{1 / classes:.3f}",
            "encoders": str(len(part)),
        }
    if not lines:
        return ""
    return (
        "A window goes to the class whose words lie nearest. Where the pairs hold the very words of the classes, the "
        "training people's words are their labels, and this is zero-shot for the person, not for the action.\n\n"
        + markdown_table(_frame(lines))
    )


def _retrieval(recalls: pd.DataFrame) -> list[str]:
    """Recalls, averaged over folds and encoders; in brackets, by lot."""
    parts = []
    for setting, here in recalls.groupby("setting", sort=False):
        lines = {}
        for (variant, modality), part in here.groupby(["variant", "modality"], sort=False):
            for way, words, among in (
                ("there", f"motion -> {modality}", "n_keys"),
                ("back", f"{modality} -> motion", "n_windows"),
            ):
                lines[f"{variant}, {words}"] = {"among": f"{part[among].mean():,.0f}"} | {
                    f"at {k}": f"{part[f'{way}_{k}'].mean():.3f} ({part[f'{way}_{k}_lot'].mean():.3f})"
                    for k in (1, 5, 10)
                }
        parts += [f"**{setting}**: recall (in brackets: by lot)", markdown_table(_frame(lines))]
    return parts
