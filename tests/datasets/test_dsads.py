"""DSADS: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets.dsads import ACTIVITIES, DATASET, UNITS

PEOPLE, SEGMENTS = (1, 2, 8), (1, 2, 3, 5)


def values(activity: int, person: int, segment: int) -> np.ndarray:
    return np.random.default_rng([activity, person, segment]).normal(size=(125, 45)).round(6)


def text(table: np.ndarray) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in table.tolist())


@pytest.fixture
def official(tmp_path: Path) -> Path:
    for activity in (1, 12):
        for person in PEOPLE:
            for segment in SEGMENTS:
                path = tmp_path / "files" / "data" / f"a{activity:02d}" / f"p{person}" / f"s{segment:02d}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text(values(activity, person, segment)))
    return tmp_path / "files"


@pytest.mark.parametrize(("placement", "first"), UNITS.items())
def test_consecutive_segments_are_joined_and_each_unit_is_read_from_its_columns(
    official: Path, placement: str, first: int
) -> None:
    recordings = list(DATASET.read(official, placement=placement))
    assert [recording.name for recording in recordings[:4]] == ["a01/p1/s01", "a01/p1/s05", "a12/p1/s01", "a12/p1/s05"]
    assert Counter(recording.subject for recording in recordings) == {str(person): 4 for person in PEOPLE}
    whole, rest = recordings[:2]  # segment 4 is missing
    raw = np.concatenate([values(1, 1, segment) for segment in (1, 2, 3)])[:, first : first + 6]
    np.testing.assert_allclose(whole.signal[:, :3], raw[:, :3] / 9.80665, atol=1e-6)
    np.testing.assert_allclose(whole.signal[:, 3:], raw[:, 3:], atol=1e-6)
    np.testing.assert_allclose(rest.signal[:, 3:], values(1, 1, 5)[:, first + 3 : first + 6], atol=1e-6)
    assert (whole.rate_hz, whole.placement, whole.channels) == (25.0, placement, DATASET.channels)
    assert whole.spans == ((0.0, 15.0, "sitting"),) and rest.spans == ((0.0, 5.0, "sitting"),)


def test_all_placements_are_recordings_of_one_person(official: Path) -> None:
    recordings = list(DATASET.read(official, placement="all"))
    assert len({recording.name for recording in recordings}) == len(recordings) == 5 * 12
    assert [recording.placement for recording in recordings[:5]] == list(UNITS)
    for placement in UNITS:
        alone = list(DATASET.read(official, placement=placement))
        together = [recording for recording in recordings if recording.placement == placement]
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.signal, other.signal)
            assert (one.subject, one.spans) == (other.subject, other.spans)


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    name = str(official.parent / "zipped" / "daily+and+sports+activities")
    made = Path(shutil.make_archive(name, "zip", official))
    for source in (made, made.parent, official / "data"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


GOOD = text(values(1, 1, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[: GOOD.rindex(",")], "holds 5,624 values in 125 rows; expected 45 in each"),
        (GOOD[: GOOD[:-1].rindex("\n") + 1], "holds 124 rows; expected 125: it was altered"),
        (GOOD.replace(f",{GOOD.split(',')[1]},", ",,", 1), "cannot be read as 45 columns of numbers: "),
        (GOOD.replace(",", ",x", 1), "cannot be read as 45 columns of numbers"),
        ("", "cannot be read as 45 columns"),
    ],
    ids=["cut off", "a row too few", "a value too few", "text", "empty"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    (official / "data" / "a01" / "p1" / "s02.txt").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "a01/p1/s02.txt" in str(caught.value)


def test_missing_files_and_unknown_activities_are_named(official: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"DSADS not found in .*data/a<01\.\.19>.*; found nothing"):
        DATASET.listed(tmp_path / "empty")
    (official / "data" / "a12").rename(official / "data" / "a20")
    with pytest.raises(ValueError, match=r"a20/p1/s01\.txt': unknown activity 20; expected 1 to 19"):
        DATASET.listed(official)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "dsads", placement="all"))


def test_the_official_files_are_all_there(real: list[Recording]) -> None:
    assert Counter((recording.subject, recording.placement) for recording in real) == {
        (str(person), placement): 19 for person in range(1, 9) for placement in UNITS
    }
    assert {recording.spans[0].label for recording in real} == set(ACTIVITIES.values())
    assert {recording.seconds % 5 for recording in real} == {0.0}


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    still = [r.signal for r in real if r.spans[0].label in ("sitting", "standing", "lying on back")]
    sizes = [np.median(np.linalg.norm(signal[:, :3], axis=1)) for signal in still]
    assert abs(np.median(sizes) - 1) < 0.02  # g
    assert np.percentile([np.abs(signal[:, 3:]).max() for signal in still], 50) < 2  # rad/s, people at rest
    running = [r.signal for r in real if r.spans[0].label == "running on a treadmill" and "leg" in r.placement]
    assert 1 < np.percentile(np.abs(np.concatenate(running)[:, 3:]), 95) < 20  # a leg's swing in rad/s
