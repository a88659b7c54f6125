"""The pretraining loop: a generator of Step records. Whoever consumes it draws the progress bar.

Devices and precision go through Lightning Fabric, so the same loop runs on a CPU, a GPU, or several
(`torchrun --nproc-per-node N`, `fabric run`). Killed at any moment and started again, it ends with the same bits as if it
had not been: order and randomness follow from the seed and the number of the epoch and of the step, and weights and
optimiser are saved together in one file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from otolith.data.sampling import Batch, Draw, batches, draw_windows, seeded, weights
from otolith.data.windows import Windows
from otolith.encoders import Encoder
from otolith.objectives import Objective
from otolith.storage import tensors
from otolith.storage.files import fingerprint

_VALIDATION, _ORDER = 2**40, 2**41  # numbers no step has, for draws that belong to none


@dataclasses.dataclass(frozen=True)
class Step:
    """What the loop reports.

    Attributes:
        index: optimisation steps done.
        of: steps if training does not stop early.
        epoch: counted from 1.
        losses: mean of each named training loss since the last report.
        validation: sum of the validation losses, at the end of an epoch; else None.
        lr: learning rate.
        windows_per_s: windows trained on a second, since the last report.
        seconds: since the loop (this process's part of it) started.
        done: true for the last record; the objective then holds the best weights.
        history: with the last record, for every epoch: its number, mean training loss, and validation loss or None.
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
    draw: Draw = "uniform",
    share: float = 1.0,
    replacement: bool = False,
    precision: str = "32-true",
    accelerator: str = "auto",
    report_every: int = 10,
    save_every_s: float = 30.0,
    seed: int = 0,
    resume: Path | None = None,
) -> Iterator[Step]:
    """Trains `objective` in place, step by step; when the generator is exhausted it holds the best weights.

    Args:
        objective: trained in place.
        train: windows to learn from; their labels, if any, cannot be reached.
        validation: windows of other people, for early stopping; None: the last weights are kept.
        epochs: at most.
        batch_size: over all devices together. An epoch's last, incomplete batch is dropped, unless it is the only one.
        lr: of Adam, at its highest where a schedule changes it.
        weight_decay: of Adam.
        schedule: of the learning rate over all steps: `constant`, or `warmup-cosine`, see `warmup_cosine`.
        patience: epochs without a better validation loss before stopping; None: never stop early.
        draw: how an epoch draws its windows; see `sampling.weights`.
        share: part of the windows an epoch draws.
        replacement: whether an epoch can draw a window more than once.
        precision: Fabric's: `32-true`, `bf16-mixed`, ...
        accelerator: Fabric's: `auto`, `cpu`, `cuda`, `mps`.
        report_every: steps between two records; an epoch's end is always reported.
        save_every_s: seconds between two saves of the state; an epoch's end is always saved.
        seed: of order, augmentation and dropout. The caller's own random states are left alone.
        resume: file for the state, a safetensors file. If it is there, training goes on where it stopped. It stays
            until the caller, having saved the result, removes it.

    Raises:
        ValueError: fewer than 2 windows, a person in both sets, a loss that is not finite, or a state file of
            another run.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168): Adam, 50 epochs, patience 5, best weights kept.
    """
    if schedule not in ("constant", "warmup-cosine"):
        raise ValueError(f"schedule is '{schedule}'; expected constant or warmup-cosine")
    if patience is not None and patience < 1:
        raise ValueError(f"patience is {patience}; expected at least 1 epoch, or none to never stop early")
    if len(train) < 2:
        raise ValueError(f"pretraining needs at least 2 windows, got {len(train)}")
    if validation is not None:
        if len(validation) < 2:
            raise ValueError(f"validation needs at least 2 windows, got {len(validation)}")
        if both := set(train.people) & set(validation.people):
            raise ValueError(
                f"subject {', '.join(sorted(both))} is in training and in validation; a person is on one side"
            )
    from lightning_fabric import Fabric  # imported here: it takes seconds

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun and fabric run
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=nodes, precision=precision)
    fabric.launch()
    train = _place(train, fabric.device)
    validation = None if validation is None else _place(validation, fabric.device)
    weight = weights(train, draw)
    drawn = max(2, round(share * len(train)))
    if not replacement:
        drawn = min(drawn, int((weight > 0).sum()))
    least = 2 * fabric.world_size  # every device trains on at least 2 windows a batch
    if batch_size < least:
        raise ValueError(f"batch_size is {batch_size} over {fabric.world_size} devices; expected at least {least}")
    for what, count in (
        ("drawn an epoch", drawn),
        ("to validate on", least if validation is None else len(validation)),
    ):
        if 0 < count < least:
            raise ValueError(f"{count} windows {what} over {fabric.world_size} devices; expected at least {least}")
    per_epoch = max(1, drawn // batch_size)
    loop = [epochs, batch_size, lr, weight_decay, schedule, patience, draw, share, replacement, precision, seed]
    held_content = None if validation is None else validation.unlabelled().content_hash
    trained = [_description(objective), _description(objective.encoder), train.unlabelled().content_hash, held_content]
    identity = fingerprint([*trained, loop, fabric.world_size])
    warmed_of = epochs * per_epoch if schedule == "warmup-cosine" else None
    run = _Run(objective, fabric, lr=lr, weight_decay=weight_decay, warmed_of=warmed_of, seed=seed)
    if resume is not None and resume.exists():
        run.load(resume, identity)

    def stopped() -> bool:
        return run.epoch >= epochs or (patience is not None and run.worse >= patience)

    started = time.perf_counter()
    saved = mark = started
    windows, sums = 0, dict[str, list[Tensor]]()

    def speed() -> float:
        return windows / max(time.perf_counter() - mark, 1e-9)

    def record(epoch: int, validation_loss: float | None = None, pace: float | None = None, done: bool = False) -> Step:
        nonlocal mark, windows
        losses = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
        for name, value in [*losses.items(), ("validation", validation_loss)]:
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"the loss '{name}' is {value} at step {run.index}: training broke down; lower lr (now {lr:g}) or "
                    "look for absurd values in the recordings"
                )
        pace = speed() if pace is None else pace
        mark, windows = time.perf_counter(), 0
        sums.clear()
        of, history = (run.index, tuple(run.history)) if done else (epochs * per_epoch, ())
        rate = float(run.adam.param_groups[0]["lr"])
        return Step(run.index, of, epoch, losses, validation_loss, rate, pace, mark - started, done, history)

    while not stopped():
        generator = torch.Generator().manual_seed(_mix(seed, _ORDER, run.epoch))
        order = draw_windows(weight, drawn, generator=generator, replacement=replacement)[: per_epoch * batch_size]
        left = order[run.step * batch_size :]
        run.model.train()
        for batch in _shared_batches(train, left, batch_size, fabric):
            for name, loss in run.train_on(batch).items():
                sums.setdefault(name, []).append(loss)
            windows += len(batch.x) * fabric.world_size
            if run.step < per_epoch:
                if run.index % report_every == 0:
                    yield record(run.epoch + 1)
                if resume is not None and time.perf_counter() - saved > save_every_s:
                    run.save(resume, identity)
                    saved = time.perf_counter()
        run.epoch, run.step = run.epoch + 1, 0
        pace = speed()
        value = None
        if validation is not None:
            # Shuffled, and always alike: neighbours in a recording would be each other's negatives otherwise.
            mixed = torch.randperm(len(validation), generator=torch.Generator().manual_seed(seed))
            value = run.validate(_shared_batches(validation, mixed, batch_size, fabric))
        run.history.append((run.epoch, float(run.total) / per_epoch, value))
        run.total.zero_()
        step = record(run.epoch, value, pace, done=stopped())
        if resume is not None:
            run.save(resume, identity)
            saved = time.perf_counter()
        if step.done:
            run.finish()
        yield step
    if not run.finished:  # resumed after the last step was done
        run.finish()
        yield record(run.epoch, done=True)


