"""Windows: cut as a slow loop would, gathered as slices, indexed without a copy."""

import dataclasses
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from otolith.data.cutting import cut
from otolith.data.joining import join
from otolith.data.prepare import prepare
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Recording, Span
from otolith.data.store import Store
from otolith.data.windows import SignalSpec, Windows
from otolith.datasets import synthetic

CHANNELS = ACCELEROMETER + GYROSCOPE


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four recordings of three people, of odd lengths, one too short for 2 s; labels change at random, with gaps."""
    random = np.random.default_rng(0)
    recordings = []
    for number, (subject, steps) in enumerate([("b", 701), ("a", 333), ("b", 99), ("c", 456)]):
        edges = np.sort(random.choice(steps, 14, replace=False)) / 50
        names = random.choice(["x", "y", "z", ""], 13, p=[0.3, 0.3, 0.2, 0.2])
        spans = [
            Span(a, b, n) for a, b, n in zip(edges.tolist(), edges[1:].tolist(), names.tolist(), strict=False) if n
        ]
        signal = random.normal(size=(steps, 6)).astype(np.float32)
        recordings.append(Recording(f"r{number}", signal, 50.0, CHANNELS, subject, "wrist", tuple(spans)))
    return prepare(recordings, tmp_path_factory.mktemp("windows") / "c", dataset="ragged", labels=("y", "x", "z"))


def slow(store: Store, length: int, hop: int, rule: str | None) -> list[tuple[int, int, int]]:
    """(recording, first time step in it, label) of every window, one after another."""
    found = []
    for number, entry in enumerate(store.entries):
        per_step = [-1] * entry.steps
        for start, stop, label in entry.spans:
            for step in range(start, stop):
                per_step[step] = label
        for first in range(0, entry.steps - length + 1, hop):
            inside = per_step[first : first + length]
            # Most time steps win, those without a label counting as one more kind; a tie goes to the lower number.
            label = (
                inside[-1] if rule == "last" else max(range(-1, len(store.labels)), key=lambda k: (inside.count(k), -k))
            )
            if rule is None or label >= 0:
                found.append((number, first, label))
    return found


@pytest.mark.parametrize("rule", ["majority", "last", None])
@pytest.mark.parametrize(
    ("seconds", "overlap", "length", "hop"), [(2.0, 0.5, 100, 50), (2.0, 0.0, 100, 100), (0.74, 0.9, 37, 4)]
)
@pytest.mark.parametrize("channels", [None, ACCELEROMETER, GYROSCOPE, ("acc_z", "gyro_x"), ("gyro_y", "acc_x")])
def test_windows_are_those_of_a_slow_loop(
    ragged: Store, rule: str | None, seconds: float, overlap: float, length: int, hop: int, channels: tuple | None
) -> None:
    windows = cut(ragged, seconds=seconds, overlap=overlap, channels=channels, label=rule)
    expected = slow(ragged, length, hop, rule)
    recording, first, label = map(np.array, zip(*expected, strict=True))
    assert len(windows) == len(expected)
    np.testing.assert_array_equal(windows.recording, recording)
    np.testing.assert_allclose(windows.start_s, first / 50)
    assert [windows.subject_names[s] for s in windows.subject] == [ragged.entries[r].subject for r in recording]
    if rule is None:
        assert windows.y is None
    else:
        np.testing.assert_array_equal(windows.y, label)
        assert windows.label_names == ("y", "x", "z")
    columns = [ragged.channels.index(name) for name in channels or CHANNELS]
    x = windows.array().numpy()
    assert x.shape == windows.shape == (len(expected), len(columns), length)
    for row, (number, start, _) in enumerate(expected):
        own = ragged.signal(ragged.entries[number])  # nothing of another recording
        np.testing.assert_array_equal(x[row], own[start : start + length, columns].T)


def test_the_slow_loop_meets_every_case(ragged: Store) -> None:
    rows = {rule: slow(ragged, 37, 4, rule) for rule in ("majority", "last", None)}
    assert len({label for *_, label in rows["majority"]}) == 3
    assert len(rows["majority"]) < len(rows[None]) and len(rows["last"]) < len(rows[None])  # some have no label
    assert rows["majority"] != rows["last"]
    assert 2 not in {number for number, *_ in slow(ragged, 100, 50, None)}  # the short recording gives none


def test_gather_takes_any_rows_in_any_order(ragged: Store) -> None:
    windows = cut(ragged, seconds=0.8, channels=ACCELEROMETER, label=None)
    index = torch.tensor([7, 0, 7, len(windows) - 1, 3])
    x = windows.gather(index)
    assert x.shape == (5, 3, 40) and x.dtype == torch.float32
    for row, number in zip(x, index.tolist(), strict=True):
        first = round(windows.start_s[number] * 50)
        own = ragged.signal(ragged.entries[windows.recording[number]])
        np.testing.assert_array_equal(row.numpy(), own[first : first + 40, :3].T)
    x.zero_()  # a batch is the caller's own
    assert torch.equal(windows.gather(index), windows.array()[index]) and windows.gather(index).abs().sum() > 0


@pytest.mark.parametrize("kind", ["mask", "numbers", "list", "slice", "none", "empty list"])
def test_indexing_shares_the_signal_and_carries_everything_else(windows: Windows, kind: str) -> None:
    count = len(windows)
    random = np.random.default_rng(0)
    mask = random.random(count) < 0.3
    index, rows = {
        "mask": (mask, np.flatnonzero(mask)),
        "numbers": (np.array([5, 2, 2, count - 1]), [5, 2, 2, count - 1]),
        "list": ([9, 1], [9, 1]),
        "slice": (slice(3, 40, 7), range(3, 40, 7)),
        "none": (np.zeros(count, bool), []),
        "empty list": ([], []),
    }[kind]
    rows = np.array(rows, dtype=np.int64)
    vectors, present = torch.randn(count, 5, generator=torch.Generator().manual_seed(0)), torch.from_numpy(mask)
    whole = dataclasses.replace(windows, paired={"video": vectors}, present={"video": present})
    part = whole[index]
    assert len(part) == len(rows)
    assert part.values[0].data_ptr() == windows.values[0].data_ptr()
    for name in ("y", "subject", "recording", "start_s", "offset", "placement"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
    assert torch.equal(part.paired["video"], vectors[rows]) and torch.equal(part.present["video"], present[rows])
    assert torch.equal(part.array(), whole.array()[rows])
    assert part.unlabelled().y is None and whole.unlabelled()[index].y is None
    kept = ("contract", "label_names", "subject_names", "dataset", "cut_hash")
    assert all(getattr(part, name) == getattr(whole, name) for name in kept)


def test_the_signal_is_the_stores_own_memory(store: Store, windows: Windows) -> None:
    assert windows.values[0].data_ptr() == store.values.ctypes.data
    assert cut(store, channels=GYROSCOPE).values[0].data_ptr() == store.values.ctypes.data


def test_pickling_sends_the_way_to_the_file_and_not_the_signal(windows: Windows) -> None:
    some = windows[::5]
    some.gather(torch.arange(2))
    sent = pickle.dumps(some)
    assert len(sent) < windows.nbytes / 10
    back = pickle.loads(sent)
    assert torch.equal(back.array(), some.array()) and back.contract == some.contract
    np.testing.assert_array_equal(back.y, some.y)
    for base in (some, some.to("cpu")):
        moved = dataclasses.replace(base, values=(some.values[0].clone() + 1,))  # no longer what is on disk
        assert torch.equal(pickle.loads(pickle.dumps(moved)).array(), some.array() + 1)


def test_moving_takes_everything_that_batches_are_gathered_from(windows: Windows) -> None:
    whole = dataclasses.replace(windows, paired={"a": torch.zeros(342, 5)}, present={"a": torch.ones(342) > 0})
    moved = whole.to("meta")[np.arange(9)]
    for tensor in (*moved.values, moved.offset, moved.paired["a"], moved.present["a"], moved.array()):
        assert tensor.device.type == "meta"
    assert moved.array().shape == (9, 6, 100)


def test_windows_of_people_are_theirs_and_an_unknown_person_is_an_error(windows: Windows) -> None:
    some = windows.for_subjects(["5", "2"])
    assert {some.subject_names[number] for number in some.subject} == {"2", "5"}
    assert len(some) == sum(windows.subject_names[number] in ("2", "5") for number in windows.subject)
    assert len(windows.for_subjects([])) == 0
    with pytest.raises(ValueError, match="'synthetic' has no subject 7; it has 1, 2, 3, 4, 5, 6"):
        windows.for_subjects(["1", "7"])


def test_statistics_are_numpys_over_the_same_windows(store: Store) -> None:
    windows = cut(store, overlap=0.97)
    assert len(windows) > 4096  # more than one block
    for part in (windows, windows.for_subjects(["3"])):
        x = part.array().numpy().astype(np.float64)
        statistics = part.statistics()
        np.testing.assert_allclose(statistics["mean"], x.mean(axis=(0, 2)), rtol=1e-10)
        np.testing.assert_allclose(statistics["std"], x.std(axis=(0, 2)), rtol=1e-10)


def test_a_channel_that_never_changes_and_no_windows_at_all_have_no_statistics(windows: Windows) -> None:
    values = windows.values[0].clone()
    values.reshape(18, 6, 1000)[:, 4] = 0.1
    with pytest.raises(ValueError, match="channel gyro_y is constant in these 342 windows: the sensor was off"):
        dataclasses.replace(windows, values=(values,)).statistics()
    with pytest.raises(ValueError, match="no windows of 'synthetic'"):
        windows[[]].statistics()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap": 1.0}, "overlap is 1.0; expected 0 <= overlap < 1"),
        ({"overlap": -0.1}, "overlap is -0.1; expected 0 <= overlap < 1"),
        ({"overlap": float("nan")}, "overlap is nan; expected 0 <= overlap < 1"),
        ({"channels": ["acc_x", "mag_x"]}, "'synthetic' has no channel mag_x; it has acc_x, acc_y, acc_z, gyro_x"),
        ({"channels": []}, "'synthetic' has no channel (none is named); it has acc_x"),
        ({"channels": ["acc_x", "acc_x"]}, "a channel is named twice: acc_x, acc_x"),
        ({"seconds": 20.02}, "no labelled window of 20.02 s fits in 'synthetic': its longest recording lasts 20 s;"),
        ({"seconds": 21.0, "label": None}, "no window of 21 s fits in 'synthetic': its longest recording lasts 20 s;"),
        *(
            ({"seconds": seconds, "label": label}, f"seconds is {seconds}; expected windows of at least one time step")
            for seconds in (0.0, -1.0, 0.001, float("inf"), float("nan"))
            for label in ("majority", "last", None)
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(store: Store, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        cut(store, **arguments)


def test_a_corpus_without_labels_is_cut_without_them(tmp_path: Path) -> None:
    recording = Recording("r", np.zeros((200, 3), np.float32), 50.0, ACCELEROMETER, "s", "wrist")
    store = prepare([recording], tmp_path / "c", dataset="bare")
    windows = cut(store)
    assert windows.shape == (3, 3, 100) and windows.y is None and windows.label_names == ()
    assert windows.cut_hash == cut(store, label=None).cut_hash


def test_identity_names_the_store_and_the_cut(store: Store, ragged: Store) -> None:
    assert cut(store).cut_hash == cut(store).cut_hash
    others = [
        cut(store),
        cut(store, seconds=1.0),
        cut(store, overlap=0.0),
        cut(store, channels=ACCELEROMETER),
        cut(store, label="last"),
        cut(store, label=None),
        cut(ragged),
    ]
    assert len({windows.cut_hash for windows in others}) == len(others)


def test_a_signal_contract_survives_json_and_tells_differences_in_words() -> None:
    contract = SignalSpec(50.0, ("acc_x", "gyro_x"), 2.0)
    value = contract.to_json()
    assert value["units"] == ["g", "rad/s"] and contract.steps == 100
    assert SignalSpec.from_json(value) == contract
    assert contract.difference(contract) == ""
    assert contract.difference(SignalSpec(25.0, ("acc_x",), 2.0)) == (
        "rate 25 Hz instead of 50 Hz; channels acc_x instead of acc_x, gyro_x"
    )
    assert contract.difference(SignalSpec(50.0, ("acc_x", "gyro_x"), 2.5)) == "windows of 2.5 s instead of 2 s"
    with pytest.raises(ValueError, match=r"units \['m/s\^2', 'rad/s'\] for .*; expected \['g', 'rad/s'\]"):
        SignalSpec.from_json(value | {"units": ["m/s^2", "rad/s"]})


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Another corpus, in which two people are called as in the first."""
    made = synthetic.made(subjects=2, seconds=9.0, seed=1)
    return cut(prepare(made, tmp_path_factory.mktemp("data") / "other", dataset="other"), overlap=0.0)


