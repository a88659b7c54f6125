"""Answer the questions of "Don't freeze" (arXiv 2307.01168) from result rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from otolith.classifiers.baselines import CLASSICAL
from otolith.evaluation.statistics import Gain, paired_difference, summary
from otolith.reports.figures import WIDTH, interval_curve
from otolith.reports.study_tables import (
    NO_INTERVAL,
    Answer,
    Cell,
    clear,
    comparisons_note,
    gain_cell,
    gain_cells,
    gain_text,
    provenance,
    run_table,
    score_cell,
    sorted_by_shots,
    text_table,
    verdict,
)
from otolith.reports.style import STYLE, by_shots, same_shots, shots_text

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
            _panel(axes, rows[rows["dataset"] == target])
            axes.set_title(target)
            if number == 0:
                handles = axes.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8)
        return figure


def panels(rows: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Yield the panels of `curves` as figures of their own, each with its caption and the rows that it shows."""
    for target, here in rows.groupby("dataset", sort=False):
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
            _panel(figure.add_subplot(), here)
        yield str(target), figure, here


def _panel(axes: Axes, here: pd.DataFrame) -> None:
    """Draw the curves of one corpus."""
    shots = sorted(here["shots"].unique(), key=by_shots)
    lines: list[tuple[pd.DataFrame, str, str, str]] = [
        (here[(here["variant"] == name) & (here["mode"] == mode)], title, colour, style)
        for name, colour in COLOURS.items()
        for mode, title, style in (("finetune", name, "-o"), ("frozen", f"{name}, frozen", "--o"))
    ]
    for mode, (title, colour, style) in CONTROLS.items():
        lines.append((_control(here, mode), title, colour, style))
    for part, title, colour, style in lines:
        if len(part):
            shown = None if style == "--o" else title
            interval_curve(axes, part, shots, style, colour, title, legend=shown, band=style == "-o")
    axes.set_xticks(range(len(shots)), [shots_text(n) for n in shots])
    axes.set(xlabel="labelled windows per class", ylabel="macro F1, held-out subjects", ylim=(0, 1))


def page(rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], *, title: str, figure: str) -> str:
    """Return the page in Markdown.

    Args:
        rows: result rows of all variants, with a column `variant`.
        planned: number of planned rows by (dataset, variant).
        title: heading of the page.
        figure: address of the figure, relative to the page.
    """
    folds, seeds, found = rows["fold"].nunique(), rows["seed"].nunique(), answers(rows)
    parts = [
        f"# {title}",
        provenance(rows),
        f"![Macro F1 against labelled windows per class]({figure})",
        "Solid lines: fine-tuned, with 95 % intervals over groups of test subjects, where there are at least 5; dots: "
        "subjects. Dashed lines: the same encoder, frozen. Dotted lines: no pretraining.",
        "## Scores",
        f"Mean and 95 % interval (Student's t) over groups of test subjects. {NO_INTERVAL}",
        *_scores(rows),
        "## Answers",
        "Differences are in points of macro F1, paired on fold, seed and labelled windows, with 95 % intervals (Student's "
        f"t) over groups of test subjects. There are {folds} folds by subject and {seeds} seeds. {NO_INTERVAL} "
        f"{comparisons_note(sum(len(answer.gains) for answer in found))}",
        *[f"### {answer.question}\n\n{answer.text}" for answer in found],
        "## What was run",
        run_table(rows, planned),
    ]
    return "\n\n".join(parts) + "\n"


def answers(rows: pd.DataFrame) -> list[Answer]:
    """Return the paper's questions with their answers; a question whose arms have no rows is left out."""
    found = [
        Answer("Does fine-tuning score higher than freezing?", *_freezing(rows)),
        Answer("Does the gain shrink with more labels?", *_shrinks(rows)),
        Answer(
            "Does external pretraining with variance sampling score higher than pretraining on the target corpus?",
            *_variants(rows, "target"),
        ),
        Answer("Does variance sampling score higher than uniform sampling?", *_variants(rows, "uniform")),
        Answer("Do frozen features score higher than those of a random encoder?", *_random(rows)),
        Answer("Which objective scores highest?", *_best(rows)),
        Answer("Does pretraining on several corpora help?", *_variants(rows, "corpora", "one-corpus")),
        Answer("Does partial fine-tuning help, or keeping the pretraining loss?", *_practices(rows)),
        Answer("Does pretraining score higher than a random forest, or than augmentation alone?", *_controls(rows)),
        Answer(
            "What does pretraining add where the placement of the sensor changes, and where it stays?",
            *_over_control(rows, "finetune", "scratch"),
        ),
    ]
    return [answer for answer in found if answer.text]


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
        lines: dict[str, dict[str, str | Cell]] = {}
        for name, part in score_lines(here):
            found = summary(part).set_index("shots").reindex(shots)
            lines[name] = {
                shots_text(n): score_cell(line, f" ({line.worst_subject:.2f})")
                for n, line in zip(shots, found.itertuples(), strict=True)
            }
        parts += [f"**{target}** (in brackets: the score of the worst subject)", text_table(lines)]
    return parts