def warmup_cosine(step: int, of: int) -> float:
    """Factor on the learning rate of step number `step`, from 0: linear over the first max(of / 100, 10) of `of` steps, then
    a cosine down to 0."""
    warmup = max(of // 100, 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, of - warmup))))


class _Run:
    """Everything that changes while training, so that it can be saved and taken up again."""

    def __init__(
        self,
        objective: Objective,
        fabric: Any,
        *,
        lr: float,
        weight_decay: float,
        warmed_of: int | None,
        seed: int,
    ) -> None:
        self.objective, self.fabric, self.seed, self.lr = objective, fabric, seed, lr
        self.warmed_of = warmed_of  # steps over which the learning rate rises and falls; None: it stays
        optimiser = torch.optim.Adam(objective.parameters(), lr=lr, weight_decay=weight_decay)
        self.model, self.optimiser = fabric.setup(objective, optimiser)
        self.adam = optimiser
        self.index = self.epoch = self.step = self.worse = 0
        self.best, self.best_loss = dict[str, Tensor](), math.inf
        wide = torch.float32 if fabric.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.total = torch.zeros((), dtype=wide, device=fabric.device)  # of the losses of this epoch's steps
        self.history: list[tuple[int, float, float | None]] = []
        self.finished = False

    def _seeded(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Randomness that follows from the seed and `number`, so that there is no state to save on any device.

        The CPU's generator is the same on all ranks, since objectives may draw one number for the joint batch; a GPU's is
        its rank's own.
        """
        own = _mix(self.seed, number, self.fabric.global_rank)
        return seeded(_mix(self.seed, number), self.fabric.device, own)

    def train_on(self, batch: Batch) -> dict[str, Tensor]:
        """One optimisation step; returns the losses, detached."""
        if self.warmed_of is not None:
            for group in self.adam.param_groups:
                group["lr"] = self.lr * warmup_cosine(self.index, self.warmed_of)
        with self._seeded(self.index):
            losses = self.model(batch)
            self.optimiser.zero_grad(set_to_none=True)
            total = torch.stack(list(losses.values())).sum()
            self.fabric.backward(total)
            self.optimiser.step()
            self.total += total.detach()
        self.index += 1
        self.step += 1
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self, parts: Iterator[Batch]) -> float:
        """Mean over windows of the summed losses, with the same draws every time; keeps the best weights."""
        self.model.eval()
        total, count = torch.zeros((), device=self.fabric.device), 0
        with self._seeded(_VALIDATION):
            for batch in parts:
                total += torch.stack(list(self.model(batch).values())).sum() * len(batch.x)
                count += len(batch.x)
        loss = float(self.fabric.all_reduce(total / max(count, 1), reduce_op="mean"))
        if loss < self.best_loss:
            self.best_loss, self.worse = loss, 0
            self.best = {name: value.detach().clone() for name, value in self.objective.state_dict().items()}
        else:
            self.worse += 1
        return loss

    def finish(self) -> None:
        """Leaves the best weights in the objective, on the CPU and in eval mode."""
        if self.best:
            self.objective.load_state_dict(self.best)
        self.objective.to("cpu").eval()
        self.finished = True
        self.fabric.barrier()  # nobody goes on, and removes the state, while the first rank still writes it

    def save(self, path: Path, identity: str) -> None:
        """Writes the state, atomically, from the first rank; no rank waits for it, as clocks decide when."""
        if not self.fabric.is_global_zero:
            return
        state = {f"model.{name}": value for name, value in self.objective.state_dict().items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        for number, values in self.adam.state_dict()["state"].items():
            state |= {f"adam.{number}.{name}": value for name, value in values.items()}
        position = {name: getattr(self, name) for name in ("index", "epoch", "step", "worse")}
        position |= {"best_loss": self.best_loss.hex(), "total": float(self.total).hex(), "history": self.history}
        tensors.write(path, state, {"identity": identity, "position": position})

    def load(self, path: Path, identity: str) -> None:
        """Takes up a saved state.

        Raises:
            ValueError: the file is damaged or of another run.
        """
        remedy = "remove it to start afresh"
        try:
            header, state = tensors.read(path)
            position = header["position"]
        except (KeyError, ValueError) as error:
            raise ValueError(f"the training state '{path}' is damaged: {error}; {remedy}") from error
        if header.get("identity") != identity:
            raise ValueError(f"the training state '{path}' belongs to other arguments or other data; {remedy}")

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}

        self.objective.load_state_dict(part("model."))
        self.best = {name: value.to(self.fabric.device) for name, value in part("best.").items()}
        adam = self.adam.state_dict()
        for name, value in part("adam.").items():
            number, key = name.split(".")
            adam["state"].setdefault(int(number), {})[key] = value
        self.adam.load_state_dict(adam)
        for name in ("index", "epoch", "step", "worse"):
            setattr(self, name, position[name])
        self.best_loss = float.fromhex(position["best_loss"])
        self.total.fill_(float.fromhex(position["total"]))
        self.history = [(epoch, loss, value) for epoch, loss, value in position["history"]]


def _mix(*numbers: int) -> int:
    """A seed that follows from all the numbers (of any sign or size)."""
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


def _shared_batches(windows: Windows, order: Tensor, batch_size: int, fabric: Any) -> Iterator[Batch]:
    """This rank's share of each joint batch: equally many rows on all ranks, at least 2."""
    world = fabric.world_size
    whole = [rows[: len(rows) // world * world] for rows in order.split(batch_size) if len(rows) >= 2 * world]
    mine = torch.cat(whole)[fabric.global_rank :: world] if whole else order[:0]
    return batches(windows, mine, max(1, batch_size // world), device=fabric.device)


def _place(windows: Windows, device: torch.device) -> Windows:
    """The whole signal on the device if it takes less than half of what is free there; else left memory-mapped."""
    if device.type != "cuda":
        return windows
    free, _ = torch.cuda.mem_get_info(device)
    return windows.to(device) if windows.nbytes < free / 2 else windows


def _description(built: Objective | Encoder) -> Any:
    return [type(built).__name__, built.arguments()]
