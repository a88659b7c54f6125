"""Hyperparameter search: trials of a recipe with other settings, drawn by Optuna; a generator of what happens.

<run>/search.db          the study: settings and losses of every trial (or any storage that Optuna knows)
<run>/encoders/          the trials' encoders, named as all others are by what made them, so nothing is trained twice
<run>/search/recipe.toml the trial that ran last
<run>/search.csv, .png   a row a trial; value by trial and by setting
<run>/recipe-best.toml   the recipe with the best trial's settings

Losses of different batch sizes do not compare as they stand: in a larger batch a window has more others to be told from.
On SPAR, the same SimCLR weights lose 2.46 nats in batches of 64 and 3.83 in batches of 256. A trial's value is therefore
its validation loss minus that of guessing in its own batches (`chance`): -2.38 and -2.41. Dividing by it would not do, 0.51
and 0.61, and would choose small batches. Settings of the objective itself (temperature, future steps, weights) change what
its loss measures in ways that no constant mends, and so does PRIMUS's batch, whose terms have different numbers of windows.
The paper chooses them by loss nevertheless; here they are searched by `by="transfer"` alone, which asks how well the
features serve a classifier on a further corpus with labels.
"""

from __future__ import annotations

import inspect
import itertools
import math
import os
import socket
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from otolith import checkpoint
from otolith.encoders import ENCODERS
from otolith.evaluate import Unit, cells, evaluate, units
from otolith.files import fingerprint, replacing, write_text
from otolith.objectives import OBJECTIVES
from otolith.pretrain import Step, pretrain
from otolith.recipe import Recipe, changed
from otolith.report import STYLE
from otolith.sampling import Batch, seeded
from otolith.stages import Run
from otolith.store import open_store
from otolith.windows import Windows, cut

CHANCE = {"simclr": lambda batch: 2 * batch - 1, "cpc": lambda batch: batch, "cpc_reconstruction": lambda batch: batch}
"""Contrastive objectives whose loss of guessing is known: among how many a window is sought in a batch."""

_BY_BATCH = ("primus",)  # those whose loss depends on the batch in no such simple way; the others' does not
_SAME_LOSS = ("objective.width", "objective.widths")  # sizes of heads: what the loss measures stays the same

_BEAT_S, _GRACE_S = 30.0, 1800.0  # a trial says that it lives; after how long a silence it is given up
_TRIES = 3  # of a setting that kills its process

Judge = Literal["loss", "transfer"]


class Trial(NamedTuple):
    """What the search reports: each step of a trial, its end, and with the last record the best one.

    Attributes:
        number: of the trial.
        finished: trials of the study that are complete or were pruned.
        of: how many are wanted.
        state: `running`, `complete`, `pruned` (no better than the median, or training broke down), or `lost` (another
            process gave it up).
        settings: by name, as in the recipe's `search`.
        step: the latest of its pretraining, while it runs.
        value: what it is judged by, once it is complete.
        done: true for the last record, which is the best trial.
    """

    number: int
    finished: int
    of: int
    state: str
    settings: dict[str, Any]
    step: Step | None = None
    value: float | None = None
    done: bool = False


