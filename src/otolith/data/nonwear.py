"""Non-wear: stretches in which a device lay still and was not worn.

The method is that of van Hees et al., "Estimation of daily energy expenditure in pregnant and non-pregnant women using a
wrist-worn tri-axial accelerometer", PLoS ONE 6(7), 2011, doi 10.1371/journal.pone.0022922, with the windows of van Hees et
al., "Separating movement and gravity components in an acceleration signal and implications for the assessment of human daily
physical activity", PLoS ONE 8(4), 2013, doi 10.1371/journal.pone.0061691.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from otolith.data.block_statistics import block_statistics

STILL_G = 0.013
"""Standard deviation below which an axis is still: 13 mg (van Hees et al. 2013), above the noise of GENEActiv devices at
rest, which GGIR's source gives as 10.9 mg."""

RANGE_G = 0.15
"""Range below which an axis is still: 150 mg. GGIR, which the method's authors keep, uses it for GENEActiv, ActiGraph and
Axivity, after a range of 128 mg at rest. The 50 mg of van Hees et al. (2011) were set on GENEA devices, whose noise has a
standard deviation of 2.6 mg; noise of 10.9 mg spans more than 50 mg in every hour, and no non-wear would ever be found."""

_STEP_S = 900.0  # 15 min
_FULL = 0.9  # share of a window's rows that must be there to judge it


class NonWear(NamedTuple):
    """A stretch of non-wear; seconds on the clock of the given times."""

    start_s: float
    stop_s: float


def nonwear(
    time_s: np.ndarray,
    signal: np.ndarray,
    rate_hz: float,
    *,
    still_g: float = STILL_G,
    range_g: float = RANGE_G,
    window_blocks: int = 4,
    reclassify: bool = False,
) -> list[NonWear]:
    """Return the stretches in which the device was not worn.

    Windows of 60 min begin every 15 min. A window is non-wear where at least two of three axes have a standard deviation
    below `still_g` and a range below `range_g`. Each block of 15 min in such a window is non-wear.

    Deliberate differences: both criteria must hold for the same axis, as in GGIR, where the paper of 2011 accepts either;
    all blocks of a window are marked, as in GGIR's version of 2023, where its version of 2013 marks the block at the centre
    and misses 22 min at either end; a window with more than a tenth of its rows missing is not judged; short wear between
    non-wear stays wear by default, since the rule that makes it non-wear hides hours in which a device is worn between two
    long rests.

    Args:
        time_s: (time,) seconds, ascending; rows may be missing.
        signal: (time, 3 or more), finite, acceleration in g first.
        rate_hz: rows per second where none is missing.
        still_g: threshold of the standard deviation.
        range_g: threshold of the range.
        window_blocks: blocks of 15 min that make a window.
        reclassify: whether short wear between non-wear, such as of a device that is carried to the laboratory, is non-wear
            too: in three passes, wear shorter than 6 h and than 30 % of the non-wear before and after it together, or
            shorter than 3 h and than 80 % (van Hees et al. 2013, supplement).

    Returns:
        The stretches in order; none for recordings shorter than a window.

    Raises:
        ValueError: the arrays do not fit each other, or hold values that are not finite.
    """
    blocks = block_statistics(time_s, signal[:, :3], _STEP_S)
    windows = blocks.merged(window_blocks)
    full = windows.counts >= _FULL * window_blocks * _STEP_S * rate_hz
    still_axes = (windows.deviations < still_g) & (windows.highest - windows.lowest < range_g)
    still = full & (still_axes.sum(axis=1) >= 2)
    off = np.zeros(len(blocks.starts_s), bool)
    for place in range(window_blocks):
        off[place : place + len(still)] |= still
    if reclassify:
        off = _reclassified(off)
    starts = [(float(blocks.starts_s[start]), float(stop - start) * _STEP_S) for start, stop in _runs(off)]
    return [NonWear(start, start + lasting) for start, lasting in starts]


def _runs(flags: np.ndarray) -> np.ndarray:
    """Return (runs, 2) the first block and the end of each run of true flags."""
    padded = np.concatenate([[False], flags, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def _reclassified(off: np.ndarray) -> np.ndarray:
    """Return the flags with short wear between non-wear set."""
    hour = round(3600 / _STEP_S)
    off = off.copy()
    for _ in range(3):
        runs = _runs(off)
        if len(runs) < 2:
            break
        lengths = runs[:, 1] - runs[:, 0]
        worn = runs[1:, 0] - runs[:-1, 1]
        share = worn / (lengths[:-1] + lengths[1:])
        short = ((worn < 6 * hour) & (share < 0.3)) | ((worn < 3 * hour) & (share < 0.8))
        for start, stop in zip(runs[:-1, 1][short], runs[1:, 0][short], strict=True):
            off[start:stop] = True
    return off
