"""Simulate how often 95 % intervals of a mean over groups contain it, and measure how skewed differences between people are.

    python benchmarks/intervals.py results/few-shot.csv results/dont-freeze.csv

The second table is of the differences between any two arms of a corpus with at least 16 people, at one number of labelled
windows per class: per person, the mean over seeds of macro F1.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from otolith.evaluation.statistics import mean_interval

DISTRIBUTIONS = {
    "normal": (lambda random, size: random.normal(size=size), 0.0),
    "gamma, shape 4 (skewness 1)": (lambda random, size: random.gamma(4, size=size), 4.0),
    "exponential (skewness 2)": (lambda random, size: random.exponential(size=size), 1.0),
}


def percentile_bootstrap(values: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the percentile bootstrap's interval (1,000 draws) of every row's mean."""
    drawn = random.integers(0, values.shape[1], (1000, values.shape[1]))
    means = np.stack([values[:, places].mean(axis=1) for places in drawn])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def coverage() -> pd.DataFrame:
    """Return the shares of intervals that contain the mean, by distribution, method and number of groups."""
    lines = []
    for name, (draw, mean) in DISTRIBUTIONS.items():
        for groups in (5, 10, 24):
            random = np.random.default_rng(0)
            found = mean_interval(draw(random, (100_000, groups)))
            low, high = percentile_bootstrap(draw(random, (4000, groups)), random)
            of_t, of_bootstrap = (np.mean((a <= mean) & (mean <= b)) for a, b in ((found.low, found.high), (low, high)))
            lines.append({"values": name, "groups": groups, "Student's t": of_t, "percentile bootstrap": of_bootstrap})
    return pd.DataFrame(lines)


def skewness(tables: list[Path]) -> np.ndarray:
    """Return the absolute skewness of the people's differences between two arms, for all pairs of arms."""
    found = []
    for table in tables:
        rows = pd.read_csv(table, dtype={"shots": "Int64"})
        for _, cell in rows.groupby(["dataset", "shots"], dropna=False):
            arms = [_by_person(arm) for _, arm in cell.groupby(["variant", "mode"])]
            for one, other in itertools.combinations(arms, 2):
                difference = (one - other).dropna()
                if len(difference) >= 16 and np.ptp(difference) > 0:
                    found.append(abs(stats.skew(difference, bias=False)))
    return np.array(found)


def _by_person(rows: pd.DataFrame) -> pd.Series:
    return pd.DataFrame([json.loads(text) for text in rows["f1_by_subject"]]).mean()


if __name__ == "__main__":
    print(coverage().round(3).to_string(index=False))
    measured = skewness([Path(name) for name in sys.argv[1:]])
    shares = ", ".join(f"{share} %: {np.percentile(measured, share):.2f}" for share in (50, 75, 90))
    print(f"absolute skewness of {len(measured)} differences between people: {shares}")
