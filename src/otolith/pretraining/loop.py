"""The loop over epochs and batches, and the records that it yields.

Devices and precision go through Lightning Fabric, so the same loop runs on a CPU, a GPU, or several
(`torchrun --nproc-per-node N`, `fabric run`). A run that is killed at any moment and started again ends with the same bits
as a run without interruption: order and randomness follow from the seed and the number of the epoch and of the step, and
weights and optimiser are saved together in one file (`state`).
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import time
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from otolith.data.sampling import Batch, batches, draw_windows, weights
from otolith.data.windows import Windows
from otolith.objectives import Objective
from otolith.pretraining.loggers import Logger
from otolith.pretraining.settings import Runtime, Sampling, check_settings
from otolith.pretraining.state import TrainingState, mixed_seed
from otolith.storage.files import fingerprint

_ORDER = 2**41  # a number that no step has, for the draws of an epoch's windows


class DivergenceError(ValueError):
    """A loss became infinite or not a number."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What the loop reports.

    Attributes:
        index: optimisation steps done.
        of: number of steps if training does not stop early.
        epoch: counted from 1.
        losses: mean of each named training loss since the last report.
        validation: sum of the validation losses, at the end of an epoch; else None.
        lr: learning rate.
        windows_per_s: training windows per second, since the last report.
        seconds: since this process started the loop.
        done: true for the last record; the objective then holds the best weights.
        history: number, mean training loss, and validation loss or None, of every epoch; with the last record only.
    """

    index: int
    of: int
    epoch: int
    losses: dict[str, float]
    validation: float | None
    lr: float
    windows_per_s: float
    seconds: float
    done: bool = False
    history: tuple[tuple[int, float, float | None], ...] = ()

    def metrics(self) -> dict[str, Any]:
        """Return the numbers of the record by name, for a logger: `loss` is the sum of the losses `loss/NAME`."""
        return {
            "step": self.index,
            "epoch": self.epoch,
            "loss": sum(self.losses.values()),
            **{f"loss/{name}": value for name, value in self.losses.items()},
            "validation": self.validation,
            "lr": self.lr,
            "windows_per_s": self.windows_per_s,
            "seconds": self.seconds,
        }


def pretrain(
    objective: Objective,
    train: Windows,
    validation: Windows | None = None,
    *,
    epochs: int = 50,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: Literal["constant", "warmup-cosine"] = "constant",
    patience: int | None = 5,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    runtime: Runtime = Runtime(),
    logger: Logger | None = None,
) -> Iterator[Step]:
    """Train `objective` in place, step by step; it holds the best weights when the generator is exhausted.

    Args:
        objective: trained in place.
        train: windows to learn from; their labels, if any, cannot be reached.
        validation: windows of other subjects, for early stopping; None: the last weights are kept.
        epochs: largest number of epochs.
        batch_size: over all devices together. An epoch's last, incomplete batch is dropped, unless it is the only one.
        lr: learning rate of Adam, at its highest if a schedule changes it.
        weight_decay: of Adam.
        schedule: of the learning rate over all steps: `constant`, or `warmup-cosine`, see `warmup_cosine`.
        patience: epochs without a better validation loss before training stops; None: it never stops early.
        sampling: which windows an epoch trains on.
        seed: of order, augmentation and dropout. The caller's own random states do not change.
        runtime: how and where the loop runs: precision, device, reports, and the file to resume from.
        logger: gets the numbers of each record (`Step.metrics`) through its method `log`; of several processes, the first
            one's only. None: the caller has the records.

    Raises:
        TypeError: `train` or `validation` is not `Windows`.
        ValueError: fewer than 2 windows, a subject in both sets, an invalid argument, or a state file of another run.
        DivergenceError: a loss is not finite.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168): Adam, 50 epochs, patience 5, best weights kept.
    """
    settings = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay, "schedule": schedule,
        "patience": patience, "sampling": sampling, "seed": seed, "runtime": runtime,
    }  # fmt: skip
    _check_windows(train, validation)
    check_settings(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        schedule=schedule,
        patience=patience,
        seed=seed,
    )
    fabric = _launched(runtime)
    train = _placed(train, fabric.device)
    validation = None if validation is None else _placed(validation, fabric.device)
    draws = _Draws(weights(train, sampling.draw), batch_size, sampling, seed)
    _check_devices(batch_size, draws.count, None if validation is None else len(validation), fabric.world_size)
    state = TrainingState(
        objective,
        fabric,
        lr=lr,
        weight_decay=weight_decay,
        warmup_cosine_steps=epochs * draws.steps if schedule == "warmup-cosine" else None,
        seed=seed,
    )
    identity = fingerprint([result_identity(objective, train, validation, **settings), fabric.world_size])
    if runtime.resume is not None and runtime.resume.exists():
        state.load(runtime.resume, identity)
    for step in _Loop(state, train, validation, draws, epochs, patience, runtime, identity).run():
        if logger is not None and step.losses and fabric.global_rank == 0:
            logger.log(step.metrics())
        yield step


def result_identity(
    objective: Objective, train: Windows, validation: Windows | None = None, **settings: Any
) -> dict[str, Any]:
    """Return, as JSON-able values, everything but the code that decides the weights that `pretrain` ends with.

    Args:
        objective: with its encoder; both are described by their constructor arguments.
        train: as `pretrain` takes it; described by its content, without labels.
        validation: the same.
        settings: further arguments of `pretrain`; defaults are added. Those that change no weight are left out.
    """
    bound = inspect.signature(pretrain).bind(objective, train, validation, **settings)
    bound.apply_defaults()
    arguments = {
        name: value
        for name, value in bound.arguments.items()
        if name not in ("objective", "train", "validation", "logger")
    }
    arguments["sampling"] = dataclasses.asdict(arguments["sampling"])
    arguments["runtime"] = {"precision": arguments["runtime"].precision}
    return {
        "encoder": [type(objective.encoder).__name__, objective.encoder.arguments()],
        "objective": [type(objective).__name__, objective.arguments()],
        "train": train.unlabelled().content_hash,
        "validation": None if validation is None else validation.unlabelled().content_hash,
        "pretrain": arguments,
    }


class _Draws:
    """The windows of each epoch, in their order: `steps` batches of `count` windows."""

    def __init__(self, weight: Tensor, batch_size: int, sampling: Sampling, seed: int) -> None:
        self.weight, self.batch_size, self.seed, self.replacement = weight, batch_size, seed, sampling.replacement
        self.count = max(2, round(sampling.share * len(weight)))
        if not sampling.replacement:
            self.count = min(self.count, int((weight > 0).sum()))
        self.steps = max(1, self.count // batch_size)

    def rows(self, epoch: int, first_step: int) -> Tensor:
        """Row numbers of the epoch's windows, from the batch of `first_step` on."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, _ORDER, epoch))
        order = draw_windows(self.weight, self.count, generator=generator, replacement=self.replacement)
        return order[first_step * self.batch_size : self.steps * self.batch_size]


