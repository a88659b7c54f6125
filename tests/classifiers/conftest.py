"""Fixtures of the classifiers' tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import encoder
from torch.optim.optimizer import register_optimizer_step_pre_hook

from otolith.checkpoints import checkpoint
from otolith.data.windows import Windows


@pytest.fixture(scope="module")
def train(windows: Windows) -> Windows:
    """45 windows of three subjects, 15 per class."""
    chosen = windows.for_subjects(["1", "2", "3"])
    return chosen[np.concatenate([np.flatnonzero(chosen.y == label)[::4][:15] for label in range(3)])]


@pytest.fixture(scope="module")
def held(windows: Windows) -> Windows:
    return windows.for_subjects(["4"])[::3]


@pytest.fixture(scope="module")
def test(windows: Windows) -> Windows:
    return windows.for_subjects(["5", "6"])[::5]


@pytest.fixture(scope="module")
def examples(train: Windows) -> tuple[np.ndarray, np.ndarray]:
    """An array and its labels as names, whose alphabetical order is not that of their numbers."""
    return train.array().numpy(), np.array(["sitting", "jogging", "walking"])[train.y]


@pytest.fixture(scope="module")
def pretrained(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an encoder, as pretraining leaves it."""
    path = tmp_path_factory.mktemp("pretrained") / "encoder.safetensors"
    checkpoint.save(path, encoder(), windows.contract, about={"objective": "none", "subjects": ["synthetic:1"]})
    return path


@pytest.fixture
def rates() -> Iterator[list[list[float]]]:
    """The learning rates of the parameter groups in each optimisation step of the test."""
    found: list[list[float]] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        found.append([group["lr"] for group in optimizer.param_groups])

    hook = register_optimizer_step_pre_hook(record)
    yield found
    hook.remove()
