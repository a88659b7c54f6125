"""Run one trial of a search: draw its settings, train, score, and recover when its process dies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from otolith.checkpoints import checkpoint
from otolith.classifiers.heads.logistic import PLAIN
from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed, fold_seeds, planned_rows
from otolith.evaluation.protocol import evaluate
from otolith.experiments.recipe import Recipe, changed
from otolith.experiments.run import Run
from otolith.experiments.search_space import chance_loss, drawn_settings, has_setting, in_words, pretrain_setting
from otolith.experiments.subjects import Pretraining
from otolith.pretraining import DivergenceError, Step
from otolith.storage import tensors
from otolith.storage.locks import is_free

_SILENCE_S = 1800.0  # seconds without a heartbeat until a trial is stale
_MAX_KILLED = 3  # processes that a setting may kill


class Trial(NamedTuple):
    """A record of a search: a step of a trial, the end of a trial, or (the last record) the best trial.

    Attributes:
        number: of the trial.
        finished: trials of the study that are complete or were pruned.
        of: number of trials wanted.
        state: `running`, `complete`, `pruned` (worse than the median, or training diverged), or `lost` (another process
            gave it up).
        settings: by name, as in the recipe's `search`.
        step: latest step of its pretraining, while it runs.
        value: value of the metric, once the trial is complete.
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


class Task(NamedTuple):
    """The settings that all trials of a search share.

    Attributes:
        job: the recipe and its folder.
        unit: the fold and seed whose encoder is trained.
        found: the settings to search, as `search_space.space` returns them.
        of: number of trials wanted.
        windows: labelled windows of another corpus that features are scored on; None: trials are judged by loss.
        heartbeat_s: seconds between two heartbeats.
    """

    job: Run
    unit: FoldSeed
    found: Mapping[str, Any]
    of: int
    windows: Windows | None
    heartbeat_s: float


def run_trial(study: Any, trial: Any, task: Task, settings: dict[str, Any]) -> Iterator[Trial]:
    """Run one trial to its end.

    Args:
        study: of Optuna.
        trial: of Optuna.
        task: what all trials share.
        settings: from `draw_settings`.

    Raises:
        ValueError: the settings cannot be trained with.
    """
    import optuna

    started = time.time()
    epochs, value, state, why = [0], None, "COMPLETE", ""
    try:
        recipe = changed(task.job.recipe, settings)
        run = Run(recipe, task.job.folder / "search", task.job.data, task.job.shared or task.job.folder)
        made = run.pretraining(task.unit)
        chance = 0.0
        if task.windows is None and made.validation is not None:
            chance = chance_loss(recipe.objective["name"], len(made.validation), pretrain_setting(recipe, "batch_size"))
        yield from _train(study, trial, task, run, settings, chance, epochs)
        value = _value(study, trial, task, made, chance, epochs)
    except (optuna.TrialPruned, ValueError, torch.cuda.OutOfMemoryError) as error:
        state, why = "PRUNED", str(error)
        if isinstance(error, ValueError) and not isinstance(error, DivergenceError):
            end_trial(study, trial, "FAIL")
            raise ValueError(f"trial {trial.number} ({in_words(settings)}): {why}") from error
        made.path.with_suffix(".state").unlink(missing_ok=True)
    except Exception:
        if end_trial(study, trial, "FAIL"):
            raise
        state = "LOST"  # another process had given it up
    except BaseException:  # Ctrl-C, or the caller wants no further records
        give_up(study, study.trials[trial.number], killed=0)
        raise
    facts = {"epochs": epochs[0], "seconds": round(time.time() - started, 1), **({"why": why} if why else {})}
    if state == "LOST" or not end_trial(study, trial, state, value, facts):
        state, value = "LOST", None
    yield Trial(trial.number, count_finished(study), task.of, state.lower(), settings, value=value)


def _train(
    study: Any, trial: Any, task: Task, run: Run, settings: dict[str, Any], chance: float, epochs: list[int]
) -> Iterator[Trial]:
    """Pretrain a trial's encoder; report its losses to Optuna, and stop when it is pruned. `epochs` counts them."""
    import optuna

    before, one = dict[int, float](), trial
    while "retry_of" in one.user_attrs:  # of the same settings in processes that died
        one = study.trials[one.user_attrs["retry_of"]]
        before |= one.intermediate_values
    saved = {epoch: loss - chance for epoch, loss in _saved_epochs(run.encoder_path(task.unit).with_suffix(".state"))}
    late = [] if task.windows is not None else sorted(saved.keys() - before.keys())  # saved, and not reported any more
    before |= {epoch: saved[epoch] for epoch in late}
    for epoch, loss in sorted(before.items()):
        trial.report(loss, epoch)
    finished, heartbeat = count_finished(study), time.time()
    for *_, step in run.pretrain(of=[task.unit]):
        if late and step.epoch > late[-1] and trial.should_prune():
            raise optuna.TrialPruned(f"worse than the median after {late[-1]} epochs")
        late = []
        if time.time() - heartbeat > task.heartbeat_s:
            heartbeat = time.time()
            trial.set_user_attr("heartbeat", heartbeat)
        if step.validation is not None:
            epochs[0] = step.epoch
            if task.windows is None:
                if step.epoch not in before:
                    trial.report(step.validation - chance, step.epoch)
                if not step.done and trial.should_prune():
                    raise optuna.TrialPruned(f"worse than the median after {step.epoch} epochs")
        yield Trial(trial.number, finished, task.of, "running", settings, step)


