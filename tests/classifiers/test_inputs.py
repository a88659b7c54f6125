"""Arrays are converted or refused wherever they come in, and no probability is ever NaN."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import MLP, PLAIN_HEAD, encoder, small

from otolith.classifiers.baselines import CLASSICAL
from otolith.classifiers.inputs import check_labels, check_windows
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.windows import Windows

BASELINES = {"forest": {"trees": 5}, "svm": {}, "minirocket": {"features": 84}}


def models() -> dict[str, Any]:
    """Every classifier, small."""
    found = {name: CLASSICAL[name](**arguments) for name, arguments in BASELINES.items()}
    found["frozen"] = TransferClassifier(encoder(), PLAIN_HEAD)
    found["few-shot"] = TransferClassifier(encoder())
    found["finetune"] = TransferClassifier(encoder(), MLP, mode="finetune", training=small())
    return found


every_model = pytest.mark.parametrize("name", models())


def spoiled(x: np.ndarray, value: float) -> np.ndarray:
    x = x.copy()
    x[7, 2, 50] = value
    return x


@pytest.fixture(scope="module")
def fitted(examples: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    return {name: model.fit(*examples) for name, model in models().items()}


NOT_WINDOWS: dict[str, tuple[Any, str]] = {
    "NaN": (
        lambda x: spoiled(x, np.nan),
        r"1 of 45 windows hold NaN or infinite .* window 7 \(channel 2, time step 50\)",
    ),
    "infinite": (lambda x: spoiled(x, -np.inf), "window 7"),
    "beyond float32": (lambda x: spoiled(x.astype(np.float64), 1e300), "window 7"),
    "flat": (lambda x: x.reshape(45, -1), r"windows are \(45, 600\); expected \(windows, channels, time\)"),
    "one window": (lambda x: x[0], r"windows are \(6, 100\); .*pass one window as x\[None\]"),
    "four axes": (lambda x: x[..., None], r"windows are \(45, 6, 100, 1\)"),
    "names": (lambda x: x.astype(str), "expected numbers"),
    "complex": (lambda x: x.astype(complex), "expected numbers"),
    "objects": (lambda x: np.full(x.shape, "a", object), "windows are not numbers"),
    "ragged": (lambda x: [x[0], x[1][:, :50]], "windows differ in shape"),
    "swapped": (lambda x: x.transpose(0, 2, 1), r"100 channels and 6 time steps; .*swapped: pass x.transpose"),
}


@every_model
@pytest.mark.parametrize("wrong", NOT_WINDOWS)
def test_what_are_no_windows_is_refused_everywhere(
    name: str, wrong: str, examples: Any, fitted: dict[str, Any]
) -> None:
    x, y = examples
    make, message = NOT_WINDOWS[wrong]
    with pytest.raises(ValueError, match=message):
        models()[name].fit(make(x), y)
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(fitted[name], method):
            with pytest.raises(ValueError, match=message):
                getattr(fitted[name], method)(make(x))
    with pytest.raises(ValueError, match=message if wrong != "one window" else "6 windows but 45 labels"):
        fitted[name].score(make(x), y[:2] if wrong == "ragged" else y)


@every_model
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :, :60], r"6 channels and 60 time steps; expected .* with 6 channels and 100 time steps"),
        (lambda x: x[:, :3], "3 channels and 100 time steps; expected .* with 6 channels"),
        (lambda x: np.concatenate([x, x], axis=1), "12 channels and 100 time steps"),
    ],
)
def test_windows_of_another_shape_than_those_of_the_fit_are_refused(
    name: str, change: Any, message: str, examples: Any, fitted: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted[name].predict(change(examples[0]))
    with pytest.raises(ValueError, match=message):
        fitted[name].score(torch.from_numpy(change(examples[0])), examples[1])


def test_channels_and_length_are_those_of_the_encoder_and_its_contract(
    examples: Any, pretrained: Any, test: Windows
) -> None:
    x, y = examples
    with pytest.raises(ValueError, match=r"3 channels and 100 time steps; expected .* with 6 channels"):
        TransferClassifier(encoder()).fit(x[:, :3], y)
    with pytest.raises(ValueError, match=r"60 time steps; expected .* with 6 channels and 100 time steps"):
        TransferClassifier(pretrained).fit(x[:, :, :60], y)
    model = TransferClassifier(encoder(), PLAIN_HEAD).fit(x[:, :, :60], y)
    with pytest.raises(ValueError, match=r"100 time steps; expected .* with 6 channels and 60 time steps"):
        model.predict(test)
    with pytest.raises(ValueError, match="60 time steps"):
        TransferClassifier(encoder(), MLP, training=small()).fit(x, y, validation=(x[:, :, :60], y))


NOT_LABELS: dict[str, tuple[Any, str]] = {
    "none": (lambda y: None, "no labels: pass y, or windows that carry them"),
    "fewer": (lambda y: y[:-1], "45 windows but 44 labels"),
    "a name that is NaN": (lambda y: [*y[:3], float("nan"), *y[4:]], "1 of 45 labels are missing .* window 3"),
    "one missing": (lambda y: [*y[:3], None, *y[4:]], "1 of 45 labels are missing .* window 3"),
    "NaN": (lambda y: np.where(np.arange(45) > 42, np.nan, 1.0), "2 of 45 labels are missing .* window 43"),
    "a category": (lambda y: pd.Series(y).where(np.arange(45) != 5).astype("category"), "missing .* window 5"),
    "an integer that may be missing": (lambda y: pd.array([1, 2, None] * 15, dtype="Int64"), "missing .* window 2"),
    "continuous": (lambda y: np.linspace(0, 1, 45), "labels are continuous: that of window 1 is 0.02"),
    "mixed": (lambda y: [*y[:3], 5, *y[4:]], "labels are of mixed types: that of window 3 is 5"),
    "one-hot": (lambda y: np.eye(3)[np.arange(45) % 3], r"labels are \(45, 3\); expected one label per window"),
}


@every_model
@pytest.mark.parametrize("wrong", NOT_LABELS)
def test_what_are_no_labels_is_refused_everywhere(name: str, wrong: str, examples: Any, fitted: dict[str, Any]) -> None:
    x, y = examples
    make, message = NOT_LABELS[wrong]
    with pytest.raises(ValueError, match=message):
        models()[name].fit(x, make(y))
    with pytest.raises(ValueError, match=message):
        fitted[name].score(x, make(y))


def test_windows_and_labels_of_other_types_are_converted(examples: Any) -> None:
    x, y = examples
    expected = TransferClassifier(encoder(), PLAIN_HEAD).fit(x, y).predict_proba(x)
    read_only = x.copy()
    read_only.setflags(write=False)
    for given in (
        x.astype(np.float64),
        x.tolist(),
        list(x),
        np.asfortranarray(x),
        read_only,
        torch.tensor(x),
        x.astype(object),
    ):
        model = TransferClassifier(encoder(), PLAIN_HEAD).fit(given, y)
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-5)
    index = np.arange(100, 145)
    for labels in (list(y), y.astype(object), y[:, None], pd.Series(y, index=index), pd.Series(y, dtype="category")):
        model = TransferClassifier(encoder(), PLAIN_HEAD).fit(x, labels)
        np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-5)
    whole = (1000 * x).astype(np.int16)
    assert TransferClassifier(encoder(), PLAIN_HEAD).fit(whole, y).score(whole, y) > 0.9
    assert TransferClassifier(encoder(), PLAIN_HEAD).fit(x, y == "sitting").classes_.tolist() == [False, True]
    numbers = TransferClassifier(encoder(), PLAIN_HEAD).fit(x, np.unique(y, return_inverse=True)[1] * 1.0)
    assert numbers.classes_.tolist() == [0.0, 1.0, 2.0]
    assert check_windows(x).dtype == torch.float32 and check_labels(x, list(y)).tolist() == y.tolist()


@every_model
def test_scores_need_no_labels_of_windows_that_carry_them(name: str, train: Windows, test: Windows) -> None:
    model = models()[name].fit(train)
    expected = float((model.predict(test) == test.y).mean())
    assert model.score(test) == model.score(test, test.y) == model.score(test.array(), test.y) == expected
    weight = (test.y == 0).astype(float)
    assert model.score(test, sample_weight=weight) == (model.predict(test)[test.y == 0] == 0).mean()
    with pytest.raises(ValueError, match="no labels"):
        model.score(test.unlabelled())


def test_windows_with_gaps_never_give_a_nan_probability(train: Windows, test: Windows) -> None:
    values = test.values[0].clone()
    values[int(test.offset[4, 1]) + 10] = torch.nan
    broken = dataclasses.replace(test, values=(values,), memmaps=())
    model = TransferClassifier(encoder()).fit(train)
    with pytest.raises(ValueError, match=r"features of \d of \d+ windows are not finite; the first is window [0-4]"):
        model.predict_proba(broken)
    with pytest.raises(ValueError, match="not finite"):
        TransferClassifier(encoder()).fit(broken)
