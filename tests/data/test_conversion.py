"""Values that are no rate or no name are refused in words."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from otolith.data.conversion import frame_columns, rate_of, subject_of, text_of


@pytest.mark.parametrize("value", [None, "fast", True, 0, -1.0, float("nan"), "inf", [50], pd.NA])
def test_rates_that_are_no_positive_numbers_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^here: the sampling rate is .*; expected a positive number of Hz$"):
        rate_of(value, "here")


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), 1.5, pd.NA, pd.NaT, b"a", ["a"]])
def test_names_that_are_missing_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^here: subject is .*; expected text or a whole number$"):
        subject_of(value, "here")


@pytest.mark.parametrize(
    ("value", "name"), [("a b", "a b"), (7, "7"), (7.0, "7"), (np.int16(7), "7"), (np.str_("x"), "x")]
)
def test_names_are_text(value: Any, name: str) -> None:
    found = text_of(value, "name")
    assert found == name and type(found) is str


def test_a_table_without_rows_and_columns_is_refused() -> None:
    for value in (np.zeros(3), np.zeros((2, 2, 2)), 5.0):
        with pytest.raises(ValueError, match=r"here has the shape .*; expected \(time, channels\)"):
            frame_columns(value, "here")
