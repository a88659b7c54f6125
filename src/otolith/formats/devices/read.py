"""Reading of device files of any maker."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE
from otolith.formats.devices import actigraph, axivity, geneactiv, matrix
from otolith.formats.devices.blocks import (
    MOST_SAMPLES,
    DamagedError,
    Survey,
    runs_of_zeros,
    sample_times,
    steps_of_blocks,
)
from otolith.formats.devices.decode import Decoder
from otolith.formats.devices.device_file import DeviceFile, Series

_SURVEYS: dict[str, Callable[..., Survey]] = {
    "axivity": axivity.survey,
    "actigraph": actigraph.survey,
    "geneactiv": geneactiv.survey,
    "matrix": matrix.survey,
}
_NAMES = {
    "axivity": "an Axivity .cwa",
    "actigraph": "an ActiGraph .gt3x",
    "geneactiv": "a GENEActiv .bin",
    "matrix": "a Matrix .bin",
}
_HINTS = {
    b"\x1f\x8b": "it is compressed: unpack it with gunzip first",
    b"SQLite": "it is a database, such as ActiLife's .agd of activity counts: export the raw samples",
    b"RIFF": "it is a WAV file: export it as .cwa or CSV",
}
_ZERO_S = 0.25  # of exact zeros on all axes; a sensor in free fall shows noise
_RAD_PER_DEG = math.pi / 180


def device_kind(path: Path) -> str | None:
    """Return `axivity`, `actigraph`, `geneactiv` or `matrix` after a file's first bytes, whatever its name; None for others.

    Raises:
        FileNotFoundError: there is no file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no device file at '{path}'")
    with path.open("rb") as file:
        first = file.read(matrix.MAGIC_AT + len(matrix.MAGIC))
    if first[matrix.MAGIC_AT :] == matrix.MAGIC:
        return "matrix"
    if first.startswith(axivity.MAGIC):
        return "axivity"
    if first.startswith(geneactiv.MAGIC):
        return "geneactiv"
    return "actigraph" if first.startswith(b"PK\x03\x04") and actigraph.is_archive(path) else None


def read_device(path: Path, *, skip_damaged: bool = False) -> DeviceFile:
    """Read a device file.

    Args:
        path: of the file; its bytes tell its kind, not its name.
        skip_damaged: leave damaged blocks out, as gaps, instead of raising; `facts` says how many.

    Raises:
        FileNotFoundError: there is no file.
        ImportError: actfast is not installed (extra `devices`).
        ValueError: the file is damaged, cut off, or no device file.
    """
    kind = device_kind(path)
    if kind is None:
        raise ValueError(f"'{path}' is no device file: {_hint(path)}")
    try:
        survey = _SURVEYS[kind](path, skip_damaged=skip_damaged)
        return _read(kind, survey)
    except DamagedError as error:
        advice = "" if skip_damaged else ", or pass skip_damaged=True to keep what is whole"
        raise ValueError(f"'{path}' is {_NAMES[kind]} file that is damaged: {error}; copy it again{advice}") from error
    except ValueError as error:
        raise ValueError(f"'{path}' is {_NAMES[kind]} file that cannot be read: {error}") from error


