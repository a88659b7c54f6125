"""UCI HAR: a small official layout made here, its windows cut from known signals, and ways for it to be wrong."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets.ucihar import ACTIVITIES, DATASET

SIGNALS = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz"]
RUNS = {  # split: (person, activity of each window) of each run of overlapping windows
    "train": [(1, [5, 5, 4]), (1, [1]), (3, [6, 6])],
    "test": [(2, [2, 2]), (24, [3])],
}


def signal(split: str, run: int) -> np.ndarray:
    """(time, 6): what the windows of a run were cut from."""
    steps = 64 * (len(RUNS[split][run][1]) + 1)
    return np.random.default_rng([len(split), run]).normal(size=(steps, 6)).round(7)


def text(rows: np.ndarray) -> str:
    return "".join("  " + " ".join(f"{value:.7e}" for value in row) + "\n" for row in rows.tolist())


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for split, runs in RUNS.items():
        folder = root / "UCI HAR Dataset" / split / "Inertial Signals"
        folder.mkdir(parents=True)
        windows = np.stack(
            [
                signal(split, run)[64 * k : 64 * k + 128]
                for run, (_, labels) in enumerate(runs)
                for k in range(len(labels))
            ]
        )
        for channel, name in enumerate(SIGNALS):
            (folder / f"{name}_{split}.txt").write_text(text(windows[:, :, channel]))
        (folder / f"body_acc_x_{split}.txt").write_text("never read\n")
        people = [person for person, labels in runs for _ in labels]
        (folder.parent / f"subject_{split}.txt").write_text("".join(f"{person}\n" for person in people))
        activities = [activity for _, labels in runs for activity in labels]
        (folder.parent / f"y_{split}.txt").write_text("".join(f"{activity}\n" for activity in activities))
    return root


def test_windows_are_put_back_together_without_repeats(official: Path) -> None:
    recordings = list(DATASET.read(official))
    assert [recording.name for recording in recordings] == [
        "train/subject1/window0",
        "train/subject1/window3",
        "train/subject3/window4",
        "test/subject2/window0",
        "test/subject24/window2",
    ]
    runs = [(split, run) for split in ("train", "test") for run in range(len(RUNS[split]))]
    for recording, (split, run) in zip(recordings, runs, strict=True):
        np.testing.assert_allclose(recording.signal, signal(split, run), atol=1e-6)
        assert (recording.subject, recording.placement) == (str(RUNS[split][run][0]), "waist")
        assert (recording.rate_hz, recording.channels) == (50.0, DATASET.channels)
    assert recordings[0].spans == ((0, 3.84, "standing"), (3.84, 5.12, "sitting"))
    assert recordings[1].spans == ((0, 2.56, "walking"),)
    assert recordings[2].spans == ((0, 3.84, "laying"),)
    assert DATASET.classes == tuple(ACTIVITIES.values())


def test_a_window_of_another_person_never_continues_a_run(official: Path) -> None:
    (official / "UCI HAR Dataset" / "train" / "subject_train.txt").write_text("1\n1\n7\n1\n3\n3\n")
    first, second, *_ = (pickle.loads(pickle.dumps(DATASET.listed(official)[0]))).read()
    assert (first.name, second.name) == ("train/subject1/window0", "train/subject7/window2")
    np.testing.assert_allclose(second.signal, signal("train", 0)[128:], atol=1e-6)


@pytest.mark.parametrize("name", [SIGNALS[0], SIGNALS[5]])
def test_every_signal_has_to_overlap(official: Path, name: str) -> None:
    path = official / "UCI HAR Dataset" / "train" / "Inertial Signals" / f"{name}_train.txt"
    rows = np.loadtxt(path)
    rows[1, 63] += 1e-4
    path.write_text(text(rows))
    assert next(DATASET.read(official)).seconds == 2.56


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "UCI HAR Dataset"), "zip", official))
    for source in (made, made.parent, official / "UCI HAR Dataset"):
        for recording, values in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, values)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("Inertial Signals/total_acc_y_train.txt", lambda t: t[:-20], "holds 76[67] values in 6 rows; expected 128"),
        ("Inertial Signals/body_gyro_z_train.txt", lambda t: t[: t.rindex("\n", 0, -1) + 1], r"\[5, 6\] windows"),
        ("Inertial Signals/body_gyro_z_train.txt", lambda t: "", "cannot be read as 128 columns"),
        (
            "Inertial Signals/total_acc_x_train.txt",
            lambda t: "nan" + t[t.index(" ", 3) :],
            "train/subject1/window0': time step 0",
        ),
        ("y_train.txt", lambda t: t.replace("4", "7"), "has the label 7; expected one of 1, 2, 3"),
        ("subject_train.txt", lambda t: t.replace("3", "31"), "has the label 31; expected one of 1, 2"),
        ("subject_train.txt", lambda t: t.replace("3", "three"), "cannot be read as 1 columns"),
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, file: str, change, message: str) -> None:
    path = official / "UCI HAR Dataset" / "train" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        list(DATASET.read(official))
    assert "train" in str(caught.value)


def test_missing_files_are_named(official: Path, tmp_path: Path) -> None:
    (official / "UCI HAR Dataset" / "test" / "y_test.txt").unlink()
    (official / "UCI HAR Dataset" / "train" / "Inertial Signals" / "body_gyro_y_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks body_gyro_y_train\.txt, y_test\.txt; expected UCI HAR Dataset"):
        DATASET.listed(official)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(FileNotFoundError, match=r"UCI HAR not found in .*; found nothing"):
        DATASET.listed(tmp_path / "elsewhere")
