"""The classifier does in each mode what the mode says, changes nothing of the caller's, and behaves as an estimator."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import logistic, training, transfer
from otolith.classifiers.training import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.augment import augment
from otolith.data.cutting import cut
from otolith.data.features import log_features
from otolith.data.sampling import seeded
from otolith.data.store import Store
from otolith.data.windows import Windows, join
from otolith.encoders import CPC, Encoder, Strided
from otolith.objectives import SimCLR
from otolith.pretraining import warmup_cosine

MODES = ("frozen", "finetune", "scratch", "random-frozen")
every_mode = pytest.mark.parametrize("mode", MODES)
both_heads = pytest.mark.parametrize("head", ["mlp", "logistic"])
SMALL: dict[str, Any] = {"hidden": (16, 8), "batch_size": 16, "steps": 4}


class Normalised(Encoder):
    """Everything that a forward pass in train mode would change: BatchNorm's buffers, and dropout."""

    def __init__(self, channels: int, mean: Any = None, std: Any = None) -> None:
        super().__init__(channels, mean, std)
        self.layers = nn.Sequential(nn.Conv1d(channels, self.dim, 9, 8), nn.BatchNorm1d(self.dim), nn.Dropout(0.3))

    def features(self, x: Tensor) -> Tensor:
        return self.layers(self.standardise(x)).transpose(1, 2)

    def summary(self, features: Tensor) -> Tensor:
        return features.amax(dim=1)

    def blocks(self) -> list[nn.Module]:
        return [self.layers]


