"""Features are the numbers they are said to be, and what every encoder must beat learns from them."""

import cmath
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError

from forging import save_forged
from otolith.apps.label import label_recordings
from otolith.checkpoints import checkpoint
from otolith.classifiers import baselines
from otolith.classifiers.baselines import CLASSICAL, ForestClassifier, SVMClassifier, load_classifier, simple_features
from otolith.classifiers.minirocket import MiniRocketClassifier, MiniRocketFeatures
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.formats import ReadOptions


def slowly(x: np.ndarray) -> list[float]:
    """The 16 numbers of one channel of one window, term by term."""
    time = len(x)
    mean = sum(x) / time
    numbers = [mean, math.sqrt(sum((value - mean) ** 2 for value in x) / time), min(x), max(x)]
    numbers.append(sum(abs(x[t + 1] - x[t]) for t in range(time - 1)) / (time - 1))
    for bin_ in range(11):
        terms = [(x[t] - mean) * cmath.exp(-2j * math.pi * bin_ * t / time) for t in range(time)]
        numbers.append(abs(sum(terms)) / time)
    return numbers


@pytest.mark.parametrize(("channels", "triads"), [(2, 0), (3, 1), (6, 2), (7, 2)])
def test_simple_features_equal_a_slow_loop(channels: int, triads: int) -> None:
    x = np.random.default_rng(0).normal(size=(4, channels, 50)).astype(np.float32)
    features = simple_features(x)
    assert features.shape == (4, 16 * (channels + triads))
    for window, row in zip(x.astype(float), features, strict=True):
        magnitudes = [np.sqrt((window[3 * k : 3 * k + 3] ** 2).sum(axis=0)) for k in range(triads)]
        expected = [number for channel in [*window, *magnitudes] for number in slowly(channel.tolist())]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-6)


def test_the_features_of_magnitude_do_not_turn_with_the_sensor() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 50))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    one, two = simple_features(x), simple_features(np.einsum("ij,bjt->bit", turn, x))
    np.testing.assert_allclose(one[:, 48:], two[:, 48:], atol=1e-6)
    assert not np.allclose(one[:, :48], two[:, :48], atol=1e-2)


SMALL: dict[str, dict] = {name: {} for name in CLASSICAL} | {
    "forest": {"trees": 30},
    "forest-copies": {"trees": 30},
    "minirocket": {"features": 840},
    "hydra": {"groups": 8},
}
every_one = pytest.mark.parametrize(
    "name", [name for name in CLASSICAL if name not in ("minirocket-head", "hydra-head")]
)
# those two differ from statistics-head in their features alone: test_hydra.py


@every_one
def test_it_beats_chance_on_people_it_has_not_seen(name: str, windows: Windows) -> None:
    train, test = windows.for_subjects(["1", "2", "3", "4"])[::3], windows.for_subjects(["5", "6"])[::3]
    assert CLASSICAL[name](**SMALL[name]).fit(train).score(test, test.y) > 0.6  # chance is a third


@every_one
@pytest.mark.parametrize("classes", [2, 3])
def test_predictions_are_the_labels_it_was_given(name: str, classes: int, windows: Windows) -> None:
    some = windows[windows.y < classes][::9]
    words = np.array(["slow", "medium", "fast"])[some.y]
    for examples in (some, some.array(), some.array().numpy()):
        model = CLASSICAL[name](**SMALL[name]).fit(examples, words)
        assert model.classes_.tolist() == sorted(set(words))
        predicted = model.predict(examples)
        assert predicted.shape == (len(some),) and (predicted == words).mean() > 0.9
    numbers = CLASSICAL[name](**SMALL[name]).fit(some).predict(some)
    assert (np.array(["slow", "medium", "fast"])[numbers] == predicted).all()


@every_one
def test_one_window_a_class_is_enough(name: str, windows: Windows) -> None:
    three = windows[[int(np.flatnonzero(windows.y == k)[0]) for k in range(3)]]
    assert CLASSICAL[name](**SMALL[name]).fit(three).predict(windows[:5]).shape == (5,)


