"""Cross-modal retrieval: recalls equal a slow count and reach their chance level, and their rows are computed once."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import prompts
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.evaluation.plan import fold_seeds
from otolith.evaluation.recalls import Recall, recalls
from otolith.evaluation.retrieval import retrieval

DIM = 24
ROOT = Path(__file__).parents[2]


def slow_retrieval(query: np.ndarray, key: np.ndarray, k: int) -> tuple[float, float]:
    """Count hits one query at a time, in both directions."""
    q = query / np.linalg.norm(query, axis=1, keepdims=True)
    distinct = np.unique(key, axis=0)
    d = distinct / np.linalg.norm(distinct, axis=1, keepdims=True)
    to_paired = 0
    for row, own in zip(q, key, strict=True):
        order = np.argsort(-(d @ row), kind="stable")[:k]
        to_paired += any((distinct[n] == own).all() for n in order)
    to_imu = 0
    for one, unit in zip(distinct, d, strict=True):
        order = np.argsort(-(q @ unit), kind="stable")[:k]
        to_imu += any((key[n] == one).all() for n in order)
    return to_paired / len(q), to_imu / len(distinct)


def test_recalls_equal_a_slow_count() -> None:
    random = np.random.default_rng(0)
    distinct = random.normal(size=(13, 8)).astype(np.float32)
    key = distinct[random.integers(13, size=60)]
    query = (key + random.normal(scale=1.2, size=key.shape)).astype(np.float32)
    found = retrieval(torch.from_numpy(query), torch.from_numpy(key))
    assert (found.windows, found.keys) == (60, len(np.unique(key, axis=0)))
    for place, k in enumerate((1, 5, 10)):
        both = found.imu_to_paired[place], found.paired_to_imu[place]
        assert both == pytest.approx(slow_retrieval(query, key, k))
        assert found.imu_to_paired_chance[place] == pytest.approx(k / found.keys)
    own = retrieval(torch.from_numpy(key), torch.from_numpy(key))
    assert own.imu_to_paired == own.paired_to_imu == (1.0, 1.0, 1.0)


def test_the_chance_level_is_the_mean_recall_of_random_queries() -> None:
    random = np.random.default_rng(1)
    key = torch.from_numpy(np.eye(9, dtype=np.float32)[random.integers(9, size=40)])
    drawn = [
        retrieval(torch.from_numpy(random.normal(size=(40, 9)).astype(np.float32)), key[random.permutation(40)])
        for _ in range(300)
    ]
    for place in range(3):
        to_paired = np.mean([d.imu_to_paired[place] for d in drawn])
        to_imu = np.mean([d.paired_to_imu[place] for d in drawn])
        assert to_paired == pytest.approx(drawn[0].imu_to_paired_chance[place], abs=0.02)
        assert to_imu == pytest.approx(drawn[0].paired_to_imu_chance[place], abs=0.03)


def test_retrieval_without_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="expected equal shapes with at least one window"):
        retrieval(torch.zeros(0, 3), torch.zeros(0, 3))


@pytest.fixture(scope="module")
def encoder(windows: Windows) -> Strided:
    torch.manual_seed(0)
    return Strided(6, **windows.statistics()).eval()


@pytest.fixture(scope="module")
def heads(encoder: Strided) -> nn.ModuleDict:
    torch.manual_seed(1)
    return nn.ModuleDict({"text": nn.Linear(encoder.dim, DIM), "skeleton": nn.Linear(encoder.dim, 7)})


@pytest.fixture(scope="module")
def with_pairs(windows: Windows, encoder: Strided, heads: nn.ModuleDict) -> Windows:
    """Text: the mean projection of each label's windows. Skeleton: unrelated vectors, of half of the windows."""
    assert windows.y is not None
    label = torch.from_numpy(windows.y)
    with torch.no_grad():
        projected = heads["text"](encoder(windows.array()))
    text = torch.stack([projected[label == number].mean(dim=0) for number in range(3)])[label]
    skeleton = torch.randn(len(windows), 7, generator=torch.Generator().manual_seed(2))
    present = {"text": torch.ones(len(windows), dtype=torch.bool), "skeleton": torch.arange(len(windows)) % 2 == 0}
    return dataclasses.replace(windows, paired={"text": text, "skeleton": skeleton}, present=present)


