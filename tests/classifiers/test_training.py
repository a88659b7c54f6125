"""Training keeps to its budget and settings: which blocks, at what rates, until when, and which weights are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import MLP, PLAIN_HEAD, Normalised, Recorded, bits, encoder, finetuned, same, small
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers.heads import MLPHead
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.training import loss_or_error_rate
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.objectives import SimCLR
from otolith.pretraining import warmup_cosine


def moved(model: TransferClassifier, before: dict[str, Tensor]) -> set[int]:
    """Numbers of the blocks that training has changed."""
    after = bits(model.encoder_)
    names = {id(weight): name for name, weight in model.encoder_.named_parameters()}
    return {
        number
        for number, block in enumerate(model.encoder_.blocks())
        if any(not torch.equal(before[names[id(w)]], after[names[id(w)]]) for w in block.parameters())
    }


def test_the_defaults_are_the_papers() -> None:
    training = Training()
    assert (training.lr, training.batch_size, training.epochs, training.optimizer) == (1e-3, 256, 50, "adam")
    assert (training.monitor, training.weight_decay, training.schedule, training.steps) == ("loss", 0, "constant", None)
    assert MLPHead().arguments() == {"hidden": [256, 128, 128], "dropout": 0.2}


@pytest.mark.parametrize(
    ("last", "expected"), [(1, {2}), (2, {1, 2}), (3, {0, 1, 2}), (9, {0, 1, 2}), (None, {0, 1, 2})]
)
def test_only_the_last_blocks_train(last: int | None, expected: set[int], train: Windows, held: Windows) -> None:
    model = finetuned(encoder(), trained_blocks=last).fit(train, validation=held)
    assert moved(model, bits(encoder())) == expected
    assert all(weight.requires_grad for weight in model.encoder_.parameters())  # it can be trained on


def test_a_block_that_does_not_train_keeps_its_running_averages(train: Windows) -> None:
    class Two(Normalised):
        def __init__(self, channels: int, mean: Any = None, std: Any = None) -> None:
            super().__init__(channels, mean, std)
            self.last = nn.Linear(self.dim, self.dim)

        def pool(self, features: Tensor) -> Tensor:
            return self.last(features.amax(dim=1))

        def blocks(self) -> list[nn.Module]:
            return [self.layers, self.last]

    model = finetuned(encoder(Two), trained_blocks=1).fit(train)
    before, after = bits(encoder(Two)), bits(model.encoder_)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"last.weight", "last.bias"}


def test_rates_fall_from_block_to_block(train: Windows, rates: list[list[float]]) -> None:
    finetuned(encoder(), steps=1, lr=1e-2, encoder_lr=1e-3, layer_decay=0.5).fit(train)
    finetuned(encoder(), steps=1, lr=1e-2, layer_decay=0.1, trained_blocks=2).fit(train)
    assert rates == [pytest.approx([1e-3, 5e-4, 2.5e-4, 1e-2]), pytest.approx([1e-2, 1e-3, 1e-2])]


def test_encoder_lr_is_the_encoders_alone(train: Windows) -> None:
    model = finetuned(encoder(), encoder_lr=0.0).fit(train)
    still = finetuned(encoder(), encoder_lr=0.0, steps=0).fit(train)
    assert same(bits(model.encoder_), bits(encoder()))
    assert not same(bits(model.head_), bits(still.head_))


def test_a_probe_trains_the_head_before_everything_trains(train: Windows, held: Windows) -> None:
    frozen = TransferClassifier(encoder(), MLPHead(), training=Training(epochs=7)).fit(train, validation=held)

    def probed(epochs: int) -> TransferClassifier:
        training = Training(epochs=epochs, finetuning=FineTuning(probe_epochs=7))
        return TransferClassifier(encoder(), MLPHead(), mode="finetune", training=training).fit(train, validation=held)

    alone = probed(0)
    assert same(bits(frozen.head_), bits(alone.head_)) and same(bits(frozen.encoder_), bits(alone.encoder_))
    assert alone.steps_ == len(alone.history_) == 7
    after = probed(2)
    assert after.steps_ == 9 and moved(after, bits(encoder())) == {0, 1, 2}


# the pretraining objective goes on


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

    def fitted(weight: float, unlabelled: Windows | None) -> TransferClassifier:
        model = finetuned(with_objective, batch_size=8, auxiliary_objective_weight=weight)
        return model.fit(train, unlabelled=unlabelled)

    without = fitted(0.0, held.unlabelled())
    assert not seen
    weak = fitted(0.1, held.unlabelled())
    assert len(seen) == 4 and all(x.shape == (8, 6, 100) for x in seen)
    pool = {bytes(x.numpy().tobytes()) for x in held.array()}
    assert all(x.numpy().tobytes() in pool for batch in seen for x in batch)
    strong = fitted(9.0, held.unlabelled())
    ends = [bits(model.encoder_) for model in (without, weak, strong)]
    assert not same(ends[0], ends[1]) and not same(ends[1], ends[2])
    own = fitted(0.1, None)
    assert {x.numpy().tobytes() for x in seen[-1]} <= {x.numpy().tobytes() for x in train.array()}
    assert own.steps_ == 4


@pytest.mark.parametrize("mode", ["finetune", "scratch"])
def test_a_pretext_cannot_go_on_where_there_was_none(mode: str, with_objective: Path, train: Windows) -> None:
    model = finetuned(encoder() if mode == "finetune" else with_objective, auxiliary_objective_weight=1.0)
    with pytest.raises(ValueError, match="auxiliary_objective_weight needs a pretrained checkpoint"):
        model.set_params(mode=mode).fit(train)


# precision, budget, early stopping


def test_mixed_precision_trains_in_bfloat16_and_predicts_in_32_bits(train: Windows, held: Windows) -> None:
    training = Training(steps=60, precision="bf16-mixed")
    mixed = TransferClassifier(encoder(Recorded), MLPHead(), mode="finetune", training=training)
    mixed.fit(train, validation=held)
    kinds = {(training, kind) for training, _, kind in mixed.encoder_.batches}
    assert kinds == {(True, torch.bfloat16), (False, torch.bfloat16)}
    mixed.encoder_.batches = ()
    assert mixed.score(train) > 0.9
    assert {kind for _, _, kind in mixed.encoder_.batches} == {torch.float32}
    assert all(w.dtype == torch.float32 for w in mixed.encoder_.parameters())


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize(
    ("count", "arguments", "steps"),
    [
        (45, {"steps": 7}, 7),  # more than one pass over the windows
        (45, {"steps": 1}, 1),
        (45, {"steps": 0}, 0),
        (45, {"steps": None, "epochs": 2}, 6),
        (33, {"steps": None, "epochs": 2}, 4),  # the 33rd window joins the batch before it
        (17, {"steps": None, "epochs": 3}, 3),
        (2, {"steps": None, "epochs": 2}, 2),
    ],
)
def test_the_budget_is_kept(mode: Any, count: int, arguments: dict[str, Any], steps: int, train: Windows) -> None:
    some = train[np.random.default_rng(2).permutation(45)[:count]]
    assert len(np.unique(some.y)) > 1
    model = TransferClassifier(encoder(Recorded), MLP, mode=mode, training=small(**arguments)).fit(some)
    assert model.steps_ == steps
    if mode == "finetune":
        sizes = [size for training, size, _ in getattr(model.encoder_, "batches", ()) if training]
        assert len(sizes) == steps
        if arguments["steps"] is None:  # every pass sees each window once
            assert sum(sizes) == count * arguments["epochs"]


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize("budget", [{"steps": None, "epochs": 60}, {"steps": 180}])
def test_early_stopping_returns_to_the_best_validation_loss(
    mode: Any, budget: dict[str, Any], train: Windows, held: Windows
) -> None:
    training = small(lr=0.05, patience=3, **budget)
    model = TransferClassifier(encoder(), MLP, mode=mode, training=training).fit(train, validation=held)
    checked = model.history_
    assert len(checked) > 3 and checked.index(min(checked)) == len(checked) - 4 and model.steps_ < 180
    own = model.predict_proba(held)[np.arange(len(held)), held.y]
    assert -np.log(own).mean() == pytest.approx(min(checked), rel=1e-4)


def test_accuracy_may_choose_the_weights(train: Windows, held: Windows) -> None:
    logits = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.1, 0.0], [0.0, 1.0]])
    target = torch.tensor([0, 0, 1, 1])
    assert loss_or_error_rate(nn.Identity(), logits.__getitem__, target, "accuracy") == 0.25
    expected = nn.functional.cross_entropy(logits, target)
    assert loss_or_error_rate(nn.Identity(), logits.__getitem__, target) == pytest.approx(float(expected))
    training = small(monitor="accuracy", steps=40, lr=0.03)
    model = TransferClassifier(encoder(), MLP, training=training).fit(train, validation=held)
    assert len(model.history_) == 20 and len(set(model.history_)) > 1
    assert model.score(held) == pytest.approx(1 - min(model.history_))
    first = model.history_.index(min(model.history_))  # of equals, the earliest
    shorter = small(steps=2 * (first + 1), lr=0.03)  # a check is made every second step
    until_then = TransferClassifier(encoder(), MLP, training=shorter).fit(train)
    assert 0 < first < 19 and same(bits(until_then.head_), bits(model.head_))


def test_without_validation_windows_the_last_weights_are_kept(train: Windows) -> None:
    model = finetuned(encoder(), patience=1, steps=9).fit(train)
    assert model.steps_ == 9 and model.history_ == []


def test_validation_classes_that_are_not_trained_on_are_left_out(train: Windows, windows: Windows) -> None:
    held = windows.for_subjects(["4"])[::3]
    two = train[train.y != 1]
    assert set(held.y) == {0, 1, 2}

    def fitted(validation: Windows | None) -> dict[str, Tensor]:
        training = small(steps=40, lr=0.3, patience=2)
        return bits(TransferClassifier(encoder(), MLP, training=training).fit(two, validation=validation).head_)

    assert same(fitted(held), fitted(held[held.y != 1]))
    assert same(fitted(held[held.y == 1]), fitted(None))
    assert not same(fitted(held), fitted(None))  # the validation mattered


def test_augmentation_acts_where_the_encoder_trains_and_only_there(train: Windows, test: Windows) -> None:
    def probabilities(mode: Any, *names: str) -> np.ndarray:
        training = small(augmentations=[{"name": name} for name in names])
        return TransferClassifier(encoder(), MLP, mode=mode, training=training).fit(train).predict_proba(test)

    assert not np.array_equal(probabilities("finetune"), probabilities("finetune", "negation"))
    assert np.array_equal(probabilities("frozen"), probabilities("frozen", "negation"))


def test_finetuning_learns_the_movements(train: Windows, test: Windows) -> None:
    torch.manual_seed(0)
    training = Training(steps=60, batch_size=32, augmentations=[{"name": "rotation"}])
    model = TransferClassifier(
        Strided(6, **train.statistics()), MLPHead(hidden=(32,)), mode="finetune", training=training
    ).fit(train)
    assert model.score(test) > 0.65  # chance level is a third


def test_finetuning_starts_from_the_logistic_head(train: Windows, held: Windows, test: Windows) -> None:
    def probabilities(mode: Any, **others: Any) -> np.ndarray:
        model = TransferClassifier(encoder(), PLAIN_HEAD, mode=mode, training=Training(**others))
        return model.fit(train, validation=held).predict_proba(test)

    frozen = probabilities("frozen")
    assert np.array_equal(probabilities("finetune", steps=0), frozen)
    moved = probabilities("finetune", steps=1, lr=1e-6)
    np.testing.assert_allclose(moved, frozen, atol=1e-2)
    assert not np.array_equal(moved, frozen)


# the optimizer


def test_the_learning_rate_warms_up_and_falls_to_zero(train: Windows, rates: list[list[float]]) -> None:
    for of, warmup in ((100, 10), (4000, 40)):
        factors = np.array([warmup_cosine(step, of) for step in range(of)])
        np.testing.assert_allclose(factors[:warmup], np.arange(1, warmup + 1) / warmup)
        assert factors[warmup] == 1 and (np.diff(factors[warmup:]) < 0).all() and factors[-1] < 1e-3
        middle = warmup + (of - warmup) // 2
        assert factors[middle] == pytest.approx(0.5)
    training = small(steps=20, optimizer="adamw", schedule="warmup-cosine", lr=0.01)
    TransferClassifier(encoder(), MLP, training=training).fit(train)
    assert [one[-1] for one in rates] == pytest.approx([0.01 * warmup_cosine(k, 20) for k in range(20)])


def test_adamw_takes_its_decay_from_the_weights(train: Windows) -> None:
    heads = [
        TransferClassifier(encoder(), MLP, training=small(optimizer=kind, weight_decay=0.1)).fit(train).head_
        for kind in ("adam", "adamw")
    ]
    assert not same(bits(heads[0]), bits(heads[1]))


def test_training_that_diverges_ends_with_advice(examples: Any) -> None:
    x, y = examples
    with pytest.raises(ValueError, match=r"the loss is not finite after 4 steps: .* lower lr \(now 1e\+30\)"):
        finetuned(encoder(), lr=1e30).fit(x, y)