def _control(here: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Return a control of the variant `simclr`, which has all controls."""
    return here[(here["mode"] == mode) & (here["variant"] == "simclr")]


_Found = tuple[str, list[Gain]]
"""The text of an answer and the comparisons that it makes."""


def _table_of(lines: Mapping[str, Sequence[Gain]]) -> _Found:
    """Return a table with one line of gains per name, and all of them."""
    cells = {name: gain_cells(gains) for name, gains in lines.items() if gains}
    return text_table(cells) if cells else "", [gain for gains in lines.values() for gain in gains]


def _freezing(rows: pd.DataFrame) -> _Found:
    tuned, frozen = (rows[rows["mode"] == mode] for mode in ("finetune", "frozen"))
    lines = {
        f"{target}, {variant}": paired_difference(
            here[here["mode"] == "finetune"], here[here["mode"] == "frozen"], "fine-tuned", "frozen"
        )
        for (target, variant), here in rows.groupby(["dataset", "variant"], sort=False)
    }
    table, every = _table_of(lines)
    if not every:
        return "", []
    pooled = paired_difference(tuned, frozen, "fine-tuned", "frozen", within=["variant"])
    mean = ", ".join(f"{gain_text(gain)} at {shots_text(gain.shots)}" for gain in sorted_by_shots(pooled))
    words = verdict(every, "fine-tuning")
    return (
        f"Mean gain over all corpora and objectives, by windows per class: {mean}; all objectives that tested the same "
        f"subjects count as one group. {words[0].upper()}{words[1:]}.\n\n{table}"
    ), [*every, *pooled]


def _shrinks(rows: pd.DataFrame) -> _Found:
    keys = ["dataset", "variant", "shots", "seed", "fold", "test_subjects"]
    one, two = (rows[rows["mode"] == mode].set_index(keys)["macro_f1"] for mode in ("finetune", "frozen"))
    gain = (one - two).dropna().reset_index()
    shots = sorted(gain["shots"].unique(), key=by_shots)
    if len(shots) < 2:
        return "", []
    few, many = shots[0], shots[-1]
    first, last = (gain[same_shots(gain["shots"], n)].assign(shots=0) for n in (few, many))
    both = set(zip(first["dataset"], first["variant"], strict=True)) & set(
        zip(last["dataset"], last["variant"], strict=True)
    )
    lines: dict[str, dict[str, str | Cell]] = {}
    found = []
    for target, variant in sorted(both):
        one, two = (x[(x["dataset"] == target) & (x["variant"] == variant)] for x in (first, last))
        change = paired_difference(one, two, "few", "many", pool=True)
        found += change
        lines[f"{target}, {variant}"] = {"decrease of the gain": gain_cell(change[0])}
    if not found:
        return "", []
    sure = [gain.gain > 0 for gain, certain in zip(found, clear(found), strict=True) if certain]
    return (
        f"From {shots_text(few)} to {shots_text(many)} windows per class, the gain clearly shrinks in {sum(sure)} of "
        f"{len(found)} cases and clearly grows in {len(sure) - sum(sure)}.\n\n{text_table(lines)}"
    ), found


def _variants(rows: pd.DataFrame, *suffixes: str) -> _Found:
    """Compare plain objectives with their variants whose names end in one of the suffixes, frozen and fine-tuned."""
    lines = {}
    for target, here in rows.groupby("dataset", sort=False):
        for name in dict.fromkeys(here["variant"]):
            base = next((v for v in COLOURS if name.startswith(f"{v}-")), None)
            if base is None or not name.endswith(suffixes):
                continue
            for mode in ("finetune", "frozen"):
                one, two = (here[(here["variant"] == v) & (here["mode"] == mode)] for v in (base, name))
                lines[f"{target}: {base} over {name}, {mode}"] = paired_difference(one, two, base, name)
    return _table_of(lines)


def _random(rows: pd.DataFrame) -> _Found:
    """Compare with a random encoder under the paper's head, and under a logistic regression, which is always fitted until
    convergence."""
    mlp, gains = _over_control(rows, "frozen", "random-frozen")
    logistic, more = _over_control(rows, "frozen-logistic", "random-logistic")
    note = (
        "The next table has the same comparison with a logistic regression on standardised features, which is fairer. "
        "The paper's head ends in batch normalisation. Its running averages need more steps than few labels give if the "
        "features are as small as those of a random encoder."
    )
    return "\n\n".join(part for part in (mlp, note if logistic else "", logistic) if part), [*gains, *more]


def _best(rows: pd.DataFrame) -> _Found:
    plain = rows[rows["variant"].isin(list(COLOURS)) & (rows["mode"] == "finetune")]
    if plain["variant"].nunique() < 2:
        return "", []
    lines: dict[str, dict[str, str | Cell]] = {}
    wins: dict[str, int] = {}
    found = []
    for (target, shots), here in plain.groupby(["dataset", "shots"], sort=False, dropna=False):
        scores = here.groupby("variant")["macro_f1"].mean().sort_values(ascending=False)
        if len(scores) < 2:
            continue
        first, second = scores.index[:2]
        wins[first] = wins.get(first, 0) + 1
        gain = paired_difference(here[here["variant"] == first], here[here["variant"] == second], first, second)[0]
        found.append(gain)
        lines.setdefault(str(target), {})[shots_text(shots)] = gain_cell(gain, f"{first}, over {second} ")
    order = ", ".join(f"{name} ({count})" for name, count in sorted(wins.items(), key=lambda item: -item[1]))
    return (
        "Objectives with the highest mean after fine-tuning, of those that were run, and how often: "
        f"{order}.\n\n{text_table(lines)}"
    ), found


def _practices(rows: pd.DataFrame) -> _Found:
    here = rows[rows["variant"] == "practices"]
    lines = {}
    for target, part in here.groupby("dataset", sort=False):
        plain = part[part["mode"] == "finetune"]
        for arm in [mode for mode in dict.fromkeys(part["mode"]) if mode != "finetune"]:
            gains = paired_difference(part[part["mode"] == arm], plain, arm, "finetune")
            lines[f"{target}: {arm} over plain fine-tuning"] = gains
    return _table_of(lines)


def _controls(rows: pd.DataFrame) -> _Found:
    lines: dict[str, dict[str, str | Cell]] = {}
    over_forest, found = [], []
    for target, here in rows.groupby("dataset", sort=False):
        pretrained = (here["objective"] != "-") & ~((here["variant"] == "practices") & (here["mode"] == "finetune"))
        arms = here[pretrained]
        for mode in ("forest", "supervised", "scratch"):
            other = _control(here, mode)
            cells: dict[str, str | Cell] = {}
            for shots in sorted(arms["shots"].unique(), key=by_shots):
                part = arms[same_shots(arms["shots"], shots)]
                means = part.groupby(["variant", "mode"])["macro_f1"].mean()
                variant, arm = means.idxmax()
                best = part[(part["variant"] == variant) & (part["mode"] == arm)]
                if gains := paired_difference(best, other, variant, mode):
                    cells[shots_text(shots)] = gain_cell(gains[0], f"{variant}, {arm}: ")
                    found += gains
                    if mode == "forest":
                        over_forest += gains
            if cells:
                lines[f"{target}: best pretrained arm over {CONTROLS[mode][0]}"] = cells
    if not lines:
        return "", []
    return (
        f"With the random forest, {verdict(over_forest, 'the best pretrained arm')}. The arm was selected by its test "
        f"scores, so this comparison is optimistic.\n\n{text_table(lines)}"
    ), found


def _over_control(rows: pd.DataFrame, mode: str, control: str) -> _Found:
    """Compare each plain objective with the same network without pretraining."""
    lines = {}
    for target, here in rows.groupby("dataset", sort=False):
        for variant in COLOURS:
            arm = here[(here["variant"] == variant) & (here["mode"] == mode)]
            same_encoder = here["encoder"].isin(set(arm["encoder"]))
            other = here[(here["mode"] == control) & same_encoder].drop_duplicates("fingerprint")
            lines[f"{target}: {variant} over {control}"] = paired_difference(arm, other, variant, control)
    return _table_of(lines)
