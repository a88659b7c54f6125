"""Non-wear: made rest is found to its quarter hours, and worn hours are not."""

import numpy as np
import pytest

from otolith.data.nonwear import NonWear, nonwear

RATE = 4.0


def day(
    hours: float, rest: list[tuple[float, float]], noise: float = 0.003, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Motion of a wrist, with rest on a table between hours."""
    rng = np.random.default_rng(seed)
    steps = int(hours * 3600 * RATE)
    signal = np.array([0, 0.6, 0.8]) + rng.normal(0, 0.15, (steps, 3))
    for start, stop in rest:
        rows = slice(int(start * 3600 * RATE), int(stop * 3600 * RATE))
        signal[rows] = np.array([0, 0, 1]) + rng.normal(0, noise, signal[rows].shape)
    return np.arange(steps) / RATE, signal.astype(np.float32)


def hours(found: list[NonWear]) -> list[tuple[float, float]]:
    return [(start / 3600, stop / 3600) for start, stop in found]


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.0109])
@pytest.mark.parametrize("rest", [[(2, 4)], [(0, 1)], [(23, 24)], [(3, 6.5), (9.25, 10.25), (15, 23)], [(0, 24)], []])
def test_rest_on_quarter_hours_is_found_exactly(noise: float, rest: list[tuple[float, float]]) -> None:
    assert hours(nonwear(*day(24, rest, noise), RATE)) == rest


@pytest.mark.parametrize("seed", range(8))
def test_rest_at_any_time_is_found_to_its_quarter_hours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 10)
    stop = start + rng.uniform(1.5, 10)
    ((found_start, found_stop),) = hours(nonwear(*day(24, [(start, stop)], seed=seed), RATE))
    assert 0 <= found_start - start < 0.25 and 0 <= stop - found_stop < 0.25


def test_shorter_rest_than_an_hour_is_worn() -> None:
    assert nonwear(*day(12, [(1, 1.9), (4, 4.75)]), RATE) == []


@pytest.mark.parametrize(("axes", "off"), [(1, False), (2, True), (3, True)])
def test_two_still_axes_are_enough(axes: int, off: bool) -> None:
    time_s, signal = day(6, [])
    signal[:, :axes] = 0.1
    assert hours(nonwear(time_s, signal, RATE)) == ([(0, 6)] if off else [])


def test_one_short_movement_ends_non_wear() -> None:
    """A sleeper who moves once an hour has a small deviation, but a wide range."""
    time_s, signal = day(12, [(0, 12)])
    for row in range(0, len(signal), int(3000 * RATE)):
        signal[row : row + 8, :2] += 0.3
    assert nonwear(time_s, signal, RATE) == []
    assert nonwear(time_s, signal, RATE, range_g=1.0) != []


def test_the_papers_range_never_finds_noisy_devices() -> None:
    time_s, signal = day(12, [(2, 10)], noise=0.0109)
    assert nonwear(time_s, signal, RATE, range_g=0.05) == [] and hours(nonwear(time_s, signal, RATE)) == [(2, 10)]


def test_missing_rows_are_not_judged() -> None:
    time_s, signal = day(12, [(2, 10)])
    keep = (time_s < 4 * 3600) | (time_s >= 7 * 3600)
    assert hours(nonwear(time_s[keep], signal[keep], RATE)) == [(2, 4), (7, 10)]
    sparse = np.arange(len(time_s)) % 2 == 0
    assert nonwear(time_s[sparse], signal[sparse], RATE) == []


def test_short_wear_between_non_wear_is_kept_unless_asked_for() -> None:
    time_s, signal = day(24, [(0, 8), (10, 20)])
    assert hours(nonwear(time_s, signal, RATE)) == [(0, 8), (10, 20)]
    assert hours(nonwear(time_s, signal, RATE, reclassify=True)) == [(0, 20)]  # 2 h, 11 % of 18 h


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ([(0, 2), (4.5, 6)], [(0, 6)]),  # 2.5 h of 3.5 h: 71 %
        ([(0, 1.5), (4.25, 6)], [(0, 1.5), (4.25, 6)]),  # 2.75 h of 3.25 h: 85 %
        ([(0, 9), (14, 23)], [(0, 23)]),  # 5 h of 18 h: 28 %
        ([(0, 8), (13, 21)], [(0, 8), (13, 21)]),  # 5 h of 16 h: 31 %
        ([(0, 11), (17, 23)], [(0, 11), (17, 23)]),  # 6 h
    ],
)
def test_the_rule_of_short_wear(rest: list[tuple[float, float]], found: list[tuple[float, float]]) -> None:
    assert hours(nonwear(*day(24, rest), RATE, reclassify=True)) == found


@pytest.mark.parametrize("steps", [0, 1, 1000, int(3599 * RATE)])
def test_recordings_shorter_than_a_window_have_none(steps: int) -> None:
    time_s, signal = day(1, [(0, 1)])
    assert nonwear(time_s[:steps], signal[:steps], RATE) == []


def test_times_keep_their_clock() -> None:
    time_s, signal = day(6, [(1, 3)])
    ((start, stop),) = nonwear(time_s + 1_709_634_030.5, signal, RATE)
    assert (start, stop) == (1_709_634_030.5 + 3600, 1_709_634_030.5 + 3 * 3600)
