"""Auto-calibration of an accelerometer by gravity: scale and offset under which it measures 1 g at rest.

The method is that of van Hees et al., "Autocalibration of accelerometer data for free-living physical activity assessment
using local gravity and temperature: an evaluation on four continents", Journal of Applied Physiology 117(7), 2014,
doi 10.1152/japplphysiol.00421.2014. No lean library with a permissive licence has it: scikit-digital-health brings a
dozen dependencies and compiled code, wristpy is under the LGPL.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from otolith.data.block_statistics import block_statistics

STILL_G = 0.013
"""Standard deviation of each axis below which 10 s count as rest (van Hees et al. 2014, Methods)."""

_WINDOW_S = 10.0
_FULL = 0.9  # share of a window's rows that must be there
_PLAUSIBLE_G = (0.5, 1.5)  # mean magnitude at rest; zeros and clipped values are outside
_MOST_WEIGHT = 100.0
_WARM_C = 1.0  # range of temperature over which its slope is estimated


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A correction of acceleration, or the reason why there is none.

    Corrected acceleration is (measured + offset) * scale + (temperature - temperature_mean) * temperature_slope, per axis;
    equation 1 of van Hees et al. (2014), written as in GGIR.

    Attributes:
        scale: per axis.
        offset: per axis, in g.
        temperature_slope: per axis, in g per degree; zero where temperature was not used.
        temperature_mean: of the windows at rest, in degrees.
        error_before_g: mean distance of the magnitude at rest from 1 g, NaN without windows at rest.
        error_after_g: the same after correction.
        windows: number of windows of 10 s at rest.
        refused: why nothing is corrected; empty if the correction holds.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    temperature_slope: tuple[float, float, float] = (0.0, 0.0, 0.0)
    temperature_mean: float = 0.0
    error_before_g: float = float("nan")
    error_after_g: float = float("nan")
    windows: int = 0
    refused: str = ""

    def apply(self, signal: np.ndarray, temperature: np.ndarray | None = None) -> np.ndarray:
        """Return the corrected signal.

        Args:
            signal: (time, 3 or more), acceleration in g first; other channels stay as they are.
            temperature: (time,) degrees; needed where `temperature_slope` is not zero.

        Raises:
            ValueError: temperature is needed and not given.
        """
        if self.refused:
            return signal
        corrected = np.array(signal)
        for axis in range(3):  # in place, so that a week needs one copy
            column = corrected[:, axis]
            column += self.offset[axis]
            column *= self.scale[axis]
            if self.temperature_slope[axis]:
                if temperature is None:
                    raise ValueError("this calibration depends on temperature; pass the temperature of each row")
                column += ((temperature - self.temperature_mean) * self.temperature_slope[axis]).astype(column.dtype)
        return corrected

    def __str__(self) -> str:
        """Say what was done, on one line."""
        if self.refused:
            return f"not calibrated: {self.refused}"
        scale, offset = (", ".join(f"{value:.4f}" for value in values) for values in (self.scale, self.offset))
        steepest = max(map(abs, self.temperature_slope))
        warm = f", temperature slope up to {steepest:.1e} g/K" if steepest else ""
        return (
            f"calibrated by gravity: error at rest {1000 * self.error_before_g:.1f} -> {1000 * self.error_after_g:.1f} mg "
            f"(scale {scale}; offset {offset} g{warm}; {self.windows:,} windows at rest)"
        )


def calibrate(
    time_s: np.ndarray,
    signal: np.ndarray,
    rate_hz: float,
    temperature: np.ndarray | None = None,
    *,
    still_g: float = STILL_G,
    coverage_g: float = 0.3,
    least_windows: int = 10,
    good_g: float = 0.01,
    iterations: int = 1000,
    tolerance: float = 1e-10,
) -> Calibration:
    """Estimate scale and offset of an accelerometer from its windows at rest.

    Windows of 10 s at rest should lie on the sphere of 1 g. Each iteration finds each window's nearest point on the sphere
    and fits a line per axis to these points by weighted least squares, until the residual changes by less than `tolerance`
    (the iterative closest point fit of van Hees et al. 2014, appendix). Weights are 1 / distance, at most 100, so that
    windows far from the sphere count little.

    Deliberate differences: windows follow the clock, so gaps break none; a window counts only where its mean magnitude is
    between 0.5 and 1.5 g (the paper asks for less than 2 g per axis) and nine tenths of its rows are there; temperature is
    used only where it varies by 1 degree or more at rest; all of the recording is used at once, and not 72 h first; the
    residual that ends iteration is the weighted mean square distance, where GGIR divides it by the number of windows too and
    so ends after a few iterations on recordings of days.

    Args:
        time_s: (time,) seconds, ascending; rows may be missing.
        signal: (time, 3 or more), finite, acceleration in g first.
        rate_hz: rows per second where none is missing.
        temperature: (time,) degrees of the device, or None.
        still_g: standard deviation of each axis below which a window is at rest.
        coverage_g: each axis must have a window at rest below minus this and one above it.
        least_windows: windows at rest that are needed.
        good_g: error after correction that is accepted.
        iterations: at most.
        tolerance: change of the residual at which iteration ends.

    Returns:
        The correction; or, where data do not suffice or the error did not fall below `good_g`, the reason.

    Raises:
        ValueError: the arrays do not fit each other, or hold values that are not finite.
    """
    means, warm = _windows_at_rest(time_s, signal, rate_hz, temperature, still_g)
    count = len(means)
    if count < least_windows:
        return Calibration(
            windows=count, refused=f"{count} windows of 10 s at rest; at least {least_windows} are needed"
        )
    before = _error(means)
    low, high = means.min(axis=0), means.max(axis=0)
    if (low > -coverage_g).any() or (high < coverage_g).any():
        poor = ", ".join(
            f"{name} {low[axis]:+.2f} to {high[axis]:+.2f} g"
            for axis, name in enumerate("xyz")
            if low[axis] > -coverage_g or high[axis] < coverage_g
        )
        refused = f"too few orientations at rest ({poor}; each axis must reach -{coverage_g:g} and +{coverage_g:g} g)"
        return Calibration(windows=count, error_before_g=before, error_after_g=before, refused=refused)
    mean_c = float(warm.mean())
    used = warm - mean_c if np.ptp(warm) >= _WARM_C else np.zeros(count)
    scale, offset, slope = _fit(means, used, iterations, tolerance)
    after = _error((means + offset) * scale + used[:, None] * slope)
    if after >= before or after >= good_g:
        refused = f"the error at rest is {1000 * after:.1f} mg after correction and {1000 * before:.1f} mg before"
        return Calibration(windows=count, error_before_g=before, error_after_g=after, refused=refused)
    return Calibration(_triple(scale), _triple(offset), _triple(slope), mean_c, before, after, count)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _error(means: np.ndarray) -> float:
    """Return the mean distance of the magnitude from 1 g."""
    return float(np.abs(np.linalg.norm(means, axis=1) - 1).mean())


def _windows_at_rest(
    time_s: np.ndarray, signal: np.ndarray, rate_hz: float, temperature: np.ndarray | None, still_g: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (windows, 3) mean acceleration and (windows,) mean temperature of windows at rest."""
    found = block_statistics(time_s, signal[:, :3], _WINDOW_S)
    means = found.means
    magnitude = np.linalg.norm(means, axis=1)
    still = (
        (found.counts >= _FULL * _WINDOW_S * rate_hz)
        & (found.deviations < still_g).all(axis=1)
        & (magnitude > _PLAUSIBLE_G[0])
        & (magnitude < _PLAUSIBLE_G[1])
    )
    if temperature is None:
        return means[still], np.zeros(int(still.sum()))
    warm = block_statistics(time_s, temperature[:, None], _WINDOW_S).means[:, 0]
    return means[still], warm[still]


