"""RealWorld (HAR): a small official layout made here, sessions and gaps included, and ways for it to be wrong."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets.realworld import ACTIVITIES, DATASET

START_MS = 1_436_000_000_000
STEPS = 100


def values(*key: int) -> np.ndarray:
    return np.random.default_rng(key).normal(size=(STEPS, 3)).round(5)


def write(root: Path, name: str, time_ms: np.ndarray, rows: np.ndarray) -> None:
    lines = ["id,attr_time,attr_x,attr_y,attr_z"]
    lines += [
        f"{i},{t:.0f},{x!r},{y!r},{z!r}" for i, (t, (x, y, z)) in enumerate(zip(time_ms, rows.tolist(), strict=True), 1)
    ]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")


CLOCK = START_MS + 20 * np.arange(STEPS)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Extracted, as the archives in the archive are named."""
    root = tmp_path / "data"
    for position in ("forearm", "waist"):
        for name in (f"acc_walking_csv/acc_walking_{position}", f"gyr_walking_csv/Gyroscope_walking_{position}"):
            write(root, f"proband1/data/{name}.csv", CLOCK, values(1, position == "waist", name[0] == "g"))
            write(root, f"proband10/data/{name}.csv", CLOCK, values(10, position == "waist", name[0] == "g"))
    for number, suffix in ((1, ""), (2, "_2")):  # climbing, interrupted
        acc = f"acc_climbingup_csv.zip/acc_climbingup_{number}_csv.zip/acc_climbingup{suffix}_forearm.csv"
        gyro = f"gyr_climbingup_csv.zip/gyr_climbingup{suffix}_csv.zip/Gyroscope_climbingup{suffix}_forearm.csv"
        write(root, f"proband4/data/{acc}", CLOCK, values(4, number, 0))
        write(root, f"proband4/data/{gyro}", CLOCK, values(4, number, 1))
    write(root, "proband4/data/acc_walking_csv/acc_walking_2_forearm.csv", CLOCK, values(4, 3, 0))
    write(root, "proband4/data/gyr_walking_csv/Gyroscope_walking_2_forearm.csv", CLOCK, values(4, 3, 1))
    write(root, "proband2/data/gyr_climbingup_csv/Gyroscope_climbingup_forearm.csv", CLOCK, values(2))  # alone
    (root / "proband1/data/acc_walking_csv/readMe").write_text("> entries: 100\n")
    write(root, "proband1/data/mag_walking_csv/MagneticField_walking_forearm.csv", CLOCK, values(3))
    return root


def test_sessions_are_read_in_order_with_units_and_labels(official: Path) -> None:
    recordings = list(DATASET.read(official))
    assert [recording.name for recording in recordings] == [
        "proband1/walking/1/0",
        "proband4/climbingup/1/0",
        "proband4/climbingup/2/0",
        "proband4/walking/2/0",
        "proband10/walking/1/0",
    ]
    keys = [(1, 0), (4, 1), (4, 2), (4, 3), (10, 0)]
    for recording, key in zip(recordings, keys, strict=True):
        np.testing.assert_allclose(recording.signal[:, :3], values(*key, 0) / 9.80665, atol=1e-6)
        np.testing.assert_allclose(recording.signal[:, 3:], values(*key, 1), atol=1e-5)
        assert (recording.subject, recording.placement, recording.rate_hz) == (str(key[0]), "forearm", 50.0)
        assert recording.channels == DATASET.channels
        label = ACTIVITIES[recording.name.split("/")[1]]
        assert recording.spans == ((0.0, 2.0, label),)
    assert recordings[1].spans[0].label == "climbing up"


def test_another_placement_is_another_file(official: Path) -> None:
    first, second = (pickle.loads(pickle.dumps(part)) for part in DATASET.listed(official, placement="waist"))
    assert (first.name, second.name) == ("proband1/walking/1", "proband10/walking/1")
    (recording,) = first.read()
    assert recording.placement == "waist"
    np.testing.assert_allclose(recording.signal[:, 3:], values(1, 1, 1), atol=1e-5)
    with pytest.raises(FileNotFoundError, match=r"holds no acc_<activity>_head\.csv; found proband1/data/acc_walking"):
        DATASET.listed(official, placement="head")


