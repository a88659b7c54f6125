"""Columns: names of any tool, one sensor's axes, several sensors, people and devices, tables without names."""

import numpy as np
import pandas as pd
import pytest

from motion import motion, save, stamps, table
from otolith.formats import ReadOptions, read_sessions

NAMES = [
    "time,x,y,z,gx,gy,gz",
    "Timestamp,accX,accY,accZ,gyroX,gyroY,gyroZ",
    "t,Accel_X,Accel_Y,Accel_Z,Gyro_X,Gyro_Y,Gyro_Z",
    "seconds_elapsed,a.x,a.y,a.z,w.x,w.y,w.z",
    "Time (s),Acceleration x,Acceleration y,Acceleration z,Gyroscope x,Gyroscope y,Gyroscope z",
    "time,Axis X,Axis Y,Axis Z,Rotation X,Rotation Y,Rotation Z",
    "time,ax,ay,az,gx,gy,gz",
    "time,a_x,a_y,a_z,g_x,g_y,g_z",
    "time,x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro",
    "time,Accelerometer X,Accelerometer Y,Accelerometer Z,Gyroscope X,Gyroscope Y,Gyroscope Z",
    "timestamp,linear_acceleration.x,linear_acceleration.y,linear_acceleration.z,"
    "angular_velocity.x,angular_velocity.y,angular_velocity.z",
    "time,acc_1,acc_2,acc_3,gyr_1,gyr_2,gyr_3",
    "time,acc[0],acc[1],acc[2],gyro[0],gyro[1],gyro[2]",
    "time,wrist acceleration x,wrist acceleration y,wrist acceleration z,wrist angular rate x,wrist angular rate y,"
    "wrist angular rate z",
    "Zeit (s),Beschleunigung x,Beschleunigung y,Beschleunigung z,Drehrate x,Drehrate y,Drehrate z",
    "temps,accélération x,accélération y,accélération z,gyroscope x,gyroscope y,gyroscope z",
    "time,IMU1 Acc X,IMU1 Acc Y,IMU1 Acc Z,IMU1 Gyr X,IMU1 Gyr Y,IMU1 Gyr Z",
    "time,accelerationIncludingGravity.x,accelerationIncludingGravity.y,accelerationIncludingGravity.z,"
    "rotationRate.x,rotationRate.y,rotationRate.z",
]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_names_of_many_tools(tmp_path, names, shuffled) -> None:
    time, acc, gyro = motion(30)
    frame = table(time, acc, gyro, names)
    if shuffled:
        frame = frame[list(np.random.default_rng(1).permutation(list(frame.columns)))]
    frame["magnetometer_x"] = 40.0
    frame["Temperature"] = 24.6
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)], gyro=True)
    np.testing.assert_allclose(session.recordings[0].signal, np.hstack([acc, gyro]), atol=1e-3)


OTHERS = {
    "a position": {"z": 1.0},
    "a magnetometer": {"x": 20.0, "mag_y": 3.0, "mag_z": 1.0},
    "angles": {"roll": 0.1, "pitch": 0.2, "yaw": 0.3},
    "Euler angles": {"Euler_X": 1.0, "Euler_Y": 2.0, "Euler_Z": 3.0},
    "free acceleration": {"FreeAcc_X": 0.1, "FreeAcc_Y": 0.0, "FreeAcc_Z": 0.0},
    "magnitude": {"acc_total": 1.0},
    "GPS": {"lat": 50.1, "lon": 8.2, "speed": 0.4},
}


@pytest.mark.parametrize("kind", list(OTHERS))
@pytest.mark.parametrize("first", [True, False])
def test_axes_of_other_sensors_are_never_mixed_in(tmp_path, kind, first) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc, names="time,acc_x,acc_y,acc_z")
    for name, value in OTHERS[kind].items():
        frame.insert(0 if first else len(frame.columns), name, value)
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


