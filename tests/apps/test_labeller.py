"""A stream is labelled as the whole recording is, to the bit."""

import copy

import numpy as np
import pytest
import torch

from otolith.apps.label import Labeller
from otolith.apps.label.stream import Cells, joined
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.bouts import LAG_S, Bouts
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.resample import resample
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import Strided


@pytest.fixture(scope="module")
def few(store: Store) -> Windows:
    windows = cut(store, channels=["acc_x", "acc_y", "acc_z"])
    return windows[np.arange(0, len(windows), 4)]


@pytest.fixture(scope="module", params=["encoder", "forest"])
def model(request: pytest.FixtureRequest, few: Windows) -> TransferClassifier | ForestClassifier:
    """A classifier that knows what is unknown to it."""
    made: TransferClassifier | ForestClassifier = ForestClassifier(trees=7)
    if request.param == "encoder":
        made = TransferClassifier(Strided(3, **few.statistics()), LogisticHead(**PLAIN))
    made.fit(few)
    made.bouts_ = Bouts.fitted(few, 1.0)
    x, y = few.array(), few.y
    found = Rejection.fitted(x, y, 3)
    distance = found.distance(x)
    distance += 3 * np.abs(distance)  # of other windows than those of the fit
    made.rejection_ = found.calibrate(0.1 + 0.7 * made.predict_proba(few), distance, y, few.subject)
    return made


@pytest.fixture(scope="module")
def signal(store: Store) -> np.ndarray:
    """(time, 3): movements that are known, and noise."""
    known = [store.signal(entry)[:, :3] for entry in store.entries[:12]]
    noise = np.random.default_rng(0).normal(size=(2500, 3))
    return np.concatenate([*known, noise, *known[:3], known[0][:77]]).astype(np.float32)


def pushed(labeller: Labeller, signal: np.ndarray, sizes: list[int]) -> tuple[Cells, list[int]]:
    """All cells, and how many each push gave."""
    found, at = [], 0
    for size in sizes:
        found.append(labeller.push(signal[at : at + size]))
        at += size
    found += [labeller.push(signal[at:]), labeller.close()]
    return joined(found), [len(each.number) for each in found]


@pytest.mark.parametrize("rate_hz", [None, 100.0, 64.0])
@pytest.mark.parametrize("smooth", [True, False])
def test_chunks_of_any_size_give_the_same_bits(model, signal, smooth: bool, rate_hz: float | None) -> None:
    random = np.random.default_rng(1)
    model = copy.deepcopy(model)
    seen = model.rejection_.distance(torch.from_numpy(signal).unfold(0, 100, 100))
    model.rejection_.most_distance.copy_(torch.from_numpy(np.quantile(seen, 0.8, axis=0)))
    signal = resample(signal, 50, rate_hz or 50)
    whole, _ = pushed(Labeller(model, rate_hz=rate_hz, smooth=smooth), signal, [])
    assert len(whole.number) == -(-len(resample(signal, rate_hz or 50, 50)) // 50)
    assert len(np.unique(whole.number)) > (2 if rate_hz is None else 1)
    for sizes in ([1, 0, 99, 1, 1, 250], random.integers(1, 700, 60).tolist(), [len(signal)]):
        parts, _ = pushed(Labeller(model, rate_hz=rate_hz, smooth=smooth), signal, sizes)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)


def test_cells_come_a_lag_after_their_time(model, signal) -> None:
    smoothed, given = pushed(Labeller(model), signal, [50] * 120)
    assert sum(given[:120]) == 119 - round(LAG_S)  # a window lasts 2 s, so the last second has no window yet
    plain, given = pushed(Labeller(model, smooth=False), signal, [50] * 120)
    assert sum(given[:120]) == 119
    assert len(smoothed.number) == len(plain.number)
    assert (np.diff(smoothed.number) != 0).sum() <= (np.diff(plain.number) != 0).sum()


def test_noise_is_unknown(model, signal) -> None:
    labeller = Labeller(model)
    assert labeller.labels[-1] == labeller.unknown == "unknown"
    noise = np.random.default_rng(5).normal(size=(3000, 3)).astype(np.float32)
    found, _ = pushed(labeller, noise, [])
    assert (found.number == len(labeller.labels) - 1).all()


def test_a_class_may_be_called_unknown(few: Windows) -> None:
    model = ForestClassifier(trees=3).fit(few.array(), np.array(["slow", "unknown", "fast"])[few.y])
    model.signal_, model.rejection_ = few.contract, Rejection(3, 64)
    assert Labeller(model).labels[-2:] == ("unknown", "unknown to the model")


def test_what_is_no_signal_is_refused(model) -> None:
    with pytest.raises(ValueError, match=r"samples are \(5, 2\); expected \(time, 3\): acc_x, acc_y, acc_z"):
        Labeller(model).push(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="not finite"):
        Labeller(model).push(np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="overlap is 1"):
        Labeller(model, overlap=1.0)
    bare = ForestClassifier(trees=2).fit(torch.rand(6, 3, 50), [0, 1, 2] * 2)
    with pytest.raises(ValueError, match="no signal contract"):
        Labeller(bare)


def test_less_than_a_window_gives_nothing(model) -> None:
    assert pushed(Labeller(model), np.zeros((99, 3), np.float32), [])[1] == [0, 0]
    assert pushed(Labeller(model), np.zeros((0, 3), np.float32), [])[1] == [0, 0]
