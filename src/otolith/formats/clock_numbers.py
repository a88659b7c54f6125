"""Numbers of a clock that stand for something else: dates written without signs, times of day, counters that run over."""

from __future__ import annotations

import numpy as np

from otolith.formats.stamps import NAT, Stamps, civil_days, parse

_WRAPS = (2.0**16, 2.0**24, 2.0**31, 2.0**32, 86_400.0, 86_400e3, 86_400e6, 86_400e9)


def written_out(values: np.ndarray) -> Stamps | None:
    """Return the stamps that numbers such as 20240501100000123 or 100000.123 write with their digits; None for others."""
    real = np.isfinite(values)
    middle = float(np.median(values[real])) if real.any() else 0.0
    for digits, low in ((14, 1.9e13), (17, 1.9e16)):
        if low < middle < 2.2 * low:
            whole = np.where(real, values, 0).astype(np.int64)
            texts = np.char.zfill(np.char.mod("%d", whole[: min(len(whole), 1000)]), digits)
            cells = np.array([f"{t[:8]}T{t[8:14]}{'.' + t[14:] if digits == 17 else ''}".encode() for t in texts])
            if (parse(cells).clock != NAT).mean() > 0.99:
                return _from_digits(whole, real, digits)
    return _time_of_day(values[real], values)


def _from_digits(whole: np.ndarray, real: np.ndarray, digits: int) -> Stamps:
    milli = whole % 1000 if digits == 17 else np.zeros_like(whole)
    rest = whole // 1000 if digits == 17 else whole
    date, clock = rest // 1_000_000, rest % 1_000_000
    day = civil_days(date // 10_000, date // 100 % 100, date % 100)
    seconds = clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    real = real & (day != NAT)
    return Stamps(
        np.where(real, day, NAT), None, np.where(real, seconds * 10**9 + milli * 10**6, NAT), None, True, True
    )


def continued(values: np.ndarray) -> tuple[np.ndarray, int, float]:
    """Return a counter of 16, 24 or 32 bits, or seconds of the day, continued where it runs over; how often; the size."""
    steps = np.diff(values)
    if not (steps < 0).any():
        return values, 0, 0.0
    rising = steps[steps > 0]
    typical = float(np.median(rising)) if len(rising) else 1.0
    for size in _WRAPS:
        over = (np.abs(steps + size - typical) <= 50 * typical) & (values[1:] < 0.02 * size) & (values[:-1] < size)
        if over.any() and float(np.nanmax(values)) <= size:
            return values + size * np.append(0, np.cumsum(over)), int(over.sum()), size
    return values, 0, 0.0


def unwrapped(seconds: np.ndarray, size: float) -> tuple[np.ndarray, int]:
    """Return times that begin again after `size` seconds, continued; and how often they began again."""
    real = np.flatnonzero(np.isfinite(seconds))
    over = np.diff(seconds[real]) < -size / 2
    if not over.any():
        return seconds, 0
    seconds = seconds.copy()
    seconds[real] += size * np.append(0, np.cumsum(over))
    return seconds, int(over.sum())


def _time_of_day(real: np.ndarray, values: np.ndarray) -> Stamps | None:
    """Numbers such as 142959.98, which 143000.00 follows, as times of day."""
    if len(real) < 2 or real.min() < 0 or real.max() >= 240_000 or real.max() < 100:
        return None
    steps = np.diff(real)
    over = (steps > 39) & (real[:-1] % 100 >= 58) & (real[1:] % 100 < 2) & (steps % 4000 < 44)  # a minute is full
    typical = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
    if (
        over.sum() < (1 if real.min() >= 10_000 else 2)
        or typical > 2
        or (real % 100 >= 60).any()
        or (real // 100 % 100 >= 60).any()
    ):
        return None
    if (steps[~over] > 39).sum() > over.sum():
        return None
    known = np.isfinite(values)
    whole = np.where(known, values, 0)
    seconds = whole // 10_000 * 3600 + whole // 100 % 100 * 60 + whole % 100
    clock = np.where(known, np.round(seconds * 1e9), 0).astype(np.int64)
    return Stamps(np.zeros(len(clock), np.int64), None, np.where(known, clock, NAT), None, False, True)