def test_joined_corpora_keep_their_windows_and_their_people_apart(windows: Windows, other: Windows) -> None:
    both = join([windows, other])
    assert both.y is None and both.dataset == "synthetic+other" and len(both) == len(windows) + len(other)
    assert both.people == sorted(windows.people + other.people) and len(both.people) == 8
    assert [value.data_ptr() for value in both.values] == [windows.values[0].data_ptr(), other.values[0].data_ptr()]
    assert torch.equal(both.array(), torch.cat([windows.array(), other.array()]))
    assert both.placement is not None and len(both.placement) == len(both)
    mixed = torch.randperm(len(both), generator=torch.Generator().manual_seed(0))
    assert torch.equal(both.gather(mixed), both.array()[mixed])
    mine = both.for_subjects(["other:2", "synthetic:1"])
    assert torch.equal(
        mine.array(), torch.cat([windows.for_subjects(["1"]).array(), other.for_subjects(["2"]).array()])
    )
    assert len(np.unique(both.recording)) == len(np.unique(windows.recording)) + len(np.unique(other.recording))
    assert torch.equal(pickle.loads(pickle.dumps(both)).array(), both.array())
    assert len(pickle.dumps(both)) < both.nbytes / 5
    x = both.array().numpy().astype(np.float64)
    np.testing.assert_allclose(both.statistics()["mean"], x.mean(axis=(0, 2)), rtol=1e-9)
    assert len({both.content_hash, join([other, windows]).content_hash, windows.unlabelled().content_hash}) == 3


