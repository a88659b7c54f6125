"""Answer the questions of PRIMUS (arXiv 2411.15127) from result rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from otolith.evaluation.statistics import Gain, paired_difference
from otolith.reports.drawing import add_tips
from otolith.reports.figures import WIDTH, interval_curve
from otolith.reports.primus_tables import (
    ARMS,
    PANELS,
    TEXT_NOTE,
    TRAINED,
    UNTRAINED,
    retrieval_tables,
    score_tables,
    without_pretraining,
    zero_shot_table,
)
from otolith.reports.study_tables import (
    NO_INTERVAL,
    Answer,
    Cell,
    comparisons_note,
    gain_cell,
    gain_cells,
    provenance,
    run_table,
    sorted_by_shots,
    text_table,
    verdict,
)
from otolith.reports.style import STYLE, by_shots, points, same_shots, shots_text

SENSITIVE = ("temperature", "neighbours", "queue", "alpha")
"""Settings of the sensitivity analysis. A variant that changes one of them has its name and value: `queue-1024`."""


def curves(rows: pd.DataFrame) -> Figure:
    """Return the figure: macro F1 against windows per class, frozen and fine-tuned, with one line of panels per setting.

    Zero-shot scores are diamonds at 0 windows.
    """
    settings = list(dict.fromkeys(rows["dataset"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.4, 3.3 * len(settings) + 0.9), layout="constrained")
        grid = figure.subplots(len(settings), 2, squeeze=False, sharey="row")
        handles: dict[str, Any] = {}
        for setting, line in zip(settings, grid, strict=True):
            for axes, mode in zip(line, PANELS, strict=True):
                _panel(axes, rows[rows["dataset"] == setting], mode)
                handles |= {line.get_label(): line for line in axes.get_legend_handles_labels()[0]}
                axes.set_title(f"{setting}, {PANELS[mode]}")
            line[1].set_ylabel("")
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8)
        return figure


def panels(rows: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Yield the panels of `curves` as figures of their own, each with its caption and the rows that it shows."""
    for setting, here in rows.groupby("dataset", sort=False):
        for mode, title in PANELS.items():
            with matplotlib.rc_context(STYLE):
                figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
                _panel(figure.add_subplot(), here, mode)
            yield f"{setting}, {title}", figure, here[here["mode"] == mode]


def _panel(axes: Axes, here: pd.DataFrame, mode: str) -> None:
    """Draw the curves of one setting and mode."""
    arms = here["variant"].isin(list(ARMS))
    shots = sorted(here.loc[arms, "shots"].unique(), key=by_shots)
    parts = [
        (here[(here["variant"] == name) & (here["mode"] == mode)], title, colour, "-o")
        for name, (title, colour) in ARMS.items()
    ]
    parts.append((without_pretraining(here, UNTRAINED[mode]), "no pretraining", "#555555", ":"))
    parts.append((without_pretraining(here, "forest"), "random forest", "#000000", "-."))
    for part, title, colour, style in parts:
        if len(part):
            interval_curve(axes, part, shots, style, colour, title, legend=title)
    for name, (title, colour) in ARMS.items():
        zero = here[(here["variant"] == name) & (here["mode"] == "zero-shot")]
        if len(zero):
            mean = zero["macro_f1"].mean()
            (mark,) = axes.plot(shots.index(0), mean, "D", color=colour, markersize=6)
            add_tips(mark, [f"{title}, zero-shot: {mean:.3f}"])
    axes.set_xticks(range(len(shots)), [shots_text(n) for n in shots])
    axes.set(xlabel="labelled windows per class", ylabel="macro F1, held-out subjects", ylim=(0, 1))