class _Loop:
    """Epochs of steps, and what is reported of them."""

    def __init__(
        self,
        state: TrainingState,
        train: Windows,
        validation: Windows | None,
        draws: _Draws,
        epochs: int,
        patience: int | None,
        runtime: Runtime,
        identity: str,
    ) -> None:
        self.state, self.train, self.validation, self.draws = state, train, validation, draws
        self.epochs, self.patience, self.runtime, self.identity = epochs, patience, runtime, identity
        self.started = self.saved = self.reported = time.perf_counter()
        self.windows, self.losses = 0, dict[str, list[Tensor]]()  # since the last report

    def run(self) -> Iterator[Step]:
        """Yield the records of all epochs that are left."""
        while not self._stopped():
            yield from self._epoch()
        if not self.state.finished:  # resumed after the last step was done
            self.state.finish()
            yield self._record(self.state.epoch, done=True)

    def _stopped(self) -> bool:
        return self.state.epoch >= self.epochs or (self.patience is not None and self.state.worse >= self.patience)

    def _epoch(self) -> Iterator[Step]:
        """Train on what is left of one epoch, validate, and report."""
        state, fabric = self.state, self.state.fabric
        rows = self.draws.rows(state.epoch, state.step)
        state.model.train()
        for batch in _shared_batches(self.train, rows, self.draws.batch_size, fabric):
            for name, loss in state.train_on(batch).items():
                self.losses.setdefault(name, []).append(loss)
            self.windows += len(batch.x) * fabric.world_size
            if state.step < self.draws.steps:
                if state.index % self.runtime.report_every == 0:
                    yield self._record(state.epoch + 1)
                if time.perf_counter() - self.saved > self.runtime.save_every_s:
                    self._save()
        state.epoch, state.step = state.epoch + 1, 0
        speed = self._speed()
        held_out = None if self.validation is None else self._validate(self.validation)
        state.end_epoch(self.draws.steps, held_out)
        record = self._record(state.epoch, held_out, speed, done=self._stopped())
        self._save()
        if record.done:
            state.finish()
        yield record

    def _validate(self, validation: Windows) -> float:
        # Shuffled, always in the same way: neighbours in a recording would be each other's negatives otherwise.
        order = torch.randperm(len(validation), generator=torch.Generator().manual_seed(self.draws.seed))
        return self.state.validate(_shared_batches(validation, order, self.draws.batch_size, self.state.fabric))

    def _save(self) -> None:
        if self.runtime.resume is not None:
            self.state.save(self.runtime.resume, self.identity)
            self.saved = time.perf_counter()

    def _speed(self) -> float:
        return self.windows / max(time.perf_counter() - self.reported, 1e-9)

    def _record(
        self, epoch: int, validation: float | None = None, speed: float | None = None, done: bool = False
    ) -> Step:
        """What happened since the last report.

        Raises:
            DivergenceError: a loss is not finite.
        """
        state = self.state
        losses = {name: float(torch.stack(values).mean()) for name, values in self.losses.items()}
        for name, value in [*losses.items(), ("validation", validation)]:
            if value is not None and not math.isfinite(value):
                raise DivergenceError(
                    f"the loss '{name}' is {value} at step {state.index}: training diverged; lower lr (now {state.lr:g}) "
                    "or check the recordings for outliers"
                )
        speed = self._speed() if speed is None else speed
        self.reported, self.windows = time.perf_counter(), 0
        self.losses.clear()
        of, history = (state.index, tuple(state.history)) if done else (self.epochs * self.draws.steps, ())
        seconds = self.reported - self.started
        return Step(state.index, of, epoch, losses, validation, state.current_lr, speed, seconds, done, history)