def test_the_svm_is_that_of_standardised_features(windows: Windows) -> None:
    some = windows[::9]
    louder = some.array() * 3.0  # features scale with the signal, so that standardised ones stay
    assert np.array_equal(SVMClassifier().fit(louder, some.y).predict(louder), SVMClassifier().fit(some).predict(some))


def minirocket_slowly(model: MiniRocketFeatures, x: np.ndarray) -> list[float]:
    """The features of one window (channels, time), step by step, as the paper has them."""
    time, features = x.shape[1], []
    for place, dilation in enumerate(model.dilations_):
        kernels = [(a, b, c) for a in range(9) for b in range(a + 1, 9) for c in range(b + 1, 9)]
        for number, ones in enumerate(kernels):
            answer = []
            for t in range(time):
                total = 0.0
                for k in range(9):
                    at = t + (k - 4) * dilation
                    if 0 <= at < time:
                        total += (2 if k in ones else -1) * x[model.channels_[place, number], at].sum()
                answer.append(total)
            if (place + number) % 2:
                answer = answer[4 * dilation : time - 4 * dilation]
            features += [sum(a > b for a in answer) / len(answer) for b in model.thresholds_[place][number]]
    return features


@pytest.mark.parametrize(("channels", "time"), [(1, 9), (3, 50), (4, 33)])
def test_minirocket_equals_a_slow_loop(channels: int, time: int) -> None:
    x = np.random.default_rng(0).normal(size=(4, channels, time)).astype(np.float32)
    model = MiniRocketFeatures(features=700, seed=3).fit(x)
    found = model.transform(x)
    assert found.shape == (4, 672) and max(model.dilations_) * 8 <= time - 1
    assert model.channels_.any(axis=2).all() and (channels == 1 or not model.channels_.all())
    differs = np.abs(found[2] - minirocket_slowly(model, x[2].astype(float))) > 1e-6
    assert differs.mean() < 0.002  # rounding may move an answer over its threshold


def test_minirockets_thresholds_are_quantiles_of_training_windows() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3, 100)).astype(np.float32)
    model = MiniRocketFeatures().fit(x)
    shares = model.transform(x).mean(axis=0)
    assert len(shares) == 9996 and model.dilations_ == list(range(1, 13))
    golden = (np.arange(1, 9997) * (np.sqrt(5) + 1) / 2) % 1
    assert np.corrcoef(shares, 1 - golden)[0, 1] > 0.9  # what lies above a quantile


