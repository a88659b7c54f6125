"""UTD-MHAD: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import io
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from otolith.data.multimodal import MultimodalData
from otolith.data.recording import Recording
from otolith.datasets import DATASETS
from otolith.datasets.utd_mhad import ACTIONS, DATASET, SENTENCES, multimodal_data, rendered

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
        (mat(d_iner=np.zeros((5, 3))), r"'d_iner' is float64 \(5, 3\), expected float64 \(time, 6\)"),
        (mat(d_iner=np.zeros((5, 6, 2))), r"'d_iner' is float64 \(5, 6, 2\)"),
        (mat(d_iner=np.zeros((0, 6))), r"'d_iner' is float64 \(0, 6\)"),
        (mat(d_iner=np.zeros((1_000_001, 6))), r"'d_iner' is float64 \(1000001, 6\)"),
        (mat(d_iner=np.full((5, 6), "x", dtype=object)), "'d_iner' is nothing"),
        (mat(d_iner=np.zeros((5, 6), np.int16)), r"'d_iner' is int16 \(5, 6\)"),
        (GOOD[: len(GOOD) // 2], "cannot be read as a MATLAB 5 file"),
        (GOOD[:200] + bytes(len(GOOD) - 200), "cannot be read as a MATLAB 5 file"),
        (b"", "cannot be read as a MATLAB 5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "cannot be read as a MATLAB 5 file"),
        (mat(d_iner=np.full((5, 6), np.nan)), "recording 'a1_s1_t1': time step 0 has a value that is not finite"),
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


def depth(action: int, person: int, pictures: int = 6) -> np.ndarray:
    """A box that walks to the right and comes nearer, in millimetres."""
    values = np.zeros((240, 320, pictures), np.uint16)
    for k in range(pictures):
        values[60:200, 100 + 5 * k : 140 + 5 * k, k] = 3000 - 100 * k + action + person
    return values


def joints(action: int, person: int, pictures: int = 6) -> np.ndarray:
    values = np.random.default_rng([action, person]).normal(size=(20, 3, 1)).repeat(pictures, axis=2)
    values += np.linspace(0, 1, pictures)  # the whole person moves
    values[11, 2] -= np.arange(pictures) / 10  # and one hand
    return values


@pytest.fixture
def multimodal(official: Path) -> Path:
    (official / "Depth").mkdir()
    for name, (a, s) in {"a1_s1_t1": (1, 1), "a1_s10_t1": (1, 10), "a22_s2_t1": (22, 2)}.items():
        (official / "Depth" / f"{name}_depth.mat").write_bytes(mat(d_depth=depth(a, s)))
    for name, (a, s) in {"a1_s1_t1": (1, 1), "a1_s1_t2": (1, 1)}.items():
        (official / "Skeleton" / f"{name}_skeleton.mat").write_bytes(mat(d_skel=joints(a, s)))
    return official


def by_name(source: Path, placement: str = "both") -> dict[str, MultimodalData]:
    return {companion.recording: companion for companion in multimodal_data(source, placement, "all")}


@pytest.mark.parametrize("placement", ["both", "wrist", "thigh"])
def test_every_recording_is_said_in_words_from_start_to_end(multimodal: Path, placement: str) -> None:
    read = list(DATASET.read(multimodal, placement=placement))
    found = list(multimodal_data(multimodal, placement, "all"))
    assert [companion.recording for companion in found] == [recording.name for recording in read]  # in their order
    for recording, companion in zip(read, found, strict=True):
        ((start, stop, text),) = companion.narrations
        assert (start, stop) == (0.0, recording.seconds)
        assert text == SENTENCES[ACTIONS.index(recording.spans[0].label)]
    assert len(set(SENTENCES)) == len(ACTIONS) == 27


def test_depth_and_skeleton_lie_beside_some(multimodal: Path) -> None:
    found = by_name(multimodal)
    assert {name for name, c in found.items() if c.video_stream} == {"a1_s1_t1", "a1_s10_t1", "a22_s2_t1"}
    assert {name for name, c in found.items() if c.sensor_streams} == {"a1_s1_t1", "a1_s1_t2"}
    keys = [c.video_stream.key for c in found.values() if c.video_stream]
    assert len(set(keys)) == 3
    assert not any(c.video_stream or c.sensor_streams for c in multimodal_data(multimodal / "Inertial", "both", "all"))


def test_zip_files_side_by_side_give_the_same(multimodal: Path, tmp_path: Path) -> None:
    zips = tmp_path / "zips"
    for kind in ("Inertial", "Depth", "Skeleton"):
        shutil.make_archive(str(zips / kind), "zip", multimodal, kind)
    one, other = by_name(multimodal), by_name(zips)
    assert one.keys() == other.keys()
    for name, companion in one.items():
        again = other[name]
        assert companion.narrations == again.narrations and bool(companion.video_stream) == bool(again.video_stream)
        for a, b in zip(companion.sensor_streams.values(), again.sensor_streams.values(), strict=True):
            np.testing.assert_array_equal(a.values, b.values)
        if companion.video_stream and again.video_stream:
            for x, y in zip(
                companion.video_stream.frames([0.0, 0.3]), again.video_stream.frames([0.0, 0.3]), strict=True
            ):
                np.testing.assert_array_equal(x, y)
    assert len({c.video_stream.key for c in other.values() if c.video_stream}) == 3


def test_pictures_lie_at_their_share_of_the_recording(multimodal: Path) -> None:
    video_stream = by_name(multimodal)["a1_s1_t1"].video_stream
    assert video_stream is not None
    assert (video_stream.start_s, video_stream.stop_s) == (0.0, 21 / 50)
    expected = rendered(depth(1, 1).transpose(2, 0, 1).astype(np.float32))
    times = [0.0, 0.069, 0.071, 0.21, 0.419, 0.42]
    for picture, number in zip(video_stream.frames(times), [0, 0, 1, 3, 5, 5], strict=True):
        np.testing.assert_array_equal(picture, expected[number])
    assert pickle.loads(pickle.dumps(video_stream)).key == video_stream.key


def test_depth_is_rendered_as_the_person_alone_near_parts_bright() -> None:
    values = depth(1, 1).transpose(2, 0, 1).astype(np.float32)
    values[3, 5, 5] = 2000  # a stray point far from the person, in one picture
    pictures = rendered(values)
    assert pictures.dtype == np.uint8 and pictures.shape == (6, 155, 155, 3)  # 140 high, and a tenth
    assert (pictures[..., 0] == pictures[..., 1]).all() and (pictures[..., 0] == pictures[..., 2]).all()
    person = [picture[..., 0][picture[..., 0] > 0] for picture in pictures]
    assert [len(values) for values in person] == [140 * 40] * 6  # whole, in one square for all
    shades = [int(np.median(values)) for values in person]
    assert shades == sorted(shades) and (shades[0], shades[-1]) == (64, 255)
    columns = [np.flatnonzero(picture[..., 0].any(axis=0))[0] for picture in pictures]
    assert np.diff(columns).tolist() == [5] * 5  # what moves is the person
    edge = np.zeros((1, 240, 320), np.float32)
    edge[0, :, :30] = 1000  # at the picture's edge: padded
    assert rendered(edge).shape == (1, 265, 265, 3) and (rendered(edge) > 0).sum() == 3 * 240 * 30


def test_the_skeleton_is_how_joints_have_moved_seen_from_the_hips(multimodal: Path) -> None:
    found = by_name(multimodal)
    track = found["a1_s1_t1"].sensor_streams["skeleton"]
    assert track.values.shape == (6, 60) and track.values.dtype == np.float32
    np.testing.assert_allclose(track.time_s, (np.arange(6) + 0.5) / 6 * 21 / 50)
    raw = joints(1, 1)
    trunk = np.linalg.norm(raw[1, :, 0] - raw[3, :, 0])
    expected = np.zeros((6, 20, 3))
    expected[:, 11, 2] = -np.arange(6) / 10 / trunk
    np.testing.assert_allclose(track.values.reshape(6, 20, 3), expected, atol=1e-6)


DEPTH = mat(d_depth=depth(1, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(d_iner=np.zeros((5, 6))), r"'d_depth' has the shape \(\), expected \(240, 320, frames\)"),
        (mat(d_depth=np.ones((24, 32, 5))), r"'d_depth' has the shape \(24, 32, 5\)"),
        (mat(d_depth=np.ones((240, 320))), r"'d_depth' has the shape \(240, 320\)"),
        (mat(d_depth=np.ones((240, 320, 0))), r"'d_depth' has the shape \(240, 320, 0\)"),
        (mat(d_depth=np.zeros((240, 320, 2))), "negative, not finite, or 0 throughout"),
        (mat(d_depth=np.full((240, 320, 2), np.nan)), "negative, not finite, or 0 throughout"),
        (mat(d_depth=np.full((240, 320, 2), -1)), "negative, not finite, or 0 throughout"),
        (DEPTH[: len(DEPTH) // 2], "cannot be read as a MATLAB 5 file"),
        (b"", "cannot be read as a MATLAB 5 file"),
    ],
)
def test_damaged_depth_is_refused_by_name(multimodal: Path, content: bytes, message: str) -> None:
    (multimodal / "Depth" / "a1_s1_t1_depth.mat").write_bytes(content)
    video_stream = by_name(multimodal)["a1_s1_t1"].video_stream
    assert video_stream is not None
    with pytest.raises(ValueError, match=message) as caught:
        list(video_stream.frames([0.0]))
    assert "a1_s1_t1_depth.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(d_skel=np.zeros((20, 3, 5))), "not finite, or a trunk of length 0"),
        (mat(d_skel=joints(1, 1) + np.nan), "not finite, or a trunk of length 0"),
        (mat(d_skel=joints(1, 1)[:19]), r"'d_skel' has the shape \(19, 3, 6\), expected \(20, 3, frames\)"),
        (mat(other=joints(1, 1)), r"'d_skel' has the shape \(\)"),
        (b"MATLAB", "cannot be read as a MATLAB 5 file"),
    ],
)
def test_a_damaged_skeleton_is_refused_by_name(multimodal: Path, content: bytes, message: str) -> None:
    (multimodal / "Skeleton" / "a1_s1_t1_skeleton.mat").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        by_name(multimodal)
    assert "a1_s1_t1_skeleton.mat" in str(caught.value)


def test_the_official_companions_are_all_there(shared_data: Path) -> None:
    found = list(multimodal_data(shared_data / "utd-mhad", "both", "all"))
    assert len(found) == 861 and all("skeleton" in companion.sensor_streams for companion in found)
    assert {c.recording for c in found if c.video_stream} == {
        f"a{a}_s{s}_t1" for a in range(1, 28) for s in range(1, 9)
    }
    assert sum(len(c.sensor_streams["skeleton"].time_s) for c in found) == 58_299
    one = next(c for c in found if c.recording == "a4_s1_t1")
    assert one.video_stream is not None
    start, middle = one.video_stream.frames([0.0, one.video_stream.stop_s / 4])
    assert start.shape == middle.shape == (185, 185, 3)
    assert 0.1 < (start > 0).mean() < 0.3 and np.abs(start.astype(int) - middle).mean() > 3