def _saved_epochs(state: Path) -> list[tuple[int, float]]:
    """Return number and validation loss of the epochs in a training state; none if it is missing or damaged."""
    try:
        history = tensors.read(state)[0]["position"]["history"]
        return [(epoch, loss) for epoch, _, loss in history if loss is not None]
    except (ValueError, KeyError, TypeError):  # the training says so
        return []


def _value(study: Any, trial: Any, task: Task, made: Pretraining, chance: float, epochs: list[int]) -> float:
    """Return the value of the metric for the finished encoder of a trial; report epochs that a killed process did not."""
    history = checkpoint.load(made.path).about["history"]
    epochs[0] = len(history)
    if task.windows is None:
        reported = study.trials[trial.number].intermediate_values
        for epoch, _, validation in history:
            if epoch not in reported:
                trial.report(validation - chance, epoch)
        return float(min(validation for _, _, validation in history) - chance)
    return _transfer_score(made.path, task.windows, task.job.rows, task.job.recipe.seed)


def _transfer_score(path: Path, windows: Windows, rows: Path, seed: int) -> float:
    """Return the macro F1 of a logistic regression on frozen features, on subjects that it was not fitted on."""
    folds = min(5, len(np.unique(windows.subject)))
    plan = fold_seeds(windows, folds=folds, seeds=[seed, seed + 1, seed + 2])
    transfer = {"head": {"name": "logistic", **PLAIN}}
    planned = planned_rows(windows, plan, lambda _: path, shots=[10], modes=["frozen"], transfer=transfer)
    return float(np.mean([row.macro_f1 for row in evaluate(windows, planned, folder=rows)]))


def draw_settings(study: Any, trial: Any, recipe: Recipe, found: Mapping[str, Any]) -> dict[str, Any]:
    """Draw a trial's settings and store them; those that its encoder or objective does not have are left out.

    Each trial has its own sampler, whose seed follows from the trial's number among those that were drawn to the end: a
    sampler seeded again when a search continues would draw the first trials again. A trial whose process died before is
    drawn again by its successor, with the same result.

    Args:
        study: of Optuna.
        trial: of Optuna.
        recipe: names encoder and objective where they are not searched.
        found: the settings to search.
    """
    from optuna.samplers import TPESampler

    drawn = sum(
        "retry_of" not in one.user_attrs and ("drawn" in one.user_attrs or one.state.name == "RUNNING")
        for one in study.trials[: trial.number]
    )
    seed = np.random.SeedSequence([recipe.seed % 2**64, drawn]).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(seed), multivariate=False)  # jointly, it could not leave settings out
    settings: dict[str, Any] = {}
    for key, what in found.items():
        names = {kind: settings.get(f"{kind}.name", getattr(recipe, kind)["name"]) for kind in ("encoder", "objective")}
        if not has_setting(**names, key=key):
            continue
        if isinstance(what, list):
            trial.suggest_categorical(key, list(map(str, what)))
        elif isinstance(what["low"], int):
            trial.suggest_int(key, what["low"], what["high"], log=what["log"])
        else:
            trial.suggest_float(key, what["low"], what["high"], log=what["log"])
        settings = drawn_settings(found, trial.params)
    trial.set_user_attr("drawn", True)
    return settings


def end_trial(study: Any, trial: Any, state: str, value: float | None = None, facts: Mapping[str, Any] = {}) -> bool:
    """End a trial; return False if it had ended already.

    Args:
        study: of Optuna.
        trial: of Optuna.
        state: name of an Optuna state.
        value: of the metric.
        facts: kept with the trial.
    """
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


def give_up(study: Any, trial: Any, *, killed: int) -> None:
    """Fail a trial that was interrupted, and queue its settings again unless they have killed too many processes.

    Args:
        study: of Optuna.
        trial: of Optuna.
        killed: 1 if its process died, 0 if it was stopped.
    """
    drawn, again = "drawn" in trial.user_attrs, trial.user_attrs.get("retry_of")
    params, first = (trial.params, trial.number) if drawn else (trial.system_attrs.get("fixed_params"), again)
    killed += trial.user_attrs.get("killed", 0)
    if study.trials[trial.number].state.name != "RUNNING":  # another process gave it up
        return
    queued = any(one.user_attrs.get("instead_of") == trial.number for one in study.trials)
    if killed < _MAX_KILLED and first is not None and not queued:  # first: a process may be killed before the next line
        attributes = {"retry_of": first, "killed": killed, "instead_of": trial.number}
        study.enqueue_trial(params, user_attrs=attributes)
    end_trial(study, trial, "FAIL")


def lock_of(folder: Path, token: str) -> Path:
    """Return the file that a search locks while it runs.

    Args:
        folder: of the run.
        token: names the search in its trials.
    """
    return folder / ".searching" / f"{token}.lock"


def is_stale(trial: Any, folder: Path, *, alone: bool = False) -> bool:
    """Return whether the search that runs a trial is gone, or has sent no heartbeat for long.

    Args:
        trial: of Optuna, running.
        folder: of the run; a search in the same folder holds its lock while it lives, on whichever machine.
        alone: whether the caller holds the lock under which all trials of the storage are drawn: a trial that names no
            search then is one whose search has ended.
    """
    token = trial.user_attrs.get("process", "")
    if is_free(lock_of(folder, token)) or (alone and not token):
        return True
    heartbeat: float = trial.user_attrs.get("heartbeat", trial.datetime_start.timestamp())
    return time.time() - heartbeat > _SILENCE_S


def count_finished(study: Any) -> int:
    """Return the number of trials that are complete or were pruned."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
