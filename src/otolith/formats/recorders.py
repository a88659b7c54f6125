"""Files that a camera or a research device wrote -> sessions; they state their units themselves."""

from __future__ import annotations

import datetime

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE
from otolith.data.units import UNITS
from otolith.formats.options import Fact
from otolith.formats.sources import Source
from otolith.formats.streams import Raw, RawFile
from otolith.formats.units import Units

STATED = Units(UNITS["acc"], UNITS["gyro"])
"""Units of what `read_recorder` returns."""


def read_recorder(source: Source, *, gyro: bool | None) -> RawFile:
    """Read a GoPro's clip, or a device file.

    Args:
        source: whose kind is not `table`.
        gyro: False leaves the gyroscope out.

    Raises:
        ImportError: the extra that reads it is not installed.
        ValueError: it is damaged.
    """
    raw, facts = _clip(source, gyro) if source.kind == "video" else _device(source)
    if gyro is False:
        raw = raw._replace(signal=raw.signal[:, :3])
    return RawFile((raw,), tuple(facts), True)


def _clip(source: Source, gyro: bool | None) -> tuple[Raw, list[Fact]]:
    from otolith.formats.gpmf import telemetry

    motion = telemetry(source.path, gyroscope=gyro is not False)
    seconds = len(motion.signal) / motion.rate_hz
    what = "acceleration in g and angular rate in rad/s" if motion.signal.shape[1] == 6 else "acceleration in g"
    facts = [Fact("files", f"a GoPro's clip: {motion.rate_hz:.0f} Hz, {seconds:.1f} s of {what}")]
    clock = max(0.0, motion.start_s) + np.arange(len(motion.signal)) / motion.rate_hz
    return Raw("", "", 0, clock, motion.signal, None, motion.rate_hz), facts


def _device(source: Source) -> tuple[Raw, list[Fact]]:
    from otolith.formats.devices import read_device

    found = read_device(source.path)
    assert found.channels in (ACCELEROMETER, ACCELEROMETER + GYROSCOPE)
    facts = [Fact("files", f"a file of {found.device}: {found.rate_hz:g} Hz, {len(found.signal):,} samples")]
    facts += [Fact("device", f"{name}: {text}") for name, text in found.facts.items()]
    start: datetime.datetime = found.start
    return Raw("", "", 0, found.time_s, found.signal, start, found.rate_hz), facts
