"""Many recordings: in parallel, one after the other, and again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otolith.apps.label import ENDINGS, LabelOptions, label_files, survey_for
from otolith.apps.label.many import Done
from otolith.classifiers.baselines import ForestClassifier
from otolith.data.cutting import cut
from otolith.data.store import Store


@pytest.fixture(scope="module")
def model(store: Store) -> ForestClassifier:
    windows = cut(store, channels=["acc_x", "acc_y", "acc_z"])
    return ForestClassifier(trees=5).fit(windows[np.arange(0, len(windows), 9)])


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Path:
    """Three recordings, one of them in a folder of its own."""
    folder = tmp_path / "recordings"
    for number, name in enumerate(("anna/one", "anna/two", "ben")):
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        signal = store.signal(store.entries[number])[:, :3]
        pd.DataFrame(
            {"time": np.arange(len(signal)) / 50, "x": signal[:, 0], "y": signal[:, 1], "z": signal[:, 2]}
        ).to_csv(path, index=False)
    return folder


def ended(model: ForestClassifier, folder: Path, key: str = "a", jobs: int = 1, **how: bool) -> dict[str, Done]:
    found = survey_for(model, [folder])
    every = list(label_files(model, key, found, [folder], how=LabelOptions(**how), jobs=jobs))
    assert sorted(one.done for one in every) == [1, 2, 3] and {one.of for one in every} == {3}
    return {one.source: one for one in every}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".png", ".json"))
    }


def test_processes_give_what_one_gives(model: ForestClassifier, folder: Path) -> None:
    alone = ended(model, folder)
    first = contents(folder)
    for name in ("anna/one", "anna/two", "ben"):
        assert all((folder / f"{name}.{ending}").is_file() for ending in ENDINGS.values())
        (document,) = alone[name].recordings
        timeline = pd.read_csv(document["files"]["timeline"])
        assert [line["label"] for line in document["timeline"]] == timeline["label"].astype(str).tolist()
        assert json.loads((folder / f"{name}.label.json").read_text())["recordings"] == [document]
    several = ended(model, folder, key="b", jobs=2)
    assert not any(one.again for one in several.values())
    assert contents(folder) == first


def test_what_was_labelled_is_not_labelled_again(model: ForestClassifier, folder: Path) -> None:
    before = ended(model, folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = ended(model, folder)
    assert all(one.again and one.recordings == before[name].recordings for name, one in again.items())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps
    (folder / "ben.summary.csv").unlink()  # an incomplete result
    with (folder / "anna/one.csv").open("a") as file:  # a changed recording
        file.write("1000,0,0,1\n")
    assert {name: one.again for name, one in ended(model, folder).items()} == {
        "anna/one": False,
        "anna/two": True,
        "ben": False,
    }
    assert not any(one.again for one in ended(model, folder, smooth=False).values())
    assert not any(one.again for one in ended(model, folder, key="another model").values())
    (folder / "ben.label.json").write_text("{")
    assert not ended(model, folder, key="another model")["ben"].again


def test_one_bad_recording_keeps_the_others(model: ForestClassifier, folder: Path) -> None:
    table = pd.read_csv(folder / "ben.csv")
    table["time"] *= 10  # 5 Hz
    table.to_csv(folder / "ben.csv", index=False)
    found = ended(model, folder)
    assert "ben" in found["ben"].error and "5 Hz and the model was trained at 50 Hz" in found["ben"].error
    assert not found["ben"].recordings and not (folder / "ben.label.json").exists()
    assert found["anna/one"].recordings and found["anna/two"].recordings


def test_a_timeline_is_written_as_parquet_too(model: ForestClassifier, folder: Path) -> None:
    pytest.importorskip("pyarrow")
    (document,) = ended(model, folder, parquet=True)["ben"].recordings
    table = pd.read_parquet(document["files"]["parquet"])
    assert table["label"].tolist() == [line["label"] for line in document["timeline"]]
    assert len(survey_for(model, [folder]).sources) == 3, "results are no recordings"