def encoder(kind: type[Encoder] = Strided, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return kind(6)


def bits(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, also those that are not saved."""
    return {name: value.clone() for name, value in [*module.named_parameters(), *module.named_buffers()]}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def train(windows: Windows) -> Windows:
    """45 windows of three people, 15 a class."""
    chosen = windows.for_subjects(["1", "2", "3"])
    return chosen[np.concatenate([np.flatnonzero(chosen.y == label)[::4][:15] for label in range(3)])]


@pytest.fixture(scope="module")
def held(windows: Windows) -> Windows:
    return windows.for_subjects(["4"])[::3]


@pytest.fixture(scope="module")
def test(windows: Windows) -> Windows:
    return windows.for_subjects(["5", "6"])[::5]


@pytest.fixture(scope="module")
def pretrained(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an encoder, as pretraining would leave it."""
    path = tmp_path_factory.mktemp("pretrained") / "encoder.safetensors"
    checkpoint.save(path, encoder(), windows.contract, about={"objective": "none", "subjects": ["synthetic:1"]})
    return path


# modes


@pytest.mark.parametrize("mode", ["frozen", "random-frozen"])
@both_heads
@pytest.mark.parametrize("kind", [Strided, Normalised])
def test_a_frozen_fit_leaves_every_parameter_and_buffer_as_it_was(
    mode: str, head: str, kind: type[Encoder], train: Windows, held: Windows, test: Windows, monkeypatch: Any
) -> None:
    whole, before = TransferClassifier._build, {}

    def build(self: TransferClassifier, examples: Any) -> None:
        whole(self, examples)
        before.update(bits(self.encoder_))

    monkeypatch.setattr(TransferClassifier, "_build", build)
    model = TransferClassifier(encoder(kind, seed=1), mode=mode, head=head, **SMALL).fit(train, validation=held)
    model.predict(test)
    assert same(before, bits(model.encoder_)) and not model.encoder_.training
    assert same(before, bits(encoder(kind, seed=1))) == (mode == "frozen")


@every_mode
@both_heads
def test_the_encoder_that_is_passed_never_changes(mode: str, head: str, train: Windows, held: Windows) -> None:
    passed = encoder(Normalised).train()
    before = bits(passed)
    model = TransferClassifier(passed, mode=mode, head=head, **SMALL).fit(train, validation=held)
    model.predict(held)
    assert same(bits(passed), before) and passed.training and model.encoder_ is not passed
    assert all(value.grad is None for value in passed.parameters())


@both_heads
def test_finetuning_changes_every_parameter_and_the_buffers(head: str, train: Windows) -> None:
    model = TransferClassifier(encoder(Normalised), head=head, **SMALL).fit(train)
    before, after = bits(encoder(Normalised)), bits(model.encoder_)
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {"_shift", "_scale"}
    assert not model.encoder_.training and not model.head_.training


def moved(model: TransferClassifier, before: dict[str, Tensor]) -> set[int]:
    """Numbers of the blocks that training has changed."""
    after = bits(model.encoder_)
    names = {id(weight): name for name, weight in model.encoder_.named_parameters()}
    return {
        number
        for number, block in enumerate(model.encoder_.blocks())
        if any(not torch.equal(before[names[id(w)]], after[names[id(w)]]) for w in block.parameters())
    }


@pytest.mark.parametrize(
    ("last", "expected"), [(1, {2}), (2, {1, 2}), (3, {0, 1, 2}), (9, {0, 1, 2}), (None, {0, 1, 2})]
)
def test_only_the_last_blocks_train(last: int | None, expected: set[int], train: Windows, held: Windows) -> None:
    model = TransferClassifier(encoder(), last_blocks=last, **SMALL).fit(train, validation=held)
    assert moved(model, bits(encoder())) == expected
    assert all(weight.requires_grad for weight in model.encoder_.parameters())  # it can be trained on


def test_a_block_that_does_not_train_keeps_its_running_averages(train: Windows) -> None:
    class Two(Normalised):
        def __init__(self, channels: int, mean: Any = None, std: Any = None) -> None:
            super().__init__(channels, mean, std)
            self.last = nn.Linear(self.dim, self.dim)

        def summary(self, features: Tensor) -> Tensor:
            return self.last(features.amax(dim=1))

        def blocks(self) -> list[nn.Module]:
            return [self.layers, self.last]

    model = TransferClassifier(encoder(Two), last_blocks=1, **SMALL).fit(train)
    before, after = bits(encoder(Two)), bits(model.encoder_)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"last.weight", "last.bias"}


def test_rates_fall_from_block_to_block(train: Windows, rates: list[list[float]]) -> None:
    TransferClassifier(encoder(), lr=1e-2, encoder_lr=1e-3, layer_decay=0.5, **SMALL).fit(train)
    TransferClassifier(encoder(), lr=1e-2, layer_decay=0.1, last_blocks=2, **SMALL).fit(train)
    assert rates == [pytest.approx([1e-3, 5e-4, 2.5e-4, 1e-2]), pytest.approx([1e-2, 1e-3, 1e-2])]


def test_a_probe_trains_the_head_before_everything_trains(train: Windows, held: Windows) -> None:
    frozen = TransferClassifier(encoder(), mode="frozen", epochs=7, patience=None).fit(train, validation=held)
    probed = TransferClassifier(encoder(), epochs=0, probe_epochs=7).fit(train, validation=held)
    assert same(bits(frozen.head_), bits(probed.head_)) and same(bits(frozen.encoder_), bits(probed.encoder_))
    assert probed.steps_ == 7
    after = TransferClassifier(encoder(), epochs=2, probe_epochs=7).fit(train, validation=held)
    assert after.steps_ == 9 and moved(after, bits(encoder())) == {0, 1, 2}


@pytest.fixture(scope="module")
def with_objective(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    objective = SimCLR(encoder(), widths=(16, 8))
    about = {"objective": "simclr", "objective_arguments": objective.arguments(), "subjects": ["synthetic:1"]}
    path = tmp_path_factory.mktemp("objective") / "encoder.safetensors"
    checkpoint.save(path, objective.encoder, windows.contract, about=about, heads={"head": objective.head})
    return path


def test_the_pretext_goes_on_with_its_own_heads_on_the_windows_it_is_given(
    with_objective: Path, train: Windows, held: Windows, monkeypatch: Any
) -> None:
    seen, whole = [], SimCLR.forward

    def forward(self: SimCLR, batch: Any) -> dict[str, Tensor]:
        if not seen:
            state = checkpoint.load(with_objective).heads["head"]
            assert all(torch.equal(state[name], value) for name, value in self.head.state_dict().items())
        seen.append(batch.x.clone())
        return whole(self, batch)

    monkeypatch.setattr(SimCLR, "forward", forward)
    arguments = {"steps": 4, "batch_size": 8, "seed": 3}
    without = TransferClassifier(with_objective, **arguments).fit(train, validation=held)
    assert not seen
    weak = TransferClassifier(with_objective, keep_objective=0.1, **arguments).fit(train, unlabelled=held.unlabelled())
    assert len(seen) == 4 and all(x.shape == (8, 6, 100) for x in seen)
    pool = {bytes(x.numpy().tobytes()) for x in held.array()}
    assert all(x.numpy().tobytes() in pool for batch in seen for x in batch)
    strong = TransferClassifier(with_objective, keep_objective=9.0, **arguments).fit(
        train, unlabelled=held.unlabelled()
    )
    ends = [bits(model.encoder_) for model in (without, weak, strong)]
    assert not same(ends[0], ends[1]) and not same(ends[1], ends[2])
    own = TransferClassifier(checkpoint.load(with_objective), keep_objective=0.1, **arguments).fit(train)
    assert {x.numpy().tobytes() for x in seen[-1]} <= {x.numpy().tobytes() for x in train.array()}
    assert own.steps_ == 4


def test_mixed_precision_trains_in_bfloat16_and_predicts_in_32_bits(
    train: Windows, held: Windows, monkeypatch: Any
) -> None:
    kinds: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    whole = Strided.features

    def features(self: Strided, x: Tensor) -> Tensor:
        found = whole(self, x)
        kinds[self.training].add(found.dtype)
        return found

    monkeypatch.setattr(Strided, "features", features)
    mixed = TransferClassifier(encoder(), steps=60, precision="bf16-mixed").fit(train, validation=held)
    assert kinds == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    kinds[False].clear()
    assert (mixed.predict(train) == train.y).mean() > 0.9
    assert kinds[False] == {torch.float32} and all(w.dtype == torch.float32 for w in mixed.encoder_.parameters())


@pytest.mark.parametrize("mode", ["finetune", "scratch"])
def test_a_pretext_cannot_go_on_where_there_was_none(mode: str, with_objective: Path, train: Windows) -> None:
    given = encoder() if mode == "finetune" else with_objective
    with pytest.raises(ValueError, match="keep_objective needs a pretrained checkpoint"):
        TransferClassifier(given, mode=mode, keep_objective=1.0, **SMALL).fit(train)


def test_encoder_lr_is_the_encoders_alone(train: Windows) -> None:
    model = TransferClassifier(encoder(), encoder_lr=0.0, **SMALL).fit(train)
    still = TransferClassifier(encoder(), encoder_lr=0.0, **{**SMALL, "steps": 0}).fit(train)
    assert same(bits(model.encoder_), bits(encoder()))
    assert not same(bits(model.head_), bits(still.head_))


@pytest.mark.parametrize("mode", ["scratch", "random-frozen"])
@both_heads
def test_scratch_and_random_frozen_ignore_pretrained_weights(
    mode: str, head: str, train: Windows, test: Windows, pretrained: Path
) -> None:
    def probabilities(pretrained: Encoder | Path, seed: int) -> np.ndarray:
        return TransferClassifier(pretrained, mode=mode, head=head, seed=seed, **SMALL).fit(train).predict_proba(test)

    one = probabilities(encoder(seed=1), 0)
    assert np.array_equal(one, probabilities(encoder(seed=2), 0))
    assert np.array_equal(one, probabilities(pretrained, 0))
    assert not np.array_equal(one, probabilities(encoder(seed=1), 3))


def test_scratch_keeps_the_arguments_of_the_encoder(train: Windows) -> None:
    statistics = train.statistics()
    torch.manual_seed(0)
    model = TransferClassifier(Strided(6, **statistics, dropout=0.2), mode="scratch", **SMALL).fit(train)
    assert model.encoder_.arguments() == {"channels": 6, **statistics, "dropout": 0.2, "widths": [64, 128, 128]}


@both_heads
def test_features_computed_beforehand_give_the_same_bits(
    head: str, train: Windows, held: Windows, test: Windows
) -> None:
    tables = [embed(encoder(), part) for part in (train, held, test)]
    inside = TransferClassifier(encoder(), mode="frozen", head=head, **SMALL).fit(train, validation=held)
    outside = TransferClassifier(encoder(), mode="frozen", head=head, **SMALL)
    outside.fit(train, validation=held, features=tables[0], validation_features=tables[1])
    assert same(bits(inside.head_), bits(outside.head_))
    assert np.array_equal(inside.predict_proba(test), outside.predict_proba(test, features=tables[2]))


def test_features_computed_beforehand_are_what_the_head_learns_from(train: Windows, held: Windows) -> None:
    tables = [torch.zeros(len(part), 256) for part in (train, held)]
    model = TransferClassifier(encoder(), mode="frozen", **SMALL)
    model.fit(train, validation=held, features=tables[0], validation_features=tables[1])
    assert len(np.unique(model.predict_proba(held, features=tables[1]), axis=0)) == 1


# training


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize(
    ("count", "batch_size", "arguments", "steps"),
    [
        (45, 16, {"steps": 7}, 7),  # more than one pass over the windows
        (45, 16, {"steps": 1}, 1),
        (45, 16, {"steps": 0}, 0),
        (45, 16, {"steps": None, "epochs": 2}, 6),
        (33, 16, {"steps": None, "epochs": 2}, 4),  # the 33rd window joins the batch before it
        (17, 16, {"steps": None, "epochs": 3}, 3),
        (2, 16, {"steps": None, "epochs": 2}, 2),
    ],
)
def test_the_budget_is_kept(
    mode: str, count: int, batch_size: int, arguments: dict[str, Any], steps: int, train: Windows, monkeypatch: Any
) -> None:
    some = train[np.random.default_rng(2).permutation(45)[:count]]
    assert len(np.unique(some.y)) > 1
    losses = []
    monkeypatch.setattr(transfer.F, "cross_entropy", _recorded(transfer.F.cross_entropy, losses))
    settings = {**SMALL, "batch_size": batch_size, "patience": None, **arguments}
    model = TransferClassifier(encoder(), mode=mode, **settings).fit(some)
    assert model.steps_ == steps == len(losses)
    if arguments["steps"] is None:  # every pass sees each window once
        assert sum(losses) == count * arguments["epochs"]


def _recorded(whole: Any, sizes: list[int]) -> Any:
    def cross_entropy(logits: Tensor, target: Tensor, **other: Any) -> Tensor:
        sizes.append(len(target))
        return whole(logits, target, **other)

    return cross_entropy


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize("budget", [{"steps": None, "epochs": 60}, {"steps": 180}])
def test_early_stopping_returns_to_the_best_validation_loss(
    mode: str, budget: dict[str, Any], train: Windows, held: Windows, monkeypatch: Any
) -> None:
    whole, checked = training._loss, []
    monkeypatch.setattr(transfer, "_loss", lambda *arguments: checked.append(whole(*arguments)) or checked[-1])
    settings = {**SMALL, "lr": 0.05, "patience": 3, **budget}
    model = TransferClassifier(encoder(), mode=mode, **settings).fit(train, validation=held)
    assert len(checked) > 3 and checked.index(min(checked)) == len(checked) - 4 and model.steps_ < 180
    own = model.predict_proba(held)[np.arange(len(held)), held.y]
    assert -np.log(own).mean() == pytest.approx(min(checked), rel=1e-4)


def test_without_validation_windows_the_last_weights_are_kept(train: Windows, monkeypatch: Any) -> None:
    monkeypatch.setattr(transfer, "_loss", lambda *_: pytest.fail("there is nothing to check"))
    assert TransferClassifier(encoder(), patience=1, **{**SMALL, "steps": 9}).fit(train).steps_ == 9


def test_validation_classes_that_are_not_trained_on_are_left_out(train: Windows, windows: Windows) -> None:
    held = windows.for_subjects(["4"])[::3]
    two = train[train.y != 1]
    assert set(held.y) == {0, 1, 2}

    def fitted(validation: Windows | None) -> TransferClassifier:
        settings = {**SMALL, "steps": 40, "lr": 0.3, "patience": 2}
        return TransferClassifier(encoder(), mode="frozen", **settings).fit(two, validation=validation)

    assert same(bits(fitted(held).head_), bits(fitted(held[held.y != 1]).head_))
    assert same(bits(fitted(held[held.y == 1]).head_), bits(fitted(None).head_))
    assert not same(bits(fitted(held).head_), bits(fitted(None).head_))  # the validation mattered


@every_mode
def test_same_seed_same_bits_and_the_callers_randomness_is_left_alone(
    mode: str, train: Windows, held: Windows, pretrained: Path
) -> None:
    def fitted(encoder: Encoder | Path, seed: int) -> dict[str, Tensor]:
        augmentations = [{"name": "rotation"}]
        model = TransferClassifier(encoder, mode=mode, seed=seed, augmentations=augmentations, **SMALL)
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


def test_augmentation_acts_where_the_encoder_trains_and_only_there(train: Windows, test: Windows) -> None:
    def probabilities(mode: str, *names: str) -> np.ndarray:
        steps = [{"name": name} for name in names]
        return TransferClassifier(encoder(), mode=mode, augmentations=steps, **SMALL).fit(train).predict_proba(test)

    assert not np.array_equal(probabilities("finetune"), probabilities("finetune", "negation"))
    assert np.array_equal(probabilities("frozen"), probabilities("frozen", "negation"))


def test_finetuning_learns_the_movements(train: Windows, test: Windows) -> None:
    torch.manual_seed(0)
    settings = {"steps": 60, "batch_size": 32, "hidden": (32,), "augmentations": [{"name": "rotation"}]}
    model = TransferClassifier(Strided(6, **train.statistics()), **settings).fit(train)
    assert model.score(test, test.y) > 0.65  # chance is a third


# the logistic head


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_the_logistic_head_is_logistic_regression_on_standardised_features(
    classes: int, penalty: float, train: Windows, test: Windows
) -> None:
    train, test = (part[part.y < classes] for part in (train, test))
    model = TransferClassifier(encoder(), mode="frozen", head="logistic", penalty=penalty).fit(train)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
    expected.fit(embed(encoder(), train).numpy(), train.y)
    probabilities = expected.predict_proba(embed(encoder(), test).numpy())
    assert probabilities.shape[1] == classes and model.steps_ == 0
    np.testing.assert_allclose(model.predict_proba(test), probabilities, atol=1e-4)


def test_finetuning_sets_out_from_the_logistic_head(train: Windows, held: Windows, test: Windows) -> None:
    def fitted(mode: str, **other: Any) -> TransferClassifier:
        return TransferClassifier(encoder(), mode=mode, head="logistic", **other).fit(train, validation=held)

    frozen = fitted("frozen").predict_proba(test)
    assert np.array_equal(fitted("finetune", steps=0).predict_proba(test), frozen)
    moved = fitted("finetune", steps=1, lr=1e-6).predict_proba(test)
    np.testing.assert_allclose(moved, frozen, atol=1e-2)
    assert not np.array_equal(moved, frozen)


def test_whitening_is_by_what_changes_between_neighbours(train: Windows, held: Windows, test: Windows) -> None:
    around = held.unlabelled()
    arguments: dict[str, Any] = {"mode": "frozen", "head": "logistic", "whiten": 0.1}
    model = TransferClassifier(encoder(), **arguments).fit(train, unlabelled=around)
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
    whitened = [part @ vector / np.sqrt(value) / scale for part in (own, unseen)]
    expected = LogisticRegression(max_iter=2000).fit(whitened[0], train.y).predict_proba(whitened[1])
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)  # two solvers' tolerances
    plain = TransferClassifier(encoder(), mode="frozen", head="logistic").fit(train).predict_proba(test)
    assert np.abs(plain - expected).max() > 0.02

    known = TransferClassifier(encoder(), **arguments).fit(
        train, unlabelled=around, unlabelled_features=embed(encoder(), held)
    )
    np.testing.assert_allclose(known.predict_proba(test), model.predict_proba(test), atol=1e-6)
    shuffled = np.random.default_rng(0).permutation(len(held))
    mixed = TransferClassifier(encoder(), **arguments).fit(train, unlabelled=held[shuffled].unlabelled())
    np.testing.assert_allclose(mixed.predict_proba(test), model.predict_proba(test), atol=5e-3)


def test_windows_that_lie_apart_are_no_neighbours(train: Windows, held: Windows) -> None:
    whole = held[np.flatnonzero(held.recording == held.recording[0])]
    spread = dataclasses.replace(whole, start_s=10.5 * np.arange(len(whole)))
    close = dataclasses.replace(whole, start_s=10.0 * np.arange(len(whole)))
    one, other = logistic.neighbours(close)
    assert one.tolist() == list(range(len(whole) - 1)) and (other == one + 1).all()
    with pytest.raises(ValueError, match="no neighbours"):
        TransferClassifier(encoder(), mode="frozen", head="logistic", whiten=0.1).fit(train, unlabelled=spread)


def test_statistics_stand_beside_the_features_with_the_same_sum_of_variances(
    train: Windows, held: Windows, test: Windows, tmp_path: Path
) -> None:
    plain: dict[str, Any] = {"mode": "frozen", "head": "logistic", "statistics": True, "penalty": 0.01}
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
    model = TransferClassifier(encoder(), **plain).fit(train)
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)
    without = TransferClassifier(encoder(), mode="frozen", head="logistic", penalty=0.01).fit(train).predict_proba(test)
    assert np.abs(without - expected).max() > 0.02

    whitened = TransferClassifier(encoder(), whiten=0.1, **plain).fit(train, unlabelled=held.unlabelled())
    assert np.abs(whitened.predict_proba(test) - expected).max() > 0.02
    for fitted in (model, whitened, TransferClassifier(encoder(), **{**plain, "mode": "finetune"}, steps=2).fit(train)):
        fitted.save(tmp_path / "model.safetensors")
        again = TransferClassifier.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(again.predict_proba(test), fitted.predict_proba(test))
    with pytest.raises(ValueError, match="for the logistic head"):
        TransferClassifier(encoder(), statistics=True).fit(train)


