"""Dates of many languages and forms, parts of a clock in columns of their own, and stamps that cannot be read."""

import datetime

import numpy as np
import pandas as pd
import pytest

from motion import motion, save, stamps, table
from otolith.formats import ReadOptions, read_sessions
from otolith.formats.stamps import DAY_NS, NAT, is_stamp, parse

AFTERNOON = datetime.datetime(2024, 5, 14, 14, 3, 2, 120_000)


def read_one(cell: str, encoding: str = "utf-8") -> datetime.datetime | None:
    """What one cell means."""
    found = parse(np.array([cell.encode(encoding)]))
    if found.clock[0] == NAT or found.day[0] == NAT:
        return None
    nanoseconds = int(found.day[0]) * DAY_NS + int(found.clock[0])
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=nanoseconds // 1000)


@pytest.mark.parametrize(
    "cell",
    [
        "2024年5月14日 14:03:02.120",
        "2024年05月14日14時03分02秒120",
        "2024年05月14日 14时03分02.120秒",
        "2024년 5월 14일 14:03:02.120",
        "2024/05/14 下午02:03:02.120",
        "2024年5月14日 下午 2:03:02.120",
        "2024/05/14 午後02:03:02.120",
        "2024-05-14 오후 2:03:02.120",
        "14. Mai 2024 14:03:02,120",
        "14 mai 2024 14:03:02.120",
        "14 de mayo de 2024 14:03:02.120",
        "14 maggio 2024 14:03:02.120",
        "14 mei 2024 14:03:02.120",
        "14 maja 2024 14:03:02.120",
        "14 мая 2024 14:03:02.120",
        "14MAY2024:14:03:02.120",
        "May 14, 2024 2:03:02.120\u202fPM",
        "14.05.2024 klo 14.03.02,120",
        "14.05.2024 um 14:03:02,120 Uhr",
        "2024-135T14:03:02.120",
        "2024 135 14:03:02.120",
        "2024-W20-2T14:03:02.120",
        "20240514_140302_120",
        "2024-05-14-14-03-02-120",
        "2024.05.14 14.03.02.120",
        "2024-05-14 14:03:02.120 Europe/Berlin",
    ],
)
def test_one_instant_in_many_forms(cell) -> None:
    assert is_stamp(cell)
    assert read_one(cell) == AFTERNOON


def test_months_with_accents_in_any_encoding() -> None:
    for encoding in ("utf-8", "cp1252"):
        assert read_one("14. März 2024 14:03:02", encoding) == datetime.datetime(2024, 3, 14, 14, 3, 2)
        assert read_one("14 août 2024 14:03:02", encoding) == datetime.datetime(2024, 8, 14, 14, 3, 2)


@pytest.mark.parametrize(
    "cell", ["2024-366", "1999-W54-1", "14 blip 2024 10:00:00", "2024年13月14日 14:03:02", "walking", "12"]
)
def test_no_instant(cell) -> None:
    assert read_one(cell) in (None, datetime.datetime(2024, 12, 31))


def parts(time: np.ndarray) -> dict[str, object]:
    when = pd.Timestamp("2024-05-14 23:59:50") + pd.to_timedelta(np.round(time * 1000), unit="ms")
    return {
        "year": when.year,
        "month": when.month,
        "day": when.day,
        "hour": when.hour,
        "minute": when.minute,
        "second": when.second,
        "ms": when.microsecond // 1000,
        "us": when.microsecond,
        "seconds": when.second + when.microsecond / 1e6,
        "date": when.strftime("%Y-%m-%d"),
        "both": when.strftime("%Y-%m-%d %H:%M:%S"),
        "epoch": when.as_unit("ns").astype("int64") // 10**9,
        "nanoseconds": when.microsecond * 1000,
    }


@pytest.mark.parametrize(
    ("columns", "dated"),
    [
        ("year month day hour minute second=seconds", True),
        ("Year=year Month=month Day=day Hour=hour Minute=minute Second=second Millisecond=ms", True),
        ("YYYY=year MM=month DD=day hh=hour mm=minute ss=second us", True),
        ("Date=date Hour=hour Minute=minute Second=seconds", True),
        ("hour min=minute sec=seconds", False),
        ("Hours=hour Minutes=minute Seconds=second msec=ms", False),
        ("Timestamp=both ms", True),
        ("secs=epoch nsecs=nanoseconds", True),
    ],
)
def test_parts_of_a_clock_in_columns_of_their_own(tmp_path, columns, dated) -> None:
    time, acc, _ = motion(20)
    known = parts(time)
    named = [column.partition("=") for column in columns.split()]
    frame = pd.DataFrame(
        {name: known[of or name] for name, _, of in named} | {a: acc[:, k] for k, a in enumerate("xyz")}
    )
    session, *others = read_sessions([save(tmp_path / "a.csv", frame)])
    assert not others and session.rate_hz == 50
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=2e-3)
    if dated:
        assert session.start is not None
        assert session.start.replace(tzinfo=None) == datetime.datetime(2024, 5, 14, 23, 59, 50)
    given = ",".join(name for name, _, _ in named)
    again = read_sessions([tmp_path / "a.csv"], ReadOptions(time=given))
    assert again[0].start == session.start and len(again) == 1


