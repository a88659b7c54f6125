"""Ego-Exo4D: a small official layout made here (its motion stands in for VRS files), and one real VRS file in its place."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import grey, write_video
from otolith.data.resample import Piece
from otolith.datasets import egoexo4d
from otolith.datasets.egoexo4d import DATASET, SCENARIOS, scenario_of, starts

TAKES = {
    "cmu_bike01_2": ("u1", 657, 20.4),
    "iiith_cooking_98_2": ("u2", 12, 9.0),
    "upenn_0727_Dance_3": ("u3", 12, 30.0),
}
SAID = [(0.3, "C stands."), (7.3, "C lifts the wheel."), (7.4, "C turns."), (19.9, "C stops."), (400.0, "C leaves.")]


def description(text: str, time_s: float) -> dict:
    return {
        "text": text,
        "timestamp": time_s,
        "narration_subject": "C",
        "ego_visible": True,
        "best_exo": None,
        "unsure": False,
    }


@pytest.fixture
def official(tmp_path: Path, monkeypatch) -> Path:
    """Three takes, of which the last was not downloaded; motion of the take's length, at 1000 Hz."""
    rows = []
    for name, (uid, person, seconds) in TAKES.items():
        rows.append(
            {
                "root_dir": f"takes/{name}",
                "take_name": name,
                "take_uid": uid,
                "participant_uid": person,
                "duration_sec": seconds,
                "parent_task_name": "-",
            }
        )
        if uid != "u3":
            (tmp_path / "takes" / name).mkdir(parents=True)
            (tmp_path / "takes" / name / "aria01_noimagestreams.vrs").write_text(str(seconds))
    (tmp_path / "takes.json").write_text(json.dumps(rows))
    write_video(
        tmp_path / "takes" / "cmu_bike01_2" / "frame_aligned_videos" / "downscaled" / "448" / "aria01_214-1.mp4",
        [grey(i) for i in range(204)],
    )
    rejected = {"annotator_id": "0", "rejected": True, "descriptions": [description("C dances.", 3.0)]}
    first = {
        "annotator_id": "1",
        "rejected": False,
        "descriptions": [description(text, time) for time, text in SAID[::-1]],
    }
    second = {"annotator_id": "2", "rejected": False, "descriptions": [description("C sings.", 3.0)]}
    (tmp_path / "annotations").mkdir()
    for split, said in (("train", {"u1": [rejected, first, second], "u3": [first]}), ("val", {"u2": [second]})):
        (tmp_path / "annotations" / f"atomic_descriptions_{split}.json").write_text(json.dumps({"annotations": said}))

    def inertial(path: Path, stream: str) -> tuple[int, list[Piece], float]:
        assert stream == "1202-1"
        time_s = np.arange(round(1000 * float(path.read_text()))) / 1000
        signal = np.stack([np.sin(2 * np.pi * time_s * k) for k in range(1, 7)], axis=1).astype(np.float32)
        return 5, [Piece(0.0, signal)], 1000.0

    monkeypatch.setattr(egoexo4d, "inertial", inertial)
    return tmp_path


def test_takes_are_those_of_the_split_that_are_here(official: Path) -> None:
    (recording,) = DATASET.read(official)
    assert (recording.name, recording.subject, recording.placement) == ("cmu_bike01_2/0", "657", "right temple")
    assert recording.rate_hz == 50 and len(recording.signal) == 1020
    time_s = np.arange(1020) / 50
    expected = np.stack([np.sin(2 * np.pi * time_s * k) for k in range(1, 7)], axis=1)
    np.testing.assert_allclose(recording.signal[10:-10], expected[10:-10], atol=0.01)
    assert recording.spans == ((0.0, 20.4, "bike repair"),)
    assert [part.name for part in DATASET.listed(official, subset="val")] == ["iiith_cooking_98_2"]
    assert [part.name for part in DATASET.listed(official, subset="all")] == ["cmu_bike01_2", "iiith_cooking_98_2"]