TWO = [
    ("acc_x_left,acc_y_left,acc_z_left", "acc_x_right,acc_y_right,acc_z_right", "right"),
    ("wrist_ax,wrist_ay,wrist_az", "ankle_ax,ankle_ay,ankle_az", "ankle"),
    ("acc1_x,acc1_y,acc1_z", "acc2_x,acc2_y,acc2_z", "acc2"),
    ("Accel_LN_X,Accel_LN_Y,Accel_LN_Z", "Accel_WR_X,Accel_WR_Y,Accel_WR_Z", "WR"),
]


@pytest.mark.parametrize(("one", "two", "chosen"), TWO)
def test_of_two_sensors_one_is_chosen_by_an_option(tmp_path, one, two, chosen) -> None:
    time, acc, _ = motion(30)
    other = motion(30, seed=5)[1]
    frame = table(time, acc, names=f"time,{one}")
    for k, name in enumerate(two.split(",")):
        frame.insert(2 * k + 1, name, other[:, k])
    path = save(tmp_path / "a.csv", frame)
    with pytest.raises(ValueError, match=r"several accelerometers.*--sensor") as error:
        read_sessions([path])
    assert one.split(",")[0] in str(error.value) and two.split(",")[2] in str(error.value)
    (session,) = read_sessions([path], ReadOptions(sensor=chosen))
    np.testing.assert_allclose(session.recordings[0].signal, other, atol=1e-3)
    assert any("not used" in f.text for f in session.facts)
    (session,) = read_sessions([path], ReadOptions(acc=tuple(one.split(","))))
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)
    with pytest.raises(ValueError, match=r"no sensor 'chest'"):
        read_sessions([path], ReadOptions(sensor="chest"))


def test_the_gyroscope_of_the_same_place_is_taken(tmp_path) -> None:
    time, acc, gyro = motion(30)
    frame = table(time, acc, gyro, "time,wrist_acc_x,wrist_acc_y,wrist_acc_z,wrist_gyro_x,wrist_gyro_y,wrist_gyro_z")
    for k, axis in enumerate("xyz"):
        frame.insert(1, f"ankle_gyro_{axis}", gyro[:, k] * -1)
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)], gyro=True)
    np.testing.assert_allclose(session.recordings[0].signal[:, 3:], gyro, atol=1e-3)
    frame = frame.rename(columns=lambda name: name.replace("wrist_gyro", "chest_gyro"))
    path = save(tmp_path / "b.csv", frame)
    with pytest.raises(ValueError, match=r"several gyroscopes"):
        read_sessions([path], gyro=True)
    (session,) = read_sessions([path])
    assert len(session.channels) == 3, "a gyroscope that is not needed is left out, and named"
    assert any("ankle_gyro" in f.text for f in session.facts)


def test_total_acceleration_is_preferred_and_gravity_is_added(tmp_path) -> None:
    time, acc, _gyro = motion(30)
    gravity = np.column_stack([np.convolve(np.pad(c, 50, mode="edge"), np.ones(101) / 101, "valid") for c in acc.T])
    names = {f"motionUserAcceleration{a}(G)": acc[:, k] - gravity[:, k] for k, a in enumerate("XYZ")} | {
        f"motionGravity{a}(G)": gravity[:, k] for k, a in enumerate("XYZ")
    }
    frame = pd.DataFrame({"loggingTime(s)": time} | names)
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)
    assert any("gravity motionGravityX(G)" in f.text for f in session.facts)
    for k, a in enumerate("XYZ"):
        frame[f"accelerometerAcceleration{a}(G)"] = acc[:, k]
    (session,) = read_sessions([save(tmp_path / "b.csv", frame)])
    assert any("acceleration accelerometerAccelerationX(G)" in f.text for f in session.facts)
    plain = pd.DataFrame({"time": time, **dict(zip(["x", "y", "z"], (acc - gravity).T, strict=True))})
    plain = plain.assign(**dict(zip(["down_x", "down_y", "down_z"], gravity.T, strict=True)))
    path = save(tmp_path / "c.csv", plain)
    with pytest.raises(ValueError, match=r"gravity"):
        read_sessions([path], ReadOptions(acc=("x", "y", "z")))
    (session,) = read_sessions([path], ReadOptions(acc=("x", "y", "z"), gravity=("down_x", "down_y", "down_z")))
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


