"""The questions of "Don't freeze" (arXiv 2307.01168), answered from result rows."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, paired_difference, summary
from otolith.reports.study_tables import _cell, _count, _ends, _frame, _ran, _sorted
from otolith.reports.style import STYLE, by_shots, markdown_table, points, same_shots, shots_in_words

COLOURS = {
    "simclr": "#d55e00",
    "cpc": "#0072b2",
    "reconstruction": "#009e73",
    "cpc_reconstruction": "#56b4e9",
    "transform_discrimination": "#cc79a7",
}
CONTROLS = {
    "scratch": ("from scratch", "#555555", ":"),
    "supervised": ("from scratch, augmented", "#aaaaaa", ":"),
    "forest": ("random forest", "#000000", "-."),
}


def curves(rows: pd.DataFrame) -> Figure:
    """Macro F1 against windows a class, a panel a corpus: each objective fine-tuned (solid) and frozen (dashed), and the
    controls. The analogue of the paper's figure."""
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
            for mode, (words, colour, style) in CONTROLS.items():
                lines.append((_control(here, mode), words, colour, style))
            for part, label, colour, style in lines:
                if part.empty:
                    continue
                found = summary(part).set_index("shots").reindex(shots)
                middle = found["macro_f1"].to_numpy(float)
                axes.plot(range(len(shots)), middle, style, color=colour, label=label, markersize=4, linewidth=1.4)
                if style == "-o":
                    low, high = found["low"].to_numpy(float), found["high"].to_numpy(float)
                    axes.fill_between(range(len(shots)), low, high, color=colour, alpha=0.12, linewidth=0)
            axes.set_xticks(range(len(shots)), [shots_in_words(n) for n in shots])
            axes.set(title=target, xlabel="labelled windows a class", ylabel="macro F1, people never seen")
            if number == 0:
                handles = axes.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8)
        return figure


def page(rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], *, title: str, figure: str) -> str:
    """The page in Markdown.

    Args:
        rows: from `evaluate.gather`, of all variants, with a column `variant`.
        planned: number of rows planned, by (dataset, variant).
        title: of the page.
        figure: address of the figure, relative to the page.
    """
    commits = ", ".join(sorted(set(rows["commit"])))
    made = f"commit {commits}, torch {', '.join(sorted(set(rows['torch'])))}, {', '.join(sorted(set(rows['machine'])))}"
    unique = rows.drop_duplicates("fingerprint")
    hours = unique["seconds"].sum() / 3600
    parts = [
        f"# {title}",
        f"{len(unique):,} results, each of people never seen; macro F1. Made by {made}; {hours:.1f} hours "
        "of fitting and scoring. Every row, with its settings: the table beside this page.",
        f"![Macro F1 against labelled windows a class]({figure})",
        "Solid: fine-tuned, with 95 % intervals over seeds; dashed: the same encoder frozen; dotted: no pretraining.",
        "## Scores",
        *_scores(rows),
        "## Answers",
        "Differences in points of macro F1, paired on fold, seed and labelled windows, with 95 % bootstrap intervals over "
        f"groups of test people. {_count(rows)}",
        *[f"### {question}\n\n{text}" for question, text in answers(rows)],
        "## What was run",
        _ran(rows, planned),
    ]
    return "\n\n".join(parts) + "\n"


