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

import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from otolith.checkpoints import checkpoint
from otolith.classifiers.heads.logistic import PLAIN
from otolith.data.cutting import cut
from otolith.data.store import open_store
from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed, fold_seeds, planned_rows
from otolith.evaluation.protocol import evaluate
from otolith.experiments.recipe import Recipe, changed
from otolith.experiments.run import Run
from otolith.experiments.search_page import _write
from otolith.experiments.search_space import Judge, _has, _of_pretrain, _settings, chance, in_words, incomparable, space
from otolith.pretrain import Step
from otolith.storage.files import fingerprint

_BEAT_S, _GRACE_S = 30.0, 1800.0  # a trial says that it lives; after how long a silence it is given up
_TRIES = 3  # of a setting that kills its process


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
    sought = [found, first.made_from, by, None if windows is None else windows.content_hash]
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


def _try(
    study: Any, trial: Any, job: Run, unit: FoldSeed, found: Mapping[str, Any], of: int, windows: Windows | None
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
    plan = fold_seeds(windows, folds=folds, seeds=[seed, seed + 1, seed + 2])
    transfer = {"head": {"name": "logistic", **PLAIN}}
    planned = planned_rows(windows, plan, lambda _: path, shots=[10], modes=["frozen"], transfer=transfer)
    return float(np.mean([row.macro_f1 for row in evaluate(windows, planned, folder=rows)]))