def search(
    job: Run, *, trials: int = 20, storage: str | None = None, by: Judge = "loss", on: str | None = None
) -> Iterator[Trial]:
    """Tries settings until so many trials are finished, then writes what was found; goes on where it stopped.

    A trial pretrains the encoder of the plan's first fold and seed: on all people of other corpora, and of the recipe's
    own corpus on that fold's training and validation people, never on its test people. Settings are drawn by a tree of
    Parzen estimators (the first ten at random). Judged by loss, a trial ends early when after some epoch, not among the
    first tenth, its best loss is worse than the median of the others' at that epoch (of at least five). A trial whose
    process died is failed and its settings are tried again, from where its training stopped.

    Args:
        job: the recipe and its folder.
        trials: complete or pruned trials wanted, of all processes together.
        storage: URL of an Optuna storage that several processes and machines share; None: SQLite in the run's folder.
        by: `loss`, the pretext's on validation people (see the module); or `transfer`, the macro F1 of a logistic
            regression on frozen features of `on`: 10 windows a class, 3 draws, at most 5 folds by person.
        on: a prepared corpus with labels, neither the recipe's own nor one that it pretrains on.

    Raises:
        ValueError: settings that cannot be compared, or that no encoder can have; nobody to validate on; no trial that
            came to an end.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168): 20 variations, chosen by the pretext's validation loss. How theirs
    were drawn was not published; `space` holds their ranges.
    """
    import optuna  # imported here: it takes a second

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a search trains on one device; for several, start it several times with one --storage")
    unit = job.plan(job.windows())[0]
    first = job.pretraining(unit)
    found = space(job.recipe, first.train, by)
    windows = _judged_on(job, by, on)
    if by == "loss":
        if first.validation is None:
            raise ValueError("nobody validates: a corpus of one person alone cannot be searched by loss")
        if "objective.name" in found:
            raise ValueError("losses of different objectives do not compare; search them by transfer")
        if wrong := incomparable(job.recipe.objective["name"], found):
            raise ValueError(
                f"losses at different {', '.join(wrong)} do not compare: they change what the loss of "
                f"'{job.recipe.objective['name']}' measures; leave them out of [search], or search by transfer: "
                "--by transfer --on CORPUS"
            )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is None:
        job.folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{(job.folder / 'search.db').resolve().as_posix()}"
    sought = [found, first.made_from, by, None if windows is None else windows.content]
    epochs = _of_pretrain(job.recipe, "epochs")
    study = optuna.create_study(
        study_name=f"{job.recipe.name}-{fingerprint(sought)[:12]}",
        storage=storage,
        direction="minimize" if by == "loss" else "maximize",
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=epochs // 10) if by == "loss" else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    own = f"{socket.gethostname()}:{os.getpid()}"
    for trial in study.trials:  # an earlier search in this process left it
        if trial.state.name == "RUNNING" and trial.user_attrs.get("process") == own:
            _give_up(study, trial, tries=0)
    people = sorted({*first.train.people, *([] if first.validation is None else first.validation.people)})
    while True:
        for trial in study.trials:
            if trial.state.name == "RUNNING" and _dead(trial):
                _give_up(study, trial, tries=1)
        if sum(trial.state.name in ("RUNNING", "COMPLETE", "PRUNED") for trial in study.trials) >= trials:
            break
        asked = study.ask()
        asked.set_user_attr("process", own)
        asked.set_user_attr("beat", time.time())
        yield from _try(study, asked, job, unit, found, trials, windows)
        if any(trial.state.name == "COMPLETE" for trial in study.trials):
            _write(study, job, unit, found, people, windows, picture=False)
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not done:
        why = next((trial.user_attrs["why"] for trial in study.trials if "why" in trial.user_attrs), "they run still")
        raise ValueError(f"none of {len(study.trials)} trials came to an end, the first because {why}")
    _write(study, job, unit, found, people, windows, picture=True)
    best = study.best_trial
    yield Trial(
        best.number, _finished(study), trials, "complete", _settings(found, best.params), value=best.value, done=True
    )


def space(recipe: Recipe, train: Windows, by: Judge = "loss") -> dict[str, Any]:
    """What is searched: the recipe's `search`; where it has none, the paper's ranges, as far as the recipe's objective and
    windows of this length allow them, and by loss without what is `incomparable`. Choices are lists, ranges have low, high
    and log.

    Each value is tried on two empty windows. Of the paper's, those that do not fit are left out: encoders that the
    objective cannot use, and future steps that leave any of the encoders no past.

    Raises:
        ValueError: a value of the recipe's own does not fit, or nothing does.
    """
    own = recipe.search
    if own:
        names = [own.get(f"{kind}.name", [getattr(recipe, kind)["name"]]) for kind in ("encoder", "objective")]
        for encoder, objective in itertools.product(*names):
            pair = {"encoder.name": encoder, "objective.name": objective}
            values = {
                key: what if isinstance(what, list) else [what["low"], what["high"]]
                for key, what in own.items()
                if _has(encoder, objective, key) and key not in pair
            }
            first = {key: choices[0] for key, choices in values.items()} | pair
            for key, value in [(key, value) for key, choices in values.items() for value in choices] or [*pair.items()]:
                if why := _misfit(recipe, {**first, key: value}, train):
                    raise ValueError(f"[search] {key} = {value!r} does not fit {encoder} and {objective}: {why}")
        return own
    objective = recipe.objective["name"]
    found: dict[str, Any] = {
        "encoder.name": list(ENCODERS),
        "encoder.kernel": [3, 5],
        "encoder.dropout": [0.1, 0.2],
        "objective.future_steps": [16, 32, 48, 64],
        "objective.temperature": [0.07, 0.1, 0.5],
        "pretrain.lr": {"low": 5e-5, "high": 5e-3, "log": True},
        "pretrain.weight_decay": [0.0, 1e-5, 1e-4, 5e-4],
        "pretrain.batch_size": [512, 1024, 4096] if objective == "simclr" else [64, 128, 256],
    }
    if by == "loss":
        found = {key: what for key, what in found.items() if key not in incomparable(objective, found)}
    searched = "objective.future_steps" in found and _has(recipe.encoder["name"], objective, "objective.future_steps")
    least = {"objective.future_steps": 16} if searched else {}
    problems = {name: _misfit(recipe, {"encoder.name": name, **least}, train) for name in ENCODERS}
    fit = found["encoder.name"] = [name for name in ENCODERS if not problems[name]]
    if not fit:
        raise ValueError(f"no encoder fits: {problems[recipe.encoder['name']]}")
    if least:
        found["objective.future_steps"] = [
            steps
            for steps in found["objective.future_steps"]
            if not any(_misfit(recipe, {"encoder.name": name, "objective.future_steps": steps}, train) for name in fit)
        ]
    return {key: what for key, what in found.items() if any(_has(name, objective, key) for name in fit)}


def incomparable(objective: str, settings: Iterable[str]) -> list[str]:
    """Those of some settings, named as in a recipe's `search`, whose values change what an objective's loss measures in ways
    that `chance` does not mend."""
    return [
        key
        for key in settings
        if (key.startswith("objective.") and key not in _SAME_LOSS)
        or (key == "pretrain.batch_size" and objective in _BY_BATCH)
    ]


def chance(objective: str, windows: int, batch_size: int) -> float:
    """The loss of guessing, in nats, where it depends on the batch: that of as many windows in batches of this size, the
    last one smaller (or left out, if it would be one window). 0 for objectives whose loss does not depend on it."""
    if objective not in CHANCE:
        return 0.0
    sizes = [min(batch_size, windows - start) for start in range(0, windows, batch_size)]
    sizes = [size for size in sizes if size > 1]
    return sum(size * math.log(CHANCE[objective](size)) for size in sizes) / max(1, sum(sizes))


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings on one line, for people."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
    )