def answers(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Questions, and what the rows say to them; those that the rows do not reach are left out."""
    found = [
        ("Does fine-tuning beat freezing, by how much, where not?", _freezing(rows)),
        ("Does the gain shrink with labels?", _shrinks(rows)),
        (
            "Does external pretraining with variance sampling beat pretraining on the target alone?",
            _variants(rows, "target"),
        ),
        ("Does it beat uniform sampling?", _variants(rows, "uniform")),
        ("Do frozen features beat those of a random encoder?", _random(rows)),
        ("Which objective is best?", _best(rows)),
        ("Do several corpora help?", _variants(rows, "corpora", "one-corpus")),
        ("Do the practices between the poles, or keeping the objective, help?", _practices(rows)),
        ("Is any of it better than the forest, or than augmentation alone?", _controls(rows)),
        ("What does pretraining add where the placement changes, and where it stays?", _placement(rows)),
    ]
    return [(question, text) for question, text in found if text]


def _scores(rows: pd.DataFrame) -> list[str]:
    parts = []
    for target, here in rows.groupby("dataset", sort=False):
        shots = sorted(here["shots"].unique(), key=by_shots)
        lines: dict[str, dict[str, str]] = {}
        for name, part in _lines(here):
            found = summary(part).set_index("shots").reindex(shots)
            lines[name] = {}
            for n, line in zip(shots, found.itertuples(), strict=True):
                half = "" if np.isnan(line.low) else f" \u00b1 {line.high - line.macro_f1:.3f}"
                cell = f"{line.macro_f1:.3f}{half} ({line.worst_subject:.2f})"
                lines[name][shots_in_words(n)] = "-" if np.isnan(line.macro_f1) else cell
        parts += [f"**{target}** (in brackets: the worst person's score)", markdown_table(_frame(lines))]
    return parts


def _lines(here: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Every pretrained arm by variant, then the controls, which variants share."""
    found = []
    for variant, part in here.groupby("variant", sort=False):
        for mode, arm in part.groupby("mode", sort=False):
            if arm["objective"].iloc[0] != "-" and not (variant == "practices" and mode in ("finetune", "frozen")):
                found.append((f"{variant}, {mode}" if variant != "practices" else f"simclr, {mode}", arm))
    for mode in ("scratch", "supervised", "random-frozen", "random-logistic", *CLASSICAL):
        for encoder, arm in here[(here["mode"] == mode)].groupby("encoder"):
            found.append((f"{mode}{'' if mode in CLASSICAL else f' ({encoder})'}", arm.drop_duplicates("fingerprint")))
    return found


def _control(here: pd.DataFrame, mode: str) -> pd.DataFrame:
    """A control of the variant `simclr`, which has them all."""
    return here[(here["mode"] == mode) & (here["variant"] == "simclr")]


def _freezing(rows: pd.DataFrame) -> str:
    lines: dict[str, dict[str, str]] = {}
    every: list[Gain] = []
    for (target, variant), here in rows.groupby(["dataset", "variant"], sort=False):
        gains = paired_difference(
            here[here["mode"] == "finetune"], here[here["mode"] == "frozen"], "fine-tuned", "frozen"
        )
        if gains:
            lines[f"{target}, {variant}"] = {shots_in_words(g.shots): _cell(g) for g in _sorted(gains)}
            every += gains
    if not every:
        return ""
    tuned = rows[rows["mode"] == "finetune"]
    frozen = rows[rows["mode"] == "frozen"]
    pooled = _own(tuned, frozen)
    mean = ", ".join(f"{points(g.gain)} {_ends(g)} with {shots_in_words(g.shots)}" for g in _sorted(pooled))
    better, worse = sum(g.low > 0 for g in every), sum(g.high < 0 for g in every)
    return (
        f"Over all corpora and objectives: {mean} windows a class. Of {len(every)} comparisons fine-tuning wins {better}, "
        f"loses {worse} and the rest have intervals that contain zero.\n\n{markdown_table(_frame(lines))}"
    )


def _own(one: pd.DataFrame, two: pd.DataFrame, *, pool: bool = False) -> list[Gain]:
    """Pairs within each variant, all variants together."""
    parts = [
        (one[one["variant"] == name].assign(dataset=lambda part, name=name: part["dataset"] + name), name)
        for name in dict.fromkeys(one["variant"])
    ]
    others = [
        two[two["variant"] == name].assign(dataset=lambda part, name=name: part["dataset"] + name) for _, name in parts
    ]
    return paired_difference(pd.concat([part for part, _ in parts]), pd.concat(others), "", "", pool=pool)


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
        lines[f"{target}, {variant}"] = {"shrinks by": _cell(change[0])}
    if not found:
        return ""
    return (
        f"From {shots_in_words(few)} to {shots_in_words(many)} windows a class the gain shrinks clearly in "
        f"{sum(g.low > 0 for g in found)} of {len(found)} cases and grows clearly in {sum(g.high < 0 for g in found)}.\n\n"
        + markdown_table(_frame(lines))
    )


def _variants(rows: pd.DataFrame, *suffixes: str) -> str:
    """Plain objectives against their variants whose names end so, frozen and fine-tuned."""
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
                    label = f"{target}: {base} over {name}, {mode}"
                    lines[label] = {shots_in_words(g.shots): _cell(g) for g in _sorted(gains)}
    return markdown_table(_frame(lines)) if lines else ""


def _random(rows: pd.DataFrame) -> str:
    """Under the paper's head, and under a logistic regression, which is fitted to the end whatever the features' scale."""
    parts = [_over_control(rows, "frozen", "random-frozen"), _over_control(rows, "frozen-logistic", "random-logistic")]
    if parts[1]:
        parts.insert(
            1,
            "The same under a logistic regression on standardised features, the fairer question: the paper's head ends in "
            "batch normalisation, whose running averages need more steps than few labels give where features are as small "
            "as a random encoder's.",
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
        lines.setdefault(str(target), {})[shots_in_words(shots)] = f"{first}, over {second} {_cell(gain)}"
    order = ", ".join(f"{name} {count}" for name, count in sorted(wins.items(), key=lambda item: -item[1]))
    return f"Fine-tuned, the highest mean of those that were run: {order} times.\n\n{markdown_table(_frame(lines))}"


def _practices(rows: pd.DataFrame) -> str:
    here = rows[rows["variant"] == "practices"]
    lines = {}
    for target, part in here.groupby("dataset", sort=False):
        plain = part[part["mode"] == "finetune"]
        for arm in [mode for mode in dict.fromkeys(part["mode"]) if mode != "finetune"]:
            gains = _sorted(paired_difference(part[part["mode"] == arm], plain, arm, "finetune"))
            if gains:
                lines[f"{target}: {arm} over plain fine-tuning"] = {shots_in_words(g.shots): _cell(g) for g in gains}
    return markdown_table(_frame(lines)) if lines else ""


def _controls(rows: pd.DataFrame) -> str:
    lines, said = {}, []
    for target, here in rows.groupby("dataset", sort=False):
        ours = here[(here["objective"] != "-") & ~((here["variant"] == "practices") & (here["mode"] == "finetune"))]
        for mode in ("forest", "supervised", "scratch"):
            other = _control(here, mode)
            cells = {}
            for shots in sorted(ours["shots"].unique(), key=by_shots):
                part = ours[same_shots(ours["shots"], shots)]
                means = part.groupby(["variant", "mode"])["macro_f1"].mean()
                variant, arm = means.idxmax()
                best = part[(part["variant"] == variant) & (part["mode"] == arm)]
                if gains := paired_difference(best, other, variant, mode):
                    cells[shots_in_words(shots)] = f"{variant}, {arm}: {_cell(gains[0])}"
                    if mode == "forest":
                        said.append(gains[0])
            if cells:
                lines[f"{target}: best of ours over {CONTROLS[mode][0]}"] = cells
    if not lines:
        return ""
    ahead, behind = sum(g.low > 0 for g in said), sum(g.high < 0 for g in said)
    return (
        f"Against the forest, the best of our arms (chosen after the fact, which flatters it) is ahead in {ahead} of "
        f"{len(said)} cases, behind in {behind}, and level in the rest.\n\n{markdown_table(_frame(lines))}"
    )


def _placement(rows: pd.DataFrame) -> str:
    return _over_control(rows, "finetune", "scratch")


def _over_control(rows: pd.DataFrame, mode: str, control: str) -> str:
    """Each plain objective against the same network without pretraining."""
    lines = {}
    for target, here in rows.groupby("dataset", sort=False):
        for variant in COLOURS:
            ours = here[(here["variant"] == variant) & (here["mode"] == mode)]
            alike = here["encoder"].isin(set(ours["encoder"]))
            other = here[(here["mode"] == control) & alike].drop_duplicates("fingerprint")
            if gains := _sorted(paired_difference(ours, other, variant, control)):
                lines[f"{target}: {variant} over {control}"] = {shots_in_words(g.shots): _cell(g) for g in gains}
    return markdown_table(_frame(lines)) if lines else ""
