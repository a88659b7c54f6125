"""Own recordings: tables of any layout with labels, videos and narrations; offsets; and what is refused."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import grey, write_table, write_video
from otolith.data.store import open_store
from otolith.datasets import DATASETS
from otolith.datasets.own import DATASET, offsets
from otolith.datasets.prepare import prepare_dataset


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"anna/wlak" = 1.0', r"names 'anna/wlak', but there is no such recording; did you mean 'anna/walk'\?"),
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
    with pytest.raises(ValueError, match=r"gyroscope. Add --subset accelerometer"):
        list(DATASET.read(tmp_path))
    (recording,) = DATASET.read(tmp_path, subset="accelerometer")
    assert recording.channels == ("acc_x", "acc_y", "acc_z")


def vendor_table(path: Path, seconds: float, seed: int = 0) -> None:
    """A table in m/s^2 and deg/s with UNIX milliseconds and a column of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random, count = np.random.default_rng(seed), int(seconds * 50)
    time = np.arange(count) / 50
    turn = 40 * np.sin(5 * time)  # deg/s
    tilt = np.cumsum(np.radians(turn)) / 50
    acc = 9.80665 * np.stack([np.sin(tilt), 0 * tilt, np.cos(tilt)], axis=1) + random.normal(0, 0.02, (count, 3))
    gyro = np.stack([0 * turn, turn, 0 * turn], axis=1) + random.normal(0, 0.1, (count, 3))
    lines = ["timestamp,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (deg/s),gy (deg/s),gz (deg/s),note"]
    for t, a, g in zip(time, acc, gyro, strict=True):
        lines.append(",".join([str(1_700_000_000_000 + round(t * 1000)), *(f"{v:.5f}" for v in (*a, *g)), "walking"]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    for seed, name in enumerate(("anna/day", "ben/day", "cleo")):
        vendor_table(tmp_path / "src" / f"{name}.csv", 30, seed)
    return tmp_path / "src"


LABELS = (
    "recording,start,end,label,person\nanna/day.csv,0,10,walk,Anna\nanna/day,12,20,sit,Anna\nben/day.csv,0,8,walk,Ben\n"
)


def test_units_are_those_of_the_header_and_text_costs_no_row(vendor: Path) -> None:
    recordings = list(DATASET.read(vendor))
    assert [(r.name, r.subject) for r in recordings] == [
        ("anna/day/0", "anna"),
        ("ben/day/0", "ben"),
        ("cleo/0", "cleo"),
    ]
    for recording in recordings:
        assert recording.signal.shape == (1500, 6)
        assert np.median(np.linalg.norm(recording.signal[:, :3], axis=1)) == pytest.approx(1, abs=0.02)
        assert np.abs(recording.signal[:, 4]).max() == pytest.approx(np.radians(40), rel=0.1)
        assert any("m/s2" in str(fact) for fact in recording.facts)


@pytest.mark.parametrize("inside", [True, False], ids=["labels in the folder", "labels elsewhere"])
def test_labels_of_a_file_become_spans_and_people(vendor: Path, tmp_path: Path, inside: bool) -> None:
    labels = (vendor if inside else tmp_path) / "labels.csv"
    labels.write_text(LABELS)
    steps = list(prepare_dataset("own", vendor, tmp_path / "data", labels=labels))
    assert [step.recordings for step in steps] == [1, 1, 1] and all("columns: " in step.facts[0] for step in steps)
    store = open_store(tmp_path / "data" / "own")
    assert store.labels == ("walk", "sit")
    assert [(e.subject, e.spans) for e in store.entries] == [
        ("Anna", ((0, 500, 0), (600, 1000, 1))),
        ("Ben", ((0, 400, 0),)),
        ("cleo", ()),
    ]
    assert len(store.windows(seconds=2)) > 0


def test_without_labels_a_store_has_windows_without_labels(vendor: Path, tmp_path: Path) -> None:
    list(prepare_dataset("own", vendor, tmp_path / "data"))
    windows = open_store(tmp_path / "data" / "own").windows(seconds=2)
    assert windows.y is None and windows.subject_names == ("anna", "ben", "cleo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recording,start,end,label\nnobody.csv,0,5,walk\n", "line 2: no recording 'nobody.csv'"),
        ("recording,start,end,label\ncleo,0,500,walk\n", "lies outside 'cleo', which lasts 30 s"),
        ("recording,start,end,label\ncleo,5,2,walk\n", "start must be before end"),
        (
            "recording,start,end,label,person\ncleo,0,5,walk,a\ncleo,6,9,sit,b\n",
            "labelled with the people a, b; a recording of a corpus is of one person",
        ),
    ],
    ids=["unknown", "outside", "backwards", "two people"],
)
def test_labels_that_do_not_fit_are_refused(vendor: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(prepare_dataset("own", vendor, tmp_path / "data", labels=tmp_path / "labels.csv"))
    assert not (tmp_path / "data" / "own").exists()


def test_only_own_recordings_take_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes no labels; only own recordings do"):
        DATASETS["spar"].listed(None, labels=tmp_path / "labels.csv")


def test_what_is_missing_is_named(own: Path, tmp_path: Path) -> None:
    write_video(own / "dora.mp4", [grey(0)] * 3)
    with pytest.raises(ValueError, match=r"'dora\.mp4' has no recording of motion with its name, such as dora\.csv"):
        DATASET.listed(own)
    (own / "dora.mp4").unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="Own recordings not found in"):
        DATASET.listed(empty)
    (empty / "a.narration.csv").write_text("start_s,stop_s,text\n")
    with pytest.raises(FileNotFoundError, match="Own recordings not found in"):
        DATASET.listed(empty)
    (own / "anna" / "walk.mp4").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"walk\.mp4' \(6 bytes\) cannot be opened as a video"):
        list(DATASET.multimodal_data(own, "own", "all"))