def test_a_duration_in_seconds_and_milliseconds_is_no_part(tmp_path) -> None:
    time, acc, _ = motion(20)
    frame = table(time, acc, names="sec,x,y,z").assign(msec=np.round(time * 1000))
    session = read_sessions([save(tmp_path / "a.csv", frame)])[0]
    assert session.rate_hz == 50 and session.seconds == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(("form", "passes"), [("%M:%S.%3f", "a full hour"), ("%H%M%S.%3f", None)])
def test_times_without_hours_or_signs(tmp_path, form, passes) -> None:
    time, acc, _ = motion(40)
    frame = table(stamps(time, form, "2024-05-14 12:59:40"), acc)
    session, *others = read_sessions([save(tmp_path / "a.csv", frame)])
    assert not others and session.seconds == pytest.approx(40, abs=0.1) and session.rate_hz == 50
    assert passes is None or any(passes in fact.text for fact in session.facts)


def test_elapsed_seconds_with_a_pause_are_no_time_of_day(tmp_path) -> None:
    time, acc, _ = motion(60)
    time = np.where(np.arange(len(time)) < 2000, time, time + 60.0)
    session = read_sessions([save(tmp_path / "a.csv", table(time, acc))])[0]
    assert session.seconds == pytest.approx(120, abs=0.1) and len(session.recordings) == 2


@pytest.mark.parametrize(("unit", "per_s"), [("min", 1 / 60), ("h", 1 / 3600), ("minutes", 1 / 60)])
def test_minutes_and_hours(tmp_path, unit, per_s) -> None:
    time, acc, _ = motion(20)
    frame = table(time * per_s, acc, names=f"time ({unit}),x,y,z")
    session = read_sessions([save(tmp_path / "a.csv", frame, float_format="%.10f")])[0]
    assert session.rate_hz == 50 and session.seconds == pytest.approx(20, abs=0.1)


def test_julian_days_and_epochs_that_may_be_several(tmp_path) -> None:
    time, acc, _ = motion(20)
    frame = table(2_460_444.5 + 10 / 24 + time / 86400, acc)
    session = read_sessions([save(tmp_path / "a.csv", frame, float_format="%.10f")])[0]
    assert session.start == datetime.datetime(2024, 5, 14, 10)
    frame = table(3_798_525_600.0 + time, acc)  # seconds since 1904 (LabVIEW) give 2024, since 1970 a year to come
    session = read_sessions([save(tmp_path / "b.csv", frame, float_format="%.3f")])[0]
    assert session.start is None and session.rate_hz == 50


def test_fractions_without_leading_zeros(tmp_path) -> None:
    time, acc, _ = motion(20)
    cells = [f"2024-05-14 10:00:{int(t):02d}.{round(t % 1 * 1000)}" for t in time]
    session = read_sessions([save(tmp_path / "a.csv", table(cells, acc))])[0]
    np.testing.assert_allclose(session.recordings[0].signal, acc, atol=2e-3)
    assert any("lack leading zeros" in fact.text for fact in session.facts)


@pytest.mark.parametrize("cell", ["PT{:.3f}S", "{:.3f} s", "{:.3f} blip"])
def test_a_clock_that_cannot_be_read_is_shown(tmp_path, cell) -> None:
    time, acc, _ = motion(20)
    path = save(tmp_path / "a.csv", table([cell.format(t) for t in time], acc))
    with pytest.raises(
        ValueError, match=r"'a.csv' has no time stamps that can be read: '.*0\.000.*' in time .*--rate HZ"
    ):
        read_sessions([path])
    assert read_sessions([path], ReadOptions(rate_hz=50.0))[0].rate_hz == 50


def test_rows_whose_stamps_cannot_be_read_are_no_lines_before_the_table(tmp_path) -> None:
    time, acc, _ = motion(20)
    cells = stamps(time, "%Y-%m-%d %H:%M:%S.%3f")
    cells[:400] = [cell.replace("-05-", " blip ") for cell in cells[:400]]
    path = save(tmp_path / "a.csv", table(cells, acc))
    with pytest.raises(
        ValueError, match=r"'a.csv', line 2: '2024 blip 14 .*' is neither a number nor a date.* --skip-rows 401"
    ):
        read_sessions([path])
    assert read_sessions([path], ReadOptions(skip_rows=401))[0].seconds == pytest.approx(12, abs=0.1)


def test_too_few_stamps_to_tell_a_rate(tmp_path) -> None:
    time, acc, _ = motion(150, 20)
    path = save(tmp_path / "a.csv", table(np.float32(1.7e9 + time).astype(float), acc))
    with pytest.raises(ValueError, match=r"3,000 rows have 2 different time stamps in time, too few.* --rate HZ"):
        read_sessions([path])


def test_bursts_of_whole_milliseconds_are_no_counter(tmp_path) -> None:
    time, acc, _ = motion(60)
    rows = np.arange(len(time))
    arrival = np.round(time[rows // 10 * 10 + 9] * 1000 + rows % 10 * 0.7)
    session = read_sessions([save(tmp_path / "a.csv", table(arrival, acc))])[0]
    assert session.rate_hz == pytest.approx(50, rel=0.01)
