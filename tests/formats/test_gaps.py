"""Rows that hold no motion: zeros, constants, impossible values, empty cells."""

import numpy as np
import pytest

from motion import G, motion, save, table
from otolith.formats import ReadOptions, read_sessions


def covered(session) -> float:
    return sum(len(r.signal) / r.rate_hz for r in session.recordings)


@pytest.mark.parametrize("fill", ["zeros", "last value", "one value", "NaN", "-999", "999999"])
@pytest.mark.parametrize("gyro", [True, False])
@pytest.mark.parametrize("unit", [1.0, G])
def test_idle_stretches_are_no_data(tmp_path, fill, gyro, unit) -> None:
    time, acc, turn = motion(60)
    frame = table(time, acc * unit, turn if gyro else None)
    axes = [name for name in frame.columns if name != "time"]
    hole = (time >= 20) & (time < 45)
    value = {"zeros": 0.0, "NaN": np.nan, "-999": -999.0, "999999": 999999.0, "one value": 0.3}.get(fill)
    frame.loc[hole, axes] = frame.loc[999, axes].to_numpy(float) if value is None else value
    (session,) = read_sessions([save(tmp_path / "a.csv", frame, float_format="%.4f")])
    assert covered(session) == pytest.approx(35, abs=0.1) and len(session.recordings) == 2
    (gap,) = session.missing
    assert (gap.start_s, gap.stop_s) == pytest.approx((20, 45), abs=0.1)
    word = {"zeros": "zeros", "NaN": "missing", "-999": "impossible", "999999": "impossible"}.get(fill, "constant")
    assert gap.reason.startswith(word), gap
    assert any(f.topic == "missing" and "1,2" in f.text for f in session.facts), "the rows are counted"


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_file_that_begins_or_ends_idle(tmp_path, where) -> None:
    time, acc, _ = motion(60)
    acc[time < 20 if where == "begin" else time >= 40] = 0
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, acc))])
    assert covered(session) == pytest.approx(40, abs=0.1) and session.seconds == pytest.approx(60)
    assert session.recordings[0].start_s == pytest.approx(20 if where == "begin" else 0, abs=0.05)


def test_single_zeros_and_lost_values_are_bridged(tmp_path) -> None:
    time, acc, _ = motion(40)
    rows = np.random.default_rng(0).choice(len(time), 50, replace=False)
    broken = acc.copy()
    broken[rows] = 0
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, broken))])
    assert len(session.recordings) == 1 and len(session.recordings[0].signal) == len(acc)
    assert np.abs(session.recordings[0].signal - acc).max() < 0.2


def test_a_coarse_sensor_may_rest_on_one_value(tmp_path) -> None:
    time, acc, _ = motion(60)
    acc[(time >= 20) & (time < 45)] = [0.0, 1.0, 0.0]
    coarse = np.round(acc * 64)
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, coarse))], ReadOptions(acc_unit="g/64"))
    assert covered(session) == pytest.approx(60) and not session.missing


def test_a_gyroscope_that_stops_while_the_arm_moves(tmp_path) -> None:
    time, acc, turn = motion(60)
    turn[(time >= 20) & (time < 30)] = 0
    path = save(tmp_path / "a.csv", table(time, acc, turn))
    (session,) = read_sessions([path])
    assert covered(session) == pytest.approx(50, abs=0.2)
    (alone,) = read_sessions([path], gyro=False)
    assert covered(alone) == pytest.approx(60), "without the gyroscope nothing is missing"


@pytest.mark.parametrize("fill", [0.0, np.nan, 0.5])
def test_a_file_without_any_motion_is_refused(tmp_path, fill) -> None:
    time, acc, _ = motion(30)
    with pytest.raises(ValueError, match=r"a.*(no row|zeros|constant|no table|gravity)"):
        read_sessions([save(tmp_path / "a.csv", table(time, np.full_like(acc, fill)))])


@pytest.mark.parametrize(("gap", "pieces"), [(0.4, 1), (0.6, 2), (5.0, 2)])
def test_gaps_split(tmp_path, gap, pieces) -> None:
    time, acc, _ = motion(40)
    keep = (time < 20) | (time >= 20 + gap)
    path = save(tmp_path / "a.csv", table(time[keep], acc[keep]))
    (session,) = read_sessions([path])
    assert len(session.recordings) == pieces and all(np.isfinite(r.signal).all() for r in session.recordings)
    (wide,) = read_sessions([path], ReadOptions(max_gap_s=10.0))
    assert len(wide.recordings) == 1


def test_cells_that_are_no_numbers_count_as_missing(tmp_path) -> None:
    time, acc, _ = motion(40)
    frame = table(time, acc).astype(object)
    frame.loc[100:104, "x"] = np.nan
    frame.loc[300, "y"] = "?"
    frame.loc[301, "z"] = "error"
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    assert any("7 of 2,000 rows hold no number somewhere" in f.text for f in session.facts)
    assert len(session.recordings) == 1
