"""Units and gravity: the header's words, magnitudes, and what is decided once for all files of a device."""

import numpy as np
import pytest

from motion import G, motion, save, table
from otolith.formats import ReadOptions, Units, read_sessions, survey

ACC = {"g": 1.0, "m/s2": G, "mg": 1000.0}
WORDS = {
    "g": ["(g)", "[G]", " (gs)", "_g", "(gn)"],
    "m/s2": ["(m/s^2)", "[m/s²]", "(m/(s^2))", "_ms2", "(m/s/s)", "(m·s⁻²)", "(mps2)", "(metres per second2)"],
    "mg": ["(mg)", "[mG]", "_mg", "(milli-g)"],
}
TURNS = {
    "rad/s": ["(rad/s)", "[rad/sec]", "_rad_s", "(radians/second)", "_rads"],
    "deg/s": ["(deg/s)", "[°/s]", "_dps", "(degrees/sec)", "(DPS)", "[º/s]"],
    "mdeg/s": ["(mdps)", "(mdeg/s)"],
}


def quiet(seconds: float = 40.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Somebody who sits and turns slowly."""
    time, _, _ = motion(seconds)
    rng = np.random.default_rng(2)
    angle = 0.15 * np.sin(2 * np.pi * 0.25 * time)
    acc = np.column_stack([np.sin(angle), np.cos(angle), np.zeros(len(time))]) + rng.normal(0, 0.004, (len(time), 3))
    speed = 0.15 * 2 * np.pi * 0.25 * np.cos(2 * np.pi * 0.25 * time)
    gyro = np.column_stack([np.zeros(len(time)), np.zeros(len(time)), speed]) + rng.normal(0, 0.003, (len(time), 3))
    return time, acc, gyro


@pytest.mark.parametrize("unit", list(ACC))
@pytest.mark.parametrize("make", [motion, quiet])
def test_units_of_acceleration_by_magnitude(tmp_path, unit, make) -> None:
    time, acc, _ = make(30)
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, acc * ACC[unit]))])
    assert any(f.text.startswith(f"acceleration in {unit} ") and f.guessed for f in session.facts)
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


@pytest.mark.parametrize(
    ("unit", "word"), [(unit, word) for unit, words in WORDS.items() for word in words if "⁻" not in word]
)
def test_the_header_names_the_unit_of_acceleration(tmp_path, unit, word) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc * ACC[unit], names=f"time,acc_x{word},acc_y{word},acc_z{word}")
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    assert any(f.text.startswith(f"acceleration in {unit} ") and not f.guessed for f in session.facts), session.facts
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


@pytest.mark.parametrize(("unit", "word"), [(unit, word) for unit, words in TURNS.items() for word in words])
@pytest.mark.parametrize("make", [motion, quiet])
def test_the_header_names_the_unit_of_angular_rate(tmp_path, unit, word, make) -> None:
    time, acc, gyro = make(30)
    per = {"rad/s": 1.0, "deg/s": 180 / np.pi, "mdeg/s": 180_000 / np.pi}[unit]
    frame = table(time, acc, gyro * per, f"time,acc_x,acc_y,acc_z,gyro_x{word},gyro_y{word},gyro_z{word}")
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    assert any(f.text.startswith(f"angular rate in {unit} ") and not f.guessed for f in session.facts), session.facts
    np.testing.assert_allclose(session.recordings[0].signal[:, 3:], gyro, atol=1e-3)


@pytest.mark.parametrize("make", [motion, quiet])
@pytest.mark.parametrize(("unit", "per"), [("rad/s", 1.0), ("deg/s", 180 / np.pi)])
def test_the_unit_of_angular_rate_follows_from_how_gravity_turns(tmp_path, make, unit, per) -> None:
    time, acc, gyro = make(40)
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, acc, gyro * per))])
    assert any(f.text.startswith(f"angular rate in {unit} ") and f.guessed for f in session.facts), session.facts


def test_options_overrule_the_header(tmp_path) -> None:
    time, acc, gyro = motion(30)
    path = save(
        tmp_path / "a.csv", table(time, acc, gyro, "time,acc_x (mg),acc_y (mg),acc_z (mg),gx (dps),gy (dps),gz (dps)")
    )
    (session,) = read_sessions([path], ReadOptions(acc_unit="g", gyro_unit="rad/s"))
    np.testing.assert_allclose(session.recordings[0].signal, np.hstack([acc, gyro]), atol=1e-3)
    with pytest.raises(ValueError, match=r"said to be in mg, but its median size, 1.*gravity in g; pass --acc-unit g"):
        read_sessions([path])


@pytest.mark.parametrize("counts", [64, 256, 2048, 16384])
def test_counts_are_named_and_an_option_reads_them(tmp_path, counts) -> None:
    time, acc, _ = motion(30)
    path = save(tmp_path / "a.csv", table(time, np.round(acc * counts)))
    with pytest.raises(ValueError, match=rf"counts of 1/{counts} g.*--acc-unit g/{counts}"):
        read_sessions([path])
    (session,) = read_sessions([path], ReadOptions(acc_unit=f"g/{counts}"))
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1 / counts)


def low_passed(values: np.ndarray, rate: float = 50.0) -> np.ndarray:
    """The slow part of a signal: gravity."""
    k = int(rate)
    return np.column_stack(
        [np.convolve(np.pad(c, k, mode="edge"), np.ones(2 * k + 1) / (2 * k + 1), "valid") for c in values.T]
    )


@pytest.mark.parametrize("per", [1.0, G, 0.45 * G, 1000.0])
@pytest.mark.parametrize(
    "names", ["time,x,y,z", "time,acc_x,acc_y,acc_z", "time,userAcceleration.x,userAcceleration.y,userAcceleration.z"]
)
def test_an_acceleration_without_gravity_is_refused(tmp_path, per, names) -> None:
    time, acc, _ = motion(60)
    linear = (acc - low_passed(acc)) * per
    with pytest.raises(ValueError, match=r"no gravity.*--gravity X,Y,Z"):
        read_sessions([save(tmp_path / "a.csv", table(time, linear, names=names))])


@pytest.mark.parametrize("per", [1.0, 180 / np.pi])
def test_an_angular_rate_is_no_acceleration(tmp_path, per) -> None:
    time, _, gyro = motion(60)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no gravity"):
        read_sessions([save(tmp_path / "a.csv", table(time, (gyro + rng.normal(0, 0.5, gyro.shape)) * per))])


def test_a_sensor_at_rest_is_read_and_its_noise_is_not(tmp_path) -> None:
    time = np.arange(3000) / 50
    noise = np.random.default_rng(0).normal(0, 0.004, (3000, 3))
    for per in ACC.values():
        rest = (noise + np.array([0.02, -0.03, 0.998])) * per
        (session,) = read_sessions([save(tmp_path / "a.csv", table(time, rest))])
        assert np.linalg.norm(session.recordings[0].signal.mean(axis=0)) == pytest.approx(1, abs=0.01)
        with pytest.raises(ValueError, match=r"gravity"):
            read_sessions([save(tmp_path / "b.csv", table(time, (noise + np.array([0.01, 0.02, 0.01])) * per))])


def test_a_name_that_denies_gravity_is_overruled_by_the_values(tmp_path) -> None:
    time, acc, _ = motion(30)
    names = "time,linear_acceleration.x,linear_acceleration.y,linear_acceleration.z"
    (session,) = read_sessions([save(tmp_path / "a.csv", table(time, acc, names=names))])
    assert any("contains gravity, though" in f.text and f.option == "--has-gravity" for f in session.facts)
    with pytest.raises(ValueError, match=r"gravity was removed"):
        read_sessions([tmp_path / "a.csv"], ReadOptions(has_gravity=False))


def jumping(seconds: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """A person who jumps: in free fall for half of the time, so that the median size is far below 1 g."""
    time = np.arange(round(seconds * 50)) / 50
    phase = time % 0.8
    up = np.where(phase < 0.42, 0.3, 1.87) + np.random.default_rng(0).normal(0, 0.05, len(time))
    return time, np.column_stack([0.05 * np.sin(20 * time), 0.05 * np.cos(17 * time), up])


def test_facts_of_a_device_are_decided_for_the_whole_folder(tmp_path) -> None:
    time, acc, gyro = motion(30)
    still = np.random.default_rng(1).normal(0, 0.05, gyro.shape)  # nearly no turning: alone, it says nothing
    rest = np.random.default_rng(3).normal(0, 0.004, acc.shape) + np.array([0, 0, 1])
    for number in range(4):
        save(
            tmp_path / f"lively{number}.csv",
            table(time, motion(30, seed=number)[1], np.degrees(motion(30, seed=number)[2])),
        )
        save(tmp_path / f"quiet{number}.csv", table(time, rest, np.degrees(still) / 50))
    when, jumps = jumping()
    save(
        tmp_path / "jump.csv",
        table(when, jumps, np.zeros_like(jumps) + np.random.default_rng(2).normal(0, 40, jumps.shape)),
    )
    sessions = read_sessions([tmp_path])
    assert len(sessions) == 9
    assert {f.text.split(" (")[0] for s in sessions for f in s.facts if f.topic == "angular rate"} == {
        "angular rate in deg/s"
    }
    assert {f.text.split(" (")[0] for s in sessions for f in s.facts if f.topic == "acceleration"} == {
        "acceleration in g"
    }
    one = next(s for s in sessions if s.name == "quiet0")
    assert np.abs(one.recordings[0].signal[:, 3:]).max() < 0.01


def test_files_of_one_layout_and_two_units_contradict(tmp_path) -> None:
    time, acc, _ = motion(30)
    for number in range(3):
        save(tmp_path / f"a{number}.csv", table(time, acc))
    save(tmp_path / "b.csv", table(time, acc * G))
    with pytest.raises(ValueError, match=r"'b.csv'.*gravity in m/s2; 'a0.csv' has the same columns.*--acc-unit"):
        read_sessions([tmp_path])
    (tmp_path / "b.csv").unlink()
    save(tmp_path / "c.csv", table(time, acc * G, names="t,acc_x,acc_y,acc_z"))
    assert len(read_sessions([tmp_path])) == 4, "another layout is another device"


def test_units_of_a_model_are_taken_over(tmp_path) -> None:
    time, _, _ = motion(30)
    rest = np.random.default_rng(3).normal(0, 0.004, (len(time), 3)) + np.array([0, 0, 1])
    still = np.random.default_rng(1).normal(0, 0.2, (len(time), 3))
    path = save(tmp_path / "a.csv", table(time, rest, still))
    for unit in ("deg/s", "rad/s"):
        (session,) = read_sessions([path], known=Units("g", unit))
        assert any(
            f"angular rate in {unit}" in f.text and "as in the model's recordings" in f.text for f in session.facts
        )
    loud = save(tmp_path / "b.csv", table(time, rest * G, still * 400))
    units = survey([loud], known=Units("g", "rad/s")).units["b"]
    assert (units.acc, units.gyro) == ("m/s2", "deg/s"), "units that magnitudes exclude are not taken over"
