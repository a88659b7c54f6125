"""Augmentations: contracts for all of them, then what each one does to a known signal."""

import math

import pytest
import torch
from torch import Tensor

from otolith.data.augment import (
    AUGMENTATIONS,
    augment,
    channel_dropout,
    channel_shuffle,
    negation,
    noise,
    permutation,
    rotation,
    scaling,
    time_flip,
    time_mask,
    time_shift,
    time_warp,
)

TIME = 37
NOTHING_DRAWN = {"negation", "time_flip"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signal(batch: int, channels: int, time: int = TIME) -> Tensor:
    return torch.randn(batch, channels, time, generator=seeded(99))


def clock(batch: int, channels: int = 3, time: int = TIME) -> Tensor:
    """Every channel holds the number of its time step."""
    return torch.arange(float(time)).expand(batch, channels, time)


def same_in_all_channels(x: Tensor) -> bool:
    return torch.equal(x, x[:, :1].expand_as(x))


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("batch", [1, 3, 65])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_keeps_shape_and_input_and_repeats_itself(name: str, batch: int, channels: int) -> None:
    x = signal(batch, channels)
    before = x.clone()
    y = AUGMENTATIONS[name](x, generator=seeded(1))
    assert y.shape == x.shape and y.dtype == torch.float32 and torch.isfinite(y).all()
    assert torch.equal(x, before)
    assert torch.equal(y, AUGMENTATIONS[name](x, generator=seeded(1)))
    y.add_(1)  # the result is the caller's own
    assert torch.equal(x, before)
    torch.manual_seed(1)  # without a generator: torch's own
    drawn = AUGMENTATIONS[name](x)
    torch.manual_seed(1)
    assert torch.equal(drawn, AUGMENTATIONS[name](x))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_window_gets_its_own_draw(name: str) -> None:
    x = signal(1, 6).expand(65, 6, TIME)  # 65 equal windows
    different = len(torch.unique(AUGMENTATIONS[name](x, generator=seeded()), dim=0))
    if name in NOTHING_DRAWN:
        assert different == 1
    elif name == "channel_shuffle":
        assert different == 6  # all orders of three axes
    elif name == "time_shift":
        assert different == 9  # up to 4 of 37 time steps either way
    elif name == "electrode_shift":
        assert different == 3  # one place either way, or none
    elif name == "channel_dropout":
        assert different > 15  # of 64 sets of six channels, most of them rare
    elif name == "time_mask":
        assert different > 20  # of 31 places
    else:
        assert different > 55  # a permutation of four pieces leaves one window in 24 as it was
    other = AUGMENTATIONS[name](x, generator=seeded(1))
    assert torch.equal(other, AUGMENTATIONS[name](x, generator=seeded())) == (name in NOTHING_DRAWN)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_larger_batch_is_no_mixture_of_its_windows(name: str) -> None:
    x = torch.zeros(5, 6, TIME)
    x[2] = signal(1, 6)[0]
    y = AUGMENTATIONS[name](x, generator=seeded())
    others = y[[0, 1, 3, 4]]
    assert y[2].abs().max() > 0.5 and others.abs().max() < (0.5 if name == "noise" else 1e-6)


def test_noise_is_independent_and_of_its_standard_deviation() -> None:
    x = signal(200, 3, 50)
    added = noise(x, sd=0.3, generator=seeded()) - x
    assert abs(added.mean()) < 0.01 and abs(added.std() - 0.3) < 0.01
    for one, other in ((added[1:], added[:-1]), (added[:, 1:], added[:, :-1]), (added[..., 1:], added[..., :-1])):
        assert abs((one * other).mean()) < 0.01 * 0.3


@pytest.mark.parametrize("common", [False, True])
def test_scaling_multiplies_by_one_factor_a_channel_or_a_window(common: bool) -> None:
    x = signal(2000, 3) + 5
    factor = scaling(x, sd=0.2, common=common, generator=seeded()) / x
    torch.testing.assert_close(factor, factor[..., :1].expand_as(factor))  # constant over time
    assert torch.allclose(factor, factor[:, :1].expand_as(factor)) == common
    assert abs(factor[..., 0].mean() - 1) < 0.02 and abs(factor[..., 0].std() - 0.2) < 0.02


def matrices(batch: int, **arguments: float) -> Tensor:
    """The matrices that `rotation` draws: what it makes of the three unit vectors."""
    x = torch.eye(3, dtype=torch.float64).expand(batch, 3, 3)
    return rotation(x, generator=seeded(), **arguments)


@pytest.mark.parametrize("sd_degrees", [None, 20.0, 90.0])
def test_rotation_turns_both_triads_the_same_way_without_stretching_or_mirroring(sd_degrees: float | None) -> None:
    x = signal(65, 6)
    y = rotation(x, sd_degrees=sd_degrees, generator=seeded())
    groups = (y.reshape(65, 2, 3, TIME), x.reshape(65, 2, 3, TIME))
    torch.testing.assert_close(groups[0].norm(dim=2), groups[1].norm(dim=2))
    triad = x[:, :3]
    both = rotation(torch.cat([triad, triad], dim=1), sd_degrees=sd_degrees, generator=seeded())
    torch.testing.assert_close(both[:, :3], both[:, 3:])
    matrix = matrices(65, sd_degrees=sd_degrees) if sd_degrees else matrices(65)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand_as(matrix))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(65, dtype=torch.float64))


