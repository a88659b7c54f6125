"""What a search writes: the best recipe, a table and a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed
from otolith.experiments.recipe import changed
from otolith.experiments.run import Run
from otolith.experiments.search_space import CHANCE, _settings
from otolith.reports.style import STYLE
from otolith.storage.files import replacing, write_text


def _write(
    study: Any,
    job: Run,
    unit: FoldSeed,
    found: Mapping[str, Any],
    people: list[str],
    windows: Windows | None,
    *,
    picture: bool,
) -> None:
    """`search.csv`, `recipe-best.toml` and `search.png`, which takes longest, of the trials so far."""
    told = [trial for trial in study.trials if trial.state.name != "WAITING"]
    table = pd.DataFrame(
        [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                **{key: _settings(found, trial.params).get(key) for key in found},
                **{name: trial.user_attrs.get(name) for name in ("epochs", "seconds", "why")},
            }
            for trial in told
        ]
    )
    write_text(job.folder / "search.csv", table.to_csv(index=False, lineterminator="\n"))
    best = study.best_trial
    recipe = changed(job.recipe, _settings(found, best.params))
    contrastive = recipe.objective["name"] in CHANCE
    score, label = f"macro F1 {best.value:.4f}", "macro F1"
    if windows is None:
        score = f"validation loss {best.value:.4f}" + (" nats from guessing in its batches" if contrastive else "")
        label = "validation loss" + (" - guessing, nats" if contrastive else "")
    else:
        score += f" of a logistic regression on frozen features of {windows.dataset}, 10 windows a class"
    if picture:
        with replacing(job.folder / "search.png") as part:
            _figure(table, found, label, lower=windows is None).savefig(part, format="png", dpi=120)
    states = table["state"].value_counts()
    counts = ", ".join(f"{states[name]} {name}" for name in ("complete", "pruned", "fail", "running") if name in states)
    own, others = job.recipe.dataset, dict[str, int]()
    mine = []
    for person in people + ([] if windows is None else windows.people):
        corpus, _, name = person.partition(":")
        if corpus == own:
            mine.append(name)
        else:
            others[corpus] = others.get(corpus, 0) + 1
    say = [f"{count} people of {corpus}" for corpus, count in others.items()]
    say.append(f"of {own} {', '.join(mine) or 'nobody'}")
    about = [
        f"Chosen by otolith search: trial {best.number} of {len(table)} ({counts}), {score}.",
        f"Whose recordings had a say: {'; '.join(say)}.",
    ]
    if mine:
        about.append(
            f"They are tested in other folds, after settings that they had a say in; {', '.join(unit.split.test)}, the test "
            "people of the first fold, had none."
        )
    if windows is None and not job.recipe.search:
        about.append("Settings that change what the loss measures are the recipe's own; they are searched by transfer.")
    comment = "".join(f"# {line}\n" for text in about for line in textwrap.wrap(text, 118))
    write_text(job.folder / "recipe-best.toml", f"{comment}{recipe.text}\n")


def _figure(table: pd.DataFrame, found: Mapping[str, Any], label: str, *, lower: bool) -> Figure:
    """Value by trial with the best so far, and by each setting that took several values; crosses were pruned."""
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
