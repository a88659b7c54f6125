"""The forest's features are the numbers they are said to be, and the forest learns from them."""

import cmath
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from otolith.baseline import ForestClassifier, simple_features
from otolith.windows import Windows


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


def test_the_forest_beats_chance_on_people_it_has_not_seen(windows: Windows) -> None:
    train, test = windows.of(["1", "2", "3", "4"])[::3], windows.of(["5", "6"])[::3]
    assert ForestClassifier(trees=30).fit(train).score(test, test.y) > 0.6  # chance is a third


def test_windows_arrays_and_tensors_are_the_same_to_it(windows: Windows) -> None:
    some = windows[::9]
    x, words = some.array(), np.array(["slow", "medium", "fast"])[some.y]
    forest = ForestClassifier(trees=5).fit(some)
    probabilities = forest.predict_proba(some)
    assert probabilities.shape == (len(some), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    for examples in (x, x.numpy()):
        other = ForestClassifier(trees=5).fit(examples, some.y)
        assert np.array_equal(other.predict_proba(examples), probabilities)
    named = ForestClassifier(trees=5).fit(x, words)
    assert named.classes_.tolist() == ["fast", "medium", "slow"]
    assert set(named.predict(x)) <= set(words)


def test_same_seed_same_forest(windows: Windows) -> None:
    some, before = windows[::9], np.random.get_state()[1].tolist()  # noqa: NPY002 - the caller's global state
    one = ForestClassifier(trees=5, seed=1).fit(some)
    assert np.array_equal(one.predict_proba(some), clone(one).fit(some).predict_proba(some))
    other = ForestClassifier(trees=5, seed=2).fit(some)
    assert not np.array_equal(one.predict_proba(some), other.predict_proba(some))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_what_cannot_be_learnt_from_is_refused(windows: Windows) -> None:
    with pytest.raises(ValueError, match="no labels"):
        ForestClassifier().fit(windows.unlabelled())
    with pytest.raises(ValueError, match="no labels"):
        ForestClassifier().fit(torch.zeros(4, 3, 50))
    with pytest.raises(NotFittedError):
        ForestClassifier().predict(windows[:2])