def test_descriptions_lie_over_their_published_windows(official: Path) -> None:
    (companion,) = DATASET.multimodal_data(official, "right temple", "train")
    assert [(n.start_s, n.stop_s, n.text) for n in companion.narrations] == [
        (0.0, 5.0, "C stands."),
        (4.0, 9.0, "C lifts the wheel."),
        (4.0, 9.0, "C turns."),
        (15.0, 20.0, "C stops."),
        (15.0, 20.0, "C leaves."),
    ]
    assert starts(official, "train") == {"cmu_bike01_2/0": (0.0, 4.0, 4.0, 15.0, 15.0)}
    assert companion.video_stream is not None and (
        companion.video_stream.start_s,
        companion.video_stream.stop_s,
    ) == pytest.approx((0, 20.4))
    assert round(float(next(companion.video_stream.frames([10.0])).mean())) in range(97, 104)


def test_windows_whose_motion_ends_early_are_left_out(official: Path) -> None:
    path = official / "takes" / "cmu_bike01_2" / "aria01_noimagestreams.vrs"
    path.write_text("19.95")  # within a tenth of a second: the window is moved to fit
    assert starts(official, "train")["cmu_bike01_2/0"][-1] == pytest.approx(14.95)
    path.write_text("19.8")
    assert starts(official, "train")["cmu_bike01_2/0"] == (0.0, 4.0, 4.0)
    path.write_text("3")
    assert starts(official, "train")["cmu_bike01_2/0"] == ()


def test_scenarios_are_told_from_names() -> None:
    assert [scenario_of(name) for name in TAKES] == ["bike repair", "cooking", "dance"]
    assert scenario_of("sfu_covid_008_4") == "covid test" and scenario_of("utokyo_cpr_2005_25_4") == "first aid"
    assert scenario_of("unc_Basketball_02-24-23_01_14") == "ball sports" and scenario_of("x") is None
    assert DATASET.classes == tuple(SCENARIOS) and len(SCENARIOS) == 8


def test_what_is_missing_is_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Ego-Exo4D expected takes\.json"):
        DATASET.listed(None)
    with pytest.raises(FileNotFoundError, match=r"Ego-Exo4D not found in '.*': expected takes\.json"):
        DATASET.listed(tmp_path / "takes")
    shutil.rmtree(official / "takes")
    with pytest.raises(FileNotFoundError, match="download the part take_vrs_noimagestream"):
        DATASET.listed(official)
    (official / "annotations" / "atomic_descriptions_train.json").unlink()
    with pytest.raises(FileNotFoundError, match="download the part annotations"):
        DATASET.listed(official)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("takes.json", "[{", "cannot be read as JSON"),
        ("takes.json", "[" * 100_000, "cannot be read as JSON"),
        ("takes.json", '[{"take_uid": "u1"}]', r"has no sound 'take_name'"),
        ("takes.json", '[{"take_uid":"u1","take_name":"x","duration_sec":"long"}]', "has no sound could not convert"),
        (
            "takes.json",
            '[{"take_uid":"u1","take_name":"x","duration_sec":9,"root_dir":"../../x"}]',
            r"root_dir '\.\./\.\./x', which leaves the corpus's folder",
        ),
        (
            "annotations/atomic_descriptions_train.json",
            '{"annotations": {"u1": [{}]}}',
            "is not laid out as the official",
        ),
        (
            "annotations/atomic_descriptions_train.json",
            '{"annotations": {"u1": ["x"]}}',
            "is not laid out as the official",
        ),
    ],
)
def test_files_that_are_not_the_official_ones_are_refused(
    official: Path, file: str, content: str, message: str
) -> None:
    (official / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(DATASET.multimodal_data(official, "right temple", "train"))


def test_a_real_file_of_glasses_is_read_in_a_take(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("projectaria_tools")
    folder = tmp_path / "takes" / "me_cooking_1"
    folder.mkdir(parents=True)
    shutil.copy(
        shared_data / "aria" / "aria_everyday_activities_test_data" / "recording.vrs",
        folder / "aria01_noimagestreams.vrs",
    )
    row = {"take_uid": "u", "take_name": "me_cooking_1", "participant_uid": 3, "duration_sec": 0.4}
    (tmp_path / "takes.json").write_text(json.dumps([row]))
    (recording,) = DATASET.read(tmp_path, subset="all")
    assert recording.signal.shape == (20, 6) and recording.subject == "3"
    assert np.linalg.norm(recording.signal[7:-7, :3], axis=1).mean() == pytest.approx(1, abs=0.1)
    assert list(DATASET.multimodal_data(tmp_path, "right temple", "all")) == []
