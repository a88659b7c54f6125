"""Splits: whole people, one side each, everyone tested once; nested draws of a few windows a class."""

import itertools
from collections import Counter

import numpy as np
import pytest

from otolith.data.splits import Split, by_subject, draw_shots


@pytest.mark.parametrize(
    ("train", "validation", "test", "message"),
    [
        (("1", "2"), ("2",), ("3",), "subject 2 is in train and in validation; expected each subject in one group"),
        (("1", "9", "2"), (), ("2", "9"), "subject 2, 9 is in train and in test; expected each subject in one group"),
        (("1",), ("3",), ("2", "3"), "subject 3 is in validation and in test; expected each subject in one group"),
        ((), ("1",), ("2",), "fold 4 has no subject in train"),
        (("1",), (), (), "fold 4 has no subject in test"),
    ],
)
def test_a_person_on_two_sides_and_an_empty_side_are_refused(
    train: tuple, validation: tuple, test: tuple, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Split(4, train, validation, test)


@pytest.mark.parametrize(("count", "folds"), [(24, 5), (10, 5), (10, 10), (5, 2), (4, 2), (3, 3), (7, 4)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.01, 0.5, 0.99])
def test_everyone_is_tested_once_and_everyone_has_one_side(count: int, folds: int, share: float) -> None:
    people = [f"sub_{number}" for number in range(count)]
    for seed in range(20):
        splits = by_subject(people, folds=folds, validation=share, seed=seed)
        assert [split.fold for split in splits] == list(range(folds))
        assert Counter(person for split in splits for person in split.test) == dict.fromkeys(people, 1)
        assert max(len(split.test) for split in splits) - min(len(split.test) for split in splits) <= 1
        for split in splits:
            assert sorted(split.train + split.validation + split.test) == sorted(people)
            rest = count - len(split.test)
            wanted = min(rest - 1, max(1, round(share * rest))) if share else 0
            assert len(split.validation) == wanted


def test_a_seed_decides_who_meets_whom_and_repeats_do_not_count() -> None:
    people = [str(number) for number in range(12)]
    assert by_subject(people, seed=3) == by_subject(people, seed=3) == by_subject(people * 2, seed=3)
    for side in ("test", "validation"):
        drawn = {str([getattr(split, side) for split in by_subject(people, seed=seed)]) for seed in range(10)}
        assert len(drawn) == 10
    assert people == [str(number) for number in range(12)]  # the caller's list is not shuffled


def test_every_fold_draws_its_own_people_to_validate() -> None:
    people = [str(number) for number in range(25)]
    for seed in range(10):
        validators = {person for split in by_subject(people, seed=seed) for person in split.validation}
        assert len(validators) > 8  # five folds of four; the first four in line would be at most eight


@pytest.mark.parametrize(
    ("count", "folds", "share"),
    [(4, 5, 0.2), (10, 1, 0.2), (10, 0, 0.0), (0, 2, 0.0), (1, 2, 0.0), (2, 2, 0.2), (3, 2, 0.2)],
)
def test_too_few_people_are_refused(count: int, folds: int, share: float) -> None:
    with pytest.raises(
        ValueError, match=f"^{count} subjects are too few for {folds} folds, .*; expected 2 folds up to"
    ):
        by_subject([str(number) for number in range(count)], folds=folds, validation=share)


Y = np.repeat([3, 0, 7, 1], [40, 2, 15, 100])[np.random.default_rng(0).permutation(157)]


@pytest.mark.parametrize("shots", [1, 2, 5, 15, 99, 100, 1000])
def test_a_draw_has_so_many_windows_a_class_and_all_of_a_smaller_class(shots: int) -> None:
    for seed in range(10):
        rows = draw_shots(Y, shots, seed=seed)
        assert (np.diff(rows) > 0).all()  # ascending, none twice
        assert Counter(Y[rows].tolist()) == {label: min(shots, n) for label, n in Counter(Y.tolist()).items()}


def test_larger_draws_contain_smaller_ones_and_seeds_differ() -> None:
    for seed in range(10):
        draws = [set(draw_shots(Y, shots, seed=seed).tolist()) for shots in (1, 2, 5, 10, 50, 200)]
        assert all(small < large for small, large in itertools.pairwise(draws))
    assert len({tuple(draw_shots(Y, 5, seed=seed)) for seed in range(10)}) == 10
    np.testing.assert_array_equal(draw_shots(Y, 5, seed=1), draw_shots(Y, 5, seed=1))


@pytest.mark.parametrize("shots", [1, 7, 40_000])
def test_a_draw_takes_the_first_windows_of_each_class_in_one_random_order(shots: int) -> None:
    y = np.random.default_rng(1).choice(5, 100_000, p=[0.6, 0.3, 0.05, 0.0499, 0.0001])  # more than one block
    order = np.random.default_rng([3, 0x5407]).permutation(len(y))
    expected = np.sort(np.concatenate([order[y[order] == label][:shots] for label in range(5)]))
    np.testing.assert_array_equal(draw_shots(y, shots, seed=3), expected)


def test_every_window_of_a_class_is_as_likely() -> None:
    drawn = Counter(row for seed in range(600) for row in draw_shots(Y, 5, seed=seed).tolist() if Y[row] == 7)
    # 15 windows, 5 drawn 600 times: 200 each, standard deviation 11.5.
    assert len(drawn) == 15 and max(abs(count - 200) for count in drawn.values()) < 50


def test_no_limit_gives_all_rows_and_less_than_one_is_refused() -> None:
    np.testing.assert_array_equal(draw_shots(Y, None, seed=0), np.arange(len(Y)))
    assert len(draw_shots(Y[:0], 3, seed=0)) == 0
    for shots in (0, -1):
        with pytest.raises(
            ValueError, match=f"shots is {shots}; expected at least 1 window per class, or none for all"
        ):
            draw_shots(Y, shots, seed=0)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_validation_people_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share of validation subjects is .*; expected 0 <= share < 1"):
        by_subject(["a", "b", "c", "d"], folds=2, validation=share)