def _try(
    study: Any, trial: Any, job: Run, unit: Unit, found: Mapping[str, Any], of: int, windows: Windows | None
) -> Iterator[Trial]:
    """One trial, from drawing its settings to its end."""
    import optuna

    settings: dict[str, Any] = {}
    started = beat = time.time()
    epochs, value, state, why = 0, None, "COMPLETE", ""
    try:
        settings = _draw(study, trial, job.recipe, found)
        recipe = changed(job.recipe, settings)
        run = Run(recipe, job.folder / "search", job.data, job.shared or job.folder)
        made = run.pretraining(unit)
        before = study.trials[trial.user_attrs["again"]].intermediate_values if "again" in trial.user_attrs else {}
        for epoch, loss in before.items():  # of the same settings in a process that died
            trial.report(loss, epoch)
        guess = 0.0
        if windows is None and made.validation is not None:
            guess = chance(recipe.objective["name"], len(made.validation), _of_pretrain(recipe, "batch_size"))
        finished = _finished(study)
        for *_, step in run.pretrain(of=[unit]):
            if time.time() - beat > _BEAT_S:
                beat = time.time()
                trial.set_user_attr("beat", beat)
            if step.validation is not None:
                epochs = step.epoch
                if windows is None and epochs not in before:
                    trial.report(step.validation - guess, epochs)
                    if not step.done and trial.should_prune():
                        raise optuna.TrialPruned(f"worse than the median after {epochs} epochs")
            yield Trial(trial.number, finished, of, "running", settings, step)
        history = checkpoint.load(made.path).about["history"]
        epochs = len(history)
        if windows is None:
            value = min(validation for _, _, validation in history) - guess
        else:
            value = _transfer(made.path, windows, job.rows, job.recipe.seed)
    except (optuna.TrialPruned, ValueError, torch.cuda.OutOfMemoryError) as error:
        state, why = "PRUNED", str(error)
        if isinstance(error, ValueError) and "training broke down" not in why:
            _tell(study, trial, "FAIL")
            raise ValueError(f"trial {trial.number} ({in_words(settings)}): {why}") from error
        made.path.with_suffix(".state").unlink(missing_ok=True)
    except Exception:
        if _tell(study, trial, "FAIL"):
            raise
        state = "LOST"  # another process had given it up
    except BaseException:  # Ctrl-C, or nobody wants further records
        _give_up(study, study.trials[trial.number], tries=0)
        raise
    facts = {"epochs": epochs, "seconds": round(time.time() - started, 1), **({"why": why} if why else {})}
    if state == "LOST" or not _tell(study, trial, state, value, facts):
        state, value = "LOST", None
    yield Trial(trial.number, _finished(study), of, state.lower(), settings, value=value)


def _tell(study: Any, trial: Any, state: str, value: float | None = None, facts: Mapping[str, Any] = {}) -> bool:
    """Ends a trial; False if that had happened already."""
    import optuna

    try:
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        study.tell(trial.number, value, optuna.trial.TrialState[state])
    except (ValueError, RuntimeError):
        if study.trials[trial.number].state.name in ("WAITING", "RUNNING"):
            raise
        return False
    return True


