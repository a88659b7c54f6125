"""Sampling: draws follow their weights, batches cover the order once, and no label is anywhere in them."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from otolith import sampling
from otolith.sampling import Batch, batches, draw_windows, weights
from otolith.store import Store
from otolith.windows import Windows, cut

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
    with pytest.raises(ValueError, match=message):
        draw_windows(torch.tensor(weight, dtype=torch.float64), 1, generator=seeded())


def test_subject_weights_give_every_person_the_same_share(windows: Windows) -> None:
    # Person n keeps every n-th window, and person 6 has none.
    some = windows[np.flatnonzero((np.arange(len(windows)) % (windows.subject + 1) == 0) & (windows.subject < 5))]
    weight = weights(some, "subject").numpy()
    shares = np.bincount(some.subject, weight) / weight.sum()
    assert len(set(np.bincount(some.subject))) == 5
    np.testing.assert_allclose(shares, 0.2)
    assert all(len(set(weight[some.subject == number])) == 1 for number in range(5))
    assert torch.equal(weights(some, "uniform"), torch.ones(len(some), dtype=torch.float64))


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
