"""What is unknown to a classifier: calibrated on people left out, stored with the model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from otolith.classifiers import rejection
from otolith.classifiers.baselines import ForestClassifier, load_classifier
from otolith.classifiers.bouts import Bouts
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.rejection import FAR, LEAST_WINDOWS, Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.windows import Windows
from otolith.encoders import Strided


def movements(people: int, seed: int, classes: int = 3) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Windows (30 of each person and class) of sinusoids with the class's frequency; classes; people."""
    random = np.random.default_rng(seed)
    y = np.tile(np.repeat(np.arange(classes), 30), people)
    subject = np.repeat(np.arange(people), 30 * classes)
    pace = np.array([0.7, 1.5, 3.0])[y] * (1 + 0.05 * random.normal(size=people)[subject])
    time = np.arange(100) / 50
    waves = np.sin(2 * np.pi * pace[:, None, None] * time + random.uniform(0, 6, (len(y), 3, 1)))
    x = 0.4 * waves + np.array([0, 0, 1.0])[:, None] + 0.02 * random.normal(size=(len(y), 3, 100))
    return torch.from_numpy(x.astype(np.float32)), y, subject


@pytest.fixture(scope="module")
def calibrated() -> Rejection:
    x, y, subject = movements(6, seed=0)
    distance = np.zeros((len(y), 2))
    for person in range(6):
        rows = np.flatnonzero(subject == person)
        others = np.flatnonzero(subject != person)
        distance[rows] = Rejection.fitted(x[others], y[others], 3).distance(x[rows])
    random = np.random.default_rng(0)
    logits = random.normal(size=(len(y), 3))
    logits[np.arange(len(y)), y] += 3
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Rejection.fitted(x, y, 3).calibrate(probability, distance, y, subject)


def test_movements_of_new_people_are_known_and_others_are_not(calibrated: Rejection) -> None:
    sure = np.array([0.98, 0.01, 0.01])
    x, _, _ = movements(4, seed=1)
    own = calibrated.beyond(np.tile(sure, (len(x), 1)), calibrated.distance(x))
    assert own.mean() < 4 * FAR
    random = np.random.default_rng(2)
    for strength in (0.05, 0.3, 1.0):
        noise = torch.from_numpy((strength * random.normal(size=(40, 3, 100))).astype(np.float32))
        noise[:, 2] += 1
        assert calibrated.beyond(np.tile(sure, (40, 1)), calibrated.distance(noise)).all()


def test_an_improbable_label_is_beyond(calibrated: Rejection) -> None:
    x, _, _ = movements(1, seed=3)
    near = calibrated.distance(x).min(axis=0, keepdims=True)
    assert calibrated.beyond(np.array([[0.34, 0.33, 0.33]]), near).all()
    assert not calibrated.beyond(np.array([[0.99, 0.005, 0.005]]), near).any()


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(truth: float) -> None:
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(20_000, 4))
    y = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # drawn with the probabilities of these logits
    sharp = np.exp(truth * logits)
    found = Rejection(4, 64).calibrate(
        sharp / sharp.sum(axis=1, keepdims=True), np.zeros((20_000, 2)), y, np.zeros(20_000, int)
    )
    assert float(found.temperature) == pytest.approx(truth, rel=0.05)


def test_few_windows_calibrate_nothing() -> None:
    count = LEAST_WINDOWS - 1
    with pytest.raises(ValueError, match=f"{count} windows of people left out; {LEAST_WINDOWS} are needed"):
        Rejection(2, 64).calibrate(
            np.full((count, 2), 0.5), np.zeros((count, 2)), np.zeros(count, int), np.zeros(count, int)
        )


@pytest.mark.parametrize("kind", ["encoder", "forest"])
def test_models_keep_what_they_do_not_know(kind: str, windows: Windows, tmp_path: Path) -> None:
    model: TransferClassifier | ForestClassifier = ForestClassifier(trees=5)
    if kind == "encoder":
        model = TransferClassifier(Strided(6, **windows.statistics()), LogisticHead(**PLAIN))
    few = windows[np.arange(0, len(windows), 5)]
    model.fit(few)
    assert model.rejection_ is None and model.bouts_ is None
    model.rejection_ = Rejection.fitted(few.array(), few.y, len(windows.label_names))
    model.bouts_ = Bouts.fitted(few, 1.0)
    path = tmp_path / "model.safetensors"
    model.save(path, label_names=windows.label_names)
    loaded = load_classifier(path)
    for name in ("rejection_", "bouts_"):
        saved, again = getattr(model, name).state_dict(), getattr(loaded, name).state_dict()
        assert saved.keys() == again.keys() and all(torch.equal(saved[key], again[key]) for key in saved)
    np.testing.assert_array_equal(loaded.rejection_.distance(few.array()), model.rejection_.distance(few.array()))


def test_damaged_states_are_refused() -> None:
    assert rejection.restored({}, 3, 64) is None
    state = Rejection(3, 64).state_dict()
    with pytest.raises(ValueError, match="the rejection holds"):
        rejection.restored(state, 4, 64)
    with pytest.raises(ValueError, match="the rejection holds"):
        rejection.restored({name: value for name, value in state.items() if name != "within"}, 3, 64)
