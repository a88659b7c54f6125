"""Hyperparameter search: trials of a recipe with other settings, drawn by Optuna; a generator of `Trial` records.

<run>/search.db          the study: settings and losses of every trial (or any storage that Optuna knows)
<run>/encoders/          the trials' encoders, named by a hash of what determines them, so none is trained twice
<run>/search/recipe.toml the trial that ran last
<run>/search.csv, .png   one row per trial; value by trial and by setting
<run>/recipe-best.toml   the recipe with the best trial's settings

Losses of different batch sizes cannot be compared directly: in a larger batch, a window has more alternatives.
On SPAR, the same SimCLR weights lose 2.46 nats in batches of 64 and 3.83 in batches of 256. A trial's value is therefore
its validation loss minus the loss at chance level in its own batches (`chance_loss`): -2.38 and -2.41. Dividing by that
loss instead gives 0.51 and 0.61, which would favour small batches. Settings of the objective itself (temperature, future
steps, weights) change what its loss measures in ways that no constant removes, and so does the batch size of PRIMUS, whose
terms have different numbers of windows. The paper selects them by loss nevertheless; here only the metric `transfer`
searches them, which is the score of the features under a classifier on another corpus with labels.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from otolith.checkpoints.provenance import PRETRAINING_CODE, RESULT_CODE, code_version
from otolith.data.cutting import cut
from otolith.data.windows import Windows
from otolith.experiments.build import given_settings
from otolith.experiments.corpora import open_corpus
from otolith.experiments.run import Run
from otolith.experiments.search_page import write_search
from otolith.experiments.search_space import Metric, drawn_settings, incomparable, pretrain_setting, space
from otolith.experiments.trials import Task, Trial, count_finished, draw_settings, give_up, is_stale, lock_of, run_trial
from otolith.storage.engines import Workers, map_unordered, threads_of
from otolith.storage.files import fingerprint

_JOURNAL = "journal:"
_TAKEN = ("RUNNING", "COMPLETE", "PRUNED")


def search(
    job: Run,
    *,
    trials: int = 20,
    storage: str | None = None,
    by: Metric = "loss",
    on: str | None = None,
    picture: bool = True,
    heartbeat_s: float = 30.0,
    jobs: Workers = 1,
) -> Iterator[Trial]:
    """Try settings until `trials` trials are finished, then write what was found; continue where an earlier search stopped.

    A trial pretrains the encoder of the plan's first fold and seed: on all subjects of other corpora, and of the recipe's
    own corpus on that fold's training and validation subjects, never on its test subjects. Settings are drawn by a
    tree-structured Parzen estimator (the first ten at random). With the metric `loss`, a trial ends early when after some
    epoch, not among the first tenth, its best loss is worse than the median of the others' at that epoch (of at least
    five). A trial whose process died is failed, and its settings are tried again from where its training stopped.

    Args:
        job: the recipe and its folder.
        trials: complete or pruned trials wanted, of all processes together.
        storage: what several processes and machines share: the URL of an Optuna storage, or `journal:FILE`, a file on a disk
            that all see; None: SQLite in the run's folder.
        by: metric: `loss`, that of the objective on validation subjects (see the module); or `transfer`, the macro F1 of a
            logistic regression on frozen features of `on`: 10 windows per class, 3 draws, at most 5 folds by subject.
        on: a prepared corpus with labels, neither the recipe's own nor one that it pretrains on.
        picture: whether to draw `search.png` at the end.
        heartbeat_s: seconds between two signs that a trial's process lives.
        jobs: processes that run trials, or an executor, which needs a `storage`. With several, a trial is drawn without
            those that still run, so the settings are others than those of one process; a record comes at a trial's end.

    Raises:
        ValueError: settings that cannot be compared, or that fit no encoder; no validation subjects; no trial that
            was completed.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168): 20 variations, selected by the objective's validation loss. How they
    drew them was not published; `search_space.space` holds their ranges.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a search trains on one device; for several, start it several times with one --storage")
    unit = job.plan(job.subject_windows())[0]
    train, validation = job.pretraining_windows(unit)
    task = Task(job, unit, space(job.recipe, train, by), trials, _scoring_windows(job, by, on), heartbeat_s)
    if by == "loss":
        _check_comparable(task, validation)
    people = sorted({*train.people, *([] if validation is None else validation.people)})
    if isinstance(jobs, Executor) and storage is None:
        raise ValueError(
            "a search on an engine needs a storage that all its processes share: --storage postgresql://..., or --storage "
            f"journal:{job.folder / 'search.journal'} on a shared disk"
        )
    with _readable(job, storage):
        study = _study(task, train, validation, by, storage)
        if jobs == 1:
            for record in _trials(study, task, alone=storage is None):
                yield record
                if record.step is None and any(trial.state.name == "COMPLETE" for trial in study.trials):
                    write_search(study, task, people, picture=False)
        else:
            threads = threads_of(jobs, torch.get_num_threads())
            one = partial(_one_trial, task, train, validation, by, storage, threads)
            while left := max(0, trials - count_finished(study)):
                for ended in map_unordered(one, [()] * left, jobs=jobs):
                    if ended is not None:
                        yield ended
        yield _best(study, task, people, picture=picture)