def _fit(
    means: np.ndarray, warm: np.ndarray, iterations: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scale, offset and slope of temperature, per axis."""
    scale, offset, slope = np.ones(3), np.zeros(3), np.zeros(3)
    use_warm = bool(warm.any())
    weights = np.full(len(means), _MOST_WEIGHT)
    last = np.inf
    for _ in range(iterations):
        now = (means + offset) * scale + warm[:, None] * slope
        target = now / np.linalg.norm(now, axis=1, keepdims=True)
        root = np.sqrt(weights)[:, None]
        fitted = np.empty_like(now)
        for axis in range(3):
            columns = [np.ones(len(now)), now[:, axis], *([warm] if use_warm else [])]
            design = np.stack(columns, axis=1)
            line = np.linalg.lstsq(design * root, target[:, axis] * root[:, 0], rcond=None)[0]
            fitted[:, axis] = design @ line
            offset[axis] += line[0] / (scale[axis] * line[1])
            scale[axis] *= line[1]
            slope[axis] = slope[axis] * line[1] + (line[2] if use_warm else 0.0)
        distance = np.linalg.norm(fitted - target, axis=1)
        residual = float((weights * distance**2).sum() / weights.sum())
        weights = np.minimum(1 / np.maximum(distance, 1 / _MOST_WEIGHT), _MOST_WEIGHT)
        if abs(residual - last) < tolerance:
            break
        last = residual
    return scale, offset, slope
