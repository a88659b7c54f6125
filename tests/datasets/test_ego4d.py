"""Ego4D: a small official layout made here, and ways for it to be wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import grey, write_video
from otolith.datasets.ego4d import DATASET, SCENARIOS

HEADER = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"


def imu(path: Path, seconds: float, gap: tuple[float, float] | None = None) -> None:
    """198 rows a second from 0.1 s on; rows before the video have no canonical stamp."""
    time_s = np.arange(0.1, seconds, 1 / 198)
    if gap is not None:
        time_s = time_s[(time_s < gap[0]) | (time_s > gap[1])]
    lines = ["0,-5.0,,9,9,9,9,9,9"]
    lines += [f"0,{1000 * t + 50:.3f},{1000 * t:.3f},1,2,3,{9.80665 * t / 20:.6f},0,9.80665" for t in time_s]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "\n" + "\n".join(lines) + "\n")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    videos = [
        {"video_uid": "b", "fb_participant_id": 7.0, "scenarios": ["Cooking"], "duration_sec": 20.4},
        {"video_uid": "a", "fb_participant_id": None, "scenarios": ["Cooking", "Eating"], "duration_sec": 8.0},
        {
            "video_uid": "c",
            "fb_participant_id": 7,
            "scenarios": ["jobs related to construction/renovation company\n(Director of work)"],
            "duration_sec": 9.0,
        },
        {"video_uid": "no-imu", "fb_participant_id": 8, "scenarios": [], "duration_sec": 9.0},
    ]
    (tmp_path / "ego4d.json").write_text(json.dumps({"videos": videos}))
    imu(tmp_path / "v2" / "imu" / "b.csv", 20.4)
    imu(tmp_path / "v2" / "imu" / "a.csv", 8, gap=(3, 5))
    imu(tmp_path / "v2" / "imu" / "c.csv", 9)
    write_video(tmp_path / "v2" / "video_540ss" / "b.mp4", [grey(i) for i in range(204)])
    said = {
        "b": {
            "narration_pass_1": {"narrations": [{"timestamp_sec": 7.3, "narration_text": " #C C cuts bread "}]},
            "narration_pass_2": {
                "narrations": [{"timestamp_sec": 0.2, "narration_text": "#C C sits"}],
                "summaries": [],
            },
            "status": "complete",
        }
    }
    (tmp_path / "v2" / "annotations").mkdir()
    (tmp_path / "v2" / "annotations" / "narration.json").write_text(json.dumps({"videos": said}))
    return tmp_path


def test_motion_is_read_in_g_on_the_videos_clock(official: Path) -> None:
    recordings = {recording.name: recording for recording in DATASET.read(official)}
    assert list(recordings) == ["a/0", "a/1", "b/0", "c/0"]
    b = recordings["b/0"]
    assert (b.subject, b.placement, b.rate_hz) == ("7", "head", 200.0)
    assert b.spans == ((0.0, len(b.signal) / 200, "cooking"),)
    time_s = 0.1 + np.arange(len(b.signal)) / 200
    np.testing.assert_allclose(b.signal[:-1, 0], time_s[:-1] / 20, atol=1e-4)
    np.testing.assert_allclose(b.signal[:, 1:], np.tile([0, 1, 1, 2, 3], (len(b.signal), 1)), atol=1e-6)
    assert recordings["a/0"].spans == () and recordings["a/0"].subject == "of a"
    assert recordings["c/0"].spans[0].label == "construction work" and recordings["c/0"].subject == "7"
    assert {recording.spans[0].label for recording in recordings.values() if recording.spans} <= set(DATASET.classes)
    assert len(SCENARIOS) == 15


def test_narrations_and_pictures_are_moved_to_the_recording(official: Path) -> None:
    (companion,) = DATASET.multimodal_data(official, "head", "all")  # the others have none
    assert companion.recording == "b/0"
    assert [(round(n.start_s, 3), round(n.stop_s, 3), n.text) for n in companion.narrations] == [
        (-0.1, 4.9, "#C C sits"),
        (3.9, 8.9, "#C C cuts bread"),
    ]
    assert (companion.video_stream.start_s, companion.video_stream.stop_s) == pytest.approx((-0.1, 20.3))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ego4d.json", "{}", "is not laid out as the official file: KeyError"),
        ("ego4d.json", '{"videos": [{"video_uid": "b"}]}', "is not laid out as the official file"),
        ("ego4d.json", "nonsense", "cannot be read as JSON"),
        ("v2/imu/b.csv", "canonical_timestamp_ms,gyro_x\n1,2\n", "lacks accl_x, accl_y"),
        ("v2/imu/b.csv", HEADER + "\n0,0,,1,1,1,1,1,1\n", "holds no row with a canonical time stamp"),
        (
            "v2/annotations/narration.json",
            '{"videos": {"b": {"narration_pass_1": {"narrations": [{}]}}}}',
            "not laid out",
        ),
    ],
)
def test_files_that_are_not_the_official_ones_are_refused(
    official: Path, file: str, content: str, message: str
) -> None:
    (official / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(DATASET.multimodal_data(official, "head", "all"))


def test_what_is_missing_is_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Ego4D not found in '.*': expected ego4d\.json, v2/imu/"):
        DATASET.listed(tmp_path / "v2")
    for path in (official / "v2" / "imu").glob("*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="download the part imu"):
        DATASET.listed(official)
