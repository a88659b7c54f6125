"""Sensors in several files, or in rows of their own, are put on one clock."""

import zipfile

import numpy as np
import pandas as pd
import pytest

from motion import G, motion, save, table
from otolith.formats import ReadOptions, read_sessions, survey

EPOCH = 1_700_000_000_000_000_000


def phone(time, values, late_s: float = 0.0) -> pd.DataFrame:
    """A file of Sensor Logger."""
    ns = EPOCH + np.round((time + late_s) * 1e9).astype(np.int64)
    return pd.DataFrame(
        {"time": ns, "seconds_elapsed": time + late_s, "z": values[:, 2], "y": values[:, 1], "x": values[:, 0]}
    )


PAIRS = [
    ("TotalAcceleration.csv", "Gyroscope.csv", "day"),
    ("Accelerometer.csv", "Gyroscope.csv", "day"),
    ("accel.csv", "gyro.csv", "day"),
    ("ACC.csv", "GYR.csv", "day"),
    ("p1_acc.csv", "p1_gyro.csv", "p1"),
    ("walk-accelerometer.txt", "walk-gyroscope.txt", "walk"),
    ("Dev_2024_C0FFEE_Accelerometer_50.000Hz_1.5.0.csv", "Dev_2024_C0FFEE_Gyroscope_50.000Hz_1.5.0.csv", None),
]


