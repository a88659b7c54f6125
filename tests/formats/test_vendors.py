"""Exports of vendors by name: made tables in each one's layout."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from motion import G, motion, save, stamps, table
from otolith.formats import read_sessions

TIME, ACC, GYRO = motion(40)
MS = 1_700_000_000_000 + np.round(TIME * 1000).astype(np.int64)
NS = 1_700_000_000_000_000_000 + np.round(TIME * 1e9).astype(np.int64)
ISO = stamps(TIME, "%Y-%m-%dT%H:%M:%S.%3f")


def text(frame: pd.DataFrame, before: str = "", **options: object) -> str:
    return before + frame.to_csv(index=False, **options)


def sensor_logger() -> dict[str, str]:
    def one(values):
        return pd.DataFrame(
            {"time": NS, "seconds_elapsed": TIME, "z": values[:, 2], "y": values[:, 1], "x": values[:, 0]}
        )

    return {
        "day/TotalAcceleration.csv": text(one(ACC * G)),
        "day/Gyroscope.csv": text(one(GYRO)),
        "day/Accelerometer.csv": text(one((ACC - ACC.mean(axis=0)) * G)),
        "day/Gravity.csv": text(one(np.tile(ACC.mean(axis=0), (len(TIME), 1)) * G)),
        "day/Orientation.csv": text(one(GYRO)),
        "day/Metadata.csv": "version,device name\n3,iPhone\n",
        "day/Annotation.csv": "time,text\n1,walk\n",
    }


def phyphox() -> dict[str, str]:
    names = "Time (s),{0} x ({1}),{0} y ({1}),{0} z ({1})"
    acc = table(TIME, ACC * G, names=names.format("Acceleration", "m/s^2")).assign(
        **{"Absolute acceleration (m/s^2)": 9.8}
    )
    gyro = table(TIME, GYRO, names=names.format("Gyroscope", "rad/s"))
    return {
        "day/Accelerometer.csv": text(acc, sep=";", decimal=",", quoting=1, float_format="%.9e"),
        "day/Gyroscope.csv": text(gyro, sep=";", decimal=",", quoting=1, float_format="%.9e"),
        "day/meta/device.csv": "property,value\nversion,1.1\n",
        "day/meta/time.csv": "event,experiment time,system time\nSTART,0.0,1700000000.1\n",
    }


def physics_toolbox() -> dict[str, str]:
    frame = table(TIME, ACC, GYRO, "time,gFx,gFy,gFz,wx,wy,wz")
    return {"day.csv": text(frame.assign(TgF=1.0, **{"Bx": 20.0, "By": 1.0, "Bz": 40.0, "Azimuth": 10.0}))}


def sensor_log() -> dict[str, str]:
    frame = pd.DataFrame(
        {"loggingTime(txt)": stamps(TIME, "%Y-%m-%d %H:%M:%S.%3f +0200"), "loggingSample(N)": np.arange(len(TIME))}
    )
    frame["accelerometerTimestamp_sinceReboot(s)"] = TIME + 5000
    for k, a in enumerate("XYZ"):
        frame[f"accelerometerAcceleration{a}(G)"] = ACC[:, k]
        frame[f"motionRotationRate{a}(rad/s)"] = GYRO[:, k]
        frame[f"motionUserAcceleration{a}(G)"] = 0.01
        frame[f"motionGravity{a}(G)"] = 0.5
        frame[f"motionMagneticField{a}(µT)"] = 20.0
    return {"day.csv": text(frame.assign(**{"label(N)": 0, "batteryLevel(R)": 0.5}))}


def metawear() -> dict[str, str]:
    def one(values, unit):
        frame = pd.DataFrame(
            {"epoch (ms)": MS, "time (01:00)": stamps(TIME, "%Y-%m-%dT%H-%M-%S.%3f"), "elapsed (s)": TIME}
        )
        return frame.assign(**{f"{a}-axis ({unit})": values[:, k] for k, a in enumerate("xyz")})

    stem = "day/MetaWear_2024-05-14T10.00.00.000_C0FFEE"
    return {
        f"{stem}_Accelerometer_50.000Hz_1.5.0.csv": text(one(ACC, "g")),
        f"{stem}_Gyroscope_50.000Hz_1.5.0.csv": text(one(np.degrees(GYRO), "deg/s")),
    }


def empatica() -> dict[str, str]:
    start, rate = ["1700000000.000000"] * 3, ["50.000000"] * 3
    counts = np.clip(np.round(ACC * 64), -128, 127).astype(int)
    rows = [", ".join(start), ", ".join(rate), *(",".join(map(str, row)) for row in counts)]
    return {
        "day/ACC.csv": "\n".join(rows) + "\n",
        "day/HR.csv": "1700000000.0\n1.0\n" + "70.0\n" * 40,
        "day/tags.csv": "1700000003.1\n",
    }


def shimmer() -> dict[str, str]:
    said = ["Timestamp_Unix", "Accel_LN_X", "Accel_LN_Y", "Accel_LN_Z", "Gyro_X", "Gyro_Y", "Gyro_Z", "Battery"]
    cols = [f"Shimmer_0000_{name}_CAL" for name in said]
    units = ["ms", "m/(s^2)", "m/(s^2)", "m/(s^2)", "deg/s", "deg/s", "deg/s", "mV"]
    frame = pd.DataFrame(np.column_stack([MS, ACC * G, np.degrees(GYRO), np.full(len(TIME), 3900.0)]), columns=cols)
    body = frame.to_csv(sep="\t", index=False, header=False).replace("\n", "\t\n")
    return {"day.csv": '"sep=\t"\n' + "\t".join(cols) + "\t\n" + "\t".join(units) + "\t\n" + body}


def movesense() -> dict[str, str]:
    packet = np.arange(len(TIME)) // 8 * 8

    def one(values):
        return table(MS[packet], values, names="timestamp,x,y,z")

    return {"day/acc.csv": text(one(ACC * G)), "day/gyro.csv": text(one(np.degrees(GYRO)))}


def polar() -> dict[str, str]:
    frame = pd.DataFrame({"Phone timestamp": stamps(TIME[np.arange(len(TIME)) // 36 * 36], "%Y-%m-%dT%H:%M:%S.%3f")})
    frame["sensor timestamp [ns]"] = 767_000_000_000_000_000 + np.round(TIME * 1e9).astype(np.int64)
    for k, a in enumerate("XYZ"):
        frame[f"{a} [mg]"] = np.round(ACC[:, k] * 1000).astype(int)
    return {"Polar_H10_ACC.txt": text(frame, sep=";")}


def garmin() -> dict[str, str]:
    rows = [f"{t}+02:00;{x};{y};{z}" for t, (x, y, z) in zip(ISO, np.round(ACC * 1000).astype(int), strict=True)]
    return {"acc.csv": "\n".join(rows) + "\n"}


def xsens() -> dict[str, str]:
    frame = pd.DataFrame(
        {"PacketCounter": np.arange(len(TIME)), "SampleTimeFine": np.round(TIME * 1e6 + 4.29e9) % 2**32}
    )
    for k, a in enumerate("XYZ"):
        frame[f"Euler_{a}"], frame[f"FreeAcc_{a}"] = 10.0, 0.1
        frame[f"Acc_{a}"], frame[f"Gyr_{a}"], frame[f"Mag_{a}"] = ACC[:, k] * G, np.degrees(GYRO[:, k]), 0.4
    return {"day.csv": text(frame, "sep=,\nDeviceTag:,Xsens DOT\nFirmwareVersion:,2.0.0\nOutputRate:,50Hz\n\n")}


ACTIGRAPH = """------------ Data File Created By ActiGraph GT9X ActiLife v6.13.4 date format {0} at 50 Hz  Filter Normal ---
Serial Number: NEO1F00000000
Start Time 10:00:00
Start Date {1}
Epoch Period (hh:mm:ss) 00:00:00
Download Time 12:00:00
Download Date {1}
Current Memory Address: 0
Current Battery Voltage: 4.07     Mode = 12
--------------------------------------------------
"""


def actigraph() -> dict[str, str]:
    names = "Timestamp,Accelerometer X,Accelerometer Y,Accelerometer Z"
    frame = table(stamps(TIME, "%d/%m/%Y %H:%M:%S.%3f", "2024-05-01 10:00"), ACC, names=names)
    return {"day.csv": text(frame, ACTIGRAPH.format("dd/MM/yyyy", "1/05/2024"))}


def actigraph_imu() -> dict[str, str]:
    frame = table(
        ISO,
        ACC,
        np.degrees(GYRO),
        "Timestamp,Accelerometer X,Accelerometer Y,Accelerometer Z,Gyroscope X,Gyroscope Y,Gyroscope Z",
    )
    frame.insert(4, "Temperature", 31.2)
    return {"day.csv": text(frame.assign(**{"Magnetometer X": 1.0, "Magnetometer Y": 2.0, "Magnetometer Z": 3.0}))}


def actigraph_without_stamps() -> dict[str, str]:
    frame = table(TIME, ACC, names="t,Accelerometer X,Accelerometer Y,Accelerometer Z").drop(columns="t")
    return {"day.csv": text(frame, ACTIGRAPH.format("M/d/yyyy", "5/14/2024"))}


def geneactiv() -> dict[str, str]:
    head = [
        "Device Type,GENEActiv",
        "Device Unique Serial Code,012967",
        "Measurement Frequency,50.0 Hz",
        "Start Time,2024-05-14 10:00:00:000",
    ]
    head += ["Calibration Dates,", ""] * 48
    frame = table(stamps(TIME, "%Y-%m-%d %H:%M:%S:%3f"), ACC).assign(light=12, button=0, temperature=24.6)
    return {"day.csv": "\n".join(head) + "\n" + frame.to_csv(index=False, header=False, float_format="%.4f")}


def axivity() -> dict[str, str]:
    return {
        "day.csv": table(stamps(TIME, "%Y-%m-%d %H:%M:%S.%3f"), ACC).to_csv(
            index=False, header=False, float_format="%.6f"
        )
    }


def axivity_named() -> dict[str, str]:
    names = "Time,Accel-X (g),Accel-Y (g),Accel-Z (g),Gyro-X (d/s),Gyro-Y (d/s),Gyro-Z (d/s)"
    return {"day.csv": text(table(stamps(TIME, "%Y-%m-%d %H:%M:%S.%3f"), ACC, np.degrees(GYRO), names))}


def opencamera() -> dict[str, str]:
    def one(values):
        return pd.DataFrame(
            {
                "x": values[:, 0],
                "y": values[:, 1],
                "z": values[:, 2],
                "t": 8_925_125_055_592_799 + np.round(TIME * 1e9).astype(np.int64),
            }
        )

    return {
        f"day/20240514_{name}.csv": one(v).to_csv(index=False, header=False)
        for name, v in (("accel", ACC * G), ("gyro", GYRO))
    }


def androsensor() -> dict[str, str]:
    frame = pd.DataFrame()
    for k, a in enumerate("XYZ"):
        frame[f"ACCELEROMETER {a} (m/s²)"], frame[f"GRAVITY {a} (m/s²)"] = ACC[:, k] * G, 3.0
        frame[f"LINEAR ACCELERATION {a} (m/s²)"], frame[f"GYROSCOPE {a} (rad/s)"] = 0.1, GYRO[:, k]
    frame["LIGHT (lux)"], frame["Time since start in ms "] = 12.0, np.round(TIME * 1000)
    frame["YYYY-MO-DD HH-MI-SS_SSS"] = stamps(TIME, "%Y-%m-%d %H:%M:%S:%3f")
    return {"day.csv": text(frame, sep=";")}


def witmotion() -> dict[str, str]:
    frame = table(
        stamps(TIME, "%Y-%m-%d %H:%M:%S:%3f"),
        ACC,
        np.degrees(GYRO),
        "time,AccX(g),AccY(g),AccZ(g),AsX(°/s),AsY(°/s),AsZ(°/s)",
    )
    frame.insert(1, "DeviceName", "WT901")
    return {
        "day.csv": text(frame.assign(**{"AngleX(°)": 1.0, "AngleY(°)": 2.0, "AngleZ(°)": 3.0, "T(°)": 25.0}), sep="\t")
    }


def wisdm() -> dict[str, str]:
    rows = [f"1600,A,{t},{x},{y},{z};" for t, (x, y, z) in zip(NS // 7, ACC * G, strict=True)]
    return {"day.txt": "\n".join(rows) + "\n"}


VENDORS = {
    "Sensor Logger": (sensor_logger, 6),
    "phyphox": (phyphox, 6),
    "Physics Toolbox": (physics_toolbox, 6),
    "SensorLog": (sensor_log, 6),
    "MetaWear": (metawear, 6),
    "Empatica E4": (empatica, 3),
    "Shimmer": (shimmer, 6),
    "Movesense": (movesense, 6),
    "Polar": (polar, 3),
    "Garmin": (garmin, 3),
    "Xsens": (xsens, 6),
    "ActiGraph": (actigraph, 3),
    "ActiGraph IMU": (actigraph_imu, 6),
    "ActiGraph without stamps": (actigraph_without_stamps, 3),
    "GENEActiv": (geneactiv, 3),
    "Axivity": (axivity, 3),
    "Axivity with names": (axivity_named, 6),
    "OpenCamera Sensors": (opencamera, 6),
    "AndroSensor": (androsensor, 6),
    "WitMotion": (witmotion, 6),
}


@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("zipped", [False, True])
def test_exports_of(tmp_path, vendor, zipped) -> None:
    make, channels = VENDORS[vendor]
    files = make()
    folder = tmp_path / "export"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    source = folder
    if zipped:
        source = tmp_path / "export.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    (session,) = read_sessions([source], gyro=None)
    assert len(session.channels) == channels, session.facts
    assert session.rate_hz == pytest.approx(50, rel=0.01) and session.seconds == pytest.approx(40, abs=0.2)
    (recording,) = session.recordings
    expected = np.hstack([ACC, GYRO])[:, :channels]
    count = min(len(recording.signal), len(expected)) - 10
    coarse = 0.02 if vendor in ("Empatica E4", "Movesense") else 2e-3
    error = np.abs(recording.signal[10:count] - expected[10:count])
    assert np.median(error) < coarse, session.facts


def test_wisdm_has_several_integers_before_the_clock(tmp_path) -> None:
    (tmp_path / "day.txt").write_text(wisdm()["day.txt"])
    with io.StringIO():
        from otolith.formats import ReadOptions

        (session,) = read_sessions([tmp_path / "day.txt"], ReadOptions(time_unit="ns", subject_column="0"))
    assert session.subject == "1600"
    np.testing.assert_allclose(session.recordings[0].signal[:100], ACC[:100], atol=0.4)


def test_counts_per_epoch_are_no_acceleration(tmp_path) -> None:
    counts = np.random.default_rng(0).integers(0, 300, (200, 3))
    before = (
        "------ Data Table File Created By ActiGraph wGT3XBT ActiLife v6.12.1 date format M/d/yyyy Filter Normal ------\n"
        "Serial Number: X\nStart Time 00:00:00\nStart Date 2/12/2019\nEpoch Period (hh:mm:ss) 00:00:15\n"
        "Download Time 15:29:12\nDownload Date 4/12/2018\nCurrent Memory Address: 0\n"
        "Current Battery Voltage: 3.98     Mode = 61\n--------------------------------------------------\n"
    )
    path = save(tmp_path / "a15sec.csv", pd.DataFrame(counts, columns=["Axis1", "Axis2", "Axis3"]), before)
    with pytest.raises(ValueError, match=r"holds counts per epoch of 15 s.*raw"):
        read_sessions([path])
