"""Means of result rows, paired comparisons, and the one kind of interval that all of Otolith reports.

Every interval is Student's t on the means of groups of test subjects (`mean_interval`). A group is the subjects that one
fold tests together; rows of several seeds or arms that test the same subjects are averaged first, because they are not
independent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

GROUPS_FOR_INTERVAL = 5
"""Fewer independent groups of test subjects give no interval."""


class Interval(NamedTuple):
    """A mean (or another estimate) with its interval; each field has the leading dimensions of the values.

    Attributes:
        mean: mean of the groups.
        low: lower end of the interval; NaN if there are fewer than `GROUPS_FOR_INTERVAL` groups.
        high: upper end, likewise.
        p: two-sided p value of Student's t test that the mean is 0, likewise.
    """

    mean: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]
    p: Float[np.ndarray, "..."]


def mean_interval(
    values: Float[np.ndarray, "... groups"],
    *,
    independent: int | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return the mean over groups and its 95 % interval by Student's t.

    Simulated coverage with 5 / 10 / 24 groups: 95 / 95 / 95 % for normal values, 93.4 / 93.5 / 94.2 % for gamma-distributed
    ones of skewness 1, and 88 / 90 / 92 % for exponential ones (skewness 2). A percentile bootstrap covers 83 / 91 / 93 %
    for normal ones (`benchmarks/intervals.py`). `docs/protocol.md` compares this with the skewness of measured differences.

    Args:
        values: one value per group of test subjects, in the last dimension.
        independent: number of independent groups, if some of them share subjects; None: all of them.
        bounds: lowest and highest possible mean; the interval is cut there. Scores have (0, 1).

    Source: Student 1908, "The probable error of a mean".
    """
    count = values.shape[-1] if independent is None else independent
    mean = values.mean(axis=-1)
    if count < GROUPS_FOR_INTERVAL:
        nothing = np.full_like(mean, np.nan)
        return Interval(mean, nothing, nothing, nothing)
    error = values.std(axis=-1, ddof=1) / np.sqrt(count)
    half = stats.t.ppf(0.975, count - 1) * error
    size = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    p = 2 * stats.t.sf(size, count - 1)
    return Interval(mean, np.clip(mean - half, *bounds), np.clip(mean + half, *bounds), np.asarray(p))


def jackknife_interval(
    estimate: Float[np.ndarray, "..."] | float,
    without: Float[np.ndarray, "... groups"],
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return the interval of a statistic that is no mean over groups, such as the F1 of all windows together.

    It is `mean_interval` of the jackknife's pseudo-values, moved so that their mean is the estimate.

    Args:
        estimate: the statistic of all groups.
        without: the statistic without each group, in the last dimension.
        bounds: as in `mean_interval`.

    Source: Tukey 1958, "Bias and confidence in not-quite large samples".
    """
    change = (without.shape[-1] - 1) * (without.mean(axis=-1, keepdims=True) - without)
    return mean_interval(np.expand_dims(estimate, -1) + change, bounds=bounds)


def holm(p: Sequence[float]) -> Float[np.ndarray, " comparisons"]:
    """Return p values adjusted for the number of comparisons, in the same order; NaN stays NaN and is not counted.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p, float)
    order = np.argsort(values)  # NaN last
    steps = np.count_nonzero(~np.isnan(values)) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1.0)
    return adjusted


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over groups of test subjects and its 95 % interval (`mean_interval`), per mode and shots.

    Columns: mode, shots, macro_f1, low, high (both NaN with fewer than `GROUPS_FOR_INTERVAL` groups), accuracy,
    worst_subject (mean over seeds of the lowest macro F1 of a subject), seeds, folds, cells (combinations of both that have
    rows), by_group (list of the groups' mean macro F1; of the subjects', if all rows test the same ones).
    """
    worst = rows.assign(worst_subject=[min(json.loads(text).values()) for text in rows["f1_by_subject"]])
    lines = []
    for (mode, shots), part in worst.groupby(["mode", "shots"], dropna=False):
        scores, independent = _group_means(part, "macro_f1", "test_subjects")
        found = mean_interval(scores, independent=independent, bounds=(0.0, 1.0))
        lines.append(
            {
                "mode": mode,
                "shots": shots,
                "macro_f1": float(found.mean),
                "low": float(found.low),
                "high": float(found.high),
                "accuracy": _group_means(part, "accuracy", "test_subjects")[0].mean(),
                "worst_subject": part.groupby("seed")["worst_subject"].min().mean(),
                "seeds": part["seed"].nunique(),
                "folds": part["fold"].nunique(),
                "cells": _count(part),
                "by_group": scores.tolist() if len(scores) > 1 else _by_subject(part),
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
        gain: mean difference of the groups of test subjects.
        low: lower end of its 95 % interval; NaN with fewer than `GROUPS_FOR_INTERVAL` groups.
        high: upper end, likewise.
        p: p value of Student's t test over the groups, likewise; not adjusted for other comparisons (`holm`).
        by_group: mean difference of each group.
        folds: number of folds.
        seeds: number of seeds.
        cells: number of combinations of both that have rows.
    """

    mode: str
    over: str
    shots: int | None
    gain: float
    low: float
    high: float
    p: float
    by_group: tuple[float, ...]
    folds: int
    seeds: int
    cells: int


