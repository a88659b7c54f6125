"""Every encoder fulfils the contract and has the sizes of its source."""

import importlib
import json
import math
import pkgutil
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otolith import encoders
from otolith.data.windows import Windows
from otolith.encoders import ENCODERS, TPN, Encoder, Primus, Strided

every_encoder = pytest.mark.parametrize("name", ENCODERS)
BATCH, TIME = 5, 100  # with 3 or 6 channels, all axes differ


def build(name: str, channels: int = 3, seed: int = 0, **arguments: object) -> Encoder:
    torch.manual_seed(seed)
    return ENCODERS[name](channels, **arguments)


def signal(channels: int = 3, time: int = TIME, seed: int = 1) -> Tensor:
    return torch.randn(BATCH, channels, time, generator=torch.Generator().manual_seed(seed))


def fitting(name: str, channels: int = 3, time: int = TIME) -> Tensor:
    """A signal of `time` time steps, or of more if the encoder needs more."""
    return signal(channels, max(time, ENCODERS[name].min_steps + 2))


@every_encoder
@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("time", [TIME, 151])
def test_the_feature_vector_is_the_pool_of_the_features(name: str, channels: int, time: int) -> None:
    encoder, x = build(name, channels).eval(), fitting(name, channels, time)
    features = encoder.features(x)
    assert features.ndim == 3 and len(features) == BATCH and 1 < features.shape[1] <= x.shape[2]
    assert encoder(x).shape == (BATCH, encoder.dim) == (BATCH, 512 if name == "primus" else 256)
    torch.testing.assert_close(encoder(x), encoder.pool(features), rtol=0, atol=0)


@every_encoder
def test_an_encoder_is_built_for_windows(name: str, windows: Windows) -> None:
    kind = ENCODERS[name]
    torch.manual_seed(3)
    made = kind.for_windows(windows)
    assert made.channels == windows.shape[1] == 6
    if kind.normalises_itself:
        assert (made.mean, made.std) == ([0.0] * 6, [1.0] * 6)
    else:
        assert {"mean": made.mean, "std": made.std} == windows.statistics()
    torch.manual_seed(3)
    same = kind.for_windows(windows, dropout=0.3) if "dropout" in made.arguments() else kind.for_windows(windows)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), same.parameters(), strict=True))
    assert same.arguments() == {**made.arguments(), **({"dropout": 0.3} if "dropout" in made.arguments() else {})}


@every_encoder
def test_windows_do_not_influence_each_other(name: str) -> None:
    encoder, x = build(name).eval(), fitting(name)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]), rtol=1e-4, atol=1e-5)


@every_encoder
@pytest.mark.parametrize("channels", [3, 6])
def test_gradient_reaches_every_parameter(name: str, channels: int) -> None:
    encoder = build(name, channels)
    encoder(fitting(name, channels)).square().sum().backward()
    without = [key for key, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


@every_encoder
def test_same_seed_same_bits(name: str) -> None:
    one, two, other = build(name), build(name), build(name, seed=1)
    results = []
    for encoder in (one, two, other):
        torch.manual_seed(2)  # of dropout: these encoders are in train mode
        results.append(encoder(fitting(name)))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@every_encoder
def test_nothing_is_drawn_in_eval_mode(name: str) -> None:
    encoder, before = build(name).eval(), torch.get_rng_state()
    assert torch.equal(encoder(fitting(name)), encoder(fitting(name)))
    assert torch.equal(torch.get_rng_state(), before)


@every_encoder
def test_dropout_acts_in_train_mode_only(name: str) -> None:
    encoder = build(name, dropout=0.5)
    assert not torch.equal(encoder(fitting(name)), encoder(fitting(name)))
    encoder = build(name, dropout=0.0)
    assert torch.equal(encoder(fitting(name)), encoder(fitting(name)))


@every_encoder
def test_the_shortest_window_works_and_one_step_less_is_refused(name: str) -> None:
    encoder = build(name)
    encoder(signal(time=encoder.min_steps)).sum().backward()
    with pytest.raises(ValueError, match=rf"at least {encoder.min_steps} time steps, got {encoder.min_steps - 1}"):
        encoder(signal(time=encoder.min_steps - 1))


@every_encoder
def test_other_channels_than_it_was_built_for_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="built for 3 channels but got 6"):
        build(name)(fitting(name, 6))


