"""Convert what callers pass (arrays of any kind, data frames, lists, numbers) to this package's types, or refuse it."""

from __future__ import annotations

import contextlib
import math
import numbers as numbers_module
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise ValueError unless a setting is a finite number in its range.

    Args:
        name: of the setting, for the error.
        value: what was given; True and False are no numbers.
        least: the smallest value.
        above: a bound that the value exceeds.
        most: the largest value.
        below: a bound that exceeds the value.
        whole: whether it must be an integer.
    """
    kind = numbers_module.Integral if whole else numbers_module.Real
    usable = isinstance(value, kind) and not isinstance(value, bool | np.bool_) and math.isfinite(value)
    if usable and least <= value <= most and above < value < below:
        return
    bounds = [f"at least {least:g}"] if least > -math.inf else [f"above {above:g}"] if above > -math.inf else []
    bounds += [f"at most {most:g}"] if most < math.inf else [f"below {below:g}"] if below < math.inf else []
    raise ValueError(
        f"{name} is {value!r}; expected a {'whole ' if whole else ''}number{' of ' * bool(bounds)}{' and '.join(bounds)}"
    )


def numbers(value: Any, here: str) -> np.ndarray:
    """Return the values as a float32 array, without a copy if they are one.

    Args:
        value: an array, a tensor, nested lists; integers and other floats are converted, and so is text of numbers.
        here: what the values are; an error message begins with it.

    Raises:
        ValueError: the values are no rectangular array of real numbers.
    """
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(np.float64), np.nan)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "OUS":
            array = array.astype(np.float64)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{here} cannot be read as an array of numbers: {str(error).splitlines()[0]}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{here} has values of type {array.dtype}; expected real numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return array.astype(np.float32, copy=False)


def is_frame(value: Any) -> bool:
    """Return whether a value has named columns: a data frame of any library, or a mapping of columns."""
    return isinstance(value, Mapping) or hasattr(value, "columns") or hasattr(value, "__dataframe__")


def frame_columns(frame: Any, here: str) -> tuple[list[Any], Callable[[Any], np.ndarray]]:
    """Return the names of a table's columns, and a function from a name to the column's values.

    Args:
        frame: a data frame of pandas, polars or any library whose frames have `columns` or `__dataframe__`; a mapping of
            columns; or a (rows, columns) array or list, whose columns are named 0, 1, 2, ...
        here: what the table is; an error message begins with it.

    Raises:
        ValueError: the value is no table.
    """
    if isinstance(frame, Mapping):
        return list(frame), lambda name: _column(frame[name], f"{here}: column '{name}'")
    if not hasattr(frame, "columns") and hasattr(frame, "__dataframe__") and not hasattr(frame, "__array__"):
        from pandas.api.interchange import from_dataframe

        with warnings.catch_warnings():  # that pandas deprecates the protocol is no matter of the caller's
            warnings.simplefilter("ignore")
            frame = from_dataframe(frame)
    if hasattr(frame, "column_names"):  # Arrow, where `columns` are the values
        return list(frame.column_names), lambda name: _column(frame[name], f"{here}: column '{name}'")
    if hasattr(frame, "columns"):
        return list(frame.columns), lambda name: _column(frame[name], f"{here}: column '{name}'")
    table = numbers(frame, here)
    if table.ndim != 2:
        raise ValueError(f"{here} has the shape {table.shape}; expected (time, channels)")
    return list(range(table.shape[1])), lambda name: table[:, name]


def _column(values: Any, here: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{here} occurs more than once, or is no column: its shape is {array.shape}")
    if array.dtype.kind == "O" and hasattr(values, "to_numpy"):  # missing values of pandas's own types
        with contextlib.suppress(TypeError, ValueError):  # what is no number is refused below, in words
            array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers(array, here)


def signal_of(value: Any, channels: Sequence[str], here: str) -> np.ndarray:
    """Return a recording's signal as (time, channels) float32.

    Args:
        value: (time, channels), anything that `numbers` takes, or a table whose columns are named as the channels.
        channels: names of the channels.
        here: how an error message begins.

    Raises:
        ValueError: the values are no numbers, or their shape does not fit the channels.
    """
    if is_frame(value):
        names, column = frame_columns(value, here)
        if set(channels) <= set(names):
            value = np.stack([column(name) for name in channels], axis=1)
        elif names != list(range(len(channels))):
            raise ValueError(
                f"{here}: the table's columns are {', '.join(map(str, names))}; expected {', '.join(channels)}; "
                "name them with Recording.from_frame(frame, columns=...)"
            )
    signal = numbers(value, f"{here}: the signal")
    if signal.ndim != 2:
        raise ValueError(f"{here}: the signal has the shape {signal.shape}; expected (time, channels)")
    if signal.shape[1] != len(channels):
        swapped = "; its axes look swapped: pass signal.T" if signal.shape[0] == len(channels) else ""
        raise ValueError(
            f"{here}: the signal has {signal.shape[1]} columns but {len(channels)} channels are named; expected "
            f"(time, channels){swapped}"
        )
    if len(signal) == 0:
        raise ValueError(f"{here}: the signal has no time steps")
    return signal


def rate_of(value: Any, here: str) -> float:
    """Return a sampling rate in Hz as a float.

    Raises:
        ValueError: the value is no positive, finite number.
    """
    try:
        rate = float(value) if not isinstance(value, bool) else np.nan
    except (TypeError, ValueError):
        rate = np.nan
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"{here}: the sampling rate is {value!r}; expected a positive number of Hz")
    return rate


def text_of(value: Any, what: str) -> str:
    """Return a name as text: whole numbers are converted, 7.0 to `7`.

    Args:
        value: the name.
        what: what it names; an error message begins with it.

    Raises:
        ValueError: the value is missing, empty, or neither text nor a whole number.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {value!r}; expected text or a whole number")
    return value


def subject_of(value: Any, here: str) -> str:
    """Return a subject's name as text.

    Raises:
        ValueError: the name is missing, or contains `:`.
    """
    subject = text_of(value, f"{here}: subject")
    if ":" in subject:
        raise ValueError(f"{here}: subject '{subject}' must not contain ':' (it separates corpus and subject)")
    return subject
