"""Statistics with known answers, and intervals that cover what they claim to cover."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from otolith.evaluation.statistics import (
    GROUPS_FOR_INTERVAL,
    gains,
    holm,
    jackknife_interval,
    mean_interval,
    paired_difference,
    summary,
)

Score = tuple[str, int | None, int, int, float]


def table(scores: list[Score], people: str = "{fold}", **columns: str) -> pd.DataFrame:
    """Rows by hand, of (mode, shots, seed, fold, macro F1)."""
    rows = [
        {
            "dataset": "d",
            "objective": "o",
            "mode": mode,
            "shots": shots,
            "seed": seed,
            "fold": fold,
            "macro_f1": score,
            "accuracy": score + 0.1,
            "f1_by_subject": json.dumps({"a": score - 0.2, "b": score}),
            "test_subjects": people.format(fold=fold, seed=seed),
            **columns,
        }
        for mode, shots, seed, fold, score in scores
    ]
    return pd.DataFrame(rows).astype({"shots": "Int64"})


# intervals

DRAWS = 20_000
DISTRIBUTIONS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float, float]] = {
    "normal": (lambda random, size: random.normal(size=size), 0.0, 0.93),
    "uniform": (lambda random, size: random.uniform(size=size), 0.5, 0.93),
    "heavy tails (Student's t, 3 degrees of freedom)": (lambda random, size: random.standard_t(3, size), 0.0, 0.93),
    "skewness 1 (gamma, shape 4: the mean of four exponential values)": (
        lambda random, size: random.gamma(4, size=size),
        4.0,
        0.93,
    ),
    "skewness 2 (exponential): the known limit": (lambda random, size: random.exponential(size=size), 1.0, 0.875),
}


@pytest.mark.parametrize("groups", [5, 10, 24])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_interval_covers_the_mean(name: str, groups: int) -> None:
    draw, mean, least = DISTRIBUTIONS[name]
    found = mean_interval(draw(np.random.default_rng(0), (DRAWS, groups)))
    covered = np.mean((found.low <= mean) & (mean <= found.high))
    assert least <= covered <= 0.975
    assert np.mean(found.p < 0.05) == pytest.approx(np.mean((found.low > 0) | (found.high < 0)))


@pytest.mark.parametrize("own_folds", [False, True], ids=["one partition", "a partition per seed"])
def test_the_interval_of_rows_covers_the_mean_over_people(own_folds: bool) -> None:
    """20 people in 5 folds, 3 seeds: each person has an effect, each row has noise of its own."""
    random, rows, draws = np.random.default_rng(0), [], 300
    people = np.array([f"p{number}" for number in range(20)])
    for draw in range(draws):  # one table, in which the number of shots is the number of the draw
        effect = dict(zip(people, random.gamma(4, size=20), strict=True))  # skewness 1
        partition = random.permutation(people).reshape(5, 4)
        for seed in range(3):
            partition = random.permutation(people).reshape(5, 4) if own_folds else partition
            for fold, tested in enumerate(partition):
                gain = np.mean([effect[person] for person in tested]) + random.normal(scale=0.5)
                rows.append(("d", draw, seed, fold, " ".join(sorted(tested)), gain))
    both = pd.DataFrame(rows, columns=["dataset", "shots", "seed", "fold", "test_subjects", "macro_f1"])
    found = paired_difference(both, both.assign(macro_f1=0.0), "one", "other")
    assert len(found) == draws
    covered = np.mean([gain.low <= 4.0 <= gain.high for gain in found])
    assert 0.92 <= covered <= (1.0 if own_folds else 0.98)  # with own folds it is wider than it must be


def test_the_interval_is_students_and_stays_within_the_bounds() -> None:
    values = np.array([0.1, 0.5, 0.7, 0.9, 0.9])
    found, free = mean_interval(values, bounds=(0.0, 1.0)), mean_interval(values)
    expected = stats.ttest_1samp(values, 0.0)
    assert (free.low, free.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue) and found.mean == pytest.approx(0.62)
    assert found.low == free.low and found.high == 1.0 < free.high


def test_groups_that_share_people_are_counted_as_often_as_people_are_tested() -> None:
    values = np.arange(15.0)
    found = mean_interval(values, independent=5)
    half = stats.t.ppf(0.975, 4) * values.std(ddof=1) / np.sqrt(5)
    assert (found.low, found.high) == pytest.approx((7 - half, 7 + half))


@pytest.mark.parametrize("people", [5, 10])
@pytest.mark.parametrize(("a", "b"), [(4, 1), (2, 2)], ids=["skewed", "symmetric"])
def test_the_interval_of_an_f1_of_all_windows_together_covers_it(people: int, a: float, b: float) -> None:
    """Each person recognises three classes well or badly; macro F1 is of the windows of all people together."""
    random = np.random.default_rng(0)

    def counts(size: tuple[int, ...]) -> np.ndarray:
        hits = random.binomial(20, random.beta(a, b, size=(*size, 3)))
        return np.stack([hits, 40 - 2 * hits], axis=-1)  # windows that are right; missed or wrongly named

    def f1(count: np.ndarray) -> np.ndarray:
        return np.asarray(2 * count[..., 0] / np.maximum(2 * count[..., 0] + count[..., 1], 1)).mean(axis=-1)

    each = counts((DRAWS, people))
    total = each.sum(axis=1)
    found = jackknife_interval(f1(total), f1(total[:, None] - each), bounds=(0.0, 1.0))
    truth = f1(counts((200_000,)).sum(axis=0))
    assert 0.93 <= np.mean((found.low <= truth) & (truth <= found.high)) <= 0.97


def test_the_jackknife_of_a_mean_is_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=8)
    without = (values.sum() - values) / 7
    found, expected = jackknife_interval(values.mean(), without), mean_interval(values)
    assert list(map(float, found)) == pytest.approx(list(map(float, expected)))


def test_fewer_than_five_groups_give_no_interval() -> None:
    for count in range(1, GROUPS_FOR_INTERVAL):
        found = mean_interval(np.arange(float(count)))
        assert found.mean == pytest.approx((count - 1) / 2) and np.isnan([found.low, found.high, found.p]).all()
    assert np.isfinite(mean_interval(np.arange(float(GROUPS_FOR_INTERVAL)))).all()
    assert np.isnan(mean_interval(np.arange(12.0), independent=4).low)


def test_holm_multiplies_by_the_number_of_hypotheses_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])  # 3 x, then 2 x, then the larger
    assert holm([0.9, 0.6]).tolist() == [1.0, 1.0] and len(holm([])) == 0
    with_none = holm([np.nan, 0.01, 0.02])
    assert np.isnan(with_none[0]) and with_none[1:].tolist() == pytest.approx([0.02, 0.02])


def test_holm_rarely_finds_what_is_not_there() -> None:
    p = np.random.default_rng(0).uniform(size=(2000, 20))
    found = np.mean([(holm(line) < 0.05).any() for line in p.tolist()])
    assert found < 0.065 < np.mean((p < 0.05).any(axis=1))


# summaries of rows


def test_summary_is_the_mean_over_groups_of_test_subjects_with_their_interval() -> None:
    means = [0.5, 0.6, 0.7, 0.8, 0.9]
    scores: list[Score] = [
        ("frozen", 2, seed, fold, mean + shift)
        for fold, mean in enumerate(means)
        for seed, shift in ((0, -0.1), (1, 0.1))
    ]
    scores += [("frozen", None, 0, fold, 0.8) for fold in range(3)] + [("forest", 2, 0, 0, 0.4)]
    found = {
        (line.mode, None if pd.isna(line.shots) else line.shots): line for line in summary(table(scores)).itertuples()
    }
    assert found.keys() == {("frozen", 2), ("frozen", None), ("forest", 2)}
    line = found["frozen", 2]
    half = 2.776445 * np.std(means, ddof=1) / np.sqrt(5)  # t(0.975, 4 degrees of freedom)
    assert (line.macro_f1, line.low, line.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half), abs=1e-6)
    assert line.accuracy == pytest.approx(0.8) and (line.seeds, line.folds, line.cells) == (2, 5, 10)
    assert line.worst_subject == pytest.approx(np.mean([0.5 - 0.1 - 0.2, 0.5 + 0.1 - 0.2]))
    assert line.by_group == pytest.approx(means)
    line = found["frozen", None]
    assert line.macro_f1 == pytest.approx(0.8) and (line.seeds, line.folds) == (1, 3)
    assert np.isnan(line.low) and np.isnan(line.high) and len(line.by_group) == 3
    assert found["forest", 2].by_group == pytest.approx([0.2, 0.4])  # one group: its people, a and b


def test_an_interval_of_scores_ends_at_1() -> None:
    scores: list[Score] = [("frozen", 2, 0, fold, score) for fold, score in enumerate((0.6, 1.0, 1.0, 1.0, 1.0))]
    (line,) = summary(table(scores)).itertuples()
    assert line.high == 1.0 and 0 < line.low < line.macro_f1


# paired differences


def test_gains_pair_rows_of_the_same_people_seed_and_shots() -> None:
    # fine-tuned is better by 0.01 ... 0.06; the frozen scores differ by far more, and stand in another order
    differences = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    frozen: list[Score] = [("frozen", 5, k // 3, k % 3, 0.1 * k) for k in range(6)]
    better: list[Score] = [("finetune", 5, k // 3, k % 3, 0.1 * k + differences[k]) for k in range(6)]
    alone: list[Score] = [("finetune", 10, 0, 0, 0.9), ("frozen", None, 0, 0, 0.3)]  # no partner
    (gain,) = gains(table(better[::-1] + frozen + alone, people="{fold}-of-{seed}"), "finetune", "frozen")
    assert (gain.mode, gain.over, gain.shots) == ("finetune", "frozen", 5)
    assert (gain.folds, gain.seeds, gain.cells) == (3, 2, 6)
    expected = stats.ttest_1samp(differences, 0.0)
    assert (gain.gain, gain.p) == pytest.approx((0.035, expected.pvalue))
    assert (gain.low, gain.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    (loss,) = gains(table(better + frozen, people="{fold}-of-{seed}"), "frozen", "finetune")
    assert (loss.gain, loss.low, loss.high) == pytest.approx((-gain.gain, -gain.high, -gain.low))


def test_seeds_that_tested_the_same_people_are_no_independent_evidence() -> None:
    scores: list[Score] = []
    for fold in range(5):
        for seed in range(5):
            scores += [("frozen", None, seed, fold, 0.2), ("finetune", None, seed, fold, 0.2 + 0.1 * fold)]
    (found,) = gains(table(scores), "finetune", "frozen")
    once = [score for score in scores if score[2] == 0]
    (first,) = gains(table(once), "finetune", "frozen")
    assert found.by_group == pytest.approx((0, 0.1, 0.2, 0.3, 0.4))
    assert (found.low, found.high) == pytest.approx((first.low, first.high))
    assert found.shots is None and found.cells == 25
    (apart,) = gains(table(scores, people="{fold}-of-{seed}"), "finetune", "frozen")
    assert found.low < apart.low < 0.2 < apart.high < found.high


def test_variants_and_settings_that_tested_the_same_people_are_no_independent_evidence() -> None:
    def of(gain: float, **columns: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        scores: list[Score] = [("frozen", 2, 0, fold, 0.2) for fold in range(5)]
        better: list[Score] = [("finetune", 2, 0, fold, 0.2 + gain + 0.01 * fold) for fold in range(5)]
        return table(better, **columns), table(scores, **columns)

    one, two = of(0.1, variant="one"), of(0.3, variant="two")
    (found,) = paired_difference(pd.concat([one[0], two[0]]), pd.concat([one[1], two[1]]), "", "", within=["variant"])
    assert found.by_group == pytest.approx(
        (0.20, 0.21, 0.22, 0.23, 0.24)
    )  # people, each with the mean of both variants
    three, four = of(0.1, corpus="c", dataset="easy"), of(0.3, corpus="c", dataset="hard")
    (found,) = paired_difference(pd.concat([three[0], four[0]]), pd.concat([three[1], four[1]]), "", "")
    assert found.by_group == pytest.approx((0.20, 0.21, 0.22, 0.23, 0.24))
    five, six = of(0.1, dataset="easy"), of(0.3, dataset="hard")  # other corpora, other people
    (found,) = paired_difference(pd.concat([five[0], six[0]]), pd.concat([five[1], six[1]]), "", "")
    assert len(found.by_group) == 10


def test_a_gain_without_evidence_has_no_interval() -> None:
    few: list[Score] = [(mode, 2, 0, fold, 0.5 + 0.1 * fold) for mode in ("finetune", "frozen") for fold in range(4)]
    (found,) = gains(table(few), "finetune", "frozen")
    assert found.gain == 0 and len(found.by_group) == 4 and np.isnan([found.low, found.high, found.p]).all()
    assert gains(table(few), "finetune", "scratch") == []


def test_equal_rows_differ_by_nothing() -> None:
    equal: list[Score] = [(mode, 2, 0, fold, 0.5) for mode in ("finetune", "frozen") for fold in range(5)]
    (found,) = gains(table(equal), "finetune", "frozen")
    assert (found.gain, found.low, found.high, found.p) == (0, 0, 0, 1)
