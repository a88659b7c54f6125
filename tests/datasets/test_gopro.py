"""GoPro clips: small files in the camera's layout, ways for them to be wrong, and two real files."""

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from clips import device, grey, klv, sensor, write_video
from otolith.datasets.gopro import DATASET
from otolith.formats.gpmf import elements, sensors, telemetry

G = 9.80665
NAMES = ("Accelerometer (up/down, right/left, forward/back)", "Gyroscope (z,x,y)")


def motion(times: np.ndarray, key: str) -> np.ndarray:
    """What a sensor of the tests measures, x y z, in the file's units."""
    turn = np.sin(2 * np.pi * times)
    return (
        np.stack([turn, 2 * turn, G + 3 * turn], axis=1)
        if key == "ACCL"
        else np.stack([turn, -turn, 0.5 * turn], axis=1)
    )


def payloads(rates: tuple[int, int] = (20, 40), seconds: int = 4, last: int = 3, **change: object) -> list:
    """As HERO5 writes them: z, x, y; a payload a second, the last with few time steps although it declares a second."""
    found = []
    for second in range(seconds + 1):
        streams = []
        for key, rate, unit, name in zip(("ACCL", "GYRO"), rates, ("m/s²", "rad/s"), NAMES, strict=True):
            count = rate if second < seconds else last * rate // rates[0]
            values = motion(second + np.arange(count) / rate, key)[:, [2, 0, 1]]
            streams.append(sensor(key, values, unit, scale=1000 if key == "ACCL" else 3000, name=name))
        streams.append(
            klv("STRM", "", klv("STNM", "c", b"GPS") + klv("GPS5", "l", struct.pack(">5l", *range(5)), size=20))
        )
        found.append((1000 * second, 1000, device(*streams)))
    return found


def clip(path: Path, made: list | None = None, seconds: float = 4.2) -> Path:
    return write_video(
        path, [grey(5 * i) for i in range(round(seconds * 10))], payloads=payloads() if made is None else made
    )


def test_motion_is_read_in_g_and_rad_on_one_clock(tmp_path: Path) -> None:
    clip(tmp_path / "anna" / "GX010001.MP4")
    clip(tmp_path / "loose.mp4")
    (tmp_path / ".trash").mkdir()
    clip(tmp_path / ".trash" / "old.mp4")
    parts = DATASET.listed(tmp_path)
    assert [part.name for part in parts] == ["anna/GX010001", "loose"]
    (recording,) = parts[0].read()
    assert (recording.subject, recording.placement, recording.name) == ("anna", "camera", "anna/GX010001")
    assert recording.rate_hz == pytest.approx(40)
    times = np.arange(len(recording.signal)) / 40
    assert times[-1] == pytest.approx(4.1, abs=0.06)  # the few time steps of the last payload, not its second
    np.testing.assert_allclose(recording.signal[:, 3:], motion(times, "GYRO"), atol=1e-3)
    np.testing.assert_allclose(recording.signal[:, :3] * G, motion(times, "ACCL"), atol=0.01)  # from half its rate
    assert next(parts[1].read()).subject == "loose"
    assert DATASET.listed(tmp_path / "loose.mp4")[0].name == "loose"


def test_pictures_and_words_lie_on_the_motions_clock(tmp_path: Path) -> None:
    late = [(start + 500, duration, payload) for start, duration, payload in payloads()]
    clip(tmp_path / "walk.mp4", late, seconds=5)
    (tmp_path / "walk.csv").write_text("start_s,stop_s,text\n1.0,2.0,walks\n")
    assert telemetry(tmp_path / "walk.mp4").start_s == pytest.approx(0.5)
    (companion,) = DATASET.multimodal_data(tmp_path, "camera", "all")
    assert companion.recording == "walk"
    (said,) = companion.narrations
    assert said == (pytest.approx(0.5), pytest.approx(1.5), "walks")
    assert companion.video_stream.start_s == pytest.approx(-0.5)
    (picture,) = companion.video_stream.frames([1.02])  # the file's second 1.52
    assert round(float(picture.mean()) / 5) == 15


def test_narrations_outside_and_videos_that_end_early_are_told(tmp_path: Path) -> None:
    clip(tmp_path / "walk.mp4", seconds=2)
    with pytest.warns(UserWarning, match=r"the video of 'walk' ends at 2\.0 s, its motion at 4\.\d s"):
        list(DATASET.multimodal_data(tmp_path, "camera", "all"))
    clip(tmp_path / "walk.mp4")
    (tmp_path / "walk.srt").write_text("1\n00:01:00,000 --> 00:01:05,000\nsits down\n")
    with pytest.raises(ValueError, match=r"'walk' runs from .* but 'sits down' is said at 60\.0 s"):
        list(DATASET.multimodal_data(tmp_path, "camera", "all"))


