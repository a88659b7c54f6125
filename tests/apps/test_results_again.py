"""A folder that holds Otolith's own results is read a second time as it was the first: results are no recordings."""

from pathlib import Path

import pandas as pd
import pytest

from motion import motion, save, table
from otolith.apps.adapt.spans import gather
from otolith.apps.label import label_recordings
from otolith.classifiers.baselines import ForestClassifier
from otolith.data.windows import SignalSpec, Windows
from otolith.datasets import own
from otolith.formats import read_sessions

NAMES = ("14", "3", "4", "anna.left", "day/3")


@pytest.fixture(scope="module")
def model() -> ForestClassifier:
    _, acc, _ = motion(80)
    windows = Windows.from_arrays(
        acc.reshape(-1, 100, 3).transpose(0, 2, 1), rate_hz=50, channels="acc", y=["a", "b"] * 20, subjects=["1"] * 40
    )
    return ForestClassifier().fit(windows)


@pytest.fixture
def folder(tmp_path: Path, model: ForestClassifier) -> Path:
    """Five recordings, and their results next to them."""
    for number, name in enumerate(NAMES):
        time, acc, _ = motion(12, seed=number)
        save(tmp_path / f"{name}.csv", table(time, acc))
    assert len(list(label_recordings(model, [tmp_path]))) == 5
    (tmp_path / "estimate.csv").write_text("fold,candidate,people,n_train,n_test,macro_f1\n0,encoder,1,9,9,0.5\n")
    return tmp_path


def test_label_reads_a_folder_twice(folder, model) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = list(label_recordings(model, [folder]))
    assert [one.session.name for one in again] == list(NAMES)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    every = sorted(path for path in folder.iterdir() if path.suffix == ".csv")
    assert len(list(label_recordings(model, every))) == 4, "as `label *.csv` names them"


@pytest.mark.parametrize("name", ["3.timeline.csv", "3.summary.csv", "estimate.csv"])
def test_a_result_that_is_given_alone_is_refused(folder, name) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' is a result of Otolith"):
        read_sessions([folder / name])


def test_a_recording_of_such_a_name_is_read(tmp_path) -> None:
    time, acc, _ = motion(12)
    save(tmp_path / "my.timeline.csv", table(time, acc))
    assert [one.name for one in read_sessions([tmp_path])] == ["my.timeline"]


@pytest.mark.parametrize("end", ["", ".csv"])
def test_labels_find_the_recording_and_not_its_results(folder, end) -> None:
    lines = [
        f"{name}{end},{start},{start + 5},{label},{name}" for name in NAMES for start, label in ((0, "a"), (6, "b"))
    ]
    labels = folder / "labels.csv"
    labels.write_text("\n".join(["recording,start,end,label,person", *lines]) + "\n")
    material = gather(folder, labels, SignalSpec(50.0, ("acc_x", "acc_y", "acc_z"), 2.0))
    assert sorted(material.windows.subject_names) == sorted(NAMES) and material.counts["people"].tolist() == [5, 5]
    assert not any("without labels" in note for note in material.notes), "results are no recordings without labels"
    parts = own.parts(folder, "own", "accelerometer", labels=labels)
    assert [part.name for part in parts] == list(NAMES)
    assert all(len(next(iter(part.read())).spans) == 2 for part in parts)


@pytest.mark.parametrize("said", ["anna", "3-2", "3.timeline", "15", "day"])
def test_a_recording_that_is_not_there_is_not_guessed(folder, said) -> None:
    (folder / "labels.csv").write_text(f"recording,start,end,label\n3,0,5,a\n{said},0,5,b\n")
    with pytest.raises(ValueError, match=rf"line 3: no recording '{said}'"):
        gather(folder, folder / "labels.csv", SignalSpec(50.0, ("acc_x", "acc_y", "acc_z"), 2.0))


def test_a_session_is_named_by_its_number(tmp_path) -> None:
    time, acc, _ = motion(12)
    frame = pd.concat([table(time, acc), table(time, acc)])
    save(tmp_path / "rec" / "3.csv", frame)
    (tmp_path / "labels.csv").write_text("recording,start,end,label,person\n3,0,5,a,x\n3-2,0,5,b,x\n")
    contract = SignalSpec(50.0, ("acc_x", "acc_y", "acc_z"), 2.0)
    assert gather(tmp_path / "rec", tmp_path / "labels.csv", contract).counts["windows"].tolist() == [4, 4]
    (tmp_path / "labels.csv").write_text("recording,start,end,label,person\n3,0,5,a,x\n3-3,0,5,b,x\n")
    with pytest.raises(ValueError, match=r"line 3: no recording '3-3'; '3' has the sessions 3, 3-2"):
        gather(tmp_path / "rec", tmp_path / "labels.csv", contract)
