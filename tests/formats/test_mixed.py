"""Rows of several people or devices in one table: told apart by any column that does so, and by no other."""

import numpy as np
import pandas as pd
import pytest

from motion import motion, save, table
from otolith.formats import ReadOptions, read_sessions


def two(late: float = 0.0, each: int = 1, seconds: float = 30.0):
    """Two devices at the same time, `each` rows of one in turn; the second's stamps are `late`."""
    (time, left, _), (_, right, _) = motion(seconds), motion(seconds, seed=5)
    both = pd.concat([table(time, left).assign(part=0), table(time + late, right).assign(part=1)])
    both = both.assign(block=np.tile(np.arange(len(time)) // each, 2))
    return both.sort_values(["block", "part"], kind="stable").drop(columns="block"), left, right


@pytest.mark.parametrize("names", [("left", "right"), (1, 2), (17, 4), ("0a:1b", "0c:2d")])
@pytest.mark.parametrize("column", ["side", "where", "id", "tag 3"])
@pytest.mark.parametrize(("late", "each"), [(0.0, 1), (0.003, 1), (0.0, 7)])
def test_a_column_of_any_name_tells_devices_apart(tmp_path, names, column, late, each) -> None:
    frame, left, right = two(late, each)
    frame[column] = np.array(names, dtype=object)[frame.pop("part")]
    sessions = read_sessions([save(tmp_path / "a.csv", frame)])
    assert [s.name for s in sessions] == [f"a-{names[0]}", f"a-{names[1]}"]
    assert all(s.rate_hz == 50 and s.seconds == pytest.approx(30, abs=0.1) for s in sessions)
    for session, acc in zip(sessions, (left, right), strict=True):
        np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)
        assert any("--device-column" in str(fact) for fact in session.facts)


@pytest.mark.parametrize("cells", ["activities", "numbers", "a battery", "a counter", "a counter in packets", "a flag"])
def test_other_columns_tell_nothing_apart(tmp_path, cells) -> None:
    time, acc, _ = motion(30)
    row = np.arange(len(time))
    column = {
        "activities": np.array(["walk", "rest", "run"])[row // 100 % 3],
        "numbers": row // 100 % 3,
        "a battery": 3900 - row // 500,
        "a counter": row % 10,
        "a counter in packets": row % 5,
        "a flag": (row % 97 == 0).astype(int),
    }[cells]
    clock = time[row // 5 * 5] if cells == "a counter in packets" else time
    (session,) = read_sessions([save(tmp_path / "a.csv", table(clock, acc).assign(extra=column))])
    assert session.rate_hz == pytest.approx(50) and session.seconds == pytest.approx(30, abs=0.2)


def test_two_devices_without_a_column_are_refused(tmp_path) -> None:
    frame = two()[0].drop(columns="part")
    with pytest.raises(ValueError, match=r"'a.csv': .*two devices or people .*--device-column"):
        read_sessions([save(tmp_path / "a.csv", frame)])
    frame["who"] = np.tile(["anna", "ben"], len(frame) // 2)
    assert len(read_sessions([save(tmp_path / "b.csv", frame)], ReadOptions(subject_column="who"))) == 2
