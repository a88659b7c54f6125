"""Fixtures shared by all tests. Shapes in signatures are checked while tests run (jaxtyping + beartype)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs in several processes; results do not depend on it

from jaxtyping import install_import_hook

HOOK = install_import_hook("otolith", "typechecker.check")

import importlib.util
from pathlib import Path

import pytest
import torch

from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.datasets.load import load_dataset

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The synthetic corpus, prepared once: 6 people, 3 classes, 6 channels, 20 s a recording."""
    synthetic = DATASETS["synthetic"]
    return prepare(
        synthetic.read(None),
        tmp_path_factory.mktemp("data") / "synthetic",
        dataset="synthetic",
        labels=synthetic.classes,
    )


@pytest.fixture(scope="session")
def windows(store: Store) -> Windows:
    """Labelled windows of 2 s, half overlapping, all six channels."""
    return cut(store)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpora that need no download, prepared: spar (in the extra `demo`) and synthetic."""
    if importlib.util.find_spec("seglearn") is None:
        pytest.skip("the extra 'demo' is not installed")
    folder = tmp_path_factory.mktemp("corpora")
    for name in ("spar", "synthetic"):
        load_dataset(name, folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real, official files, where it stands next to the checkout; tests that need it skip elsewhere."""
    if not SHARED.is_dir():
        pytest.skip("no folder with real recordings next to the checkout (shared/data)")
    return SHARED
