"""How long activities last: estimated from sequences of labels, and used to smooth."""

import dataclasses
import itertools

import numpy as np
import pytest

from otolith.classifiers import bouts
from otolith.classifiers.bouts import BOUT_S, Bouts, evidence, posterior
from otolith.data.windows import Windows


def sequence(labels: str, start_s: list[float] | None = None, recording: list[int] | None = None) -> Windows:
    """Windows of 2 s, a second apart, with one label a letter."""
    names = tuple(sorted(set(labels)))
    windows = Windows.from_arrays(
        np.zeros((len(labels), 3, 100), np.float32),
        rate_hz=50,
        channels="acc",
        subjects=["1"] * len(labels),
        y=[names.index(letter) for letter in labels],
        label_names=names,
        recordings=recording or [0] * len(labels),
        start_s=start_s or [float(k) for k in range(len(labels))],
    )
    return dataclasses.replace(windows, label_names=names)


def test_rates_are_transitions_by_time_with_the_prior() -> None:
    found = Bouts.fitted(sequence("aaabbba"), 1.0)
    # a: 3 s before the change and 2 s at the end; b: 3 s
    np.testing.assert_allclose(found.rates.numpy(), [[0, 2 / (5 + BOUT_S)], [2 / (3 + BOUT_S), 0]])


def test_spans_apart_say_how_long_and_not_what_follows() -> None:
    found = Bouts.fitted(sequence("aabb", start_s=[0.0, 1.0, 60.0, 61.0]), 1.0)
    other = Bouts.fitted(sequence("aabb", recording=[0, 0, 1, 1]), 1.0)
    for one in (found, other):
        np.testing.assert_allclose(one.rates.numpy(), (1 - np.eye(2)) / (3 + BOUT_S))


@pytest.mark.parametrize("unknown", [False, True])
def test_transitions_are_probabilities_for_any_hop(unknown: bool) -> None:
    chain = Bouts.fitted(sequence("aaabbbaccab"), 1.0)
    one, two = (chain.transitions(hop, unknown=unknown) for hop in (1.0, 2.0))
    assert one.shape == (3 + unknown, 3 + unknown) and (one > 0).all()
    np.testing.assert_allclose(one.sum(axis=1), 1)
    np.testing.assert_allclose(one @ one, two)


def test_the_posterior_is_that_of_all_paths() -> None:
    random = np.random.default_rng(0)
    seen, matrix = random.random((5, 3)), random.dirichlet(np.ones(3), size=3)
    expected = np.zeros((5, 3))
    for path in itertools.product(range(3), repeat=5):
        weight = np.prod([seen[k, state] for k, state in enumerate(path)])
        weight *= np.prod([matrix[a, b] for a, b in itertools.pairwise(path)])
        expected[np.arange(5), path] += weight
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior(seen, matrix, lag=10), expected)


def test_a_bounded_lag_sees_no_further() -> None:
    random = np.random.default_rng(0)
    seen, matrix = random.random((40, 3)), random.dirichlet(np.ones(3), size=3)
    whole = posterior(seen, matrix, lag=6)
    np.testing.assert_array_equal(posterior(seen[10 - 6 : 21 + 6], matrix, lag=6)[6:-6], whole[10:21])
    changed = seen.copy()
    changed[30] = 1.0
    differs = (posterior(changed, matrix, lag=6) != whole).any(axis=1)
    assert np.flatnonzero(differs).min() == 24 and np.flatnonzero(differs).max() == 36


def test_smoothing_removes_flicker_and_keeps_changes() -> None:
    probability = np.tile([0.8, 0.2], (60, 1))
    probability[30:] = probability[30:, ::-1]
    probability[[10, 45]] = probability[[10, 45], ::-1]
    chain = Bouts(2)
    seen = evidence(probability, None, beyond_share=0.0)
    found = posterior(seen, chain.transitions(1.0, unknown=False), lag=30).argmax(axis=1)
    np.testing.assert_array_equal(found, np.repeat([0, 1], 30))


def test_what_is_mostly_beyond_is_unknown() -> None:
    probability = np.tile([0.99, 0.01], (60, 1))
    beyond = np.zeros(60, bool)
    beyond[[5, 20]] = True
    beyond[30:] = True
    beyond[50] = False
    chain = Bouts(2)
    seen = evidence(probability, beyond, beyond_share=0.1)
    found = posterior(seen, chain.transitions(1.0, unknown=True), lag=30).argmax(axis=1)
    np.testing.assert_array_equal(found, np.repeat([0, 2], 30))


def test_damaged_states_are_refused() -> None:
    assert bouts.restored({}, 3) is None
    with pytest.raises(ValueError, match="the chain of bouts holds"):
        bouts.restored(Bouts(3).state_dict(), 4)
    negative = {**Bouts(3).state_dict(), "rates": -Bouts(3).rates}
    with pytest.raises(ValueError, match="none negative"):
        bouts.restored(negative, 3)
