"""Units of the channels, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g, the accelerometry convention."""

UNITS = {"acc": "g", "gyro": "rad/s", "emg": "full scale"}
"""Unit of each kind of channel; a channel is named kind_axis, for example `acc_x`, or `emg_1` for the first electrode.
Muscle signals are shares of what the converter can represent, -1 to 1, since armbands do not state volts."""

ACCELEROMETER = ("acc_x", "acc_y", "acc_z")
GYROSCOPE = ("gyro_x", "gyro_y", "gyro_z")
ARMBAND = tuple(f"emg_{electrode}" for electrode in range(1, 9))

PER_UNIT: dict[str, dict[str, float]] = {
    "acc": {"g": 1.0, "m/s2": STANDARD_GRAVITY, "mg": 1000.0},
    "gyro": {"rad/s": 1.0, "deg/s": 180 / np.pi},
    "emg": {"full scale": 1.0, "int8": 128.0},
}
"""Units that can be converted, and how many of each make one of `UNITS`: values are divided by it once, when read."""

GROUPS = {"acc": ACCELEROMETER, "gyro": GYROSCOPE, "emg": ARMBAND}
"""Short names of groups of channels."""

MOST = 1e6
"""No sensor of motion measures more, in any unit of `UNITS`: larger values are of damaged files, and overflow in float32."""

_MOST_G = 6.0  # median magnitude over several seconds that no body-worn accelerometer reaches
_JUDGED_S = 5.0  # shorter signals are not judged: a throw or a jump may fill them
_SAMPLED = 10_000  # time steps from which the median is taken


def channel_names(channels: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of channels, with `acc` and `gyro` replaced by their three axes.

    Args:
        channels: names in order, or one text with `+` between them, for example `acc+gyro`; `emg` is an armband
            of 8 electrodes.
    """
    parts = channels.split("+") if isinstance(channels, str) else list(channels)
    return tuple(name for part in parts for name in GROUPS.get(part.strip(), (part.strip(),)))


def check_channels(channels: tuple[str, ...], here: str) -> None:
    """Check that channels are named once each, and after a kind whose unit is known.

    Raises:
        ValueError: a name occurs twice, is of no known kind, or there is none; `here` begins the message.
    """
    if not channels:
        raise ValueError(f"{here}: no channel is named; expected names such as {', '.join(ACCELEROMETER)}")
    if len(set(channels)) != len(channels):
        raise ValueError(f"{here}: a channel is named twice: {', '.join(channels)}")
    for channel in channels:
        if channel.split("_")[0] not in UNITS:
            raise ValueError(f"{here}: unknown kind of channel '{channel}'; known: {', '.join(UNITS)}")


def divisors(channels: Sequence[str], units: Mapping[str, str] | None, here: str) -> np.ndarray | None:
    """Return the number by which each channel is divided to convert it to `UNITS`; None if nothing is converted.

    Args:
        channels: names of the channels.
        units: unit by kind of channel, for example `{"acc": "m/s2", "gyro": "deg/s"}`; a kind that is not named is in the
            unit of `UNITS`.
        here: how an error message begins.

    Raises:
        ValueError: a kind or a unit is unknown.
    """
    given = dict(units or {})
    for kind, unit in given.items():
        if kind not in PER_UNIT:
            raise ValueError(f"{here}: unknown kind of channel '{kind}' in units; known: {', '.join(PER_UNIT)}")
        if unit not in PER_UNIT[kind]:
            raise ValueError(f"{here}: unknown unit '{unit}' of {kind}; known: {', '.join(PER_UNIT[kind])}")
    kinds = [channel.split("_")[0] for channel in channels]
    found = np.array([PER_UNIT[kind][given.get(kind, UNITS[kind])] for kind in kinds])
    return None if (found == 1).all() else found


def possible(values: np.ndarray) -> np.ndarray:
    """Return which values a sensor can have measured: those that are neither NaN nor infinite nor beyond `MOST`."""
    found: np.ndarray = (values >= -MOST) & (values <= MOST)  # takes a quarter of the memory of abs
    return found


def check_acceleration(signal: np.ndarray, channels: Sequence[str], seconds: float, here: str, remedy: str) -> None:
    """Refuse acceleration that is clearly not in g.

    The median magnitude of a body-worn accelerometer is near 1 g, and lower where gravity was removed. Jumps, throws and
    free fall move single values, not the median of several seconds; signals shorter than 5 s are accepted as they are.

    Args:
        signal: (time, channels); time steps that are not finite are left out.
        channels: names of the channels; nothing is checked without all three axes of the accelerometer.
        seconds: duration of the signal.
        here: how the error message begins.
        remedy: how to state the unit, which ends the message; `{unit}` in it is replaced.

    Raises:
        ValueError: the median magnitude exceeds 6 g.
    """
    if seconds < _JUDGED_S or not set(ACCELEROMETER) <= set(channels):
        return
    columns = [list(channels).index(name) for name in ACCELEROMETER]
    sample = signal[:: max(1, len(signal) // _SAMPLED)][:, columns].astype(np.float64)
    sizes = np.linalg.norm(sample, axis=1)
    median = float(np.median(sizes[possible(sizes)])) if possible(sizes).any() else 0.0
    if median <= _MOST_G:
        return
    unit = "m/s2" if median < 50 else "mg" if 200 < median < 5000 else None
    found = f"{here}: the median magnitude of the acceleration is {median:.4g}, and expected are about 1 g"
    if unit is None:
        raise ValueError(f"{found}; these look like raw counts of the sensor: divide by its counts per g")
    raise ValueError(f"{found}; the values look like {unit}: {remedy.format(unit=unit, per=PER_UNIT['acc'][unit])}")
