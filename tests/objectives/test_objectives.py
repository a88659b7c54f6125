"""Every objective fulfils the contract, and each loss is the one that its source defines."""

import importlib
import inspect
import json
import math
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from otolith import encoders, objectives
from otolith.data.augment import augment
from otolith.data.cutting import cut
from otolith.data.features import log_features
from otolith.data.prepare import prepare
from otolith.data.sampling import Batch
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.encoders import ENCODERS
from otolith.objectives import OBJECTIVES, GravityAware, Objective, Reconstruction, SimCLR
from otolith.objectives.contrast import info_nce, nt_xent
from otolith.objectives.reconstruction import hidden_steps, hide
from otolith.pretraining import Runtime, pretrain

WITH_CONTEXT = ["cpc", "deepconvlstm"]
ENCODERS_OF = {"cpc": WITH_CONTEXT, "cpc_reconstruction": WITH_CONTEXT}  # the others take any
LONG = 128  # time steps, for encoders that need more than those of a window of 2 s
PAIRS = [(name, encoder) for name in OBJECTIVES for encoder in ENCODERS_OF.get(name, ENCODERS)]
every_pair = pytest.mark.parametrize(("name", "encoder"), PAIRS)


def build(
    name: str, encoder: str | None = None, *, dropout: float = 0.0, seed: int = 0, **arguments: object
) -> Objective:
    torch.manual_seed(seed)
    kind = ENCODERS[encoder or ENCODERS_OF.get(name, ["strided"])[0]]
    if kind.min_steps > 100 and "steps" in inspect.signature(OBJECTIVES[name]).parameters:
        arguments.setdefault("steps", LONG)
    return OBJECTIVES[name](kind(6, dropout=dropout), **arguments)