def _give_up(study: Any, trial: Any, *, tries: int) -> None:
    """Fails a trial that was cut off, and puts its settings in line again unless they have cost too many processes."""
    tries += trial.user_attrs.get("tries", 0)
    if _tell(study, trial, "FAIL") and tries < _TRIES:
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number, "tries": tries})


def _dead(trial: Any) -> bool:
    """Whether the process of a trial that is said to run is gone, or has been silent for long."""
    host, _, pid = trial.user_attrs.get("process", "").rpartition(":")
    if host == socket.gethostname() and not _alive(int(pid)):
        return True
    beat: float = trial.user_attrs.get("beat", trial.datetime_start.timestamp())
    return time.time() - beat > _GRACE_S


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there, os.kill ends the process it asks about
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _finished(study: Any) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _has(encoder: str, objective: str, key: str) -> bool:
    """Whether there is such a setting, with this encoder and objective."""
    section, _, name = key.partition(".")
    of: Any = {"encoder": ENCODERS[encoder], "objective": OBJECTIVES[objective], "pretrain": pretrain}[section]
    return name == "name" or name in inspect.signature(of).parameters


def _of_pretrain(recipe: Recipe, name: str) -> int:
    """A setting of pretraining: the recipe's, or its default."""
    return recipe.pretrain.get(name, inspect.signature(pretrain).parameters[name].default)  # type: ignore[no-any-return]


def _misfit(recipe: Recipe, settings: Mapping[str, Any], train: Windows) -> str:
    """Why these settings cannot be had with windows like these; empty if they can."""
    _, channels, steps = train.shape
    try:
        other = changed(recipe, settings)
        arguments = {key: value for key, value in other.encoder.items() if key != "name"}
        with seeded(0), torch.no_grad():
            objective = other.build_objective(ENCODERS[other.encoder["name"]](channels, **arguments), train, 0)
            objective.eval()(Batch(torch.zeros(2, channels, steps), torch.zeros(2, dtype=torch.long), {}, {}))
    except ValueError as error:
        return str(error)
    return ""


def _draw(study: Any, trial: Any, recipe: Recipe, found: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's settings; those that its encoder or objective does not have are left out.

    Each trial has a sampler of its own, whose seed follows from how many were drawn before it: were one seeded anew when a
    search goes on, it would draw the first trials again.
    """
    from optuna.samplers import TPESampler

    drawn = sum("again" not in earlier.user_attrs for earlier in study.trials[: trial.number])
    seed = np.random.SeedSequence([recipe.seed % 2**64, drawn]).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(seed), multivariate=False)  # jointly, it could not leave settings out
    settings: dict[str, Any] = {}
    for key, what in found.items():
        names = {kind: settings.get(f"{kind}.name", getattr(recipe, kind)["name"]) for kind in ("encoder", "objective")}
        if not _has(**names, key=key):
            continue
        if isinstance(what, list):
            trial.suggest_categorical(key, list(map(str, what)))
        elif isinstance(what["low"], int):
            trial.suggest_int(key, what["low"], what["high"], log=what["log"])
        else:
            trial.suggest_float(key, what["low"], what["high"], log=what["log"])
        settings = _settings(found, trial.params)
    return settings


def _settings(found: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What Optuna keeps -> settings: choices are kept as text, since they may be anything that a recipe holds."""
    return {
        key: {str(choice): choice for choice in what}[params[key]] if isinstance(what, list) else params[key]
        for key, what in found.items()
        if key in params
    }


def _judged_on(job: Run, by: Judge, on: str | None) -> Windows | None:
    if by not in ("loss", "transfer"):
        raise ValueError(f"by is {by!r}; expected loss or transfer")
    if (by == "transfer") != (on is not None):
        raise ValueError("a corpus to judge on and judging by transfer go together: --by transfer --on CORPUS")
    if on is None:
        return None
    if on == job.recipe.dataset or on in job.recipe.pretrain_on:
        what = "the recipe's own corpus, whose people are to be tested" if on == job.recipe.dataset else "pretrained on"
        raise ValueError(f"'{on}' is {what}; choose on a further prepared corpus with labels")
    return cut(open_store(job.data / on), **job.recipe.windows)


def _transfer(path: Path, windows: Windows, rows: Path, seed: int) -> float:
    """Macro F1 of a logistic regression on an encoder's frozen features, of people it was not fitted on."""
    folds = min(5, len(np.unique(windows.subject)))
    plan = units(windows, folds=folds, seeds=[seed, seed + 1, seed + 2])
    planned = cells(windows, plan, lambda _: path, shots=[10], modes=["frozen"], transfer={"head": "logistic"})
    return float(np.mean([row.macro_f1 for row in evaluate(windows, planned, folder=rows)]))


def _write(
    study: Any,
    job: Run,
    unit: Unit,
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
