"""A folder of one's own: tables, videos and words side by side, offsets, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import grey, write_table, write_video
from otolith.datasets.folder import DATASET, beside, offsets, read_table


@pytest.fixture
def own(tmp_path: Path) -> Path:
    write_table(tmp_path / "anna" / "walk.csv", 6, start_s=1000.0)
    write_video(tmp_path / "anna" / "walk.mp4", [grey(4 * i) for i in range(60)])
    (tmp_path / "anna" / "walk.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nwalks\n")
    write_table(tmp_path / "ben.csv", 4)
    (tmp_path / "ben.narration.csv").write_text("start_s,stop_s,text\n0,2,sits\n")
    write_table(tmp_path / "cleo.csv", 4)
    return tmp_path


def test_tables_are_recordings_and_folders_are_people(own: Path) -> None:
    recordings = list(DATASET.read(own))
    assert [(r.name, r.subject) for r in recordings] == [("anna/walk/0", "anna"), ("ben/0", "ben"), ("cleo/0", "cleo")]
    assert recordings[0].signal.shape == (300, 6) and recordings[0].rate_hz == pytest.approx(50)
    assert recordings[0].channels == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    np.testing.assert_allclose(recordings[0].signal[:, 2], 1)


def test_words_and_pictures_are_moved_by_the_offset(own: Path) -> None:
    anna, ben = DATASET.multimodal_data(own, "own", "all")  # cleo has neither
    assert anna.narrations == ((1.0, 3.0, "walks"),) and anna.video_stream.start_s == 0.0
    assert ben.narrations == ((0.0, 2.0, "sits"),) and ben.video_stream is None
    (own / "offsets.toml").write_text('"anna/walk" = 1.25\ndefault = -0.5\n')
    anna, ben = DATASET.multimodal_data(own, "own", "all")
    assert anna.narrations == ((2.25, 4.25, "walks"),)
    assert (anna.video_stream.start_s, anna.video_stream.stop_s) == pytest.approx((1.25, 7.25))
    assert round(float(next(anna.video_stream.frames([2.27])).mean()) / 4) == 10  # the video's second 1.02
    assert ben.narrations == ((-0.5, 1.5, "sits"),)
    (moved,) = beside(own / "anna" / "walk.csv", "anna/walk", offset_s=2.0)
    assert moved.narrations == ((3.0, 5.0, "walks"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"anna/wlak" = 1.0', r"names 'anna/wlak', but there is no such clip; is it anna/walk\?"),
        ('"anna/walk" = "soon"', "'anna/walk' is 'soon'; expected seconds"),
        ("default = nan", "'default' is nan; expected seconds"),
        ("default = true", "'default' is True"),
        ("default", "cannot be read"),
    ],
)
def test_offsets_that_cannot_be_understood_are_refused(own: Path, content: str, message: str) -> None:
    (own / "offsets.toml").write_text(content)
    with pytest.raises(ValueError, match=message):
        list(DATASET.multimodal_data(own, "own", "all"))
    assert offsets(own / "anna", ["walk"]) == {}


def test_clocks_that_disagree_are_told(own: Path) -> None:
    (own / "offsets.toml").write_text('"anna/walk" = 400\n')
    with pytest.raises(ValueError, match="they do not overlap; check the offset between their clocks"):
        list(DATASET.multimodal_data(own, "own", "all"))
    (own / "offsets.toml").write_text('"anna/walk" = -3\n')
    with pytest.warns(UserWarning, match=r"the video of 'anna/walk' ends at 3\.0 s, its motion at 6\.0 s"):
        next(iter(DATASET.multimodal_data(own, "own", "all")))
    (own / "offsets.toml").unlink()
    (own / "ben.narration.csv").write_text("start_s,stop_s,text\n70,72,sits\n")
    with pytest.raises(ValueError, match=r"'ben' runs from 0\.0 s to 4\.0 s, but 'sits' is said at 70\.0 s"):
        list(DATASET.multimodal_data(own, "own", "all"))


def test_a_long_gap_parts_a_clip(tmp_path: Path) -> None:
    rows = write_table(tmp_path / "a.csv", 10)
    rows = rows[(rows[:, 0] < 4) | (rows[:, 0] > 6)]
    header = (tmp_path / "a.csv").read_text().splitlines()[0]
    np.savetxt(tmp_path / "a.csv", rows, fmt="%.6f", delimiter=",", header=header, comments="")
    (tmp_path / "a.srt").write_text("00:00:03,000 --> 00:00:07,000\nturns\n")
    assert [r.name for r in DATASET.read(tmp_path)] == ["a/0", "a/1"]
    first, second = DATASET.multimodal_data(tmp_path, "own", "all")
    assert first.narrations == ((3.0, 7.0, "turns"),)
    assert second.narrations == ((pytest.approx(-3.02), pytest.approx(0.98), "turns"),)


def test_a_table_without_a_gyroscope_says_what_to_do(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", 3, gyroscope=False)
    with pytest.raises(ValueError, match=r"no gyroscope.*every encoder takes three.*--subset accelerometer"):
        next(DATASET.read(tmp_path))
    (recording,) = DATASET.read(tmp_path, subset="accelerometer")
    assert recording.channels == ("acc_x", "acc_y", "acc_z")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows * [1, 9.8, 9.8, 9.8, 1, 1, 1], "acceleration of .* is 10 .* divide m/s\\^2 by 9.80665"),
        (lambda rows: rows * [1, 0, 0, 0, 1, 1, 1], "write total acceleration, with gravity in it"),
        (lambda rows: rows * [1, 1, 1, 1, 57.3, 57.3, 57.3], "reaches 57.2 rad/s: multiply it by pi/180"),
        (lambda rows: rows * [1000, 1, 1, 1, 1, 1, 1], "step by 20 in the median; time_s is in seconds"),
        (lambda rows: rows[:1], "fewer than two whole rows"),
        (lambda rows: rows * np.nan, "fewer than two whole rows"),
    ],
    ids=["m/s^2", "no gravity", "deg/s", "ms", "one row", "NaN"],
)
def test_other_units_are_refused_and_said(tmp_path: Path, change, message: str) -> None:
    rows = change(write_table(tmp_path / "a.csv", 3))
    header = (tmp_path / "a.csv").read_text().splitlines()[0]
    np.savetxt(tmp_path / "a.csv", rows, fmt="%.6f", delimiter=",", header=header, comments="")
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "a.csv")


def test_what_is_missing_is_named(own: Path, tmp_path: Path) -> None:
    write_video(own / "dora.mp4", [grey(0)] * 3)
    with pytest.raises(ValueError, match=r"dora\.mp4' has no motion beside it: expected dora\.csv with time_s, acc_x"):
        DATASET.listed(own)
    (own / "anna" / "walk.csv").write_text("t,x,y\n1,2,3\n")
    with pytest.raises(
        ValueError, match=r"'walk\.csv' has 3 columns and lacks time_s, acc_x.*; expected \[person/\]clip"
    ):
        read_table(own / "anna" / "walk.csv")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"A folder of one's own not found in"):
        DATASET.listed(empty)
    (empty / "a.narration.csv").write_text("start_s,stop_s,text\n")
    with pytest.raises(FileNotFoundError, match="holds narrations but no table of motion"):
        DATASET.listed(empty)
    (own / "anna" / "walk.mp4").write_bytes(b"broken")
    write_table(own / "anna" / "walk.csv", 6)
    (own / "dora.mp4").unlink()
    with pytest.raises(ValueError, match=r"walk\.mp4' \(6 bytes\) cannot be opened as a video"):
        list(DATASET.multimodal_data(own, "own", "all"))
