"""Write the results of a search: the best recipe, a table and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.experiments.recipe import changed
from otolith.experiments.search_space import CHANCE, drawn_settings
from otolith.experiments.trials import Task
from otolith.reports.style import STYLE
from otolith.storage.files import replacing, write_text


def write_search(study: Any, task: Task, people: list[str], *, picture: bool) -> None:
    """Write `search.csv`, `recipe-best.toml` and the figure `search.png` of the trials so far.

    Args:
        study: Optuna study with a complete trial.
        task: what all trials share.
        people: subjects that trials learn from or validate on, as `corpus:person`.
        picture: whether to draw the figure, which takes longest.
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
    told = table[table["value"].notna() & table["state"].isin(["complete", "pruned"])]
    keys = [key for key in found if told[key].astype(str).nunique() > 1]
    columns = min(3, 1 + len(keys))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.8 * -(-(1 + len(keys)) // columns)), layout="constrained")
        panels = figure.subplots(-(-(1 + len(keys)) // columns), columns, sharey=True, squeeze=False).flatten()
        for axes in panels[1 + len(keys) :]:
            axes.set_axis_off()
        for axes, key in zip(panels, ["number", *keys], strict=False):
            x = told[key]
            if isinstance(found.get(key), list):
                names = list(map(str, found[key]))
                x = x.map(lambda value, names=names: names.index(str(value)) if str(value) in names else np.nan)
                axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
            elif key in found and found[key]["log"]:
                axes.set_xscale("log")
            for state, mark in (("complete", "o"), ("pruned", "x")):
                mine = told["state"] == state
                axes.plot(x[mine], told["value"][mine], mark, color="#0072b2", markersize=5)
            axes.set(title="trial" if key == "number" else key)
        complete = told[told["state"] == "complete"]
        best = complete["value"].cummin() if lower else complete["value"].cummax()
        panels[0].step(complete["number"], best, where="post", color="#d55e00")
        panels[0].set(ylabel=label)
    return figure
