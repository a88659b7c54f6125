"""Project Aria: VRS files walked before they are opened, speech, and the real test recording."""

import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from otolith.datasets import aria
from otolith.datasets.aria import DATASET, utterances
from otolith.formats import vrs


def vrs_file(records: int = 5, size: int = 60, index: int = 0) -> bytes:
    """The outside of a VRS file: a header, a description, and records that hold nothing."""
    described = struct.pack("<I", 40) + bytes(36)
    head = b"VisionRe" + bytes(8) + struct.pack("<IIqqq", 80, 32, index, 80, 80 + len(described))
    record = struct.pack("<I", size) + bytes(size - 4)
    return head.ljust(80, b"\0") + described + record * records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"\(0 bytes\) is too small for a VRS file"),
        (bytes(500), "does not begin like a VRS file"),
        (vrs_file()[:-10], "was cut off or altered: the record at byte 360 declares 60 bytes"),
        (vrs_file()[:-50], "the record at byte 360 declares 0 bytes"),
        (
            vrs_file(size=60).replace(struct.pack("<I", 60), struct.pack("<I", 1 << 31), 1),
            "declares 2,147,483,648 bytes",
        ),
        (vrs_file(index=10_000), "its header points beyond its end"),
        (vrs_file()[:90], "its header points beyond its end"),
    ],
    ids=[
        "empty",
        "zeros",
        "cut in a record",
        "cut in a head",
        "a huge record",
        "index beyond",
        "cut in the description",
    ],
)
def test_files_that_are_cut_off_or_none_are_refused_before_they_are_opened(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.vrs").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        next(DATASET.read(tmp_path))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Project Aria not found in '.*': expected \[person/\]name\.vrs"):
        DATASET.listed(tmp_path)
    with pytest.raises(FileNotFoundError, match="no VRS file at"):
        vrs.streams(tmp_path / "a.vrs")


def test_what_the_library_refuses_is_told(tmp_path: Path) -> None:
    pytest.importorskip("projectaria_tools")
    (tmp_path / "a.vrs").write_bytes(vrs_file())
    with pytest.raises(ValueError, match=r"a\.vrs' cannot be read as a VRS file: .*copy it again"):
        vrs.streams(tmp_path / "a.vrs")


def test_words_are_joined_to_what_was_said_in_one_breath(tmp_path: Path) -> None:
    rows = [(1, 2, "what"), (2.1, 2.3, "is"), (2.4, 3, "that?"), (3.1, 3.2, "well"), (9, 9, "it,"), (9.5, 10, "is NA")]
    path = tmp_path / "speech.csv"
    lines = [f'{int(1e9 * start)},{int(1e9 * stop)},"{word}",0.5' for start, stop, word in rows]
    path.write_text("startTime_ns,endTime_ns,written,confidence\n" + "\n".join(lines) + "\n")
    said = utterances(path, int(1e9))
    assert [narration.text for narration in said] == ["what is that?", "well", "it, is NA"]
    assert [(round(n.start_s, 3), round(n.stop_s, 3)) for n in said] == [(0, 2), (2.1, 2.2), (8, 9)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("start,end,written\n", "expected the columns startTime_ns,endTime_ns,written,confidence"),
        ("startTime_ns,endTime_ns,written,confidence\n1,x,a,1\n", "cannot be read: .*'x'"),
        (
            "startTime_ns,endTime_ns,written,confidence\n5,6,a,1\n1,2,b,1\n",
            "the words' times are not in ascending order",
        ),
        ("startTime_ns,endTime_ns,written,confidence\n5,2,a,1\n", "the words' times are not in ascending order"),
    ],
)
def test_speech_that_cannot_be_understood_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "speech.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        utterances(tmp_path / "speech.csv", 0)


def test_gaps_part_recordings_and_damaged_clocks_are_refused(monkeypatch, tmp_path: Path) -> None:
    time_ns = np.concatenate([np.arange(500), np.arange(2000, 2600)]) * 1_000_000 + 7_000_000_000
    values = np.tile([9.80665, 0, 0, 1, 2, 3], (1100, 1))
    values[10] = np.nan  # bridged
    monkeypatch.setattr(aria, "motion", lambda path, stream: vrs.Motion(time_ns, values, 1000.0))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.vrs").touch()
    first, second = DATASET.read(tmp_path)
    assert (first.name, second.name, first.subject) == ("p/a/0", "p/a/1", "p")
    assert (len(first.signal), len(second.signal)) == (500, 600)
    np.testing.assert_allclose(first.signal, np.tile([1, 0, 0, 1, 2, 3], (500, 1)), rtol=1e-6)
    values[:] = np.nan
    with pytest.raises(ValueError, match="stream 1202-1 holds no complete time step"):
        next(DATASET.read(tmp_path))


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Path:
    pytest.importorskip("projectaria_tools")
    return shared_data / "aria" / "aria_everyday_activities_test_data"


@pytest.mark.parametrize(("placement", "steps", "rate_hz"), [("right temple", 400, 1000), ("left temple", 320, 800)])
def test_the_real_recording_holds_both_sensors(real: Path, placement: str, steps: int, rate_hz: int, capfd) -> None:
    (recording,) = DATASET.read(real, placement=placement)
    assert recording.signal.shape == (steps, 6) and recording.rate_hz == rate_hz
    assert recording.placement == placement
    assert np.linalg.norm(recording.signal[:, :3], axis=1).mean() == pytest.approx(1, abs=0.01)
    assert capfd.readouterr() == ("", "")  # the library's own messages stay in its process


def test_the_real_recording_has_pictures_and_its_speech_lies_outside(real: Path) -> None:
    (companion,) = DATASET.multimodal_data(real, "right temple", "all")
    assert companion.recording == "recording/0" and companion.narrations == ()
    assert companion.video_stream.key.endswith(":214-1")
    assert (companion.video_stream.start_s, companion.video_stream.stop_s) == pytest.approx((0.0373, 0.4373), abs=1e-3)
    pictures = list(companion.video_stream.frames([0.0, 0.04, 0.39]))
    assert [picture.shape for picture in pictures] == [(1408, 1408, 3)] * 3
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[1] != pictures[2]).any()
    said = utterances(real / "speech.csv", 86_347_942_362)
    assert [narration.text for narration in said][1:] == [
        "what is there like looking at?",
        "I'm in the masters, right now.",
    ]


def test_a_damaged_real_recording_is_an_error_and_never_the_end_of_the_process(real: Path, tmp_path: Path) -> None:
    whole = (real / "recording.vrs").read_bytes()
    path = tmp_path / "a.vrs"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="was cut off or altered"):
        vrs.motion(path, "1202-1")
    generator = random.Random(0)
    for begin in (100, 700):  # tables of streams and settings: here the library itself faults
        data = bytearray(whole)
        data[begin:4000] = generator.randbytes(4000 - begin)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.vrs'"):
            vrs.motion(path, "1202-1")
    shutil.copy(real / "recording.vrs", path)
    with pytest.raises(ValueError, match=r"it has no stream 1202-9; it has 1201-1, 1201-2, 1202-1"):
        vrs.motion(path, "1202-9")
