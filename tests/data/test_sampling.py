"""Sampling: draws follow their weights, batches cover the order once, and no label is anywhere in them."""

import dataclasses
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from otolith.data import sampling
from otolith.data.cutting import cut
from otolith.data.joining import join
from otolith.data.prepare import prepare
from otolith.data.recording import ACCELEROMETER, Recording
from otolith.data.sampling import Batch, Draw, batches, draw_windows, weights
from otolith.data.store import Store
from otolith.data.windows import Windows

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("otolith-gather")]


def test_a_batch_has_no_field_for_labels(windows: Windows) -> None:
    assert set(Batch._fields) == {"x", "subject", "paired", "present"}
    order = torch.arange(len(windows))
    labelled = next(batches(windows, order, 64, device=CPU))
    bare = next(batches(windows.unlabelled(), order, 64, device=CPU))
    assert torch.equal(labelled.x, bare.x) and torch.equal(labelled.subject, bare.subject)


WEIGHT = torch.tensor([1.0, 0.0, 2.0, 4.0, 0.5, 2.5], dtype=torch.float64)


def test_ordered_pairs_are_drawn_as_often_as_successive_draws_without_replacement() -> None:
    generator, times = seeded(), 4000
    seen = np.zeros((6, 6))
    for _ in range(times):
        first, second = draw_windows(WEIGHT, 2, generator=generator).tolist()
        seen[first, second] += 1
    w = WEIGHT.numpy()
    exact = np.outer(w, w) / w.sum() / (w.sum() - w)[:, None]
    np.fill_diagonal(exact, 0)
    assert (seen[exact == 0] == 0).all()  # nothing twice, weight 0 never
    possible = exact > 0
    assert chisquare(seen[possible], exact[possible] * times).pvalue > 0.01
    assert chisquare(seen.sum(axis=1)[w > 0], w[w > 0] / w.sum() * times).pvalue > 0.01  # the first draw alone
    assert chisquare(seen.sum(axis=1)[w > 0]).pvalue < 1e-9  # the test can tell: equal weights are ruled out


