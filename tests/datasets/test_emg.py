"""The corpora with muscle signals: myo-readings, and the LIS alphabet with motion too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from otolith import paired
from otolith.data.cutting import cut
from otolith.data.store import open_store
from otolith.datasets import lis_emg_imu, myo_readings
from otolith.datasets.prepare import prepare_dataset
from otolith.paired.attach import attach

PEOPLE = ("10000", "22222")
DAYS = ("26/06/20/22:28:12", "27/06/20/10:01:00")


def codes(person: str, gesture: int) -> np.ndarray:
    """30 s of signed bytes of 8 electrodes, and labels that alternate every 5 s."""
    random = np.random.default_rng([int(person), gesture])
    labels = np.tile(np.repeat([0, gesture], 1000), 3)
    return np.column_stack([random.integers(-128, 128, (6000, 8)), labels])


@pytest.fixture
def myo(tmp_path: Path) -> Path:
    for hand, people in (("right", PEOPLE), ("left", PEOPLE[:1])):
        for person in people:
            for gesture in range(8):
                path = tmp_path / "myo" / f"_readings_{hand}_hand" / f"{person}-1" / f"{gesture}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n".join(",".join(map(str, row)) for row in codes(person, gesture).tolist()))
    (tmp_path / "myo" / "curated.txt").write_text("10000-1\n")
    return tmp_path / "myo"


def gesture_file(root: Path, letter: str, number: int, stamp: str) -> Path:
    random = np.random.default_rng([ord(letter), number])
    emg = random.integers(-128, 128, (400, 8)).tolist()
    motion = [
        {"gyroscope": [90.0, 0.0, -180.0], "acceleration": [0.0, 0.5, step / 400], "orientation": [0, 0, 0, 1]}
        for step in range(400)
    ]
    path = root / "Dataset" / letter / f"015c05a7-3838-431a-82d8-9a55a8e0d1{number:02x}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"timestamp": stamp, "duration": 2000}
    path.write_text(
        json.dumps({**document, "emg": {"frequency": 200, "data": emg}, "imu": {"frequency": 200, "data": motion}})
    )
    return path


def test_gestures_of_the_wrist_are_read_with_rest_between_them(myo: Path) -> None:
    recordings = list(myo_readings.DATASET.read(myo))
    assert [r.name for r in recordings] == [f"{person}-1/{gesture}" for person in PEOPLE for gesture in range(8)]
    one = recordings[3]
    np.testing.assert_array_equal(one.signal, (codes("10000", 3)[:, :8] / 128).astype(np.float32))
    assert one.channels == tuple(f"emg_{number}" for number in range(1, 9)) and one.rate_hz == 200
    assert [(span.start_s, span.label) for span in one.spans][:3] == [
        (0, "rest"),
        (5, "radial deviation"),
        (10, "rest"),
    ]
    assert {span.label for span in recordings[0].spans} == {"rest"}
    assert one.subject == "10000" and one.placement == "forearm"
    assert len(list(myo_readings.DATASET.read(myo, subset="left"))) == 8


def test_a_store_of_muscle_signals_keeps_their_rate(myo: Path, tmp_path: Path) -> None:
    list(prepare_dataset("myo-readings", myo, tmp_path / "data"))
    assert open_store(tmp_path / "data" / "myo-readings").rate_hz == 200
    list(prepare_dataset("myo-readings", myo, tmp_path / "other", rate_hz=100.0))
    assert open_store(tmp_path / "other" / "myo-readings").rate_hz == 100


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,3,4,5,6,7,8,5", "the label 5"),
        ("1,2,3,4,5,6,7,300,0", "holds 300; expected signed bytes"),
        ("1,2,3,4,5,6,7,0", "expected 9 in each"),
        ("1,2,3,4,5,6,7,x,0", "cannot be read as 9 columns"),
    ],
)
def test_an_altered_file_is_named(line: str, said: str, myo: Path) -> None:
    path = myo / "_readings_right_hand" / "10000-1" / "3.txt"
    path.write_text(path.read_text() + "\n" + line)
    with pytest.raises(ValueError, match=said) as refused:
        list(myo_readings.DATASET.read(myo))
    assert "10000-1/3.txt" in str(refused.value)


def test_letters_are_read_with_motion_and_muscles(tmp_path: Path) -> None:
    for number, stamp in enumerate(DAYS):
        for letter in "AB":
            gesture_file(tmp_path, letter, number, stamp)
    recordings = list(lis_emg_imu.DATASET.read(tmp_path))
    assert [r.spans[0].label for r in recordings] == ["A", "A", "B", "B"]
    assert [r.subject for r in recordings] == ["2020-06-26", "2020-06-27"] * 2
    one = recordings[0]
    assert one.signal.shape == (400, 14) and one.channels[:6] == (
        "acc_x",
        "acc_y",
        "acc_z",
        "gyro_x",
        "gyro_y",
        "gyro_z",
    )
    np.testing.assert_allclose(one.signal[7, :6], [0, 0.5, 7 / 400, np.pi / 2, 0, -np.pi], rtol=1e-6)
    assert np.abs(one.signal[:, 6:]).max() <= 1


@pytest.mark.parametrize("damage", ["{", "{}", '{"timestamp": 3}', "[1]", '{"timestamp": "a"}'])
def test_a_damaged_letter_is_named(damage: str, tmp_path: Path) -> None:
    path = gesture_file(tmp_path, "A", 0, DAYS[0])
    path.write_text(damage)
    with pytest.raises(ValueError, match="is no gesture of the official layout"):
        list(lis_emg_imu.DATASET.read(tmp_path))
    path = gesture_file(tmp_path, "A", 0, DAYS[0])
    path.write_text(path.read_text().replace('"frequency": 200', '"frequency": 100', 1))
    with pytest.raises(ValueError, match=r"14 channels at .*; expected 14 at 200 Hz"):
        list(lis_emg_imu.DATASET.read(tmp_path))


def test_muscles_are_paired_with_motion_as_the_pattern_around_the_arm(tmp_path: Path) -> None:
    path = gesture_file(tmp_path, "A", 0, DAYS[0])
    document = json.loads(path.read_text())
    loud = [[0] * 8 if step < 200 else [0, 64 * (-1) ** step, *[0] * 6] for step in range(400)]  # the second electrode
    path.write_text(json.dumps({**document, "emg": {"frequency": 200, "data": loud}}))
    (found,) = lis_emg_imu.DATASET.multimodal_data(tmp_path, "forearm", "all")
    stream = found.sensor_streams["emg"]
    assert found.recording == f"A/{path.stem}" and stream.values.shape == (20, 16)
    np.testing.assert_allclose(stream.time_s[[0, -1]], [0.05, 1.95])
    assert not stream.values[:10].any()  # at rest no electrode differs from the others
    # log(64 + 1) of the mean absolute value and log(128 + 1) of the length, in steps of the converter, less an eighth
    np.testing.assert_allclose(stream.values[10:, 1], 7 / 8 * np.log(65), rtol=1e-6)
    np.testing.assert_allclose(stream.values[10:, 8:10], np.log(129) / 8 * np.array([[-1, 7]] * 10), rtol=1e-6)
    strong, weak = (np.random.default_rng(0).normal(size=(80, 8)) * size for size in (0.4, 0.2))
    pattern = lis_emg_imu.muscle_pattern(strong, 20)
    np.testing.assert_allclose(pattern, lis_emg_imu.muscle_pattern(weak, 20), atol=0.05)
    assert np.abs(pattern.reshape(4, 2, 8).sum(axis=2)).max() < 1e-5


def test_pairs_of_motion_and_muscles_are_embedded_once(tmp_path: Path) -> None:
    for number, stamp in enumerate(DAYS):
        gesture_file(tmp_path / "lis", "A", number, stamp)
    list(prepare_dataset("lis-emg-imu", tmp_path / "lis", tmp_path))
    list(paired.precompute(lis_emg_imu.DATASET, tmp_path / "lis", tmp_path, text=None, image=None))
    store = open_store(tmp_path / "lis-emg-imu")
    emg = paired.load(paired.folder_of(tmp_path, "lis-emg-imu"), "emg", store)
    windows = attach(cut(store, seconds=2.0, channels=("acc_x", "acc_y", "acc_z")), store, {"emg": emg})
    assert windows.shape == (2, 3, 400) and windows.paired["emg"].shape == (2, 16) and windows.present["emg"].all()
