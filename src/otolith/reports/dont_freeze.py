"""Answer the questions of "Don't freeze" (arXiv 2307.01168) from result rows."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, paired_difference, summary
from otolith.reports.study_tables import (
    MULTIPLE_COMPARISONS,
    count_clear,
    gain_cell,
    gain_cells,
    interval,
    provenance,
    run_table,
    sorted_by_shots,
    text_table,
)
from otolith.reports.style import STYLE, by_shots, points, same_shots, shots_text

COLOURS = {
    "simclr": "#d55e00",
    "cpc": "#0072b2",
    "reconstruction": "#009e73",
    "cpc_reconstruction": "#56b4e9",
    "transform_discrimination": "#cc79a7",
}
"""Colour of each objective."""

CONTROLS = {
    "scratch": ("from scratch", "#555555", ":"),
    "supervised": ("from scratch, augmented", "#aaaaaa", ":"),
    "forest": ("random forest", "#000000", "-."),
}
"""Title, colour and line style of each control."""


def curves(rows: pd.DataFrame) -> Figure:
    """Return the paper's figure: macro F1 against windows per class, with one panel per corpus.

    Each objective has a solid line (fine-tuned) and a dashed line (frozen); the controls are dotted or dash-dotted.
    """
    targets = list(dict.fromkeys(rows["dataset"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * min(2, len(targets)), 3.7 * -(-len(targets) // 2)), layout="constrained")
        for number, target in enumerate(targets):
            axes = figure.add_subplot(-(-len(targets) // 2), min(2, len(targets)), number + 1)
            here = rows[rows["dataset"] == target]
            shots = sorted(here["shots"].unique(), key=by_shots)
            lines: list[tuple[pd.DataFrame, str | None, str, str]] = [
                (here[(here["variant"] == name) & (here["mode"] == mode)], label, colour, style)
                for name, colour in COLOURS.items()
                for mode, label, style in (("finetune", name, "-o"), ("frozen", None, "--o"))
            ]
            for mode, (title, colour, style) in CONTROLS.items():
                lines.append((_control(here, mode), title, colour, style))
            for part, label, colour, style in lines:
                if part.empty:
                    continue
                found = summary(part).set_index("shots").reindex(shots)
                middle = found["macro_f1"].to_numpy(float)
                axes.plot(range(len(shots)), middle, style, color=colour, label=label, markersize=4, linewidth=1.4)
                if style == "-o":
                    low, high = found["low"].to_numpy(float), found["high"].to_numpy(float)
                    axes.fill_between(range(len(shots)), low, high, color=colour, alpha=0.12, linewidth=0)
            axes.set_xticks(range(len(shots)), [shots_text(n) for n in shots])
            axes.set(title=target, xlabel="labelled windows per class", ylabel="macro F1, held-out subjects")
            if number == 0:
                handles = axes.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8)
        return figure


def page(rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], *, title: str, figure: str) -> str:
    """Return the page in Markdown.

    Args:
        rows: result rows of all variants, with a column `variant`.
        planned: number of planned rows by (dataset, variant).
        title: heading of the page.
        figure: address of the figure, relative to the page.
    """
    folds, seeds = rows["fold"].nunique(), rows["seed"].nunique()
    parts = [
        f"# {title}",
        provenance(rows),
        f"![Macro F1 against labelled windows per class]({figure})",
        "Solid lines: fine-tuned, with 95 % intervals over seeds. Dashed lines: the same encoder, frozen. Dotted lines: no "
        "pretraining.",
        "## Scores",
        *_scores(rows),
        "## Answers",
        "Differences are in points of macro F1, paired on fold, seed and labelled windows, with 95 % bootstrap intervals "
        f"over groups of test subjects. There are {folds} folds by subject and {seeds} seeds. {MULTIPLE_COMPARISONS}",
        *[f"### {question}\n\n{text}" for question, text in answers(rows)],
        "## What was run",
        run_table(rows, planned),
    ]
    return "\n\n".join(parts) + "\n"


def answers(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the paper's questions with their answers; a question whose arms have no rows is left out."""
    found = [
        ("Does fine-tuning score higher than freezing?", _freezing(rows)),
        ("Does the gain shrink with more labels?", _shrinks(rows)),
        (
            "Does external pretraining with variance sampling score higher than pretraining on the target corpus?",
            _variants(rows, "target"),
        ),
        ("Does variance sampling score higher than uniform sampling?", _variants(rows, "uniform")),
        ("Do frozen features score higher than those of a random encoder?", _random(rows)),
        ("Which objective scores highest?", _best(rows)),
        ("Does pretraining on several corpora help?", _variants(rows, "corpora", "one-corpus")),
        ("Does partial fine-tuning help, or keeping the pretraining loss?", _practices(rows)),
        ("Does pretraining score higher than a random forest, or than augmentation alone?", _controls(rows)),
        ("What does pretraining add where the placement of the sensor changes, and where it stays?", _placement(rows)),
    ]
    return [(question, text) for question, text in found if text]


