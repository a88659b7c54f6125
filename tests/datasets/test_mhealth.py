"""MHEALTH: a small official layout made here, ways for it to be wrong, and 36 official rows where they are."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets.mhealth import ACTIVITIES, DATASET

LABELS = np.repeat([0, 1, 12, 0, 5], 30)
FIRST = {"wrist": 14, "ankle": 5, "chest": 0}
CHANNELS = {"wrist": 6, "ankle": 6, "chest": 3}


def values(person: int) -> np.ndarray:
    table = np.random.default_rng(person).normal(size=(len(LABELS), 24)).round(5)
    table[:, 23] = LABELS
    return table


def text(table: np.ndarray, between: str = "\t") -> str:
    return "".join(between.join([*map(repr, row[:-1]), f"{row[-1]:g}"]) + "\n" for row in table.tolist())


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "MHEALTHDATASET"
    folder.mkdir(parents=True)
    for person in (1, 2, 10):
        (folder / f"mHealth_subject{person}.log").write_text(text(values(person), " " if person == 2 else "\t"))
    (folder / "README.txt").write_text("mHealth dataset\n")
    return tmp_path / "data"


@pytest.mark.parametrize("placement", DATASET.placements)
def test_each_placement_is_read_from_its_columns_in_g_and_radians(official: Path, placement: str) -> None:
    recordings = list(DATASET.read(official, placement=placement))
    assert [recording.name for recording in recordings] == ["subject1", "subject2", "subject10"]
    for recording, person in zip(recordings, (1, 2, 10), strict=True):
        raw = values(person)[:, FIRST[placement] :]
        np.testing.assert_allclose(recording.signal[:, :3], raw[:, :3] / 9.80665, atol=1e-6)
        assert recording.signal.shape == (150, CHANNELS[placement])
        assert recording.channels == DATASET.channels[: CHANNELS[placement]]
        if placement != "chest":
            np.testing.assert_allclose(recording.signal[:, 3:], np.deg2rad(raw[:, 3:6]), atol=1e-6)
        assert (recording.subject, recording.placement, recording.rate_hz) == (str(person), placement, 50.0)
        assert recording.spans == (
            (0.6, 1.2, "standing"),
            (1.2, 1.8, "jump front and back"),
            (2.4, 3.0, "climbing stairs"),
        )


def test_null_is_a_class_where_asked_for(official: Path) -> None:
    recording = next(DATASET.read(official, subset="with-null"))
    assert [span.label for span in recording.spans] == [
        "null",
        "standing",
        "jump front and back",
        "null",
        "climbing stairs",
    ]
    assert [span.start_s for span in recording.spans] == [0.0, 0.6, 1.2, 1.8, 2.4]
    assert recording.spans[-1].stop_s == recording.seconds


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "mhealth+dataset"), "zip", official))
    for source in (made, made.parent, official / "MHEALTHDATASET"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


GOOD = text(values(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[: GOOD.rindex("\t")], "holds 3,599 values in 150 rows; expected 24 in each"),
        (GOOD.replace("\t12\n", "\t13\n"), "has the label 13; expected one of 0, 1, 2"),
        (GOOD.replace("\t12\n", "\t1.5\n"), r"has the label 1\.5"),
        (GOOD.replace("\t12\n", "\t12\t\n1\n"), "holds 3,630 values in 180 rows"),
        (text(values(1)[:, 1:]), "24"),
        (text(np.where(np.arange(24) == 15, np.nan, values(1))), "recording 'subject1': time step 0 .*not finite"),
        ("", "cannot be read as 24 columns"),
    ],
    ids=["cut off", "label", "half a label", "short rows", "23 columns", "NaN", "empty"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    (official / "MHEALTHDATASET" / "mHealth_subject1.log").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "subject1" in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"MHEALTH not found in .*mHealth_subject<1\.\.10>\.log; found nothing"):
        DATASET.listed(tmp_path)


def test_official_rows_hold_what_their_description_says(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "mhealth" / "mHealth_subject1_36rows.log", tmp_path / "mHealth_subject1.log")
    (wrist,) = DATASET.read(tmp_path)
    assert [span.label for span in wrist.spans] == list(ACTIVITIES.values())
    np.testing.assert_allclose([span.stop_s - span.start_s for span in wrist.spans], 0.06)
    still = np.linalg.norm(wrist.signal[:9, :3], axis=1)  # standing, sitting, lying
    assert (abs(still - 1) < 0.03).all()
    for placement, acceleration, rate in (  # the first row, as it stands in the file
        ("wrist", [-2.8439, -9.0618, 1.8177], [-0.058824, -0.93429, -0.34483]),
        ("ankle", [2.6493, -9.4517, 0.37683], [-0.20965, -0.88931, -0.50884]),
        ("chest", [-9.7788, 0.5569, 1.1975], []),
    ):
        (recording,) = DATASET.read(tmp_path, placement=placement)
        expected = [*(np.array(acceleration) / 9.80665), *np.deg2rad(rate)]
        np.testing.assert_allclose(recording.signal[0], expected, rtol=1e-6)