@every_encoder
def test_input_is_standardised_by_mean_and_std(name: str) -> None:
    mean, std = [0.5, -2.0, 9.0], [0.1, 3.0, 1.5]
    plain, fed = build(name).eval(), build(name, mean=mean, std=std).eval()
    x = fitting(name)
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
def test_an_invalid_mean_or_std_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **arguments)


@every_encoder
def test_arguments_survive_json_and_build_the_encoder_again(name: str) -> None:
    encoder = build(name, 6, mean=[0.25] * 6, std=[2.0] * 6, dropout=0.3).eval()
    again = ENCODERS[name](**json.loads(json.dumps(encoder.arguments())))
    again.load_state_dict(encoder.state_dict(), strict=True)
    assert again.arguments() == encoder.arguments()
    assert torch.equal(again.eval()(fitting(name, 6)), encoder(fitting(name, 6)))


def test_every_encoder_of_the_folder_is_in_the_dictionary() -> None:
    found = set()
    for module in pkgutil.iter_modules(encoders.__path__):
        members = vars(importlib.import_module(f"otolith.encoders.{module.name}")).values()
        found |= {kind for kind in members if isinstance(kind, type) and issubclass(kind, Encoder)}
    assert found - {Encoder} == set(ENCODERS.values())


# By hand, for 3 channels. Convolution: in x out x kernel (+ out); GRU layer: 3 x 256 x (in + 256) + 2 x 3 x 256; LSTM layer:
# 4 x 128 x (in + 128) + 2 x 4 x 128; normalisation: 2 x width.
SIZES = {
    "cpc": 288 + 6_144 + 24_576 + 296_448 + 394_752,
    "deepconvlstm": 384 + 3 * 20_544 + 164_864 + 132_096 + 33_024,
    "primus": 6 + 960 + 2 * 5_120 + 64 + 1_536 * (32 + 512 + 2),  # GRU: 3 x 512 x (in + 512 + 2)
    "resnet": 672 + 2 * 6_272 + (20_672 + 24_832) + (82_304 + 98_816) + (328_448 + 394_240) + 512,  # stage by stage
    "strided": (1_408 + 128) + (41_088 + 256) + (49_280 + 256),  # each with its GroupNorm
    "tpn": 2_336 + 32_832 + 49_248 + 24_832,
    "transformer": 2_048 + 4 * (512 + 49_536 + 16_512 + 66_048 + 65_664) + 256 + 33_024,
}


def test_strided_may_be_wider() -> None:
    wide = ENCODERS["strided"](3, widths=[64, 128, 256])
    assert wide.dim == 512 and wide(torch.zeros(2, 3, 100)).shape == (2, 512)
    assert sum(value.numel() for value in wide.parameters()) == SIZES["strided"] - 49_280 - 256 + 98_560 + 512
    for widths in ([64, 128], [64, 128, 250], [64, 0, 128]):
        with pytest.raises(ValueError, match="expected three positive multiples of 8"):
            ENCODERS["strided"](3, widths=widths)


@every_encoder
def test_number_of_parameters_is_that_of_the_source(name: str) -> None:
    assert sum(value.numel() for value in build(name).parameters()) == SIZES[name]


