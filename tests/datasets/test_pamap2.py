"""PAMAP2: a small official layout made here, ways for it to be wrong, and the published hashes."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets.pamap2 import BYTES, DATASET, OPTIONAL, PROTOCOL, SHA256

FILES = {"Protocol/subject101": [0, 1, 24, 0, 5], "Protocol/subject109": [24], "Optional/subject101": [0, 9, 20]}
RUN = 200  # rows a label
COLUMN = {"wrist": 3, "chest": 20, "ankle": 37}


def values(file: str) -> np.ndarray:
    """(rows, 54) as the official columns; nothing is missing yet."""
    labels = np.repeat(FILES[file], RUN)
    table = np.random.default_rng([len(labels), ord(file[0])]).normal(size=(len(labels), 54)).round(4)
    table[:, 0], table[:, 1] = np.round(5.64 + np.arange(len(labels)) / 100, 2), labels
    table[:, 2] = np.where(np.arange(len(labels)) % 11, np.nan, 100)  # heart rate comes at 9 Hz
    return table


def text(table: np.ndarray) -> str:
    lines = [
        " ".join("NaN" if np.isnan(v) else repr(int(v) if v == int(v) else v) for v in row) for row in table.tolist()
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for file in FILES:
        path = root / "PAMAP2_Dataset" / f"{file}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(values(file)))
    (root / "PAMAP2_Dataset" / "readme.pdf").touch()
    (root / "PAMAP2_Dataset" / "Protocol" / "subject110.dat").write_text("of nobody\n")
    return root


def test_each_placement_is_read_from_its_columns_in_g_and_radians(official: Path) -> None:
    raw = values("Protocol/subject101")
    for placement, first in COLUMN.items():
        recording, nine = DATASET.read(official, placement=placement)
        np.testing.assert_allclose(recording.signal[:, :3], raw[:, first + 1 : first + 4] / 9.80665, atol=1e-6)
        np.testing.assert_allclose(recording.signal[:, 3:], raw[:, first + 7 : first + 10], atol=1e-5)
        assert (recording.placement, recording.subject, recording.rate_hz) == (placement, "101", 100.0)
        assert (recording.name, nine.name) == ("protocol/subject101/0", "protocol/subject109/0")
        assert recording.channels == DATASET.channels
        assert recording.spans == ((2, 4, "lying"), (4, 6, "rope jumping"), (8, 10, "running"))
    assert next(DATASET.read(official)).placement == "wrist"


def test_subsets_are_the_official_folders_and_their_people_the_same(official: Path) -> None:
    parts = {subset: DATASET.listed(official, subset=subset) for subset in DATASET.subsets}
    assert [part.name for part in parts["protocol"]] == ["protocol/subject101", "protocol/subject109"]
    assert [part.name for part in parts["optional"]] == ["optional/subject101"]
    assert [part.name for part in parts["both"]] == [part.name for part in parts["protocol"] + parts["optional"]]
    (recording,) = pickle.loads(pickle.dumps(parts["optional"][0])).read()
    assert recording.subject == "101"
    assert recording.spans == ((2, 4, "watching TV"), (4, 6, "playing soccer"))
    assert DATASET.classes == tuple(PROTOCOL.values()) and len(PROTOCOL | OPTIONAL) == 18
    shutil.rmtree(official / "PAMAP2_Dataset" / "Optional")
    with pytest.raises(
        FileNotFoundError, match=r"no file of the subset 'optional'; found Protocol/subject101\.dat, Prot"
    ):
        DATASET.listed(official, subset="optional")


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "PAMAP2_Dataset"), "zip", official))
    for source in (made, made.parent, official / "PAMAP2_Dataset"):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def test_short_losses_are_bridged_and_long_ones_cut_for_the_placement_read_alone(official: Path) -> None:
    table = values("Protocol/subject101")
    table[300:310, 3:20] = np.nan  # 0.11 s from whole row to whole row
    table[600:660, 3:20] = np.nan  # 0.61 s
    (official / "PAMAP2_Dataset" / "Protocol" / "subject101.dat").write_text(text(table))
    first, second, _ = DATASET.read(official)
    assert (first.name, second.name) == ("protocol/subject101/0", "protocol/subject101/1")
    assert (len(first.signal), len(second.signal)) == (600, 340)
    np.testing.assert_allclose(second.signal[0, 3:], table[660, 10:13], atol=1e-5)
    line = np.linspace(table[299, 4:7], table[310, 4:7], 12) / 9.80665
    np.testing.assert_allclose(first.signal[299:311, :3], line, atol=1e-5)
    assert first.spans == ((2, 4, "lying"), (4, 6, "rope jumping")) and second.spans == ((1.4, 3.4, "running"),)
    (ankle, _) = DATASET.read(official, placement="ankle")
    assert len(ankle.signal) == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: t.rindex(" ")], r"subject101\.dat' .* holds 53,999 values in 1,000 rows.*141,698,539 bytes\)"),
        (lambda t: t[: len(t) // 2 - 200], r"expected 54 in each: it was truncated"),
        (lambda t: t.replace(" 24 ", " 8 "), r"subject101\.dat' has the label 8; expected one of 0, 1, 2"),
        (lambda t: t.replace(" 24 ", " soon "), "cannot be read as 54 columns of numbers: .*soon"),
        (lambda t: "", "cannot be read as 54 columns of numbers"),
        (lambda t: text(np.full((10, 54), np.nan)), "has the label nan"),
        (lambda t: text(np.where(np.arange(54) < 3, 1.0, np.full((10, 54), np.nan))), "holds no row with a time stamp"),
        (lambda t: text(values("Protocol/subject101")[:, :20]), "cannot be read|holds 20,000 values in 1,000 rows"),
    ],
    ids=["last value", "half", "label", "text", "empty", "all NaN", "no signal", "one sensor"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, change, message: str) -> None:
    path = official / "PAMAP2_Dataset" / "Protocol" / "subject101.dat"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        list(DATASET.read(official))
    assert "subject101" in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"PAMAP2 not found in .*expected PAMAP2_Dataset\.zip or Protocol/"):
        DATASET.listed(tmp_path)
    with pytest.raises(FileNotFoundError, match="PAMAP2 needs its official files"):
        DATASET.listed(None)


def test_sizes_and_hashes_are_those_published(shared_data: Path) -> None:
    lines = (shared_data / "pamap2" / "OFFICIAL_SHA256SUMS.txt").read_text().splitlines()
    published = [line.split() for line in lines]
    assert {name: digest for digest, name, _ in published} == SHA256
    assert {name: int(size) for _, name, size in published} == BYTES
