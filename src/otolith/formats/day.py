"""What is done to recordings of a day or longer: calibration by gravity, and time in which the device was not worn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from otolith.data.calibration import calibrate
from otolith.data.nonwear import nonwear
from otolith.data.recording import Recording
from otolith.formats.gaps import Missing
from otolith.formats.options import Fact

if TYPE_CHECKING:
    from otolith.formats.read import Session

DAY_S = 24 * 3600.0 - 60.0
"""From this duration on a recording is one of a day or more: 24 h, less a minute at its edges."""
NOT_WORN = "not worn"
"""The reason of stretches in which the device was not worn."""


@dataclasses.dataclass(frozen=True)
class DayOptions:
    """What is done to a recording; None: where it lasts a day (24 h) or more.

    Args:
        calibrate: correct the acceleration by gravity; see `data.calibration`.
        nonwear: take out stretches in which the device was not worn; see `data.nonwear`.
    """

    calibrate: bool | None = None
    nonwear: bool | None = None


BY_LENGTH = DayOptions()
"""Both, for recordings of a day or more."""


def corrected(session: Session, options: DayOptions) -> Session:
    """Return a session, calibrated and without the time in which the device was not worn; both are facts of the session.

    Args:
        session: as it was read.
        options: what is done.
    """
    long = session.seconds >= DAY_S
    wanted = [long if each is None else each for each in (options.calibrate, options.nonwear)]
    if not any(wanted) or not session.recordings:
        return session
    recordings, facts, gaps = list(session.recordings), list[Fact](), list(session.missing)
    if wanted[0]:
        found = calibrate(*_rows(recordings), session.rate_hz)
        facts.append(Fact("calibration", str(found), True, "--no-calibrate"))
        recordings = [dataclasses.replace(each, signal=found.apply(each.signal)) for each in recordings]
    if wanted[1]:
        off = nonwear(*_rows(recordings), session.rate_hz)
        lost = [
            Missing(max(each.start_s, one.start_s), min(each.start_s + each.seconds, one.stop_s), NOT_WORN)
            for each in recordings
            for one in off
            if one.start_s < each.start_s + each.seconds and one.stop_s > each.start_s
        ]
        recordings = [part for each in recordings for part in _without(each, lost)]
        gaps = sorted([*gaps, *lost])
        hours = sum(one.stop_s - one.start_s for one in lost) / 3600
        several = "" if len(off) == 1 else "es"
        text = f"not worn: {hours:.2f} h in {len(off)} stretch{several}" if off else "worn all the time"
        facts.append(Fact("non-wear", text, True, "--no-nonwear"))
    return dataclasses.replace(
        session,
        recordings=tuple(dataclasses.replace(each, facts=(*each.facts, *facts)) for each in recordings),
        facts=(*session.facts, *facts),
        missing=tuple(gaps),
    )


def _rows(recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray]:
    """Return time in seconds and acceleration of all rows."""
    times = [each.start_s + np.arange(len(each.signal)) / each.rate_hz for each in recordings]
    if len(recordings) == 1:
        return times[0], recordings[0].signal
    return np.concatenate(times), np.concatenate([each.signal[:, :3] for each in recordings])


def _without(recording: Recording, lost: Sequence[Missing]) -> list[Recording]:
    """Return what is left of a recording."""
    rate_hz, start_s = recording.rate_hz, recording.start_s
    mine = [one for one in lost if start_s <= one.start_s < start_s + recording.seconds]
    edges = [round((at - start_s) * rate_hz) for one in mine for at in (one.start_s, one.stop_s)]
    bounds = [0, *edges, len(recording.signal)]
    return [
        dataclasses.replace(
            recording,
            name=f"{recording.name}/{number}" if mine else recording.name,
            signal=recording.signal[first:stop],
            start_s=start_s + first / rate_hz,
        )
        for number, (first, stop) in enumerate(zip(bounds[::2], bounds[1::2], strict=True))
        if stop > first
    ]