def page(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    title: str,
    figure: str,
    recalls: pd.DataFrame | None = None,
) -> str:
    """Return the page in Markdown.

    Args:
        rows: result rows of all variants, with a column `variant`; `dataset` is the setting.
        planned: number of planned rows by (setting, variant).
        title: heading of the page.
        figure: address of the figure, relative to the page.
        recalls: cross-modal recalls, with columns `setting` and `variant`.
    """
    found = answers(rows)
    arms = [f"`{name}`: {words}" for name, (words, _) in ARMS.items() if name in set(rows["variant"])]
    parts = [
        f"# {title}",
        provenance(rows),
        f"![Macro F1 against labelled windows per class]({figure})",
        "Shaded areas: 95 % intervals over groups of test subjects, where there are at least 5; dots: subjects. Diamonds: "
        f"zero-shot. {_budget(rows)} {'; '.join(arms)}.",
        "## Scores",
        f"Mean and 95 % interval (Student's t) over groups of test subjects. {NO_INTERVAL} {TEXT_NOTE}",
        *score_tables(rows),
    ]
    if zero_shot := zero_shot_table(rows):
        parts += ["## Zero-shot", zero_shot]
    if recalls is not None and len(recalls):
        parts += ["## Retrieval", *retrieval_tables(recalls)]
    parts += [
        "## Answers",
        "Differences are in points of the macro F1 of each test subject over the classes that the subject performed. They "
        "are paired on subject, seed and labelled windows, with 95 % intervals (Student's t) over groups of test subjects, "
        f"or over subjects where all are tested together. {NO_INTERVAL} "
        f"{comparisons_note(sum(len(answer.gains) for answer in found))}",
        *[f"### {answer.question}\n\n{answer.text}" for answer in found],
        "## What was run",
        run_table(rows, planned),
    ]
    return "\n\n".join(parts) + "\n"


def _budget(rows: pd.DataFrame) -> str:
    """Return whether the pretrained arms of each setting share their encoder and their budget."""
    pretrained = rows[rows["objective"] != "-"]
    settings = [json.dumps(json.loads(text).get("pretrain", {}), sort_keys=True) for text in pretrained["pretraining"]]
    made = pretrained[["dataset", "encoder"]].assign(**{"settings of pretraining": settings})
    kinds = made.groupby("dataset").nunique().max()
    differ = [name for name, count in kinds.items() if count > 1]
    if not differ:
        return "All arms have the same encoder, number of epochs and encoder passes per window."
    return f"Arms differ in their {' and '.join(differ)}: see the table of what was run."


def answers(rows: pd.DataFrame) -> list[Answer]:
    """Return the paper's questions with their answers; a question whose arms have no rows is left out."""
    terms = {
        "the self-supervised term over no pretraining": ("ssl", None),
        "the multimodal term over no pretraining": ("multimodal", None),
        "the multimodal term added to the self-supervised term": ("ssl-multimodal", "ssl"),
        "the self-supervised term added to the multimodal term": ("ssl-multimodal", "multimodal"),
        "nearest neighbours added to both terms": ("primus", "ssl-multimodal"),
        "nearest neighbours among windows that have every modality": ("complete-neighbours", "complete"),
        "PRIMUS without text over no pretraining": ("primus-wordless", None),
        "PRIMUS over no pretraining": ("primus", None),
    }
    over_simclr = {
        "PRIMUS without text over SimCLR": ("primus-wordless", "simclr"),
        "PRIMUS over SimCLR": ("primus", "simclr"),
    }
    tenth = {
        "all pairs over a tenth of the pairs": ("primus", "primus-tenth"),
        "a tenth of the pairs over no pairs (the self-supervised term only)": ("primus-tenth", "ssl"),
    }
    found = [
        Answer("What does each term add?", *_comparisons(rows, terms)),
        Answer(
            "Where does PRIMUS score higher than SimCLR with equal compute?",
            *_comparisons(rows, over_simclr),
        ),
        Answer("Does a tenth of the pairs suffice?", *_comparisons(rows, tenth)),
        Answer(
            "What does text add to video and skeletons?",
            *_comparisons(rows, {"all modalities over all but text": ("primus", "primus-wordless")}),
        ),
        Answer("Does fine-tuning change the order of the arms?", *_order(rows)),
        Answer("How sensitive is PRIMUS to its settings?", *_sensitivity(rows)),
        Answer("Does pretraining score higher than a random forest?", *_over_forest(rows)),
        Answer("Which variant recovers how much of the gap to the random forest?", *_recovered(rows)),
    ]
    return [answer for answer in found if answer.text]


