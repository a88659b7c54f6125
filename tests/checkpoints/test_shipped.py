"""The encoder that ships can be used, says what it was learnt from, and may be published."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from otolith.checkpoints import checkpoint, shipped
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.store import Store
from otolith.datasets import DATASETS
from otolith.experiments.recipe import load


def test_the_shipped_encoder_takes_two_seconds_of_acceleration_at_50_hz(store: Store) -> None:
    loaded = checkpoint.load()
    assert loaded.sha256 == checkpoint.load("shipped").sha256
    windows = cut(store, channels="acc")
    assert loaded.signal.difference(windows.contract) == ""
    features = embed(loaded.encoder, windows)
    assert features.shape == (len(windows), loaded.encoder.dim) and bool(torch.isfinite(features).all())
    assert loaded.signal.difference(cut(store).contract)  # with a gyroscope


def test_a_classifier_takes_it_by_name(store: Store) -> None:
    windows = cut(store, channels="acc")
    train, _, test = windows.split_by_subject(folds=3, validation=0.0)[0]
    model = TransferClassifier("shipped").fit(train.few_shot(10, seed=0), unlabelled=train)
    assert model.score(test) > 0.8
    assert model.about_["objective"] == "gravity_aware"


def test_it_is_small_and_was_learnt_from_what_its_recipe_names() -> None:
    assert (shipped.WEIGHTS / "encoder.safetensors").stat().st_size < 1.5e6
    about, recipe = checkpoint.load().about, load("release-encoder")
    assert about["pretrained_on"] == "+".join(recipe.pretrain_on)
    assert {name.split(":")[0] for name in about["subjects"]} == set(recipe.pretrain_on)
    assert not about["made_by"]["commit"].endswith("+")


def test_every_corpus_behind_it_may_be_published_and_is_credited() -> None:
    about = checkpoint.load().about
    assert [entry["title"] for entry in about["data"]] == [
        DATASETS[n].title for n in load("release-encoder").pretrain_on
    ]
    assert {entry["licence"] for entry in about["data"]} == {"MIT", "BSD-3-Clause", "CC BY 4.0"}
    assert all(entry["cite"] and entry["origin"] for entry in about["data"])


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.locate("shipped") == shipped.WEIGHTS / "encoder.safetensors"
    assert shipped.locate(tmp_path / "shipped") == tmp_path / "shipped"
    shutil.copy(shipped.WEIGHTS / "encoder.safetensors", "shipped")
    assert shipped.locate("shipped") == Path("shipped")
    np.testing.assert_equal(
        checkpoint.load("shipped").sha256, checkpoint.load(shipped.WEIGHTS / "encoder.safetensors").sha256
    )
