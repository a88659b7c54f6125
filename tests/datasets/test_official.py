"""What readers of official files share, each on its own."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets import DATASETS
from otolith.datasets.official import find, known_labels, named_numbers, numbers, spans, stamped_recordings

CARD = DATASETS["mhealth"]
PATTERN = re.compile(r"(?:^|/)part_(\d)\.txt$")


def test_files_are_found_in_a_folder_before_its_zip_files_and_never_among_resource_forks(tmp_path: Path) -> None:
    for name in ("b", "a"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("__MACOSX/part_9.txt", "")
            archive.writestr("other.txt" if name == "a" else "deep/part_1.txt", "")
    path, matches = find(tmp_path, CARD, PATTERN)
    assert path == tmp_path / "b.zip" and [match.string for match in matches] == ["deep/part_1.txt"]
    assert find(tmp_path / "b.zip", CARD, PATTERN)[0] == tmp_path / "b.zip"
    (tmp_path / "part_2.txt").touch()
    path, matches = find(tmp_path, CARD, PATTERN)
    assert path == tmp_path and [match[1] for match in matches] == ["2"]


def test_what_is_not_found_is_said_with_what_is_there(tmp_path: Path) -> None:
    message = r"MHEALTH needs its official files: mhealth.*; pass --download to get them, or --source DIR"
    with pytest.raises(FileNotFoundError, match=message):
        find(None, CARD, PATTERN)
    with pytest.raises(FileNotFoundError, match=r"MHEALTH not found in '.*': expected .*; found nothing; pass"):
        find(tmp_path, CARD, PATTERN)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("holiday.jpg", "")
    with pytest.raises(FileNotFoundError, match=r"found a\.zip, holiday\.jpg; pass --source with the folder"):
        find(tmp_path, CARD, PATTERN)
    (tmp_path / "a.zip").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"a\.zip' \(4 bytes\) is not a complete zip file"):
        find(tmp_path, CARD, PATTERN)


def test_a_table_is_read_with_spaces_or_tabs_in_the_order_asked_for() -> None:
    whole = numbers(b" 1  2.5 NaN\r\n\t-4\t5e1\t6\r\n", "t", 3)
    np.testing.assert_array_equal(whole, [[1, 2.5, np.nan], [-4, 50, 6]])
    np.testing.assert_array_equal(numbers(b"1 2 3\n4 5 6", "t", 3, [2, 0]), [[3, 1], [6, 4]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"'t' cannot be read as 3 columns of numbers: No columns"),
        (b"1 2 x\n", r"'t' cannot be read as 3 columns of numbers: .*'x'"),
        (b"1 2 3\n4 5 6 7\n", "cannot be read .*Expected 3 fields in line 2, saw 4"),
        (b"1 2 3\n4 5\n", r"'t' \(10 bytes\) holds 5 values in 2 rows; expected 3 in each: it was truncated"),
        (b"1 2 3\n4 5\n7 8 9\n", "holds 8 values in 3 rows"),
        (b"1 2 3 4\n5 6 7 8\n", "holds 8 values in 2 rows"),
        (b"1 2\n4 5\n", "holds 4 values in 2 rows"),
        (b'1 "2 3"\n4 5 6\n', "cannot be read as 3 columns"),
    ],
)
def test_a_table_that_is_none_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbers(data, "t", 3)


def test_columns_are_found_by_name() -> None:
    table = b"\xef\xbb\xbfid,b,a\n0,1.5,2\n1,,4\n"
    np.testing.assert_array_equal(named_numbers(table, "t", ["a", "b"]), [[2, 1.5], [4, np.nan]])
    with pytest.raises(ValueError, match="'t' has 3 columns and lacks c; it is not the official file"):
        named_numbers(table, "t", ["a", "c"])
    with pytest.raises(ValueError, match="the rows of 't' hold more values than its header names"):
        named_numbers(b"a,b\n1,2,3\n", "t", ["a"])
    with pytest.raises(ValueError, match=r"'t' cannot be read as numbers: .*two"):
        named_numbers(b"a\ntwo\n", "t", ["a"])


def test_labels_are_whole_numbers_the_corpus_knows() -> None:
    labels = known_labels(np.array([0.0, 2.0]), {0: "rest", 2: "walk"}, "t")
    assert labels.dtype == np.int64 and labels.tolist() == [0, 2]
    for strange in (1.0, 0.5, np.nan):
        with pytest.raises(ValueError, match=rf"'t' has the label {strange:g}; expected one of 0, 2"):
            known_labels(np.array([0.0, strange]), [0, 2], "t")


def test_runs_of_labels_become_spans() -> None:
    names = {1: "walk", 2: "run"}
    assert spans(np.array([1, 1, 0, 0, 2, 1]), names, 2.0) == ((0, 1, "walk"), (2, 2.5, "run"), (2.5, 3, "walk"))
    assert spans(np.array([0, 0]), names, 2.0) == ()
    assert spans(np.array([2]), names, 2.0) == ((0, 0.5, "run"),)


def test_stamped_rows_are_cut_at_gaps_and_labelled_by_the_nearest_row() -> None:
    steps = np.array([0, 1, 2, 3, 4, 30, 30.7, 32, 32.6])  # of a clock at 10 Hz; some are early or late
    time_s = 100 + steps / 10
    signal = np.stack([steps, -steps, steps], axis=1)
    signal[2] = np.nan  # bridged; its label counts all the same
    labels = np.array([1, 1, 2, 2, 2, 2, 0, 1, 2])
    shuffle = np.random.default_rng(0).permutation(10)
    values = [
        np.append(time_s, np.nan)[shuffle],  # a row without a stamp is no row
        np.concatenate([signal, np.ones((1, 3))])[shuffle],
        np.append(labels, 1)[shuffle],
    ]
    options = {"rate_hz": 10.0, "channels": ("acc_x", "acc_y", "acc_z"), "subject": "7", "placement": "wrist"}
    first, second = stamped_recordings("p", *values, {1: "walk", 2: "run"}, **options)
    assert (first.name, second.name) == ("p/0", "p/1")
    np.testing.assert_allclose(first.signal[:, 0], [0, 1, 2, 3, 4], atol=1e-4)
    np.testing.assert_allclose(second.signal[:, 1], [-30, -31, -32, -32.6], atol=1e-4)
    assert first.spans == ((0, 0.2, "walk"), (0.2, 0.5, "run"))
    assert second.spans == ((0, 0.1, "run"), (0.2, 0.3, "walk"), (0.3, 0.4, "run"))
    assert (second.subject, second.placement, second.rate_hz) == ("7", "wrist", 10.0)
    values[1][:, 1] = np.nan
    with pytest.raises(ValueError, match="'p' holds no row with a time stamp and a complete signal"):
        next(stamped_recordings("p", *values, {}, **options))


def test_of_rows_with_one_stamp_the_first_counts() -> None:
    time_s = np.tile(np.arange(50) / 10, 3)
    signal = np.repeat([[0.0], [5.0], [9.0]], 50, axis=0)
    options = {"rate_hz": 10.0, "channels": ("acc_x",), "subject": "7", "placement": "wrist"}
    (recording,) = stamped_recordings("p", time_s, signal, np.repeat([1, 2, 3], 50), {1: "walk"}, **options)
    assert (recording.signal == 0).all() and recording.spans == ((0, 5, "walk"),)
