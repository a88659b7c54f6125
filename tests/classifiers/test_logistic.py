"""The few-shot head does what its description says; whitening, self-training, statistics and copies have slow versions."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_models import encoder, small, whitened

from otolith.classifiers.features import embed
from otolith.classifiers.heads import HeadInputs, LogisticHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.heads.whitening import Whitener, spread_rows, temporal_pairs
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.augment import augment
from otolith.data.features import log_features
from otolith.data.joining import join
from otolith.data.sampling import seeded
from otolith.data.windows import Windows


def plain(**others: Any) -> LogisticHead:
    return LogisticHead(**{**PLAIN, **others})


def classifier(head: LogisticHead, **others: Any) -> TransferClassifier:
    return TransferClassifier(encoder(), head, **others)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [1.0, 0.01])
def test_the_plain_head_is_logistic_regression_on_standardised_features(
    classes: int, C: float, train: Windows, test: Windows
) -> None:
    train, test = (part[part.y < classes] for part in (train, test))
    model = classifier(plain(C=C)).fit(train)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
    expected.fit(embed(encoder(), train).numpy(), train.y)
    probabilities = expected.predict_proba(embed(encoder(), test).numpy())
    assert probabilities.shape[1] == classes and model.steps_ == 0
    np.testing.assert_allclose(model.predict_proba(test), probabilities, atol=1e-4)


def test_whitening_is_by_what_changes_between_consecutive_windows(train: Windows, held: Windows, test: Windows) -> None:
    around = held.unlabelled()
    model = classifier(whitened()).fit(train, unlabelled=around)
    scaler = StandardScaler().fit(embed(encoder(), held).numpy().astype(np.float64))
    other, own, unseen = (scaler.transform(embed(encoder(), part).numpy()) for part in (held, train, test))
    change = np.array(
        [other[k + 1] - other[k] for k in range(len(held) - 1) if held.recording[k] == held.recording[k + 1]]
    )
    size = np.linalg.norm(change, axis=1)
    change = change[size <= np.quantile(size, 0.98)]
    covariance = change.T @ change / len(change) / 2
    covariance += 0.1 * np.diag(covariance).mean() * np.eye(len(covariance))
    value, vector = np.linalg.eigh(covariance)
    scale = (other @ vector / np.sqrt(value)).std()
    tables = [part @ vector / np.sqrt(value) / scale for part in (own, unseen)]
    expected = LogisticRegression(max_iter=2000).fit(tables[0], train.y).predict_proba(tables[1])
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)  # two solvers' tolerances
    assert np.abs(classifier(plain()).fit(train).predict_proba(test) - expected).max() > 0.02

    known = classifier(whitened()).fit(train, unlabelled=around, unlabelled_features=embed(encoder(), held))
    np.testing.assert_allclose(known.predict_proba(test), model.predict_proba(test), atol=1e-6)
    shuffled = np.random.default_rng(0).permutation(len(held))
    mixed = classifier(whitened()).fit(train, unlabelled=held[shuffled].unlabelled())
    np.testing.assert_allclose(mixed.predict_proba(test), model.predict_proba(test), atol=5e-3)


def spread(windows: Windows, window_lengths: float) -> Windows:
    """The windows of one recording, so many window lengths apart."""
    whole = windows[np.flatnonzero(windows.recording == windows.recording[0])]
    return dataclasses.replace(whole, start_s=window_lengths * 2.0 * np.arange(len(whole)))


def test_windows_far_apart_are_not_consecutive(held: Windows) -> None:
    close = spread(held, 5.0)
    one, other = temporal_pairs(close)
    assert one.tolist() == list(range(len(close) - 1)) and (other == one + 1).all()
    assert len(temporal_pairs(spread(held, 5.25))[0]) == 0


def test_statistics_and_features_have_the_same_sum_of_variances(train: Windows, held: Windows, test: Windows) -> None:
    tables = [
        np.concatenate([embed(encoder(), part).numpy(), log_features(part.array()).numpy()], axis=1)
        for part in (train, test)
    ]
    assert tables[0].shape[1] == 256 + 16 * 8
    np.testing.assert_array_equal(embed(encoder(), test, statistics=True).numpy(), tables[1])
    mean, std = tables[0].mean(axis=0), np.maximum(tables[0].std(axis=0), 1e-6)  # the spectrum at 0 is rounding
    share = np.sqrt(np.repeat([384 / 2 / 256, 384 / 2 / 128], [256, 128]))
    groups = [(table - mean) / std * share for table in tables]
    # training features have variance 1 but for those that never change
    assert [group.var(axis=0).sum() for group in np.split(groups[0], [256], axis=1)] == pytest.approx(
        [192, 192], rel=0.1
    )
    expected = LogisticRegression(C=0.01, max_iter=2000).fit(groups[0], train.y).predict_proba(groups[1])
    model = classifier(plain(C=0.01, use_statistics=True)).fit(train)
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)
    without = classifier(plain(C=0.01)).fit(train).predict_proba(test)
    assert np.abs(without - expected).max() > 0.02
    both = classifier(whitened(C=0.01, use_statistics=True)).fit(train, unlabelled=held.unlabelled())
    assert np.abs(both.predict_proba(test) - expected).max() > 0.02


def test_copies_are_further_training_windows(train: Windows, test: Windows) -> None:
    transforms = [{"name": "rotation", "sd_degrees": 10}, {"name": "noise"}]
    copying = plain(C=0.01, n_augmented_copies=3, augmentations=transforms)
    model = classifier(copying, seed=5).fit(train)
    with seeded(5, "cpu"):
        copied = [augment(train.array(), transforms) for _ in range(3)]
    more = torch.cat([train.array(), *copied])
    expected = classifier(plain(C=0.01)).fit(more, np.tile(train.y, 4))
    np.testing.assert_allclose(model.predict_proba(test), expected.predict_proba(test), atol=1e-5)
    assert not any(torch.equal(one, two) for one, two in itertools.combinations([train.array(), *copied], 2))
    without = classifier(plain(C=0.01)).fit(train)
    assert np.abs(without.predict_proba(test) - model.predict_proba(test)).max() > 1e-3
    tuned = classifier(copying, mode="finetune", training=small(steps=2, lr=1e-7)).fit(train)
    same_seed = classifier(copying).fit(train)
    np.testing.assert_allclose(same_seed.predict_proba(test), tuned.predict_proba(test), atol=1e-3)


# what the windows do not allow is left out


def applied(head: LogisticHead, train: Any, y: Any = None, **others: Any) -> dict[str, Any]:
    """The settings that differ from those of the head."""
    model = classifier(head).fit(train, y, **others)
    given = head.arguments()
    return {name: value for name, value in model.effective_head_.arguments().items() if value != given[name]}


def test_all_is_applied_where_the_windows_allow_it(train: Windows, held: Windows) -> None:
    assert applied(LogisticHead(), train) == applied(LogisticHead(), train, unlabelled=held.unlabelled()) == {}


def test_without_consecutive_windows_nothing_is_whitened(train: Windows, held: Windows, examples: Any) -> None:
    without = {"whiten": None, "subject_weight": 0.0, "self_training_rounds": 0}
    apart = spread(held, 5.25).unlabelled()
    single = train[np.unique(train.recording, return_index=True)[1]].unlabelled()
    assert applied(LogisticHead(), train, unlabelled=apart) == without
    assert applied(LogisticHead(), train, unlabelled=single) == without
    assert applied(LogisticHead(), *examples) == without
    assert applied(LogisticHead(), *examples, unlabelled=held.unlabelled()) == {}
    known = dict(zip(("subject_weight", "self_training_rounds"), (0.0, 0), strict=True))
    assert applied(LogisticHead(whiten=None), train) == known
    left_out = classifier(LogisticHead()).fit(train, unlabelled=apart)
    never = classifier(LogisticHead(whiten=None)).fit(train)
    assert torch.equal(left_out.head_.weight, never.head_.weight)


def test_without_consecutive_windows_the_head_by_itself_refuses(train: Windows, held: Windows) -> None:
    table = embed(encoder(), train)
    inputs = HeadInputs(train, torch.from_numpy(train.y), list("abc"), 256, lambda x, _: embed(encoder(), x), table)
    for unlabelled, message in ((spread(held, 5.25), "these windows have none"), (held.array(), "needs Windows")):
        with pytest.raises(ValueError, match=message):
            whitened().fit(dataclasses.replace(inputs, unlabelled=unlabelled))
    assert whitened().fit(dataclasses.replace(inputs, unlabelled=held)).out_features == 3


@pytest.mark.parametrize(
    ("labels_of_subjects", "several"),
    [
        ([[0, 1, 2], [0, 1, 2], [0, 1, 2]], True),
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], False),  # subjects may differ in the class itself
        ([[0, 1, 1], [1, 1, 1], [2, 2, 2]], False),
        ([[0, 1, 1], [1, 2, 1], [2, 2, 2]], True),
        ([[0], [1, 2], [2]], True),  # a single window says nothing
        ([[0], [1], [2]], False),
    ],
)
def test_subjects_of_one_class_each_do_not_whiten(
    labels_of_subjects: list[list[int]], several: bool, train: Windows, held: Windows
) -> None:
    y = np.concatenate(labels_of_subjects)
    subject = np.repeat(np.arange(3), [len(labels) for labels in labels_of_subjects])
    rows = np.concatenate([np.flatnonzero(train.y == label)[[k]] for k, label in enumerate(y)])
    few = dataclasses.replace(train[rows], subject=subject)
    expected = {} if several else {"subject_weight": 0.0}
    assert applied(LogisticHead(n_augmented_copies=1), few, unlabelled=held.unlabelled()) == expected


@pytest.mark.parametrize(("windows_per_class", "copies"), [(10, 8), (400, 3), (1500, 0)])
def test_many_labelled_windows_get_fewer_copies(
    windows_per_class: int, copies: int, train: Windows, held: Windows
) -> None:
    rows = np.concatenate([np.resize(np.flatnonzero(train.y == label), windows_per_class) for label in range(3)])
    many = train[rows]
    table = torch.zeros(len(many), 256)
    inputs = HeadInputs(many, torch.from_numpy(many.y), list("abc"), 256, lambda x, _: table, table, held)
    assert LogisticHead().suited_to(inputs).n_augmented_copies == copies
    assert (1 + copies) * len(many) <= 4096 + len(many)


# whitening by subjects and self-training


def _between(table: np.ndarray, subjects: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Covariance of subject means about those of their groups, in the plainest way."""
    total = np.zeros((table.shape[1],) * 2)
    for one in np.unique(group):
        known = [p for p in np.unique(subjects) if weight[(group == one) & (subjects == p)].sum() >= 2]
        if len(known) < 2:
            continue
        inside = (group == one) & np.isin(subjects, known)
        centre = np.average(table[inside], axis=0, weights=weight[inside])
        for p in known:
            mine = inside & (subjects == p)
            away = np.average(table[mine], axis=0, weights=weight[mine]) - centre
            total += weight[mine].sum() / weight[inside].sum() * np.outer(away, away)
    return total


