"""Train a classifier's network on windows or on features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers.features import batch_getter
from otolith.classifiers.settings import Training
from otolith.data.sampling import Batch
from otolith.data.windows import Windows
from otolith.encoders import Encoder
from otolith.objectives import Objective, find_objective
from otolith.pretraining import warmup_cosine

_BATCH = 1024  # windows per forward pass of a validation


def train(
    model: nn.Module,
    groups: list[dict[str, Any]],
    get_batch: Callable[[Tensor], Tensor],
    target: Tensor,
    settings: Training,
    *,
    epochs: int,
    steps: int | None,
    validation_metric: Callable[[], float] | None = None,
    frozen_blocks: Sequence[nn.Module] = (),
    auxiliary_loss: Callable[[], Tensor] | None = None,
) -> tuple[int, list[float]]:
    """Train `model` in place and return the number of steps done and the validation metric of each check.

    Args:
        model: maps what `get_batch` returns to logits.
        groups: the optimizer's parameter groups, each with its `lr`.
        get_batch: row numbers -> windows or features.
        target: (windows,) class numbers.
        settings: of the training.
        epochs: budget, used if `steps` is None.
        steps: budget in steps.
        validation_metric: returns what is to be lowered; the weights with its lowest value are kept.
        frozen_blocks: modules that stay in eval mode.
        auxiliary_loss: a loss that is added to the cross-entropy.

    Raises:
        ValueError: the loss is not finite at the end.
    """
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(groups, weight_decay=settings.weight_decay, fused=target.device.type == "cpu")
    per_epoch = math.ceil((len(target) - 1) / settings.batch_size)  # a last window alone joins the batch before it
    budget = epochs * per_epoch if steps is None else steps
    every = per_epoch if steps is None else max(1, steps // 20)
    scheduler = None
    if settings.schedule == "warmup-cosine":
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, of=budget))
    precision = partial(torch.autocast, target.device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed")
    best, best_value, worse, history, done, loss = None, math.inf, 0, [], 0, torch.zeros(())
    batches = _shuffled_batches(len(target), settings.batch_size)
    while done < budget:
        rows = next(batches).to(target.device)
        model.train()
        for block in frozen_blocks:
            block.eval()
        with precision():
            loss = F.cross_entropy(model(get_batch(rows)), target[rows])
            if auxiliary_loss is not None:
                loss = loss + auxiliary_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        done += 1
        if validation_metric is None or (done % every and done < budget):
            continue
        model.eval()
        with precision():
            value = validation_metric()
        history.append(value)
        if value < best_value:
            best_value, worse = value, 0
            best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        else:
            worse += 1
            if settings.patience is not None and worse >= settings.patience:
                break
    if best is not None:
        model.load_state_dict(best)
    elif not math.isfinite(float(loss.detach())):
        raise ValueError(
            f"the loss is not finite after {done} steps: training diverged; lower lr (now {settings.lr:g}) or check the "
            "recordings for outliers"
        )
    model.eval()
    return done, history


def _shuffled_batches(count: int, batch_size: int) -> Iterator[Tensor]:
    """Yield row numbers without end; all rows are used once before they are shuffled again."""
    while True:
        order = torch.randperm(count)
        while len(order):
            rows, order = order[:batch_size], order[batch_size:]
            if len(order) == 1:  # batch normalisation cannot train on one window: it joins this batch
                rows, order = torch.cat([rows, order]), order[1:]
            yield rows


@torch.no_grad()
def loss_or_error_rate(
    model: nn.Module, get_batch: Callable[[Tensor], Tensor], target: Tensor, monitor: str = "loss"
) -> float:
    """Return the mean cross-entropy, or the share of wrong predictions if `monitor` is `accuracy`."""
    parts = []
    for index in torch.arange(len(target), device=target.device).split(_BATCH):
        logits = model(get_batch(index))
        if monitor == "accuracy":
            parts.append((logits.argmax(dim=1) != target[index]).sum())
        else:
            parts.append(F.cross_entropy(logits, target[index], reduction="sum"))
    return float(torch.stack(parts).sum()) / len(target)


class Held(NamedTuple):
    """Validation windows, their class numbers, and a function from row numbers to their features where the caller has
    computed them."""

    windows: Windows | Tensor
    target: Tensor
    get_features: Callable[[Tensor], Tensor] | None


class Trainer:
    """Trains a head, or a head and its encoder, in place.

    Args:
        encoder: of windows.
        head: from features to logits.
        pretrained_part: part of the head that was pretrained with the encoder, if any.
        settings: of the training.
        target: (windows,) class numbers of the training windows.
        held: validation windows.
        device: of all of them.

    Attributes:
        steps: optimisation steps done.
        history: the validation metric of each check.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        pretrained_part: nn.Module | None,
        settings: Training,
        target: Tensor,
        held: Held | None,
        device: torch.device,
    ) -> None:
        self.encoder, self.head, self.pretrained_part = encoder, head, pretrained_part
        self.settings, self.target, self.held, self.device = settings, target, held, device
        self.steps, self.history = 0, list[float]()

    def train_head(
        self, features: Tensor, embed: Callable[[Windows | Tensor], Tensor], epochs: int, steps: int | None
    ) -> None:
        """Train the head alone, but for its pretrained part, on features of the training windows.

        Args:
            features: (windows, width).
            embed: computes features of the validation windows.
            epochs: budget, used if `steps` is None.
            steps: budget in steps.
        """
        if self.pretrained_part is not None:
            self.pretrained_part.requires_grad_(False)
        get_validation = None
        if self.held is not None:
            get_validation = self.held.get_features or embed(self.held.windows).__getitem__
        self._train(
            self.head, [self._head_group()], features.to(self.device).__getitem__, get_validation, epochs, steps
        )

    def train_all(
        self,
        body: nn.Module,
        windows: Windows | Tensor,
        unlabelled: Windows | Tensor | None,
        objective: Objective | None,
    ) -> None:
        """Train the encoder and the head.

        Args:
            body: windows -> what the head sees; holds the encoder.
            windows: training windows.
            unlabelled: windows for the objective.
            objective: whose loss is added; None: none.
        """
        settings, tuning = self.settings, self.settings.finetuning
        blocks = self.encoder.blocks()
        frozen = [] if tuning.trained_blocks is None else blocks[: -tuning.trained_blocks]
        rate = settings.lr if tuning.encoder_lr is None else tuning.encoder_lr
        groups: list[dict[str, Any]] = [
            {"params": block.parameters(), "lr": rate * tuning.layer_decay**above}
            for above, block in enumerate(reversed(blocks[len(frozen) :]))
        ]
        if self.pretrained_part is not None:
            groups.append({"params": self.pretrained_part.parameters(), "lr": rate})
            self.pretrained_part.requires_grad_(True)
        groups.append(self._head_group())
        auxiliary_loss = None
        if objective is not None and unlabelled is not None:
            own = [value for name, value in objective.named_parameters() if not name.startswith("encoder.")]
            groups.append({"params": own, "lr": settings.lr})
            auxiliary_loss = pretext_loss_fn(
                objective, unlabelled, settings.batch_size, self.device, tuning.auxiliary_objective_weight
            )
        for block in frozen:
            block.requires_grad_(False)
        self._train(
            nn.Sequential(body, self.head),
            groups,
            batch_getter(windows, self.device, settings.augmentations),
            None if self.held is None else batch_getter(self.held.windows, self.device),
            settings.epochs,
            settings.steps,
            frozen_blocks=frozen,
            auxiliary_loss=auxiliary_loss,
        )
        self.encoder.requires_grad_(True)

    def _head_group(self) -> dict[str, Any]:
        pretrained = set() if self.pretrained_part is None else set(self.pretrained_part.parameters())
        own = [weight for weight in self.head.parameters() if weight not in pretrained]
        return {"params": own, "lr": self.settings.lr}

    def _train(
        self,
        model: nn.Module,
        groups: list[dict[str, Any]],
        get_batch: Callable[[Tensor], Tensor],
        get_validation: Callable[[Tensor], Tensor] | None,
        epochs: int,
        steps: int | None,
        **others: Any,
    ) -> None:
        metric: Callable[[], float] | None = None
        if self.held is not None and get_validation is not None:
            metric = partial(loss_or_error_rate, model, get_validation, self.held.target, self.settings.monitor)
        done, history = train(
            model,
            groups,
            get_batch,
            self.target,
            self.settings,
            epochs=epochs,
            steps=steps,
            validation_metric=metric,
            **others,
        )
        self.steps += done
        self.history += history
        self.head.requires_grad_(True)