def score_lines(here: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the lines of a corpus's table of scores: every pretrained arm by variant, then the controls of all variants."""
    found = []
    for variant, part in here.groupby("variant", sort=False):
        for mode, arm in part.groupby("mode", sort=False):
            if arm["objective"].iloc[0] != "-" and not (variant == "practices" and mode in ("finetune", "frozen")):
                found.append((f"{variant}, {mode}" if variant != "practices" else f"simclr, {mode}", arm))
    for mode in ("scratch", "supervised", "random-frozen", "random-logistic", *CLASSICAL):
        for encoder, arm in here[(here["mode"] == mode)].groupby("encoder"):
            found.append((f"{mode}{'' if mode in CLASSICAL else f' ({encoder})'}", arm.drop_duplicates("fingerprint")))
    return found


def _scores(rows: pd.DataFrame) -> list[str]:
    parts = []
    for target, here in rows.groupby("dataset", sort=False):
        shots = sorted(here["shots"].unique(), key=by_shots)
        lines: dict[str, dict[str, str]] = {}
        for name, part in score_lines(here):
            found = summary(part).set_index("shots").reindex(shots)
            lines[name] = {}
            for n, line in zip(shots, found.itertuples(), strict=True):
                half = "" if np.isnan(line.low) else f" \u00b1 {line.high - line.macro_f1:.3f}"
                cell = f"{line.macro_f1:.3f}{half} ({line.worst_subject:.2f})"
                lines[name][shots_text(n)] = "-" if np.isnan(line.macro_f1) else cell
        parts += [f"**{target}** (in brackets: the score of the worst subject)", text_table(lines)]
    return parts


def _control(here: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Return a control of the variant `simclr`, which has all controls."""
    return here[(here["mode"] == mode) & (here["variant"] == "simclr")]


def _freezing(rows: pd.DataFrame) -> str:
    lines: dict[str, dict[str, str]] = {}
    every: list[Gain] = []
    for (target, variant), here in rows.groupby(["dataset", "variant"], sort=False):
        gains = paired_difference(
            here[here["mode"] == "finetune"], here[here["mode"] == "frozen"], "fine-tuned", "frozen"
        )
        if gains:
            lines[f"{target}, {variant}"] = gain_cells(gains)
            every += gains
    if not every:
        return ""
    pooled = _within_variants(rows[rows["mode"] == "finetune"], rows[rows["mode"] == "frozen"])
    mean = ", ".join(
        f"{points(gain.gain)} {interval(gain)} at {shots_text(gain.shots)}" for gain in sorted_by_shots(pooled)
    )
    better, worse = count_clear(every)
    return (
        f"Mean gain over all corpora and objectives, by windows per class: {mean}. Of {len(every)} comparisons, fine-tuning "
        f"wins {better} and loses {worse}; the other intervals contain zero.\n\n{text_table(lines)}"
    )


def _within_variants(one: pd.DataFrame, two: pd.DataFrame) -> list[Gain]:
    """Return the gains of one over two by shots, with pairs within each variant and all variants together."""
    first, second = (part.assign(dataset=part["dataset"] + part["variant"]) for part in (one, two))
    return paired_difference(first, second, "", "")


def _shrinks(rows: pd.DataFrame) -> str:
    keys = ["dataset", "variant", "shots", "seed", "fold", "test_subjects"]
    one, two = (rows[rows["mode"] == mode].set_index(keys)["macro_f1"] for mode in ("finetune", "frozen"))
    gain = (one - two).dropna().reset_index()
    shots = sorted(gain["shots"].unique(), key=by_shots)
    if len(shots) < 2:
        return ""
    few, many = shots[0], shots[-1]
    first, last = (gain[same_shots(gain["shots"], n)].assign(shots=0) for n in (few, many))
    both = set(zip(first["dataset"], first["variant"], strict=True)) & set(
        zip(last["dataset"], last["variant"], strict=True)
    )
    lines, found = {}, []
    for target, variant in sorted(both):
        one, two = (x[(x["dataset"] == target) & (x["variant"] == variant)] for x in (first, last))
        change = paired_difference(one, two, "few", "many", pool=True)
        found += change
        lines[f"{target}, {variant}"] = {"decrease of the gain": gain_cell(change[0])}
    if not found:
        return ""
    less, more = count_clear(found)
    return (
        f"From {shots_text(few)} to {shots_text(many)} windows per class, the gain clearly shrinks in {less} of "
        f"{len(found)} cases and clearly grows in {more}.\n\n{text_table(lines)}"
    )


def _variants(rows: pd.DataFrame, *suffixes: str) -> str:
    """Compare plain objectives with their variants whose names end in one of the suffixes, frozen and fine-tuned."""
    lines = {}
    for target, here in rows.groupby("dataset", sort=False):
        for name in dict.fromkeys(here["variant"]):
            base = next((v for v in COLOURS if name.startswith(f"{v}-")), None)
            if base is None or not name.endswith(suffixes):
                continue
            for mode in ("finetune", "frozen"):
                one, two = (here[(here["variant"] == v) & (here["mode"] == mode)] for v in (base, name))
                gains = paired_difference(one, two, base, name)
                if gains:
                    lines[f"{target}: {base} over {name}, {mode}"] = gain_cells(gains)
    return text_table(lines) if lines else ""


def _random(rows: pd.DataFrame) -> str:
    """Compare with a random encoder under the paper's head, and under a logistic regression, which is always fitted until
    convergence."""
    parts = [_over_control(rows, "frozen", "random-frozen"), _over_control(rows, "frozen-logistic", "random-logistic")]
    if parts[1]:
        parts.insert(
            1,
            "The next table has the same comparison with a logistic regression on standardised features, which is fairer. "
            "The paper's head ends in batch normalisation. Its running averages need more steps than few labels give if the "
            "features are as small as those of a random encoder.",
        )
    return "\n\n".join(part for part in parts if part)


def _best(rows: pd.DataFrame) -> str:
    plain = rows[rows["variant"].isin(list(COLOURS)) & (rows["mode"] == "finetune")]
    if plain["variant"].nunique() < 2:
        return ""
    lines: dict[str, dict[str, str]] = {}
    wins: dict[str, int] = {}
    for (target, shots), here in plain.groupby(["dataset", "shots"], sort=False, dropna=False):
        scores = here.groupby("variant")["macro_f1"].mean().sort_values(ascending=False)
        if len(scores) < 2:
            continue
        first, second = scores.index[:2]
        wins[first] = wins.get(first, 0) + 1
        gain = paired_difference(here[here["variant"] == first], here[here["variant"] == second], first, second)[0]
        lines.setdefault(str(target), {})[shots_text(shots)] = f"{first}, over {second} {gain_cell(gain)}"
    order = ", ".join(f"{name} ({count})" for name, count in sorted(wins.items(), key=lambda item: -item[1]))
    return (
        "Objectives with the highest mean after fine-tuning, of those that were run, and how often: "
        f"{order}.\n\n{text_table(lines)}"
    )


def _practices(rows: pd.DataFrame) -> str:
    here = rows[rows["variant"] == "practices"]
    lines = {}
    for target, part in here.groupby("dataset", sort=False):
        plain = part[part["mode"] == "finetune"]
        for arm in [mode for mode in dict.fromkeys(part["mode"]) if mode != "finetune"]:
            gains = paired_difference(part[part["mode"] == arm], plain, arm, "finetune")
            if gains:
                lines[f"{target}: {arm} over plain fine-tuning"] = gain_cells(gains)
    return text_table(lines) if lines else ""


def _controls(rows: pd.DataFrame) -> str:
    lines, over_forest = {}, []
    for target, here in rows.groupby("dataset", sort=False):
        pretrained = (here["objective"] != "-") & ~((here["variant"] == "practices") & (here["mode"] == "finetune"))
        arms = here[pretrained]
        for mode in ("forest", "supervised", "scratch"):
            other = _control(here, mode)
            cells = {}
            for shots in sorted(arms["shots"].unique(), key=by_shots):
                part = arms[same_shots(arms["shots"], shots)]
                means = part.groupby(["variant", "mode"])["macro_f1"].mean()
                variant, arm = means.idxmax()
                best = part[(part["variant"] == variant) & (part["mode"] == arm)]
                if gains := paired_difference(best, other, variant, mode):
                    cells[shots_text(shots)] = f"{variant}, {arm}: {gain_cell(gains[0])}"
                    if mode == "forest":
                        over_forest.append(gains[0])
            if cells:
                lines[f"{target}: best pretrained arm over {CONTROLS[mode][0]}"] = cells
    if not lines:
        return ""
    better, worse = count_clear(over_forest)
    return (
        f"The best pretrained arm is clearly better than the random forest in {better} of {len(over_forest)} cases and "
        f"clearly worse in {worse}. The arm was selected by its test scores, so this comparison is optimistic."
        f"\n\n{text_table(lines)}"
    )


def _placement(rows: pd.DataFrame) -> str:
    return _over_control(rows, "finetune", "scratch")


def _over_control(rows: pd.DataFrame, mode: str, control: str) -> str:
    """Compare each plain objective with the same network without pretraining."""
    lines = {}
    for target, here in rows.groupby("dataset", sort=False):
        for variant in COLOURS:
            arm = here[(here["variant"] == variant) & (here["mode"] == mode)]
            same_encoder = here["encoder"].isin(set(arm["encoder"]))
            other = here[(here["mode"] == control) & same_encoder].drop_duplicates("fingerprint")
            if gains := paired_difference(arm, other, variant, control):
                lines[f"{target}: {variant} over {control}"] = gain_cells(gains)
    return text_table(lines) if lines else ""
