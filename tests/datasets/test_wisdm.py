"""WISDM-51: a small official layout made here, ways for it to be wrong, and 24 official files where they are."""

import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Recording
from otolith.datasets import DATASETS
from otolith.datasets.wisdm import ACTIVITIES, DATASET

STEPS = 41
PEOPLE = (1600, 1616)
CODES = "ACBAS"  # A twice, as two runs


def values(person: int) -> np.ndarray:
    """(runs, time, 3), m/s^2."""
    return np.random.default_rng(person).normal(size=(len(CODES), STEPS, 3)).round(6) * 10


def stamps(step_ns: int = 50_000_000) -> list[np.ndarray]:
    """Nanoseconds of each run; between runs they leap both ways."""
    return [start + step_ns * np.arange(STEPS) for start in (9 * 10**12, 90_000, 9 * 10**15, 7 * 10**12, 4)]


def text(person: int, time_ns: list[np.ndarray] | None = None) -> str:
    return "".join(
        f"{person},{code},{time},{x!r},{y!r},{z!r};\n"
        for code, run, times in zip(CODES, values(person).tolist(), time_ns or stamps(), strict=True)
        for time, (x, y, z) in zip(times.tolist(), run, strict=True)
    )


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Watch and phone, accelerometer and gyroscope, and other files of the corpus."""
    root = tmp_path / "data"
    for person in PEOPLE:
        for device, other in (("watch", 0), ("phone", 50)):
            for sensor, further in (("accel", 0), ("gyro", 100)):
                path = root / "wisdm-dataset" / "raw" / device / sensor / f"data_{person}_{sensor}_{device}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text(person + other + further).replace(f"{person + other + further},", f"{person},"))
    (root / "wisdm-dataset" / "activity_key.txt").write_text("walking = A\n")
    arff = root / "wisdm-dataset" / "arff_files" / "watch" / "accel" / "data_1600_accel_watch.arff"
    arff.parent.mkdir(parents=True)
    arff.write_text("@relation person_activity_recognition\n")
    return root


@pytest.mark.parametrize(("placement", "other"), [("wrist", 0), ("pocket", 50)])
def test_activities_are_parted_and_put_on_a_clock_in_g(official: Path, placement: str, other: int) -> None:
    recordings = list(DATASET.read(official, placement=placement))
    assert [r.name for r in recordings] == [
        f"{person}/{name}" for person in PEOPLE for name in ("A/0", "C/0", "B/0", "A/1", "S/0")
    ]
    labels = ["walking", "stairs", "jogging", "walking", "folding clothes"]
    for index, recording in enumerate(recordings):
        person, run = PEOPLE[index // 5], index % 5
        np.testing.assert_allclose(recording.signal, values(person + other)[run] / 9.80665, atol=1e-5)
        assert recording.channels == ("acc_x", "acc_y", "acc_z")
        assert (recording.subject, recording.placement, recording.rate_hz) == (str(person), placement, 20.0)
        assert recording.spans == ((0.0, STEPS / 20, labels[run]),)


def test_the_default_is_the_watch_and_parts_are_people_that_pickle(official: Path) -> None:
    parts = DATASET.listed(official)
    assert [part.name for part in parts] == ["1600", "1616"]
    again = list(pickle.loads(pickle.dumps(parts[1])).read())  # our own function, bound
    assert {recording.placement for recording in again} == {"wrist"} and len(again) == 5


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "wisdm-dataset"), "zip", official))
    for source in (made, made.parent):
        for recording, signal in zip(DATASET.read(source), expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def watch(official: Path) -> Path:
    return official / "wisdm-dataset" / "raw" / "watch" / "accel" / "data_1600_accel_watch.txt"


def test_a_hole_parts_an_activity_and_a_clock_set_back_does_too(official: Path) -> None:
    times = stamps()
    times[1][20:] += 10**9  # a second missing
    times[2][30:] -= 10**9  # restarted on an earlier clock: it must not interleave with what was before
    times[4][5:] += 400_000_000  # short enough to bridge: 8 time steps
    watch(official).write_text(text(1600, times))
    recordings = {recording.name: recording for recording in DATASET.listed(official)[0].read()}
    assert {name: len(r.signal) for name, r in recordings.items()} == {
        "1600/A/0": 41,
        "1600/C/0": 20,
        "1600/C/1": 21,
        "1600/B/0": 30,
        "1600/B/1": 11,
        "1600/A/1": 41,
        "1600/S/0": 49,
    }
    np.testing.assert_allclose(recordings["1600/B/1"].signal, values(1600)[2, 30:] / 9.80665, atol=1e-5)
    assert recordings["1600/C/1"].spans == ((0.0, 21 / 20, "stairs"),)


def test_a_faster_stretch_puts_its_activity_on_its_clock_instead_of_thinning_it(official: Path) -> None:
    raw = values(1600).reshape(-1, 3)[:160]
    steps_ns = np.repeat([50_000_000, 10_000_000], [20, 140])  # a second at 20 Hz, then 1.4 at 100 Hz
    rows = zip(np.cumsum(steps_ns).tolist(), raw.tolist(), strict=True)
    lines = "".join(f"1600,D,{time},{x!r},{y!r},{z!r};\n" for time, (x, y, z) in rows)
    watch(official).write_text(lines)
    (recording,) = DATASET.listed(official)[0].read()
    assert recording.rate_hz == 100.0 and len(recording.signal) == 19 * 5 + 141
    np.testing.assert_allclose(recording.signal[-141:], raw[-141:] / 9.80665, atol=1e-5)  # every row is there
    assert recording.spans == ((0.0, recording.seconds, "sitting"),)


def test_a_rate_near_the_nominal_one_is_taken_for_it(official: Path) -> None:
    watch(official).write_text(text(1600, [times // 50 * 40 for times in stamps()]))  # 25 Hz
    assert {(r.rate_hz, len(r.signal)) for r in DATASET.listed(official)[0].read()} == {(20.0, 33)}


def test_repeated_time_stamps_keep_their_first_row_and_the_rate(official: Path) -> None:
    lines = text(1600).splitlines(keepends=True)
    again = [",".join([*line.split(",")[:3], "1,2,3;\n"]) for line in lines]
    watch(official).write_text("".join(line + other for line, other in zip(lines, again, strict=True)))
    recording = next(DATASET.read(official))
    assert recording.rate_hz == 20.0
    np.testing.assert_allclose(recording.signal, values(1600)[0] / 9.80665, atol=1e-5)


def test_a_missing_value_is_bridged(official: Path) -> None:
    lines = text(1600).splitlines(keepends=True)
    head = lines[7].split(",")[:3]
    lines[7] = ",".join([*head, "nan,nan,nan;\n"])
    watch(official).write_text("".join(lines))
    signal = next(DATASET.read(official)).signal
    raw = values(1600)[0] / 9.80665
    np.testing.assert_allclose(signal[7], (raw[6] + raw[8]) / 2, atol=1e-5)
    np.testing.assert_allclose(signal[8:], raw[8:], atol=1e-5)


def test_missing_files_are_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"WISDM-51 needs its official files: wisdm-dataset\.zip .*--source"):
        DATASET.listed(None)
    shutil.rmtree(official / "wisdm-dataset" / "raw" / "phone")
    with pytest.raises(FileNotFoundError, match=r"WISDM-51 not found in .*expected wisdm-dataset\.zip or"):
        DATASET.listed(official, placement="pocket")
    with pytest.raises(FileNotFoundError, match=r"nothing at"):
        DATASET.listed(tmp_path / "absent")


GOOD = text(1600)
LINE = GOOD.splitlines()[7]
FIELDS = LINE.split(",")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace(LINE, LINE.replace(",A,", ",N,")), "unknown activity N; expected A, B, C"),
        (GOOD.replace(LINE, LINE.replace(",A,", ",,")), "unknown activity none; expected A, B, C"),
        (GOOD.replace(LINE, "1601" + LINE[4:]), "holds rows of person 1601; expected only 1600"),
        (GOOD[:-30], "does not end with a complete line"),
        ("", "does not end with a complete line"),
        (";\n", "does not end with a complete line"),
        (GOOD.replace(LINE, LINE.replace(FIELDS[2], "soon")), "cannot be read as lines .*soon"),
        (GOOD.replace(LINE, LINE.replace(FIELDS[2], "9" * 25)), "cannot be read as lines"),
        (GOOD.replace(LINE, LINE.replace(FIELDS[3], "1.2.3")), r"cannot be read as lines .*1\.2\.3"),
        (GOOD.replace(LINE, LINE.replace(";", ",1;")), "cannot be read as lines .*Expected 6 fields"),
        (GOOD.replace(";", ",1;"), "cannot be read as lines"),
        ("".join(f"1600,B,{7 + k * 50},1,2,3;\n" for k in range(501)), "activity B: 501 rows in the densest second"),
        (text(1600, [times * 1000 for times in stamps()]), "activity A: 1 rows in the densest second"),
    ],
    ids=[
        "a code that is not used",
        "no code",
        "another person",
        "cut off",
        "empty",
        "a semicolon alone",
        "text for a time",
        "a time beyond 64 bits",
        "two points",
        "one value too many in one row",
        "one value too many in every row",
        "milliseconds",
        "picoseconds",
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str, message: str) -> None:
    watch(official).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(DATASET.listed(official)[0].read())
    assert "data_1600_accel_watch.txt" in str(caught.value)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Recording]:
    return list(DATASET.read(shared_data / "wisdm"))


def test_the_official_files_are_read_whole(real: list[Recording]) -> None:
    assert len(real) == len({recording.name for recording in real}) == 430
    assert list(dict.fromkeys(r.subject for r in real)) == [str(person) for person in range(1600, 1624)]
    people = Counter(span.label for recording in real for span in recording.spans)
    assert people == {label: 23 if label in ("jogging", "playing catch") else 24 for label in ACTIVITIES.values()}
    assert set(people) == set(DATASETS["wisdm"].classes)
    assert all(179 < recording.seconds < 181 for recording in real)  # three minutes, whatever the rate
    rates = Counter(recording.rate_hz for recording in real)
    assert rates == {20.0: 416, 101.0: 13, 79.0: 1}
    assert {r.name for r in real if r.rate_hz != 20} >= {"1600/S/0", "1608/J/0", "1621/D/0", "1602/E/0"}


def test_the_official_files_hold_what_their_description_says(real: list[Recording]) -> None:
    signal = np.concatenate([recording.signal for recording in real])
    assert abs(np.median(np.linalg.norm(signal, axis=1)) - 1) < 0.02  # g
    last = {recording.name: recording.signal for recording in real}["1623/A/0"]
    np.testing.assert_allclose(last[0], np.array([10.381557, -4.580407, -0.36736032]) / 9.80665, rtol=1e-6)
