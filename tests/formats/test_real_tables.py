"""Official recordings written as people's own files, and read as such."""

import zipfile

import numpy as np
import pandas as pd
import pytest

from motion import G, save, table
from otolith.formats import ReadOptions, read_sessions, survey


@pytest.fixture(scope="module")
def motionsense(shared_data) -> dict[str, np.ndarray]:
    """Every ninth file: gravity, angular rate and user acceleration, (time, 9)."""
    with zipfile.ZipFile(shared_data / "motionsense" / "A_DeviceMotion_data.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".csv") and "__MACOSX" not in n)
        return {name.replace("/", "_")[:-4]: pd.read_csv(archive.open(name)).to_numpy()[:, 4:13] for name in names[::9]}


@pytest.mark.parametrize("unit", [1.0, G])
def test_total_acceleration_is_told_from_its_parts(tmp_path, motionsense, unit) -> None:
    refused = {"user": 0, "rotation": 0}
    for name, values in motionsense.items():
        time = np.arange(len(values)) / 50
        gravity, turn, user = values[:, :3], values[:, 3:6], values[:, 6:]
        (session,) = read_sessions([save(tmp_path / "total.csv", table(time, (gravity + user) * unit))])
        assert session.seconds == pytest.approx(len(values) / 50, abs=0.05), name
        for kind, part in (("user", user * unit), ("rotation", turn)):
            try:
                read_sessions([save(tmp_path / f"{kind}-only.csv", table(time, part))])
            except ValueError as error:
                assert "gravity" in str(error)
                refused[kind] += 1
    assert min(refused.values()) >= len(motionsense) - 2


def test_a_folder_is_told_as_one(tmp_path, motionsense) -> None:
    for name, values in motionsense.items():
        time = np.arange(len(values)) / 50
        save(tmp_path / "total" / f"{name}.csv", table(time, values[:, :3] + values[:, 6:], np.degrees(values[:, 3:6])))
        save(tmp_path / "user" / f"{name}.csv", table(time, values[:, 6:]))
    units = set(survey([tmp_path / "total"]).units.values())
    assert {(u.acc, u.gyro) for u in units} == {("g", "deg/s")}
    with pytest.raises(ValueError, match="no gravity"):
        survey([tmp_path / "user"])


def test_bursts_of_phones_and_watches(tmp_path, shared_data) -> None:
    with zipfile.ZipFile(shared_data / "sp-sw-har" / "sp-sw-har-dataset.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(("_sp.csv", "_sw.csv")))[::23]
        for name in names:
            frame = pd.read_csv(archive.open(name))
            frame.to_csv(tmp_path / "a.csv", index=False)
            (session,) = read_sessions([tmp_path / "a.csv"], gyro=True)
            assert session.rate_hz == pytest.approx(103.5, abs=3) and len(session.channels) == 6, name
            span = (frame["timestamp"].iloc[-1] - frame["timestamp"].iloc[0]) / 1000
            assert sum(len(r.signal) / r.rate_hz for r in session.recordings) == pytest.approx(span, rel=0.03)


def test_lines_of_wisdm(tmp_path, shared_data) -> None:
    with zipfile.ZipFile(shared_data / "wisdm" / "wisdm-dataset_watch_accel_24subjects.zip") as archive:
        name = sorted(n for n in archive.namelist() if n.endswith("_watch.txt") and "accel" in n)[0]
        (tmp_path / "a.txt").write_bytes(archive.read(name))
    sessions = read_sessions([tmp_path / "a.txt"], ReadOptions(subject_column="0"))
    assert {s.subject for s in sessions} == {"1600"} and sessions[0].rate_hz == pytest.approx(20, abs=0.5)


def test_a_wrist_for_75_minutes(shared_data) -> None:
    (session,) = read_sessions([shared_data / "nhanes-wrist-sample" / "sample.csv.gz"])
    assert session.rate_hz == 80 and session.seconds == pytest.approx(4500, abs=0.1) and session.start.year == 2000
    held = sum(gap.stop_s - gap.start_s for gap in session.missing)
    assert 0 < held < 1000 and all("constant" in gap.reason for gap in session.missing), (
        "the idle sleep mode of its device"
    )


def test_the_official_table_has_its_parts_added(tmp_path, shared_data) -> None:
    with zipfile.ZipFile(shared_data / "motionsense" / "A_DeviceMotion_data.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("wlk_7/sub_3.csv") and "__MACOSX" not in n)
        (tmp_path / "a.csv").write_bytes(archive.read(name))
    frame = pd.read_csv(tmp_path / "a.csv")
    (session,) = read_sessions([tmp_path / "a.csv"], ReadOptions(rate_hz=50.0), gyro=True)
    total = sum(frame[[f"{part}.{a}" for a in "xyz"]].to_numpy() for part in ("gravity", "userAcceleration"))
    np.testing.assert_allclose(session.recordings[0].signal[:, :3], total, atol=1e-5)
    np.testing.assert_allclose(
        session.recordings[0].signal[:, 3:], frame[[f"rotationRate.{a}" for a in "xyz"]], atol=1e-5
    )
