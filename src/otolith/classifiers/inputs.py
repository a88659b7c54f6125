"""Check the windows and labels that a caller passes to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from otolith.data.units import MOST
from otolith.data.windows import Windows

Examples = Windows | np.ndarray | Tensor | Sequence[Any]
"""Windows, or an array, tensor or list (windows, channels, time) in the store's units: g and rad/s."""

Shape = tuple[int | None, int | None]
"""Expected channels and time steps of a window; None where any number is allowed."""


def check_windows(X: Examples, expected: Shape = (None, None)) -> Windows | Tensor:
    """Return the windows as `Windows` or as a float32 tensor (windows, channels, time).

    Args:
        X: the windows.
        expected: channels and time steps that they must have.

    Raises:
        ValueError: the values are not numbers, the shape is another, the axes are swapped, or a value is NaN, infinite or
            beyond `units.MOST`.
    """
    if isinstance(X, Windows):
        _check_shape(X.shape, expected)
        return X
    x = _as_tensor(X)
    _check_shape(tuple(x.shape), expected)
    finite = x.abs() <= MOST  # NaN is not
    if not finite.all():
        bad = (~finite.flatten(1).all(dim=1)).nonzero()[:, 0]
        window, channel, step = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"{len(bad)} of {len(x)} windows hold NaN or infinite values, or more than a sensor measures; the first is "
            f"window {window} (channel {channel}, time step {step}): interpolate the gaps before windows are cut, or drop "
            "these windows"
        )
    return x


def shape_of(windows: Windows | Tensor) -> Shape:
    """Return channels and time steps of a window."""
    return windows.shape[1], windows.shape[2]


def _as_tensor(X: Any) -> Tensor:
    if isinstance(X, Tensor):
        return X.detach().to(torch.float32)
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"windows differ in shape; expected one array (windows, channels, time): {error}") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float32)
        except (TypeError, ValueError):
            raise ValueError("windows are not numbers; expected an array (windows, channels, time) of floats") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"windows are of type {array.dtype}; expected numbers (windows, channels, time)")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _check_shape(shape: tuple[int, ...], expected: Shape) -> None:
    if len(shape) != 3:
        hint = "; pass one window as x[None]" if len(shape) == 2 else ""
        raise ValueError(f"windows are {shape}; expected (windows, channels, time){hint}")
    channels, steps = shape[1:]
    fits = expected[0] in (None, channels) and expected[1] in (None, steps)
    if fits and (channels <= steps or None not in expected):
        return
    swapped = expected[0] in (None, steps) and expected[1] in (None, channels) and channels > steps
    hint = "; the axes seem to be swapped: pass x.transpose(0, 2, 1)" if swapped else ""
    words = [f"{n} {name}" for n, name in zip(expected, ("channels", "time steps"), strict=True) if n is not None]
    wanted = f" with {' and '.join(words)}" if words else ""
    raise ValueError(
        f"windows have {channels} channels and {steps} time steps; expected (windows, channels, time){wanted}{hint}"
    )


def check_labels(X: Examples, y: Any = None) -> np.ndarray:
    """Return the (windows,) labels: `y`, or those that the windows carry.

    Raises:
        ValueError: there are none, their number is not that of the windows, one is missing (None, NaN), or they are
            continuous values or of mixed types.
    """
    if y is None:
        if not isinstance(X, Windows) or X.y is None:
            raise ValueError("no labels: pass y, or windows that carry them")
        y = X.y
    labels = np.asarray(y)
    if labels.dtype.kind == "U" and labels.ndim == 1 and not isinstance(y, np.ndarray):
        labels = np.array(list(y), dtype=object)  # a list of names and NaN: asarray makes the name 'nan' of it
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"labels are {labels.shape}; expected one label per window, (windows,)")
    if len(labels) != len(X):
        raise ValueError(f"{len(X)} windows but {len(labels)} labels")
    missing = np.flatnonzero(pd.isna(labels))
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {len(labels)} labels are missing (None or NaN); the first is that of window {missing[0]}: "
            "drop these windows, or pass them as unlabelled"
        )
    if labels.dtype.kind == "f":
        continuous = np.flatnonzero(labels != np.round(labels))
        if len(continuous):
            raise ValueError(
                f"labels are continuous: that of window {continuous[0]} is {labels[continuous[0]]:g}; expected classes, "
                "as names or whole numbers"
            )
    if labels.dtype == object and len({isinstance(label, str) for label in labels}) > 1:
        odd = next(k for k, label in enumerate(labels) if isinstance(label, str) != isinstance(labels[0], str))
        raise ValueError(
            f"labels are of mixed types: that of window {odd} is {labels[odd]!r}; expected all names or all numbers"
        )
    return labels.astype(str) if labels.dtype == object and len(labels) and isinstance(labels[0], str) else labels


def accuracy(model: Any, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
    """Return the accuracy of a fitted classifier; labels come from the windows if `y` is None.

    A classifier that was loaded from a file predicts names; label numbers of `Windows` are then compared by their names.
    """
    check_is_fitted(model, "classes_")
    labels = check_labels(X, y)
    if y is None and isinstance(X, Windows) and np.asarray(model.classes_).dtype.kind in "UO":
        labels = np.asarray(X.label_names)[labels]
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, model.predict(X), sample_weight=sample_weight))
