"""The classifier does in each mode what the mode says, changes nothing of the caller's, and behaves as an estimator."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from small_models import HEADS, MLP, PLAIN_HEAD, Normalised, bits, encoder, finetuned, same, small, whitened

from forging import save_forged
from otolith.checkpoints import checkpoint
from otolith.classifiers.features import embed
from otolith.classifiers.heads import Head, LogisticHead, MLPHead, TextHead
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import Encoder, Strided

MODES = ("frozen", "finetune", "scratch", "random-frozen")
every_mode = pytest.mark.parametrize("mode", MODES)
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def classifier(given: Any, head: Head, mode: Any = "frozen", **others: Any) -> TransferClassifier:
    return TransferClassifier(given, head, mode=mode, training=small(), **others)


# modes


@pytest.mark.parametrize("mode", ["frozen", "random-frozen"])
@every_head
@pytest.mark.parametrize("kind", [Strided, Normalised])
def test_a_frozen_fit_leaves_every_parameter_and_buffer_as_it_was(
    mode: str, head: Head, kind: type[Encoder], train: Windows, held: Windows, test: Windows
) -> None:
    model = classifier(encoder(kind, seed=1), head, mode).fit(train, validation=held)
    model.predict(test)
    untouched = classifier(encoder(kind, seed=1), MLP, mode).set_params(training__steps=0).fit(train)
    assert same(bits(untouched.encoder_), bits(model.encoder_)) and not model.encoder_.training
    assert same(bits(encoder(kind, seed=1)), bits(model.encoder_)) == (mode == "frozen")


@every_mode
@every_head
def test_the_encoder_that_is_passed_never_changes(mode: str, head: Head, train: Windows, held: Windows) -> None:
    passed = encoder(Normalised).train()
    before = bits(passed)
    model = classifier(passed, head, mode).fit(train, validation=held)
    model.predict(held)
    assert same(bits(passed), before) and passed.training and model.encoder_ is not passed
    assert all(value.grad is None for value in passed.parameters())


@every_head
def test_finetuning_changes_every_parameter_and_the_buffers(head: Head, train: Windows) -> None:
    model = classifier(encoder(Normalised), head, "finetune").fit(train)
    before, after = bits(encoder(Normalised)), bits(model.encoder_)
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {"_shift", "_scale"}
    assert not model.encoder_.training and not model.head_.training


@pytest.mark.parametrize("mode", ["scratch", "random-frozen"])
@every_head
def test_scratch_and_random_frozen_ignore_pretrained_weights(
    mode: str, head: Head, train: Windows, test: Windows, pretrained: Path
) -> None:
    def probabilities(pretrained: Encoder | Path, seed: int) -> np.ndarray:
        return classifier(pretrained, head, mode, seed=seed).fit(train).predict_proba(test)

    one = probabilities(encoder(seed=1), 0)
    assert np.array_equal(one, probabilities(encoder(seed=2), 0))
    assert np.array_equal(one, probabilities(pretrained, 0))
    assert not np.array_equal(one, probabilities(encoder(seed=1), 3))


def test_scratch_keeps_the_arguments_of_the_encoder(train: Windows) -> None:
    statistics = train.statistics()
    torch.manual_seed(0)
    model = classifier(Strided(6, **statistics, dropout=0.2), MLP, "scratch").fit(train)
    assert model.encoder_.arguments() == {"channels": 6, **statistics, "dropout": 0.2, "widths": [64, 128, 128]}


@every_head
def test_features_computed_beforehand_give_the_same_bits(
    head: Head, train: Windows, held: Windows, test: Windows
) -> None:
    tables = [embed(encoder(), part, statistics=head.use_statistics) for part in (train, held, test)]
    inside, outside = (classifier(encoder(), head) for _ in range(2))
    inside.fit(train, validation=held)
    outside.fit(train, validation=held, features=tables[0], validation_features=tables[1])
    assert inside.reads_pretrained_features and same(bits(inside.head_), bits(outside.head_))
    assert np.array_equal(inside.predict_proba(test), outside.predict_proba(test, features=tables[2]))


def test_features_computed_beforehand_are_what_the_head_learns_from(train: Windows, held: Windows) -> None:
    tables = [torch.zeros(len(part), 256) for part in (train, held)]
    model = classifier(encoder(), MLP).fit(train, validation=held, features=tables[0], validation_features=tables[1])
    assert len(np.unique(model.predict_proba(held, features=tables[1]), axis=0)) == 1
    with pytest.raises(ValueError, match="45 windows but features of 44; expected one row per window"):
        model.fit(train, features=tables[0][1:])
    broken = tables[0].clone()
    broken[7] = torch.nan
    with pytest.raises(ValueError, match="features of 1 of 45 windows are not finite; the first is window 7"):
        model.fit(train, features=broken)


@pytest.mark.parametrize(
    ("head", "mode", "tuning", "expected"),
    [
        (MLP, "frozen", {}, True),
        (MLP, "finetune", {}, False),
        (MLP, "finetune", {"probe_epochs": 1}, True),
        (MLP, "scratch", {"probe_epochs": 1}, False),
        (PLAIN_HEAD, "finetune", {}, True),
        (PLAIN_HEAD, "random-frozen", {}, False),
        (TextHead(), "finetune", {"probe_epochs": 1}, False),
    ],
)
def test_what_a_caller_can_compute_once(head: Head, mode: Any, tuning: dict[str, Any], expected: bool) -> None:
    model = TransferClassifier(encoder(), head, mode=mode, training=small(**tuning))
    assert model.reads_pretrained_features == expected


@every_mode
def test_same_seed_same_bits_and_the_callers_randomness_is_left_alone(
    mode: str, train: Windows, held: Windows, pretrained: Path
) -> None:
    def fitted(encoder: Encoder | Path, seed: int) -> dict[str, torch.Tensor]:
        training = small(augmentations=[{"name": "rotation"}])
        model = TransferClassifier(encoder, MLP, mode=mode, seed=seed, training=training)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the caller's global state
        model.fit(train, validation=held).predict(held)
        after = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        assert torch.equal(before[0], after[0]) and before[1] == after[1]
        return bits(model.head_)

    one = fitted(encoder(), 0)
    torch.rand(7)
    assert same(one, fitted(encoder(), 0))
    assert same(one, fitted(pretrained, 0))  # the path of a checkpoint does as its encoder does
    assert not same(one, fitted(encoder(), 1))


# scikit-learn


@pytest.mark.parametrize("as_tensor", [False, True])
def test_labels_may_be_names_and_windows_arrays(as_tensor: bool, examples: Any, train: Windows, test: Windows) -> None:
    x, y = examples
    model = TransferClassifier(encoder(), PLAIN_HEAD).fit(torch.from_numpy(x) if as_tensor else x, y)
    numbers = TransferClassifier(encoder(), PLAIN_HEAD).fit(train)
    assert model.classes_.tolist() == ["jogging", "sitting", "walking"] and numbers.classes_.tolist() == [0, 1, 2]
    probabilities = model.predict_proba(test)
    np.testing.assert_allclose(probabilities, numbers.predict_proba(test)[:, [1, 0, 2]], atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert np.array_equal(model.predict(test), model.classes_[probabilities.argmax(axis=1)])


def test_it_can_be_cloned_pickled_and_its_parameters_set(examples: Any) -> None:
    x, y = examples
    model = finetuned(encoder()).fit(x, y)
    other = clone(model)
    assert not hasattr(other, "head_") and other.get_params().keys() == model.get_params().keys()
    assert other.arguments() == model.arguments() and repr(other) == repr(model)
    assert np.array_equal(other.fit(x, y).predict_proba(x), model.predict_proba(x))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x), model.predict_proba(x))
    changed = clone(model).set_params(mode="frozen", seed=4, head__dropout=0.5, training__finetuning__layer_decay=0.5)
    assert changed.arguments()["head"] == {"name": "mlp", "hidden": [16, 8], "dropout": 0.5}
    assert changed.arguments()["training"]["finetuning"]["layer_decay"] == 0.5
    assert changed.seed == 4 and changed.mode == "frozen" and model.arguments() == other.arguments()
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(head__whiten=0.1)


def test_the_default_is_the_few_shot_method_and_setting_one_object_changes_no_other(train: Windows) -> None:
    before = TransferClassifier().arguments()
    assert before["mode"] == "frozen" and before["head"] == {"name": "logistic", **LogisticHead().arguments()}
    changed = TransferClassifier(encoder()).set_params(head__whiten=None, training__lr=9.0)
    changed.set_params(training__finetuning__encoder_lr=5.0)
    changed.head.C = 7.0
    assert TransferClassifier().arguments() == before != changed.arguments()
    assert Training().arguments() == before["training"]
    explicit = TransferClassifier(encoder(), LogisticHead()).fit(train)
    assert same(bits(TransferClassifier(encoder()).fit(train).head_), bits(explicit.head_))


def test_nested_parameters_are_searched(train: Windows) -> None:
    x, y = train.array().numpy(), train.y
    grid = {"head__C": [1e-6, 1.0], "head__n_augmented_copies": [0, 1], "training__finetuning__layer_decay": [0.5]}
    search = GridSearchCV(TransferClassifier(encoder()), grid, cv=GroupKFold(3)).fit(x, y, groups=train.subject)
    assert len(search.cv_results_["params"]) == 4 and search.best_params_["head__C"] == 1.0
    best = search.best_estimator_
    assert best.head.C == 1.0 and best.training.finetuning.layer_decay == 0.5
    assert len(np.unique(search.cv_results_["mean_test_score"].round(6))) > 1


def test_it_can_be_cross_validated_by_subject_inside_a_pipeline(examples: Any, train: Windows) -> None:
    x, y = examples
    model = TransferClassifier(encoder(), PLAIN_HEAD)
    folds = GroupKFold(3)
    alone = cross_val_score(model, x, y, groups=train.subject, cv=folds)
    double = FunctionTransformer(lambda values: values * 2)
    piped = cross_val_score(
        Pipeline([("double", double), ("classify", model)]), x / 2, y, groups=train.subject, cv=folds
    )
    assert len(alone) == 3 and alone.mean() > 1 / 3
    assert alone.tolist() == piped.tolist()


# saving

EVERY_ARGUMENT = [
    LogisticHead(0.3, 0.2, 0.05, 1, False, 2, [{"name": "noise", "sd": 0.1}]),
    LogisticHead(),
    PLAIN_HEAD,
    MLPHead((12, 9), 0.4),
]


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize("head", EVERY_ARGUMENT, ids=str)
def test_a_saved_classifier_comes_back_with_all_arguments(
    head: Head, mode: Any, train: Windows, test: Windows, pretrained: Path, tmp_path: Path
) -> None:
    some = train[train.y != 1]  # a class that is not trained on
    augmentations = [{"name": "rotation", "sd_degrees": 10}]
    tuning = FineTuning(1e-4, 0.9, 2, 1, 0.0)
    training = Training(2e-3, 1e-4, "adamw", "warmup-cosine", "accuracy", 7, 3, 16, 2, augmentations, "32-true", tuning)
    defaults, given = Training().arguments(), training.arguments()
    same_as_default = {name for name in defaults if defaults[name] == given[name]}
    assert same_as_default == {"precision"}
    model = TransferClassifier(pretrained, head, mode=mode, training=training, seed=5).fit(some)
    path = tmp_path / "classifier.safetensors"
    model.save(path, label_names=train.label_names, about={"note": "kept"})
    loaded = TransferClassifier.load(path)
    assert loaded.arguments() == model.arguments()
    assert loaded.effective_head_.arguments() == model.effective_head_.arguments()
    assert np.array_equal(loaded.predict_proba(test), model.predict_proba(test))
    assert loaded.classes_.tolist() == ["slow", "fast"] and loaded.signal_ == train.contract
    assert loaded.predict(test).tolist() == [train.label_names[label] for label in model.predict(test)]
    assert loaded.score(test) == model.score(test)
    assert loaded.about_["note"] == "kept" and loaded.about_["subjects"] == ["synthetic:1"]
    assert clone(loaded).fit(some).arguments() == model.arguments()


def test_arguments_build_the_same_classifier() -> None:
    for head in (*EVERY_ARGUMENT, TextHead({"slow": ("a", "b")}, "mine")):
        model = TransferClassifier(None, head, training=small(layer_decay=0.5), seed=3, device="meta")
        arguments = json.loads(json.dumps(model.arguments()))
        assert TransferClassifier.from_arguments(arguments).arguments() == arguments
    few = TransferClassifier.from_arguments({"head": {"C": 3.0}, "training": {"finetuning": {"encoder_lr": 1.0}}})
    assert few.head.C == 3.0 and few.training.finetuning.encoder_lr == 1.0 and few.training.lr == Training().lr
    with pytest.raises(ValueError, match="unknown head 'forest'; known: mlp, logistic, text"):
        TransferClassifier.from_arguments({"head": {"name": "forest"}})


def test_names_are_saved_as_they_are(examples: Any, pretrained: Path, tmp_path: Path) -> None:
    model = TransferClassifier(pretrained, PLAIN_HEAD).fit(*examples)
    model.save(tmp_path / "classifier.safetensors")
    loaded = TransferClassifier.load(tmp_path / "classifier.safetensors")
    assert loaded.predict(examples[0]).tolist() == model.predict(examples[0]).tolist()


def test_without_a_signal_contract_it_is_not_saved(examples: Any, tmp_path: Path) -> None:
    model = TransferClassifier(encoder(), PLAIN_HEAD).fit(*examples)
    with pytest.raises(ValueError, match="whose sampling rate and units are unknown; fit it on Windows"):
        model.save(tmp_path / "classifier.safetensors")


def test_an_encoder_alone_is_no_classifier(pretrained: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an encoder without a classifier; .* otolith transfer"):
        TransferClassifier.load(pretrained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.hidden": [10**9, 10**9]}, "weights do not fit the classifier"),
        ({"head.hidden": [-1]}, "cannot be used"),
        ({"head.hidden": None}, "cannot be used"),
        ({"head.name": "forest"}, "cannot be used: unknown head 'forest'"),
        ({"head.name": "logistic"}, "cannot be used"),
        ({"head": "mlp"}, "cannot be used"),
        ({"training.step": 3}, "cannot be used"),
        ({"labels": ["one"]}, "weights do not fit the classifier"),
        ({"head.dropout": 3.0}, "cannot be used: dropout"),
        ({"mode": ...}, "cannot be used: 'mode'"),
    ],
)
def test_a_classifier_that_does_not_fit_its_header_is_refused(
    change: dict[str, Any], message: str, train: Windows, pretrained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "classifier.safetensors"
    classifier(pretrained, MLP).fit(train).save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        header = json.loads(file.metadata()["otolith"])
    ((where, value),) = change.items()
    *sections, name = where.split(".")
    table = header["about"]["classifier"]
    for section in sections:
        table = table[section]
    if value is ...:
        del table[name]
    else:
        table[name] = value
    save_forged(tensors, path, json.dumps(header))
    with pytest.raises(ValueError, match=message):
        TransferClassifier.load(path)


# errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 1.0}, "windows of 1 s instead of 2 s"),
        ({"channels": ("acc_x", "acc_y", "acc_z")}, "channels acc_x, acc_y, acc_z instead of"),
    ],
)
def test_windows_that_the_contract_does_not_allow_are_refused(
    arguments: dict[str, Any], message: str, store: Store, train: Windows, pretrained: Path
) -> None:
    other = cut(store, **arguments)[::9]
    with pytest.raises(ValueError, match=f"the windows do not fit the encoder: {message}"):
        finetuned(pretrained).fit(other)
    model = TransferClassifier(pretrained, PLAIN_HEAD).fit(train)
    with pytest.raises(ValueError, match=f"the windows do not fit the model: {message}"):
        model.predict(other)


def test_a_new_first_layer_takes_windows_of_another_sensor(
    store: Store, windows: Windows, pretrained: Path, tmp_path: Path
) -> None:
    other = cut(store, seconds=1.0, channels=("acc_z", "acc_y", "acc_x", "gyro_x"))
    few, people = other.for_subjects(["1", "2"])[::9], other.for_subjects(["1", "2", "3"])
    given = bits(checkpoint.load(pretrained).encoder)
    first = {name for name in given if name in ("convolutions.0.weight", "_shift", "_scale")}
    frozen = TransferClassifier(pretrained, PLAIN_HEAD, first_layer="new").fit(few, unlabelled=people)
    assert not frozen.reads_pretrained_features and frozen.signal_ == other.contract
    made = bits(frozen.encoder_)
    assert all(torch.equal(made[name], given[name]) for name in given if name not in first)
    assert made["convolutions.0.weight"].shape[1] == 4
    statistics = people.statistics()
    assert (frozen.encoder_.mean, frozen.encoder_.std) == (statistics["mean"], statistics["std"])
    again = TransferClassifier(pretrained, PLAIN_HEAD, first_layer="new").fit(few, unlabelled=people)
    elsewhere = TransferClassifier(pretrained, PLAIN_HEAD, first_layer="new", seed=1).fit(few, unlabelled=people)
    assert same(made, bits(again.encoder_)) and not same(made, bits(elsewhere.encoder_))

    tuned = finetuned(pretrained, first_layer="new")
    assert not same(given, bits(tuned.fit(few).encoder_)) and tuned.steps_ == 4
    random = TransferClassifier(pretrained, PLAIN_HEAD, mode="random-frozen", first_layer="new").fit(few)
    assert not torch.equal(bits(random.encoder_)["convolutions.4.weight"], given["convolutions.4.weight"])
    frozen.save(tmp_path / "model.safetensors", label_names=windows.label_names)
    loaded = TransferClassifier.load(tmp_path / "model.safetensors")
    assert loaded.first_layer == "new" and loaded.arguments() == frozen.arguments()
    assert np.array_equal(loaded.predict_proba(few), frozen.predict_proba(few))
    assert "first_layer" not in TransferClassifier(pretrained).arguments()
    with pytest.raises(ValueError, match="first_layer is 'fresh'; expected pretrained or new"):
        TransferClassifier(pretrained, PLAIN_HEAD).set_params(first_layer="fresh").fit(few)
    with pytest.raises(ValueError, match="4 channels"):  # an array does not know its channels
        TransferClassifier(pretrained, PLAIN_HEAD, first_layer="new").fit(few.array(), few.y)


def test_windows_of_another_rate_are_refused(train: Windows, pretrained: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(pretrained)
    path = tmp_path / "slow.safetensors"
    checkpoint.save(path, loaded.encoder, dataclasses.replace(loaded.signal, rate_hz=25.0, seconds=4.0), about={})
    with pytest.raises(ValueError, match="rate 50 Hz instead of 25 Hz"):
        TransferClassifier(path).fit(train)


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (1, [0], "at least 2 windows, got 1"),
        (0, [], "at least 2 windows, got 0"),
        (4, ["a"] * 4, "at least 2 classes; all 4 windows are .*'a'"),
    ],
)
def test_too_little_to_learn_from_is_refused(count: int, labels: Any, message: str, examples: Any) -> None:
    with pytest.raises(ValueError, match=message):
        TransferClassifier(encoder()).fit(examples[0][:count], labels)


def test_nothing_is_predicted_before_the_fit(train: Windows) -> None:
    for method in ("predict", "predict_proba", "transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(TransferClassifier(encoder()), method)(train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None}, "no encoder given"),
        ({"mode": "thawed"}, "mode is 'thawed'; expected frozen, finetune, scratch, random-frozen or zero-shot"),
        ({"mode": "zero-shot"}, "the mode is zero-shot and the head MLPHead; zero-shot needs TextHead"),
        ({"head": "linear"}, r"head is 'linear'; expected a head such as LogisticHead\(\) or MLPHead\(\)"),
        ({"training__batch_size": 1}, "batch_size is 1; expected a whole number of at least 2"),
        ({"training__precision": "16"}, "precision is '16'; expected 32-true or bf16-mixed"),
        ({"training__optimizer": "sgd"}, "optimizer is 'sgd'; expected adam or adamw"),
        ({"training__schedule": "cosine"}, "schedule is 'cosine'; expected constant or warmup-cosine"),
        ({"training__monitor": "last"}, "monitor is 'last'; expected loss or accuracy"),
        ({"training__augmentations": [{"name": "turn"}]}, "unknown augmentation 'turn'"),
        ({"training__finetuning__layer_decay": 0.0}, "layer_decay is 0.0; expected a number of above 0 and at most 1"),
        ({"training__finetuning__layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"training__finetuning__trained_blocks": 0}, "trained_blocks is 0; expected a whole number of at least 1"),
        ({"training__finetuning__probe_epochs": -1}, "probe_epochs is -1; expected a whole number of at least 0"),
        ({"training__finetuning__auxiliary_objective_weight": -1.0}, "auxiliary_objective_weight is -1.0"),
        ({"head": whitened(C=0.0)}, "C is 0.0; expected a positive number"),
        ({"head": whitened(whiten=0.0)}, "whiten is 0.0; expected a positive number, or None"),
        ({"head": whitened(subject_weight=-0.1)}, "subject_weight is -0.1; expected a number of at least 0"),
        ({"head": whitened(subject_weight=float("nan"))}, "subject_weight is nan"),
        ({"head": whitened(self_training_rounds=-1)}, "self_training_rounds is -1"),
        ({"head": whitened(n_augmented_copies=-1)}, "n_augmented_copies is -1"),
        ({"head": whitened(n_augmented_copies=2, augmentations=())}, "n_augmented_copies is 2 and augmentations are"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str, train: Windows) -> None:
    with pytest.raises(ValueError, match=message):
        finetuned(encoder()).set_params(**arguments).fit(train)