def test_copies_are_further_training_windows_of_the_logistic_head(train: Windows, test: Windows) -> None:
    steps = [{"name": "rotation", "sd_degrees": 10}, {"name": "noise"}]
    plain: dict[str, Any] = {"mode": "frozen", "head": "logistic", "penalty": 0.01}
    model = TransferClassifier(encoder(), copies=3, augmentations=steps, seed=5, **plain).fit(train)
    with seeded(5, "cpu"):
        copied = [augment(train.array(), steps) for _ in range(3)]
    more = torch.cat([train.array(), *copied])
    expected = TransferClassifier(encoder(), **plain).fit(more, np.tile(train.y, 4))
    np.testing.assert_allclose(model.predict_proba(test), expected.predict_proba(test), atol=1e-5)
    assert not any(torch.equal(one, two) for one, two in itertools.combinations([train.array(), *copied], 2))
    without = TransferClassifier(encoder(), **plain).fit(train)
    assert np.abs(without.predict_proba(test) - model.predict_proba(test)).max() > 1e-3
    tuned = TransferClassifier(
        encoder(), copies=3, augmentations=steps, **{**plain, "mode": "finetune"}, steps=2, lr=1e-7
    )
    np.testing.assert_allclose(
        TransferClassifier(encoder(), copies=3, augmentations=steps, **plain).fit(train).predict_proba(test),
        tuned.fit(train).predict_proba(test),
        atol=1e-3,
    )
    for wrong in ({"copies": -1}, {"copies": 2}):
        with pytest.raises(ValueError, match=r"expected 0, or more with augmentations"):
            TransferClassifier(encoder(), **plain, **wrong).fit(train)
    with pytest.raises(ValueError, match="for the logistic head"):
        TransferClassifier(encoder(), copies=2, augmentations=steps).fit(train)


