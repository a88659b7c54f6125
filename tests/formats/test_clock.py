"""Clocks: restarts, shared stamps, bursts, dates of any format, units of numbers, contradictions."""

import datetime
import time as timer

import numpy as np
import pandas as pd
import pytest

from motion import motion, save, stamps, table
from otolith.formats import ReadOptions, read_sessions


def read(path, **options):
    return read_sessions([path], ReadOptions(**options))


def said(sessions, word: str) -> bool:
    return any(word in str(fact) for session in sessions for fact in session.facts)


def total(sessions) -> float:
    return sum(len(r.signal) / r.rate_hz for s in sessions for r in s.recordings)


@pytest.mark.parametrize("back", ["restart", "restart exactly", "an hour", "three parts", "day before"])
@pytest.mark.parametrize("form", ["seconds", "milliseconds", "dates"])
def test_a_clock_that_goes_back_cuts_and_loses_no_row(tmp_path, back, form) -> None:
    time, acc, _ = motion(30)
    shifts = {"restart": [0, 0.007], "restart exactly": [0, 0], "an hour": [4000, 400], "three parts": [5, 0, 2]}
    shifts["day before"] = [90_000, 3600]
    parts = [time + shift for shift in shifts[back]]
    clock = np.concatenate(parts)
    column = {"seconds": clock, "milliseconds": np.round(clock * 1000), "dates": stamps(clock, "%Y-%m-%d %H:%M:%S.%f")}
    path = save(tmp_path / "a.csv", table(column[form], np.tile(acc, (len(parts), 1))))
    sessions = read(path)
    assert len(sessions) == len(parts) and total(sessions) == pytest.approx(30 * len(parts))
    assert [s.name for s in sessions] == ["a", "a-2", "a-3"][: len(parts)]
    assert said(sessions, "goes back") and said(sessions, f"{len(parts)} sessions")
    for session in sessions:
        np.testing.assert_allclose(session.recordings[0].signal, acc, atol=1e-3)


def test_rows_out_of_order_are_sorted_and_counted(tmp_path) -> None:
    time, acc, _ = motion(30)
    order = np.arange(len(time))
    for at in (100, 400, 900):
        order[at : at + 10] = order[at : at + 10][::-1]
    order[1200:1220] = np.concatenate([order[1210:1220], order[1200:1210]])  # two packets swapped
    sessions = read(save(tmp_path / "a.csv", table(time[order], acc[order])))
    assert len(sessions) == 1 and said(sessions, "rows were out of order")
    np.testing.assert_allclose(sessions[0].recordings[0].signal, acc, atol=1e-3)


@pytest.mark.parametrize("rate", [25.0, 50.0, 33.3, 100.0])
@pytest.mark.parametrize("given", [None, True])
def test_stamps_of_whole_seconds_are_spread(tmp_path, rate, given) -> None:
    time, acc, _ = motion(60, rate)
    column = stamps(np.floor(time + 0.4), "%Y-%m-%d %H:%M:%S")  # the recording begins within a second
    sessions = read(save(tmp_path / "a.csv", table(column, acc)), rate_hz=rate if given else None)
    (recording,) = sessions[0].recordings
    assert recording.rate_hz == pytest.approx(rate, rel=0.01) and said(sessions, "share the time stamp")
    assert len(recording.signal) == pytest.approx(len(acc), abs=3)
    inner = slice(200, 1000)
    assert np.abs(recording.signal[inner] - acc[inner]).max() < 0.2