def test_whitening_and_self_training_as_they_are_described(train: Windows, held: Windows, test: Windows) -> None:
    around = join([train, dataclasses.replace(held, dataset="other")])
    subjects = np.concatenate([train.subject, held.subject + 100])
    scaler = StandardScaler().fit(np.concatenate([embed(encoder(), part).numpy() for part in (train, held)]))
    own, more, unseen = (
        scaler.transform(embed(encoder(), part).numpy().astype(np.float64)) for part in (train, around, test)
    )
    one, other = temporal_pairs(around)
    change = more[other] - more[one]
    change = change[(size := np.linalg.norm(change, axis=1)) <= np.quantile(size, 0.98)]
    covariance = change.T @ change / len(change) / 2

    def by_hand(between: np.ndarray) -> list[np.ndarray]:
        total = covariance + between / np.trace(between) * np.trace(covariance)
        total += 0.1 * np.diag(total).mean() * np.eye(len(total))
        value, vector = np.linalg.eigh(total)
        scale = (more @ vector / np.sqrt(value)).std()
        return [part @ vector / np.sqrt(value) / scale for part in (own, more, unseen)]

    def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> LogisticRegression:
        return LogisticRegression(max_iter=2000).fit(x, y, sample_weight=weight)

    total = _between(more, subjects, np.zeros(len(more)), np.ones(len(more)))
    tables = by_hand(total)
    expected = fitted(tables[0], train.y).predict_proba(tables[2])
    model = classifier(whitened(subject_weight=1.0)).fit(train, unlabelled=around)
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)
    without = classifier(whitened()).fit(train, unlabelled=around).predict_proba(test)
    assert np.abs(without - expected).max() > 0.02

    guess = fitted(tables[0], train.y).predict_proba(tables[1])
    for rounds in (1, 2):
        sure = np.where(guess.max(axis=1) >= 0.5, guess.max(axis=1), 0)
        tables = by_hand(_between(more, subjects, guess.argmax(axis=1), sure))
        guess = fitted(tables[0], train.y).predict_proba(tables[1])
        given, sure = guess.argmax(axis=1), np.where(guess.max(axis=1) >= 0.5, guess.max(axis=1), 0)
        weight = np.zeros(len(more))
        for label in np.unique(given[sure > 0]):
            mine = given == label
            weight[mine] = sure[mine] / sure[mine].sum()
        weight *= 3 * len(train) / weight.sum()
        last = fitted(
            np.concatenate([tables[0], tables[1]]),
            np.concatenate([train.y, given]),
            np.concatenate([np.ones(len(train)), weight]),
        )
        guess, expected = last.predict_proba(tables[1]), last.predict_proba(tables[2])
        model = classifier(whitened(subject_weight=1.0, self_training_rounds=rounds))
        model.fit(train, unlabelled=around)
        np.testing.assert_allclose(model.predict_proba(test), expected, atol=0.02)