@pytest.mark.parametrize(
    ("name", "steps", "width"),
    [
        ("cpc", TIME, 128),
        ("deepconvlstm", TIME - 16, 3 * 64),
        ("primus", 32, 32),
        ("resnet", 7, 256),
        ("strided", 13, 128),
        ("tpn", TIME - 23 - 15 - 7, 96),
        ("transformer", 20, 128),
    ],
)
def test_features_have_the_steps_and_width_of_the_source(name: str, steps: int, width: int) -> None:
    assert build(name).features(fitting(name)).shape == (BATCH, steps, width)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpc", lambda encoder, features: encoder.context(features)[:, -1]),
        ("deepconvlstm", lambda encoder, features: encoder.project(encoder.lstm(features)[0][:, -1])),
        ("primus", lambda encoder, features: encoder.gru(features)[0][:, -1]),
        ("resnet", lambda _, features: features.mean(dim=1)),
        ("tpn", lambda encoder, features: encoder.project(features.max(dim=1).values)),
        ("strided", lambda _, features: torch.cat([features.mean(dim=1), features.max(dim=1).values], dim=1)),
        ("transformer", lambda encoder, features: encoder.project(features.mean(dim=1))),
    ],
)
def test_features_are_pooled_as_in_the_source(name: str, expected: Callable[..., Tensor]) -> None:
    encoder = build(name).eval()
    features = encoder.features(fitting(name))
    assert torch.equal(encoder.pool(features), expected(encoder, features))


@every_encoder
def test_every_weight_is_in_one_block(name: str) -> None:
    encoder = build(name)
    mine = [id(weight) for block in encoder.blocks() for weight in block.parameters()]
    assert len(encoder.blocks()) >= 3 and sorted(mine) == sorted(map(id, encoder.parameters()))


@every_encoder
def test_blocks_are_in_the_order_of_computation(name: str) -> None:
    encoder, called = build(name), list[int]()
    for number, block in enumerate(encoder.blocks()):
        for part in block.modules():
            if next(part.parameters(recurse=False), None) is not None:
                part.register_forward_hook(lambda *_, number=number: called.append(number))
    encoder(fitting(name))
    assert called == sorted(called) and set(called) == set(range(len(encoder.blocks())))


# context over time


@pytest.mark.parametrize("name", ["cpc", "deepconvlstm"])
@pytest.mark.parametrize("step", [0, 37, 82])
def test_context_does_not_see_the_future(name: str, step: int) -> None:
    encoder = build(name).eval()
    features = encoder.features(signal())
    changed = features.clone()
    changed[:, step + 1 :] += 1.0
    before, after = encoder.context(features), encoder.context(changed)
    assert before.shape == (*features.shape[:2], 256)
    assert torch.equal(before[:, : step + 1], after[:, : step + 1])
    assert not torch.isclose(before[:, step + 1], after[:, step + 1]).all()
    torch.testing.assert_close(before[:, step], encoder.context(features[:, : step + 1])[:, -1])
    torch.testing.assert_close(before[:, -1], encoder.pool(features))


# cpc


@pytest.mark.parametrize("kernel", [1, 5, 11])
def test_any_odd_kernel_of_cpc_keeps_one_feature_per_step(kernel: int) -> None:
    encoder = build("cpc", kernel=kernel)
    assert encoder.features(signal(time=encoder.min_steps)).shape == (BATCH, encoder.min_steps, 128)


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_a_kernel_of_cpc_that_would_shift_time_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel is {kernel}; expected a positive odd"):
        build("cpc", kernel=kernel)


# deepconvlstm


def test_deepconvlstm_convolves_over_time_only() -> None:
    encoder, x = build("deepconvlstm", 6).eval(), signal(6)
    maps = x.transpose(1, 2)[:, None]  # the source: one image of time x channels, kernels 5 x 1
    for layer in list(encoder.convolutions)[::2]:
        maps = F.conv2d(maps, layer.weight[..., None], layer.bias).relu()
    assert maps.shape == (BATCH, 64, TIME - 16, 6)
    expected = maps.permute(0, 2, 3, 1).flatten(2)  # channel by channel, its 64 maps
    torch.testing.assert_close(encoder.features(x), expected)


def test_deepconvlstm_drops_before_each_layer_of_the_lstm() -> None:
    encoder, given = build("deepconvlstm"), list[Tensor]()
    encoder.lstm.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    ones = torch.ones(BATCH, 40, 3 * 64)
    for reduce in (encoder.context, encoder.pool):
        reduce(ones)
        assert set(given[-1].unique().tolist()) == {0.0, 2.0}
        assert given[-1].mean().item() == pytest.approx(1, abs=0.05)
    assert encoder.lstm.dropout == encoder.dropout == 0.5 and encoder.lstm.num_layers == 2