@pytest.mark.parametrize(
    ("time", "features", "message"), [(8, 84, "need at least 9"), (50, 83, "expected at least 84")]
)
def test_minirocket_says_what_it_cannot_do(time: int, features: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiniRocketClassifier(features=features).fit(np.zeros((4, 3, time)), np.array([0, 1, 0, 1]))


def test_minirocket_draws_by_its_seed(windows: Windows) -> None:
    some = windows[::9]
    one, same, other = (MiniRocketFeatures(features=168, seed=seed).fit(some).transform(some) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_windows_arrays_and_tensors_are_the_same_to_it(windows: Windows) -> None:
    some = windows[::9]
    x = some.array()
    forest = ForestClassifier(trees=5).fit(some)
    probabilities = forest.predict_proba(some)
    assert probabilities.shape == (len(some), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    for examples in (x, x.numpy()):
        other = ForestClassifier(trees=5).fit(examples, some.y)
        assert np.array_equal(other.predict_proba(examples), probabilities)


def test_same_seed_same_forest(windows: Windows) -> None:
    some, before = windows[::9], np.random.get_state()[1].tolist()  # noqa: NPY002 - the caller's global state
    one = ForestClassifier(trees=5, seed=1).fit(some)
    assert np.array_equal(one.predict_proba(some), clone(one).fit(some).predict_proba(some))
    other = ForestClassifier(trees=5, seed=2).fit(some)
    assert not np.array_equal(one.predict_proba(some), other.predict_proba(some))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@every_one
def test_what_cannot_be_learnt_from_is_refused(name: str, windows: Windows) -> None:
    with pytest.raises(ValueError, match="no labels"):
        CLASSICAL[name](**SMALL[name]).fit(windows.unlabelled())
    with pytest.raises(ValueError, match="no labels"):
        CLASSICAL[name](**SMALL[name]).fit(torch.zeros(4, 3, 50))
    with pytest.raises(NotFittedError):
        CLASSICAL[name]().predict(windows[:2])


# a forest on disk


@pytest.fixture
def path(windows: Windows, tmp_path: Path) -> Path:
    """A small forest's file; 3 channels of windows of 2 s."""
    file = tmp_path / "forest.safetensors"
    some = windows[::9]
    ForestClassifier(trees=7, seed=3).fit(some).save(file, label_names=some.label_names, about={"who": ["a:1"]})
    return file


def rewrite(path: Path, change: dict[str, Any], **tensors: torch.Tensor | None) -> None:
    """Writes the file again with a changed header, and with tensors exchanged, added or (None) taken away."""
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        header = json.loads(file.metadata()["otolith"])
    for place, value in change.items():
        *parents, key = place.split(".")
        inner = header
        for parent in parents:
            inner = inner[parent]
        inner[key] = value
    kept = {name: value for name, value in {**kept, **tensors}.items() if value is not None}
    save_forged(kept, path, json.dumps(header))


def test_a_forest_comes_back_with_the_same_predictions(path: Path, windows: Windows) -> None:
    some = windows[::9]
    before = ForestClassifier(trees=7, seed=3).fit(some)
    grown = RandomForestClassifier(7, random_state=3).fit(simple_features(some.array().numpy()), some.y)
    for _ in range(2):  # a loaded forest can be saved again
        after = load_classifier(path)
        assert isinstance(after, ForestClassifier) and after.classes_.tolist() == list(some.label_names)
        assert np.array_equal(after.predict_proba(windows), before.predict_proba(windows))
        assert np.array_equal(
            after.predict_proba(windows), grown.predict_proba(simple_features(windows.array().numpy()))
        )
        assert after.predict(windows).tolist() == [some.label_names[k] for k in before.predict(windows)]
        assert after.signal_ == some.contract and after.about_["who"] == ["a:1"]
        assert set(after.about_) == {"who", "scikit-learn", "made_by"}
        after.save(path, about=after.about_)


def test_a_classifier_on_an_encoder_is_still_one(tmp_path: Path, windows: Windows) -> None:
    some = windows[::9]
    model = TransferClassifier(Strided(6, **some.statistics())).fit(some)
    model.save(tmp_path / "model.safetensors", label_names=some.label_names)
    assert isinstance(load_classifier(tmp_path / "model.safetensors"), TransferClassifier)
    with pytest.raises(ValueError, match="holds an encoder and no forest"):
        ForestClassifier.load(tmp_path / "model.safetensors")


def test_a_forest_labels_a_recording(path: Path, windows: Windows, tmp_path: Path) -> None:
    signal = windows[:1].array().numpy()[0].T
    names = ["x", "y", "z", "gx", "gy", "gz"]
    table = pd.DataFrame(np.tile(signal, (5, 1)), columns=names).assign(time=np.arange(500) / 50)
    table.to_csv(tmp_path / "mine.csv", index=False)
    known = ReadOptions(gyro_unit="rad/s", acc_unit="g")
    (labelled,) = label_recordings(load_classifier(path), [tmp_path / "mine.csv"], tmp_path, options=known)
    assert labelled.timeline["end_s"].iloc[-1] == 10 and set(labelled.timeline["label"]) <= set(windows.label_names)


def test_a_forest_is_no_encoder(path: Path) -> None:
    with pytest.raises(ValueError, match=r"it holds a random forest, which has no encoder; name a checkpoint"):
        checkpoint.load(path)


def test_a_forest_of_bare_arrays_or_of_too_many_trees_is_not_saved(windows: Windows, tmp_path: Path) -> None:
    some = windows[::9]
    with pytest.raises(ValueError, match="fit it on Windows"):
        ForestClassifier(trees=2).fit(some.array(), some.y).save(tmp_path / "no.safetensors")
    grown = ForestClassifier(trees=2).fit(some)
    grown.trees = 10_001
    with pytest.raises(ValueError, match="trees is 10001; expected a whole number of at least 1 and at most 10000"):
        grown.save(tmp_path / "no.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_forest_is_refused(share: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        load_classifier(path)


def test_no_forest_is_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "forest.safetensors").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        load_classifier(tmp_path / "forest.safetensors")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_classifier(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "checkpoint format 99"),
        ({"forest": 5}, ""),
        ({"forest.trees": 10**9}, "trees is 1000000000; expected a whole number of at least 1"),
        ({"forest.trees": 0}, "trees is 0"),
        ({"forest.trees": True}, "trees is True"),
        ({"forest.trees": "many"}, "trees is 'many'"),
        ({"forest.seed": -1}, "seed is -1"),
        ({"forest.seed": None}, "seed is None"),
        ({"forest.labels": ["slow", "fast"]}, "it holds .* expected"),
        ({"forest.labels": ["a", "b", "b"]}, "labels a, b, b; expected names that differ"),
        ({"forest.trees": 6}, "it holds .* expected"),
        ({"forest.labels": []}, "labels"),
        ({"forest.labels": None}, ""),
        ({"signal.units": ["g"] * 6}, "units"),
        ({"signal.channels": ["acc_x"], "signal.units": ["g"]}, "its trees lead nowhere"),
        ({"signal.seconds": 0}, "windows of 0.0 s"),
        ({"about": 5}, ""),
    ],
)
def test_a_forests_header_that_cannot_be_used_is_refused(change: dict[str, Any], message: str, path: Path) -> None:
    rewrite(path, change)
    with pytest.raises(ValueError, match=f"the header of .* cannot be used: .*{message}"):
        load_classifier(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"tree.left": None}, "it holds .* expected"),
        ({"tree.share": torch.tensor(1.0)}, "the header of .* cannot be used"),
        ({"tree.root": torch.zeros(7, dtype=torch.int32)}, "its trees lead nowhere"),
        ({"tree.root": torch.zeros(7)}, "it holds .* expected"),
        ({"stray": torch.zeros(1)}, "it holds .* expected"),
        ({"features": torch.zeros(38, 128), "y": torch.zeros(38)}, "an older version, which kept training windows"),
    ],
)
def test_a_forest_of_other_windows_is_refused(tensors: dict[str, Any], message: str, path: Path) -> None:
    rewrite(path, {}, **tensors)
    with pytest.raises(ValueError, match=message):
        load_classifier(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda value: value * 0),  # back to the root: a circle
        ("right", lambda value: value + 10**6),
        ("left", lambda value: value.flip(0)),
        ("feature", lambda value: value + 128),
        ("feature", lambda value: value - 1),
        ("share", lambda value: value + 1),
        ("root", lambda value: value.flip(0)),
    ],
)
def test_trees_that_lead_nowhere_are_refused(name: str, change: Any, path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        value = file.get_tensor(f"tree.{name}")
    rewrite(path, {}, **{f"tree.{name}": change(value)})
    with pytest.raises(ValueError, match="its trees lead nowhere"):
        load_classifier(path)


def test_a_forests_file_holds_no_window(path: Path, windows: Windows) -> None:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert names == {f"tree.{name}" for name in ("root", "left", "right", "feature", "threshold", "share")}


def test_features_of_a_large_corpus_are_computed_in_blocks(train: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simple_features(train.array().numpy())
    monkeypatch.setattr(baselines, "_BLOCK", 7)
    np.testing.assert_array_equal(baselines._features_of(train), whole)
    np.testing.assert_array_equal(baselines._features_of(train.array()), whole)
