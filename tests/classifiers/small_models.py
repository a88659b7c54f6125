"""Small classifiers and encoders that the tests of this folder share."""

from typing import Any

import torch
from torch import Tensor, nn

from otolith.classifiers.heads import Head, LogisticHead, MLPHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.encoders import Encoder, Strided

MLP, PLAIN_HEAD = MLPHead(hidden=(16, 8)), LogisticHead(**PLAIN)
HEADS: dict[str, Head] = {"mlp": MLP, "plain": PLAIN_HEAD, "few-shot": LogisticHead()}
SMALL: dict[str, Any] = {"batch_size": 16, "steps": 4}


def small(**others: Any) -> Training:
    """A training of four steps, with other settings; those of `FineTuning` by their names too."""
    tuning = {name: others.pop(name) for name in list(others) if name in FineTuning().get_params()}
    return Training(**{**SMALL, **others}, finetuning=FineTuning(**tuning))


def finetuned(given: Any, **others: Any) -> TransferClassifier:
    """A small MLP that is fine-tuned, with another first layer or other settings of the training."""
    first_layer = others.pop("first_layer", "pretrained")
    return TransferClassifier(given, MLP, mode="finetune", training=small(**others), first_layer=first_layer)


def whitened(**others: Any) -> LogisticHead:
    """A logistic head that whitens and does nothing else."""
    return LogisticHead(**{**PLAIN, "whiten": 0.1, "subject_weight": 0.0, "self_training_rounds": 0, **others})


class Normalised(Encoder):
    """Has everything that a forward pass in train mode changes: buffers of BatchNorm, and dropout."""

    def __init__(self, channels: int, mean: Any = None, std: Any = None) -> None:
        super().__init__(channels, mean, std)
        self.layers = nn.Sequential(nn.Conv1d(channels, self.dim, 9, 8), nn.BatchNorm1d(self.dim), nn.Dropout(0.3))

    def features(self, x: Tensor) -> Tensor:
        return self.layers(self.standardise(x)).transpose(1, 2)

    def pool(self, features: Tensor) -> Tensor:
        return features.amax(dim=1)

    def blocks(self) -> list[nn.Module]:
        return [self.layers]


class Recorded(Strided):
    """Keeps whether each batch was in train mode, its size and its type."""

    def features(self, x: Tensor) -> Tensor:
        found = super().features(x)
        self.batches = [*getattr(self, "batches", ()), (self.training, len(x), found.dtype)]
        return found


def encoder(kind: type[Encoder] = Strided, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return kind(6)


def bits(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, also those that are not saved."""
    return {name: value.clone() for name, value in [*module.named_parameters(), *module.named_buffers()]}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
