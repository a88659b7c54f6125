"""Rows -> a table, figures and one self-contained HTML page that says in words what was found. Trains nothing."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from otolith.baseline import CLASSICAL
from otolith.datasets import Dataset
from otolith.evaluate import Gain, gains, summary
from otolith.files import write_text
from otolith.windows import Windows

TITLES = {
    "finetune": "fine-tuned",
    "frozen": "frozen",
    "scratch": "from scratch",
    "random-frozen": "random, frozen",
    "zero-shot": "words alone",
    "forest": "random forest",
    "svm": "SVM",
    "minirocket": "MiniRocket",
}
"""Modes in words, in the order of tables and legends."""

COLOURS = {
    "finetune": "#d55e00",
    "frozen": "#0072b2",
    "scratch": "#8a6fb0",
    "random-frozen": "#9a9a9a",
    "zero-shot": "#e69f00",
    "forest": "#117733",
    "svm": "#b8a800",
    "minirocket": "#333333",
}
CLASSES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#6a3d9a", "#8c510a", "#666666"]
"""Colours told apart with any eyesight (Okabe and Ito), extended."""

OTHERS = ["#cc79a7", "#56b4e9", "#6a3d9a", "#8c510a", "#666666"]
"""Colours of arms under names of their own: those of `CLASSES` that are near none of `COLOURS`."""

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "svg.hashsalt": "otolith",  # equal input, equal bytes
}
"""What all figures look like."""


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A 2-D map of windows.

    Attributes:
        xy: (windows, 2).
        label: (windows,) label names.
        subject: (windows,) names of people.
        label_names: all labels, in their order.
    """

    xy: np.ndarray
    label: np.ndarray
    subject: np.ndarray
    label_names: tuple[str, ...]

    @classmethod
    def of(cls, features: Tensor, windows: Windows, *, at_most: int = 1000) -> Embedding:
        """t-SNE (scikit-learn, perplexity 30, started from principal components) of up to `at_most` windows."""
        from sklearn.manifold import TSNE

        rows = np.sort(np.random.default_rng(0).permutation(len(windows))[:at_most])
        x = features.numpy()[rows]
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
        xy = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(x)
        chosen = windows[rows]
        assert chosen.y is not None
        people = np.array(chosen.subject_names)[chosen.subject]
        return cls(xy, np.array(chosen.label_names)[chosen.y], people, chosen.label_names)


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


