"""Units of acceleration and angular rate, and whether gravity is in the acceleration.

The header's words decide. Where it has none, magnitudes do, once for all files of a device: one quiet or wild recording
may mislead. The mean acceleration over some seconds is gravity, whatever a person does; the mean of an angular rate, or
of an acceleration without gravity, is small against its median size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from otolith.formats.gaps import every, held_rows, some
from otolith.formats.names import acc_factor, gyro_factor, unit_word
from otolith.formats.options import Fact, ReadOptions

WINDOW_S = 4.0
"""Seconds over which a mean is taken."""

_WINDOWS = 400
_ABSURD = 50.0  # times the median size: marks of missing values, such as -999
_GUESSED = ("g", "m/s2", "mg")
_PEAK_RAD = 35.0  # rad/s, the usual range of 2,000 deg/s
_PEAK_COUNTS = 4500.0
_TURN = 0.22  # on MotionSense, SPAR, SP-SW-HAR, DSADS, UTD-MHAD and LIS: at least .25 in rad/s, at most .21 in deg/s


class Measures(NamedTuple):
    """What one file's values say about units.

    Attributes:
        size: median size of the acceleration.
        mean: median over windows of the size of the mean acceleration.
        spread: interquartile range of the same, as a share of it.
        still: median over windows of the standard deviation, as a share of the size.
        peak: 99.9th percentile of the angular rate's absolute values; NaN without a gyroscope.
        turn: how fast the direction of the acceleration turns, against the turning that the angular rate predicts (root mean
            squares): at least about 1 for rad/s, pi/180 for deg/s; acceleration by movement adds to it.
    """

    size: float
    mean: float
    spread: float
    still: float
    peak: float = float("nan")
    turn: float = float("nan")

    @property
    def ratio(self) -> float:
        """Mean against median size: near 1 with gravity, near .2 without."""
        return self.mean / self.size if self.size > 0 else 0.0


@dataclasses.dataclass(frozen=True)
class Units:
    """How a device writes its values.

    Attributes:
        acc: unit of acceleration.
        gyro: unit of angular rate; None without a gyroscope.
        facts: how they were decided.
    """

    acc: str
    gyro: str | None
    facts: tuple[Fact, ...] = ()

    def factors(self, channels: int) -> np.ndarray:
        """Return what raw channels are multiplied by, to be in g and rad/s."""
        acc = 1 / (acc_factor(self.acc) or 1.0)
        gyro = 1 / (gyro_factor(self.gyro or "rad/s") or 1.0)
        return np.array([acc] * 3 + [gyro] * (channels - 3), np.float32)


def measure(signal: np.ndarray, rate_hz: float) -> Measures | None:
    """Measure raw values, (time, 3 or 6), in windows spread over them; None if no row is whole."""
    whole = every(np.isfinite(signal)) & some(signal[:, :3] != 0)
    if not whole.any():
        return None
    x, y, z = signal[:, :3].T
    sizes = np.sqrt(x * x + y * y + z * z)
    middle = float(np.median(sizes[whole]))
    whole &= ~held_rows(signal[:, :3], rate_hz, middle)
    middle = float(np.median(sizes[whole])) if whole.any() else middle
    whole &= (sizes < _ABSURD * middle) & every(np.abs(signal[:, 3:]) < _ABSURD * 1000)
    rows = np.flatnonzero(whole)
    if len(rows) < 2:
        return None
    steps = int(np.clip(round(WINDOW_S * rate_hz), 2, len(rows)))
    count = len(rows) // steps
    chosen = np.unique(np.linspace(0, count - 1, min(count, _WINDOWS)).astype(int))
    windows = signal[rows[: count * steps].reshape(count, steps)[chosen]].astype(np.float64)
    acc = windows[..., :3]
    sizes = np.linalg.norm(acc, axis=2)
    means = np.linalg.norm(acc.mean(axis=1), axis=1)
    size = float(np.median(sizes))
    low, mid, high = np.quantile(means, [0.25, 0.5, 0.75])
    still = float(np.median(np.sqrt(acc.var(axis=1).sum(axis=1)))) / size if size else 0.0
    found = Measures(size, float(mid), float((high - low) / mid) if mid else 0.0, still)
    if signal.shape[1] < 6:
        return found
    peak = float(np.percentile(np.abs(signal[rows[:: max(1, len(rows) // 200_000)], 3:]), 99.9))
    return found._replace(peak=peak, turn=_turning(windows, rate_hz))


def _turning(windows: np.ndarray, rate_hz: float) -> float:
    """Size of d(direction)/dt against that of angular rate x direction, where the acceleration is near its median size."""
    taps = max(1, round(0.15 * rate_hz))
    if windows.shape[1] < 4 * taps + 4:
        return float("nan")
    total = np.cumsum(windows, axis=1)
    smooth = (total[:, taps:] - total[:, :-taps]) / taps
    acc, gyro = smooth[..., :3], smooth[..., 3:]
    size = np.linalg.norm(acc, axis=2, keepdims=True)
    direction = acc / np.maximum(size, 1e-12)
    change = (direction[:, 2:] - direction[:, :-2]) * rate_hz / 2
    expected = np.cross(gyro[:, 1:-1], direction[:, 1:-1])
    quiet = np.abs(size[:, 1:-1, 0] / np.median(size) - 1) < 0.15
    u, v = change[quiet].ravel(), expected[quiet].ravel()
    uu, vv = float(u @ u), float(v @ v)
    return float(np.sqrt(uu / vv)) if len(u) >= 60 and uu > 0 and vv > 0 else float("nan")


def decide(
    measures: Sequence[tuple[str, Measures]],
    options: ReadOptions,
    *,
    acc_words: str = "",
    gyro_words: str = "",
    hint: str = "",
    removed: bool = False,
    known: Units | None = None,
) -> Units:
    """Decide the units of a device.

    Args:
        measures: name and measures of each of its files.
        options: of the user.
        acc_words: the header's unit of acceleration.
        gyro_words: the header's unit of angular rate.
        hint: unit of angular rate that the lines before the table name; weaker than magnitudes.
        removed: whether names say that gravity was removed.
        known: units that the recordings of a model had; they are taken where magnitudes allow it.

    Raises:
        ValueError: no unit fits, files contradict each other, or the acceleration has no gravity.
    """
    files = [name for name, _ in measures]
    said = unit_word(acc_words, "acc") if acc_words else None
    middle = _pooled([m for _, m in measures])
    facts = []
    if options.acc_unit is not None:
        acc, how, guessed = options.acc_unit, "given", False
    elif said is not None:
        acc, how, guessed = said, "from the header", False
    elif known is not None and _near(middle, known.acc):
        acc, how, guessed = known.acc, "as in the model's recordings", False
    else:
        acc, how, guessed = _acc_unit(measures, middle, files, options), "", True
    facts.append(
        Fact(
            "acceleration",
            f"acceleration in {acc} (median size {middle.size:.3g}{f', {how}' if how else ''})",
            guessed,
            "--acc-unit",
        )
    )
    facts += _gravity(middle, acc, options, files, removed=removed, stated=how != "")
    gyro = None
    if np.isfinite(middle.peak):
        gyro, fact = _gyro_unit(measures, middle, options, gyro_words, hint, known)
        facts.append(fact)
    return Units(acc, gyro, tuple(facts))


def _pooled(measures: Sequence[Measures]) -> Measures:
    table = np.array(measures, float)
    median = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in table.T])
    return Measures(*median.tolist())


def _near(measures: Measures, unit: str) -> bool:
    factor = acc_factor(unit)
    return factor is not None and 0.4 < measures.mean / factor < 2.0


def _nearest(measures: Measures) -> str:
    value = max(measures.mean, 1e-12)
    return min(_GUESSED, key=lambda unit: abs(np.log(value / (acc_factor(unit) or 1.0))))


def _acc_unit(
    measures: Sequence[tuple[str, Measures]], middle: Measures, files: Sequence[str], options: ReadOptions
) -> str:
    unit = _nearest(middle)
    factor = acc_factor(unit) or 1.0
    here = _listed(files)
    _alike(measures)
    if not 0.6 < middle.mean / factor < 1.5 and not (options.has_gravity and 0.3 < middle.size / factor < 3):
        if middle.ratio < 0.6 or middle.size < 0.3:
            raise ValueError(_no_gravity(here, middle))
        counts = next((n for n in (64, 256, 1024, 2048, 4096, 8192, 16384) if 0.85 < middle.mean / n < 1.15), None)
        as_counts = (
            f" It may be counts of 1/{counts} g{' (Empatica E4)' if counts == 64 else ''}: pass --acc-unit g/{counts}."
            if counts
            else ""
        )
        raise ValueError(
            f"{here}: the median size of acceleration is {middle.size:.3g}, which is gravity in none of g (1), m/s2 "
            "(9.8), mg "
            f"(1000).{as_counts} Pass --acc-unit, and check that gravity was not removed"
        )
    return unit


def _alike(measures: Sequence[tuple[str, Measures]]) -> None:
    """Check that all files whose unit is certain have the same.

    Raises:
        ValueError: they differ; the message names two of them.
    """
    first: dict[str, tuple[str, Measures]] = {}
    for name, one in measures:
        unit = _nearest(one)
        if one.still < 0.5 and 0.8 < one.mean / (acc_factor(unit) or 1.0) < 1.25:
            first.setdefault(unit, (name, one))
    if len(first) > 1:
        (unit, (name, one)), (other, (another, two)) = list(first.items())[:2]
        raise ValueError(
            f"'{another}' has a median acceleration of {two.size:.3g}, which is gravity in {other}; '{name}' has the same "
            f"columns and {one.size:.3g}, which is gravity in {unit}: read them separately, each with its --acc-unit"
        )


def _gravity(
    middle: Measures, acc: str, options: ReadOptions, files: Sequence[str], *, removed: bool, stated: bool
) -> list[Fact]:
    """Refuse an acceleration without gravity; a fact where names and values disagree."""
    if options.has_gravity is not None:
        if options.has_gravity is False:
            raise ValueError(
                f"{_listed(files)}: gravity was removed from the acceleration; it is needed: record total "
                "acceleration, or add "
                "a gravity sensor's columns with --gravity X,Y,Z"
            )
        return [Fact("acceleration", "acceleration contains gravity (given)")]
    level = middle.mean / (acc_factor(acc) or 1.0)
    enough = 0.5 if stated else 0.6
    clear = enough < level < 1.6 and middle.ratio >= 0.6
    likely = enough < level < 1.6 and middle.ratio >= 0.4 and (stated or middle.spread < 0.5)
    at_rest = middle.still < 0.15
    if at_rest and not stated and not 0.88 < level < 1.12:
        clear = likely = False  # at rest nothing but gravity is measured, and that is 1 g
    if not stated and acc == "m/s2" and middle.spread > 0.4:
        clear = likely = False  # a still acceleration without gravity, in mg, has such sizes
    if removed and clear:
        return [
            Fact(
                "acceleration",
                "acceleration contains gravity, though its name says that gravity was removed",
                True,
                "--has-gravity",
            )
        ]
    if clear or (likely and not removed):
        return []
    other = _nearest(middle)
    if other != acc and _near(middle, other) and not 0.4 < level < 2:
        raise ValueError(
            f"{_listed(files)}: the acceleration is said to be in {acc}, but its median size, {middle.size:.3g}, is "
            "gravity in "
            f"{other}; pass --acc-unit {other} if it is"
        )
    raise ValueError(_no_gravity(_listed(files), middle))


def _no_gravity(here: str, middle: Measures) -> str:
    return (
        f"{here}: there is no gravity in what should be the acceleration: its mean over {WINDOW_S:g} s is "
        f"{middle.ratio:.2f} of its "
        f"median size, {middle.size:.3g}; with gravity it is near 1. Either gravity was removed (user or linear "
        "acceleration), or this is an angular rate. Record total acceleration, or add a gravity sensor's columns with "
        "--gravity X,Y,Z; --has-gravity reads it as it is"
    )


def _gyro_unit(
    measures: Sequence[tuple[str, Measures]],
    middle: Measures,
    options: ReadOptions,
    words: str,
    hint: str,
    known: Units | None,
) -> tuple[str, Fact]:
    peak = float(np.nanmax([m.peak for _, m in measures]))
    said = unit_word(words, "gyro") if words else None
    guessed = False
    if options.gyro_unit is not None:
        unit, how = options.gyro_unit, "given"
    elif said is not None:
        unit, how = said, "from the header"
    elif known is not None and known.gyro is not None and not (known.gyro == "rad/s" and peak > 2 * _PEAK_RAD):
        unit, how = known.gyro, "as in the model's recordings"
    else:
        guessed, how = True, ""
        if peak > _PEAK_COUNTS:
            raise ValueError(
                f"{_listed([name for name, _ in measures])}: the angular rate reaches {peak:.3g}, more than any "
                "gyroscope measures "
                "in rad/s or deg/s; pass --gyro-unit, for example mdeg/s, or counts such as deg/s/131"
            )
        if np.isfinite(middle.turn):
            unit, how = ("deg/s" if middle.turn < _TURN else "rad/s"), "as the acceleration turns with it"
        else:
            unit, how = (
                ("deg/s", "")
                if peak > _PEAK_RAD
                else (hint, "from the lines before the table")
                if hint
                else ("rad/s", "")
            )
    text = f"angular rate in {unit} (99.9 % below {peak:.3g}{f', {how}' if how else ''})"
    return unit, Fact("angular rate", text, guessed, "--gyro-unit")


def _listed(files: Sequence[str]) -> str:
    return f"'{files[0]}'" + (f" and {len(files) - 1} more like it" if len(files) > 1 else "")
