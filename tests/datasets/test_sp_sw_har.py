"""SP-SW-HAR: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets.sp_sw_har import ACTIVITIES, DATASET, RATES_HZ

HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"
LABELS = np.repeat(list(ACTIVITIES), 40)
PLACEMENTS = {"sp": "pocket", "sw": "wrist"}


def numbers(person: int, execution: int, device: str) -> np.ndarray:
    return np.random.default_rng([person, execution, len(device), ord(device[1])]).normal(size=(len(LABELS), 6))


def stamps(device: str) -> np.ndarray:
    """Milliseconds of rows that are sampled evenly and delivered five at a time."""
    steps = np.arange(len(LABELS))
    return 1657533977813 + np.round((steps // 5 * 5 + 4) * 1000 / RATES_HZ[PLACEMENTS[device]])


def text(signal: np.ndarray, stamp: np.ndarray, labels: np.ndarray = LABELS) -> str:
    rows = zip(signal.tolist(), stamp, labels, strict=True)
    return HEADER + "\n" + "".join(f"{','.join(map(repr, row))},{time:.0f},{label}\n" for row, time, label in rows)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "files" / "sp-sw-har-dataset" / "DATA"
    for person in (1, 2, 23):
        (folder / f"s{person:02d}").mkdir(parents=True)
        for execution in (1, 2):
            for device in ("sp", "sw"):
                path = folder / f"s{person:02d}" / f"s{person:02d}_{execution:02d}_{device}.csv"
                path.write_text(text(numbers(person, execution, device), stamps(device)))
    (folder / "executions_info.csv").write_text("execution_id,orientation,first_turn,second_turn\ns01_01,back,l,r\n")
    (folder / "subjects_info.csv").write_text("subject_id,age\ns01,54\n")
    return tmp_path / "files"


@pytest.mark.parametrize(("device", "placement"), PLACEMENTS.items())
def test_each_device_is_read_in_g_and_rad_per_s_with_labels_by_row(official: Path, device: str, placement: str) -> None:
    recordings = list(DATASET.read(official, placement=placement))
    expected = [(person, execution) for person in (1, 2, 23) for execution in (1, 2)]
    assert [recording.name for recording in recordings] == [f"s{p:02d}_{e:02d}_{device}" for p, e in expected]
    for recording, (person, execution) in zip(recordings, expected, strict=True):
        raw = numbers(person, execution, device)
        np.testing.assert_allclose(recording.signal[:, :3], raw[:, :3] / 9.80665, atol=1e-6)
        np.testing.assert_allclose(recording.signal[:, 3:], raw[:, 3:], atol=1e-6)
        assert (recording.subject, recording.placement) == (f"s{person:02d}", placement)
        assert (recording.rate_hz, recording.channels) == (RATES_HZ[placement], DATASET.channels)
        assert [span.label for span in recording.spans] == list(DATASET.classes)
        edges = [span.start_s for span in recording.spans]
        np.testing.assert_allclose(edges, np.arange(5) * 40 / RATES_HZ[placement])


def test_both_devices_are_recordings_of_one_person(official: Path) -> None:
    recordings = list(DATASET.read(official, placement="all"))
    assert Counter((r.subject, r.placement) for r in recordings) == {
        (subject, placement): 2 for subject in ("s01", "s02", "s23") for placement in ("wrist", "pocket")
    }


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "sp-sw-har-dataset"), "zip", official))
    for source in (made, made.parent, official / "sp-sw-har-dataset"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


RAW = numbers(1, 1, "sw")
GOOD = text(RAW, stamps("sw"))
LATE = stamps("sw") + 1000.0 * (np.arange(len(LABELS)) > 150)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("x_gyro", "gx"), "has 8 columns and lacks x_gyro; it is not the official file"),
        (GOOD.replace("WALKING", "FLYING"), "unknown activity FLYING; expected SEATED"),
        (GOOD.replace(",TURNING", ",", 1), "unknown activity none"),
        (GOOD[: GOOD.rindex(",", 0, GOOD.rindex(","))], "holds no rows, or a row with a missing value"),
        (text(RAW, LATE), r"departs by 1\.0. s from a clock of 104\.3 Hz; .* rows are missing"),
        (GOOD.replace(",16575", ",noon", 1), "cannot be read as columns x_acc"),
        (HEADER + "\n", "holds no rows"),
        ("", "cannot be read as columns"),
    ],
    ids=["column", "activity", "no activity", "cut off", "rows missing", "text", "header alone", "empty"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    (official / "sp-sw-har-dataset" / "DATA" / "s01" / "s01_01_sw.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "s01_01_sw.csv" in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"SP-SW-HAR not found in .*DATA/s<01\.\.23>.*; found nothing"):
        DATASET.listed(tmp_path)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "sp-sw-har", placement="all"))


def test_the_official_files_are_all_there(real: list[Recording]) -> None:
    found = Counter((recording.subject, recording.placement) for recording in real)
    people = {f"s{person:02d}" for person in range(1, 24)}
    assert {subject for subject, _ in found} == people and len(found) == 2 * len(people)
    assert {span.label for recording in real for span in recording.spans} == set(DATASET.classes)
    seconds = {recording.name: recording.seconds for recording in real}
    apart = [abs(seconds[name] - seconds[name.replace("_sp", "_sw")]) for name in seconds if name.endswith("_sp")]
    assert np.median(apart) < 0.2 and max(apart) < 2  # both devices recorded the same execution


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    for placement in ("wrist", "pocket"):
        signal = np.concatenate([r.signal for r in real if r.placement == placement])
        assert abs(np.median(np.linalg.norm(signal[:, :3], axis=1)) - 1) < 0.05  # g
        assert 0.5 < np.percentile(np.abs(signal[:, 3:]), 95) < 5  # rad/s
