"""Rows of several variants and corpora -> one figure and one page that answers a paper's questions in numbers: those of
"Don't freeze", or, where an encoder was pretrained by PRIMUS, those of PRIMUS.

Every answer is a paired comparison on the same folds, seeds and labelled windows, with a bootstrap interval over groups of
test people. An answer whose variants were not run is left out, and the page says what was left. Trains nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.baseline import CLASSICAL
from otolith.evaluate import Gain, Recall, Row, paired_difference, summary
from otolith.files import write_text
from otolith.report import STYLE, by_shots, markdown_table, points, same_shots, shots_in_words, svg

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


def write(
    rows: pd.DataFrame,
    planned: Mapping[tuple[str, str], int],
    *,
    path: Path,
    title: str,
    recalls: pd.DataFrame | None = None,
) -> None:
    """Writes the page and its figure (`<page>.svg`), each atomically. Which paper's follows from the rows' objectives."""
    figure = path.with_suffix(".svg")
    if (rows["objective"] == "primus").any():
        drawn, text = primus_curves(rows), primus_page(rows, planned, title=title, figure=figure.name, recalls=recalls)
    else:
        drawn, text = curves(rows), page(rows, planned, title=title, figure=figure.name)
    write_text(figure, svg(drawn).decode())
    write_text(path, text)


def write_table(
    rows: pd.DataFrame, planned: Mapping[tuple[str, str], int], path: Path, recalls: pd.DataFrame | None = None
) -> None:
    """Writes all rows as CSV, from which `read_table` gives the same page again; `planned` becomes a column. Recalls, if
    there are any, go beside it: `<table>-recalls.csv`."""
    keys = list(zip(rows["dataset"], rows["variant"], strict=True))
    kept = rows.assign(planned=[planned[key] for key in keys])
    order = {key: place for place, key in enumerate(planned)}
    kept = kept.assign(_=[order[key] for key in keys]).sort_values(["_", "mode", "shots", "seed", "fold"])
    write_text(path, kept.drop(columns="_").to_csv(index=False, lineterminator="\n"))
    if recalls is not None and len(recalls):
        write_text(_beside(path), recalls.to_csv(index=False, lineterminator="\n"))


def read_recalls(path: Path) -> pd.DataFrame:
    """The recalls beside a table of rows, as `write_table` wrote them; empty where there are none."""
    beside = _beside(path)
    if not beside.is_file():
        return pd.DataFrame()
    words = {field.name: str for field in dataclasses.fields(Recall) if field.type == "str"}
    table: pd.DataFrame = pd.read_csv(beside, dtype=words, keep_default_na=False)
    return table


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-recalls.csv")


def read_table(path: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    """Rows and planned numbers, as `write_table` wrote them.

    Raises:
        ValueError: the file is no such table.
    """
    words = {field.name: str for field in dataclasses.fields(Row) if field.type == "str"}
    rows = pd.read_csv(path, dtype={**words, "shots": "Int64"}, keep_default_na=False, na_values={"shots": [""]})
    if missing := {"dataset", "variant", "planned", "macro_f1"} - set(rows.columns):
        raise ValueError(f"'{path}' lacks the columns {', '.join(sorted(missing))}; otolith study writes such tables")
    groups = rows.groupby(["dataset", "variant"], sort=False)["planned"].first()
    return rows.drop(columns="planned"), {(str(a), str(b)): int(n) for (a, b), n in groups.items()}


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