def curve(rows: pd.DataFrame) -> Figure:
    """Macro F1 against windows a class, with intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        found = summary(rows)
        shots = sorted(found["shots"].unique(), key=by_shots)
        colours = itertools.cycle(OTHERS)
        for number, mode in enumerate(arms := _arms(found)):
            line = found[found["mode"] == mode].set_index("shots").reindex(shots)
            x = np.arange(len(shots)) + 0.04 * (number - (len(arms) - 1) / 2)
            middle = line["macro_f1"].to_numpy(float)
            spread = np.nan_to_num(line["high"].to_numpy(float) - middle)
            style = "--s" if mode in CLASSICAL else "-o"
            axes.errorbar(
                x,
                middle,
                yerr=spread,
                fmt=style,
                color=COLOURS.get(mode) or next(colours),
                capsize=3,
                label=_title(mode),
                markersize=5,
            )
        axes.set_xticks(range(len(shots)), [shots_in_words(n) for n in shots])
        axes.set(
            xlabel="labelled windows a class", ylabel="macro F1, people never seen", title="Few labels, new people"
        )
        axes.legend()
        return figure


def gain_figure(rows: pd.DataFrame) -> Figure | None:
    """Paired gain of fine-tuning over freezing, and over the classical methods, with bootstrap intervals."""
    pairs = [("finetune", over) for over in ("frozen", "scratch", *CLASSICAL) if over in set(rows["mode"])]
    if not pairs or "finetune" not in set(rows["mode"]):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        names: list[str] = []
        for number, (mode, over) in enumerate(pairs):
            found = sorted(gains(rows, mode, over), key=lambda gain: by_shots(gain.shots))
            names = [shots_in_words(gain.shots) for gain in found]
            x = np.arange(len(found)) + 0.12 * (number - (len(pairs) - 1) / 2)
            middle = np.array([100 * gain.gain for gain in found])
            ends = np.nan_to_num([[100 * (g.gain - g.low) for g in found], [100 * (g.high - g.gain) for g in found]])
            axes.errorbar(x, middle, yerr=ends, fmt="o", color=COLOURS[over], capsize=4, label=f"over {TITLES[over]}")
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_xticks(range(len(names)), names)
        axes.set(
            xlabel="labelled windows a class",
            ylabel="gain in points of macro F1",
            title="What fine-tuning gains, in pairs",
        )
        axes.legend()
        return figure


def confusion_figure(rows: pd.DataFrame, modes: Sequence[str], classes: Sequence[str], shots: Any) -> Figure:
    """Confusion matrices side by side, summed over folds and seeds; rows are the truth and sum to 100 %."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(5.2 * len(modes), 4.8), layout="constrained")
        for number, mode in enumerate(modes):
            axes = figure.add_subplot(1, len(modes), number + 1)
            chosen = rows[(rows["mode"] == mode) & same_shots(rows["shots"], shots)]
            total = np.sum([json.loads(text) for text in chosen["confusion"]], axis=0)
            confusion_panel(axes, total, classes)
            axes.set_title(f"{_title(mode)}, {shots_in_words(shots)} a class")
            if number:
                axes.set_yticklabels([])
                axes.set_ylabel("")
        return figure