def angles_degrees(matrix: Tensor) -> Tensor:
    cosine = (matrix.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    return torch.rad2deg(cosine.clamp(-1, 1).acos())


@pytest.mark.parametrize("sd_degrees", [5.0, 20.0])
def test_a_small_rotation_has_the_angle_asked_for_about_any_axis(sd_degrees: float) -> None:
    matrix = matrices(20_000, sd_degrees=sd_degrees)
    angle = angles_degrees(matrix)
    assert abs(angle.mean() / (sd_degrees * math.sqrt(2 / math.pi)) - 1) < 0.03  # mean of |N(0, sd)|
    assert abs(angle.square().mean().sqrt() / sd_degrees - 1) < 0.03
    # Over all axes alike, the mean rotation shrinks every vector by (1 + 2 E cos(angle)) / 3 and turns none.
    shrink = (1 + 2 * math.exp(-(math.radians(sd_degrees) ** 2) / 2)) / 3
    torch.testing.assert_close(matrix.mean(dim=0), shrink * torch.eye(3, dtype=torch.float64), atol=0.01, rtol=0)


def test_an_unlimited_rotation_is_uniform() -> None:
    matrix = matrices(20_000)
    torch.testing.assert_close(matrix.mean(dim=0), torch.zeros(3, 3, dtype=torch.float64), atol=0.02, rtol=0)
    # Every entry squared has mean 1/3, and the angle has density (1 - cos) / pi: its mean is 90 + 360 / pi^2 degrees.
    torch.testing.assert_close(matrix.square().mean(dim=0), torch.full((3, 3), 1 / 3).double(), atol=0.02, rtol=0)
    assert abs(angles_degrees(matrix).mean() - (90 + 360 / math.pi**2)) < 1


def test_negation_and_time_flip_undo_themselves() -> None:
    x = signal(3, 6)
    assert torch.equal(negation(x), -x)
    assert torch.equal(time_flip(clock(2)), TIME - 1 - clock(2))
    assert torch.equal(time_flip(time_flip(x)), x)


@pytest.mark.parametrize("pieces", [1, 2, 4, TIME])
def test_permutation_keeps_every_time_step_in_at_most_so_many_runs(pieces: int) -> None:
    y = permutation(clock(400), pieces=pieces, generator=seeded())
    assert same_in_all_channels(y)
    y = y[:, 0]
    assert torch.equal(y.sort(dim=1).values, clock(400)[:, 0])
    runs = 1 + (y.diff(dim=1) != 1).sum(dim=1)
    assert runs.max() <= pieces
    if pieces <= 4:
        assert runs.max() == pieces and len(torch.unique(y[:, 0])) > (pieces > 1) * 20  # cut anywhere


def test_permutation_into_single_time_steps_gives_all_orders_alike() -> None:
    orders, counts = torch.unique(
        permutation(clock(600, 3, 3), pieces=3, generator=seeded()), dim=0, return_counts=True
    )
    assert len(orders) == 6 and counts.min() > 60  # about 100 times each


def test_time_warp_keeps_both_ends_and_never_runs_backwards() -> None:
    y = time_warp(clock(200, 6, 100), sd=0.5, generator=seeded())
    assert same_in_all_channels(y)
    y = y[:, 0]
    assert (y[:, 0] == 0).all() and (y[:, -1] == 99).all()
    assert (y.diff(dim=1) > 0).all()
    assert ((y - torch.arange(100.0)).abs().amax(dim=1) > 0.5).float().mean() > 0.9  # it does warp
    step = y.diff(dim=1)
    assert step.diff(dim=1).std() < 0.3 * step.std()  # smoothly; independent steps would give 1.4
    torch.testing.assert_close(time_warp(clock(2), sd=0.0), clock(2))


def test_time_warp_reads_between_time_steps() -> None:
    x = torch.sin(2 * torch.pi * clock(20, 3, 400) / 200)
    warped = time_warp(clock(20, 3, 400), generator=seeded())
    torch.testing.assert_close(
        time_warp(x, generator=seeded()), torch.sin(2 * torch.pi * warped / 200), atol=1e-3, rtol=0
    )


def test_channel_shuffle_exchanges_axes_alike_in_every_triad() -> None:
    x = torch.tensor([0.0, 1, 2, 10, 11, 12])[None, :, None].expand(600, 6, TIME)
    y = channel_shuffle(x, generator=seeded())
    assert torch.equal(y[:, 3:], y[:, :3] + 10)
    assert torch.equal(y[:, :3].sort(dim=1).values, x[:, :3])
    orders, counts = torch.unique(y[:, :3, 0], dim=0, return_counts=True)
    assert len(orders) == 6 and counts.min() > 60  # all orders, about 100 times each
    assert same_in_all_channels((y - y[..., :1]).transpose(1, 2))  # for the whole window


def test_time_shift_moves_by_up_to_its_share_and_repeats_the_edge() -> None:
    y = time_shift(clock(500, 3, 40), share=0.1, generator=seeded())
    assert same_in_all_channels(y)
    y = y[:, 0]
    shift = y[:, 20] - 20
    assert set(shift.tolist()) == set(map(float, range(-4, 5)))
    assert torch.equal(y, (clock(500, 1, 40)[:, 0] + shift[:, None]).clamp(0, 39))
    assert torch.equal(time_shift(clock(5), share=0.0), clock(5))


def test_augment_applies_its_steps_in_order_with_their_arguments() -> None:
    x = signal(3, 6)
    steps = [{"name": "rotation", "sd_degrees": 20.0}, {"name": "scaling", "common": True}, {"name": "negation"}]
    generator = seeded()
    expected = rotation(x, sd_degrees=20.0, generator=generator)
    expected = -scaling(expected, common=True, generator=generator)
    assert torch.equal(augment(x, steps, seeded()), expected)
    assert torch.equal(augment(x, [], seeded()), x)


@pytest.mark.parametrize("function", [rotation, channel_shuffle])
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_that_are_no_triads_are_refused(function: object, channels: int) -> None:
    with pytest.raises(ValueError, match=f"^{channels} channels are not groups of three axes"):
        function(signal(2, channels), generator=seeded())


@pytest.mark.parametrize("pieces", [0, -1, TIME + 1])
def test_an_impossible_number_of_pieces_is_refused(pieces: int) -> None:
    with pytest.raises(ValueError, match=f"cannot cut {TIME} time steps into {pieces} pieces"):
        permutation(signal(2, 3), pieces=pieces, generator=seeded())


def test_an_armband_is_turned_by_a_few_places_in_a_circle() -> None:
    x = torch.arange(8.0)[None, :, None].expand(400, 8, 5)
    turned = augment(x, [{"name": "electrode_shift", "most": 1}], torch.Generator().manual_seed(0))
    places = {-1: 0, 0: 0, 1: 0}
    for window in turned:
        (shift,) = (k for k in places if torch.equal(window, x[0].roll(-k, 0)))
        places[shift] += 1
    assert min(places.values()) > 90


def test_a_dropped_channel_is_zero_throughout_and_the_others_keep_their_bits() -> None:
    x = signal(500, 8) + 5
    dropped = channel_dropout(x, share=0.25, generator=seeded())
    gone = (dropped == 0).all(dim=2)
    assert torch.equal(dropped[~gone], x[~gone]) and abs(gone.float().mean() - 0.25) < 0.03
    assert torch.equal(channel_dropout(x, share=0.0), x)


def test_a_time_mask_is_one_span_of_its_share_in_all_channels() -> None:
    x = clock(300, 2) ** 2 * torch.tensor([1.0, -1.0])[:, None]  # no time step has the mean
    hidden = time_mask(x, share=0.3, generator=seeded()) == x.mean(dim=2, keepdim=True)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    first, last = hidden[:, 0].float().argmax(dim=1), TIME - 1 - hidden[:, 0].flip(1).float().argmax(dim=1)
    assert set((last - first + 1).tolist()) == {11} and hidden[:, 0].sum(dim=1).unique().tolist() == [11]
    assert first.min() == 0 and last.max() == TIME - 1
    masked = time_mask(x, share=0.3, generator=seeded())
    assert torch.equal(masked[~hidden], x[~hidden])
    assert torch.equal(time_mask(x, share=0.0), x)
