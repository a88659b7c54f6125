"""Resampling in chunks."""

import numpy as np
import pytest

from otolith.data.resample import Resampler, resample

RATES = [(100.0, 50.0), (80.0, 50.0), (64.0, 50.0), (31.25, 50.0), (104.3, 50.0), (25.0, 50.0), (50.0, 50.0)]


def walk(steps: int = 2000) -> np.ndarray:
    random = np.random.default_rng(0)
    return (0.05 * random.normal(size=(steps, 3)).cumsum(axis=0)).astype(np.float32)


@pytest.mark.parametrize(("rate_hz", "to_hz"), RATES)
def test_chunks_give_the_bits_of_the_whole(rate_hz: float, to_hz: float) -> None:
    signal, random = walk(), np.random.default_rng(1)
    one, other = Resampler(rate_hz, to_hz, 3), Resampler(rate_hz, to_hz, 3)
    whole = np.concatenate([one.push(signal), one.close()])
    parts, at = [], 0
    while at < len(signal):
        size = int(random.integers(0, 90))
        parts.append(other.push(signal[at : at + size]))
        at += size
    parts.append(other.close())
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.float32


@pytest.mark.parametrize(("rate_hz", "to_hz"), RATES)
def test_away_from_the_edges_it_is_resample(rate_hz: float, to_hz: float) -> None:
    signal, made = walk(), Resampler(rate_hz, to_hz, 3)
    whole, expected = np.concatenate([made.push(signal), made.close()]), resample(signal, rate_hz, to_hz)
    assert len(whole) == len(expected)
    np.testing.assert_allclose(whole[60:-60], expected[60:-60], atol=1e-5)
    np.testing.assert_allclose(whole, expected, atol=0.05)


def test_values_come_once_no_later_one_reaches_them() -> None:
    made = Resampler(100.0, 50.0, 3)
    given = [len(made.push(walk(100)[k : k + 1])) for k in range(100)]
    assert sum(given) == pytest.approx(50, abs=11) and sum(given) < 50
    assert len(made.close()) == 50 - sum(given)


def test_nothing_becomes_nothing() -> None:
    made = Resampler(100.0, 50.0, 3)
    assert made.push(np.empty((0, 3))).shape == (0, 3) and made.close().shape == (0, 3)
