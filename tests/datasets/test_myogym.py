"""MyoGym: a small file in the official layout made here, packets and repeats included, and ways for it to be wrong."""

import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from otolith.datasets.myogym import DATASET, EXERCISES

STEPS = 120  # packets of motion a person
LABELS = np.repeat([99, 7, 30], STEPS // 3)


def motion(person: int) -> tuple[np.ndarray, np.ndarray]:
    """(time,) microseconds and (time, 6) as the armband sent them: g and deg/s."""
    random = np.random.default_rng(person)
    return 1_000_000_000 * person + 20_000 * np.arange(STEPS), random.normal(size=(STEPS, 6)).round(3)


def rows() -> tuple[np.ndarray, np.ndarray]:
    """(rows, 17) and (rows, 2) as published: a row a packet of EMG or motion, people out of order, some rows late."""
    values, labels = [], []
    for person in (2, 1, 10):
        clock, signal = motion(person)
        table = np.zeros((STEPS, 17))
        table[:, 0] = clock + 3_000
        table[:, 1:9] = np.random.default_rng(person + 100).integers(-128, 128, size=(STEPS, 8))
        table[:, 9], table[:, 13] = clock, clock
        table[:, 10:13], table[:, 14:17] = signal[:, :3], signal[:, 3:]
        again = np.sort(np.append(np.arange(STEPS), np.arange(0, STEPS, 5)))  # repeats: EMG came, motion did not
        again[[10, 11]] = again[[11, 10]]
        table, label = table[again], LABELS[again]
        table[again == 0, 9:] = 0  # before the first packet of motion
        values.append(table)
        labels.append(np.stack([label, np.full(len(label), person)], axis=1))
    return np.concatenate(values), np.concatenate(labels).astype(np.uint8)


def write(path: Path, **arrays: object) -> Path:
    values, labels = rows()
    content = {"raw_data": values, "raw_data_labels": labels, "features_acc": np.ones((4, 3)), **arrays}
    savemat(path, {key: value for key, value in content.items() if value is not None}, do_compression=True)
    return path


@pytest.fixture
def official(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return write(tmp_path / "data" / "MyoGym.mat").parent


def test_packets_are_put_in_order_without_repeats_in_g_and_radians(official: Path) -> None:
    recordings = list(DATASET.read(official))
    assert [recording.name for recording in recordings] == ["person1/0", "person2/0", "person10/0"]
    for recording, person in zip(recordings, (1, 2, 10), strict=True):
        _, signal = motion(person)
        assert len(recording.signal) == STEPS - 1  # the first packet never came
        np.testing.assert_allclose(recording.signal[:, :3], signal[1:, :3], atol=1e-5)
        np.testing.assert_allclose(recording.signal[:, 3:], np.deg2rad(signal[1:, 3:]), atol=1e-5)
        assert (recording.subject, recording.placement, recording.rate_hz) == (str(person), "forearm", 50.0)
        assert recording.channels == DATASET.channels
        assert [span.label for span in recording.spans] == ["null", "bench press", "lying rear delt raise"]
        np.testing.assert_allclose([span.stop_s for span in recording.spans], [0.78, 1.58, 2.38])


def test_null_is_unlabelled_where_asked_for(official: Path) -> None:
    (part,) = DATASET.listed(official, subset="activities")
    recording = next(pickle.loads(pickle.dumps(part)).read())
    assert [(round(span.start_s, 2), span.label) for span in recording.spans] == [
        (0.78, "bench press"),
        (1.58, "lying rear delt raise"),
    ]
    assert DATASET.classes == (*EXERCISES.values(), "null") and list(EXERCISES) == list(range(1, 31))


def test_the_file_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "MyoGym"), "zip", official))
    for source in (official / "MyoGym.mat", made, made.parent, official.parent):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def test_a_long_pause_begins_a_new_recording(official: Path) -> None:
    values, _ = rows()
    late = values[:, 9] > 1_001_000_000
    late &= values[:, 9] < 1_900_000_000
    values[late, 9] += 600_000
    write(official / "MyoGym.mat", raw_data=values)
    first, second, *_ = DATASET.read(official)
    assert [first.name, second.name, first.subject, second.subject] == ["person1/0", "person1/1", "1", "1"]
    assert (len(first.signal), len(second.signal)) == (50, 69)


VALUES, NUMBERS = rows()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"raw_data": None}, "its raw_data is missing or not of numbers, expected numbers"),
        ({"raw_data": VALUES[:, :16]}, r"its raw_data is \(\d+, 16\), expected numbers \(rows, 17\)"),
        ({"raw_data": VALUES[:-1]}, r"it has 431 rows but 432 labels"),
        ({"raw_data": VALUES.astype(object)}, "its raw_data is missing or not of numbers"),
        ({"raw_data_labels": "walking"}, "its raw_data_labels is missing or not of numbers"),
        ({"raw_data_labels": np.where(NUMBERS == 7, 31, NUMBERS)}, "has the label 31; expected one of 1, 2"),
        ({"raw_data_labels": np.where(NUMBERS == 10, 11, NUMBERS)}, "has the label 11; expected one of 1, 2"),
        ({"raw_data": np.full_like(VALUES, np.nan)}, "'person1' holds no row"),
    ],
    ids=["absent", "16 columns", "lengths", "objects", "text", "exercise", "person", "NaN"],
)
def test_another_file_is_refused(official: Path, arrays: dict[str, object], message: str) -> None:
    write(official / "MyoGym.mat", **arrays)
    with pytest.raises(ValueError, match=message):
        list(DATASET.read(official))


def absurd(data: bytes) -> bytes:
    """The header of the first matrix claims 2^31 - 1 rows; its content stays."""
    (size,) = struct.unpack("<I", data[132:136])
    body = bytearray(zlib.decompress(data[136 : 136 + size]))
    body[32:36] = struct.pack("<i", 2**31 - 1)
    packed = zlib.compress(bytes(body))
    return data[:132] + struct.pack("<I", len(packed)) + packed + data[136 + size :]


@pytest.mark.parametrize(
    "change",
    [lambda d: d[: len(d) // 2], lambda d: d[:100], lambda d: b"", lambda d: b"\x00" * 4096, absurd],
    ids=["half", "part of the header", "empty", "zero bytes", "absurd size"],
)
def test_a_damaged_file_is_refused_by_name(official: Path, change) -> None:
    path = official / "MyoGym.mat"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"'MyoGym\.mat' cannot be read as a MATLAB 5 file: .*; download it again"):
        list(DATASET.read(official))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"MyoGym not found in .*: expected MyoGym\.mat; found nothing"):
        DATASET.listed(tmp_path)