def continued_objective(
    encoder: Encoder, about: Mapping[str, Any], heads: Mapping[str, Mapping[str, Tensor]]
) -> Objective:
    """Return the pretraining objective of a checkpoint on this encoder, with its own heads.

    Raises:
        ValueError: the encoder comes from no checkpoint, or one without an objective.
    """
    name, arguments = about.get("objective"), about.get("objective_arguments")
    if not isinstance(name, str) or arguments is None:
        raise ValueError(
            "auxiliary_objective_weight needs a pretrained checkpoint, whose objective is continued; this encoder has none"
        )
    objective = find_objective(name)(encoder, **arguments)
    for head in objective.kept:
        module, state = getattr(objective, head), heads.get(head, {})
        checkpoint.check_fit(module, state, what=f"'{head}' of the objective {name}")
        module.load_state_dict(state)
    return objective


def pretext_loss_fn(
    objective: Objective, examples: Windows | Tensor, batch_size: int, device: torch.device, weight: float
) -> Callable[[], Tensor]:
    """Return a function that gives the objective's weighted loss on a new random batch of these windows."""
    get_batch = batch_getter(examples, device)

    def loss() -> Tensor:
        rows = torch.randperm(len(examples))[:batch_size]
        no_subject = torch.zeros(len(rows), dtype=torch.long, device=device)
        losses = objective(Batch(get_batch(rows), no_subject, {}, {}))
        return weight * torch.stack(list(losses.values())).sum()

    return loss
