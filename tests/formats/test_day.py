"""Calibration and non-wear of recordings of a day, by default and on request."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from otolith.formats import Session, read_sessions
from otolith.formats.day import DAY_S, NOT_WORN, DayOptions, corrected

RATE = 5.0


def recorded(hours: float) -> np.ndarray:
    """(time, 3): rests in many orientations with movement between, 5 % too large; lying still from hour 1 to 3."""
    random = np.random.default_rng(0)
    blocks = int(hours * 60)  # of a minute
    directions = random.normal(size=(blocks, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    steps = int(60 * RATE)
    signal = np.repeat(directions, steps, axis=0) * 1.05
    moving = np.repeat(np.arange(blocks) % 2, steps).astype(bool)
    signal[moving] += 0.3 * random.normal(size=(int(moving.sum()), 3))
    still = slice(int(3600 * RATE), int(3 * 3600 * RATE))
    signal[still] = [0, 0, 1.05]
    return signal + 0.003 * random.normal(size=signal.shape)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    signal = recorded(6.0)
    path = tmp_path_factory.mktemp("day") / "day.csv"
    time = np.arange(len(signal)) / RATE
    pd.DataFrame({"time": time, "x": signal[:, 0], "y": signal[:, 1], "z": signal[:, 2]}).to_csv(path, index=False)
    (found,) = read_sessions([path])
    return found


def test_a_short_recording_stays_as_it_is(session: Session) -> None:
    assert corrected(session, DayOptions()) is session


def test_a_day_is_calibrated_and_non_wear_taken_out(session: Session) -> None:
    long = dataclasses.replace(session, seconds=DAY_S)
    found = corrected(long, DayOptions())
    topics = [fact.topic for fact in found.facts[len(session.facts) :]]
    assert topics == ["calibration", "non-wear"]
    assert [fact.option for fact in found.facts[-2:]] == ["--no-calibrate", "--no-nonwear"]
    lost = [gap for gap in found.missing if gap.reason == NOT_WORN]
    assert (
        len(lost) == 1
        and lost[0].start_s == pytest.approx(3600, abs=901)
        and lost[0].stop_s == pytest.approx(10800, abs=901)
    )
    assert [each.start_s for each in found.recordings] == pytest.approx([0, lost[0].stop_s])
    seconds = sum(each.seconds for each in found.recordings)
    assert seconds + lost[0].stop_s - lost[0].start_s == pytest.approx(sum(r.seconds for r in session.recordings))
    first = found.recordings[0].signal[: int(60 * RATE)]
    assert np.linalg.norm(first, axis=1).mean() == pytest.approx(1.0, abs=0.01)
    assert np.linalg.norm(session.recordings[0].signal[: int(60 * RATE)], axis=1).mean() == pytest.approx(
        1.05, abs=0.01
    )


@pytest.mark.parametrize(("options", "topics"), [
    (DayOptions(calibrate=True), ["calibration"]), (DayOptions(nonwear=True), ["non-wear"]),
])  # fmt: skip
def test_either_can_be_asked_for(session: Session, options: DayOptions, topics: list[str]) -> None:
    assert [fact.topic for fact in corrected(session, options).facts[len(session.facts) :]] == topics


def test_both_can_be_refused(session: Session) -> None:
    long = dataclasses.replace(session, seconds=DAY_S)
    assert corrected(long, DayOptions(calibrate=False, nonwear=False)) is long
