"""MotionSense: a small official layout made here, ways for it to be wrong, and the official files where they are."""

import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets import DATASETS
from otolith.datasets.motionsense import ACTIVITIES, DATASET

KINDS = ("attitude.roll", "attitude.pitch", "attitude.yaw", "gravity", "rotationRate", "userAcceleration")
HEADER = ["", *KINDS[:3], *(f"{kind}.{axis}" for kind in KINDS[3:] for axis in "xyz")]
TRIALS = {"dws": (1, 2, 11), "ups": (3, 4, 12), "wlk": (7, 8, 15), "jog": (9, 16), "std": (6, 14), "sit": (5, 13)}
PEOPLE = (1, 2, 10)
STEPS = 20


def numbers(person: int, trial: int) -> np.ndarray:
    """(time, 12) as the header has them; sub_1's two sitting trials are the same file, as in the public release."""
    return np.random.default_rng([person, 5 if (person, trial) == (1, 13) else trial]).normal(size=(STEPS, 12))


def table(values: np.ndarray, header: list[str] = HEADER) -> str:
    lines = [",".join(header)]
    lines += [",".join([str(step), *map(repr, row)]) for step, row in enumerate(values.tolist())]
    return "\n".join(lines) + "\n"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder laid out as the official one, with what surrounds it in the wild."""
    root = tmp_path / "data"
    files = {
        f"A_DeviceMotion_data/{act}_{trial}/sub_{person}.csv": table(numbers(person, trial))
        for act, trials in TRIALS.items()
        for trial in trials
        for person in PEOPLE
    }
    files["data_subjects_info.csv"] = "\ufeffcode,weight,height,age,gender\n1,102,188,46,1\n"
    files["__MACOSX/A_DeviceMotion_data/dws_1/sub_1.csv"] = "resource fork"
    for person in PEOPLE[::-1]:
        for act, trials in TRIALS.items():
            raw = numbers(person, trials[0])[:, 9:]
            files[f"B_Accelerometer_data/{act}_{trials[0]}/sub_{person}.csv"] = table(raw, ["", *"xyz"])
    files["C_Gyroscope_data/dws_1/sub_1.csv"] = ",x,y,z\n0,1,2,3\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder.parent / "zipped" / "A_DeviceMotion_data"), "zip", folder))


@pytest.mark.parametrize(
    "source",
    [
        lambda root: root,
        lambda root: root / "A_DeviceMotion_data",
        zipped,
        lambda root: zipped(root).parent,
    ],
    ids=["folder above", "folder", "zip", "folder that holds the zip"],
)
def test_the_official_layout_is_read_in_order_with_units_and_labels(
    official: Path, source: Callable[[Path], Path]
) -> None:
    recordings = list(DATASET.read(source(official)))
    expected = [(p, act, trial) for p in PEOPLE for act in sorted(TRIALS) for trial in TRIALS[act]]
    assert [r.name for r in recordings] == [f"{act}_{trial}/sub_{person}" for person, act, trial in expected]
    for recording, (person, act, trial) in zip(recordings, expected, strict=True):
        raw = numbers(person, trial)  # attitude 0-2, gravity 3-5, rotation rate 6-8, user acceleration 9-11
        np.testing.assert_allclose(recording.signal[:, :3], raw[:, 3:6] + raw[:, 9:12], atol=1e-6)
        np.testing.assert_allclose(recording.signal[:, 3:], raw[:, 6:9], atol=1e-6)
        assert recording.subject == str(person)
        assert recording.spans == ((0.0, STEPS / 50, ACTIVITIES[act]),)
        assert (recording.rate_hz, recording.placement) == (50.0, "pocket")
        assert recording.channels == DATASETS["motionsense"].channels
    by_name = {recording.name: recording.signal for recording in recordings}
    np.testing.assert_array_equal(by_name["sit_5/sub_1"], by_name["sit_13/sub_1"])


@pytest.mark.parametrize(
    "source",
    [
        lambda root: root,
        lambda root: root / "B_Accelerometer_data",
        lambda root: zipped(root).parent,
        lambda root: (
            Path(shutil.copytree(root / "B_Accelerometer_data", root / "apart" / "B_Accelerometer_data")).parent
        ),
    ],
    ids=["folder above", "folder", "folder that holds a zip", "folder above it alone"],
)
def test_subset_b_is_the_accelerometer_alone(official: Path, source: Callable[[Path], Path]) -> None:
    recordings = list(DATASET.read(source(official), subset="B"))
    expected = [(p, act, TRIALS[act][0]) for p in PEOPLE for act in sorted(TRIALS)]
    assert [r.name for r in recordings] == [f"{act}_{trial}/sub_{person}" for person, act, trial in expected]
    for recording, (person, act, trial) in zip(recordings, expected, strict=True):
        np.testing.assert_allclose(recording.signal, numbers(person, trial)[:, 9:], atol=1e-6)
        assert recording.channels == ("acc_x", "acc_y", "acc_z")
        assert recording.spans == ((0.0, STEPS / 50, ACTIVITIES[act]),)


def test_the_wrong_folder_for_a_subset_is_refused(official: Path) -> None:
    with pytest.raises(ValueError, match=r"dws_1/sub_1\.csv' has 13 columns and lacks x, y, z"):
        next(DATASET.read(official / "A_DeviceMotion_data", subset="B"))
    shutil.rmtree(official / "B_Accelerometer_data")
    with pytest.raises(FileNotFoundError, match=r"MotionSense not found in .*\(B_Accelerometer_data for subset B\)"):
        DATASET.listed(official, subset="B")


def test_columns_are_found_by_name_in_any_order_and_behind_a_byte_order_mark(official: Path) -> None:
    path = official / "A_DeviceMotion_data" / "dws_1" / "sub_1.csv"
    order = [0, *np.random.default_rng(0).permutation(np.arange(1, 13)).tolist()]
    before = next(DATASET.read(official)).signal
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\ufeff" + "\n".join(",".join(line[i] for i in order) for line in lines), encoding="utf-8")
    np.testing.assert_array_equal(next(DATASET.read(official)).signal, before)


def test_a_reader_without_a_source_says_what_it_needs() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"needs its official files: A_DeviceMotion_data\.zip or .*--source DIR"
    ):
        next(DATASET.read(None))


def test_a_missing_folder_and_a_wrong_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at '.*absent'"):
        next(DATASET.read(tmp_path / "absent"))
    with pytest.raises(
        FileNotFoundError, match=r"expected A_DeviceMotion_data\.zip or .*; found nothing; pass --source"
    ):
        next(DATASET.read(tmp_path))
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"MotionSense not found in '.*'.*; found holiday\.jpg; pass --source"):
        next(DATASET.read(tmp_path))


GOOD = table(numbers(1, 1))
LINE = GOOD.splitlines()[7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(numbers(1, 1)[:, :9], HEADER[:10]), "has 10 columns and lacks userAcceleration.x, userAcceleration.y"),
        (table(numbers(1, 1)[:, :3], ["", "x", "y", "z"]), "has 4 columns and lacks gravity.x"),
        (GOOD.replace("\n", ",1\n").replace("z,1\n", "z\n"), "hold more values than its header names"),
        (GOOD.replace(LINE, LINE + ",1"), "cannot be read as numbers: .*Expected 13 fields in line 8, saw 14"),
        (GOOD.replace(LINE, LINE.replace("0.", "zero point ")), "cannot be read as numbers: .*zero point"),
        ("", "cannot be read as numbers: No columns"),
        ("\0\0\0\0" * 40, "cannot be read as numbers|lacks gravity.x"),
        (
            GOOD.replace(LINE, re.sub(r",[^,]+$", ",nan", LINE)),
            "recording 'dws_1/sub_1': time step 6 has a value that is not finite",
        ),
        (
            GOOD.replace(LINE, re.sub(r",[^,]+$", ",inf", LINE)),
            "recording 'dws_1/sub_1': time step 6 has a value that is not finite",
        ),
        (GOOD[: GOOD.rindex(",")], "recording 'dws_1/sub_1': time step 19 has a value that is not finite"),
        (",".join(HEADER) + "\n", "recording 'dws_1/sub_1': the signal has no time steps"),
    ],
    ids=[
        "three columns too few",
        "another folder's columns",
        "one value too many in every row",
        "one value too many in one row",
        "text",
        "empty",
        "zero bytes",
        "NaN",
        "inf",
        "cut off in the last row",
        "header alone",
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    (official / "A_DeviceMotion_data" / "dws_1" / "sub_1.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert "dws_1/sub_1" in str(caught.value)


def test_an_unknown_activity_is_refused_with_the_known_ones(official: Path) -> None:
    (official / "A_DeviceMotion_data" / "jog_9").rename(official / "A_DeviceMotion_data" / "fly_9")
    with pytest.raises(ValueError, match=r"fly_9/sub_1\.csv': unknown activity 'fly'; expected one of dws, ups, wlk"):
        list(DATASET.read(official))


def test_half_a_zip_is_refused(official: Path) -> None:
    path = zipped(official)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for source in (path, path.parent):
        with pytest.raises(ValueError, match=r"is not a complete zip file: .*; download it again"):
            next(DATASET.read(source))


def test_a_zip_with_a_hostile_name_is_refused_before_anything_is_read(official: Path, tmp_path: Path) -> None:
    path = zipped(official)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil/dws_1/sub_1.csv", GOOD)
    with pytest.raises(ValueError, match=r"'\.\./\.\./evil/dws_1/sub_1\.csv', which would leave its folder: refused"):
        next(DATASET.read(path))
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "motionsense"))


def test_the_official_files_are_all_there(real: list[Recording]) -> None:
    card = DATASETS["motionsense"]
    assert len(real) == len({recording.name for recording in real}) == 360
    assert Counter(recording.subject for recording in real) == {str(person): 15 for person in range(1, 25)}
    assert list(dict.fromkeys(recording.subject for recording in real)) == [str(person) for person in range(1, 25)]
    rows: Counter[str] = Counter()
    for recording in real:
        (span,) = recording.spans
        rows[span.label] += len(recording.signal)
        assert span.stop_s == recording.seconds
    assert rows == {
        "walking": 344_288,
        "sitting": 338_778,
        "standing": 306_427,
        "upstairs": 157_285,
        "jogging": 134_231,
        "downstairs": 131_856,
    }
    assert rows.total() == 1_412_865
    assert set(rows) == set(card.classes) and card.subjects == 24


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    by_name = {recording.name: recording.signal for recording in real}
    np.testing.assert_array_equal(by_name["sit_5/sub_1"], by_name["sit_13/sub_1"])
    assert [len(by_name[name]) for name in ("dws_11/sub_24", "ups_12/sub_13")] == [439, 377]
    signal = np.concatenate(list(by_name.values()))
    assert abs(np.median(np.linalg.norm(signal[:, :3], axis=1)) - 1) < 0.02  # g
    # The first row of dws_1/sub_1.csv, as it stands in the file: gravity + userAcceleration, rotationRate.
    first = [0.741895 + 0.294894, 0.669768 - 0.184493, -0.031672 + 0.377542, 0.316738, 0.77818, 1.082764]
    np.testing.assert_allclose(by_name["dws_1/sub_1"][0], first, rtol=1e-6)