def test_whitening_needs_neighbours(train: Windows, examples: Any) -> None:
    for whiten, head in ((0.0, "logistic"), (-1.0, "logistic"), (0.1, "mlp")):
        with pytest.raises(ValueError, match="positive number with logistic"):
            TransferClassifier(encoder(), head=head, whiten=whiten).fit(train)
    model = TransferClassifier(encoder(), mode="frozen", head="logistic", whiten=0.1)
    with pytest.raises(ValueError, match="know their recordings"):
        model.fit(*examples)
    apart = train[np.unique(train.recording, return_index=True)[1]]
    with pytest.raises(ValueError, match="no neighbours"):
        model.fit(train, unlabelled=apart.unlabelled())


def _between(table: np.ndarray, people: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Covariance of people's means about those of their groups, in the plainest way."""
    total = np.zeros((table.shape[1],) * 2)
    for one in np.unique(group):
        known = [p for p in np.unique(people) if weight[(group == one) & (people == p)].sum() >= 2]
        if len(known) < 2:
            continue
        inside = (group == one) & np.isin(people, known)
        centre = np.average(table[inside], axis=0, weights=weight[inside])
        for p in known:
            mine = inside & (people == p)
            away = np.average(table[mine], axis=0, weights=weight[mine]) - centre
            total += weight[mine].sum() / weight[inside].sum() * np.outer(away, away)
    return total


def test_whitening_and_self_training_as_they_are_described(train: Windows, held: Windows, test: Windows) -> None:
    around = join([train, dataclasses.replace(held, dataset="other")])
    people = np.concatenate([train.subject, held.subject + 100])
    arguments: dict[str, Any] = {"mode": "frozen", "head": "logistic", "whiten": 0.1}
    scaler = StandardScaler().fit(np.concatenate([embed(encoder(), part).numpy() for part in (train, held)]))
    own, more, unseen = (
        scaler.transform(embed(encoder(), part).numpy().astype(np.float64)) for part in (train, around, test)
    )
    one, other = logistic.neighbours(around)
    change = more[other] - more[one]
    change = change[(size := np.linalg.norm(change, axis=1)) <= np.quantile(size, 0.98)]
    covariance = change.T @ change / len(change) / 2

    def whitened(between: np.ndarray) -> list[np.ndarray]:
        total = covariance + between / np.trace(between) * np.trace(covariance)
        total += 0.1 * np.diag(total).mean() * np.eye(len(total))
        value, vector = np.linalg.eigh(total)
        scale = (more @ vector / np.sqrt(value)).std()
        return [part @ vector / np.sqrt(value) / scale for part in (own, more, unseen)]

    def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> LogisticRegression:
        return LogisticRegression(max_iter=2000).fit(x, y, sample_weight=weight)

    total = _between(more, people, np.zeros(len(more)), np.ones(len(more)))
    tables = whitened(total)
    expected = fitted(tables[0], train.y).predict_proba(tables[2])
    model = TransferClassifier(encoder(), whiten_people=1.0, **arguments).fit(train, unlabelled=around)
    np.testing.assert_allclose(model.predict_proba(test), expected, atol=5e-3)
    plain = TransferClassifier(encoder(), **arguments).fit(train, unlabelled=around).predict_proba(test)
    assert np.abs(plain - expected).max() > 0.02

    guess = fitted(tables[0], train.y).predict_proba(tables[1])
    for rounds in (1, 2):
        sure = np.where(guess.max(axis=1) >= 0.5, guess.max(axis=1), 0)
        tables = whitened(_between(more, people, guess.argmax(axis=1), sure))
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
        model = TransferClassifier(encoder(), whiten_people=1.0, self_training=rounds, **arguments)
        model.fit(train, unlabelled=around)
        np.testing.assert_allclose(model.predict_proba(test), expected, atol=0.02)


def test_what_people_differ_in_is_not_taken_for_the_class(train: Windows) -> None:
    """Two labelled people, each of one class, who differ more than classes do; six more say what people differ in."""
    random = np.random.default_rng(0)
    person, label = np.repeat(np.arange(8), 60), np.tile(np.repeat([0, 1], 30), 8)
    offset = random.normal(size=8)
    table = np.stack(
        [label + 0.3 * random.normal(size=480), 3 * offset[person] + 0.3 * random.normal(size=480)], axis=1
    )
    windows = train[np.zeros(480, int)]
    windows = dataclasses.replace(
        windows, subject=person, recording=np.arange(480) // 30, start_s=np.arange(480.0) * windows.contract.seconds
    )
    one, two = np.argsort(offset)[[0, -1]]
    few = np.flatnonzero(((person == one) & (label == 0)) | ((person == two) & (label == 1)))
    others = ~np.isin(person, [one, two])
    features, target = torch.from_numpy(table), torch.from_numpy(label)
    right = {}
    around = logistic.Whitener(features, windows, 0.1, np.ones(2))
    for name, how in (("plain", {}), ("people", {"people": 10.0}), ("trained", {"rounds": 2})):
        head = logistic.fit(features[few], target[few], 1.0, np.ones(2), around, **how)
        with torch.no_grad():
            right[name] = float(
                (head(features.float()).argmax(dim=1) == target)[torch.from_numpy(others)].float().mean()
            )
    assert right["plain"] < 0.6 < right["trained"] and right["people"] > 0.85
    alone = logistic.Whitener(features, dataclasses.replace(windows, subject=np.zeros(480, int)), 0.1, np.ones(2))
    np.testing.assert_array_equal(alone.whitening(10.0)[0], alone.whitening()[0])


def test_people_and_self_training_go_with_whitening(train: Windows) -> None:
    for wrong in ({"whiten_people": 0.1}, {"self_training": 1}):
        with pytest.raises(ValueError, match="go with whiten, which is none"):
            TransferClassifier(encoder(), head="logistic", **wrong).fit(train)
    for wrong in ({"whiten_people": -0.1}, {"self_training": -1}, {"whiten_people": float("nan")}):
        with pytest.raises(ValueError, match="expected at least 0"):
            TransferClassifier(encoder(), head="logistic", whiten=0.1, **wrong).fit(train)


# scikit-learn


@pytest.fixture(scope="module")
def examples(train: Windows) -> tuple[np.ndarray, np.ndarray]:
    """An array and its labels as words, whose alphabetical order is not that of their numbers."""
    return train.array().numpy(), np.array(["sitting", "jogging", "walking"])[train.y]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_labels_may_be_words_and_windows_arrays(as_tensor: bool, examples: Any, train: Windows, test: Windows) -> None:
    x, y = examples
    model = TransferClassifier(encoder(), mode="frozen", head="logistic").fit(
        torch.from_numpy(x) if as_tensor else x, y
    )
    numbers = TransferClassifier(encoder(), mode="frozen", head="logistic").fit(train)
    assert model.classes_.tolist() == ["jogging", "sitting", "walking"] and numbers.classes_.tolist() == [0, 1, 2]
    probabilities = model.predict_proba(test)
    np.testing.assert_allclose(probabilities, numbers.predict_proba(test)[:, [1, 0, 2]], atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert np.array_equal(model.predict(test), model.classes_[probabilities.argmax(axis=1)])


def test_it_can_be_cloned_and_its_parameters_set(examples: Any) -> None:
    x, y = examples
    model = TransferClassifier(encoder(), **SMALL).fit(x, y)
    other = clone(model)
    assert not hasattr(other, "head_") and other.get_params().keys() == model.get_params().keys()
    assert np.array_equal(other.fit(x, y).predict_proba(x), model.predict_proba(x))
    changed = clone(model).set_params(mode="frozen", seed=4)
    assert changed.get_params()["seed"] == 4 and changed.get_params()["mode"] == "frozen"
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(modes="frozen")


def test_it_can_be_cross_validated_by_person_inside_a_pipeline(examples: Any, train: Windows) -> None:
    x, y = examples
    model = TransferClassifier(encoder(), mode="frozen", head="logistic")
    folds = GroupKFold(3)
    alone = cross_val_score(model, x, y, groups=train.subject, cv=folds)
    double = FunctionTransformer(lambda values: values * 2)
    piped = cross_val_score(
        Pipeline([("double", double), ("classify", model)]), x / 2, y, groups=train.subject, cv=folds
    )
    assert len(alone) == 3 and alone.mean() > 1 / 3
    assert alone.tolist() == piped.tolist()


# saving


@both_heads
def test_a_saved_classifier_gives_the_same_probabilities_and_names(
    head: str, train: Windows, test: Windows, pretrained: Path, tmp_path: Path
) -> None:
    some = train[train.y != 1]  # a class that nobody trained on keeps its name to itself
    model = TransferClassifier(pretrained, head=head, **SMALL).fit(some)
    path = tmp_path / "classifier.safetensors"
    model.save(path, label_names=train.label_names, about={"note": "kept"})
    loaded = TransferClassifier.load(path)
    assert np.array_equal(loaded.predict_proba(test), model.predict_proba(test))
    assert loaded.classes_.tolist() == ["slow", "fast"] and loaded.signal_ == train.contract
    assert loaded.predict(test).tolist() == [train.label_names[label] for label in model.predict(test)]
    assert loaded.about_["note"] == "kept" and loaded.about_["subjects"] == ["synthetic:1"]


def test_words_are_saved_as_they_are(examples: Any, pretrained: Path, tmp_path: Path) -> None:
    model = TransferClassifier(pretrained, mode="frozen", head="logistic").fit(*examples)
    model.save(tmp_path / "classifier.safetensors")
    loaded = TransferClassifier.load(tmp_path / "classifier.safetensors")
    assert loaded.predict(examples[0]).tolist() == model.predict(examples[0]).tolist()


def test_without_a_signal_contract_it_is_not_saved(examples: Any, tmp_path: Path) -> None:
    model = TransferClassifier(encoder(), mode="frozen", head="logistic").fit(*examples)
    with pytest.raises(ValueError, match="nobody knows their rate and units; fit it on Windows"):
        model.save(tmp_path / "classifier.safetensors")


def test_an_encoder_alone_is_no_classifier(pretrained: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an encoder without a classifier; .* otolith transfer"):
        TransferClassifier.load(pretrained)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"hidden": [10**9, 10**9]}, "weights do not fit the classifier"),
        ({"hidden": [-1]}, "cannot be used"),
        ({"hidden": None}, "cannot be used"),
        ({"labels": ["one"]}, "weights do not fit the classifier"),
        ({"dropout": 3.0}, "cannot be used: dropout"),
        ({"mode": ...}, "cannot be used: 'mode'"),
    ],
)
def test_a_classifier_that_does_not_fit_its_header_is_refused(
    facts: dict[str, Any], message: str, train: Windows, pretrained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "classifier.safetensors"
    TransferClassifier(pretrained, mode="frozen", **SMALL).fit(train).save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        header = json.loads(file.metadata()["otolith"])
    header["about"]["classifier"].update(facts)
    if ... in facts.values():
        del header["about"]["classifier"]["mode"]
    save_file(tensors, path, metadata={"otolith": json.dumps(header)})
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
        TransferClassifier(pretrained, **SMALL).fit(other)
    model = TransferClassifier(pretrained, mode="frozen", head="logistic").fit(train)
    with pytest.raises(ValueError, match=f"the windows do not fit the model: {message}"):
        model.predict(other)


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
        (4, [0, 1], "4 windows but 2 labels"),
        (4, ["a"] * 4, "at least 2 classes; all 4 windows are .*'a'"),
        (4, None, "no labels: pass y, or windows that carry them"),
    ],
)
def test_too_little_to_learn_from_is_refused(count: int, labels: Any, message: str, examples: Any) -> None:
    with pytest.raises(ValueError, match=message):
        TransferClassifier(encoder()).fit(examples[0][:count], labels)


