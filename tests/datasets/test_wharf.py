"""WHARF: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets import DATASETS
from otolith.datasets.wharf import DATASET, GESTURES

PEOPLE = ("f1", "f2", "m1", "m11")
FOLDERS = tuple(gesture.capitalize() for gesture in GESTURES)


def codes(person: str, folder: str) -> np.ndarray:
    seed = [PEOPLE.index(person), FOLDERS.index(folder)]
    table = np.random.default_rng(seed).integers(0, 64, size=(40 + sum(seed), 3))
    table[0] = 0, 63, 21
    return table


def text(table: np.ndarray) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in table.tolist())


def trial(root: Path, person: str, folder: str) -> Path:
    name = f"Accelerometer-2011-04-11-13-28-18-{folder.lower()}-{person}.txt"
    return root / "WHARF Data Set" / "Data" / folder / name


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for person in PEOPLE:
        for folder in FOLDERS:
            path = trial(root, person, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(codes(person, folder)))
    models = root / "WHARF Data Set" / "Data" / "MODELS"
    for folder in ("Walk_MODEL", "Walk_sMODEL", "Walk"):
        (models / folder).mkdir(parents=True)
        (models / folder / "Accelerometer-2011-06-02-17-21-57-walk-m1.txt").write_text("1 2 3\n")
    (root / "MANUAL.txt").write_text("WHARF Data Set User Manual\n")
    (root / "WHARF Data Set" / "displayTrial.m").write_text("function displayTrial\n")
    return root


def test_the_official_layout_is_read_without_the_models(official: Path) -> None:
    assert [part.name for part in DATASET.listed(official)] == list(PEOPLE)
    recordings = list(DATASET.read(official))
    expected = [(person, folder) for person in PEOPLE for folder in FOLDERS]
    assert [r.name for r in recordings] == [f"{f.lower()}/2011-04-11-13-28-18-{p}" for p, f in expected]
    for recording, (person, folder) in zip(recordings, expected, strict=True):
        np.testing.assert_allclose(recording.signal, -1.5 + 3 * codes(person, folder) / 63, atol=1e-6)
        np.testing.assert_allclose(recording.signal[0], [-1.5, 1.5, -0.5], atol=1e-6)
        assert recording.channels == ("acc_x", "acc_y", "acc_z")
        assert (recording.subject, recording.placement, recording.rate_hz) == (person, "wrist", 32.0)
        assert recording.spans == ((0.0, len(recording.signal) / 32, GESTURES[folder.lower()]),)


def test_people_are_in_the_order_of_their_numbers(official: Path) -> None:
    for person in ("m9", "m2"):
        shutil.copy(trial(official, "m1", "Walk"), trial(official, person, "Walk"))
    assert [part.name for part in DATASET.listed(official)] == ["f1", "f2", "m1", "m2", "m9", "m11"]


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "WHARF_Data"), "zip", official))
    for source in (made, made.parent, official / "WHARF Data Set" / "Data"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2 3\n1 64 3\n", r"values 1 \.\. 64; expected integers 0 \.\. 63"),
        ("1 2 3\n1 2 -1\n", r"values -1 \.\. 3; expected integers"),
        ("1 2 3\n1 2.5 3\n", r"values 1 \.\. 3; expected integers"),
        ("1 2 3\n1 nan 3\n", "expected integers"),
        ("1 2 3\n1 2\n", "holds 5 values in 2 rows; expected 3 in each"),
        ("1 2 3 4\n1 2 3 4\n", "holds 8 values in 2 rows; expected 3 in each"),
        ("1 2 3\n1 two 3\n", "cannot be read as 3 columns of numbers: .*two"),
        ("", "cannot be read as 3 columns of numbers"),
    ],
    ids=["too large", "negative", "a fraction", "NaN", "cut off", "four columns", "text", "empty"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    trial(official, "f1", "Walk").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(DATASET.read(official))
    assert "18-walk-f1.txt" in str(caught.value)


def test_an_unknown_gesture_and_one_in_anothers_folder_are_refused(official: Path) -> None:
    wrong = trial(official, "f1", "Walk").rename(
        trial(official, "f1", "Eat_soup").parent / "Accelerometer-1-walk-f1.txt"
    )
    with pytest.raises(
        ValueError, match=r"gesture 'walk' in folder 'Eat_soup'; expected one of brush_teeth, .* folder"
    ):
        DATASET.listed(official)
    (official / "Fly").mkdir()
    wrong.rename(official / "Fly" / "Accelerometer-2011-04-11-13-28-18-fly-f1.txt")
    with pytest.raises(ValueError, match="gesture 'fly' in folder 'Fly'"):
        DATASET.listed(official)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"WHARF needs its official files: WHARF\*\.zip or"):
        DATASET.listed(None)
    with pytest.raises(FileNotFoundError, match=r"WHARF not found in .*found nothing; pass --source"):
        DATASET.listed(tmp_path)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "wharf"))


def test_the_official_files_are_all_there(real: list[Recording]) -> None:
    assert len({recording.name for recording in real}) == len(real) == 892
    assert sum(len(recording.signal) for recording in real) == 452_381
    assert list(dict.fromkeys(r.subject for r in real)) == [
        *(f"f{n}" for n in range(1, 7)),
        *(f"m{n}" for n in range(1, 12)),
    ]
    trials = Counter(span.label for recording in real for span in recording.spans)
    assert trials == {
        "stand up from chair": 112,
        "climb stairs": 112,
        "drink glass": 115,
        "sit down on chair": 109,
        "get up from bed": 101,
        "pour water": 100,
        "walk": 100,
        "descend stairs": 51,
        "comb hair": 31,
        "lie down on bed": 28,
        "use telephone": 13,
        "brush teeth": 12,
        "eat meat": 5,
        "eat soup": 3,
    }
    assert set(trials) == set(DATASETS["wharf"].classes)


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    signal = np.concatenate([recording.signal for recording in real])
    assert abs(np.median(np.linalg.norm(signal, axis=1)) - 1) < 0.03  # g
    assert (signal.min(), signal.max()) == (-1.5, 1.5)
    assert Counter(recording.subject for recording in real)["f1"] == 347
    by_name = {recording.name: recording.signal for recording in real}
    np.testing.assert_array_equal(
        by_name["descend_stairs/2014-03-30-10-13-39-f6"], by_name["descend_stairs/2014-03-30-10-25-12-f6"]
    )
