"""What a device file holds once it is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import numpy as np


class Series(NamedTuple):
    """Slow measurements of a device, one per block or record of its file.

    Attributes:
        time_s: (values,) float64, seconds from the first sample of the recording.
        values: (values,) float32.
        unit: of the values, for example `deg C`.
    """

    time_s: np.ndarray
    values: np.ndarray
    unit: str


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceFile:
    """The recording of one device.

    Rows are missing where the device did not record: time then jumps. `otolith.data.resample.regular_pieces` puts the rows
    on a regular clock and cuts at the gaps.

    Attributes:
        kind: `axivity`, `actigraph`, `geneactiv` or `matrix`.
        device: the model, for example `Axivity AX3`.
        channels: `acc_x`, `acc_y`, `acc_z`, then `gyro_x`, `gyro_y`, `gyro_z` where the device has a gyroscope.
        time_s: (time,) float64, seconds from the first sample, strictly increasing.
        signal: (time, 3 or 6) float32, acceleration in g and angular rate in rad/s.
        rate_hz: the rate that the device was set to.
        start: time of the first sample on the device's clock, which usually shows local time; without a time zone.
        temperature: of the device; None where it has no thermometer.
        light: as the device stores it; None where it has no sensor.
        battery: its voltage; None where the file does not tell.
        facts: what is known about the recording, for people: name -> text.
    """

    kind: str
    device: str
    channels: tuple[str, ...]
    time_s: np.ndarray
    signal: np.ndarray
    rate_hz: float
    start: datetime
    temperature: Series | None
    light: Series | None
    battery: Series | None
    facts: Mapping[str, str]