@pytest.mark.parametrize(("one", "two", "name"), PAIRS)
@pytest.mark.parametrize("how", ["folder", "zip", "both files", "first file"])
def test_two_files_are_one_recording(tmp_path, one, two, name, how) -> None:
    time, acc, gyro = motion(40)
    folder = tmp_path / "day"
    save(folder / one, phone(time, acc * G))
    save(folder / two, phone(time, gyro, 0.003))
    save(folder / "Magnetometer.csv", phone(time, gyro * 30))
    paths = {"folder": [folder], "both files": [folder / one, folder / two], "first file": [folder / one]}
    if how == "zip":
        with zipfile.ZipFile(tmp_path / "day.zip", "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
        paths["zip"] = [tmp_path / "day.zip"]
    (session,) = read_sessions(paths[how], gyro=True)
    assert len(session.channels) == 6 and session.seconds == pytest.approx(40, abs=0.1)
    (recording,) = session.recordings
    count = min(len(recording.signal), len(acc)) - 5
    np.testing.assert_allclose(recording.signal[5:count, :3], acc[5:count], atol=1e-3)
    assert np.abs(recording.signal[5:count, 3:] - gyro[5:count]).mean() < 0.05, "3 ms late"
    if name is not None and how in ("folder", "zip"):
        assert session.name in (name, f"day/{name}")


@pytest.mark.parametrize(("fast", "slow"), [(100.0, 50.0), (50.0, 104.0), (60.0, 62.5)])
def test_other_rates_and_a_late_start(tmp_path, fast, slow) -> None:
    one, two = motion(40, fast), motion(40, slow)
    save(tmp_path / "d" / "acc.csv", phone(one[0], one[1] * G))
    late = two[0] > 3
    save(tmp_path / "d" / "gyro.csv", phone(two[0][late], two[2][late]))
    (session,) = read_sessions([tmp_path / "d"], gyro=True)
    (recording,) = session.recordings
    assert len(recording.signal) / recording.rate_hz == pytest.approx(37, abs=0.2), "where both were recorded"
    assert any(f.topic == "files" and "interpolation" in f.text for f in session.facts)


def test_files_of_other_times_are_refused(tmp_path) -> None:
    time, acc, gyro = motion(40)
    save(tmp_path / "d" / "acc.csv", phone(time, acc * G))
    save(tmp_path / "d" / "gyro.csv", phone(time, gyro, 3600.0))
    with pytest.raises(ValueError, match="share no time: by their clocks, 3560"):
        read_sessions([tmp_path / "d"], gyro=True)
    assert len(read_sessions([tmp_path / "d"], gyro=False)) == 1


def test_gravity_of_its_own_file_is_added(tmp_path) -> None:
    time, acc, gyro = motion(60)
    gravity = np.column_stack([np.convolve(np.pad(c, 50, mode="edge"), np.ones(101) / 101, "valid") for c in acc.T])
    save(tmp_path / "d" / "Accelerometer.csv", phone(time, (acc - gravity) * G))
    with pytest.raises(ValueError, match="no gravity"):
        read_sessions([tmp_path / "d"])
    save(tmp_path / "d" / "Gravity.csv", phone(time, gravity * G))
    save(tmp_path / "d" / "Gyroscope.csv", phone(time, gyro))
    (session,) = read_sessions([tmp_path / "d"], gyro=True)
    np.testing.assert_allclose(session.recordings[0].signal[:, :3], acc, atol=2e-3)
    assert any("gravity was added" in f.text for f in session.facts)
    save(tmp_path / "d" / "TotalAcceleration.csv", phone(time, acc * G))
    (session,) = read_sessions([tmp_path / "d"])
    assert not any("gravity was added" in f.text for f in session.facts)


def test_a_folder_of_days_and_people(tmp_path) -> None:
    time, acc, gyro = motion(20)
    for day in ("anna/monday", "anna/tuesday", "ben/monday"):
        save(tmp_path / day / "TotalAcceleration.csv", phone(time, acc * G))
        save(tmp_path / day / "Gyroscope.csv", phone(time, gyro))
        save(tmp_path / day / "Metadata.csv", pd.DataFrame({"device": ["x"], "app": ["y"]}))
    found = survey([tmp_path])
    assert [source.name for source in found.sources] == ["anna/monday", "anna/tuesday", "ben/monday"]
    assert all(source.ignored == ("Metadata.csv",) for source in found.sources), "what is not read is named"


def test_files_that_do_not_belong_together_stay_apart(tmp_path) -> None:
    time, acc, _ = motion(20)
    for name in ("one.csv", "two.csv", "acc_1.csv", "acc_2.csv"):
        save(tmp_path / name, table(time, acc))
    assert [s.name for s in read_sessions([tmp_path])] == ["acc_1", "acc_2", "one", "two"]


@pytest.mark.parametrize("shift", [0.0, 0.007])
def test_sensors_joined_outer_in_one_table(tmp_path, shift) -> None:
    time, acc, gyro = motion(40)
    one = pd.DataFrame({"time": time, "acc_x": acc[:, 0], "acc_y": acc[:, 1], "acc_z": acc[:, 2]})
    two = pd.DataFrame({"time": time + 0.003 + shift, "gyro_x": gyro[:, 0], "gyro_y": gyro[:, 1], "gyro_z": gyro[:, 2]})
    both = pd.concat([one, two]).sort_values("time")
    (session,) = read_sessions([save(tmp_path / "a.csv", both)], gyro=True)
    assert session.rate_hz == 50 and len(session.recordings) == 1
    np.testing.assert_allclose(session.recordings[0].signal[5:1900, :3], acc[5:1900], atol=2e-2)
    assert np.abs(session.recordings[0].signal[5:1900, 3:] - gyro[5:1900]).mean() < 0.1


@pytest.mark.parametrize(
    "words",
    [("accelerometer", "gyroscope"), ("ACC", "GYR"), ("android.sensor.accelerometer", "android.sensor.gyroscope")],
)
def test_a_row_per_sensor_named_in_a_column(tmp_path, words) -> None:
    time, acc, gyro = motion(40)
    one = table(time, acc).assign(sensor=words[0])
    two = table(time + 0.004, gyro).assign(sensor=words[1])
    (session,) = read_sessions([save(tmp_path / "a.csv", pd.concat([one, two]).sort_values("time"))], gyro=True)
    np.testing.assert_allclose(session.recordings[0].signal[5:1900, :3], acc[5:1900], atol=2e-2)
    assert len(session.channels) == 6


def test_a_gyroscope_that_is_needed_and_absent(tmp_path) -> None:
    time, acc, _ = motion(20)
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, acc))], ReadOptions(), gyro=True)
    assert len(session.channels) == 3, "who needs it says so with the model's channels"


@pytest.mark.parametrize(
    "name", ["internal_rotation", "light_walk", "position1", "user7", "steps_up", "speed_walk", "w_a_x", "linear"]
)
def test_names_of_activities_are_no_sensors(tmp_path, name) -> None:
    time, acc, gyro = motion(20)
    save(tmp_path / f"{name}.csv", table(time, acc, gyro))
    for paths in ([tmp_path], [tmp_path / f"{name}.csv"]):
        (session,) = read_sessions(paths, gyro=True)
        assert session.name == name and len(session.channels) == 6


@pytest.mark.parametrize("other", ["mag", "MAG", "magnetometer", "temperature", "heart rate", "bvp"])
@pytest.mark.parametrize("name", ["p1_{}", "{} p1", "P1-{}-left"])
def test_other_sensors_of_a_person_are_left_out(tmp_path, other, name) -> None:
    time, acc, gyro = motion(20)
    for kind, values in (("acc", acc), ("gyro", gyro), (other, 40 * gyro + 3)):
        save(tmp_path / f"{name.format(kind)}.csv", table(time, values))
    (session,) = read_sessions([tmp_path], gyro=True)
    assert len(session.channels) == 6 and session.source.ignored == (f"{name.format(other)}.csv",)
