"""Statistics of blocks of time: against a loop over the blocks."""

import numpy as np
import pytest

from otolith.data.block_statistics import block_statistics


def recording(
    steps: int, missing: slice | None = None, rate: float = 20.0, start: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(steps)
    time_s, signal = start + np.arange(steps) / rate, rng.normal(size=(steps, 3)).astype(np.float32)
    keep = np.ones(steps, bool)
    if missing is not None:
        keep[missing] = False
    return time_s[keep], signal[keep]


@pytest.mark.parametrize("missing", [None, slice(0, 150), slice(200, 450), slice(333, 334), slice(800, 1000)])
@pytest.mark.parametrize("seconds", [1.0, 7.3, 10.0, 50.0])
@pytest.mark.parametrize("start", [0.0, 1_709_634_030.25])
def test_equal_to_a_loop(missing: slice | None, seconds: float, start: float) -> None:
    time_s, signal = recording(1000, missing, start=start)
    found = block_statistics(time_s, signal, seconds)
    assert len(found.counts) == int((time_s[-1] - time_s[0] + 0.05) / seconds + 1e-6)
    for block, begin in enumerate(found.starts_s):
        assert begin == pytest.approx(time_s[0] + block * seconds, abs=1e-6)
        inside = (time_s > begin - 0.02) & (time_s < begin + seconds - 0.02)
        values = signal[inside].astype(np.float64)
        assert found.counts[block] == inside.sum()
        if not inside.any():
            assert np.isnan(found.means[block]).all() and np.isnan(found.deviations[block]).all()
            continue
        np.testing.assert_allclose(found.means[block], values.mean(axis=0))
        np.testing.assert_allclose(found.deviations[block], values.std(axis=0), atol=1e-7)
        np.testing.assert_allclose(found.lowest[block], values.min(axis=0))
        np.testing.assert_allclose(found.highest[block], values.max(axis=0))


def test_windows_of_several_blocks() -> None:
    time_s, signal = recording(1000, slice(300, 420))
    merged = block_statistics(time_s, signal, 5.0).merged(3)
    assert len(merged.counts) == 8
    for window, begin in enumerate(merged.starts_s):
        values = signal[(time_s > begin - 0.02) & (time_s < begin + 14.98)].astype(np.float64)
        assert merged.counts[window] == len(values)
        np.testing.assert_allclose(merged.deviations[window], values.std(axis=0), atol=1e-7)
        np.testing.assert_allclose(merged.highest[window] - merged.lowest[window], np.ptp(values, axis=0))


@pytest.mark.parametrize("steps", [0, 1, 50])
def test_recordings_shorter_than_a_block_have_none(steps: int) -> None:
    time_s, signal = recording(steps)
    found = block_statistics(time_s, signal, 10.0)
    assert len(found.starts_s) == 0 and found.means.shape == (0, 3)
    assert len(found.merged(4).starts_s) == 0


def test_small_deviations_on_gravity_are_exact() -> None:
    """Sums of squares of values near 1 g lose no digit that matters at 1 mg."""
    rng = np.random.default_rng(0)
    signal = (1 + rng.normal(0, 0.001, (100_000, 3))).astype(np.float32)
    found = block_statistics(np.arange(100_000) / 100, signal, 1000.0)
    np.testing.assert_allclose(found.deviations[0], signal.astype(np.float64).std(axis=0), rtol=1e-6)


def test_passes_of_bounded_size_change_nothing() -> None:
    signal = np.random.default_rng(1).normal(size=(2_500_000, 1)).astype(np.float32)
    found = block_statistics(np.arange(2_500_000) / 100, signal, 900.0)
    np.testing.assert_allclose(found.means[:, 0], signal[:2_430_000].reshape(27, -1).mean(axis=1, dtype=np.float64))


@pytest.mark.parametrize(
    ("time_s", "signal", "why"),
    [
        (np.array([0.0, 1, 3, 2, 4, 5]), np.zeros((6, 3), np.float32), "time goes back"),
        (np.arange(6.0), np.full((6, 3), np.nan, np.float32), "not finite"),
        (np.arange(5.0), np.zeros((6, 3), np.float32), "expected"),
        (np.arange(6.0), np.zeros(6, np.float32), "expected"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(time_s: np.ndarray, signal: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        block_statistics(time_s, signal, 2.0)
