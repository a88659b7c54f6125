"""Check and convert arrays of windows, labels and subjects, as `Windows.from_arrays` is given them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from otolith.data.conversion import numbers, subject_of, text_of
from otolith.data.units import check_acceleration, divisors, possible

_BLOCK = 1 << 24  # values checked at a time
_JUDGED = 1000  # windows from which the unit of acceleration is judged

Layout = Literal["channels_first", "channels_last"]


def loaded(value: Any, what: str) -> Any:
    """Return the array of a `.npy` file, memory-mapped, if `value` is a path; else `value`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no single array, or one of Python objects.
    """
    named = isinstance(value, str) and value.endswith((".npy", ".npz"))
    if not named and not isinstance(value, os.PathLike):
        return value
    path = Path(value)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{what}: '{path}' cannot be read as a .npy file of numbers or text: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what}: '{path}' holds several arrays; pass one of them")
    return array


def window_array(
    x: Any, rate_hz: float, channels: tuple[str, ...], layout: str, units: Mapping[str, str] | None
) -> np.ndarray:
    """Return windows as a (windows, channels, time) float32 array in C order, without a copy if they are one.

    Args:
        x: windows in the given layout.
        rate_hz: time steps per second.
        channels: names of the channels.
        layout: `channels_first` for (windows, channels, time), `channels_last` for (windows, time, channels).
        units: units that are converted, see `units.divisors`.

    Raises:
        ValueError: the shape does not fit the channels, or the acceleration is clearly not in g.
    """
    array = numbers(x, "x")
    axes = {"channels_first": "(windows, channels, time)", "channels_last": "(windows, time, channels)"}
    if layout not in axes:
        raise ValueError(f"layout is {layout!r}; expected {' or '.join(axes)}")
    if array.ndim != 3:
        one = "; of one channel: x[:, None, :]" if array.ndim == 2 and len(channels) == 1 else ""
        raise ValueError(f"x has the shape {array.shape}; expected {axes[layout]}{one}")
    own, other = (1, 2) if layout == "channels_first" else (2, 1)
    if array.shape[own] != len(channels):
        hint = ""
        if array.shape[other] == len(channels):
            swapped = "channels_last" if layout == "channels_first" else "channels_first"
            hint = f"; the axes look like {axes[swapped]}: pass layout='{swapped}'"
        raise ValueError(
            f"x has the shape {array.shape}, so {array.shape[own]} channels, and {len(channels)} are named "
            f"({', '.join(channels)}); expected {axes[layout]}{hint}"
        )
    if not array.size:
        raise ValueError(f"x has the shape {array.shape}; expected at least one window of at least one time step")
    if layout == "channels_last":
        array = array.swapaxes(1, 2)
    if (divisor := divisors(channels, units, "x")) is not None:
        array = (array / divisor[:, None]).astype(np.float32)
    array = np.ascontiguousarray(array)
    sample = array[:: max(1, len(array) // _JUDGED)]
    check_acceleration(
        sample.swapaxes(1, 2).reshape(-1, len(channels)),
        channels,
        len(array) * array.shape[2] / rate_hz,
        "x",
        "pass units={{'acc': '{unit}'}}",
    )
    return array


def checked_hash(array: np.ndarray, channels: Sequence[str]) -> str:
    """Return the SHA-256 of (windows, channels, time) values; every value is read once, block by block.

    Raises:
        ValueError: a value is NaN, infinite or beyond `units.MOST`; the message names the window, the channel and the time
            step.
    """
    digest = hashlib.sha256()
    size = max(1, _BLOCK // array[0].size)
    for first in range(0, len(array), size):
        block = array[first : first + size]
        if not (fine := possible(block)).all():
            window, channel, step = (int(place[0]) for place in np.nonzero(~fine))
            value = block[window, channel, step]
            wanted = "values that a sensor can measure" if np.isfinite(value) else "finite values"
            raise ValueError(
                f"x: window {first + window} has the value {value} at time step {step} of "
                f"{channels[channel]}; expected {wanted}: drop the window or interpolate the gap"
            )
        digest.update(np.ascontiguousarray(block, dtype="<f4").data)
    return digest.hexdigest()


def file_map(array: np.ndarray) -> np.memmap | None:
    """Return a copy-on-write map of an array's values, (values,), if they lie in a file as they are; else None.

    Another process can map the file again instead of being sent the values. A copy-on-write map may have been changed in
    memory, so it counts as no file.
    """
    root: Any = array
    while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c" or array.dtype != np.dtype("<f4"):
        return None
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return np.memmap(root.filename, dtype="<f4", mode="c", offset=offset, shape=(array.size,))


def label_numbers(y: Any, count: int, label_names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (windows,) int64 label numbers, and the name of each number.

    Args:
        y: one label per window: text, whole numbers or booleans. Without `label_names`, the sorted different labels are
            numbered.
        count: number of windows.
        label_names: names in the order of their numbers. Text labels must be among them; whole numbers are places here.

    Raises:
        ValueError: a label is missing, not a whole number, or has no name; or there are not `count` of them.
    """
    labels = _per_window(y, count, "y")
    names = None if label_names is None else tuple(text_of(name, "label_names: a name") for name in label_names)
    if names is not None and len(set(names)) < len(names):
        raise ValueError(f"label_names has a name twice: {', '.join(names)}")
    if labels.dtype.kind in "biuf":
        if (wrong := np.flatnonzero(~(np.isfinite(labels) & (labels == np.floor(labels))))).size:
            raise ValueError(f"y: the label of window {wrong[0]} is {labels[wrong[0]]}; expected whole numbers or text")
        labels = labels.astype(np.int64)
        if names is None:
            found, numbered = np.unique(labels, return_inverse=True)
            return numbered.astype(np.int64), tuple(str(value) for value in found.tolist())
        if (wrong := np.flatnonzero((labels < 0) | (labels >= len(names)))).size:
            raise ValueError(
                f"y: the label of window {wrong[0]} is {labels[wrong[0]]}, and label_names has {len(names)} names; expected "
                f"0 to {len(names) - 1}: drop windows without a label"
            )
        return labels.astype(np.int64), names
    texts = _texts(labels, "y: the label")
    names = tuple(sorted(set(texts))) if names is None else names
    place = {name: number for number, name in enumerate(names)}
    if unknown := [name for name in dict.fromkeys(texts) if name not in place]:
        raise ValueError(f"y has the label '{unknown[0]}', which is not in label_names: {', '.join(names)}")
    return np.array([place[name] for name in texts], dtype=np.int64), names


