"""Every encoder keeps the contract; each is built to the sizes that its source gives."""

import importlib
import json
import pkgutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from otolith import encoders
from otolith.encoders import CPC, ENCODERS, Encoder

every_encoder = pytest.mark.parametrize("name", ENCODERS)
BATCH, TIME = 5, 100  # with 3 or 6 channels, all axes differ


def build(name: str, channels: int = 3, seed: int = 0, **arguments: object) -> Encoder:
    torch.manual_seed(seed)
    return ENCODERS[name](channels, **arguments)


def signal(channels: int = 3, time: int = TIME, seed: int = 1) -> Tensor:
    return torch.randn(BATCH, channels, time, generator=torch.Generator().manual_seed(seed))


@every_encoder
@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("time", [TIME, 151])
def test_a_window_becomes_256_numbers_by_way_of_its_features(name: str, channels: int, time: int) -> None:
    encoder, x = build(name, channels).eval(), signal(channels, time)
    features = encoder.features(x)
    assert features.ndim == 3 and len(features) == BATCH and 1 < features.shape[1] <= time
    assert encoder(x).shape == (BATCH, encoder.dim) == (BATCH, 256)
    torch.testing.assert_close(encoder(x), encoder.summary(features), rtol=0, atol=0)


@every_encoder
def test_windows_do_not_influence_each_other(name: str) -> None:
    encoder, x = build(name).eval(), signal()
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]), rtol=1e-4, atol=1e-5)


@every_encoder
@pytest.mark.parametrize("channels", [3, 6])
def test_gradient_reaches_every_parameter(name: str, channels: int) -> None:
    encoder = build(name, channels)
    encoder(signal(channels)).square().sum().backward()
    without = [key for key, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


@every_encoder
def test_same_seed_same_bits(name: str) -> None:
    one, two, other = build(name), build(name), build(name, seed=1)
    results = []
    for encoder in (one, two, other):
        torch.manual_seed(2)  # of dropout: these encoders are in train mode
        results.append(encoder(signal()))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@every_encoder
def test_nothing_is_drawn_in_eval_mode(name: str) -> None:
    encoder, before = build(name).eval(), torch.get_rng_state()
    assert torch.equal(encoder(signal()), encoder(signal()))
    assert torch.equal(torch.get_rng_state(), before)


@every_encoder
def test_dropout_acts_in_train_mode_alone(name: str) -> None:
    encoder = build(name, dropout=0.5)
    assert not torch.equal(encoder(signal()), encoder(signal()))
    encoder = build(name, dropout=0.0)
    assert torch.equal(encoder(signal()), encoder(signal()))


@every_encoder
def test_the_shortest_window_works_and_one_step_less_is_refused(name: str) -> None:
    encoder = build(name)
    encoder(signal(time=encoder.min_steps)).sum().backward()
    with pytest.raises(ValueError, match=rf"at least {encoder.min_steps} time steps, got {encoder.min_steps - 1}"):
        encoder(signal(time=encoder.min_steps - 1))


@every_encoder
def test_other_channels_than_it_was_built_for_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="built for 3 channels and was fed 6"):
        build(name)(signal(6))


@every_encoder
def test_input_is_standardised_by_mean_and_std(name: str) -> None:
    mean, std = [0.5, -2.0, 9.0], [0.1, 3.0, 1.5]
    plain, fed = build(name).eval(), build(name, mean=mean, std=std).eval()
    x = signal()
    standardised = (x - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
    torch.testing.assert_close(fed(x), plain(standardised), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(fed(x), plain(x), atol=1e-2)


@every_encoder
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [0.0] * 2}, "2 means and 3 standard deviations for 3 channels"),
        ({"std": [1.0] * 6}, "3 means and 6 standard deviations for 3 channels"),
        ({"std": [1.0, 0.0, 1.0]}, "expected positive numbers"),
        ({"std": [1.0, float("nan"), 1.0]}, "expected positive numbers"),
        ({"mean": [0.0, float("inf"), 0.0]}, "expected finite numbers"),
    ],
)
def test_a_mean_or_std_that_cannot_be_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **arguments)