def _trials(study: Any, task: Task, *, alone: bool) -> Generator[Trial, None, None]:
    """Draw and run trials until there are enough; yield their records."""
    with _searching(task.job.folder) as token:
        while (drawn := _drawn(study, task, token, alone=alone)) is not None:
            yield from run_trial(study, drawn[0], task, drawn[1])


def _one_trial(
    task: Task, train: Windows, validation: Windows | None, by: Metric, storage: str | None, threads: int | None
) -> Trial | None:
    """Draw and run one trial in a process of its own; None if there are enough."""
    if threads is not None:
        torch.set_num_threads(threads)
    with _readable(task.job, storage):
        study = _study(task, train, validation, by, storage)
        with contextlib.closing(_trials(study, task, alone=storage is None)) as records:
            return next((record for record in records if record.step is None), None)


def _best(study: Any, task: Task, people: list[str], *, picture: bool) -> Trial:
    """Write what was found, and return the best trial."""
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        why = next((trial.user_attrs["why"] for trial in study.trials if "why" in trial.user_attrs), "they still run")
        raise ValueError(f"none of {len(study.trials)} trials was completed, the first because {why}")
    write_search(study, task, people, picture=picture)
    best = study.best_trial
    settings = drawn_settings(task.found, best.params)
    return Trial(best.number, count_finished(study), task.of, "complete", settings, value=best.value, done=True)


def _drawn(study: Any, task: Task, token: str, *, alone: bool) -> tuple[Any, dict[str, Any]] | None:
    """Return the next trial with all its settings, which are stored; None if there are enough trials.

    One search at a time draws, so that a trial is drawn from all that are known, and a trial of a search that has ended is
    taken up once.
    """
    with FileLock(task.job.folder / ".searching" / "draw.lock"):
        for trial in study.trials:
            if trial.state.name == "RUNNING" and is_stale(trial, task.job.folder, alone=alone):
                give_up(study, trial, killed=1)
        if sum(trial.state.name in _TAKEN for trial in study.trials) >= task.of:
            return None
        asked = study.ask()
        asked.set_user_attr("process", token)
        asked.set_user_attr("heartbeat", time.time())
        return asked, draw_settings(study, asked, task.job.recipe, task.found)


@contextlib.contextmanager
def _searching(folder: Path) -> Iterator[str]:
    """Yield a name of this search, and hold its lock: others see by it whether this one lives."""
    token = uuid.uuid4().hex
    lock = FileLock(lock_of(folder, token))
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        with lock:
            yield token
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)