def test_nothing_is_predicted_before_the_fit(train: Windows) -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(TransferClassifier(encoder()), method)(train)


def test_windows_without_labels_are_refused(train: Windows) -> None:
    with pytest.raises(ValueError, match="no labels"):
        TransferClassifier(encoder()).fit(train.unlabelled())


@every_mode
def test_an_array_of_another_shape_is_refused(mode: str, examples: Any) -> None:
    x, y = examples
    with pytest.raises(ValueError, match=r"windows are \(45, 600\); expected \(windows, channels, time\)"):
        TransferClassifier(encoder(), mode=mode, **SMALL).fit(x.reshape(45, -1), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None}, "no encoder given"),
        ({"mode": "thawed"}, "mode is 'thawed'; expected frozen, finetune, scratch, random-frozen or zero-shot"),
        ({"head": "linear"}, "head is 'linear'; expected mlp, logistic or text"),
        ({"batch_size": 1}, "batch_size is 1; expected at least 2"),
        ({"precision": "16"}, "precision is '16'; expected 32-true or bf16-mixed"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd'; expected adam or adamw"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; expected constant or warmup-cosine"),
        ({"keep": "last"}, "keep is 'last'; expected loss or accuracy"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0; expected 0 < layer_decay <= 1"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"last_blocks": 0}, r"last_blocks is 0; expected at least 1 \(mode frozen trains none\)"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], message: str, train: Windows) -> None:
    with pytest.raises(ValueError, match=message):
        TransferClassifier(encoder(), **SMALL).set_params(**arguments).fit(train)


def test_a_loss_that_is_not_finite_ends_with_advice(examples: Any) -> None:
    x, y = examples
    with pytest.raises(ValueError, match="not finite"):
        TransferClassifier(encoder(CPC), mode="finetune", **SMALL).fit(x * np.float32(np.nan), y)


# as published for PRIMUS


def test_the_learning_rate_warms_up_and_falls_to_zero(train: Windows, monkeypatch: Any) -> None:
    for of, warmup in ((100, 10), (4000, 40)):
        rates = np.array([warmup_cosine(step, of) for step in range(of)])
        np.testing.assert_allclose(rates[:warmup], np.arange(1, warmup + 1) / warmup)
        assert rates[warmup] == 1 and (np.diff(rates[warmup:]) < 0).all() and rates[-1] < 1e-3
        middle = warmup + (of - warmup) // 2
        assert rates[middle] == pytest.approx(0.5)
    seen: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *rest: seen.append(self.param_groups[-1]["lr"]) or step(self, *rest),
    )
    settings: dict[str, Any] = {**SMALL, "steps": 20, "optimiser": "adamw", "schedule": "warmup-cosine", "lr": 0.01}
    TransferClassifier(encoder(), mode="frozen", **settings).fit(train)
    assert seen == pytest.approx([0.01 * warmup_cosine(k, 20) for k in range(20)])


def test_adamw_takes_its_decay_from_the_weights(train: Windows) -> None:
    models = [
        TransferClassifier(encoder(), mode="frozen", optimiser=kind, weight_decay=0.1, **SMALL).fit(train).head_
        for kind in ("adam", "adamw")
    ]
    assert not same(bits(models[0]), bits(models[1]))


def test_accuracy_may_choose_the_weights(train: Windows, held: Windows, monkeypatch: Any) -> None:
    """Checks say 0.5, 0.2, 0.2, 0.4: the weights of the second are kept, whatever decides, and each measures its own."""
    logits = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.1, 0.0], [0.0, 1.0]])
    target = torch.tensor([0, 0, 1, 1])
    assert training._loss(nn.Identity(), logits.__getitem__, target, "accuracy") == 0.25
    expected = nn.functional.cross_entropy(logits, target)
    assert training._loss(nn.Identity(), logits.__getitem__, target) == pytest.approx(float(expected))
    asked: list[str] = []
    values = iter((0.5, 0.2, 0.2, 0.4))

    def loss(model: nn.Module, take: Any, target: Tensor, keep: str) -> float:
        asked.append(keep)
        kept.append(bits(model))
        return next(values)

    kept: list[dict[str, Tensor]] = []
    monkeypatch.setattr(transfer, "_loss", loss)
    model = TransferClassifier(encoder(), mode="frozen", keep="accuracy", **SMALL).fit(train, validation=held)
    assert asked == ["accuracy"] * 4 and same(bits(model.head_), kept[1]) and not same(kept[1], kept[2])