# resnet


@pytest.mark.parametrize("train", [True, False])
def test_resnet_normalises_and_activates_before_it_convolves(train: bool) -> None:
    encoder, x = build("resnet"), signal()
    encoder(x + 1.0)  # moves the running averages away from 0 and 1
    encoder.train(train)

    def active(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        over = {"dim": (0, 2), "keepdim": True}
        mean = x.mean(**over) if train else norm.running_mean[:, None]
        variance = x.var(**over, correction=0) if train else norm.running_var[:, None]
        return (norm.weight[:, None] * (x - mean) / (variance + 1e-5).sqrt() + norm.bias[:, None]).clamp_min(0)

    with torch.no_grad():
        steps = F.conv1d(x, encoder.stem.weight, stride=2, padding=3)
        for stage, width in enumerate((32, 64, 128, 256)):
            for block in encoder.residual[2 * stage : 2 * stage + 2]:
                start = active(steps, block.norm_one)
                stride = 1 if len(steps[0]) == width else 2
                inner = F.conv1d(start, block.one.weight, stride=stride, padding=1)
                inner = F.conv1d(active(inner, block.norm_two), block.two.weight, padding=1)
                steps = (steps if stride == 1 else F.conv1d(start, block.shortcut.weight, stride=2)) + inner
                assert steps.shape[1] == width
        expected = active(steps, encoder.norm).transpose(1, 2)
        torch.testing.assert_close(encoder.features(x), expected, rtol=1e-4, atol=1e-4)


def test_resnet_does_not_change_its_running_averages_in_eval_mode() -> None:
    encoder = build("resnet").eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(signal())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    encoder.train()(signal())
    assert not any(torch.equal(v, before[name]) for name, v in encoder.state_dict().items() if "running" in name)


def test_resnet_drops_before_the_second_convolution_of_each_block() -> None:
    encoder, given = build("resnet", dropout=0.9), list[Tensor]()
    for block in encoder.residual:
        block.two.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    encoder(signal())
    assert len(given) == 8 and all((inputs == 0).float().mean() > 0.9 for inputs in given)


# transformer


@pytest.mark.parametrize("train", [True, False])
def test_layers_of_the_transformer_equal_those_of_torch(train: bool) -> None:
    encoder = build("transformer", dropout=0.3).train(train)
    x = torch.randn(1 if train else BATCH, 20, 128, generator=torch.Generator().manual_seed(2), requires_grad=True)
    for layer in encoder.layers:
        theirs = nn.TransformerEncoderLayer(128, 4, 512, 0.3, "gelu", batch_first=True, norm_first=True).train(train)
        parts = [
            ("norm_one", "norm1"),
            ("mix", "self_attn.in_proj"),
            ("out", "self_attn.out_proj"),
            ("norm_two", "norm2"),
        ]
        parts += [("network.0", "linear1"), ("network.3", "linear2")]
        weights = layer.state_dict()
        for mine, name in parts:
            for kind in ("weight", "bias"):
                key = f"{name}_{kind}" if name.endswith("in_proj") else f"{name}.{kind}"
                theirs.state_dict()[key].copy_(weights.pop(f"{mine}.{kind}"))
        assert not weights
        results = []
        for one in (layer, theirs):
            torch.manual_seed(4)  # in train mode: the same dropout at the same places, as long as there is one window
            results.append(one(x))
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)


def test_positions_of_the_transformer_are_sines_and_cosines() -> None:
    encoder, given = build("transformer").eval(), list[Tensor]()
    encoder.layers.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    x = signal(time=41)
    encoder(x)
    encoder.train()(x)
    for patch in range(8):
        position = [math.sin(patch / 10_000 ** (pair / 64)) for pair in range(64)]
        position += [math.cos(patch / 10_000 ** (pair / 64)) for pair in range(64)]
        expected = encoder.patches(x[:, :, 5 * patch : 5 * patch + 5])[:, :, 0] + torch.tensor(position)
        torch.testing.assert_close(given[0][:, patch], expected)
    assert given[0].shape == (BATCH, 8, 128)  # the last time step fills no patch
    assert 0.05 < (given[1] == 0).float().mean() < 0.15  # dropout