def test_what_cannot_be_joined(windows: Windows, other: Windows, store: Store) -> None:
    assert join([windows]).y is None and torch.equal(join([windows]).array(), windows.array())
    with pytest.raises(ValueError, match="no windows to join"):
        join([])
    with pytest.raises(ValueError, match="a corpus occurs twice: synthetic, synthetic"):
        join([windows, windows])
    with pytest.raises(ValueError, match="'synthetic' cannot be joined with 'other': windows of 1 s instead of 2 s"):
        join([other, cut(store, seconds=1.0)])


@pytest.mark.parametrize("rule", ["majority", "last", None])
@pytest.mark.parametrize("labels", [("z", "y"), ("x",), ("z", "x", "y")])
def test_only_windows_of_the_labels_asked_for(ragged: Store, rule: str | None, labels: tuple[str, ...]) -> None:
    windows = cut(ragged, seconds=0.74, overlap=0.9, label=rule, labels=labels)
    names = [name for name in ("y", "x", "z") if name in labels]  # the store's order
    rows = slow(ragged, 37, 4, rule or "majority")
    expected = [(r, first, names.index(ragged.labels[k])) for r, first, k in rows if ragged.labels[k] in labels]
    recording, first, label = map(np.array, zip(*expected, strict=True))
    assert windows.label_names == tuple(names)
    np.testing.assert_array_equal(windows.recording, recording)
    np.testing.assert_allclose(windows.start_s, first / 50)
    if rule is None:
        assert windows.y is None
    else:
        np.testing.assert_array_equal(windows.y, label)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x", "q"], "'ragged' has no label q; it has y, x, z"),
        ([], "'ragged' has no label \\[\\]; it has y, x, z"),
        ("xy", "'ragged' has no label 'xy'; it has y, x, z"),
    ],
)
def test_labels_that_the_store_does_not_have_are_named(ragged: Store, labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(ragged, labels=labels)


def test_labels_that_no_window_has_and_stores_without_any(tmp_path: Path) -> None:
    recording = Recording("r", np.zeros((200, 3), np.float32), 50.0, ACCELEROMETER, "s", "wrist", (Span(0, 1, "a"),))
    store = prepare([recording], tmp_path / "c", dataset="rare", labels=("a", "b"))
    with pytest.raises(ValueError, match="no window of 2 s in 'rare' has a label of b"):
        cut(store, labels=["b"])
    bare = prepare([dataclasses.replace(recording, spans=())], tmp_path / "bare", dataset="bare")
    for label in ("majority", None):
        with pytest.raises(ValueError, match="'bare' has no labels, so no window has one of those in labels"):
            cut(bare, label=label, labels=["a"])


@pytest.mark.parametrize("label", ["majority", None])
def test_windows_begin_where_they_are_asked_to(ragged: Store, label: str | None) -> None:
    starts = {"r3": [3.0, 0.5, 3.0], "r0": [12.02, 12.1, 0.0]}
    windows = cut(ragged, seconds=2.0, label=None, starts=starts)
    assert list(zip(windows.recording.tolist(), windows.start_s.tolist(), strict=True)) == [
        (0, 0.0), (0, 12.02), (3, 0.5), (3, 3.0),  # 12.1 ends 0.08 s after the recording, and falls on 12.02
    ]  # fmt: skip
    own = ragged.signal(ragged.entries[3])
    np.testing.assert_array_equal(windows.array()[2].numpy(), own[25:125].T)
    assert windows.variance is None  # not of whole blocks
    if label is not None:
        every = cut(ragged, seconds=2.0, overlap=0.99, label=None)
        dense = {entry.name: [0.02 * k for k in range(200)] for entry in ragged.entries if entry.steps > 300}
        some = cut(ragged, seconds=2.0, label="majority", starts=dense)
        assert 0 < len(some) < len(every) and some.y is not None


def test_asked_for_at_whole_blocks_windows_know_their_variance(ragged: Store) -> None:
    windows = cut(ragged, seconds=2.0, label=None, starts={"r0": [0.5, 4.0]})
    assert windows.variance is not None
    np.testing.assert_allclose(windows.variance, windows.array().var(dim=2, correction=0).sum(dim=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"r9": [0.0]}, "starts names 'r9', which is not a recording of 'ragged'"),
        ({"r0": [12.13]}, "from 12.13 s on does not fit in recording 'r0' of 14.02 s; leave it out of starts"),
        ({"r0": [1.0, -0.1]}, "a window of 2 s from -0.1 s on does not fit"),
        ({"r0": [float("nan")]}, "a window of 2 s from nan s on does not fit"),
        ({"r0": [float("inf")]}, "a window of 2 s from inf s on does not fit"),
        ({"r2": [0.0]}, "a window of 2 s from 0 s on does not fit in recording 'r2' of 1.98 s"),
        ({}, "starts names no second at which a window of 'ragged' could begin"),
        ({"r0": []}, "starts names no second"),
    ],
)  # fmt: skip
def test_starts_that_do_not_fit_are_refused(ragged: Store, starts: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(ragged, seconds=2.0, label=None, starts=starts)


@pytest.mark.parametrize("rule", ["majority", None])
def test_only_windows_of_the_subjects_asked_for(ragged: Store, rule: str | None) -> None:
    every = cut(ragged, label=rule)
    for chosen in ([name] for name in ragged.subjects):
        some = cut(ragged, label=rule, subjects=chosen)
        kept = every.for_subjects(chosen)
        assert some.subject_names == tuple(chosen) and len(some) == len(kept) > 0
        assert torch.equal(some.array(), kept.array()) and some.people == kept.people
        assert rule is None or np.array_equal(some.y, kept.y)
        assert some.cut_hash != every.cut_hash
    with pytest.raises(ValueError, match="has no subject nobody; it has"):
        cut(ragged, label=rule, subjects=["nobody"])


def test_only_windows_of_the_placements_asked_for(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(250, 3)).astype(np.float32)
    channels, places = ("acc_x", "acc_y", "acc_z"), ("wrist", "pocket", "wrist")
    recordings = [Recording(str(n), signal, 50, channels, "1", place) for n, place in enumerate(places)]
    store = prepare(recordings, tmp_path / "store", dataset="made")
    every = cut(store)
    assert every.placement is not None and set(every.placement) == {"wrist", "pocket"}
    wrist = cut(store, placements=["wrist"])
    np.testing.assert_array_equal(wrist.recording, every.recording[every.placement == "wrist"])
    assert len({every.cut_hash, wrist.cut_hash, cut(store, placements=["pocket"]).cut_hash}) == 3
    assert len(every) == len(wrist) + len(cut(store, placements=["pocket"]))
    with pytest.raises(ValueError, match="'made' has no placement ankle; it has pocket, wrist"):
        cut(store, placements=["ankle"])


def test_identity_names_labels_and_starts_too(ragged: Store) -> None:
    made = [
        cut(ragged),
        cut(ragged, labels=["x", "z"]),
        cut(ragged, labels=["x"]),
        cut(ragged, label=None, starts={"r0": [0.0]}),
        cut(ragged, label=None, starts={"r0": [0.0, 6.0]}),
    ]
    assert len({windows.cut_hash for windows in made}) == len(made)
    assert cut(ragged, labels=["x", "z"]).cut_hash == cut(ragged, labels=("z", "x")).cut_hash
    near = cut(ragged, label=None, starts={"r0": [0.004]})
    assert near.cut_hash == cut(ragged, label=None, starts={"r0": [0.0]}).cut_hash


def test_starts_at_which_nothing_is_labelled_say_so(tmp_path: Path) -> None:
    recording = Recording("r", np.zeros((400, 3), np.float32), 50.0, ACCELEROMETER, "s", "wrist", (Span(0, 3, "a"),))
    store = prepare([recording], tmp_path / "c", dataset="rare", labels=("a", "b"))
    assert len(cut(store, starts={"r": [0.0, 5.0]})) == 1
    with pytest.raises(ValueError, match=r"no window that starts asks for in 'rare' has a label$"):
        cut(store, starts={"r": [5.0]})
    with pytest.raises(ValueError, match="no window that starts asks for in 'rare' has a label of b"):
        cut(store, label=None, labels=["b"], starts={"r": [0.0]})