EXTRA = [
    {"light": 12.0, "button": 0, "temperature": 24.6},
    {"light": "vary", "button": "bit", "temperature": "drift"},
    {"battery": "drift", "steps": "count"},
    {"light": "vary", "lux": "vary", "temperature": "drift", "battery": "drift"},
]


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("named", [True, False])
def test_light_button_and_temperature_are_no_gyroscope(tmp_path, extra, named) -> None:
    time, acc, _ = motion(30)
    rng = np.random.default_rng(0)
    made = {
        "vary": rng.gamma(2, 20, len(time)),
        "bit": (rng.random(len(time)) > 0.9).astype(int),
        "drift": 24 + 0.01 * time + rng.normal(0, 0.01, len(time)),
        "count": np.arange(len(time)) // 50,
    }
    frame = table(stamps(time, "%Y-%m-%d %H:%M:%S:%3f"), acc)
    for name, value in extra.items():
        frame[name] = made.get(value, value) if isinstance(value, str) else value
    path = save(tmp_path / "a.csv", frame, header=named)
    (session,) = read_sessions([path])
    assert session.channels == ("acc_x", "acc_y", "acc_z")
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


@pytest.mark.parametrize("order", ["time,x,y,z", "x,y,z,time", "code,time,x,y,z", "id,time,x,y,z", "x,y,z"])
@pytest.mark.parametrize("clock", ["s", "ns", "dates"])
@pytest.mark.parametrize("gyro", [True, False])
def test_tables_without_names(tmp_path, order, clock, gyro) -> None:
    time, acc, turn = motion(30)
    column = {"s": time, "ns": 8_925_125_055_592_799 + np.round(time * 1e9).astype(np.int64)}
    frame = table(column.get(clock, stamps(time, "%Y-%m-%d %H:%M:%S.%f")), acc)
    frame["code"], frame["id"] = "A", 1600
    frame = frame[order.split(",")]
    if gyro:
        at = list(frame.columns).index("z") + 1
        for k, name in enumerate(("gx", "gy", "gz")):
            frame.insert(at + k, name, turn[:, k])
    options = ReadOptions(rate_hz=50.0 if "time" not in order else None)
    (session,) = read_sessions([save(tmp_path / "a.csv", frame, header=False)], options)
    assert len(session.channels) == (6 if gyro else 3)
    np.testing.assert_allclose(session.recordings[0].signal, np.hstack([acc, turn]) if gyro else acc, atol=1e-3)


@pytest.mark.parametrize("column", ["subject", "User", "participant_id", "Person"])
@pytest.mark.parametrize("mixed", [True, False])
def test_people_in_one_table_are_cut_apart(tmp_path, column, mixed) -> None:
    made = [motion(20, seed=seed) for seed in range(3)]
    frames = [table(time, acc).assign(**{column: name}) for (time, acc, _), name in zip(made, [7, 2, 11], strict=True)]
    frame = pd.concat(frames)
    frame = frame.sort_values("time", kind="stable") if mixed else frame
    sessions = read_sessions([save(tmp_path / "a.csv", frame)])
    assert [(s.name, s.subject) for s in sessions] == [("a-7", "7"), ("a-2", "2"), ("a-11", "11")]
    for session, (_, acc, _) in zip(sessions, made, strict=True):
        np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)
    assert any("3 people" in f.text for f in sessions[0].facts)