def test_what_subjects_differ_in_is_not_taken_for_the_class(train: Windows) -> None:
    """Two labelled subjects, each of one class, who differ more than classes do; six more show what subjects differ in."""
    random = np.random.default_rng(0)
    subject, label = np.repeat(np.arange(8), 60), np.tile(np.repeat([0, 1], 30), 8)
    offset = random.normal(size=8)
    table = np.stack(
        [label + 0.3 * random.normal(size=480), 3 * offset[subject] + 0.3 * random.normal(size=480)], axis=1
    )
    windows = train[np.zeros(480, int)]
    windows = dataclasses.replace(
        windows, subject=subject, recording=np.arange(480) // 30, start_s=np.arange(480.0) * windows.contract.seconds
    )
    one, two = np.argsort(offset)[[0, -1]]
    few = np.flatnonzero(((subject == one) & (label == 0)) | ((subject == two) & (label == 1)))
    others = torch.from_numpy(~np.isin(subject, [one, two]))
    features, target = torch.from_numpy(table), torch.from_numpy(label)
    inputs = HeadInputs(windows[few], target[few], ("a", "b"), 2, lambda *_: features, features[few], windows, features)
    right = {}
    for name, how in (
        ("plain", {}),
        ("subjects", {"subject_weight": 10.0}),
        ("trained", {"self_training_rounds": 2}),
    ):
        head = whitened(**how).fit(inputs)
        with torch.no_grad():
            right[name] = float((head(features.float()).argmax(dim=1) == target)[others].float().mean())
    assert right["plain"] < 0.6 < right["trained"] and right["subjects"] > 0.85
    alone = Whitener(features, dataclasses.replace(windows, subject=np.zeros(480, int)), 0.1, np.ones(2))
    np.testing.assert_array_equal(alone.whitening(10.0)[0], alone.whitening()[0])


def test_of_many_unlabelled_windows_evenly_spaced_blocks_are_used(
    train: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_array_equal(spread_rows(65_536), np.arange(65_536))
    rows = spread_rows(1_000_003)
    assert len(rows) == len(set(rows.tolist())) == 65_536
    assert (rows[0], rows[-1]) == (0, 1_000_002) and (np.diff(rows).reshape(-1)[:63] == 1).all()
    expected = classifier(LogisticHead()).fit(train, unlabelled=train[:8].unlabelled()).predict_proba(train)
    monkeypatch.setattr("otolith.classifiers.heads.logistic.spread_rows", lambda _: np.arange(8))
    many = classifier(LogisticHead()).fit(train, unlabelled=train.unlabelled()).predict_proba(train)
    np.testing.assert_array_equal(many, expected)
