"""Narrations in files of their own, clocks that agree or do not, and the published rule for windows about a moment."""

import pickle
from functools import partial
from pathlib import Path

import pytest

from otolith.data.multimodal import Narration, VideoStream
from otolith.datasets.align import Extent, multimodal_data_of, narration_start, shifted
from otolith.formats.narrations import narrations_of, read_narrations


@pytest.mark.parametrize(
    ("time_s", "start"),
    [(0.3, 0), (5.0, 0), (5.1, 2), (7.3, 4), (7.5, 5), (94.9, 92), (95.0, 92), (99.9, 95)],
)
def test_windows_about_a_moment_lie_as_published(time_s: float, start: int) -> None:
    assert narration_start(time_s, 100.4) == start


def test_a_window_that_leaves_a_short_take_is_left_out() -> None:
    assert narration_start(1.0, 4.9) is None
    assert narration_start(1.0, 5.0) == 0
    assert narration_start(6.5, 5.4) == 0  # told after the end: the last window


def test_subtitles_are_read_with_their_quirks(tmp_path: Path) -> None:
    path = tmp_path / "clip.srt"
    path.write_bytes(
        b"\xef\xbb\xbf2\r\n00:01:00,500 --> 00:01:02.25 X1:40\r\n<i>walks</i> {\\an8}to\r\nthe door\r\n\r\n"
        b"1\r\n00:00:01,000 --> 00:00:03,000\r\nopens it\r\n\r\n3\r\n00:02:00,000 --> 00:02:01,000\r\n\r\n"
    )
    assert read_narrations(path) == (Narration(1.0, 3.0, "opens it"), Narration(60.5, 62.25, "walks to the door"))
    assert narrations_of(tmp_path / "clip.mp4") == read_narrations(path)
    assert narrations_of(tmp_path / "other.mp4") == ()


def test_tables_of_narrations_are_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.narration.csv"
    path.write_text('text,start_s,stop_s\n"cuts bread, slowly",2,4.5\nNA,0.5,1\n')
    assert narrations_of(tmp_path / "clip.csv") == (
        Narration(0.5, 1.0, "NA"),
        Narration(2.0, 4.5, "cuts bread, slowly"),
    )
    (tmp_path / "clip.srt").write_text("00:00:00,000 --> 00:00:01,000\nx\n")
    with pytest.raises(ValueError, match=r"'clip' has two files of narrations, clip\.srt and clip\.narration\.csv"):
        narrations_of(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", "hello", "holds no line such as 00:00:01,000"),
        ("a.srt", "1\n0:1 --> 0:2\nx", "line 2 of .* expected HH:MM:SS,mmm"),
        ("a.srt", "00:00:05,000 --> 00:00:04,000\nx", "runs from 5 s to 4 s, but start must be before stop"),
        ("a.srt", b"\xff\xfe\x00", "is not UTF-8 text"),
        ("a.csv", "start,stop,text\n0,1,x\n", "lacks start_s, stop_s; expected the columns start_s,stop_s,text"),
        ("a.csv", "start_s,stop_s,text\n0,soon,x\n", "row 2 of .* 'soon' are not two numbers of seconds"),
        ("a.csv", "start_s,stop_s,text\n0,1,x\nnan,2,y\n", "row 3 of .* but start must be before stop"),
        ("a.csv", "", "cannot be read as a table"),
    ],
)
def test_narrations_that_cannot_be_understood_are_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message):
        read_narrations(tmp_path / name)


def _times(times_s, by=0.0):
    yield from (time + by for time in times_s)


CLIP = VideoStream("k", 1.0, 9.0, partial(_times, by=100.0))


def test_companions_lie_on_their_own_recordings_clock() -> None:
    pieces = [Extent("a/0", 0.5, 4.0), Extent("a/1", 6.0, 9.5), Extent("a/2", 9.2, 9.6)]
    said = [Narration(1.0, 2.0, "one"), Narration(3.0, 7.0, "both")]
    first, second = multimodal_data_of(pieces, CLIP, said, clip="a")
    assert (first.recording, second.recording) == ("a/0", "a/1")  # the third has neither words nor pictures
    assert first.narrations == (Narration(0.5, 1.5, "one"), Narration(2.5, 6.5, "both"))
    assert second.narrations == (Narration(-3.0, 1.0, "both"),)
    assert second.video_stream is not None and (second.video_stream.start_s, second.video_stream.stop_s) == (-5.0, 3.0)
    assert list(pickle.loads(pickle.dumps(second.video_stream)).frames([0.0, 1.0])) == [106.0, 107.0]
    assert shifted(CLIP, 2.0).key == "k"


def test_clocks_that_disagree_are_told() -> None:
    pieces = [Extent("a", 0.0, 5.0)]
    with pytest.raises(ValueError, match=r"'late' is said at 20\.0 s: check the narrations' times"):
        list(multimodal_data_of(pieces, CLIP, [Narration(20.0, 21.0, "late")], clip="a"))
    with pytest.raises(ValueError, match="they do not overlap; check the offset between their clocks"):
        list(multimodal_data_of([Extent("a", 50.0, 60.0)], CLIP, [], clip="a"))
    with pytest.warns(UserWarning, match=r"video of 'a' ends at 9\.0 s, its motion at 30\.0 s"):
        (companion,) = multimodal_data_of([Extent("a", 0.0, 30.0)], CLIP, [], clip="a")
    assert companion.video_stream is not None
    assert (
        list(multimodal_data_of([Extent("a", 50.0, 60.0)], CLIP, [Narration(0, 1, "x")], clip="a", strict=False)) == []
    )