def _hint(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(16)
    for magic, hint in _HINTS.items():
        if first.startswith(magic):
            return hint
    size = path.stat().st_size
    return (
        f"its {size:,} bytes do not begin like a .cwa, .gt3x, GENEActiv or Matrix .bin file" if size else "it is empty"
    )


def _read(kind: str, survey: Survey) -> DeviceFile:
    total = int(survey.counts.sum())
    if total > MOST_SAMPLES:
        raise ValueError(f"it holds {total:,} samples; at most {MOST_SAMPLES:,} are read")
    origin = float(survey.starts_s[0])
    starts = survey.starts_s - origin
    steps, measured = steps_of_blocks(starts, survey.counts, survey.rate_hz)
    try:
        time_s, signal, light = _decoded(survey, starts, steps, total)
    except MemoryError as error:
        raise ValueError(
            f"its {total:,} samples need {total * (8 + 4 * survey.channels) / 1e9:.1f} GB of memory"
        ) from error
    zero = runs_of_zeros(signal, max(2, round(_ZERO_S * survey.rate_hz)))
    zeros = int(np.count_nonzero(zero))
    if zeros == total:
        raise ValueError("all of its samples are zero: the sensor did not measure")
    if zeros:
        time_s, signal = time_s[~zero], signal[~zero]
        origin, time_s = origin + float(time_s[0]), time_s - time_s[0]
    facts = {**survey.facts, **_facts(survey, time_s, zeros, measured, light)}

    def relative(series: Series | None) -> Series | None:
        return None if series is None else Series(series.time_s - origin, series.values, series.unit)

    return DeviceFile(
        kind=kind,
        device=survey.device,
        channels=ACCELEROMETER + GYROSCOPE if survey.channels == 6 else ACCELEROMETER,
        time_s=time_s,
        signal=signal,
        rate_hz=survey.rate_hz,
        start=_moment(origin),
        temperature=relative(survey.temperature),
        light=relative(light),
        battery=relative(survey.battery),
        facts={key: value for key, value in facts.items() if value},
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 6), timezone.utc).replace(tzinfo=None)


def _decoded(
    survey: Survey, starts: np.ndarray, steps: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray, Series | None]:
    """Return time and signal of all samples, and light."""
    time_s, signal = np.empty(total), np.empty((total, survey.channels), np.float32)
    scale = survey.scale.copy()
    scale[3:] *= _RAD_PER_DEG
    brightness: list[np.ndarray] = []
    row = block = 0
    ends = np.cumsum(survey.counts)
    with Decoder() as decoder:
        for chunk in survey.chunks():
            stop = row + chunk.samples
            last = int(np.searchsorted(ends, stop)) + 1
            if stop > total or ends[last - 1] != stop:
                raise DamagedError(f"{chunk.place} changed while it was read")
            values = chunk.decoded
            counts = survey.counts[block:last]
            if values is None:
                try:
                    values, light = decoder.decode(chunk.container, chunk.suffix, chunk.samples, survey.channels)
                except ValueError as error:
                    raise DamagedError(f"{chunk.place} are damaged ({error})") from error
                if survey.light_per_block and light is not None:
                    brightness.append(np.add.reduceat(light, np.cumsum(counts) - counts) / counts)
            if not np.isfinite(values).all() or (survey.whole and (np.abs(values).max() > 2048 or (values % 1).any())):
                raise DamagedError(f"{chunk.place} decode to numbers that no sensor measures")
            np.multiply(values, scale, out=signal[row:stop], casting="same_kind")
            time_s[row:stop] = sample_times(starts[block:last], counts, steps[block:last])
            row, block = stop, last
    if row != total:
        raise DamagedError("it changed while it was read")
    if brightness:
        return time_s, signal, Series(survey.starts_s, np.concatenate(brightness).astype(np.float32), "lux")
    return time_s, signal, survey.light


def _facts(survey: Survey, time_s: np.ndarray, zeros: int, measured: float, light: Series | None) -> dict[str, str]:
    """Return what is worth knowing about a recording, for people."""
    gaps = np.diff(time_s)
    gaps = gaps[gaps > max(0.5, 1.5 / survey.rate_hz)]
    rate = f"{survey.rate_hz:g} Hz"
    idle = f"{zeros / survey.rate_hz / 60:.1f} min of exact zeros (idle sleep or lost packets) are gaps"
    return {
        "device": survey.device,
        "rate": rate if abs(measured / survey.rate_hz - 1) < 1e-4 else f"{rate} ({measured:.3f} by its clock)",
        "gaps": f"{len(gaps):,}, {gaps.sum() / 60:.1f} min in all" if len(gaps) else "",
        "zeros": idle if zeros else "",
        "damaged": f"{len(survey.damaged):,} left out, first: {survey.damaged[0]}" if survey.damaged else "",
        "temperature": _range(survey.temperature),
        "light": _range(light),
        "battery": _range(survey.battery),
    }


def _range(series: Series | None) -> str:
    if series is None:
        return ""
    low, middle, high = np.quantile(series.values, [0, 0.5, 1])
    return f"{low:.4g} to {high:.4g} {series.unit}, median {middle:.4g}"