def test_a_full_draw_is_a_permutation_and_too_large_a_one_gives_all_that_can_be_drawn() -> None:
    equal = torch.ones(50, dtype=torch.float64)
    draws = [draw_windows(equal, 50, generator=seeded(seed)).tolist() for seed in range(5)]
    assert all(sorted(draw) == list(range(50)) for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 5
    assert draws[0] == draw_windows(equal, 50, generator=seeded(0)).tolist()
    assert sorted(draw_windows(WEIGHT, 100, generator=seeded()).tolist()) == [0, 2, 3, 4, 5]


def test_weights_of_any_size_can_be_drawn() -> None:
    weight = torch.tensor([1e-300, 1e300, 1e-300], dtype=torch.float64)
    for seed in range(20):
        draw = draw_windows(weight, 3, generator=seeded(seed)).tolist()
        assert draw[0] == 1 and sorted(draw) == [0, 1, 2]


def test_a_rare_weight_is_drawn_as_often_as_it_should_among_many() -> None:
    """The threshold that finds the drawn ones must not cut any off: 2 of 3,000 windows hold a tenth of the weight."""
    weight = torch.full((3000,), 1.0, dtype=torch.float64)
    weight[[17, 2999]] = 3000 / 9 / 2
    generator, times, count = seeded(1), 1500, 30
    drawn = torch.stack([draw_windows(weight, count, generator=generator) for _ in range(times)])
    assert all(len(set(draw)) == count for draw in drawn.tolist())
    first = torch.bincount(drawn[:, 0], minlength=3000)
    rare = int(first[17] + first[2999])
    assert chisquare([rare, times - rare], [times / 10, times * 9 / 10]).pvalue > 0.01
    small = torch.bincount(torch.where(weight == 1, torch.arange(3000) // 100, 30)[drawn].flatten())[:30]
    assert chisquare(small, small.sum() * torch.bincount(torch.arange(3000)[weight == 1] // 100) / 2998).pvalue > 0.01


@pytest.mark.parametrize("pieces", [1, 5, 1 << 20])
def test_the_draw_is_the_same_in_any_pieces_and_all_keys_are_in_order(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    weight = torch.rand(333, generator=seeded(2), dtype=torch.float64) ** 4 * (torch.arange(333) % 5 > 0)
    key = weight.log() - (-torch.rand(333, generator=seeded(3), dtype=torch.float64).log()).log()
    monkeypatch.setattr(sampling, "_PIECE", pieces)
    for count in (0, 1, 7, 266, 333):
        expected = key.topk(min(count, 266)).indices  # as one would write it
        assert draw_windows(weight, count, generator=seeded(3)).tolist() == expected.tolist()


def test_draws_with_replacement_are_multinomial() -> None:
    count = 20_000
    drawn = draw_windows(WEIGHT, count, generator=seeded(), replacement=True)
    w = WEIGHT.numpy()
    seen = np.bincount(drawn.numpy(), minlength=6)
    assert len(drawn) == count and seen[1] == 0
    assert chisquare(seen[w > 0], w[w > 0] / w.sum() * count).pvalue > 0.01
    pairs = np.zeros((6, 6))  # a draw does not depend on the one before
    np.add.at(pairs, (drawn[::2].numpy(), drawn[1::2].numpy()), 1)
    exact = np.outer(w, w) / w.sum() ** 2 * count / 2
    assert chisquare(pairs[exact > 0], exact[exact > 0]).pvalue > 0.01
    assert torch.equal(drawn, draw_windows(WEIGHT * 1e200, count, generator=seeded(), replacement=True))
    assert len(draw_windows(WEIGHT, 0, generator=seeded(), replacement=True)) == 0


def test_rounding_never_draws_beyond_the_last_window_with_a_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.ones(count, dtype=torch.float64))
    weight = torch.tensor([0.0, 0.3, 0.1, 0.0, 0.0], dtype=torch.float64)
    assert draw_windows(weight, 3, generator=seeded(), replacement=True).tolist() == [2, 2, 2]
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.zeros(count, dtype=torch.float64))
    assert draw_windows(weight, 3, generator=seeded(), replacement=True).tolist() == [1, 1, 1]


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("draw", ["uniform", "subject", "variance"])
def test_windows_are_drawn_as_often_as_their_weights_say(windows: Windows, draw: Draw, replacement: bool) -> None:
    # Person n keeps every n-th window, and person 6 has none.
    some = windows[np.flatnonzero((np.arange(len(windows)) % (windows.subject + 1) == 0) & (windows.subject < 5))]
    x = some.array().numpy().astype(np.float64)
    expected = {
        "uniform": np.ones(len(some)),
        "subject": 1 / np.bincount(some.subject)[some.subject],
        "variance": x.var(axis=2).sum(axis=1),
    }[draw]
    weight, generator, times = weights(some, draw), seeded(1), 4000
    if replacement:
        seen = draw_windows(weight, 2 * times, generator=generator, replacement=True).numpy()
    else:  # the first of two, as the second depends on it
        seen = np.array([int(draw_windows(weight, 2, generator=generator)[0]) for _ in range(times)])
    counts = np.bincount(seen, minlength=len(some))
    assert chisquare(counts, expected / expected.sum() * len(seen)).pvalue > 0.01
    for other in {"uniform", "subject", "variance"} - {draw}:  # the test can tell
        wrong = weights(some, other).numpy()  # type: ignore[arg-type]
        assert chisquare(counts, wrong / wrong.sum() * len(seen)).pvalue < 1e-6


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -0.1], "negative or not finite"),
        ([1.0, float("nan")], "negative or not finite"),
        ([1.0, float("inf")], "negative or not finite"),
        ([0.0, 0.0], "every window has weight 0: no signal moves"),
        ([], "every window has weight 0: no signal moves"),
    ],
)
def test_weights_that_cannot_be_drawn_from_are_refused(weight: list[float], message: str) -> None:
    for replacement in (False, True):
        with pytest.raises(ValueError, match=message):
            draw_windows(torch.tensor(weight, dtype=torch.float64), 1, generator=seeded(), replacement=replacement)


def test_subject_weights_give_every_person_the_same_share(windows: Windows) -> None:
    # Person n keeps every n-th window, and person 6 has none.
    some = windows[np.flatnonzero((np.arange(len(windows)) % (windows.subject + 1) == 0) & (windows.subject < 5))]
    weight = weights(some, "subject").numpy()
    shares = np.bincount(some.subject, weight) / weight.sum()
    assert len(set(np.bincount(some.subject))) == 5
    np.testing.assert_allclose(shares, 0.2)
    assert all(len(set(weight[some.subject == number])) == 1 for number in range(5))
    assert torch.equal(weights(some, "uniform"), torch.ones(len(some), dtype=torch.float64))