@pytest.mark.parametrize("packet", [2, 5, 13, 36])
@pytest.mark.parametrize("rate", [52.0, 104.0])
def test_rows_of_a_packet_share_a_stamp(tmp_path, packet, rate) -> None:
    time, acc, _ = motion(60, rate)
    ms = np.round(time[np.arange(len(time)) // packet * packet] * 1000).astype(int) + 5000
    sessions = read(save(tmp_path / "a.csv", table(ms, acc)))
    assert sessions[0].rate_hz == pytest.approx(rate, rel=0.01) and said(sessions, "share the time stamp")
    assert total(sessions) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("packet", [5, 10, 36])
@pytest.mark.parametrize("form", ["seconds", "dates"])
def test_rows_of_a_packet_may_have_no_stamp(tmp_path, packet, form) -> None:
    time, acc, _ = motion(36)
    column = np.array(stamps(time, "%Y-%m-%d %H:%M:%S.%f") if form == "dates" else [f"{t:.2f}" for t in time], object)
    column[np.arange(len(time)) % packet > 0] = ""
    sessions = read(save(tmp_path / "a.csv", table(column, acc)))
    assert sessions[0].rate_hz == 50 and sessions[0].seconds == pytest.approx(36, abs=0.1)
    assert said(sessions, "take that of the row before")
    np.testing.assert_allclose(sessions[0].recordings[0].signal[:1500], acc[:1500], atol=1e-3)


@pytest.mark.parametrize("pause", [3, 120, 4000])
@pytest.mark.parametrize("at", [20.0, 33.5])
def test_a_pause_does_not_change_the_rate_of_whole_seconds(tmp_path, pause, at) -> None:
    time, acc, _ = motion(60)
    clock = np.floor(time + np.where(time > at, pause, 0))
    sessions = read(save(tmp_path / "a.csv", table(stamps(clock, "%Y-%m-%d %H:%M:%S"), acc)))
    assert sessions[0].rate_hz == 50 and len(sessions[0].recordings) == 2


def test_a_short_stretch_between_two_pauses_stays_where_it_is(tmp_path) -> None:
    time, acc, _ = motion(60)
    clock = np.floor(time + np.where(time >= 20.5, 100, 0) + np.where(time >= 20.8, 100, 0))
    sessions = read(save(tmp_path / "a.csv", table(stamps(clock, "%Y-%m-%d %H:%M:%S"), acc)))
    assert [r.start_s for r in sessions[0].recordings] == pytest.approx([0, 120, 220], abs=1.1)


@pytest.mark.parametrize("step", [60.0, 3.0])
def test_rows_that_are_too_far_apart_are_no_motion(tmp_path, step) -> None:
    time, acc, _ = motion(30)
    column = stamps(np.arange(len(time)) * step, "%Y-%m-%d %H:%M:%S")
    with pytest.raises(ValueError, match=r"'a.csv': by the time stamps in time, rows come at .* Hz; expected 0.5"):
        read(save(tmp_path / "a.csv", table(column, acc)))


def test_milliseconds_of_the_day(tmp_path) -> None:
    time, acc, _ = motion(30)
    frame = table(np.round((time + 86_385) % 86_400 * 1000), acc, names="ms_of_day,x,y,z")
    sessions = read(save(tmp_path / "a.csv", frame), time="ms_of_day")
    assert len(sessions) == 1 and sessions[0].rate_hz == 50 and sessions[0].seconds == pytest.approx(30)


@pytest.mark.parametrize(("size", "within"), [(10, 0.001), (10, 0.005), (25, 0.0005), (100, 0.0001)])
def test_bursts_are_spread(tmp_path, size, within) -> None:
    time, acc, _ = motion(40)
    n = np.arange(len(time))
    arrival = n // size * size / 50 + n % size * within
    sessions = read(save(tmp_path / "a.csv", table(arrival, acc), float_format="%.6f"))
    assert sessions[0].rate_hz == pytest.approx(50, rel=0.01) and said(sessions, "bursts")
    assert total(sessions) == pytest.approx(40, abs=0.1)
    np.testing.assert_allclose(sessions[0].recordings[0].signal[: len(acc) - size], acc[:-size], atol=0.05)


@pytest.mark.parametrize("lost", [0.02, 0.1, 0.3])
def test_lost_rows_do_not_lower_the_rate(tmp_path, lost) -> None:
    time, acc, _ = motion(60, 25.0)
    keep = np.random.default_rng(0).random(len(time)) > lost
    pause = np.where(time > 40, 300, 0)
    sessions = read(save(tmp_path / "a.csv", table(np.round((time + pause)[keep] * 1000), acc[keep])))
    assert sessions[0].rate_hz == 25 and len(sessions[0].recordings) >= 2
    assert any(gap.stop_s - gap.start_s == pytest.approx(300, abs=1) for gap in sessions[0].missing)


def test_a_row_that_repeats_the_one_before_is_left_out_and_said(tmp_path) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc)
    twice = pd.concat([frame[:100], frame[99:700], frame[699:]])
    sessions = read(save(tmp_path / "a.csv", twice))
    assert said(sessions, "2 rows repeat the row before") and total(sessions) == pytest.approx(30)


def test_duty_cycles_are_gaps_and_no_bursts(tmp_path) -> None:
    time, acc, _ = motion(120, 25.0)
    keep = time % 30 < 10
    sessions = read(save(tmp_path / "a.csv", table(time[keep], acc[keep])))
    assert sessions[0].rate_hz == 25 and len(sessions[0].recordings) == 4


@pytest.mark.parametrize("given", [40.0, 100.0, 500.0])
@pytest.mark.parametrize("form", ["number", "dates", "whole seconds"])
def test_a_clock_that_contradicts_the_rate_is_refused(tmp_path, given, form) -> None:
    time, acc, _ = motion(30)
    column = {"number": time, "dates": stamps(time, "%Y-%m-%d %H:%M:%S.%f")}.get(
        form, stamps(np.floor(time), "%H:%M:%S")
    )
    with pytest.raises(ValueError, match=rf"--rate says {given:g} Hz, but .* 50 Hz"):
        read(save(tmp_path / "a.csv", table(column, acc)), rate_hz=given)


@pytest.mark.parametrize(
    ("since", "rows"),
    [(0.0, slice(700, 701)), (0.0, slice(700, 703)), (1.7e9, slice(0, 1)), (1.7e9, slice(1999, 2000))],
)
@pytest.mark.parametrize("stamp", [-1.0, 0.0, 1e9, 1e-3, 5.0])
def test_single_stamps_that_are_far_off_cost_their_rows_alone(tmp_path, stamp, rows, since) -> None:
    time, acc, _ = motion(40)
    clock = since + time
    clock[rows] = stamp
    sessions = read(save(tmp_path / "a.csv", table(clock, acc), float_format="%.3f"))
    assert len(sessions) == 1 and said(sessions, f"far from those around them: {rows.stop - rows.start}")
    assert sessions[0].seconds == pytest.approx(40, abs=0.1) and len(sessions[0].recordings) == 1
    first = 1 if rows.start == 0 else 0
    np.testing.assert_allclose(sessions[0].recordings[0].signal[:600], acc[first : 600 + first], atol=1e-3)


def test_a_clock_that_is_set_to_the_date_begins_a_session(tmp_path) -> None:
    time, acc, _ = motion(60)
    when = stamps(time, "%Y-%m-%d %H:%M:%S.%f", "1970-01-01 00:00:03")[:500]
    when += stamps(time, "%Y-%m-%d %H:%M:%S.%f", "2024-05-14 10:00:00")[500:]
    sessions = read(save(tmp_path / "a.csv", table(when, acc)))
    assert [s.seconds for s in sessions] == [pytest.approx(10), pytest.approx(50)] and said(sessions, "jumps ahead")
    assert sessions[1].start == datetime.datetime(2024, 5, 14, 10, 0, 10)


@pytest.mark.parametrize("form", ["seconds", "%Y-%m-%d %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "two columns"])
def test_the_newest_row_may_come_first(tmp_path, form) -> None:
    time, acc, _ = motion(30)
    column = {"seconds": time, "two columns": stamps(time, "%d.%m.%Y")}.get(form)
    frame = table(stamps(time, form) if column is None else column, acc, names="Date,x,y,z")
    if form == "two columns":
        frame["Time"] = stamps(time, "%H:%M:%S.%f")
    sessions = read(save(tmp_path / "a.csv", frame[::-1]))
    assert len(sessions) == 1 and said(sessions, "newest row comes first")
    np.testing.assert_allclose(sessions[0].recordings[0].signal, acc, atol=1e-3)


FORMS = [
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S.%3f+02:00",
    "%Y-%m-%d %H:%M:%S.%f+0100 [Europe/London]",
    "%Y-%m-%dT%H:%M:%S.%3f+01:00[Europe/Paris]",
    "%Y/%m/%d %H:%M:%S.%3f",
    "%d/%m/%Y %H:%M:%S.%3f",
    "%m/%d/%Y %H:%M:%S.%3f",
    "%m/%d/%Y %I:%M:%S.%f %p",
    "%d.%m.%Y %H:%M:%S,%3f",
    "%d-%m-%Y %H:%M:%S:%3f",
    "%Y-%m-%d %H:%M:%S:%3f",
    "%d-%b-%Y %H:%M:%S.%3f",
    "%d %B %Y %H:%M:%S.%3f",
    "%b %d, %Y %I:%M:%S.%f %p",
    "%Y%m%dT%H%M%S.%f",
    "%Y%m%d %H%M%S.%f",
    "%Y-%m-%d_%H-%M-%S-%3f",
    "%Y-%m-%dT%H-%M-%S.%3f",
    "%a %b %d %H:%M:%S.%f %Y",
    "%d.%m.%y %H:%M:%S.%3f",
    "%H:%M:%S.%f %d/%m/%Y",
    "%Y%m%d%H%M%S%3f",
    "%Y-%m-%dt%H:%M:%S.%3fz",
    "%a %b %d %Y %H:%M:%S.%3f GMT+0200 (Central European Summer Time)",
]


@pytest.mark.parametrize("form", FORMS)
def test_dates_of_any_format(tmp_path, form) -> None:
    time, acc, _ = motion(30)
    sessions = read(save(tmp_path / "a.csv", table(stamps(time, form), acc), sep=";"))
    assert len(sessions) == 1 and sessions[0].rate_hz == 50 and total(sessions) == pytest.approx(30)
    assert sessions[0].start is not None
    assert sessions[0].start.replace(tzinfo=None) == datetime.datetime(2024, 5, 14, 10)


@pytest.mark.parametrize(
    ("form", "first"), [("%d/%m/%Y %H:%M:%S.%f", "day first"), ("%m/%d/%Y %H:%M:%S.%f", "month first")]
)
@pytest.mark.parametrize(
    "start", ["2024-04-12 23:59:45", "2024-01-31 23:59:45", "2024-12-31 23:59:45", "2024-04-05 23:59:50"]
)
def test_day_and_month_are_told_by_all_rows(tmp_path, form, first, start) -> None:
    time, acc, _ = motion(30)
    sessions = read(save(tmp_path / "a.csv", table(stamps(time, form, start), acc)))
    assert sessions[0].seconds == pytest.approx(30) and said(sessions, first)
    assert sessions[0].start == pd.Timestamp(start)


def test_ambiguous_dates_are_asked_for(tmp_path) -> None:
    time, acc, _ = motion(30)
    path = save(tmp_path / "a.csv", table(stamps(time, "%d/%m/%Y %H:%M:%S.%f", "2024-05-01 10:00"), acc))
    sessions = read(path)
    assert sessions[0].start is None and said(sessions, "--date-order"), "times are right; no date is guessed"
    assert read(path, date_order="day-first")[0].start == datetime.datetime(2024, 5, 1, 10)
    assert read(path, date_order="month-first")[0].start == datetime.datetime(2024, 1, 5, 10)
    days = np.repeat([0, 30, 60], len(time) // 3) * 86400.0  # 1 March, 31 March ...: no order follows without a jump
    far = time[: len(days)] + days
    path = save(tmp_path / "b.csv", table(stamps(far, "%d/%m/%Y %H:%M:%S.%f", "2024-03-02 10:00"), acc[: len(days)]))
    assert read(path, date_order="day-first")[0].start == datetime.datetime(2024, 3, 2, 10)
    two = np.where(time < 15, 0, 86400.0 * 62)
    path = save(tmp_path / "c.csv", table(stamps(time + two, "%d/%m/%Y %H:%M:%S.%f", "2024-03-02 10:00"), acc))
    with pytest.raises(ValueError, match=r"day first or month first.*--date-order"):
        read(path)
    with pytest.raises(ValueError, match=r"row 1.*impossible"):
        read(save(tmp_path / "d.csv", table(["31/31/2024 10:00:00"] * len(time), acc)))


def test_offsets_that_change_and_zones(tmp_path) -> None:
    time, acc, _ = motion(60)
    first = stamps(time[:1500], "%Y-%m-%d %H:%M:%S.%f", "2024-10-27 01:59:30")
    second = stamps(time[:1500], "%Y-%m-%d %H:%M:%S.%f", "2024-10-27 01:00:00")
    column = [f"{s}+0100 [Europe/London]" for s in first] + [f"{s}+0000 [Europe/London]" for s in second]
    sessions = read(save(tmp_path / "a.csv", table(column, acc)))
    assert len(sessions) == 1 and sessions[0].seconds == pytest.approx(60) and said(sessions, "offset")
    assert sessions[0].start.utcoffset() == datetime.timedelta(hours=1)


@pytest.mark.parametrize("form", ["%H:%M:%S.%f", "%I:%M:%S.%f %p", "%H:%M:%S:%3f"])
def test_the_time_of_day_runs_over_midnight(tmp_path, form) -> None:
    time, acc, _ = motion(60)
    sessions = read(save(tmp_path / "a.csv", table(stamps(time, form, "2024-05-01 23:59:30"), acc)))
    assert len(sessions) == 1 and sessions[0].seconds == pytest.approx(60) and said(sessions, "midnight")


def test_date_and_time_in_two_columns(tmp_path) -> None:
    time, acc, _ = motion(60)
    for date in ("%Y-%m-%d", "%d/%m/%Y"):
        frame = table(stamps(time, date, "2024-05-12 23:59:30"), acc, names="Date,Axis X,Axis Y,Axis Z")
        frame.insert(1, "Time", stamps(time, "%H:%M:%S.%f", "2024-05-12 23:59:30"))
        sessions = read(save(tmp_path / "a.csv", frame))
        assert sessions[0].start == datetime.datetime(2024, 5, 12, 23, 59, 30)
        assert sessions[0].seconds == pytest.approx(60)


NUMBERS = {
    "s": lambda t: t + 17,
    "ms": lambda t: np.round(t * 1e3 + 17),
    "us": lambda t: np.round(t * 1e6 + 17),
    "ns": lambda t: np.round(t * 1e9 + 17),
    "unix s": lambda t: np.round(1.7e9 + t, 3),
    "unix ms": lambda t: np.round(1.7e12 + t * 1e3).astype(np.int64),
    "unix us": lambda t: np.round(1.7e15 + t * 1e6).astype(np.int64),
    "unix ns": lambda t: 1_700_000_000_000_000_000 + np.round(t * 1e9).astype(np.int64),
    "timedelta": lambda t: [str(v) for v in pd.to_timedelta(np.round(t * 1e3 + 17), unit="ms")],
    ".NET ticks": lambda t: 638_355_968_000_000_000 + np.round(t * 1e7).astype(np.int64),
    "Windows": lambda t: 133_444_736_000_000_000 + np.round(t * 1e7).astype(np.int64),
    "spreadsheet": lambda t: np.round(45244.925925926 + t / 86400, 10),
    "spreadsheet, 5 digits": lambda t: np.round(45244.925925926 + t / 86400, 5),
    "MATLAB": lambda t: np.round(739204.925925926 + t / 86400, 9),
    "digits": lambda t: [int(s) for s in stamps(t, "%Y%m%d%H%M%S%3f", "2023-11-14 22:13:20")],
}


@pytest.mark.parametrize("kind", list(NUMBERS))
def test_numbers_in_any_unit(tmp_path, kind) -> None:
    time, acc, _ = motion(60)
    frame = table(NUMBERS[kind](time), acc)
    sessions = read(save(tmp_path / "a.csv", frame, float_format=None))
    assert sessions[0].rate_hz == pytest.approx(50, rel=0.01), sessions[0].facts
    assert total(sessions) == pytest.approx(60, abs=1.0)
    if kind not in ("s", "ms", "us", "ns", "timedelta"):
        start = sessions[0].start.replace(tzinfo=None)
        assert abs((start - datetime.datetime(2023, 11, 14, 22, 13, 20)).total_seconds()) < 1


@pytest.mark.parametrize(
    ("name", "per_s"),
    [
        ("Ticks", 1e7),
        ("SampleTimeFine", 1e4),
        ("SampleTimeFine", 1e6),
        ("t (us)", 1e6),
        ("time_ms", 1e3),
        ("timestampNs", 1e9),
    ],
)
def test_the_name_says_the_unit(tmp_path, name, per_s) -> None:
    time, acc, _ = motion(30)
    sessions = read(save(tmp_path / "a.csv", table(np.round(time * per_s), acc, names=f"{name},Acc_X,Acc_Y,Acc_Z")))
    assert sessions[0].rate_hz == 50
    ticks = read(save(tmp_path / "b.csv", table(np.round(time * 1e4), acc)), time_unit="100us")
    assert ticks[0].rate_hz == 50


@pytest.mark.parametrize("size", [2**16, 2**24, 2**32])
def test_a_counter_that_runs_over_is_continued(tmp_path, size) -> None:
    time, acc, _ = motion(60)
    per_s = {2**16: 1e3, 2**24: 1e5, 2**32: 1e6}[size]
    ticks = np.round(time * per_s + size - 20 * per_s) % size
    options = {"time_unit": {1e3: "ms", 1e6: "us"}.get(per_s)} if per_s != 1e5 else {"rate_hz": 50.0}
    if per_s == 1e5:
        ticks = np.round(time * 1e4 + size - 20 * 1e4) % size
    sessions = read(save(tmp_path / "a.csv", table(ticks, acc)), **options)
    assert len(sessions) == 1 and sessions[0].seconds == pytest.approx(60) and said(sessions, "ran over")


def test_of_two_clocks_the_finer_is_taken(tmp_path) -> None:
    time, acc, _ = motion(60)
    frame = table(stamps(np.floor(time), "%Y-%m-%d %H:%M:%S"), acc, names="Timestamp,x,y,z")
    frame["elapsed (ms)"] = np.round(time * 1000) + 31
    sessions = read(save(tmp_path / "a.csv", frame))
    assert sessions[0].rate_hz == 50 and not said(sessions, "share") and said(sessions, "not used: Timestamp")
    assert sessions[0].start == datetime.datetime(2024, 5, 14, 10)
    coarse = read(tmp_path / "a.csv", time="Timestamp")
    assert said(coarse, "share the time stamp") and coarse[0].rate_hz == 50


@pytest.mark.parametrize("cell", ["1.58E+12", "0", "2024-05-01 10:00"])
def test_a_clock_that_never_moves(tmp_path, cell) -> None:
    time, acc, _ = motion(30)
    path = save(tmp_path / "a.csv", table([cell] * len(time), acc))
    with pytest.raises(ValueError, match=r"constant; pass --rate HZ"):
        read(path)
    assert read(path, rate_hz=50.0)[0].seconds == pytest.approx(30), "the advice works"


def test_without_a_clock_a_rate_is_needed(tmp_path) -> None:
    time, acc, _ = motion(30)
    path = save(tmp_path / "a.csv", table(time, acc)[["x", "y", "z"]])
    with pytest.raises(ValueError, match=r"no time column; pass --rate HZ"):
        read(path)
    assert read(path, rate_hz=50.0)[0].seconds == pytest.approx(30)
    counted = table(np.arange(len(time)), acc, names="index,x,y,z")
    lost = counted[(counted["index"] < 500) | (counted["index"] >= 1000)]
    sessions = read(save(tmp_path / "b.csv", lost), rate_hz=50.0)
    assert len(sessions[0].recordings) == 2 and sessions[0].seconds == pytest.approx(30), "the counter shows the hole"
    with pytest.raises(ValueError, match=r"may be a counter; pass --rate"):
        read(save(tmp_path / "c.csv", table(np.arange(len(time)), acc)))


def test_rows_without_a_stamp_are_counted(tmp_path) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc).astype(object)
    frame.loc[[100, 200, 201], "time"] = ""
    sessions = read(save(tmp_path / "a.csv", frame))
    assert said(sessions, "3 of 1,500 rows have no time stamp") and total(sessions) == pytest.approx(30)


def test_interleaved_devices_without_a_column_are_refused(tmp_path) -> None:
    time, acc, _ = motion(30)
    clock = np.stack([time, time + 500], axis=1).ravel()
    with pytest.raises(ValueError, match=r"goes back 1,499 times.*--device-column"):
        read(save(tmp_path / "a.csv", table(clock, np.repeat(acc, 2, axis=0))))


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S.%f", "%m/%d/%Y %I:%M:%S.%f %p", "%b %d, %Y %H:%M:%S.%f"])
def test_dates_are_read_quickly(form) -> None:
    from otolith.formats.stamps import parse

    when = pd.Timestamp("2024-05-01 10:00") + pd.to_timedelta(np.arange(200_000) * 10, unit="ms")
    cells = np.array(when.strftime(form).to_numpy(), dtype="S64")
    begun = timer.process_time()
    parse(cells)
    assert timer.process_time() - begun < 1.5, "5 s per million rows at most, with room for a busy machine"