def _check_windows(train: Windows, validation: Windows | None) -> None:
    for name, windows in (("train", train), ("validation", validation)):
        if windows is not None and not isinstance(windows, Windows):
            shape = f" of shape {tuple(windows.shape)}" if hasattr(windows, "shape") else ""
            raise TypeError(
                f"{name} is a {type(windows).__name__}{shape}; expected Windows, which know their rate, channels and "
                "subjects: Windows.from_arrays(x, rate_hz=..., channels=..., subjects=...)"
            )
    if len(train) < 2:
        raise ValueError(f"pretraining needs at least 2 windows, got {len(train)}")
    if validation is None:
        return
    if len(validation) < 2:
        raise ValueError(f"validation needs at least 2 windows, got {len(validation)}")
    if both := set(train.people) & set(validation.people):
        raise ValueError(
            f"subject {', '.join(sorted(both))} is in train and in validation; a subject must be in one only"
        )


def _check_devices(batch_size: int, drawn: int, held_out: int | None, devices: int) -> None:
    """Every device must train and validate on at least 2 windows per batch."""
    least = 2 * devices
    if batch_size < least:
        raise ValueError(f"batch_size is {batch_size} over {devices} devices; expected at least {least}")
    for what, count in (("drawn per epoch", drawn), ("to validate on", least if held_out is None else held_out)):
        if 0 < count < least:
            raise ValueError(f"{count} windows {what} over {devices} devices; expected at least {least}")


def _launched(runtime: Runtime) -> Any:
    from lightning_fabric import Fabric  # imported here: it takes seconds

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun and fabric run
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local
    _check_accelerator(runtime.accelerator, local)
    fabric = Fabric(accelerator=runtime.accelerator, devices=local, num_nodes=nodes, precision=runtime.precision)
    fabric.launch()
    return fabric


def _check_accelerator(name: str, wanted: int) -> None:
    """Raise ValueError, which names the devices that are here, where those that are asked for are not."""
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    count = here.get({"gpu": "mps" if here["mps"] else "cuda"}.get(name, name))
    if count is None or name in ("auto", "cpu"):  # others are Fabric's own matter
        return
    if count < wanted:
        there = ", ".join(f"{number} x {kind}" for kind, number in here.items() if number)
        raise ValueError(
            f"the accelerator '{name}' has {count} devices here, and {wanted} are wanted; there is {there}: set "
            "pretrain.runtime.accelerator to auto or cpu"
        )


def _placed(windows: Windows, device: torch.device) -> Windows:
    """The whole signal on the device if it takes less than half of what is free there; else left memory-mapped."""
    if device.type != "cuda":
        return windows
    free, _ = torch.cuda.mem_get_info(device)
    return windows.to(device) if windows.nbytes < free / 2 else windows


def _shared_batches(windows: Windows, order: Tensor, batch_size: int, fabric: Any) -> Iterator[Batch]:
    """This rank's share of each joint batch: equally many rows on all ranks, at least 2."""
    world = fabric.world_size
    whole = [rows[: len(rows) // world * world] for rows in order.split(batch_size) if len(rows) >= 2 * world]
    mine = torch.cat(whole)[fabric.global_rank :: world] if whole else order[:0]
    return batches(windows, mine, max(1, batch_size // world), device=fabric.device)