def test_placement_weights_give_every_placement_of_every_person_the_same_share(windows: Windows) -> None:
    place = np.where((np.arange(len(windows)) % 3 == 0) & (windows.subject > 1), "pocket", "wrist")
    weight = weights(dataclasses.replace(windows, placement=place), "placement").numpy()
    groups = {(s, p): weight[(windows.subject == s) & (place == p)].sum() for s in range(6) for p in set(place)}
    assert {key for key, share in groups.items() if share == 0} == {(0, "pocket"), (1, "pocket")}
    np.testing.assert_allclose([share for share in groups.values() if share], 1)
    with pytest.raises(ValueError, match="these windows do not say where their sensor was worn; use 'subject'"):
        weights(dataclasses.replace(windows, placement=None), "placement")


def test_variance_weights_are_numpys_and_a_still_window_is_never_drawn(store: Store) -> None:
    windows = cut(store, overlap=0.97)
    assert len(windows) > 4096  # more than one block
    x = windows.array().numpy().astype(np.float64)
    np.testing.assert_allclose(weights(windows, "variance").numpy(), x.var(axis=2).sum(axis=1), rtol=1e-4)
    values = windows.values[0].clone()  # the first recording lies on a table:
    values.reshape(18, 6, 1000)[0] = torch.tensor([0.1, -0.77, 0.63, 1e-3, 0.0, 3.3])[:, None]
    still = dataclasses.replace(windows, values=(values,))
    weight = weights(still, "variance")
    assert (weight[still.recording == 0] == 0).all() and (weight[still.recording > 0] > 0).all()
    drawn = draw_windows(weight, len(still), generator=seeded())
    assert set(still.recording[drawn.numpy()]) == set(range(1, 18))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Gravity and little else: recordings of odd lengths, whose deviation is a thousandth of their mean, one of it still."""
    random = np.random.default_rng(0)
    recordings = []
    for number, steps in enumerate((1000, 733, 49, 24, 3111)):
        drift = np.linspace(0, 1e-3, steps)[:, None] * (number == 4)
        gravity = np.array([0.3, -0.9, 1.0])
        signal = gravity + drift + random.normal(scale=1e-3 * (number != 1), size=(steps, 3))
        recordings.append(Recording(f"r{number}", signal.astype(np.float32), 50.0, ACCELEROMETER, "s", "wrist"))
    return prepare(recordings, tmp_path_factory.mktemp("data") / "heavy", dataset="heavy")


@pytest.mark.parametrize(
    ("seconds", "overlap"), [(2.0, 0.5), (2.0, 0.75), (2.0, 0.0), (0.5, 0.0), (10.0, 0.95), (5.0, 0.3)]
)
@pytest.mark.parametrize("channels", [None, ("acc_z",), ("acc_y", "acc_x")])
def test_the_store_knows_the_variance_of_windows_of_whole_blocks(
    heavy: Store, monkeypatch: pytest.MonkeyPatch, seconds: float, overlap: float, channels: tuple | None
) -> None:
    windows = cut(heavy, seconds=seconds, overlap=overlap, channels=channels, label=None)
    exact = windows.array().numpy().astype(np.float64).var(axis=2).sum(axis=1)
    assert windows.variance is not None and windows.variance.dtype == np.float32
    np.testing.assert_allclose(windows.variance, exact, rtol=1e-4)
    assert (windows.variance[windows.recording == 1] == 0).all()
    monkeypatch.setattr(Windows, "gather", None)  # nothing is read for it
    assert torch.equal(weights(windows, "variance"), torch.from_numpy(windows.variance).double())


@pytest.mark.parametrize(("seconds", "overlap"), [(2.0, 0.9), (2.2, 0.5), (0.4, 0.0)])
def test_other_windows_have_to_be_read_for_their_variance(heavy: Store, seconds: float, overlap: float) -> None:
    windows = cut(heavy, seconds=seconds, overlap=overlap, label=None)
    exact = windows.array().numpy().astype(np.float64).var(axis=2).sum(axis=1)
    assert windows.variance is None and (weights(windows, "variance")[windows.recording == 1] == 0).all()
    np.testing.assert_allclose(weights(windows, "variance"), exact, rtol=1e-3, atol=1e-12)


def test_variances_go_wherever_their_windows_go(store: Store, heavy: Store) -> None:
    windows = cut(store, channels=ACCELEROMETER)  # labelled windows alone
    assert windows.variance is not None
    np.testing.assert_allclose(windows.variance, windows.array().numpy().var(axis=2).sum(axis=1), rtol=1e-3)
    rows = np.array([7, 3, 3])
    for some in (windows[rows], windows.for_subjects(["2", "5"]), pickle.loads(pickle.dumps(windows.unlabelled()))):
        np.testing.assert_allclose(some.variance, some.array().numpy().var(axis=2).sum(axis=1), rtol=1e-3)
    other = cut(heavy, label=None)
    assert other.variance is not None
    both = join([windows, other])
    assert both.variance is not None
    np.testing.assert_array_equal(both.variance, np.concatenate([windows.variance, other.variance]))
    assert join([windows, cut(heavy, overlap=0.9, label=None)]).variance is None


@pytest.mark.parametrize("size", [1, 50, 57, 342, 1000])
@pytest.mark.parametrize("ahead", [1, 120, 4096])
@pytest.mark.parametrize("fits", [True, False])
def test_batches_cover_the_order_once_and_in_order(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, size: int, ahead: int, fits: bool
) -> None:
    monkeypatch.setattr(sampling, "_AHEAD", ahead)
    monkeypatch.setattr(sampling, "memory_bytes", lambda: windows.nbytes * (3 if fits else 1))
    count = len(windows)  # 342 = 6 x 57
    generator = seeded()
    paired = torch.randn(count, 5, generator=generator)
    present = torch.rand(count, generator=generator) < 0.5
    whole = dataclasses.replace(windows, paired={"text": paired}, present={"text": present})
    order = torch.randperm(count, generator=generator)
    found = list(batches(whole, order, size, device=CPU))
    assert [len(batch.x) for batch in found] == [size] * (count // size) + [count % size] * (count % size > 0)
    assert torch.equal(torch.cat([batch.x for batch in found]), windows.gather(order))
    np.testing.assert_array_equal(torch.cat([batch.subject for batch in found]), windows.subject[order.numpy()])
    assert torch.equal(torch.cat([batch.paired["text"] for batch in found]), paired[order])
    assert torch.equal(torch.cat([batch.present["text"] for batch in found]), present[order])
    assert not threads()


def test_an_empty_order_has_no_batches(windows: Windows) -> None:
    assert list(batches(windows, torch.arange(0), 8, device=CPU)) == []


@pytest.mark.parametrize("ahead", [8, 4096])
def test_the_gathering_thread_ends_when_the_caller_stops_early(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(sampling, "_AHEAD", ahead)
    monkeypatch.setattr(sampling, "memory_bytes", lambda: 0)
    stream = batches(windows, torch.arange(len(windows)), 8, device=CPU)
    next(stream)
    assert len(threads()) == 1
    stream.close()  # type: ignore[attr-defined]
    assert not threads()


def test_values_that_lie_on_the_device_are_gathered_there_without_a_thread(windows: Windows) -> None:
    meta = torch.device("meta")
    inside = batches(windows, torch.arange(len(windows)), 100, device=CPU)
    next(inside)
    assert len(threads()) == 0  # a corpus that fits in memory
    for source, count in ((windows, 1), (windows.to(meta), 0)):  # elsewhere, and there
        stream = batches(source, torch.arange(len(windows)), 100, device=meta)
        first = next(stream)
        assert len(threads()) == count
        assert [len(batch.x) for batch in (first, *stream)] == [100, 100, 100, 42]
        assert first.x.device == first.subject.device == meta


def test_an_error_while_gathering_reaches_the_caller_and_ends_the_thread(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_AHEAD", 2)
    monkeypatch.setattr(sampling, "memory_bytes", lambda: 0)
    order = torch.tensor([0, 1, 2, len(windows)])
    stream = batches(windows, order, 2, device=CPU)
    assert len(next(stream).x) == 2
    with pytest.raises(IndexError):
        next(stream)
    assert not threads()


def test_memory_is_limited_by_the_control_groups_of_both_versions(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("4:memory:/jobs/mine\n3:cpu:/\n0::/other/mine\n")
    assert sampling._control_group_limits(root, own) == []  # nothing is mounted
    for place, text in (("memory/jobs/mine/memory.limit_in_bytes", "700"), ("memory/jobs/memory.limit_in_bytes", "500"),
                        ("other/mine/memory.max", "max"), ("other/memory.max", "600")):  # fmt: skip
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text + "\n")
    assert sorted(sampling._control_group_limits(root, own)) == [500, 600, 700]
    assert sampling._control_group_limits(root, tmp_path / "none") == []
