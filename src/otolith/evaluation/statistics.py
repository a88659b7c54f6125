"""Means of result rows and paired comparisons, with intervals."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
from scipy import stats


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over folds per seed, then the mean and 95 % interval (Student's t) over seeds, per mode and shots.

    Columns: mode, shots, macro_f1, low, high (both NaN with one seed), accuracy, worst_subject (mean over seeds of the
    lowest macro F1 of a subject), seeds, folds.
    """
    worst = rows.assign(worst_subject=[min(json.loads(text).values()) for text in rows["f1_by_subject"]])
    by_seed = worst.groupby(["mode", "shots", "seed"], dropna=False).agg(
        macro_f1=("macro_f1", "mean"),
        accuracy=("accuracy", "mean"),
        worst_subject=("worst_subject", "min"),
        folds=("fold", "nunique"),
    )
    lines = []
    for (mode, shots), part in by_seed.groupby(level=["mode", "shots"], dropna=False):
        scores = part["macro_f1"].to_numpy()
        half = float("nan")
        if len(scores) > 1:
            half = float(stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores)))
        lines.append(
            {
                "mode": mode,
                "shots": shots,
                "macro_f1": scores.mean(),
                "low": scores.mean() - half,
                "high": scores.mean() + half,
                "accuracy": part["accuracy"].mean(),
                "worst_subject": part["worst_subject"].mean(),
                "seeds": len(scores),
                "folds": int(part["folds"].max()),
            }
        )
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


@dataclasses.dataclass(frozen=True)
class Gain:
    """A paired comparison: macro F1 of `mode` minus that of `over`, on the same folds, seeds and labelled windows.

    Attributes:
        mode: name of the compared rows.
        over: name of the rows that they are compared with.
        shots: labelled windows per class; None: all.
        gain: mean difference.
        low: lower end of the 95 % bootstrap interval.
        high: upper end of the 95 % bootstrap interval.
        p: p value of the two-sided Wilcoxon signed-rank test over the pairs; NaN with fewer than 6 pairs.
        pairs: number of pairs of rows (folds x seeds).
    """

    mode: str
    over: str
    shots: int | None
    gain: float
    low: float
    high: float
    p: float
    pairs: int


def gains(rows: pd.DataFrame, mode: str, over: str) -> list[Gain]:
    """Compare two modes at every number of shots; see `paired_difference`."""
    return paired_difference(rows[rows["mode"] == mode], rows[rows["mode"] == over], mode, over)


def paired_difference(
    rows: pd.DataFrame, others: pd.DataFrame, mode: str, over: str, *, pool: bool = False, tested: bool = True
) -> list[Gain]:
    """Compare rows with others of the same corpus, shots, seed, fold and test subjects: one `Gain` per number of shots.

    The bootstrap (10,000 draws, percentile method) resamples groups of test subjects, not single rows, because seeds that
    tested the same subjects are not independent. With one partition into 5 folds it resamples 5 groups, and the interval is
    accordingly wide.

    Args:
        rows: rows of the first arm; several of them may be paired with one of `others` (objectives that share a control).
        others: rows of the second arm.
        mode: name of the first arm, for the `Gain`.
        over: name of the second arm, for the `Gain`.
        pool: compare all shots together; `shots` is then None.
        tested: compute the Wilcoxon test, which takes seconds for some small numbers of pairs; otherwise `p` is NaN.
    """
    keys = ["dataset", "shots", "seed", "fold", "test_subjects"]
    both = rows.merge(others, on=keys, suffixes=("", "_over"))
    both = both.assign(difference=both["macro_f1"] - both["macro_f1_over"], pooled=0)
    found = []
    for shots, part in both.groupby("pooled" if pool else "shots", dropna=False):
        difference = part["difference"].to_numpy()
        groups = part.groupby(["dataset", "test_subjects"])["difference"].mean().to_numpy()
        low = high = p = float("nan")
        if len(groups) > 1 and np.ptp(groups) > 0:
            drawn = np.random.default_rng(0).choice(groups, (10_000, len(groups))).mean(axis=1)
            low, high = map(float, np.quantile(drawn, [0.025, 0.975]))
        if tested and len(difference) >= 6 and np.any(difference):
            p = float(stats.wilcoxon(difference).pvalue)
        count = None if pool or pd.isna(shots) else int(shots)
        found.append(Gain(mode, over, count, float(groups.mean()), low, high, p, len(difference)))
    return found
