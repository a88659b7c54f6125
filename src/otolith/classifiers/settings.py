"""Settings of how a classifier is trained by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from otolith.data.augment import check_transforms
from otolith.data.conversion import check_number


def arguments_of(settings: BaseEstimator) -> dict[str, Any]:
    """Return all constructor arguments of a scikit-learn object as JSON-able values, defaults included."""
    return {name: _plain(value) for name, value in settings.get_params(deep=False).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseEstimator):
        return arguments_of(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected {', '.join(choices[:-1])} or {choices[-1]}")


class FineTuning(BaseEstimator):
    """Settings between frozen and fully fine-tuned; used in the modes that train the encoder (`finetune`, `scratch`).

    Args:
        encoder_lr: learning rate of the encoder, and of the projection of `TextHead`, which was pretrained with it;
            None: the learning rate of `Training`.
        layer_decay: factor on the encoder's learning rate from each of its blocks to the block before (Howard and Ruder,
            ACL 2018).
        trained_blocks: number of the encoder's blocks that are trained, counted from the output; None: all.
        probe_epochs: epochs in which `MLPHead` is trained alone on features of the encoder as it was given, before the
            encoder is trained too (linear probe, then fine-tuning: Kumar et al., ICLR 2022, where the head is linear).
            Other heads start from a solution already and ignore it.
        auxiliary_objective_weight: weight of the pretraining objective's loss, which is added to the cross-entropy; 0:
            not added. It needs a checkpoint, whose objective is continued with its own heads, and draws a batch of the
            unlabelled windows in each step.
    """

    def __init__(
        self,
        encoder_lr: float | None = None,
        layer_decay: float = 1.0,
        trained_blocks: int | None = None,
        probe_epochs: int = 0,
        auxiliary_objective_weight: float = 0.0,
    ) -> None:
        self.encoder_lr = encoder_lr
        self.layer_decay = layer_decay
        self.trained_blocks = trained_blocks
        self.probe_epochs = probe_epochs
        self.auxiliary_objective_weight = auxiliary_objective_weight

    def check(self) -> None:
        """Raise ValueError if a setting is invalid."""
        if self.encoder_lr is not None:
            check_number("encoder_lr", self.encoder_lr, least=0)
        check_number("layer_decay", self.layer_decay, above=0, most=1)
        if self.trained_blocks is not None:  # the mode frozen trains none
            check_number("trained_blocks", self.trained_blocks, least=1, whole=True)
        check_number("probe_epochs", self.probe_epochs, least=0, whole=True)
        check_number("auxiliary_objective_weight", self.auxiliary_objective_weight, least=0)


_FINE_TUNING = FineTuning()


class Training(BaseEstimator):
    """Settings of training by gradient descent, with cross-entropy as the loss.

    The defaults are those of Fortes Rey et al. 2023 (arXiv 2307.01168): Adam with a learning rate of 1e-3, batches of 256
    windows, 50 epochs, the weights with the lowest validation loss. Two deliberate differences: their patience was not
    published, and here the whole budget is spent by default, because the running averages of batch normalisation need some
    tens of steps; and `steps` sets the budget in optimisation steps, because 50 epochs of 14 windows are only 50 steps.
    The published settings of PRIMUS are `optimizer="adamw"`, `schedule="warmup-cosine"`, `monitor="accuracy"`, and 1e-4
    for the learning rate and the weight decay.

    Args:
        lr: learning rate; the highest one where `schedule` changes it.
        weight_decay: of Adam (added to the gradient) or of AdamW (subtracted from the weights).
        optimizer: `adam` or `adamw`.
        schedule: of the learning rate: `constant`, or `warmup-cosine`: linear over the first max(T / 100, 10) of T steps,
            then a cosine down to 0.
        monitor: which weights are kept: those with the lowest validation `loss`, or with the highest validation
            `accuracy` (the earliest if several are equal). Without validation windows the last weights are kept.
        epochs: budget in epochs, used if `steps` is None.
        steps: budget in optimisation steps; windows are shuffled again whenever all have been used.
        batch_size: windows per step.
        patience: stop after this many checks without a better validation loss (or accuracy); None: never stop early.
            Checks are made after every epoch, or 20 times within a budget in steps.
        augmentations: applied to the training windows where the encoder is trained; see `otolith.data.augment.augment`.
        precision: of training, as Lightning Fabric names it; `bf16-mixed` is faster on most GPUs and on CPUs with bfloat16
            support. Predictions and frozen features are always computed in 32 bits.
        finetuning: what is trained of the encoder, and how fast.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Literal["adam", "adamw"] = "adam",
        schedule: Literal["constant", "warmup-cosine"] = "constant",
        monitor: Literal["loss", "accuracy"] = "loss",
        epochs: int = 50,
        steps: int | None = None,
        batch_size: int = 256,
        patience: int | None = None,
        augmentations: Sequence[Mapping[str, Any]] = (),
        precision: Literal["32-true", "bf16-mixed"] = "32-true",
        finetuning: FineTuning = _FINE_TUNING,
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.monitor = monitor
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.patience = patience
        self.augmentations = augmentations
        self.precision = precision
        # A copy of the default, so that set_params of one object changes no other; scikit-learn's clone passes objects of
        # its own, which must be kept as they are.
        self.finetuning = clone(finetuning) if finetuning is _FINE_TUNING else finetuning

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Training:
        """Build from (some of) the arguments as `arguments` returns them and recipes write them."""
        given = dict(arguments)
        if "finetuning" in given:
            given["finetuning"] = FineTuning(**given["finetuning"])
        return cls(**given)

    def arguments(self) -> dict[str, Any]:
        """Return all arguments as JSON-able values."""
        return arguments_of(self)

    def check(self) -> None:
        """Raise ValueError if a setting is invalid."""
        check_choice("optimizer", self.optimizer, ("adam", "adamw"))
        check_choice("schedule", self.schedule, ("constant", "warmup-cosine"))
        check_choice("monitor", self.monitor, ("loss", "accuracy"))
        check_choice("precision", self.precision, ("32-true", "bf16-mixed"))
        check_transforms(self.augmentations)
        check_number("lr", self.lr, above=0)
        check_number("weight_decay", self.weight_decay, least=0)
        check_number("epochs", self.epochs, least=0, whole=True)  # 0: the head as it starts, such as the logistic one
        check_number("batch_size", self.batch_size, least=2, whole=True)  # batch normalisation needs two
        if self.steps is not None:
            check_number("steps", self.steps, least=0, whole=True)
        if self.patience is not None:
            check_number("patience", self.patience, least=1, whole=True)
        self.finetuning.check()