@pytest.fixture(scope="module")
def batch(windows: Windows) -> Batch:
    """5 windows of 2 s (100 time steps) and 6 channels, each with two paired embeddings."""
    rows = torch.arange(0, len(windows), len(windows) // 5)[:5]
    generator = torch.Generator().manual_seed(0)
    paired = {name: torch.randn(5, 512, generator=generator) for name in ("video", "text")}
    present = {name: torch.ones(5, dtype=torch.bool) for name in paired}
    return Batch(windows.gather(rows), torch.from_numpy(windows.subject)[rows], paired, present)


def fitting(batch: Batch, encoder: str) -> Batch:
    """The batch, with windows extended by their mirror image if the encoder needs longer ones."""
    if ENCODERS[encoder].min_steps <= batch.x.shape[2]:
        return batch
    return batch._replace(x=torch.cat([batch.x, batch.x.flip(2)], dim=2)[:, :, :LONG])


def noise_batch(count: int, steps: int, seed: int = 1) -> Batch:
    x = torch.randn(count, 6, steps, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.zeros(count, dtype=torch.long), {}, {})


def total(objective: Objective, batch: Batch, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    return torch.stack(list(objective(batch).values())).sum()


# the contract


@every_pair
def test_losses_are_named_finite_scalars_whose_gradient_reaches_every_parameter(
    name: str, encoder: str, batch: Batch
) -> None:
    objective = build(name, encoder, dropout=0.1)
    losses = objective(fitting(batch, encoder))
    assert losses and all(loss.shape == () and loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    without = [key for key, value in objective.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


@every_pair
def test_same_seed_same_loss(name: str, encoder: str, batch: Batch) -> None:
    batch = fitting(batch, encoder)
    one, two = build(name, encoder, dropout=0.1), build(name, encoder, dropout=0.1)
    assert total(one, batch).equal(total(two, batch))
    assert not total(one, batch).equal(total(one, batch, seed=4))  # dropout, at least, differs


@pytest.mark.parametrize(
    ("name", "encoder"),  # all of both, not all pairs
    [
        *((name, ENCODERS_OF.get(name, ["strided"])[-1]) for name in OBJECTIVES),
        *(("reconstruction", e) for e in ENCODERS),
    ],
)
def test_training_lowers_the_loss(name: str, encoder: str, batch: Batch) -> None:
    # neighbours from the step before would add a term that the first step lacks
    objective, batch = build(name, encoder, **({"nearest": 0.0} if name == "primus" else {})), fitting(batch, encoder)
    optimiser = torch.optim.Adam(objective.parameters(), lr=1e-3)
    before = total(objective, batch).item()
    for _ in range(8):  # the same draws every time, so that nothing but training changes the loss
        optimiser.zero_grad()
        total(objective, batch).backward()
        optimiser.step()
    assert total(objective, batch).item() < 0.95 * before


@pytest.mark.parametrize("name", OBJECTIVES)
def test_arguments_survive_json_and_build_the_objective_again(name: str, batch: Batch) -> None:
    objective = build(name)
    again = OBJECTIVES[name](objective.encoder, **json.loads(json.dumps(objective.arguments())))
    again.load_state_dict(objective.state_dict(), strict=True)
    assert total(again, batch).equal(total(objective, batch))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_everything_but_the_encoder_is_kept(name: str) -> None:
    objective = build(name)
    assert sorted(objective.kept) == sorted({name for name, _ in objective.named_children()} - {"encoder"})


def test_a_batch_has_no_field_for_labels() -> None:
    assert Batch._fields == ("x", "subject", "paired", "present")


def test_every_objective_of_the_folder_is_in_the_dictionary() -> None:
    found = set()
    for module in pkgutil.iter_modules(objectives.__path__):
        members = vars(importlib.import_module(f"otolith.objectives.{module.name}")).values()
        found |= {kind for kind in members if isinstance(kind, type) and issubclass(kind, Objective)}
    assert found - {Objective} == set(OBJECTIVES.values())


@pytest.mark.parametrize("name", ["cpc", "cpc_reconstruction", "gravity_aware", "primus", "simclr"])
def test_contrastive_objectives_need_two_windows(name: str) -> None:
    with pytest.raises(ValueError, match="at least 2 windows"):
        build(name)(noise_batch(1, 100))


# contrastive losses


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_a_double_loop(temperature: float) -> None:
    one, two = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    views = [view.double() for view in torch.cat([one, two])]

    def similarity(a: Tensor, b: Tensor) -> float:
        return math.exp(float(a @ b / (a.norm() * b.norm())) / temperature)

    terms = []
    for i in range(10):
        others = sum(similarity(views[i], views[j]) for j in range(10) if j != i)
        terms.append(-math.log(similarity(views[i], views[(i + 5) % 10]) / others))
    assert nt_xent(one, two, temperature).item() == pytest.approx(sum(terms) / 10, rel=1e-5)


def test_info_nce_equals_a_loop() -> None:
    query, key = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    terms = []
    for task in range(3):
        for row in range(4):
            scores = [math.exp(float(query[task, row] @ key[task, other])) for other in range(4)]
            terms.append(-math.log(scores[row] / sum(scores)))
    assert info_nce(query, key).item() == pytest.approx(sum(terms) / 12, rel=1e-5)
    assert info_nce(query[0], key[0]).item() == pytest.approx(sum(terms[:4]) / 4, rel=1e-5)


# what theory says before training


@pytest.mark.parametrize("encoder", ENCODERS)
def test_simclr_starts_near_log_of_the_other_views(encoder: str) -> None:
    loss = total(build("simclr", encoder), noise_batch(64, LONG)).item()
    assert loss == pytest.approx(math.log(2 * 64 - 1), abs=0.05)


@pytest.mark.parametrize("encoder", WITH_CONTEXT)
def test_cpc_starts_near_log_of_the_batch(encoder: str) -> None:
    loss = total(build("cpc", encoder), noise_batch(64, 100)).item()
    assert loss == pytest.approx(math.log(64), abs=0.01)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_transform_discrimination_starts_near_log_2_per_task(encoder: str) -> None:
    objective, batch = build("transform_discrimination", encoder), noise_batch(16, LONG)
    losses = [loss.item() for loss in objective(batch).values()]
    assert losses == pytest.approx([math.log(2)] * 8, abs=0.1)
    assert sum(losses) == pytest.approx(8 * math.log(2), abs=0.2)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_reconstruction_starts_near_the_variance_of_the_standardised_window(encoder: str) -> None:
    batch = noise_batch(64, LONG if encoder == "primus" else 100)
    assert total(build("reconstruction", encoder), batch).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("encoder", WITH_CONTEXT)
def test_cpc_reconstruction_starts_near_the_sum_of_both(encoder: str) -> None:
    losses = build("cpc_reconstruction", encoder, weight=0.5)(noise_batch(64, 100))
    assert losses["cpc"].item() == pytest.approx(math.log(64), abs=0.01)
    assert losses["reconstruction"].item() == pytest.approx(0.5, abs=0.03)


# real recordings


@pytest.fixture(scope="module")
def spar(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Accelerometer windows of 1 s (50 time steps) of the published recordings."""
    card = DATASETS["spar"]
    try:
        store = prepare(card.read(None), tmp_path_factory.mktemp("spar") / "spar", dataset="spar", labels=card.classes)
    except FileNotFoundError:
        pytest.skip("seglearn, which ships the recordings, is not installed")
    return cut(store, channels=["acc_x", "acc_y", "acc_z"], seconds=1.0, overlap=0.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_pretraining_lowers_the_loss_on_held_out_subjects(name: str, spar: Windows) -> None:
    torch.manual_seed(0)
    train, held = spar.for_subjects(["1", "2", "3", "4"])[::8], spar.for_subjects(["5", "6"])[::10]
    encoder = ENCODERS["cpc" if name in ENCODERS_OF else "strided"](3, dropout=0.0, **train.statistics())
    smaller = {"future_steps": 12, "steps": 50, "nearest": 0.0}  # without neighbours: see above
    takes = inspect.signature(OBJECTIVES[name]).parameters
    objective = OBJECTIVES[name](encoder, **{key: value for key, value in smaller.items() if key in takes})
    everyone = Batch(held.array(), torch.from_numpy(held.subject), {}, {})
    before = total(objective.eval(), everyone).item()
    list(
        pretrain(
            objective, train, epochs=1 if name in ENCODERS_OF else 2, batch_size=16, runtime=Runtime(accelerator="cpu")
        )
    )
    after = total(objective, everyone).item()
    assert after < 0.99 * before


# cpc


@pytest.mark.parametrize(("encoder", "steps", "width"), [("cpc", 100, 128), ("deepconvlstm", 84, 6 * 64)])
def test_cpc_equals_a_loop_over_windows_and_future_steps(encoder: str, steps: int, width: int, batch: Batch) -> None:
    objective = build("cpc", encoder, future_steps=5).eval().requires_grad_(False)
    objective.predict.weight.mul_(100)  # otherwise all scores are almost equal
    x = batch.x[:4]
    z = objective.encoder.features(x)
    start = (steps - 5 - 1) // 2
    context = objective.encoder.context(z)[:, start]
    weight, bias = objective.predict.weight.view(5, width, 256), objective.predict.bias.view(5, width)
    terms = []
    for ahead in range(5):
        for window in range(4):
            predicted = weight[ahead] @ context[window] + bias[ahead]
            scores = torch.stack([predicted @ z[other, start + 1 + ahead] for other in range(4)])
            terms.append(float(scores.logsumexp(0) - scores[window]))
    loss = objective(batch._replace(x=x, subject=batch.subject[:4]))["cpc"].item()
    assert loss == pytest.approx(sum(terms) / 20, rel=1e-5)


def test_cpc_with_predictions_as_negatives_is_the_softmax_over_the_other_axis(batch: Batch) -> None:
    objective = build("cpc", future_steps=5).eval().requires_grad_(False)
    objective.predict.weight.mul_(100)
    other = build("cpc", future_steps=5, negatives="predictions").eval()
    other.load_state_dict(objective.state_dict())
    z = objective.encoder.features(batch.x)
    start = (z.shape[1] - 5 - 1) // 2
    context = objective.encoder.context(z[:, : start + 1])[:, -1]
    predicted = objective.predict(context).unflatten(1, (5, -1)).transpose(0, 1)
    scores = predicted @ z[:, start + 1 : start + 6].transpose(0, 1).transpose(1, 2)  # (future, predictions, futures)
    for one, axis in ((objective, 2), (other, 1)):
        expected = -scores.log_softmax(axis).diagonal(dim1=1, dim2=2).mean()
        torch.testing.assert_close(one(batch)["cpc"], expected, rtol=1e-4, atol=1e-4)


def test_cpc_draws_its_start_in_training_and_fixes_it_when_validating(batch: Batch) -> None:
    objective = build("cpc")
    assert len({total(objective, batch, seed).item() for seed in range(8)}) > 4
    assert len({total(objective.eval(), batch, seed).item() for seed in range(8)}) == 1


def test_cpc_needs_a_step_of_the_past_and_all_its_steps_of_the_future() -> None:
    objective = build("cpc", future_steps=12)
    for seed in range(4):  # exactly one possible start
        assert total(objective, noise_batch(2, 13), seed).isfinite()
    with pytest.raises(ValueError, match="12 time steps leave no past before 12 future steps"):
        objective(noise_batch(2, 12))


@pytest.mark.parametrize("name", ["cpc", "cpc_reconstruction"])
@pytest.mark.parametrize("encoder", sorted(ENCODERS.keys() - WITH_CONTEXT))
def test_cpc_names_the_encoders_to_use_where_one_has_no_context(name: str, encoder: str) -> None:
    with pytest.raises(ValueError, match=rf"{ENCODERS[encoder].__name__} does not have; use the encoder cpc or deepc"):
        build(name, encoder)


@pytest.mark.parametrize("name", ["cpc", "cpc_reconstruction"])
def test_cpc_needs_a_future_step(name: str) -> None:
    with pytest.raises(ValueError, match="future_steps is 0"):
        build(name, future_steps=0)


# reconstruction


@pytest.mark.parametrize("steps", [48, 97, 98, 99, 100, 101])
def test_the_decoder_gives_windows_of_any_length(steps: int) -> None:
    objective, batch = build("reconstruction", steps=steps, mask_steps=7), noise_batch(3, steps)
    assert objective.decoder(objective.encoder(batch.x)).shape == (3, 6, math.ceil(steps / 4) * 4)
    loss = total(objective, batch)
    loss.backward()
    assert loss.isfinite()


def test_reconstruction_is_the_mean_squared_error_of_the_standardised_window(windows: Windows, batch: Batch) -> None:
    torch.manual_seed(0)
    statistics = windows.statistics()
    objective = Reconstruction(encoders.Strided(6, **statistics))
    mean, std = (torch.tensor(statistics[key])[:, None] for key in ("mean", "std"))
    drawn = objective.decoder(objective.encoder(batch.x))
    assert drawn.shape == batch.x.shape
    expected = F.mse_loss(drawn, (batch.x - mean) / std)
    torch.testing.assert_close(objective(batch)["reconstruction"], expected)


@pytest.mark.parametrize(("mask", "hidden_blocks"), [(0.3, 3), (0.01, 1)])
def test_masked_reconstruction_gets_the_mean_and_counts_masked_steps_only(
    mask: float, hidden_blocks: int, batch: Batch
) -> None:
    mean, std = [0.5, 1.0, -1.0, 2.0, 0.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    torch.manual_seed(0)
    objective = Reconstruction(encoders.Strided(6, mean, std), mask=mask).eval()
    torch.manual_seed(3)
    hidden = hidden_steps(len(batch.x), 100, mask, 10, batch.x.device)[:, 0]
    assert hidden.sum(dim=1).tolist() == [10 * hidden_blocks] * len(batch.x)
    assert len({tuple(row) for row in hidden.tolist()}) > 1  # each window its own
    x, target = batch.x.clone(), batch.x.clone()
    for channel in range(6):
        x[:, channel][hidden] = mean[channel]
        target[:, channel] = (target[:, channel] - mean[channel]) / std[channel]
    drawn = objective.decoder(objective.encoder(x))
    errors = []
    for window in range(len(x)):
        for step in range(100):
            if hidden[window, step]:
                errors += (drawn[window, :, step] - target[window, :, step]).square().tolist()
    assert total(objective, batch, seed=3).item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize("name", ["reconstruction", "cpc_reconstruction"])
def test_reconstruction_refuses_windows_of_another_length(name: str) -> None:
    with pytest.raises(ValueError, match="built for windows of 100 time steps but got 90"):
        build(name)(noise_batch(2, 90))


@pytest.mark.parametrize("name", ["reconstruction", "cpc_reconstruction"])
@pytest.mark.parametrize("arguments", [{"mask": 1.0}, {"mask": -0.1}, {"mask_steps": 0}, {"mask_steps": 101}])
def test_an_invalid_mask_is_refused(name: str, arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"expected 0 <= mask < 1 and mask_steps within 1 \.\. 100"):
        build(name, **arguments)


# cpc and reconstruction together


@pytest.mark.parametrize("mask", [0.0, 0.3])
@pytest.mark.parametrize("encoder", WITH_CONTEXT)
def test_cpc_reconstruction_is_the_weighted_sum_of_the_two(encoder: str, mask: float, batch: Batch) -> None:
    shared = {"steps": 100, "mask": mask, "mask_steps": 20}
    objective = build("cpc_reconstruction", encoder, future_steps=5, weight=0.25, **shared)
    cpc = objectives.CPC(objective.encoder, future_steps=5)
    reconstruction = Reconstruction(objective.encoder, **shared)
    cpc.predict.load_state_dict(objective.predict.state_dict())
    reconstruction.decoder.load_state_dict(objective.decoder.state_dict())
    torch.manual_seed(3)
    together = objective(batch)
    torch.manual_seed(3)
    apart = cpc(batch) | reconstruction(batch)  # draw in the same order
    assert together.keys() == apart.keys()
    torch.testing.assert_close(together["cpc"], apart["cpc"])
    torch.testing.assert_close(together["reconstruction"], 0.25 * apart["reconstruction"])


@pytest.mark.parametrize(("mask", "times"), [(0.0, 1), (0.3, 2)])
def test_cpc_reconstruction_computes_features_once_if_both_see_the_same(mask: float, times: int, batch: Batch) -> None:
    objective, calls = build("cpc_reconstruction", mask=mask), list[int]()
    objective.encoder.convolutions.register_forward_hook(lambda *_: calls.append(1))
    objective(batch)
    assert len(calls) == times


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_cpc_reconstruction_needs_a_positive_weight(weight: float) -> None:
    with pytest.raises(ValueError, match=f"weight is {weight}; expected a positive number"):
        build("cpc_reconstruction", weight=weight)


# transform discrimination


def test_transform_discrimination_equals_a_loop_over_tasks_and_windows(batch: Batch) -> None:
    objective = build("transform_discrimination").double()
    batch = batch._replace(x=batch.x.double())
    torch.manual_seed(3)
    losses = objective(batch)
    assert len(losses) == 8 and list(losses) == [step["name"] for step in objective.transforms]
    torch.manual_seed(3)
    for step in objective.transforms:
        transformed = augment(batch.x, [step])
        head, terms = objective.heads[step["name"]], []
        for window in range(len(batch.x)):
            for x, is_transformed in ((batch.x, False), (transformed, True)):
                probability = head(objective.encoder(x[window : window + 1])).sigmoid().item()
                terms.append(-math.log(probability if is_transformed else 1 - probability))
        assert losses[step["name"]].item() == pytest.approx(sum(terms) / (2 * len(batch.x)), rel=1e-6)


def test_the_eight_transforms_have_the_strengths_of_the_paper() -> None:
    assert build("transform_discrimination").transforms == [
        {"name": "noise", "sd": 0.05},
        {"name": "scaling", "sd": 0.1},
        {"name": "rotation"},
        {"name": "negation"},
        {"name": "time_flip"},
        {"name": "permutation", "pieces": 4},
        {"name": "time_warp", "sd": 0.2, "knots": 4},
        {"name": "channel_shuffle"},
    ]


def test_heads_of_transform_discrimination_are_256_relu_1() -> None:
    heads = build("transform_discrimination", transforms=[{"name": "negation"}, {"name": "noise"}]).heads
    assert list(heads) == ["negation", "noise"]
    for head in heads.values():
        assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
        assert (head[0].weight.shape, head[2].weight.shape) == ((256, 256), (1, 256))


def test_originals_and_transformed_windows_are_normalised_together(batch: Batch) -> None:
    objective, given = build("transform_discrimination", "resnet"), list[Tensor]()
    objective.encoder.stem.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    objective(batch)
    assert [len(x) for x in given] == [9 * len(batch.x)]


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([], "transforms are none; expected at least one"),
        ([{"name": "noise", "sd": 0.1}, {"name": "noise", "sd": 0.2}], "transforms are noise, noise; .* each once"),
        ([{"name": "tilt"}], "unknown augmentation 'tilt'"),
    ],
)
def test_invalid_transforms_are_refused(transforms: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("transform_discrimination", transforms=transforms)


# simclr


def test_simclr_draws_its_two_views_independently(batch: Batch) -> None:
    objective = build("simclr", augmentations=[{"name": "noise", "sd": 1.0}])
    same = build("simclr", augmentations=[])
    one = same.head(same.encoder(batch.x))
    torch.testing.assert_close(total(same, batch), nt_xent(one, one, 0.1))  # nothing drawn: the views are one
    torch.manual_seed(3)
    views = [objective.head(objective.encoder(batch.x + torch.randn(batch.x.shape))) for _ in range(2)]
    torch.testing.assert_close(total(objective, batch), nt_xent(*views, 0.1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"augmentations": [{"name": "rotate"}]}, "unknown augmentation 'rotate'; known: noise, .*rotation"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a positive number"),
        ({"temperature": -0.1}, "temperature is -0.1; expected a positive number"),
    ],
)
def test_simclr_refuses_invalid_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("simclr", **arguments)


def test_the_projection_head_of_simclr_is_256_128_50_with_relu_between() -> None:
    objective = build("simclr")
    assert isinstance(objective, SimCLR)
    shapes = [tuple(layer.weight.shape) for layer in objective.head if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(256, 256), (128, 256), (50, 128)]
    assert [type(layer).__name__ for layer in objective.head] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


# gravity_aware


def test_gravity_aware_predicts_the_statistics_of_the_original_window_from_a_masked_view(batch: Batch) -> None:
    truth = log_features(batch.x)
    mean, std = truth.mean(dim=0).tolist(), truth.std(dim=0).clamp_min(1e-3).tolist()
    weights = {"masked_reconstruction": 0.0, "simclr": 0.0, "predict_statistics": 3.0}
    objective = build("gravity_aware", mean=mean, std=std, mask=0.3, **weights).eval()
    torch.manual_seed(3)
    view = augment(batch.x, objective.augmentations)
    view = hide(objective.encoder, view, hidden_steps(5, 100, 0.3, 10, batch.x.device))
    assert ((view == 0).all(dim=1).sum(dim=1) == 30).all()  # three stretches of ten at the encoder's mean
    predicted, errors = objective.described(objective.encoder(view)), []
    for window in range(5):
        for number, (average, deviation) in enumerate(zip(mean, std, strict=True)):
            target = min(max((truth[window, number].item() - average) / deviation, -5), 5)
            errors.append((predicted[window, number].item() - target) ** 2)
    torch.manual_seed(3)
    losses = objective(batch)
    assert losses.keys() == {"predict_statistics"} and objective.kept == ("described",)
    assert losses["predict_statistics"].item() == pytest.approx(3 * sum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize("mask", [0.4, 0.0])
def test_two_tasks_of_gravity_aware_share_one_pass_over_one_view(mask: float, batch: Batch) -> None:
    objective = build("gravity_aware", simclr=0.0, mask=mask, predict_statistics=0.5).eval()
    calls = []
    objective.encoder.register_forward_hook(lambda _, given, __: calls.append(given[0]))
    torch.manual_seed(3)
    losses = objective(batch)
    torch.manual_seed(3)
    view = augment(batch.x, objective.augmentations)
    hidden = hidden_steps(5, 100, mask, 10, batch.x.device) if mask else torch.ones(5, 1, 100, dtype=torch.bool)
    assert len(calls) == 1 and torch.equal(calls[0], hide(objective.encoder, view, hidden) if mask else view)
    vectors = objective.encoder(calls[0])
    error = (objective.decoder(vectors) - objective.encoder.standardise(view))[hidden.expand(-1, 6, -1)].square().mean()
    assert losses["masked_reconstruction"].item() == pytest.approx(error.item(), rel=1e-5)
    statistics = 0.5 * (objective.described(vectors) - log_features(batch.x).clamp(-5, 5)).square().mean()
    assert losses["predict_statistics"].item() == pytest.approx(statistics.item(), rel=1e-5)


def test_gravity_aware_adds_simclr_unchanged(batch: Batch) -> None:
    objective = build("gravity_aware", masked_reconstruction=2.0, simclr=0.5)
    assert objective(batch).keys() == {"predict_statistics", "masked_reconstruction", "simclr"}
    assert objective.kept == ("described", "decoder", "head")
    alone = SimCLR(objective.encoder, augmentations=objective.augmentations, widths=(256, 128))
    alone.head.load_state_dict(objective.head.state_dict())
    less = build("gravity_aware", predict_statistics=0.0, masked_reconstruction=0.0, simclr=0.5)
    less.encoder = objective.encoder
    less.head.load_state_dict(objective.head.state_dict())
    assert less.kept == ("head",)
    assert total(less, batch).item() == pytest.approx(0.5 * total(alone, batch).item(), rel=1e-5)


@pytest.mark.parametrize("steps", [16, 99, 100])
def test_a_perceptron_decodes_as_many_steps_as_a_window_has(steps: int) -> None:
    objective = build("reconstruction", steps=steps, decoder_kind="perceptron", mask=0.5)
    count = sum(value.numel() for value in objective.decoder.parameters())
    assert count == 257 * 6 * steps + 256 * (objective.encoder.dim + 1)
    loss = total(objective, noise_batch(4, steps))
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=0.3) and objective.decoder[0].weight.grad.abs().sum() > 0


def test_target_statistics_are_clipped_at_five_standard_deviations(batch: Batch) -> None:
    strange = batch._replace(x=batch.x * 1e6)
    objective = build("gravity_aware", masked_reconstruction=0.0, simclr=0.0, std=[1e-3] * 128)
    objective.described[2].weight.data.zero_()
    objective.described[2].bias.data.zero_()
    loss = objective(strange)["predict_statistics"].item()
    assert loss == pytest.approx(25, abs=5)  # the spectrum at frequency 0 stays 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [0.0] * 3}, "3 means and 128 standard deviations for the 128 statistics of 6 channels and 100"),
        ({"std": [0.0] * 128}, "one positive standard deviation per statistic"),
        ({"simclr": -1.0}, "expected no negative weight"),
        ({"simclr": 0.0, "predict_statistics": 0.0, "masked_reconstruction": 0.0}, "at least one positive weight"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"mask": 1.0}, "mask is 1.0 with mask_steps 10"),
        ({"mask": -0.5}, "mask is -0.5"),
    ],
)
def test_gravity_aware_refuses_invalid_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GravityAware(encoders.Strided(6), **arguments)
    with pytest.raises(ValueError, match="built for windows of 100 time steps but got 90"):
        build("gravity_aware")(noise_batch(4, 90))
