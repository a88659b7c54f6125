"""Pretraining: records, honesty, early stopping, and the same bits however often it is killed."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.recording import Recording
from otolith.data.sampling import Batch
from otolith.data.store import Store, open_store
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.objectives import Objective, Reconstruction, SimCLR
from otolith.pretraining import DivergenceError, Runtime, Sampling, Step, pretrain, warmup_cosine

BATCH = 24
PER_EPOCH = 3  # 76 windows in batches of 24

# Stops in its third epoch, as its second was the best; draws windows, views and dropout.
SETTINGS: dict = {"epochs": 6, "batch_size": BATCH, "patience": 1, "lr": 0.002, "seed": 1}


def split(windows: Windows) -> tuple[Windows, Windows]:
    """Windows of four people to learn from and of two to validate on; every third."""
    return windows.for_subjects(["1", "2", "3", "4"])[::3], windows.for_subjects(["5", "6"])[::3]


def contrastive(seed: int = 0) -> SimCLR:
    torch.manual_seed(seed)
    return SimCLR(Strided(6, dropout=0.1), augmentations=[{"name": "rotation"}, {"name": "noise"}])


def reconstruction(seed: int = 0) -> Reconstruction:
    torch.manual_seed(seed)
    return Reconstruction(Strided(6, dropout=0.1))


def settings(**other: Any) -> dict[str, Any]:
    """`SETTINGS` and other arguments of `pretrain`; those of its groups are given without their group."""
    flat = {**SETTINGS, **other}
    for name, group, always in (("sampling", Sampling, {}), ("runtime", Runtime, {"accelerator": "cpu"})):
        own = {field.name: flat.pop(field.name) for field in dataclasses.fields(group) if field.name in flat}
        flat[name] = group(**always, **own)
    return flat


def run(objective: Objective, train: Windows, validation: Windows | None = None, **other: Any) -> list[Step]:
    return list(pretrain(objective, train, validation, **settings(**other)))


def weights(objective: Objective) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in objective.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def sides(windows: Windows) -> tuple[Windows, Windows]:
    return split(windows)


@pytest.fixture(scope="module")
def unbroken(sides: tuple[Windows, Windows]) -> tuple[dict[str, Tensor], list[Step]]:
    """Weights and records of a run that nothing interrupts."""
    objective = contrastive()
    steps = run(objective, *sides, report_every=1)
    return weights(objective), steps


# records


def test_records_come_every_few_steps_and_at_the_end_of_every_epoch(windows: Windows) -> None:
    train, validation = (
        windows.for_subjects(["1", "2"]),
        windows.for_subjects(["3"])[::4],
    )  # 114 windows: 7 batches of 16
    steps = run(reconstruction(), train, validation, batch_size=16, epochs=2, report_every=3)
    seen = [(step.index, step.epoch, step.validation is not None, step.done) for step in steps]
    assert seen == [
        (3, 1, False, False),
        (6, 1, False, False),
        (7, 1, True, False),
        (9, 2, False, False),
        (12, 2, False, False),
        (14, 2, True, True),
    ]
    assert {step.of for step in steps} == {14} and {step.lr for step in steps} == {SETTINGS["lr"]}
    assert all(list(step.losses) == ["reconstruction"] and step.windows_per_s > 0 for step in steps)
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)


def test_a_record_holds_the_mean_loss_since_the_last_one(sides: tuple[Windows, Windows]) -> None:
    every = run(reconstruction(), sides[0], epochs=2, report_every=1)
    few = run(reconstruction(), sides[0], epochs=2, report_every=100)
    assert [step.index for step in few] == [PER_EPOCH, 2 * PER_EPOCH]
    losses = [step.losses["reconstruction"] for step in every]
    assert few[1].losses["reconstruction"] == pytest.approx(np.mean(losses[PER_EPOCH:]), rel=1e-6)
    assert losses[-1] < losses[0]


def test_the_batch_may_be_larger_than_the_data(sides: tuple[Windows, Windows]) -> None:
    objective = reconstruction()
    before = weights(objective)
    assert [step.index for step in run(objective, sides[0], batch_size=1000, epochs=2)] == [1, 2]
    assert not same(before, weights(objective))


@pytest.mark.parametrize("draw", ["variance", "subject"])
def test_an_epoch_draws_the_share_it_is_told_to(draw: str, sides: tuple[Windows, Windows]) -> None:
    steps = run(reconstruction(), sides[0], epochs=2, draw=draw, share=0.5, batch_size=10)
    assert [step.index for step in steps] == [3, 6]  # 38 of 76 windows, in batches of 10


def test_the_draw_changes_what_is_learnt(sides: tuple[Windows, Windows]) -> None:
    results = []
    for draw in ("uniform", "subject", "variance"):
        objective = reconstruction()
        run(objective, sides[0][:50], epochs=1, draw=draw, share=0.5, batch_size=10)
        results.append(weights(objective))
    assert not same(results[0], results[1]) and not same(results[0], results[2]) and not same(results[1], results[2])


def test_half_precision_trains_to_other_but_finite_weights(sides: tuple[Windows, Windows]) -> None:
    half, full = contrastive(), contrastive()
    steps = run(half, *sides, epochs=1, precision="bf16-mixed")
    run(full, *sides, epochs=1)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights(half).values())
    assert np.isfinite(steps[-1].validation) and not same(weights(half), weights(full))


# honesty


def test_labels_cannot_be_reached(
    sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]]
) -> None:
    train, validation = sides
    shuffled = dataclasses.replace(train, y=np.random.default_rng(0).permutation(train.y))
    for other in (shuffled, train.unlabelled()):
        objective = contrastive()
        run(objective, other, validation.unlabelled())
        assert same(weights(objective), unbroken[0])


def test_the_callers_randomness_and_the_runs_leave_each_other_alone(
    sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]]
) -> None:
    objective = contrastive()
    steps = pretrain(objective, *sides, **settings(report_every=1))
    for number in range(1000):
        torch.manual_seed(number)  # and so differs from what the run itself would have gone on with
        torch.rand(number)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the caller's global state
        ended = next(steps, None) is None
        after = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        assert torch.equal(before[0], after[0]) and before[1] == after[1]
        if ended:
            break
    assert same(weights(objective), unbroken[0])


def test_another_seed_other_bits(
    sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]]
) -> None:
    objective = contrastive()
    run(objective, *sides, seed=2)
    assert not same(weights(objective), unbroken[0])


def test_how_often_it_reports_and_saves_changes_nothing(
    sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]], tmp_path: Path
) -> None:
    objective = contrastive()
    run(objective, *sides, report_every=3, save_every_s=0.0, resume=tmp_path / "state")
    assert same(weights(objective), unbroken[0])


def test_a_person_on_both_sides_is_refused(windows: Windows) -> None:
    with pytest.raises(ValueError, match="subject synthetic:3 is in train and in validation"):
        run(reconstruction(), windows.for_subjects(["1", "2", "3"]), windows.for_subjects(["3", "4"]))


# the learning rate


def test_the_rate_warms_up_and_falls_and_a_resumed_run_follows_it(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    train, _ = sides
    how = {"epochs": 8, "schedule": "warmup-cosine", "report_every": 1, "save_every_s": 0.0, "patience": None}
    whole = reconstruction()
    steps = run(whole, train, **how)
    total = steps[-1].of
    assert [step.lr for step in steps] == pytest.approx([0.002 * warmup_cosine(k, total) for k in range(total)])
    state, again = tmp_path / "state", reconstruction()
    interrupted = pretrain(reconstruction(), train, **settings(resume=state, **how))
    for _ in range(5):
        next(interrupted)
    interrupted.close()
    run(again, train, resume=state, **how)
    assert same(weights(again), weights(whole))
    other = reconstruction()
    run(other, train, **{**how, "schedule": "constant"})
    assert not same(weights(other), weights(whole))


# early stopping


def test_early_stopping_keeps_the_best_weights(sides: tuple[Windows, Windows]) -> None:
    train, validation = sides
    objective = reconstruction()
    steps = run(objective, train, validation, epochs=40, lr=0.02, patience=2)
    reported = [step.validation for step in steps if step.validation is not None]
    assert steps[-1].done and len(reported) < 40 and steps[-1].of == steps[-1].index
    assert reported.index(min(reported)) == len(reported) - 3  # two epochs without a better one, and no more
    everything = torch.arange(len(validation))
    total = 0.0
    for rows in everything.split(BATCH):
        part = Batch(validation.gather(rows), torch.zeros(len(rows), dtype=torch.long), {}, {})
        total += objective(part)["reconstruction"].item() * len(rows)
    assert not objective.training
    assert total / len(validation) == pytest.approx(min(reported), rel=1e-5)


@pytest.mark.parametrize("records", [1, 4, 7])
def test_the_history_is_the_same_however_often_it_was_interrupted(
    sides: tuple[Windows, Windows], tmp_path: Path, records: int
) -> None:
    how = {"epochs": 3, "report_every": 1, "save_every_s": 0.0, "patience": None}
    train, validation = sides
    whole = run(reconstruction(), train, validation, **how)[-1].history
    assert [epoch for epoch, _, _ in whole] == [1, 2, 3]
    state = tmp_path / "state"
    interrupted = pretrain(reconstruction(), train, validation, **settings(resume=state, **how))
    for _ in range(records):
        next(interrupted)
    interrupted.close()
    assert run(reconstruction(), train, validation, resume=state, **how)[-1].history == whole
    assert run(reconstruction(), train, validation, resume=state, **how)[-1].history == whole  # done, taken up again


def test_without_validation_or_patience_it_runs_to_the_end(sides: tuple[Windows, Windows]) -> None:
    train, validation = sides
    assert [step.validation for step in run(reconstruction(), train, epochs=4, patience=1, report_every=99)] == [
        None
    ] * 4
    steps = run(reconstruction(), train, validation, epochs=12, lr=0.02, patience=None)
    assert steps[-1].epoch == 12


# errors


@pytest.mark.parametrize(
    ("train", "validation", "arguments", "message"),
    [
        (1, 9, {}, "at least 2 windows, got 1"),
        (0, 9, {}, "at least 2 windows, got 0"),
        (9, 1, {}, "validation needs at least 2 windows, got 1"),
        (9, 9, {"batch_size": 1}, "batch_size is 1; expected a whole number of at least 2"),
        (9, 9, {"patience": 0}, "patience is 0; expected at least 1 epoch"),
    ],
)
def test_too_little_to_learn_from_is_refused(
    train: int, validation: int, arguments: dict, message: str, sides: tuple[Windows, Windows]
) -> None:
    with pytest.raises(ValueError, match=message):
        run(reconstruction(), sides[0][:train], sides[1][:validation], **arguments)


def test_one_moving_window_is_too_little_to_draw_by_variance(tmp_path: Path) -> None:
    still, moving = np.zeros((100, 3), np.float32), np.linspace(0, 1, 300, dtype=np.float32).reshape(100, 3)
    corpus = (
        Recording(str(number), signal, 50.0, ("acc_x", "acc_y", "acc_z"), "1", "wrist")
        for number, signal in enumerate([still, still, moving])
    )
    windows = cut(prepare(corpus, tmp_path / "still", dataset="still"), label=None)
    objective = Reconstruction(Strided(3))
    with pytest.raises(ValueError, match="1 windows drawn per epoch"):
        run(objective, windows, draw="variance")
    with pytest.raises(ValueError, match="no signal moves"):
        run(objective, windows[:2], draw="variance")


@pytest.mark.parametrize("cause", ["rate", "signal"])
def test_a_loss_that_is_not_finite_ends_with_advice(cause: str, sides: tuple[Windows, Windows]) -> None:
    train, lr = sides[0], 1e-3
    if cause == "rate":
        lr = 1e6
    else:
        train = dataclasses.replace(train, values=(train.values[0] * 1e30,))
    with pytest.raises(DivergenceError, match=r"the loss 'reconstruction' is (inf|nan) at step \d+: .* lower lr \(now"):
        run(reconstruction(), train, lr=lr)


def test_a_validation_loss_that_is_not_finite_is_named(sides: tuple[Windows, Windows]) -> None:
    train, validation = sides
    absurd = dataclasses.replace(validation, values=(validation.values[0] * 1e30,))
    with pytest.raises(DivergenceError, match=r"the loss 'validation' is (inf|nan) at step 3"):
        run(reconstruction(), train, absurd)


# resuming


def test_the_run_that_is_interrupted_below_stops_early_and_after_its_best_epoch(
    unbroken: tuple[dict[str, Tensor], list[Step]],
) -> None:
    reported = [step.validation for step in unbroken[1] if step.validation is not None]
    assert len(reported) > 2 and 0 < reported.index(min(reported)) < len(reported) - 1


@pytest.mark.parametrize("records", [1, 2, 3, 5, 6, 8])
def test_stopped_anywhere_and_taken_up_again_it_ends_with_the_same_bits(
    records: int, sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]], tmp_path: Path
) -> None:
    state = tmp_path / "state.safetensors"
    steps = pretrain(contrastive(), *sides, **settings(report_every=1, save_every_s=0.0, resume=state))
    for _ in range(records):
        next(steps)
    steps.close()
    objective = contrastive(seed=9 if state.exists() else 0)  # its first weights do not matter where there is a state
    rest = run(objective, *sides, report_every=1, save_every_s=0.0, resume=state)
    assert same(weights(objective), unbroken[0])
    expected = unbroken[1][-len(rest) :]
    assert len(rest) >= len(unbroken[1]) - records
    assert [step.validation for step in rest] == [step.validation for step in expected]
    assert [step.index for step in rest] == [step.index for step in expected]


def test_killed_while_training_and_while_saving_it_ends_with_the_same_bits(
    store: Store, unbroken: tuple[dict[str, Tensor], list[Step]], tmp_path: Path
) -> None:
    state, result = tmp_path / "state.safetensors", tmp_path / "result.pt"
    for how, code in (("training", -signal.SIGKILL), ("saving", -signal.SIGKILL), ("never", 0)):
        command = [sys.executable, __file__, str(store.folder), str(state), str(result), how]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stderr
        assert result.exists() == (how == "never")
    assert same(torch.load(result), unbroken[0])


def _to_be_killed(folder: str, state: str, result: str, how: str) -> None:
    """What the test above runs as processes of its own: dies by SIGKILL amid its second epoch or in its second save."""
    torch.set_num_threads(1)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if how == "saving":
        module = sys.modules["otolith.storage.tensors"]
        whole, saves = module.save_file, []

        def torn(tensors: dict, path: Path, **other: object) -> None:
            whole(tensors, path, **other)
            saves.append(path)
            if len(saves) == 2:
                os.truncate(path, path.stat().st_size // 2)
                die()

        module.save_file = torn
    objective = contrastive()
    sides = split(cut(open_store(Path(folder))))
    often = settings(report_every=1, save_every_s=0.0, resume=Path(state))
    for number, _ in enumerate(pretrain(objective, *sides, **often), 1):
        if how == "training" and number == 5:
            die()
    torch.save(objective.state_dict(), result)


def test_resumed_after_its_end_it_only_reports_that_it_is_done(
    sides: tuple[Windows, Windows], unbroken: tuple[dict[str, Tensor], list[Step]], tmp_path: Path
) -> None:
    run(contrastive(), *sides, resume=tmp_path / "state")
    objective = contrastive(seed=9)
    (step,) = run(objective, *sides, resume=tmp_path / "state")
    assert step.done and step.index == unbroken[1][-1].index and step.epoch == unbroken[1][-1].epoch
    assert same(weights(objective), unbroken[0]) and not objective.training


@pytest.fixture(scope="module")
def state(sides: tuple[Windows, Windows], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a run that got through its first epoch."""
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    steps = pretrain(contrastive(), *sides, **settings(resume=path))
    next(steps)
    steps.close()
    return path