def test_a_zip_file_of_the_folder_is_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "realworld2016_dataset"), "zip", official))
    for source in (made, made.parent):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def test_the_gyroscope_is_laid_on_the_accelerometers_clock_where_both_ran(official: Path) -> None:
    ramp = np.arange(STEPS)[:, None] * [1.0, -2.0, 0.5]
    keep = np.r_[0:40, 75:100]  # no angular rate for 0.72 s
    folder = "proband1/data"
    write(official, f"{folder}/acc_walking_csv/acc_walking_forearm.csv", CLOCK, ramp * 9.80665)
    write(official, f"{folder}/gyr_walking_csv/Gyroscope_walking_forearm.csv", CLOCK[keep] + 90, ramp[keep])
    first, second, *_ = DATASET.read(official)
    assert [first.name, second.name] == ["proband1/walking/1/0", "proband1/walking/1/1"]
    assert (len(first.signal), len(second.signal)) == (39, 20)  # from 0.1 s to 0.86 s, and from 1.6 s on
    np.testing.assert_allclose(first.signal[:, 0], np.arange(5, 44), atol=1e-4)
    np.testing.assert_allclose(first.signal[:, 3], np.arange(5, 44) - 4.5, atol=1e-4)
    np.testing.assert_allclose(second.signal[:, 4], -2 * (np.arange(80, 100) - 4.5), atol=1e-4)
    assert second.spans == ((0.0, 0.4, "walking"),)


ACC = "proband1/data/acc_walking_csv/acc_walking_forearm.csv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: t.rindex(",")], "has no rows, or a row with a missing value"),
        (lambda t: t.splitlines()[0] + "\n", "has no rows, or a row with a missing value"),
        (lambda t: t.replace("attr_x", "x"), "has 5 columns and lacks attr_x"),
        (lambda t: t.replace("\n5,", "\nfive,"), "cannot be read as numbers: .*five"),
        (lambda t: "", "cannot be read as numbers"),
        (lambda t: "\n".join(line.rsplit(",", 1)[0] + ",inf" for line in t.splitlines()), "lacks attr_z"),
        (lambda t: t.replace("\n5,", "\n5,inf,", 1), "cannot be read as numbers: .*Expected 5 fields in line 6, saw 6"),
    ],
    ids=["cut off", "header alone", "column", "text", "empty", "inf", "too many"],
)
@pytest.mark.parametrize("member", [ACC, ACC.replace("/acc_walking_csv/acc", "/gyr_walking_csv/Gyroscope")])
def test_a_damaged_file_is_refused_by_name(official: Path, member: str, change, message: str) -> None:
    (official / member).write_text(change((official / member).read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        next(DATASET.read(official))
    assert member.rsplit("/", 1)[1] in str(caught.value)


def test_sensors_that_never_ran_together_are_refused(official: Path) -> None:
    write(official, ACC, CLOCK + 10_000, values(1))
    with pytest.raises(ValueError, match="'proband1/walking/1' holds no row with a time stamp and a complete signal"):
        next(DATASET.read(official))


def test_strange_and_missing_files_are_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"RealWorld \(HAR\) not found in .*realworld2016_dataset\.zip"):
        DATASET.listed(official / "proband1" / "data" / "mag_walking_csv")
    copy = official / "proband1" / "data" / "acc_walking_forearm.csv"
    shutil.copy(official / ACC, copy)
    with pytest.raises(ValueError, match=r"acc_walking_forearm\.csv' and '.*' belong to one session; keep one of them"):
        DATASET.listed(official)
    copy.unlink()
    (official / ACC.replace("/acc_walking_csv/acc", "/gyr_walking_csv/Gyroscope")).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the Gyroscope file that belongs to '.*extract gyr_\*\.zip too"):
        DATASET.listed(official)
    write(official, "proband3/data/acc_flying_csv/acc_flying_forearm.csv", CLOCK, values(1))
    with pytest.raises(ValueError, match=r"acc_flying_forearm\.csv': unknown activity 'flying'; expected climbingdown"):
        DATASET.listed(official)