def gains(rows: pd.DataFrame, mode: str, over: str) -> list[Gain]:
    """Compare two modes at every number of shots; see `paired_difference`."""
    return paired_difference(rows[rows["mode"] == mode], rows[rows["mode"] == over], mode, over)


def paired_difference(
    rows: pd.DataFrame,
    others: pd.DataFrame,
    mode: str,
    over: str,
    *,
    pool: bool = False,
    within: Sequence[str] = (),
    group: str = "test_subjects",
) -> list[Gain]:
    """Compare rows with others of the same corpus, shots, seed, fold and test subjects: one `Gain` per number of shots.

    All pairs that test the same subjects of a corpus are averaged first and count as one group, whatever their seed or arm.
    If seeds have their own folds, groups share subjects; the interval then counts as many groups as test every subject once.

    Args:
        rows: rows of the first arm; several of them may be paired with one of `others` (objectives that share a control).
        others: rows of the second arm.
        mode: name of the first arm, for the `Gain`.
        over: name of the second arm, for the `Gain`.
        pool: compare all shots together; `shots` is then None.
        within: further columns that pairs agree in, such as the variant where several are pooled.
        group: column of the subjects that are one group.
    """
    keys = ["dataset", "shots", "seed", "fold", "test_subjects", *within]
    both = rows.merge(others, on=keys, suffixes=("", "_over"))
    both = both.assign(difference=both["macro_f1"] - both["macro_f1_over"], pooled=0)
    found = []
    for shots, part in both.groupby("pooled" if pool else "shots", dropna=False):
        groups, independent = _group_means(part, "difference", group)
        mean, low, high, p = map(float, mean_interval(groups, independent=independent))
        count = None if pool or pd.isna(shots) else int(shots)
        folds, seeds = part["fold"].nunique(), part["seed"].nunique()
        found.append(Gain(mode, over, count, mean, low, high, p, tuple(groups.tolist()), folds, seeds, _count(part)))
    return found


def _group_means(part: pd.DataFrame, value: str, group: str) -> tuple[Float[np.ndarray, " groups"], int]:
    """Return the mean of each group of test subjects, and the number of independent groups.

    Subjects of one corpus are the same people in all settings of a study, which a column `corpus` tells. Groups that share
    subjects are counted as often as subjects are tested on average: 15 groups of 3 partitions are 5 independent ones.
    """
    corpus = "corpus" if "corpus" in part else "dataset"
    means = part.groupby([corpus, group])[value].mean()
    tested = [(name, subject) for name, subjects in means.index for subject in str(subjects).split()]
    return means.to_numpy(), len(means) * len(set(tested)) // max(1, len(tested))


def _by_subject(part: pd.DataFrame) -> list[float]:
    """Return the macro F1 of each subject, averaged over the rows that test the subject."""
    scores: list[float] = pd.DataFrame([json.loads(text) for text in part["f1_by_subject"]]).mean().tolist()
    return scores


def _count(part: pd.DataFrame) -> int:
    return len(part.drop_duplicates(["seed", "fold"]))