@every_encoder
def test_arguments_build_it_again_even_through_json(name: str) -> None:
    encoder = build(name, 6, mean=[0.25] * 6, std=[2.0] * 6, dropout=0.3).eval()
    again = ENCODERS[name](**json.loads(json.dumps(encoder.arguments())))
    again.load_state_dict(encoder.state_dict(), strict=True)
    assert again.arguments() == encoder.arguments()
    assert torch.equal(again.eval()(signal(6)), encoder(signal(6)))


def test_every_encoder_of_the_folder_is_in_the_dictionary() -> None:
    found = set()
    for module in pkgutil.iter_modules(encoders.__path__):
        members = vars(importlib.import_module(f"otolith.encoders.{module.name}")).values()
        found |= {kind for kind in members if isinstance(kind, type) and issubclass(kind, Encoder)}
    assert found - {Encoder} == set(ENCODERS.values())


# By hand, for 3 channels. Convolution: in x out x kernel (+ out); GRU layer: 3 x 256 x (in + 256) + 2 x 3 x 256.
SIZES = {
    "cpc": 288 + 6_144 + 24_576 + 296_448 + 394_752,
    "strided": (1_408 + 128) + (41_088 + 256) + (49_280 + 256),  # each with its GroupNorm
    "tpn": 2_336 + 32_832 + 49_248 + 24_832,
}


@every_encoder
def test_number_of_parameters_is_that_of_the_source(name: str) -> None:
    assert sum(value.numel() for value in build(name).parameters()) == SIZES[name]


@pytest.mark.parametrize(
    ("name", "steps", "width"), [("cpc", TIME, 128), ("tpn", TIME - 23 - 15 - 7, 96), ("strided", 13, 128)]
)
def test_features_have_the_steps_and_width_of_the_source(name: str, steps: int, width: int) -> None:
    assert build(name).features(signal()).shape == (BATCH, steps, width)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpc", lambda encoder, features: encoder.context(features)[:, -1]),
        ("tpn", lambda encoder, features: encoder.project(features.max(dim=1).values)),
        ("strided", lambda _, features: torch.cat([features.mean(dim=1), features.max(dim=1).values], dim=1)),
    ],
)
def test_features_are_summed_up_as_the_source_says(name: str, expected: Callable[..., Tensor]) -> None:
    encoder = build(name).eval()
    features = encoder.features(signal())
    assert torch.equal(encoder.summary(features), expected(encoder, features))


@pytest.mark.parametrize("step", [0, 37, 98])
def test_context_of_cpc_does_not_see_the_future(step: int) -> None:
    encoder = build("cpc").eval()
    assert isinstance(encoder, CPC)
    features = encoder.features(signal())
    changed = features.clone()
    changed[:, step + 1 :] += 1.0
    before, after = encoder.context(features), encoder.context(changed)
    assert torch.equal(before[:, : step + 1], after[:, : step + 1])
    assert not torch.isclose(before[:, step + 1], after[:, step + 1]).all()
    torch.testing.assert_close(before[:, step], encoder.context(features[:, : step + 1])[:, -1])


@pytest.mark.parametrize("kernel", [1, 5, 11])
def test_any_odd_kernel_of_cpc_keeps_one_feature_a_step(kernel: int) -> None:
    encoder = build("cpc", kernel=kernel)
    assert encoder.features(signal(time=encoder.min_steps)).shape == (BATCH, encoder.min_steps, 128)


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_a_kernel_of_cpc_that_would_shift_time_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel is {kernel}; expected an odd"):
        build("cpc", kernel=kernel)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_weight_is_in_one_block(name: str) -> None:
    encoder = ENCODERS[name](channels=3)
    mine = [id(weight) for block in encoder.blocks() for weight in block.parameters()]
    assert len(encoder.blocks()) >= 3 and sorted(mine) == sorted(map(id, encoder.parameters()))
