"""Hydra counts what its paper counts, and the controls of an encoder see the features that they are said to see."""

import inspect

import numpy as np
import pytest
import torch

from otolith.classifiers.baselines import CLASSICAL, classical
from otolith.classifiers.fixed import FixedFeaturesClassifier
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import AUGMENTATIONS
from otolith.classifiers.hydra import HydraClassifier, HydraFeatures, SparseScaler
from otolith.classifiers.settings import arguments_of
from otolith.data.augment import augment
from otolith.data.features import log_features
from otolith.data.sampling import seeded
from otolith.data.windows import Windows


def hydra_slowly(model: HydraFeatures, x: np.ndarray) -> list[float]:
    """The features of one window (channels, time), kernel by kernel and step by step."""
    features: list[float] = []
    for place, dilation in enumerate(model.dilations_):
        for kind, signal in enumerate((x, np.diff(x, axis=1))):
            time, groups = signal.shape[1], model.groups // 2
            strength, count = np.zeros((groups, model.kernels)), np.zeros((groups, model.kernels))
            for group in range(groups):
                added = sum(signal[channel] for channel in model.channels_[place, kind, group].tolist())
                for t in range(time):
                    answers = []
                    for kernel in range(model.kernels):
                        weights = model.weights_[place, kind, group * model.kernels + kernel, 0].tolist()
                        at = [t + (k - 4) * dilation for k in range(9)]
                        answers.append(sum(w * added[i] for w, i in zip(weights, at, strict=True) if 0 <= i < time))
                    strength[group, int(np.argmax(answers))] += max(answers)
                    count[group, int(np.argmin(answers))] += 1
            features += [*strength.ravel(), *count.ravel()]
    return features


@pytest.mark.parametrize(("channels", "time", "dilations"), [(1, 10, [1]), (3, 50, [1, 2, 4]), (6, 33, [1, 2, 4])])
def test_hydra_equals_a_slow_loop(channels: int, time: int, dilations: list[int]) -> None:
    x = np.random.default_rng(0).normal(size=(3, channels, time)).astype(np.float32)
    model = HydraFeatures(groups=4, kernels=3, seed=1).fit(x)
    assert model.dilations_ == dilations
    assert torch.allclose(model.weights_.abs().sum(dim=-1), torch.ones(1)) and model.channels_.max() < channels
    np.testing.assert_allclose(model.transform(x)[1], hydra_slowly(model, x[1].astype(float)), rtol=1e-3, atol=1e-4)


def test_hydra_draws_by_its_seed_and_not_by_the_windows(windows: Windows) -> None:
    some, louder = windows[::9], windows[::9].array() * 2
    one, same, other = (
        HydraFeatures(4, seed=seed).fit(fitted).transform(some) for seed, fitted in ((1, some), (1, louder), (2, some))
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("time", "arguments", "message"),
    [
        (9, {}, "need at least 10"),
        (50, {"groups": 3}, "groups is 3; expected an even number"),
        (50, {"groups": 0}, "groups is 0"),
        (50, {"kernels": 1}, "kernels is 1"),
    ],
)
def test_hydra_says_what_it_cannot_do(time: int, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HydraClassifier(**arguments).fit(np.zeros((4, 3, time)), np.array([0, 1, 0, 1]))


def test_the_sparse_scaler_keeps_zeros_and_scales_the_rest() -> None:
    x = np.array([[0.0, 4.0, -1.0], [0.0, 9.0, 1.0], [0.0, 16.0, 0.0]])
    scaled = SparseScaler().fit(x).transform(x)
    assert (scaled[:, 0] == 0).all() and scaled[0, 2] == 0 == scaled[2, 2]
    np.testing.assert_allclose(scaled[:, 1], [-1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize(("kind", "width"), [("statistics", 0), ("minirocket", 1008), ("hydra", 16 * 8 * 2 * 4)])
def test_the_head_sees_fixed_features_and_learns_from_unlabelled_windows(
    kind: str, width: int, windows: Windows
) -> None:
    few = windows.few_shot(3, seed=0)
    model = FixedFeaturesClassifier(kind, LogisticHead(n_augmented_copies=1)).fit(few, unlabelled=windows.unlabelled())
    seen = model._embed(windows[:4])
    assert seen.shape[1] == width + log_features(windows[:4].array()).shape[1]
    assert torch.equal(seen[:, width:], log_features(windows[:4].array()))
    assert model.effective_head_.self_training_rounds == 2  # the unlabelled windows were used
    assert model.score(windows, windows.y) > 0.8


def test_fixed_features_are_the_same_for_the_same_seed_and_of_a_known_kind(windows: Windows) -> None:
    few, others = windows.few_shot(3, seed=0), windows.unlabelled()
    one, same, other = (FixedFeaturesClassifier(seed=seed).fit(few, unlabelled=others) for seed in (1, 1, 2))
    assert np.array_equal(one.predict_proba(windows), same.predict_proba(windows))
    assert not np.array_equal(one.predict_proba(windows), other.predict_proba(windows))  # other augmented copies
    with pytest.raises(ValueError, match="features is 'words'; expected statistics, minirocket or hydra"):
        one.set_params(features="words").fit(few)


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_method_is_built_again_from_its_recorded_arguments(name: str) -> None:
    recorded = {"mode": name, **arguments_of(CLASSICAL[name](seed=3))}
    built = classical(recorded)
    assert type(built) is type(CLASSICAL[name]()) and {"mode": name, **arguments_of(built)} == recorded


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_method_says_whether_it_takes_unlabelled_windows(name: str) -> None:
    model = CLASSICAL[name]()
    assert model.uses_unlabelled == ("unlabelled" in inspect.signature(model.fit).parameters) == name.endswith("-head")


def test_a_forest_grows_on_copies_too(windows: Windows) -> None:
    few = windows.few_shot(2, seed=0)
    with seeded(0):
        every = torch.cat([few.array(), *(augment(few.array(), AUGMENTATIONS) for _ in range(8))])
    same = CLASSICAL["forest"](trees=5).fit(every, np.tile(few.y, 9)).predict_proba(windows)
    assert np.array_equal(CLASSICAL["forest-copies"](trees=5).fit(few).predict_proba(windows), same)
    assert not np.array_equal(CLASSICAL["forest"](trees=5).fit(few).predict_proba(windows), same)
