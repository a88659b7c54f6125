"""Words of column names, in several languages, that name a sensor."""

from __future__ import annotations

from typing import Literal

Kind = Literal["acc", "linear", "gravity", "gyro", "g", "other", ""]
"""`linear` is acceleration without gravity, `g` a bare letter g, `other` a sensor that is not read, "" is unknown."""

WORDS: dict[Kind, str] = {
    "linear": """
    linear lin user free lineare lineal lineaire linearer dynamic linacc 線形 线性 선형 линейное
    """,
    "gravity": """
    gravity grav gravitation gravedad gravite gravita schwerkraft 重力 중력 гравитация
    """,
    "gyro": """
    gyr gyro gyros gyrometer gyroscope gyroscopes gyroscopio giroscopio giroscopo gyroskop gyroscoop rot rotation
    rotationrate rotrate rrate angvel angularvelocity angularrate omega w as drehrate winkelgeschwindigkeit zyroskop
    гироскоп 角速度 陀螺仪 陀螺儀 ジャイロ 角速率 각속도 자이로 자이로스코프
    """,
    "acc": """
    a acc acce accel acceleration accelerations accelerometer accelerometers accelero accl acclm gf gforce
    beschleunigung beschl aceleracion acelerometro aceleracao accelerazione accelerometro accelerometre
    totalacceleration lacc versnelling przyspieszenie kiihtyvyys ivme akselerasjon versnellingsmeter akcelerometr
    uskoreni 加速度 加速度計 加速度计 가속도 가속도계 ускорение акселерометр
    """,
    "other": """
    mag magn magnet magneto magnetic magnetometer magnetometers compass magfield mx field flux euler quat quaternion
    q orientation attitude roll pitch yaw heading position pos location displacement velocity speed gps lat lon
    latitude longitude altitude height jerk emg ecg ekg ppg eda bvp hr heart light lux button temp temperature
    battery bat pressure baro barometer humidity proximity step steps pedometer mic microphone audio counter dv dq
    ori vector metadata annotation
    """,
}
