"""The training state: weights, optimiser and position, which are saved together in one file and continue exactly."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otolith.data.sampling import Batch, seeded
from otolith.objectives import Objective
from otolith.storage import tensors

_VALIDATION = 2**40  # a number that no step has, for the draws of the validation
_POSITION = ("index", "epoch", "step", "worse")


def warmup_cosine(step: int, of: int) -> float:
    """Return the factor on the learning rate at step number `step`, counted from 0.

    The factor rises linearly over the first max(of / 100, 10) of `of` steps, then falls to 0 along a cosine.
    """
    warmup = max(of // 100, 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, of - warmup))))


def mixed_seed(*numbers: int) -> int:
    """Return a seed that follows from all the numbers, of any sign or size."""
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


class TrainingState:
    """Everything that changes during training.

    Args:
        objective: trained in place.
        fabric: a launched Lightning Fabric.
        lr: learning rate of Adam, at its highest.
        weight_decay: of Adam.
        warmup_cosine_steps: number of steps of the schedule `warmup_cosine`; None: the learning rate is constant.
        seed: of augmentation and dropout.

    Attributes:
        index: optimisation steps done.
        epoch: epochs done.
        step: optimisation steps done in the current epoch.
        worse: epochs since the best validation loss.
        history: number, mean training loss, and validation loss or None, of each epoch.
        finished: whether the objective holds its final weights.
    """

    def __init__(
        self,
        objective: Objective,
        fabric: Any,
        *,
        lr: float,
        weight_decay: float,
        warmup_cosine_steps: int | None,
        seed: int,
    ) -> None:
        self.objective, self.fabric, self.seed, self.lr = objective, fabric, seed, lr
        self.warmup_cosine_steps = warmup_cosine_steps
        fused = fabric.device.type == "cpu"  # one pass over the weights instead of nine
        self.adam = torch.optim.Adam(objective.parameters(), lr=lr, weight_decay=weight_decay, fused=fused)
        self.model, self.optimiser = fabric.setup(objective, self.adam)
        self.index = self.epoch = self.step = self.worse = 0
        self.best, self.best_loss = dict[str, Tensor](), math.inf
        wide = torch.float32 if fabric.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.total = torch.zeros((), dtype=wide, device=fabric.device)  # of the losses of this epoch's steps
        self.history: list[tuple[int, float, float | None]] = []
        self.finished = False

    @property
    def current_lr(self) -> float:
        """The learning rate of the latest step."""
        return float(self.adam.param_groups[0]["lr"])

    def _seeded(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Randomness that follows from the seed and `number`, so that no random state has to be saved on any device.

        The CPU's generator is the same on all ranks, since objectives may draw one number for the joint batch; each rank
        has its own GPU generator.
        """
        own = mixed_seed(self.seed, number, self.fabric.global_rank)
        return seeded(mixed_seed(self.seed, number), self.fabric.device, own)

    def train_on(self, batch: Batch) -> dict[str, Tensor]:
        """Make one optimisation step; return the losses, detached."""
        if self.warmup_cosine_steps is not None:
            for group in self.adam.param_groups:
                group["lr"] = self.lr * warmup_cosine(self.index, self.warmup_cosine_steps)
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
    def validate(self, batches: Iterator[Batch]) -> float:
        """Return the mean over windows of the summed losses, with the same draws every time; keep the best weights."""
        self.model.eval()
        total, count = torch.zeros((), device=self.fabric.device), 0
        with self._seeded(_VALIDATION):
            for batch in batches:
                total += torch.stack(list(self.model(batch).values())).sum() * len(batch.x)
                count += len(batch.x)
        loss = float(self.fabric.all_reduce(total / max(count, 1), reduce_op="mean"))
        if loss < self.best_loss:
            self.best_loss, self.worse = loss, 0
            self.best = {name: value.detach().clone() for name, value in self.objective.state_dict().items()}
        else:
            self.worse += 1
        return loss

    def end_epoch(self, steps: int, validation_loss: float | None) -> None:
        """Add the epoch of `steps` steps that ends here to the history."""
        self.history.append((self.epoch, float(self.total) / steps, validation_loss))
        self.total.zero_()

    def finish(self) -> None:
        """Leave the best weights in the objective, on the CPU and in eval mode."""
        if self.best:
            self.objective.load_state_dict(self.best)
        self.objective.to("cpu").eval()
        self.finished = True
        self.fabric.barrier()  # no rank continues, and removes the file, while the first rank still writes it

    def save(self, path: Path, identity: str) -> None:
        """Write the state atomically, from the first rank; no rank waits for it, as clocks decide when.

        Args:
            path: the safetensors file.
            identity: of what decides the result; `load` compares it.
        """
        if not self.fabric.is_global_zero:
            return
        state = {f"model.{name}": value for name, value in self.objective.state_dict().items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        for number, values in self.adam.state_dict()["state"].items():
            state |= {f"adam.{number}.{name}": value for name, value in values.items()}
        position = {name: getattr(self, name) for name in _POSITION}
        position |= {"best_loss": self.best_loss.hex(), "total": float(self.total).hex(), "history": self.history}
        tensors.write(path, state, {"identity": identity, "position": position})

    def load(self, path: Path, identity: str) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: the file is damaged or belongs to another run.
        """
        remedy = "remove it to start again from the beginning"
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
        for name in _POSITION:
            setattr(self, name, position[name])
        self.best_loss = float.fromhex(position["best_loss"])
        self.total.fill_(float.fromhex(position["total"]))
        self.history = [(epoch, loss, value) for epoch, loss, value in position["history"]]
