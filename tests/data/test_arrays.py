"""Windows made of arrays behave like windows that were cut from a store."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from otolith.data.arrays import window_array
from otolith.data.cutting import cut
from otolith.data.joining import join
from otolith.data.store import Store
from otolith.data.units import ACCELEROMETER, GYROSCOPE
from otolith.data.windows import SignalSpec, Windows

COUNT, STEPS = 24, 100


@pytest.fixture
def x() -> np.ndarray:
    """(24, 6, 100) float32, about 1 g upwards."""
    random = np.random.default_rng(0)
    return random.normal([[[0], [0], [1], [0], [0], [0]]], 0.1, (COUNT, 6, STEPS)).astype(np.float32)


def made(x: Any, **changes: Any) -> Windows:
    arguments = {"rate_hz": 50.0, "channels": "acc+gyro"} | changes
    return Windows.from_arrays(x, **arguments)


SUBJECTS = np.repeat([7, 3, 12, 5], COUNT // 4)
LABELS = np.array(["walk", "run", "rest"] * (COUNT // 3))


def test_values_labels_and_subjects_are_those_given(x: np.ndarray) -> None:
    windows = made(x, y=LABELS, subjects=SUBJECTS, dataset="mine")
    assert torch.equal(windows.array(), torch.from_numpy(x))
    assert torch.equal(windows.gather(torch.tensor([5, 0])), torch.from_numpy(x[[5, 0]]))
    assert windows.contract == SignalSpec(50.0, ACCELEROMETER + GYROSCOPE, 2.0)
    assert [windows.label_names[number] for number in windows.y] == LABELS.tolist()
    assert windows.label_names == ("rest", "run", "walk") and windows.subject_names == ("7", "3", "12", "5")
    assert [windows.subject_names[number] for number in windows.subject] == [str(s) for s in SUBJECTS]
    assert windows.people == ["mine:12", "mine:3", "mine:5", "mine:7"]
    assert len(set(windows.recording.tolist())) == COUNT  # no two windows are known to be consecutive
    assert windows.for_subjects(["3"]).shape == (6, 6, STEPS)


def test_an_array_that_fits_is_not_copied(x: np.ndarray) -> None:
    assert made(x).values[0].data_ptr() == x.ctypes.data


@pytest.mark.parametrize("kind", [np.float64, np.float16, ">f4", "fortran", "list", "tensor", "read-only", "sliced"])
def test_other_types_and_orders_are_converted(x: np.ndarray, kind: Any) -> None:
    other: Any
    if kind == "fortran":
        other = np.asfortranarray(x)
    elif kind == "list":
        other = x.tolist()
    elif kind == "tensor":
        other = torch.from_numpy(x)
    elif kind == "read-only":
        other = x.copy()
        other.flags.writeable = False
    elif kind == "sliced":
        other = np.repeat(x, 2, axis=2)[:, :, ::2]
    else:
        other = x.astype(kind)
    expected = x.astype(np.float16).astype(np.float32) if kind is np.float16 else x
    assert torch.equal(made(other).array(), torch.from_numpy(expected))


def test_integers_in_a_unit_are_converted(x: np.ndarray) -> None:
    counts = np.rint(x[:, :3] * 1000).astype(np.int16)
    windows = made(counts, channels="acc", units={"acc": "mg"})
    np.testing.assert_allclose(windows.array().numpy(), counts / 1000, rtol=1e-6)
    turned = made(x, units={"gyro": "deg/s", "acc": "m/s2"}).array().numpy()
    np.testing.assert_allclose(turned[:, :3], x[:, :3] / 9.80665, rtol=1e-6)
    np.testing.assert_allclose(turned[:, 3:], np.radians(x[:, 3:]), rtol=1e-6)


def test_windows_with_time_before_channels_are_taken_if_that_is_said(x: np.ndarray) -> None:
    swapped = np.ascontiguousarray(x.swapaxes(1, 2))
    assert torch.equal(made(swapped, layout="channels_last").array(), torch.from_numpy(x))
    with pytest.raises(ValueError, match=r"look like \(windows, time, channels\): pass layout='channels_last'"):
        made(swapped)
    with pytest.raises(ValueError, match=r"look like \(windows, channels, time\): pass layout='channels_first'"):
        made(x, layout="channels_last")
    with pytest.raises(ValueError, match="layout is 'NTC'; expected channels_first or channels_last"):
        window_array(x, 50.0, ACCELEROMETER + GYROSCOPE, "NTC", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :5], r"so 5 channels, and 6 are named \(acc_x, .*expected \(windows, channels, time\)$"),
        (lambda x: x[0], r"x has the shape \(6, 100\); expected \(windows, channels, time\)"),
        (lambda x: x[:0], r"at least one window"),
        (lambda x: x[:, :, :0], r"at least one window of at least one time step"),
        (lambda x: x.astype(complex), "x has values of type complex128; expected real numbers"),
        (lambda x: x > 0, "x has values of type bool; expected real numbers"),
        (lambda x: [[1.0], [1.0, 2.0]], "x cannot be read as an array of numbers"),
        (lambda x: np.full((2, 6, 100), "walk"), "x cannot be read as an array of numbers: could not convert string"),
        (
            lambda x: x * 9.80665,
            r"median magnitude of the acceleration is 9\.\d+.*like m/s2: pass units={'acc': 'm/s2'}",
        ),
        (lambda x: x * 1000, r"magnitude of the acceleration is \d+.*like mg: pass units={'acc': 'mg'}"),
        (lambda x: x * 16384, r"look like raw counts of the sensor: divide by its counts per g"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x: np.ndarray, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(change(x))


def test_float64_beyond_float32_and_other_values_that_are_not_finite_are_refused(x: np.ndarray) -> None:
    for value in (np.nan, np.inf, -np.inf, 1e300):
        broken = x.astype(np.float64)
        broken[17, 4, 33] = value
        with pytest.raises(ValueError, match=r"window 17 has the value -?(nan|inf) at time step 33 of gyro_y"):
            made(broken)


@pytest.mark.parametrize(
    ("y", "names", "numbers", "label_names"),
    [
        ([2, 0, 5] * 8, None, [1, 0, 2] * 8, ("0", "2", "5")),
        ([2.0, 0.0, 1.0] * 8, None, [2, 0, 1] * 8, ("0", "1", "2")),
        ([2, 0, 1] * 8, ["a", "b", "c", "d"], [2, 0, 1] * 8, ("a", "b", "c", "d")),
        (["b", "a", "b"] * 8, None, [1, 0, 1] * 8, ("a", "b")),
        (["b", "a", "b"] * 8, ["b", "a"], [0, 1, 0] * 8, ("b", "a")),
        ([True, False, True] * 8, None, [1, 0, 1] * 8, ("0", "1")),
        ([[2], [0], [1]] * 8, None, [2, 0, 1] * 8, ("0", "1", "2")),
        (pd.Series(["b", "a", "b"] * 8, dtype="category"), None, [1, 0, 1] * 8, ("a", "b")),
        (torch.tensor([2, 0, 1] * 8), None, [2, 0, 1] * 8, ("0", "1", "2")),
        (np.array([b"b", b"a", b"b"] * 8), None, [1, 0, 1] * 8, ("a", "b")),
    ],
)
def test_labels_of_every_kind(x: np.ndarray, y: Any, names: Any, numbers: list[int], label_names: tuple) -> None:
    windows = made(x, y=y, label_names=names)
    assert windows.y.tolist() == numbers and windows.y.dtype == np.int64 and windows.label_names == label_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [0, 1]}, r"y has the shape \(2,\); expected one value per window, \(24,\)"),
        ({"y": "walk"}, "y is 'walk'; expected one value per window, 24 in all"),
        ({"y": [0.5] * 24}, "the label of window 0 is 0.5; expected whole numbers or text"),
        ({"y": [1.0] * 9 + [np.nan] * 15}, "the label of window 9 is nan"),
        ({"y": ["a"] * 9 + [None] * 15}, "the label of window 9 is None"),
        ({"y": pd.Series(["a"] * 23 + [pd.NA], dtype="string")}, "the label of window 23 is <NA>"),
        ({"y": [0] * 23 + [2], "label_names": ["a", "b"]}, "the label of window 23 is 2, and label_names has 2 names"),
        (
            {"y": [0] * 23 + [-1], "label_names": ["a", "b"]},
            "the label of window 23 is -1.*drop windows without a label",
        ),
        ({"y": ["c"] * 24, "label_names": ["a", "b"]}, "y has the label 'c', which is not in label_names: a, b"),
        ({"y": ["a"] * 24, "label_names": ["a", "a"]}, "label_names has a name twice: a, a"),
        ({"y": np.full(24, 1j)}, "y has values of type complex128"),
        ({"subjects": ["a:b"] * 24}, "subject 'a:b' must not contain ':'"),
        ({"subjects": ["a"] * 20 + [None] * 4}, "subjects: the name of window 20 is None"),
        ({"subjects": [1]}, r"subjects has the shape \(1,\)"),
        ({"rate_hz": 0}, "the sampling rate is 0; expected a positive number of Hz"),
        ({"channels": ("a", "b", "c", "d", "e", "f")}, "unknown kind of channel 'a'; known: acc, gyro"),
        ({"channels": "acc+acc"}, "a channel is named twice"),
        ({"channels": ()}, "no channel is named"),
        ({"units": {"acc": "furlong"}}, "unknown unit 'furlong' of acc; known: g, m/s2, mg"),
        ({"units": {"mag": "uT"}}, "unknown kind of channel 'mag' in units"),
        ({"recordings": [0] * 24}, "recordings and start_s go together"),
        (
            {"recordings": [0] * 24, "start_s": [np.nan] * 24},
            "start_s: expected one finite number of seconds per window",
        ),
        ({"dataset": "a:b"}, "dataset 'a:b' must not contain ':'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(x: np.ndarray, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(x, **arguments)


@pytest.mark.parametrize("mode", ["r", "r+", "path", "rows"])
def test_a_mapped_file_stays_mapped_also_in_another_process(x: np.ndarray, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "X.npy"
    np.save(path, x)
    given: Any = path if mode == "path" else np.load(path, mmap_mode="r" if mode == "rows" else mode)
    windows = made(given[4:] if mode == "rows" else given)
    expected = torch.from_numpy(x[4:] if mode == "rows" else x)
    sent = pickle.dumps(windows)
    assert len(windows.memmaps) == 1 and len(sent) < x.nbytes / 4
    for found in (windows, pickle.loads(sent)):
        assert torch.equal(found.array(), expected)
    found.values[0][0] = 5.0  # a copy-on-write map never changes the file
    assert np.array_equal(np.load(path), x)


def test_without_a_file_the_values_are_sent(x: np.ndarray) -> None:
    windows = made(x, y=LABELS)
    windows.array()  # whatever is cached is not sent
    sent = pickle.dumps(windows)
    assert torch.equal(pickle.loads(sent).array(), windows.array()) and len(sent) < 1.5 * x.nbytes


def test_a_map_that_was_changed_in_memory_is_not_read_from_its_file(x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", x)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="c")
    mapped[3] = 0.5
    windows = pickle.loads(pickle.dumps(made(mapped)))
    assert (windows.array()[3] == 0.5).all()


def test_labels_and_subjects_may_lie_in_files_too(x: np.ndarray, tmp_path: Path) -> None:
    for name, array in (("X", x), ("y", LABELS), ("subject", SUBJECTS)):
        np.save(tmp_path / f"{name}.npy", array)
    from_files = made(str(tmp_path / "X.npy"), y=tmp_path / "y.npy", subjects=tmp_path / "subject.npy")
    assert from_files.content_hash == made(x, y=LABELS, subjects=SUBJECTS).content_hash
    np.savez(tmp_path / "all.npz", x=x)
    with pytest.raises(ValueError, match="holds several arrays; pass one of them"):
        made(tmp_path / "all.npz")
    np.save(tmp_path / "objects.npy", np.array([None, "a"], dtype=object))
    with pytest.raises(ValueError, match=r"cannot be read as a \.npy file"):
        made(x, y=tmp_path / "objects.npy")


def test_the_hash_names_content_labels_subjects_and_contract(x: np.ndarray) -> None:
    other = x.copy()
    other[20, 3, 5] += 1e-3
    found = [
        made(x),
        made(other),
        made(x, y=LABELS),
        made(x, y=LABELS[::-1]),
        made(x, subjects=SUBJECTS),
        made(x, rate_hz=25.0),
        made(x, recordings=SUBJECTS, start_s=np.arange(COUNT)),
    ]
    assert len({windows.cut_hash for windows in found}) == len(found)
    assert made(x.astype(np.float64)).cut_hash == made(x).cut_hash


def test_split_by_subject_tests_every_subject_once(x: np.ndarray) -> None:
    windows = made(x, y=LABELS, subjects=SUBJECTS)
    splits = windows.split_by_subject(folds=2, seed=1)
    tested = [name for _, _, test in splits for name in {test.subject_names[n] for n in test.subject}]
    assert sorted(tested) == ["12", "3", "5", "7"]
    for sides in splits:
        people = [set(side.people) for side in sides]
        assert sum(map(len, people)) == len(set().union(*people)) == 4 and sum(map(len, sides)) == COUNT
    again = windows.split_by_subject(folds=2, seed=1)
    assert [s.content_hash for split in splits for s in split] == [s.content_hash for split in again for s in split]
    assert all(len(validation) == 0 for _, validation, _ in windows.split_by_subject(folds=4, validation=0.0))
    with pytest.raises(ValueError, match="1 subjects are too few for 5 folds"):
        made(x).split_by_subject()


def test_subjects_without_windows_take_no_part_in_a_split(windows: Windows) -> None:
    names = windows.subject_names[:3]
    tested = [p for _, _, test in windows.for_subjects(names).split_by_subject(folds=3) for p in test.people]
    assert sorted(tested) == sorted(f"synthetic:{name}" for name in names)


def test_few_shot_draws_per_class_and_larger_draws_contain_smaller_ones(windows: Windows) -> None:
    few, more = windows.few_shot(2, seed=3), windows.few_shot(5, seed=3)
    assert np.bincount(few.y).tolist() == [2] * 3 and np.bincount(more.y).tolist() == [5] * 3
    places = [set(map(tuple, w.offset.tolist())) for w in (few, more)]
    assert places[0] < places[1] and len(windows.few_shot(None)) == len(windows)
    with pytest.raises(ValueError, match="the windows of 'synthetic' have no labels"):
        windows.unlabelled().few_shot(2)
    with pytest.raises(ValueError, match="shots is 0"):
        windows.few_shot(0)


def test_windows_of_arrays_join_those_of_a_store(x: np.ndarray, windows: Windows) -> None:
    both = join([windows, made(x, dataset="mine")])
    assert torch.equal(both.array(), torch.cat([windows.array(), torch.from_numpy(x)]))
    assert torch.equal(pickle.loads(pickle.dumps(both)).array(), both.array())


def test_windows_that_were_sent_do_not_carry_the_views_they_gather_through(windows: Windows) -> None:
    before = len(pickle.dumps(windows))
    windows.array()
    assert len(pickle.dumps(windows)) < before + 1000


def test_a_store_cuts_its_windows(store: Store) -> None:
    windows = store.windows(seconds=2, channels="acc")
    assert windows.content_hash == cut(store, channels=ACCELEROMETER, seconds=2).content_hash
    assert store.windows(channels="gyro+acc").contract.channels == GYROSCOPE + ACCELEROMETER
    assert store.windows(channels=["acc_z", "gyro"]).contract.channels == ("acc_z", *GYROSCOPE)
    assert dataclasses.astuple(store.windows(channels="gyro_y").contract) == (50.0, ("gyro_y",), 2.0)
    with pytest.raises(ValueError, match="'synthetic' has no channel mag; it has acc_x"):
        store.windows(channels="mag")
