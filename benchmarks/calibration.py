"""Gravity calibration and non-wear detection against known truth, and against scikit-digital-health where it is installed.

The recording is a real one (NHANES wrist, 80 Hz, 75 min), repeated to days; a few hours are replaced by made rest:
gravity in several directions and noise of 3 mg, in the recording's steps of 2 mg. Then a known error of scale and offset
is added.

scikit-digital-health brings a dozen packages, so it has an environment of its own:

    python -m venv skdh && skdh/bin/pip install scikit-digital-health
    PYTHONPATH=src skdh/bin/python benchmarks/calibration.py PATH/TO/nhanes-wrist-sample/sample.csv.gz
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np

from otolith.data.block_statistics import block_statistics
from otolith.data.calibration import Calibration, calibrate
from otolith.data.nonwear import nonwear

try:
    from skdh.preprocessing import AccelThresholdWearDetection, CalibrateAccelerometer
except ImportError:
    CalibrateAccelerometer = AccelThresholdWearDetection = None

RATE = 80.0
DIRECTIONS = np.vstack([np.eye(3), -np.eye(3), [[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]])
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
STEP = 0.002
SCALE, OFFSET, SLOPE = np.array([1.02, 0.97, 1.035]), np.array([0.03, -0.045, 0.02]), np.array([0.001, -0.002, 0.0015])


def sample(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2, 3), dtype=np.float32)


def levelled(signal: np.ndarray) -> np.ndarray:
    """The recording divided by its median magnitude at rest (1.028 g), so that its own error does not blur the truth."""
    found = block_statistics(np.arange(len(signal)) / RATE, signal, 10.0)
    still = (found.deviations < 0.013).all(axis=1)
    return signal / np.float32(np.median(np.linalg.norm(found.means[still], axis=1)))


def days(
    signal: np.ndarray, hours: int, rest: list[tuple[float, float]], noise_g: float = 0.003, turn: bool = True
) -> np.ndarray:
    """The recording repeated to some hours, with rest from hour to hour: on a table, or turned every 20 min."""
    rng = np.random.default_rng(0)
    total = int(hours * 3600 * RATE)
    out = np.tile(signal, (-(-total // len(signal)), 1))[:total].copy()
    number = 0
    for start, stop in rest:
        first, last = int(start * 3600 * RATE), int(stop * 3600 * RATE)
        out[first:last] = rng.normal(0, noise_g, (last - first, 3))
        for row in range(first, last, int(1200 * RATE)):
            out[row : min(row + int(1200 * RATE), last)] += DIRECTIONS[number % len(DIRECTIONS)].astype(np.float32)
            number += turn
        out[first:last] = np.round(out[first:last] / STEP) * STEP
    return out


def calibration(signal: np.ndarray) -> None:
    print("## Calibration\n")
    print("| case | by | windows | error before, mg | after, mg | largest error of scale | of offset, mg | s |")
    print("|---|---|---|---|---|---|---|---|")
    mixed = days(signal, 24, [(2, 5.5)])
    restless = signal + np.random.default_rng(1).normal(0, 0.02, signal.shape).astype(np.float32)
    truth = days(restless, 24, [(2, 5.5)])  # only made rest counts, whose truth is exact
    clock = np.arange(len(truth)) / RATE
    wrong = truth / SCALE.astype(np.float32) - OFFSET.astype(np.float32)
    warm = 25 + 5 * np.sin(clock / 20_000)
    at_rest = warm[int(2 * 3600 * RATE) : int(5.5 * 3600 * RATE)].mean()
    drift = wrong - (((warm - at_rest)[:, None] * SLOPE) / SCALE).astype(np.float32)
    rested = mixed / SCALE.astype(np.float32) - OFFSET.astype(np.float32)
    cases = [
        ("truth as it is", truth, None),
        ("scale and offset", wrong, None),
        ("and drift with temperature", drift, warm),
        ("scale and offset, with the recording's own rest", rested, None),
    ]
    for name, given, heat in cases:
        wanted = (SCALE, OFFSET) if given is not truth else (np.ones(3), np.zeros(3))
        started = time.perf_counter()
        found = calibrate(clock, given, RATE, heat)
        taken = time.perf_counter() - started
        row(name, "Otolith", found, wanted, taken)
        if CalibrateAccelerometer is None:
            continue
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            also = {} if heat is None else {"temperature": heat}
            other = CalibrateAccelerometer(min_hours=12).predict(
                time=clock, accel=given.astype(np.float64), fs=RATE, apply=False, **also
            )
        taken = time.perf_counter() - started
        theirs = Calibration(tuple(other["scale"]), tuple(other["offset"]))
        row(name, "scikit-digital-health", theirs, wanted, taken)
        gap = (
            np.abs(np.subtract(found.scale, theirs.scale)).max(),
            np.abs(np.subtract(found.offset, theirs.offset)).max(),
        )
        print(f"| | difference | | | | {gap[0]:.1e} | {1000 * gap[1]:.3f} | |")
    moving = calibrate(clock, days(signal, 24, []), RATE)
    print(f"\nwithout made rest: {moving}")
    one = calibrate(clock, days(signal, 24, [(2, 8)], turn=False), RATE)
    print(f"with rest in one direction: {one}\n")


def row(case: str, by: str, found: Calibration, wanted: tuple[np.ndarray, np.ndarray], seconds: float) -> None:
    scale, offset = (np.abs(np.subtract(*pair)).max() for pair in zip((found.scale, found.offset), wanted, strict=True))
    errors = (f"{1000 * value:.2f}" if value == value else "" for value in (found.error_before_g, found.error_after_g))
    numbers = f"{' | '.join(errors)} | {scale:.1e} | {1000 * offset:.3f} | {seconds:.2f}"
    print(f"| {case} | {by} | {found.windows or ''} | {numbers} |")


def non_wear(signal: np.ndarray) -> None:
    print("## Non-wear\n")
    print("A day of 24 h, in minutes\n")
    print("| noise at rest, mg | threshold of range | by | found | missed | wrong | s |")
    print("|---|---|---|---|---|---|---|")
    rest = [(1.1, 6.4), (9, 10.2), (13.5, 14.2), (17, 23.3)]
    clock = np.arange(int(24 * 3600 * RATE)) / RATE
    made = np.zeros(len(clock), bool)
    for start, stop in rest:
        made[int(start * 3600 * RATE) : int(stop * 3600 * RATE)] = True
    for level in (0.003, 0.0109):
        day = days(signal, 24, rest, level, turn=False)
        for range_g in (0.05, 0.15):
            for name, reclassify in (("Otolith", False), ("Otolith, reclassified", True)):
                started = time.perf_counter()
                found = np.zeros(len(clock), bool)
                for start, stop in nonwear(clock, day, RATE, range_g=range_g, reclassify=reclassify):
                    found[int(start * RATE) : int(stop * RATE)] = True
                report(name, level, range_g, found, made, time.perf_counter() - started)
            if AccelThresholdWearDetection is None:
                continue
            started = time.perf_counter()
            worn = AccelThresholdWearDetection(sd_crit=0.013, range_crit=range_g, apply_setup_criteria=False).predict(
                time=clock, accel=day.astype(np.float64), fs=RATE
            )["wear"]
            found = np.ones(len(clock), bool)
            for start, stop in worn:
                found[int(start) : int(stop) + 1] = False
            report("scikit-digital-health", level, range_g, found, made, time.perf_counter() - started)
    week = np.tile(days(signal, 24, rest, turn=False), (7, 1))
    clock = np.arange(len(week)) / RATE
    started = time.perf_counter()
    stretches = nonwear(clock, week, RATE)
    print(f"\na week at {RATE:g} Hz: {time.perf_counter() - started:.1f} s, {len(stretches)} stretches")


def report(by: str, level: float, range_g: float, found: np.ndarray, made: np.ndarray, seconds: float) -> None:
    per = 60 * RATE
    print(
        f"| {1000 * level:.1f} | {1000 * range_g:.0f} mg | {by} | {found.sum() / per:.0f} of {made.sum() / per:.0f} | "
        f"{(made & ~found).sum() / per:.0f} | {(found & ~made).sum() / per:.0f} | {seconds:.2f} |"
    )


if __name__ == "__main__":
    recorded = levelled(sample(Path(sys.argv[1])))
    calibration(recorded)
    non_wear(recorded)
