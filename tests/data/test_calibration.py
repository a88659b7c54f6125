"""Calibration by gravity: a known error is found again, and too little rest is refused."""

import re

import numpy as np
import pytest

from otolith.data.calibration import Calibration, calibrate

RATE = 20.0
AXES = np.vstack([np.eye(3), -np.eye(3), np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]) / np.sqrt(3)])


def rest(directions: np.ndarray = AXES, seconds: float = 120, noise: float = 0.003, seed: int = 0) -> np.ndarray:
    """Rest in one direction after the other, with restless turns between."""
    rng = np.random.default_rng(seed)
    parts = []
    for direction in directions:
        parts.append(direction + rng.normal(0, noise, (int(seconds * RATE), 3)))
        parts.append(rng.normal(0, 0.5, (int(15 * RATE), 3)))
    return np.vstack(parts).astype(np.float32)


def clock(signal: np.ndarray) -> np.ndarray:
    return np.arange(len(signal)) / RATE


ERRORS = [
    ((1.02, 0.97, 1.035), (0.03, -0.045, 0.02)),
    ((0.95, 1.05, 1.0), (0.0, 0.0, 0.08)),
    ((1.0, 1.0, 1.0), (0.06, 0.06, -0.06)),
    ((0.9, 0.9, 0.9), (0.0, 0.0, 0.0)),
    ((1.1, 0.92, 1.04), (-0.1, 0.07, 0.05)),
]


@pytest.mark.parametrize(("scale", "offset"), ERRORS)
@pytest.mark.parametrize("noise", [0.0, 0.003, 0.011])
def test_a_known_error_is_found(scale: tuple[float, ...], offset: tuple[float, ...], noise: float) -> None:
    truth = rest(noise=noise)
    wrong = (truth / scale - offset).astype(np.float32)
    found = calibrate(clock(wrong), wrong, RATE)
    assert not found.refused and found.windows > 50
    assert found.scale == pytest.approx(scale, abs=1e-3) and found.offset == pytest.approx(offset, abs=1e-3)
    assert found.error_after_g < 0.001 < found.error_before_g
    np.testing.assert_allclose(found.apply(wrong), truth, atol=0.005)
    assert "calibrated by gravity: error at rest" in str(found)


@pytest.mark.parametrize("slope", [(0.001, -0.002, 0.0015), (0.004, 0.0, 0.0)])
def test_drift_with_temperature_is_found(slope: tuple[float, ...]) -> None:
    truth = np.vstack([rest(seed=seed) for seed in range(3)])
    warm = 25 + 6 * np.sin(clock(truth) / 500)
    scale, offset = ERRORS[0]
    wrong = ((truth - (warm - 25)[:, None] * slope) / scale - offset).astype(np.float32)
    found = calibrate(clock(wrong), wrong, RATE, warm)
    assert found.temperature_slope == pytest.approx(slope, abs=2e-4)
    assert found.error_after_g < 0.001
    np.testing.assert_allclose(found.apply(wrong, warm), truth, atol=0.006)
    without = calibrate(clock(wrong), wrong, RATE)
    assert without.error_after_g > 3 * found.error_after_g
    with pytest.raises(ValueError, match="pass the temperature"):
        found.apply(wrong)


def test_constant_temperature_is_not_used() -> None:
    wrong = (rest() * 1.03).astype(np.float32)
    warm = np.full(len(wrong), 30.0)
    assert calibrate(clock(wrong), wrong, RATE, warm).scale == calibrate(clock(wrong), wrong, RATE).scale


def test_windows_far_from_the_sphere_count_little() -> None:
    scale, offset = ERRORS[0]
    truth = np.vstack([rest(), rest(AXES[:1] * 1.1, seconds=60, seed=1)])  # a lift, or a car in a bend
    wrong = (truth / scale - offset).astype(np.float32)
    found = calibrate(clock(wrong), wrong, RATE)
    assert found.scale == pytest.approx(scale, abs=5e-3) and found.error_after_g < found.error_before_g


def test_gaps_break_no_window() -> None:
    scale, offset = ERRORS[0]
    wrong = (rest() / scale - offset).astype(np.float32)
    keep = np.ones(len(wrong), bool)
    for start in range(100, len(wrong), 1777):
        keep[start : start + 90] = False
    found = calibrate(clock(wrong)[keep], wrong[keep], RATE)
    assert found.scale == pytest.approx(scale, abs=1e-3)
    assert found.windows < calibrate(clock(wrong), wrong, RATE).windows


def test_angular_rate_is_left_alone() -> None:
    wrong = np.hstack([rest() * 1.03, rest(seed=5)]).astype(np.float32)
    found = calibrate(clock(wrong), wrong, RATE)
    corrected = found.apply(wrong)
    np.testing.assert_array_equal(corrected[:, 3:], wrong[:, 3:])
    assert corrected.dtype == np.float32 and not np.array_equal(corrected[:, :3], wrong[:, :3])


@pytest.mark.parametrize(
    ("signal", "why"),
    [
        (rest(AXES[:1], seconds=60), "at least 10 are needed"),
        (np.random.default_rng(0).normal(0, 0.5, (20_000, 3)).astype(np.float32), "0 windows of 10 s at rest"),
        (np.zeros((20_000, 3), np.float32), "0 windows of 10 s at rest"),
        (np.full((20_000, 3), 8, np.float32), "0 windows of 10 s at rest"),
        (np.zeros((0, 3), np.float32), "0 windows"),
        (rest(AXES[:1], seconds=600), "too few orientations"),
        (rest(AXES[:3], seconds=600), "too few orientations"),
        (rest(np.array([[1, 0.2, 0.1], [-1, 0.1, 0.2]]) / np.sqrt(1.05), seconds=600), r"y \+0.10 to \+0.20 g, z"),
        (rest(AXES * np.linspace(0.8, 1.2, len(AXES))[:, None]), "mg after correction"),
    ],
)
def test_too_little_or_strange_rest_is_refused_with_a_reason(signal: np.ndarray, why: str) -> None:
    found = calibrate(clock(signal), signal, RATE)
    assert re.search(why, found.refused), found.refused
    assert found.scale == (1.0, 1.0, 1.0) and found.offset == (0.0, 0.0, 0.0)
    assert found.apply(signal) is signal
    assert str(found).startswith("not calibrated: ")


def test_a_perfect_device_is_left_as_it_is_or_hardly_moved() -> None:
    signal = rest()
    found = calibrate(clock(signal), signal, RATE)
    np.testing.assert_allclose(found.apply(signal), signal, atol=0.002)


def test_the_default_corrects_nothing() -> None:
    signal = rest()
    np.testing.assert_array_equal(Calibration().apply(signal), signal)
