"""UTD-MHAD: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from otolith.datasets import DATASETS
from otolith.datasets.utd_mhad import ACTIONS, DATASET
from otolith.recording import Recording

PEOPLE = (1, 2, 10)


def values(action: int, person: int, trial: int) -> np.ndarray:
    generator = np.random.default_rng([action, person, trial])
    return generator.normal(size=(20 + action, 6)) * ([1.0] * 3 + [200.0] * 3)


def mat(**variables: object) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for folder in ("Inertial", "Skeleton"):
        (root / folder).mkdir(parents=True)
    for action in range(1, 28):
        for person in PEOPLE:
            for trial in (1, 2):
                name = f"a{action}_s{person}_t{trial}"
                (root / "Inertial" / f"{name}_inertial.mat").write_bytes(mat(d_iner=values(action, person, trial)))
    (root / "Inertial" / "a8_s1_t2_inertial.mat").unlink()  # a sequence missing, as in the official release
    (root / "Skeleton" / "a1_s1_t1_skeleton.mat").write_bytes(mat(d_skel=np.zeros((20, 3, 5))))
    return root


def keys(actions: range) -> list[tuple[int, int, int]]:
    every = [(action, person, trial) for person in PEOPLE for action in actions for trial in (1, 2)]
    return [key for key in every if key != (8, 1, 2)]


@pytest.mark.parametrize(
    ("placement", "actions"), [("both", range(1, 28)), ("wrist", range(1, 22)), ("thigh", range(22, 28))]
)
def test_the_placement_chooses_the_actions_and_units_are_turned(official: Path, placement: str, actions: range) -> None:
    recordings = list(DATASET.read(official, placement=placement))
    assert [r.name for r in recordings] == [f"a{a}_s{s}_t{t}" for a, s, t in keys(actions)]
    for recording, (action, person, trial) in zip(recordings, keys(actions), strict=True):
        raw = values(action, person, trial)
        np.testing.assert_allclose(recording.signal[:, :3], raw[:, :3], rtol=1e-6)
        np.testing.assert_allclose(recording.signal[:, 3:], raw[:, 3:] * np.pi / 180, rtol=1e-6)
        assert recording.channels == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
        assert (recording.subject, recording.rate_hz) == (str(person), 50.0)
        assert recording.placement == ("wrist" if action <= 21 else "thigh")
        assert recording.spans == ((0.0, len(raw) / 50, ACTIONS[action - 1]),)


def test_parts_are_people_and_the_default_is_both(official: Path) -> None:
    parts = DATASET.listed(official)
    assert [part.name for part in parts] == ["s1", "s2", "s10"]
    assert {recording.placement for recording in parts[0].read()} == {"wrist", "thigh"}


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "Inertial"), "zip", official))
    for source in (made, made.parent, official / "Inertial"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def test_missing_files_and_missing_placements_are_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"UTD-MHAD needs its official files: Inertial\.zip or"):
        DATASET.listed(None)
    for action in range(1, 22):
        for path in (official / "Inertial").glob(f"a{action}_*"):
            path.unlink()
    with pytest.raises(FileNotFoundError, match="holds no action with the sensor on the wrist; pass another placement"):
        DATASET.listed(official, placement="wrist")
    assert len(DATASET.listed(official, placement="thigh")) == 3
    shutil.rmtree(official / "Inertial")
    with pytest.raises(FileNotFoundError, match=r"UTD-MHAD not found in .*found Skeleton/a1_s1_t1_skeleton\.mat"):
        DATASET.listed(official)


@pytest.mark.parametrize("action", [0, 28])
def test_an_unknown_action_is_refused(official: Path, action: int) -> None:
    (official / "Inertial" / f"a{action}_s1_t1_inertial.mat").write_bytes(mat(d_iner=np.zeros((5, 6))))
    with pytest.raises(ValueError, match=f"a{action}_s1_t1_inertial.mat': unknown action {action}; expected 1 to 27"):
        DATASET.listed(official)


GOOD = mat(d_iner=values(1, 1, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(d_skel=np.zeros((20, 3, 5))), "'d_iner' is nothing"),
        (mat(d_iner=np.zeros((5, 3))), r"'d_iner' is double \(5, 3\), expected double \(time, 6\)"),
        (mat(d_iner=np.zeros((5, 6, 2))), r"'d_iner' is double \(5, 6, 2\)"),
        (mat(d_iner=np.zeros((0, 6))), r"'d_iner' is double \(0, 6\)"),
        (mat(d_iner=np.zeros((1_000_001, 6))), r"'d_iner' is double \(1000001, 6\)"),
        (mat(d_iner=np.full((5, 6), "x", dtype=object)), r"'d_iner' is cell \(5, 6\)"),
        (mat(d_iner=np.zeros((5, 6), np.int16)), r"'d_iner' is int16 \(5, 6\)"),
        (GOOD[: len(GOOD) // 2], "cannot be read as a MATLAB 5 file"),
        (GOOD[:200] + bytes(len(GOOD) - 200), "cannot be read as a MATLAB 5 file"),
        (b"", "cannot be read as a MATLAB 5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "cannot be read as a MATLAB 5 file"),
        (mat(d_iner=np.full((5, 6), np.nan)), "recording 'a1_s1_t1': time step 0 holds a value that is not finite"),
    ],
    ids=[
        "a skeleton",
        "three columns",
        "three axes",
        "no rows",
        "absurdly long",
        "objects",
        "whole numbers",
        "half a file",
        "zero bytes within",
        "empty",
        "HDF5",
        "NaN",
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: bytes, message: str) -> None:
    (official / "Inertial" / "a1_s1_t1_inertial.mat").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "a1_s1_t1" in str(caught.value)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "utd-mhad"))


def test_the_official_files_are_all_there(real: list[Recording]) -> None:
    names = {recording.name for recording in real}
    every = {f"a{a}_s{s}_t{t}" for a in range(1, 28) for s in range(1, 9) for t in range(1, 5)}
    assert len(real) == 861 and every - names == {"a8_s1_t4", "a23_s6_t4", "a27_s8_t4"} and names < every
    assert list(dict.fromkeys(r.subject for r in real)) == [str(person) for person in range(1, 9)]
    lengths = [len(recording.signal) for recording in real]
    assert (sum(lengths), min(lengths), max(lengths)) == (155_638, 107, 326)
    labels = Counter(span.label for recording in real for span in recording.spans)
    assert labels == {action: 31 if action in ("draw x", "walk", "squat") else 32 for action in ACTIONS}
    assert set(labels) == set(DATASETS["utd-mhad"].classes)
    assert Counter(recording.placement for recording in real) == {"wrist": 671, "thigh": 190}


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    signal = np.concatenate([recording.signal for recording in real])
    assert abs(np.median(np.linalg.norm(signal[:, :3], axis=1)) - 1) < 0.06  # g
    assert 8 < np.abs(signal[:, 3:]).max() <= np.deg2rad(1000) + 0.1  # rad/s: the gyroscope's range is 1000 deg/s