def confusion_panel(axes: Axes, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """One confusion matrix (classes, classes) of counts, drawn in percent of the true class, which are its rows."""
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i in range(len(classes)):
        for j in range(len(classes)):
            if share[i, j] >= 0.5:
                ink = "white" if share[i, j] > 55 else "#222222"
                axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")


def embedding_figure(embedding: Embedding) -> Figure:
    """The map twice: coloured by label, and by person."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(10.4, 4.6), layout="constrained")
        people = sorted(set(embedding.subject.tolist()))
        panels = [(embedding.label, embedding.label_names, "by label"), (embedding.subject, people, "by person")]
        for number, (names, order, title) in enumerate(panels):
            axes = figure.add_subplot(1, 2, number + 1)
            for k, name in enumerate(name for name in order if name in set(names.tolist())):
                mine = embedding.xy[names == name]
                axes.scatter(mine[:, 0], mine[:, 1], s=7, color=CLASSES[k % len(CLASSES)], label=name, linewidths=0)
            axes.set(xticks=[], yticks=[], title=title)
            axes.legend(markerscale=2, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure


def history_figure(history: Sequence[Sequence[Any]]) -> Figure:
    """Pretraining losses by epoch."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        epoch = [line[0] for line in history]
        axes.plot(epoch, [line[1] for line in history], "-", color="#555555", label="training people")
        held = [(line[0], line[2]) for line in history if line[2] is not None]
        if held:
            axes.plot(*zip(*held, strict=True), "-o", color="#0072b2", markersize=3, label="validation people")
        axes.set(xlabel="epoch", ylabel="pretraining loss", title="Pretraining, without labels")
        axes.legend()
        return figure


def write(
    path: Path,
    rows: pd.DataFrame,
    *,
    title: str,
    card: Dataset,
    recipe: str,
    embedding: Embedding | None = None,
    history: Sequence[Sequence[Any]] = (),
    picture: bytes | None = None,
) -> None:
    """Writes the page, atomically; it needs no network and no other file.

    Args:
        path: the HTML file.
        rows: from `evaluate.gather`.
        title: of the page.
        card: facts of the corpus.
        recipe: the recipe's text.
        embedding: a map of test people's windows.
        history: lines of epoch, training loss, validation loss.
        picture: SVG of a labelled recording.
    """
    classes = list(json.loads(rows["f1_by_class"].iloc[0]))
    shots = sorted(rows["shots"].unique(), key=by_shots)
    middle = shots[len(shots) // 2]
    found = summary(rows)
    compared = _best(found, _pretrained(rows), middle) + _best(found, ["forest"], middle)
    first = rows.iloc[0]
    parts = [
        f"<h1>{_e(title)}</h1>",
        f"<p class=lead>{rows['test_subjects'].str.split().explode().nunique()} people, each tested by models that never "
        f"saw them: {rows['fold'].nunique()} folds by person, {rows['seed'].nunique()} "
        f"seed{'s' if rows['seed'].nunique() > 1 else ''}, {len(rows)} results. Scores are macro F1 over "
        f"{len(classes)} classes.</p>",
        "<h2>What was found</h2><ul>" + "".join(f"<li>{_e(text)}</li>" for text in findings(rows)) + "</ul>",
        "<h2>Scores</h2>" + _html_table(table(rows)),
        "<p class=note>Mean over folds for each seed, then mean over seeds &plusmn; half of the 95 % interval (Student's t "
        "over seeds). Columns: labelled windows a class.</p>",
        _figure(curve(rows), "Macro F1 against labelled windows a class. Bars: 95 % intervals over seeds."),
    ]
    if (figure := gain_figure(rows)) is not None:
        parts.append(
            _figure(
                figure,
                "Paired on the same fold, seed and labelled windows. Bars: 95 % bootstrap intervals over groups of test "
                "people. A bar that crosses zero shows no difference that could be relied on.",
            )
        )
        parts.append(_html_table(_gain_table(rows)))
    if compared:
        parts.append("<h2>Who is taken for whom</h2>")
        parts.append(
            _figure(
                confusion_figure(rows, compared, classes, middle),
                "Percent of the true class; all folds and seeds together; people never seen.",
            )
        )
    if embedding is not None:
        parts.append("<h2>What the encoder sees</h2>")
        parts.append(
            _figure(
                embedding_figure(embedding),
                "Map (t-SNE) of the pretrained encoder's 256 features for windows of people it has never seen, before any "
                "label was used. Good features lie together by label and mix people.",
            )
        )
    if picture is not None:
        parts.append("<h2>A recording, labelled</h2>")
        parts.append(
            _image(picture, "A recording of a person that neither pretraining nor the classifier has seen, labelled.")
        )
    parts.append("<h2>How it was made</h2>")
    if history:
        parts.append(_figure(history_figure(history), "The first fold's pretraining."))
    facts = {
        "Corpus": f"{card.title}: {card.subjects} people, {len(card.classes)} classes, {card.placements[0]}, "
        f"{card.rate_hz:g} Hz; {card.cite}; {card.licence}",
        "Encoder, objective": " / ".join(
            f"{encoder}, {objective}"
            for encoder, objective in sorted(set(zip(rows["encoder"], rows["objective"], strict=True)) - {("-", "-")})
            if objective != "-"
        ),
        "Code": f"otolith code {first['code']}, commit {first['commit']}, torch {first['torch']}",
        "Machine": str(first["machine"]),
        "Time": f"{rows['seconds'].sum():,.0f} s of fitting and scoring in all",
        "Windows": f"{rows['n_test'].sum() // max(1, rows.groupby(['mode', 'shots', 'seed'], dropna=False).ngroups):,} "
        "test windows a seed",
    }
    lines = "".join(f"<tr><th>{_e(key)}</th><td>{_e(value)}</td></tr>" for key, value in facts.items())
    parts.append(f"<table class=facts>{lines}</table>")
    if bool(rows["test_seen_in_pretraining"].any()):
        parts.append(
            "<p class=warning>Some encoders saw test people in pretraining: those rows are not of people never seen.</p>"
        )
    short = sorted({text for text in rows["fewer"] if text != "{}"})
    if short:
        parts.append(f"<p class=note>Some classes had fewer windows than asked for in some draws: {_e(short[0])}.</p>")
    parts.append(f"<details><summary>The recipe, as it was run</summary><pre>{_e(recipe)}</pre></details>")
    page = _PAGE.replace("{title}", _e(title)).replace("{body}", "\n".join(parts))
    write_text(path, page)


def markdown_table(text: pd.DataFrame) -> str:
    """A table of text in Markdown, its index as the first column."""
    lines = [["", *text.columns], ["---"] * (len(text.columns) + 1)]
    lines += [[str(name), *cells] for name, cells in zip(text.index, text.to_numpy().tolist(), strict=True)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def svg(figure: Figure) -> bytes:
    """The figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


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


def points(share: float) -> str:
    """A difference of scores in points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def _p(value: float) -> str:
    return "-" if np.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _cell(lines: pd.DataFrame) -> str:
    if len(lines) == 0:
        return "-"
    line = lines.iloc[0]
    half = "" if np.isnan(line["low"]) else f" \u00b1 {line['high'] - line['macro_f1']:.3f}"
    return f"{line['macro_f1']:.3f}{half}"


def _arms(found: pd.DataFrame) -> list[str]:
    """The modes that are there in the order of `TITLES`, then arms under names of their own."""
    present = dict.fromkeys(found["mode"])
    return [mode for mode in TITLES if mode in present] + [mode for mode in present if mode not in TITLES]


def _title(mode: str) -> str:
    return TITLES.get(mode, mode)


def _plain(shots: Any) -> int | None:
    return None if pd.isna(shots) else int(shots)


def same_shots(column: pd.Series, shots: Any) -> pd.Series:
    """Which values are these shots, where missing stands for all windows."""
    return column.isna() if pd.isna(shots) else (column == shots).fillna(False)


def shots_in_words(shots: Any) -> str:
    """A number of shots, or `all`."""
    return "all" if shots is None or pd.isna(shots) else str(int(shots))


def by_shots(shots: Any) -> float:
    """Key to sort by, all windows last."""
    return float("inf") if shots is None or pd.isna(shots) else float(shots)


def _e(text: object) -> str:
    return html.escape(str(text))


def _html_table(text: pd.DataFrame) -> str:
    head = "".join(f"<th>{_e(column)}</th>" for column in text.columns)
    lines = "".join(
        f"<tr><th>{_e(name)}</th>" + "".join(f"<td>{_e(cell)}</td>" for cell in line) + "</tr>"
        for name, line in zip(text.index, text.to_numpy(), strict=True)
    )
    return f"<div class=wide><table><tr><th></th>{head}</tr>{lines}</table></div>"


def _figure(figure: Figure, caption: str) -> str:
    return _image(svg(figure), caption)


def _image(data: bytes, caption: str) -> str:
    text = base64.b64encode(data).decode()
    image = f'<img src="data:image/svg+xml;base64,{text}" alt="{_e(caption)}">'
    return f"<figure>{image}<figcaption>{_e(caption)}</figcaption></figure>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; color: #1c1c1c;
  background: #fff; max-width: 60rem; margin: 2.5rem auto 5rem; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
.lead { color: #444; } .note, figcaption { color: #555; font-size: .875rem; }
.warning { background: #fff1e0; border-left: 4px solid #d55e00; padding: .6rem 1rem; }
li { margin-bottom: .45rem; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid #e3e3e3; font-size: .93rem; }
.facts th { font-weight: 600; white-space: nowrap; vertical-align: top; }
.wide { overflow-x: auto; }
figure { margin: 1.2rem 0 1.6rem; } figure img { max-width: 100%; height: auto; display: block; }
pre { background: #f6f6f6; padding: .9rem 1.1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; }
</style></head><body>
{body}
</body></html>
"""
