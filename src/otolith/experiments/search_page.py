"""Write the results of a search: the best recipe, a table and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from otolith.experiments.recipe import changed
from otolith.experiments.search_space import CHANCE, drawn_settings
from otolith.experiments.trials import Task
from otolith.reports import html
from otolith.reports.drawing import add_tips
from otolith.reports.figures import WIDTH
from otolith.reports.style import STYLE
from otolith.storage.files import replacing, write_text

MOST_TRIALS = 50
"""Trials in the table of the page; `search.csv` has all."""


def write_search(study: Any, task: Task, people: list[str], *, picture: bool) -> None:
    """Write `search.csv`, `recipe-best.toml`, `search.html` and the figure `search.png` of the trials so far.

    Args:
        study: Optuna study with a complete trial.
        task: what all trials share.
        people: subjects that trials learn from or validate on, as `corpus:person`.
        picture: whether to draw the figure and the page, which take longest.
    """
    folder, found, windows = task.job.folder, task.found, task.windows
    told = [trial for trial in study.trials if trial.state.name != "WAITING"]
    table = pd.DataFrame(
        [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                **{key: drawn_settings(found, trial.params).get(key) for key in found},
                **{name: trial.user_attrs.get(name) for name in ("epochs", "seconds", "why")},
            }
            for trial in told
        ]
    )
    write_text(folder / "search.csv", table.to_csv(index=False, lineterminator="\n"))
    recipe = changed(task.job.recipe, drawn_settings(found, study.best_trial.params))
    contrastive = recipe.objective["name"] in CHANCE
    if picture:
        label = "validation loss" + (" - chance level, nats" if contrastive else "") if windows is None else "macro F1"
        with replacing(folder / "search.png") as part:
            search_figure(table, found, label, lower=windows is None).savefig(part, format="png", dpi=120)
    about = _comment(study, task, table, people, contrastive)
    if picture:
        write_text(folder / "search.html", search_page(table, found, label, about, recipe.text, lower=windows is None))
    comment = "".join(f"# {line}\n" for text in about for line in textwrap.wrap(text, 118))
    write_text(folder / "recipe-best.toml", f"{comment}{recipe.text}\n")


def _comment(study: Any, task: Task, table: pd.DataFrame, people: list[str], contrastive: bool) -> list[str]:
    """Return sentences on how the best settings were found, and on which subjects."""
    best, own, windows = study.best_trial, task.job.recipe.dataset, task.windows
    if windows is None:
        score = f"validation loss {best.value:.4f}" + (" nats from chance level in its batches" if contrastive else "")
    else:
        score = f"macro F1 {best.value:.4f} of a logistic regression on frozen features of {windows.dataset}"
        score += ", 10 windows per class"
    states = table["state"].value_counts()
    counts = ", ".join(f"{states[name]} {name}" for name in ("complete", "pruned", "fail", "running") if name in states)
    mine, others = [], dict[str, int]()
    for person in people + ([] if windows is None else windows.people):
        corpus, _, name = person.partition(":")
        if corpus == own:
            mine.append(name)
        else:
            others[corpus] = others.get(corpus, 0) + 1
    used = [f"{count} of {corpus}" for corpus, count in others.items()]
    used.append(f"of {own} {', '.join(mine) or 'none'}")
    about = [
        f"Selected by otolith search: trial {best.number} of {len(table)} ({counts}), {score}.",
        f"Subjects used for model selection: {'; '.join(used)}.",
    ]
    if mine:
        about.append(
            "The latter are tested in other folds, with settings that were selected on them; "
            f"{', '.join(task.unit.split.test)}, the test subjects of the first fold, were not used."
        )
    if windows is None and not task.job.recipe.search:
        about.append(
            "Settings that change what the loss measures are those of the recipe; they are searched by transfer."
        )
    return about


def search_figure(table: pd.DataFrame, found: Mapping[str, Any], label: str, *, lower: bool) -> Figure:
    """Draw the value by trial, with the best so far, and by each setting that took several values; crosses were pruned.

    Args:
        table: of the trials, as in `search.csv`.
        found: the settings to search.
        label: of the value.
        lower: whether lower values are better.
    """
    keys = _varied(table, found)
    columns = min(3, 1 + len(keys))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.8 * -(-(1 + len(keys)) // columns)), layout="constrained")
        panels = figure.subplots(-(-(1 + len(keys)) // columns), columns, sharey=True, squeeze=False).flatten()
        for axes in panels[1 + len(keys) :]:
            axes.set_axis_off()
        for axes, key in zip(panels, ["number", *keys], strict=False):
            _panel(axes, table, found, key, lower=lower)
            axes.set_title(_title(key))
        panels[0].set(ylabel=label)
    return figure


def search_page(
    table: pd.DataFrame, found: Mapping[str, Any], label: str, about: Sequence[str], recipe: str, *, lower: bool
) -> str:
    """Return the HTML page of a search: the best settings, a figure for each setting, and the trials.

    Args:
        table: of the trials, as in `search.csv`.
        found: the settings to search.
        label: of the value.
        about: sentences on how the best settings were found.
        recipe: the best recipe.
        lower: whether lower values are better.
    """
    drawn = []
    for key in ["number", *_varied(table, found)]:
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
            axes = figure.add_subplot()
            _panel(axes, table, found, key, lower=lower)
            axes.set(ylabel=label, xlabel=_title(key))
        told = _told(table)[lambda trials: trials["state"] == "complete"].sort_values("value", ascending=lower)
        words = f"the best are {', '.join(_short(value) for value in told[key].head(3))}"
        drawn.append(html.figure(figure, f"By {_title(key)}.", f"{label} by {_title(key)}: {words}."))
    ranked = table.assign(last=table["state"] != "complete").sort_values(["last", "value"], ascending=[True, lower])
    ranked = ranked.drop(columns="last").head(MOST_TRIALS).set_index("number")
    cells = ranked.drop(columns=[name for name in ranked if ranked[name].isna().all()]).map(_short)
    caption = "Trials" if len(ranked) == len(table) else f"The {len(ranked)} best of {len(table)} trials"
    sections = [
        html.Section("Result", [html.bullets(about), html.details("The best recipe", html.code(recipe))]),
        html.Section("Settings", [html.figures(*drawn), html.paragraph(_MARKS, "note")]),
        html.Section(
            "Trials", [html.table(cells, f"{caption}, from the best to the worst; complete ones first", corner="trial")]
        ),
    ]
    lead = Markup('{} trials. The value is: {}. <a href="search.csv">All trials (CSV)</a>.').format(len(table), label)
    terms = ["macro F1"] if label == "macro F1" else []
    return html.page("Search of hyperparameters", sections, lead=lead, terms=terms)


_MARKS = "Discs: complete trials; crosses: pruned ones. The line is the best value so far."


def _panel(axes: Axes, table: pd.DataFrame, found: Mapping[str, Any], key: str, *, lower: bool) -> None:
    """Draw the value by a setting, or by the number of the trial with the best so far."""
    told = _told(table)
    x = told[key]
    if isinstance(found.get(key), list):
        names = list(map(str, found[key]))
        x = x.map(lambda value: names.index(str(value)) if str(value) in names else np.nan)
        turned, side = (30, "right") if len(names) > 4 else (0, "center")
        axes.set_xticks(range(len(names)), names, rotation=turned, ha=side)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif key in found and found[key]["log"]:
        axes.set_xscale("log")
        if told[key].max() >= 10 * told[key].min():  # powers of ten are enough
            axes.xaxis.set_minor_formatter(NullFormatter())
    for state, mark in (("complete", "o"), ("pruned", "x")):
        mine = (told["state"] == state) & x.notna()
        (marks,) = axes.plot(x[mine], told["value"][mine], mark, color="#0072b2", markersize=5)
        tips = zip(told["number"][mine], told[key][mine], told["value"][mine], strict=True)
        add_tips(marks, [f"trial {number}: {_title(key)} {_short(at)}, {value:.4f}" for number, at, value in tips])
    if key == "number":
        complete = told[told["state"] == "complete"]
        best = complete["value"].cummin() if lower else complete["value"].cummax()
        axes.step(complete["number"], best, where="post", color="#d55e00")


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have a value."""
    told: pd.DataFrame = table[table["value"].notna() & table["state"].isin(["complete", "pruned"])]
    return told


def _varied(table: pd.DataFrame, found: Mapping[str, Any]) -> list[str]:
    """Return the settings that took several values."""
    told = _told(table)
    return [key for key in found if told[key].astype(str).nunique() > 1]


def _title(key: str) -> str:
    return "trial" if key == "number" else key


def _short(value: Any) -> str:
    """Return a value as short text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