def test_devices_and_other_columns_by_option(tmp_path) -> None:
    one, two = motion(20), motion(20, seed=4)
    frame = pd.concat(
        [table(one[0], one[1]).assign(device="watch", who="a"), table(two[0], two[1]).assign(device="phone", who="b")]
    )
    frame = frame.sort_values("time", kind="stable")
    path = save(tmp_path / "a.csv", frame)
    assert [s.name for s in read_sessions([path])] == ["a-watch", "a-phone"]
    found = read_sessions([path], ReadOptions(subject_column="who"))
    assert [(s.name, s.subject) for s in found] == [("a-a-watch", "a"), ("a-b-phone", "b")]
    with pytest.raises(ValueError, match=r"no column 'whom'; the file has: time, x, y, z, device, who; is it 'who'"):
        read_sessions([path], ReadOptions(subject_column="whom"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acc": ("x", "y", "w")}, "no column 'w'; the file has: time, x, y, z"),
        ({"acc": ("x", "y")}, "--acc names 2 columns"),
        ({"acc": ("x", "y", "y")}, "names a column twice"),
        ({"time": "clock"}, "no column 'clock'"),
        ({"acc_unit": "lb"}, "--acc-unit is 'lb'; expected g"),
        ({"gyro_unit": "turns"}, "--gyro-unit is 'turns'"),
        ({"time_unit": "weeks"}, "--time-unit is 'weeks'"),
        ({"rate_hz": -1.0}, "--rate is -1"),
        ({"skip_rows": -2}, "--skip-rows is -2"),
        ({"max_gap_s": 0.0}, "--max-gap is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message) -> None:
    time, acc, _ = motion(20)
    path = save(tmp_path / "a.csv", table(time, acc))
    with pytest.raises(ValueError, match=message):
        read_sessions([path], ReadOptions(**options))


def test_a_table_without_an_accelerometer_lists_what_it_has(tmp_path) -> None:
    time, acc, gyro = motion(20)
    for names in ("time,p,q,r", "time,mag_x,mag_y,mag_z"):
        with pytest.raises(ValueError, match=r"cannot tell which columns.*the file has: time, .*--acc"):
            read_sessions([save(tmp_path / "a.csv", table(time, acc, names=names))])
    with pytest.raises(ValueError, match=r"no accelerometer: its columns gyro_x, gyro_y, gyro_z are a gyroscope's"):
        read_sessions([save(tmp_path / "b.csv", table(time, gyro, names="time,gyro_x,gyro_y,gyro_z"))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "x"}, r"'a.csv': --time names x, which is an axis of x, y, z"),
        ({"time": "x", "acc": ("x", "y", "z")}, r"'a.csv': --time and --acc both name the column x"),
        ({"acc": ("x", "y", "z"), "gyro": ("gx", "gy", "z")}, r"'a.csv': --acc and --gyro both name the column z"),
        ({"acc": ("x", "y", "z"), "device_column": "2"}, r"'a.csv': --acc and --device-column both name the column y"),
    ],
)
def test_a_column_has_one_meaning(tmp_path, options, message) -> None:
    time, acc, gyro = motion(10)
    with pytest.raises(ValueError, match=message):
        read_sessions([save(tmp_path / "a.csv", table(time, acc, gyro))], ReadOptions(**options))


@pytest.mark.parametrize("value", [1e300, -1e300, 1e21, 1e15])
def test_absurd_values_cost_their_rows_and_no_warning(tmp_path, value) -> None:
    time, acc, gyro = motion(30)
    frame = table(time, acc, gyro)
    frame.loc[[300, 301, 900], "y"] = value
    (session,) = read_sessions([save(tmp_path / "a.csv", frame)])
    np.testing.assert_allclose(session.recordings[0].signal[:300, :3], acc[:300], atol=1e-3)
    assert len(session.recordings) == 1 and any("3 of 1,500 rows" in str(fact) for fact in session.facts)


@pytest.mark.parametrize(
    "names",
    [
        "時間,加速度X(m/s2),加速度Y(m/s2),加速度Z(m/s2),角速度X(deg/s),角速度Y(deg/s),角速度Z(deg/s)",
        "时间(s),加速度X(m/s²),加速度Y(m/s²),加速度Z(m/s²),陀螺仪X(°/s),陀螺仪Y(°/s),陀螺仪Z(°/s)",
        "시간,가속도X(m/s²),가속도Y(m/s²),가속도Z(m/s²),각속도X(°/s),각속도Y(°/s),각속도Z(°/s)",
        "Время (с),Ускорение X (м/с²),Ускорение Y (м/с²),Ускорение Z (м/с²),Гироскоп X (град/с),Гироскоп Y (град/с),"  # noqa: RUF001
        "Гироскоп Z (град/с)",  # noqa: RUF001
        "X[s],Sensor 1: ACC.X [m/s^2],Sensor 1: ACC.Y [m/s^2],Sensor 1: ACC.Z [m/s^2],Sensor 1: GYRO.X [deg/s],"
        "Sensor 1: GYRO.Y [deg/s],Sensor 1: GYRO.Z [deg/s]",
        "t,a_x [$m/s^2$],a_y [$m/s^2$],a_z [$m/s^2$],w_x [$deg/s$],w_y [$deg/s$],w_z [$deg/s$]",
        "t,ax (ms⁻²),ay (ms⁻²),az (ms⁻²),gx (deg·s⁻¹),gy (deg·s⁻¹),gz (deg·s⁻¹)",
        "t,Acc X in m/s²,Acc Y in m/s²,Acc Z in m/s²,Gyr X in °/s,Gyr Y in °/s,Gyr Z in °/s",
    ],
)
def test_names_and_units_of_other_languages(tmp_path, names) -> None:
    time, acc, gyro = motion(20)
    session = read_sessions([save(tmp_path / "a.csv", table(time, acc * 9.80665, np.degrees(gyro), names))])[0]
    signal = session.recordings[0].signal
    np.testing.assert_allclose(signal[:, :3], acc, atol=1e-3)
    np.testing.assert_allclose(signal[:, 3:], gyro, atol=1e-3)
    assert any("from the header" in fact.text and fact.topic == "angular rate" for fact in session.facts)


def test_a_unit_may_be_the_name_of_the_sensor(tmp_path) -> None:
    time, acc, gyro = motion(20)
    frame = table(time, acc, np.degrees(gyro), "time,g_x,g_y,g_z,dps_x,dps_y,dps_z")
    session = read_sessions([save(tmp_path / "a.csv", frame)])[0]
    np.testing.assert_allclose(session.recordings[0].signal[:, 3:], gyro, atol=1e-3)


def test_rows_of_another_sensor_are_no_device(tmp_path) -> None:
    time, acc, gyro = motion(20)
    rows = pd.concat(
        [table(time, acc).assign(kind="ring"), table(time + 0.004, gyro).assign(kind="band")], ignore_index=True
    ).sort_values("time")
    path = save(tmp_path / "a.csv", rows.rename(columns={"kind": "device"}))
    with pytest.raises(ValueError, match=r"rows with 'band' have no gravity"):
        read_sessions([path])


def test_sensor_types_of_android_are_numbers(tmp_path) -> None:
    time, acc, gyro = motion(20)
    rows = pd.concat([table(time, acc * 9.80665).assign(sensor_type=1), table(time, gyro).assign(sensor_type=4)])
    session = read_sessions([save(tmp_path / "a.csv", rows.sort_values("time", kind="stable"))])[0]
    np.testing.assert_allclose(session.recordings[0].signal[10:-10, 3:], gyro[10:-10], atol=0.01)


def test_two_devices_in_turn_without_a_column_are_refused(tmp_path) -> None:
    time, acc, _ = motion(20)
    rows = pd.concat([table(time, acc), table(time + 0.003, acc[:, [1, 0, 2]])]).sort_values("time")
    with pytest.raises(ValueError, match=r"alternates from row to row between two courses.*--device-column"):
        read_sessions([save(tmp_path / "a.csv", rows)])


def test_several_numbers_in_a_cell_are_shown(tmp_path) -> None:
    time, acc, _ = motion(20)
    frame = pd.DataFrame({"time": time, "acc": [str(np.round(row, 4).tolist()) for row in acc]})
    with pytest.raises(ValueError, match=r"a cell holds several numbers, such as '\[.*column of its own"):
        read_sessions([save(tmp_path / "a.csv", frame)])