_Found = tuple[str, list[Gain]]
"""The text of an answer and the comparisons that it makes."""


def _by_subject(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per test subject instead of each row, with the subject's macro F1.

    The column `group` has the subjects that a fold tests together, or the subject alone if all folds test the same ones.
    """
    scores = [list(json.loads(text).items()) for text in rows["f1_by_subject"]]
    every = rows.loc[rows.index.repeat([len(subjects) for subjects in scores])]
    flat = [pair for subjects in scores for pair in subjects]
    subjects = [name for name, _ in flat]
    together = every["test_subjects"] if rows["test_subjects"].nunique() > 1 else subjects
    return every.assign(group=together, test_subjects=subjects, macro_f1=[score for _, score in flat])


def _compare(one: pd.DataFrame, two: pd.DataFrame) -> list[Gain]:
    """Return the gains of one over two by shots, with intervals over groups of test subjects."""
    if not len(one) or not len(two):
        return []
    return paired_difference(_by_subject(one), _by_subject(two), "", "", group="group")


def _comparisons(rows: pd.DataFrame, pairs: Mapping[str, tuple[str, str | None]]) -> _Found:
    """Return one table per pair of arms, with a line per setting and mode.

    The first arm of a pair is compared with the second, or, if that is None, with the same network without pretraining.
    """
    parts, found = [], list[Gain]()
    for title, (variant, other) in pairs.items():
        lines: dict[str, dict[str, str | Cell]] = {}
        every = list[Gain]()
        for setting, here in rows.groupby("dataset", sort=False):
            for mode, mode_title in TRAINED.items():
                one = here[(here["variant"] == variant) & (here["mode"] == mode)]
                two = here[(here["variant"] == other) & (here["mode"] == mode)]
                gains = _compare(one, without_pretraining(here, UNTRAINED[mode]) if other is None else two)
                if gains:
                    lines[f"{setting}, {mode_title}"] = gain_cells(gains)
                    every += gains
        if lines:
            parts += [f"**{title[0].upper()}{title[1:]}**: {_verdict(every)}", text_table(lines)]
            found += every
    return "\n\n".join(parts), found


def _verdict(gains: Sequence[Gain], subject: str = "the first") -> str:
    return f"{points(float(np.mean([g.gain for g in gains])))} points on average; {verdict(gains, subject)}."


def _order(rows: pd.DataFrame) -> _Found:
    """Return the order of the arms, frozen and fine-tuned, the agreement of both orders, and the gains of fine-tuning."""
    lines: dict[str, dict[str, str | Cell]] = {}
    gained: dict[str, dict[str, str | Cell]] = {}
    agreements, found = [], list[Gain]()
    for setting, here in rows[rows["variant"].isin(list(ARMS))].groupby("dataset", sort=False):
        for shots in sorted(here["shots"].unique(), key=by_shots):
            part = here[same_shots(here["shots"], shots)]
            means = part[part["mode"].isin(["frozen", "finetune"])].groupby(["variant", "mode"])["macro_f1"].mean()
            table = means.unstack("mode").dropna() if len(means) else pd.DataFrame()
            if len(table) < 3 or not {"frozen", "finetune"} <= set(table.columns):
                continue
            agreement = float(table["frozen"].rank().corr(table["finetune"].rank()))
            agreements.append(agreement)
            orders = {mode: " > ".join(table[mode].sort_values(ascending=False).index) for mode in table.columns}
            lines[f"{setting}, {shots_text(shots)}"] = {
                "frozen": orders["frozen"],
                "fine-tuned": orders["finetune"],
                "rank correlation": f"{agreement:+.2f}",
            }
        for variant in ARMS:
            arm = here[here["variant"] == variant]
            gains = _compare(arm[arm["mode"] == "finetune"], arm[arm["mode"] == "frozen"])
            if gains:
                gained[f"{setting}, {variant}"] = gain_cells(gains)
                found += gains
    if not lines:
        return "", []
    text = (
        "Rank correlation (Spearman) of the arms' means between frozen and fine-tuned: "
        f"{np.mean(agreements):+.2f} on average over {len(agreements)} combinations of setting and shots. +1 means the same "
        "order. Arms whose intervals overlap may swap places by chance."
    )
    return "\n\n".join([text, text_table(lines), "Gains of fine-tuning over freezing:", text_table(gained)]), found


def _sensitivity(rows: pd.DataFrame) -> _Found:
    lines: dict[str, dict[str, str | Cell]] = {}
    found = list[Gain]()
    for setting, here in rows.groupby("dataset", sort=False):
        for variant in dict.fromkeys(here["variant"]):
            if not str(variant).startswith(tuple(f"{name}-" for name in SENSITIVE)):
                continue
            cells: dict[str, str | Cell] = {}
            for mode, mode_title in TRAINED.items():
                of_mode = here[here["mode"] == mode]
                gains = _compare(of_mode[of_mode["variant"] == variant], of_mode[of_mode["variant"] == "primus"])
                cells |= {f"{mode_title}, {shots}": cell for shots, cell in gain_cells(gains).items()}
                found += gains
            if cells:
                lines[f"{setting}: {variant} over primus"] = cells
    if not lines:
        return "", []
    base = rows[rows["variant"] == "primus"]["pretraining"]
    settings = json.loads(next((text for text in base if text != "{}"), "{}")).get("objective", {})
    named = ", ".join(f"{key} {value}" for key, value in settings.items() if key in (*SENSITIVE, "learn_temperature"))
    start = (
        f"Settings of `primus`: {named}; the others are the defaults." if named else "`primus` has default settings."
    )
    return f"{start}\n\n{text_table(lines)}", found


def _over_forest(rows: pd.DataFrame) -> _Found:
    lines: dict[str, dict[str, str | Cell]] = {}
    every = list[Gain]()
    for setting, here in rows.groupby("dataset", sort=False):
        forest = without_pretraining(here, "forest")
        for variant in ("primus-wordless", "simclr", "primus"):
            for mode, mode_title in TRAINED.items():
                gains = _compare(here[(here["variant"] == variant) & (here["mode"] == mode)], forest)
                if gains:
                    lines[f"{setting}: {variant}, {mode_title}"] = gain_cells(gains)
                    every += gains
    return (f"{_verdict(every, 'pretraining')}\n\n{text_table(lines)}" if lines else ""), every


def _recovered(rows: pd.DataFrame) -> _Found:
    """Return the gain of each variant of PRIMUS without text over the published one, and its share of the forest's gain."""
    lines: dict[str, dict[str, str | Cell]] = {}
    every = list[Gain]()
    for setting, here in rows.groupby("dataset", sort=False):
        base = here[(here["variant"] == "primus-wordless") & (here["mode"] == "frozen-logistic")]
        gap = {gain.shots: gain.gain for gain in _compare(without_pretraining(here, "forest"), base)}
        for variant in [name for name in dict.fromkeys(here["variant"]) if str(name).endswith("-wordless")]:
            for mode, mode_title in TRAINED.items():
                one = here[(here["variant"] == variant) & (here["mode"] == mode)]
                if one.empty or (variant, mode) == ("primus-wordless", "frozen-logistic"):
                    continue
                gains = [gain for gain in _compare(one, base) if gap.get(gain.shots, 0) > 0]
                if gains:
                    lines[f"{setting}: {variant}, {mode_title}"] = {
                        shots_text(gain.shots): gain_cell(gain, f"{gain.gain / gap[gain.shots]:.0%} = ")
                        for gain in sorted_by_shots(gains)
                    }
                    every += gains
    text = (
        "Of the forest's lead over `primus-wordless` (frozen, logistic head), the share that a variant recovers = its gain "
        f"in points. {_verdict(every, 'the variant')}\n\n{text_table(lines)}"
        if lines
        else ""
    )
    return text, every