@contextlib.contextmanager
def _readable(job: Run, storage: str | None) -> Iterator[None]:
    """Turn errors of the storage into one line; refuse a file of another program before Optuna writes into it.

    Raises:
        ValueError: the storage is damaged, of another program, or cannot be reached.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    file = job.folder / "search.db"
    named = f"'{file}'" if storage is None else "the storage"
    remedy = "move it away to search from the beginning" if storage is None else "compare --storage with its URL"
    try:
        if storage is None and file.exists():
            with contextlib.closing(sqlite3.connect(file)) as found:
                (sound,) = found.execute("PRAGMA quick_check(1)").fetchone()
                tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if sound != "ok":
                raise ValueError(f"{named} is damaged: {' '.join(sound.split())}; {remedy}")
            if tables and not {"studies", "trials", "version_info"} <= tables:
                raise ValueError(f"{named} is a database of another program, with the table {min(tables)}; {remedy}")
        yield
    except (sqlite3.Error, SQLAlchemyError, optuna.exceptions.OptunaError, json.JSONDecodeError, KeyError) as error:
        said = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{named} cannot be used: {said}; {remedy}") from error


def _study(task: Task, train: Windows, validation: Windows | None, by: Metric, storage: str | None) -> Any:
    """Return the Optuna study."""
    import optuna  # imported here: it takes a second

    job = task.job
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place: Any = storage or f"sqlite:///{(job.folder / 'search.db').resolve().as_posix()}"
    if place.startswith(_JOURNAL):
        file = Path(place.removeprefix(_JOURNAL))
        file.parent.mkdir(parents=True, exist_ok=True)
        from optuna.storages.journal import JournalFileBackend

        try:
            place = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        except (AssertionError, TypeError) as error:  # of a line that Optuna did not write
            raise ValueError(f"'{file}' is no journal of Optuna, or is damaged; name another --storage") from error
    elif place.startswith("sqlite:"):  # other processes of this machine may write for a while
        with FileLock(job.folder / ".searching" / "draw.lock"):  # two at once would both create the tables
            place = optuna.storages.RDBStorage(place, engine_kwargs={"connect_args": {"timeout": 60}})
    windows = [None if each is None else each.content_hash for each in (train, validation, task.windows)]
    code = code_version(PRETRAINING_CODE if by == "loss" else RESULT_CODE)
    sought = [task.found, given_settings(job.recipe, job.recipe.seed), windows, by, code]
    warmup = pretrain_setting(job.recipe, "epochs") // 10
    with FileLock(job.folder / ".searching" / "draw.lock"):  # likewise for the study
        return optuna.create_study(
            study_name=f"{job.recipe.name}-{fingerprint(sought)[:12]}",
            storage=place,
            direction="minimize" if by == "loss" else "maximize",
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=warmup) if by == "loss" else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )


def _check_comparable(task: Task, validation: Windows | None) -> None:
    """Raise ValueError where losses of the settings to search cannot be compared."""
    objective = task.job.recipe.objective["name"]
    if validation is None:
        raise ValueError("there are no validation subjects: a corpus of one subject alone cannot be searched by loss")
    if "objective.name" in task.found:
        raise ValueError("losses of different objectives cannot be compared; search them by transfer")
    if wrong := incomparable(objective, task.found):
        raise ValueError(
            f"losses at different {', '.join(wrong)} cannot be compared: they change what the loss of '{objective}' "
            "measures; leave them out of [search], or search by transfer: --by transfer --on CORPUS"
        )


def _scoring_windows(job: Run, by: Metric, on: str | None) -> Windows | None:
    """Return the labelled windows of `on`; None for the metric `loss`."""
    if by not in ("loss", "transfer"):
        raise ValueError(f"by is {by!r}; expected loss or transfer")
    if (by == "transfer") != (on is not None):
        raise ValueError("the metric transfer and a corpus to score on require each other: --by transfer --on CORPUS")
    if on is None:
        return None
    if on == job.recipe.dataset or on in job.recipe.pretrain_on:
        what = (
            "the recipe's own corpus, whose subjects are to be tested" if on == job.recipe.dataset else "pretrained on"
        )
        raise ValueError(f"'{on}' is {what}; choose another prepared corpus with labels")
    return cut(open_corpus(job.data, on), **job.recipe.windows)
