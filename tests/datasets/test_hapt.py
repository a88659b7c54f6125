"""HAPT: a small official layout made here, and ways for it to be wrong."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets.hapt import ACTIVITIES, DATASET, TRANSITIONS

EXPERIMENTS = ((1, 1), (2, 1), (61, 30))
STEPS = 400
LABELS = ((5, 11, 100), (7, 101, 150), (4, 151, 300), (12, 310, 400))  # activity, first and last time step from 1


def values(experiment: int) -> np.ndarray:
    return np.random.default_rng(experiment).normal(size=(STEPS, 6)).round(8)


def text(rows: np.ndarray) -> str:
    return "".join(" ".join(map(repr, row)) + " \n" for row in rows.tolist())


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "HAPT Data Set" / "RawData"
    folder.mkdir(parents=True)
    labels = []
    for experiment, user in EXPERIMENTS:
        for kind, columns in (("acc", slice(0, 3)), ("gyro", slice(3, 6))):
            (folder / f"{kind}_exp{experiment:02d}_user{user:02d}.txt").write_text(text(values(experiment)[:, columns]))
        labels += [f"{experiment} {user} {activity} {first} {last} " for activity, first, last in LABELS]
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    (folder.parent / "activity_labels.txt").write_text(" 1 WALKING           \n")
    return tmp_path / "data"


def test_experiments_are_read_in_order_with_labels_counted_from_one(official: Path) -> None:
    recordings = list(DATASET.read(official))
    assert [recording.name for recording in recordings] == ["exp01_user01", "exp02_user01", "exp61_user30"]
    for recording, (experiment, user) in zip(recordings, EXPERIMENTS, strict=True):
        np.testing.assert_allclose(recording.signal, values(experiment), atol=1e-6)
        assert (recording.subject, recording.placement, recording.rate_hz) == (str(user), "waist", 50.0)
        assert recording.channels == DATASET.channels
        assert recording.spans == ((0.2, 2.0, "standing"), (3.0, 6.0, "sitting"))


def test_transitions_are_classes_where_asked_for(official: Path) -> None:
    part = DATASET.listed(official, subset="with-transitions")[2]
    (recording,) = pickle.loads(pickle.dumps(part)).read()
    assert part.name == recording.name
    assert recording.spans == (
        (0.2, 2.0, "standing"),
        (2.0, 3.0, "stand to sit"),
        (3.0, 6.0, "sitting"),
        (6.18, 8.0, "lie to stand"),
    )
    assert list(ACTIVITIES | TRANSITIONS) == list(range(1, 13)) and DATASET.classes == tuple(ACTIVITIES.values())


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "hapt"), "zip", official))
    for source in (made, made.parent, official / "HAPT Data Set" / "RawData"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("acc", lambda t: t[:-30], "holds 1,19[89] values in 400 rows; expected 3"),
        ("gyro", lambda t: t[: t.index("\n", 5000) + 1], "has 400 rows and '.*gyro_exp01_user01.*one is truncated"),
        ("acc", lambda t: t.replace("-", "minus ", 1), "cannot be read|expected 3 in each"),
        ("gyro", lambda t: "nan" + t[t.index(" ") :], "recording 'exp01_user01': time step 0 has .*not finite"),
        ("labels", lambda t: t.replace(" 310 400", " 310 401", 1), r"labels time step 401, but '.*' has 400"),
        ("labels", lambda t: t.replace(" 11 100", " 0 100", 1), r"labels time step 400, but"),
        ("labels", lambda t: t.replace(" 11 100", " 11 10", 1), r"labels time step 400, but"),
        ("labels", lambda t: t.replace("1 1 5 ", "1 1 13 ", 1), "has the label 13; expected one of 1, 2"),
        ("labels", lambda t: t.replace("1 1 5 ", "1 2 5 ", 1), "has no labels of experiment 1 for user 1 only"),
        ("labels", lambda t: t[t.index("\n2 ") + 1 :], "has no labels of experiment 1 for user 1 only"),
        ("labels", lambda t: t.replace(" 400 ", "", 1), "holds 59 values in 12 rows; expected 5"),
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, file: str, change, message: str) -> None:
    name = "labels.txt" if file == "labels" else f"{file}_exp01_user01.txt"
    path = official / "HAPT Data Set" / "RawData" / name
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "exp01_user01" in str(caught.value) or "labels.txt" in str(caught.value)


@pytest.mark.parametrize("file", ["acc_exp02_user01.txt", "gyro_exp02_user01.txt", "labels.txt"])
def test_missing_files_are_named(official: Path, tmp_path: Path, file: str) -> None:
    (official / "HAPT Data Set" / "RawData" / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"holds experiment 0[12] but no {file}"):
        DATASET.listed(official)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(FileNotFoundError, match=r"HAPT not found in .*; found nothing"):
        DATASET.listed(tmp_path / "elsewhere")