@pytest.mark.parametrize(
    ("about", "turn"),
    [
        ([klv("ORIN", "c", b"XzY")], [[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
        ([klv("ORIN", "c", b"yXZ")], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        (
            [
                klv("MTRX", "f", struct.pack(">9f", 0, -1, 0, 1, 0, 0, 0, 0, 1)),
                klv("ORIN", "c", b"XzY"),
                klv("ORIO", "c", b"ZXY"),
            ],
            [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        ),
    ],
    ids=["order", "order with signs", "matrix"],
)
def test_axes_are_turned_as_the_camera_says(about: list[bytes], turn: list[list[int]]) -> None:
    values = np.arange(12.0).reshape(4, 3)
    (steps,) = sensors(device(sensor("ACCL", values, "m/s²", about=about)), "p", ("ACCL",))
    np.testing.assert_allclose(steps.values, values @ np.array(turn).T)


def test_one_scale_for_each_axis_and_the_first_device_with_motion() -> None:
    stream = klv(
        "STRM",
        "",
        klv("ORIN", "c", b"XYZ")
        + klv("SIUN", "c", b"m/s\xb2")
        + klv("SCAL", "l", struct.pack(">3l", 1, 10, 100), size=4)
        + klv("ACCL", "s", struct.pack(">3h", 100, 100, 100), size=6),
    )
    other = klv("STRM", "", klv("STNM", "c", b"Battery"))
    (steps,) = sensors(device(other, name="Karma") + device(stream), "p")
    np.testing.assert_allclose(steps.values, [[100, 10, 1]])


def test_a_clip_without_a_gyroscope_says_what_to_do(tmp_path: Path) -> None:
    only = [
        (s, d, device(sensor("ACCL", motion(np.arange(20) / 20, "ACCL"), "m/s²", name=NAMES[0])))
        for s, d, _ in payloads()
    ]
    clip(tmp_path / "a.mp4", only)
    with pytest.raises(
        ValueError, match=r"no gyroscope \(GYRO\).*can also be pretrained on three.*--subset accelerometer"
    ):
        next(DATASET.read(tmp_path))
    (recording,) = DATASET.read(tmp_path, subset="accelerometer")
    assert recording.channels == ("acc_x", "acc_y", "acc_z") and len(recording.signal) == 100


def test_other_cameras_clips_are_told_apart(tmp_path: Path) -> None:
    write_video(tmp_path / "phone.mp4", [grey(0)] * 5)
    with pytest.raises(
        ValueError, match="holds no GoPro telemetry: it is from another camera, or an editor removed it"
    ):
        next(DATASET.read(tmp_path))
    (tmp_path / "phone.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=r"phone\.mp4' .*cannot be opened as a video"):
        next(DATASET.read(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"GoPro clips not found in '.*': expected \[person/\]clip\.mp4"):
        DATASET.listed(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="GoPro clips needs your files"):
        DATASET.listed(None)


def stream(*parts: bytes) -> bytes:
    return device(klv("STRM", "", b"".join(parts)))


UNIT, SCALE, ORDER = klv("SIUN", "c", b"m/s\xb2"), klv("SCAL", "s", struct.pack(">h", 10)), klv("ORIN", "c", b"XYZ")
VALUES = klv("ACCL", "s", bytes(12), size=6)
LONG = b"ACCL" + b"s" + bytes([6]) + struct.pack(">H", 60_000) + bytes(12)
DEEP = klv("DEEP", "", b"")
for _ in range(20):
    DEEP = klv("DEEP", "", DEEP)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (stream(UNIT, SCALE, ORDER, LONG), "ACCL declares 360,000 bytes where 12 are left"),
        (device()[:6] + b"\xff\xff" + b"DVID", "DEVC declares"),
        (stream(SCALE, ORDER, VALUES), r"ACCL is in ''; expected m/s²"),
        (stream(klv("SIUN", "c", b"g"), SCALE, ORDER, VALUES), r"ACCL is in 'g'; expected m/s²"),
        (stream(UNIT, klv("SCAL", "s", bytes(2)), ORDER, VALUES), r"the scale of ACCL is \[0\.0\]"),
        (stream(UNIT, klv("SCAL", "s", bytes(4), size=2), ORDER, VALUES), r"the scale of ACCL is \[0\.0, 0\.0\]"),
        (stream(UNIT, SCALE, VALUES), "does not give the order of the axes of ACCL"),
        (stream(UNIT, SCALE, klv("ORIN", "c", b"XXY"), VALUES), r"order of the axes of ACCL \(ORIN is 'XXY'\)"),
        (stream(UNIT, SCALE, klv("MTRX", "f", bytes(36)), klv("ORIO", "c", b"ZXY"), VALUES), "is not a rotation"),
        (stream(UNIT, SCALE, ORDER, klv("ACCL", "s", bytes(8), size=4)), "ACCL has 2 axes; expected 3"),
        (stream(UNIT, SCALE, ORDER, klv("ACCL", "#", bytes(12), size=6)), "type '#' of 6 bytes, which is unknown"),
        (stream(UNIT, SCALE, ORDER, klv("ACCL", "s", bytes(10), size=5)), "type 's' of 5 bytes"),
        (stream(DEEP, UNIT, SCALE, ORDER, VALUES), "nests deeper than 8"),
    ],
)
def test_a_damaged_payload_is_refused_by_name(payload: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        list(sensors(payload, "payload 7 of 'x.mp4'", ("ACCL",)))
    assert "payload 7 of 'x.mp4'" in str(caught.value)


def test_any_bytes_are_read_or_refused_and_nothing_else() -> None:
    good = payloads(seconds=1)[0][2]
    generator = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for place in generator.integers(0, len(data), generator.integers(1, 12)):
            data[place] = generator.integers(256)
        try:
            for steps in sensors(bytes(data[: generator.integers(1, len(data) + 1)]), "p"):
                assert steps.values.shape[1] == 3
        except ValueError as error:
            assert "p" in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: [(s * 40, d, b) for s, d, b in p], "the clock of ACCL in .* cannot be determined"),
        (lambda p: [(s if s < 2000 else s + 9000, d, b) for s, d, b in p], r"s from a regular clock; the file was cut"),
        (
            lambda p: [(s, d, device(klv("STRM", "", klv("STNM", "c", b"GPS")))) for s, d, _ in p],
            "but no accelerometer",
        ),
    ],
    ids=["too slow", "a gap", "no motion"],
)
def test_clocks_that_cannot_be_told_are_refused(tmp_path: Path, change, message: str) -> None:
    clip(tmp_path / "a.mp4", change(payloads()))
    with pytest.raises(ValueError, match=message):
        telemetry(tmp_path / "a.mp4")


def test_sensors_that_end_apart_are_not_synchronised(tmp_path: Path) -> None:
    made = payloads()
    short = [
        (s, d, b if s < 2000 else device(sensor("ACCL", motion(np.arange(20) / 20, "ACCL"), "m/s²", name=NAMES[0])))
        for s, d, b in made
    ]
    clip(tmp_path / "a.mp4", short)
    with pytest.raises(ValueError, match=r"not synchronised|cannot be determined"):
        telemetry(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "steps", "rate_hz"), [("karma", 4792, 397.18), ("max-heromode", 2082, 197.48)], ids=["HERO5", "MAX"]
)
def test_the_real_clips_hold_gravity_upwards(shared_data: Path, name: str, steps: int, rate_hz: float) -> None:
    motion = telemetry(shared_data / "gopro" / f"{name}.mp4")
    assert motion.signal.shape == (steps, 6) and motion.rate_hz == pytest.approx(rate_hz, abs=0.01)
    size = np.linalg.norm(motion.signal[:, :3], axis=1)
    assert size.mean() == pytest.approx(1, abs=0.01)
    mean = motion.signal.mean(0)
    assert mean[2] > 0.95 and np.abs(mean[:2]).max() < 0.2  # the camera stood upright
    assert np.abs(mean[3:]).max() < 0.05
    assert abs(motion.start_s) < 0.05
    (companion,) = DATASET.multimodal_data(shared_data / "gopro" / f"{name}.mp4", "camera", "all")
    assert companion.recording == name and companion.video_stream.stop_s == pytest.approx(
        steps / motion.rate_hz, abs=0.1
    )
    assert next(companion.video_stream.frames([5.0])).shape[2] == 3


@pytest.mark.parametrize(("name", "acc", "gyro"), [("hero5", 199, 399), ("hero6", 204, 204), ("karma", 196, 392)])
def test_real_payloads_have_the_counts_of_the_format_s_own_reader(
    shared_data: Path, name: str, acc: int, gyro: int
) -> None:
    data = (shared_data / "gopro" / f"{name}.raw").read_bytes()
    found = {steps.key: steps.values for steps in sensors(data, name)}
    assert (len(found["ACCL"]), len(found["GYRO"])) == (acc, gyro)
    assert np.linalg.norm(found["ACCL"], axis=1).mean() == pytest.approx(9.9, abs=0.5)
    assert found["ACCL"][:, 2].mean() > 9
    assert next(elements(data, name)).key == "DEVC"
    for cut in (len(data) - 7, 1000, 30):
        with pytest.raises(ValueError, match="bytes where"):
            list(sensors(data[:cut], name))


def test_the_tutorial_s_recipe_loads(tmp_path: Path) -> None:
    from otolith.experiments.recipe import load

    text = (Path(__file__).parents[2] / "docs" / "paired.md").read_text(encoding="utf-8")
    (tmp_path / "clips.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    recipe = load(tmp_path / "clips.toml")
    assert recipe.dataset == "gopro" and recipe.encoder["name"] == "primus"


def test_a_clip_is_labelled_as_a_table_is(tmp_path: Path) -> None:
    from otolith.formats import read_sessions

    (read,) = read_sessions([clip(tmp_path / "walk.MP4")])
    assert read.rate_hz == pytest.approx(40) and len(read.channels) == 6
    assert len(read.recordings) == 1 and "GoPro" in read.facts[0].text
