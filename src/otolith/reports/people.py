"""Scores of single subjects and classes, from result rows."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd


def scores_by_subject(rows: pd.DataFrame) -> dict[str, float]:
    """Return the macro F1 of each test subject, averaged over the rows that test the subject."""
    return _mean(json.loads(text) for text in rows["f1_by_subject"])


def scores_by_class(rows: pd.DataFrame) -> dict[str, float]:
    """Return the F1 of each class, averaged over the rows."""
    return _mean(json.loads(text) for text in rows["f1_by_class"])


def gains_by_subject(rows: pd.DataFrame, others: pd.DataFrame) -> dict[str, float]:
    """Return the difference in macro F1 of each test subject, averaged over the pairs of `paired_difference`."""
    keys = ["dataset", "shots", "seed", "fold", "test_subjects"]
    both = rows.merge(others, on=keys, suffixes=("", "_over"))
    pairs = zip(both["f1_by_subject"].map(json.loads), both["f1_by_subject_over"].map(json.loads), strict=True)
    return _mean({name: one[name] - two[name] for name in one if name in two} for one, two in pairs)


def _mean(scores: Iterable[dict[str, float]]) -> dict[str, float]:
    table = pd.DataFrame(list(scores))
    return {str(name): float(value) for name, value in table.mean().items()}