@pytest.fixture
def save(encoder: Strided, windows: Windows, tmp_path: Path) -> Callable[[dict[str, nn.Module]], Path]:
    """Writes a checkpoint with some heads, which has seen the subjects 1, 2 and 3."""
    about: dict[str, Any] = {"objective": "primus", "subjects": [f"synthetic:{number}" for number in (1, 2, 3)]}

    def write(heads: dict[str, nn.Module]) -> Path:
        path = tmp_path / f"encoder-{len(list(tmp_path.iterdir()))}.safetensors"
        checkpoint.save(path, encoder, windows.contract, about=about, heads=heads)
        return path

    return write


def test_recalls_are_of_held_out_subjects_and_computed_once(
    save: Callable[..., Path], heads: nn.ModuleDict, with_pairs: Windows, tmp_path: Path
) -> None:
    path, folder = save({prompts.HEAD: heads}), tmp_path / "recalls"
    plan = fold_seeds(with_pairs, seeds=(0, 1), fold_seed=0, test=["5", "6"])
    assert list(recalls(with_pairs, plan, lambda _: path, folder=folder, existing_only=True)) == []
    found = list(recalls(with_pairs, plan, lambda _: path, folder=folder))
    assert [recall.modality for recall in found] == ["text", "skeleton"], "seeds share encoder and subjects: once"
    text, skeleton = found
    assert text.n_keys == 3 and text.n_windows == len(with_pairs.for_subjects(["5", "6"]))
    assert text.imu_to_paired_r1 > 0.6 and text.test_subjects == "5 6" and not text.test_seen_in_pretraining
    assert text.paired_to_imu_r10 >= text.paired_to_imu_r1 >= text.paired_to_imu_chance_r1
    assert text.imu_to_paired_chance_r1 == pytest.approx(1 / 3)
    assert skeleton.n_windows < text.n_windows and skeleton.imu_to_paired_r10 < skeleton.imu_to_paired_chance_r10 + 0.2
    assert list(recalls(with_pairs, plan, lambda _: path, folder=folder, existing_only=True)) == found
    assert len(list(folder.iterdir())) == 2


def test_recalls_of_subjects_seen_in_pretraining_are_refused_or_recorded(
    save: Callable[..., Path], heads: nn.ModuleDict, with_pairs: Windows, tmp_path: Path
) -> None:
    path, plan = save({prompts.HEAD: heads}), fold_seeds(with_pairs, seeds=(0,), test=["1", "6"])
    with pytest.raises(ValueError, match=r"was pretrained on test subjects \(synthetic:1\)"):
        list(recalls(with_pairs, plan, lambda _: path, folder=tmp_path / "recalls"))
    allowed = list(recalls(with_pairs, plan, lambda _: path, folder=tmp_path / "recalls", allow_seen=True))
    assert len(allowed) == 2 and all(recall.test_seen_in_pretraining for recall in allowed)


def test_recalls_refuse_what_cannot_be_compared(
    save: Callable[..., Path], heads: nn.ModuleDict, with_pairs: Windows, windows: Windows, tmp_path: Path
) -> None:
    plan, folder = fold_seeds(with_pairs, seeds=(0,), test=["5", "6"]), tmp_path / "recalls"
    with pytest.raises(ValueError, match="no paired embeddings to retrieve; run first: otolith pair"):
        list(recalls(windows, plan, lambda _: save({prompts.HEAD: heads}), folder=folder))
    with pytest.raises(ValueError, match="has no head for text or skeleton; pretrain it with an objective"):
        list(recalls(with_pairs, plan, lambda _: save({}), folder=folder))
    shared = nn.Linear(heads["text"].in_features, DIM)
    with pytest.raises(ValueError, match="the head for skeleton has 24 outputs but the embeddings have 7 dimensions"):
        list(recalls(with_pairs, plan, lambda _: save({prompts.HEAD: shared}), folder=folder))
    absent = {**with_pairs.present, "skeleton": torch.zeros(len(with_pairs), dtype=torch.bool)}
    alone = dataclasses.replace(with_pairs, present=absent)
    with pytest.raises(ValueError, match="no window of the test subjects 5, 6 has an embedding of skeleton"):
        list(recalls(alone, plan, lambda _: save({prompts.HEAD: heads}), folder=folder))


def test_the_committed_recalls_have_the_columns_of_a_recall() -> None:
    columns = list(pd.read_csv(ROOT / "results" / "primus-recalls.csv", nrows=1).columns)
    assert columns == ["setting", "variant", *Recall.__dataclass_fields__]


def test_every_column_of_a_recall_is_documented() -> None:
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert set(Recall.__dataclass_fields__) <= set(re.findall(r"\w+", protocol[protocol.index("## A recall") :]))