@pytest.mark.parametrize(
    "change",
    ["lr", "seed", "batch_size", "draw", "epochs", "temperature", "dropout", "mean", "people", "rows", "validation"],
)
def test_the_state_of_another_run_is_refused(change: str, state: Path, sides: tuple[Windows, Windows]) -> None:
    (train, validation), objective, other = sides, contrastive(), {}
    encoder = {"dropout": 0.2} if change == "dropout" else {"dropout": 0.1, "mean": [1.0] * 6}
    if change in ("lr", "seed", "batch_size", "draw", "epochs"):
        other = {change: {"lr": 0.02, "seed": 2, "batch_size": 16, "draw": "variance", "epochs": 7}[change]}
    elif change == "temperature":
        objective = SimCLR(objective.encoder, objective.augmentations, temperature=0.2)
    elif change in ("dropout", "mean"):
        objective = SimCLR(Strided(6, **encoder), objective.augmentations)
    elif change == "people":
        train = train[: len(train) // 2]
    elif change == "rows":  # as many windows of the same people, yet others
        train = dataclasses.replace(train, offset=train.offset + 1)
    else:
        validation = None
    with pytest.raises(ValueError, match="belongs to other arguments or other data; remove it to start again"):
        run(objective, train, validation, resume=state, **other)


@pytest.mark.parametrize("damage", ["empty", "half", "text", "foreign"])
def test_a_damaged_state_is_refused(damage: str, state: Path, sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    whole = state.read_bytes()
    torn = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"not a state"}
    if damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(torn[damage])
    with pytest.raises(ValueError, match=r"the training state '.*' is damaged: .*remove it to start again"):
        run(contrastive(), *sides, resume=path)


if __name__ == "__main__":
    _to_be_killed(*sys.argv[1:])
