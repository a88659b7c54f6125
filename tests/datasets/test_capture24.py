"""Capture-24 and the NHANES sample: small official layouts made here, ways for them to be wrong, and the real sample."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from otolith.data.recording import Span
from otolith.datasets import DATASETS, capture24, nhanes
from otolith.datasets.capture24 import DATASET

STEPS = 250
SLEEP, DESK, RIDE, NEW = "7030 sleeping;MET 0.95", "occupation;11580 office work, general;MET 1.5", "16010 car", "odd"
DICTIONARY = (
    "annotation,label:Willetts2018,label:Doherty2018,label:Walmsley2020\n"
    f'{SLEEP},sleep,sleep,sleep\n"{DESK}",sit-stand,sedentary,sedentary\n{RIDE},vehicle,sedentary,sedentary\n{NEW},mixed,,\n'
)
ANNOTATIONS = np.repeat([SLEEP, "", DESK, RIDE, NEW, SLEEP], [50, 30, 40, 30, 40, 60])
WALMSLEY = (Span(0.0, 0.5, "sleep"), Span(0.8, 1.5, "sedentary"), Span(1.9, 2.5, "sleep"))


def values(person: int) -> np.ndarray:
    return np.random.default_rng(person).normal(size=(STEPS, 3)).round(5)


def stamps(step_us: int = 10_000) -> np.ndarray:
    return np.datetime64("2016-10-17T03:53:00", "us") + step_us * np.arange(STEPS)


def text(signal: np.ndarray, time: np.ndarray, annotations: np.ndarray | None = ANNOTATIONS) -> str:
    lines = ["time,x,y,z" + ("" if annotations is None else ",annotation")]
    for row, (stamp, xyz) in enumerate(zip(time.tolist(), signal.tolist(), strict=True)):
        line = ",".join([stamp.isoformat(" ", "microseconds"), *map(repr, xyz)])
        note = "" if annotations is None else annotations[row]
        lines.append(line if annotations is None else f'{line},"{note}"' if "," in note else f"{line},{note}")
    return "\n".join(lines) + "\n"


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode(), mtime=0))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for person in (1, 2, 151):
        write(root / "capture24" / f"P{person:03d}.csv.gz", text(values(person), stamps()))
    (root / "capture24" / "annotation-label-dictionary.csv").write_text(DICTIONARY)
    (root / "capture24" / "P1520.csv.gz").write_bytes(b"no participant's")
    (root / "capture24" / "metadata.csv").write_text("pid,age,sex\nP001,38-52,F\n")
    return root


def test_the_official_layout_is_read_unlabelled(official: Path) -> None:
    (official / "capture24" / "annotation-label-dictionary.csv").unlink()  # not needed for that
    assert [part.name for part in DATASET.listed(official)] == ["P001", "P002", "P151"]
    recordings = list(DATASET.read(official))
    assert [recording.name for recording in recordings] == ["P001/0/0", "P002/0/0", "P151/0/0"]
    for recording, person in zip(recordings, (1, 2, 151), strict=True):
        np.testing.assert_allclose(recording.signal, values(person), atol=1e-6)
        assert recording.channels == ("acc_x", "acc_y", "acc_z") and recording.spans == ()
        assert (recording.subject, recording.placement, recording.rate_hz) == (f"P{person:03d}", "wrist", 100.0)


def test_a_scheme_turns_annotations_into_its_labels(official: Path) -> None:
    assert next(DATASET.read(official, subset="Walmsley2020")).spans == WALMSLEY  # the same label twice is one span
    assert next(DATASET.read(official, subset="Doherty2018")).spans == WALMSLEY
    willetts = next(DATASET.read(official, subset="Willetts2018")).spans
    assert [span.label for span in willetts] == ["sleep", "sit-stand", "vehicle", "mixed", "sleep"]
    assert [(span.start_s, span.stop_s) for span in willetts] == [
        (0.0, 0.5),
        (0.8, 1.2),
        (1.2, 1.5),
        (1.5, 1.9),
        (1.9, 2.5),
    ]


def test_a_file_of_whole_chunks_ends_with_the_last(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture24, "CHUNK_ROWS", 50)
    assert [len(recording.signal) for recording in DATASET.listed(official)[0].read()] == [50] * 5


@pytest.mark.parametrize("scheme", ["unlabelled", "Walmsley2020"])
def test_chunks_lose_no_row_and_no_label(official: Path, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture24, "CHUNK_ROWS", 100)
    recordings = list(DATASET.listed(official, subset=scheme)[0].read())
    assert [(r.name, len(r.signal)) for r in recordings] == [("P001/0/0", 100), ("P001/1/0", 100), ("P001/2/0", 50)]
    np.testing.assert_allclose(np.concatenate([r.signal for r in recordings]), values(1), atol=1e-6)
    if scheme != "unlabelled":
        assert [recording.spans for recording in recordings] == [
            (Span(0.0, 0.5, "sleep"), Span(0.8, 1.0, "sedentary")),
            (Span(0.0, 0.5, "sedentary"), Span(0.9, 1.0, "sleep")),
            (Span(0.0, 0.5, "sleep"),),
        ]


def test_recordings_come_before_the_file_is_read_to_its_end(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = official / "capture24" / "P001.csv.gz"
    time = np.datetime_as_string(stamps()[0] + 10_000 * np.arange(20_000))  # a megabyte; blocks of 256 kB are parsed
    write(
        path, "time,x,y,z\n" + "".join(f"{stamp},0.1,0.2,{1 + row / 100_000:.5f}\n" for row, stamp in enumerate(time))
    )
    path.write_bytes(path.read_bytes()[:-200])
    monkeypatch.setattr(capture24, "CHUNK_ROWS", 1000)
    recordings = DATASET.read(official)
    assert next(recordings).signal[-1, 2] == pytest.approx(1.00999)
    with pytest.raises(ValueError, match=r"P001\.csv\.gz' cannot be read to its end .*download it again"):
        list(recordings)


def test_a_gap_and_a_clock_that_was_set_back_begin_new_recordings(official: Path) -> None:
    time = stamps()
    time[100:] += 600_000  # 0.6 s more: too long to bridge
    time[200:] -= 3_600_000_000  # an hour back, as where summer time ends
    write(official / "capture24" / "P001.csv.gz", text(values(1), time))
    first, second, third = DATASET.listed(official, subset="Walmsley2020")[0].read()
    assert [first.name, second.name, third.name] == ["P001/0/0", "P001/0/1", "P001/1/0"]
    for recording, rows in zip((first, second, third), (slice(100), slice(100, 200), slice(200, None)), strict=True):
        np.testing.assert_allclose(recording.signal, values(1)[rows], atol=1e-6)
    assert second.spans == (Span(0.0, 0.5, "sedentary"), Span(0.9, 1.0, "sleep"))
    assert third.spans == (Span(0.0, 0.5, "sleep"),)


@pytest.mark.parametrize("end", ["Z", "+00:00", "+0100", "-05:30", " UTC", "+0100 [Europe/London]"])
@pytest.mark.parametrize("join", [" ", "T"])
@pytest.mark.parametrize("digits", ["milliseconds", "microseconds"])
def test_stamps_with_a_zone_are_read(official: Path, end: str, join: str, digits: str) -> None:
    rows = [
        f"{stamp.isoformat(join, digits)}{end},{x!r},{y!r},{z!r}"
        for stamp, (x, y, z) in zip(stamps().tolist(), values(1).tolist(), strict=True)
    ]
    write(official / "capture24" / "P001.csv.gz", "\n".join(["time,x,y,z", *rows]) + "\n")
    recording = next(DATASET.read(official))
    np.testing.assert_allclose(recording.signal, values(1), atol=1e-6)
    assert recording.seconds == pytest.approx(STEPS / 100)


def test_an_offset_that_changes_is_no_gap(official: Path) -> None:
    before, after = (np.datetime64(f"2016-10-30T0{hour}:59:58.75", "us") for hour in (1, 0))  # the same instant
    when = [f"{t}+01:00" for t in (before + 10_000 * np.arange(125)).tolist()]
    when += [f"{t}+00:00" for t in (after + 10_000 * np.arange(125, 250)).tolist()]
    rows = [f"{stamp},{x!r},{y!r},{z!r}" for stamp, (x, y, z) in zip(when, values(1).tolist(), strict=True)]
    write(official / "capture24" / "P001.csv.gz", "\n".join(["time,x,y,z", *rows]) + "\n")
    recordings = [one for one in DATASET.read(official) if one.subject == "P001"]
    assert len(recordings) == 1 and len(recordings[0].signal) == STEPS


def test_a_zip_file_and_a_folder_that_holds_it_are_read_alike(official: Path) -> None:
    expected = [recording.signal for recording in DATASET.read(official)]
    made = Path(shutil.make_archive(str(official.parent / "zipped" / "capture24"), "zip", official))
    for source in (made, made.parent, official / "capture24"):
        recordings = list(DATASET.read(source, subset="Walmsley2020"))
        assert recordings[0].spans == WALMSLEY
        for recording, signal in zip(recordings, expected, strict=True):
            np.testing.assert_array_equal(recording.signal, signal)


def test_missing_files_are_named(official: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Capture-24 needs its official files: capture24\.zip or"):
        DATASET.listed(None)
    with pytest.raises(ValueError, match="Capture-24 has no subset 'Walmsley'; it has unlabelled, Walmsley2020"):
        DATASET.listed(official, subset="Walmsley")
    dictionary = official / "capture24" / "annotation-label-dictionary.csv"
    dictionary.write_text(DICTIONARY.replace("label:Doherty2018", "label:Other"))
    with pytest.raises(ValueError, match=r"dictionary\.csv' has columns annotation, .*; it lacks label:Doherty2018"):
        DATASET.listed(official, subset="Doherty2018")
    dictionary.unlink()
    with pytest.raises(FileNotFoundError, match=r"labels need annotation-label-dictionary\.csv, .* 'unlabelled'"):
        DATASET.listed(official, subset="Walmsley2020")
    shutil.rmtree(official / "capture24")
    with pytest.raises(FileNotFoundError, match=r"Capture-24 not found in .*found nothing; pass --source"):
        DATASET.listed(official)


GOOD = text(values(1), stamps())
LINE = GOOD.splitlines()[7]
STAMP = LINE.split(",")[0]
PACKED = gzip.compress(GOOD.encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PACKED[: len(PACKED) // 2], "cannot be read to its end .*download it again"),
        (PACKED[:-4], "cannot be read to its end .*download it again"),
        (PACKED[:900] + bytes(300) + PACKED[1200:], "cannot be read to its end .*download it again"),
        (GOOD.encode(), "cannot be read to its end .*Not a gzipped file"),
        (b"", "cannot be read to its end|holds no rows"),
        (gzip.compress(b""), "cannot be read to its end .*No columns"),
        (GOOD.splitlines()[0], "holds no rows; download it again"),
        (GOOD.replace("time,x,y,z", "time,x,y,w"), "cannot be read to its end .*'z'"),
        (text(values(1), stamps(), None), "cannot be read to its end .*'annotation'"),
        (GOOD.replace(LINE, LINE.replace(",", ",one ", 1)), "cannot be read to its end .*one"),
        (GOOD.replace(STAMP, "noon"), "expected times such as 2016-10-17 03:53:00.010000"),
        (GOOD.replace(STAMP, "17.10.2016 03:53:00"), "expected times such as 2016-10-17 03:53:00.010000"),
        (GOOD.replace(STAMP, ""), "a row has no time"),
        (text(values(1), stamps(12_500)), r"rows come every 0\.0125 s; expected 0\.01 s \(100 Hz\)"),
        (text(values(1), stamps(8_000)), r"rows come every 0\.008 s; expected 0\.01 s \(100 Hz\)"),
        (text(values(1) * np.nan, stamps()), "holds no row with a time stamp and a complete signal"),
        (
            GOOD.replace(LINE, LINE[: -len(SLEEP)] + "9999 juggling"),
            r"annotation '9999 juggling' is not in .*\(4 rows\)",
        ),
    ],
    ids=[
        "half a file",
        "without its checksum",
        "zero bytes within",
        "not compressed",
        "no bytes",
        "nothing compressed",
        "header alone",
        "another column",
        "no annotations",
        "text for a number",
        "text for a time",
        "another order of day and year",
        "no time",
        "80 Hz",
        "125 Hz",
        "NaN alone",
        "an annotation that is not listed",
    ],
)
def test_a_damaged_file_is_refused_by_name(official: Path, content: str | bytes, message: str) -> None:
    data = content if isinstance(content, bytes) else gzip.compress(content.encode())
    (official / "capture24" / "P001.csv.gz").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        list(DATASET.read(official, subset="Walmsley2020"))
    assert "P001" in str(caught.value)


def test_missing_values_are_bridged(official: Path) -> None:
    write(official / "capture24" / "P001.csv.gz", GOOD.replace(LINE, STAMP + ",,,," + SLEEP))
    signal = next(DATASET.read(official)).signal
    np.testing.assert_allclose(signal[6], (values(1)[5] + values(1)[7]) / 2, atol=1e-5)
    np.testing.assert_allclose(signal[7:], values(1)[7:], atol=1e-6)


def test_every_file_of_the_nhanes_layout_is_a_person(tmp_path: Path) -> None:
    time = stamps(12_500)
    for name in ("62163", "deep/62164"):
        write(tmp_path / f"{name}.csv.gz", text(values(len(name)), time, None))
    (tmp_path / "._62163.csv.gz").write_bytes(b"resource fork")
    recordings = list(nhanes.DATASET.read(tmp_path))
    assert [(r.name, r.subject) for r in recordings] == [("62163/0/0", "62163"), ("62164/0/0", "62164")]
    for recording, name in zip(recordings, ("62163", "deep/62164"), strict=True):
        np.testing.assert_allclose(recording.signal, values(len(name)), atol=1e-5)
        assert (recording.placement, recording.rate_hz, recording.spans) == ("wrist", 80.0, ())
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"NHANES wrist sample not found in .*expected <person>\.csv\.gz"):
        nhanes.DATASET.listed(tmp_path / "empty")


def test_the_real_sample_is_read_whole(shared_data: Path) -> None:
    folder = shared_data / "nhanes-wrist-sample"
    (recording,) = DATASETS["nhanes"].read(folder)
    assert (recording.name, recording.subject, recording.rate_hz) == ("sample/0/0", "sample", 80.0)
    assert recording.signal.shape == (359_999, 3)
    assert abs(np.median(np.linalg.norm(recording.signal, axis=1)) - 1.024) < 0.001  # g
    np.testing.assert_allclose(recording.signal[0], [0.378, -0.912, 0.032], rtol=1e-6)
    with gzip.open(folder / "sample.csv.gz", "rt") as file:
        raw = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(1, 2, 3), max_rows=4000)
    # Stamps cut to milliseconds are at most 0.5 ms off the clock, a 25th of a step.
    step = np.abs(np.diff(raw, axis=0)).max(axis=0)
    assert (np.abs(recording.signal[:4000] - raw) <= step / 20).all()


def test_the_real_dictionary_knows_every_scheme(official: Path, shared_data: Path) -> None:
    shutil.copy(shared_data / "capture24" / "annotation-label-dictionary.csv", official / "capture24")
    real = np.repeat(["7030 sleeping;MET 0.95", ""], [STEPS - 50, 50])
    write(official / "capture24" / "P001.csv.gz", text(values(1), stamps(), real))
    for scheme in DATASET.subsets[1:]:
        part = DATASET.listed(official, subset=scheme)[0]
        assert next(part.read()).spans == (Span(0.0, 2.0, "sleep"),)
    labels = capture24._labels(official, "Walmsley2020")
    assert len(labels) == 165 and set(labels.values()) == {"sleep", "sedentary", "light", "moderate-vigorous"}
