"""Measure drawing few labelled windows per class (`draw_shots`) from corpora of growing size, against NumPy's permutation.

The drawn windows follow from one random permutation of all windows, which is the floor. Time is processor time, the best of
three rounds. Usage: python benchmarks/draws.py
"""

import time
from collections.abc import Callable

import numpy as np

from otolith.data.splits import draw_shots

SIZES = (250_000, 1_000_000, 4_000_000, 16_000_000)
CLASSES, SHOTS, ROUNDS = 8, 10, 3


def seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    print(f"{CLASSES} classes, {SHOTS} windows per class, best of {ROUNDS} rounds")
    print("| windows | draw_shots, ms | permutation, ms | ratio | ns per window |")
    print("|---|---|---|---|---|")
    for count in SIZES:
        y = np.random.default_rng(0).integers(0, CLASSES, count)
        drawn = seconds(lambda y=y: draw_shots(y, SHOTS, seed=0))
        floor = seconds(lambda count=count: np.random.default_rng(0).permutation(count))
        columns = [f"{count:,}", f"{1e3 * drawn:.1f}", f"{1e3 * floor:.1f}", f"{drawn / floor:.2f}"]
        print(f"| {' | '.join(columns)} | {1e9 * drawn / count:.0f} |", flush=True)


if __name__ == "__main__":
    main()