def group_numbers(values: Any, count: int, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (windows,) int64 numbers of named groups such as subjects, and their names in order of first appearance.

    Raises:
        ValueError: a name is missing or contains `:`, or there are not `count` of them.
    """
    texts = _texts(_per_window(values, count, what), f"{what}: the name")
    place = {name: number for number, name in enumerate(dict.fromkeys(texts))}
    for name in place:
        subject_of(name, what)
    return np.array([place[name] for name in texts], dtype=np.int64), tuple(place)


def start_seconds(values: Any, count: int) -> np.ndarray:
    """Return (windows,) float64 start times in seconds.

    Raises:
        ValueError: a value is not a finite number, or there are not `count` of them.
    """
    array = _per_window(values, count, "start_s")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError("start_s: expected one finite number of seconds per window")
    return array.astype(np.float64)


def _per_window(values: Any, count: int, what: str) -> np.ndarray:
    if isinstance(values, str):
        raise ValueError(f"{what} is {values!r}; expected one value per window, {count:,} in all")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{what} cannot be read as an array: {str(error).splitlines()[0]}") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise ValueError(f"{what} has the shape {array.shape}; expected one value per window, ({count},)")
    if array.dtype.kind not in "biufUSO":
        raise ValueError(f"{what} has values of type {array.dtype}; expected text or whole numbers")
    return array


def _texts(values: np.ndarray, what: str) -> list[str]:
    """Return each value as text; every different value is converted once."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    plain = values.tolist()
    known: dict[Any, str] = {}
    for window, value in enumerate(plain):
        if value not in known:
            known[value] = text_of(value, f"{what} of window {window}")
    return [known[value] for value in plain]