def test_features_of_the_transformer_are_normalised() -> None:
    features = build("transformer").eval().features(signal())
    torch.testing.assert_close(features.mean(dim=2), torch.zeros(BATCH, 20), rtol=0, atol=1e-5)
    torch.testing.assert_close(features.std(dim=2, correction=0), torch.ones(BATCH, 20), rtol=0, atol=1e-3)


def test_patches_of_the_transformer_may_be_of_any_length() -> None:
    encoder = build("transformer", patch_steps=8)
    assert encoder.features(signal()).shape == (BATCH, 12, 128) and encoder.min_steps == 16
    with pytest.raises(ValueError, match="patch_steps is 0; expected at least 1"):
        build("transformer", patch_steps=0)


def test_strides_shorten_what_the_gru_of_cpc_runs_over() -> None:
    x = torch.randn(2, 3, 100)
    published, quarter = ENCODERS["cpc"](3), ENCODERS["cpc"](3, strides=(2, 2, 1))
    assert published.features(x).shape == (2, 100, 128) and quarter.features(x).shape == (2, 25, 128)
    assert quarter(x).shape == published(x).shape == (2, 256)
    assert ENCODERS["cpc"](3, strides=(4, 4, 4))(torch.randn(2, 3, 17)).isfinite().all()
    for strides in ((1, 1), (0, 1, 1)):
        with pytest.raises(ValueError, match="expected three positive numbers"):
            ENCODERS["cpc"](3, strides=strides)


def test_weights_are_taken_from_an_encoder_of_other_channels() -> None:
    motion, muscles = Strided(3, [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]), Strided(8)
    first = muscles.state_dict()["convolutions.0.weight"].clone()
    assert muscles.take_weights(motion) == ["convolutions.0.weight"]
    taken, given = muscles.state_dict(), motion.state_dict()
    assert torch.equal(taken["convolutions.0.weight"], first)
    assert all(torch.equal(taken[name], given[name]) for name in given if name != "convolutions.0.weight")
    assert muscles.mean == [0.0] * 8 and muscles(torch.zeros(2, 8, 100)).shape == (2, muscles.dim)
    same = Strided(3)
    assert same.take_weights(motion) == []
    with pytest.raises(ValueError, match=r"differ from .* in more than the channels"):
        Strided(8, widths=[8, 16, 24]).take_weights(motion)
    with pytest.raises(ValueError, match="the weights are of Strided; expected TPN"):
        TPN(8).take_weights(motion)


def test_primus_knows_strength_and_gravity_only_where_the_corpus_normalises(windows: Windows) -> None:
    torch.manual_seed(0)
    published = Primus.for_windows(windows)
    corpus = Primus.for_windows(windows, normalisation="corpus")
    assert (published.mean, published.std) == ([0.0] * 6, [1.0] * 6)
    assert {"mean": corpus.mean, "std": corpus.std} == windows.statistics()
    assert "convolutions.0.weight" in published.state_dict() and "convolutions.0.weight" not in corpus.state_dict()
    x = torch.randn(3, 6, 150)
    stronger = 2 * x + torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])[:, None]
    torch.testing.assert_close(published(x), published(stronger), rtol=1e-3, atol=1e-4)
    assert (corpus(x) - corpus(stronger)).abs().max() > 0.01


def test_an_adapted_encoder_keeps_the_blocks_and_standardises_by_the_other_windows(windows: Windows) -> None:
    motion = Strided(3, [0.0, 0.0, 1.0], [1.0, 1.0, 1.0], dropout=0.3)
    adapted = motion.adapted_to(windows)
    assert {**adapted.arguments()} == {**motion.arguments(), "channels": 6, **windows.statistics()}
    given, made = motion.state_dict(), adapted.state_dict()
    assert [name for name in given if not torch.equal(given[name], made[name])] == ["convolutions.0.weight"]
