"""Columns of a table -> arrays, in chunks, by pandas' C parser: memory holds the arrays and one chunk of text."""

from __future__ import annotations

import dataclasses
import datetime
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from otolith.formats import stamps
from otolith.formats.growing import Growing, GrowingStamps
from otolith.formats.layout import Layout, text_of
from otolith.formats.source import Table, byte_limit, too_large
from otolith.formats.stamps import NAT, Stamps

_MOST_STAMP = 1e100  # larger ones overflow when their unit is converted
_CHUNK = 100_000  # rows; larger chunks are no quicker
_SHORTEST, _MOST_EXPECTED = 16, 1 << 26  # bytes of a line, and rows, for which memory is set aside
_LARGEST = 1e12  # in any unit; what is beyond is no motion
_WIDTH = 64  # bytes of the longest stamp


@dataclasses.dataclass(eq=False)
class Rows:
    """Some columns of a table, by their place.

    Attributes:
        numbers: (rows,) float; NaN where a cell holds no number. Time columns are float64, others float32.
        stamps: parsed dates and times of day.
        words: (rows,) codes, -1 for an empty cell, and the words that they stand for.
        count: of rows.
        headers: rows that repeated the header; they are left out.
    """

    numbers: dict[int, np.ndarray]
    stamps: dict[int, Stamps]
    words: dict[int, tuple[np.ndarray, list[str]]]
    count: int
    headers: int = 0

    def signal(self, columns: Collection[int]) -> np.ndarray:
        """Return (rows, columns) float32, NaN for absurd values; the columns are taken out of `numbers`, to save memory."""
        out = np.empty((self.count, len(columns)), np.float32)
        for place, column in enumerate(columns):
            out[:, place] = self.numbers[column]
            out[np.abs(out[:, place]) > _LARGEST, place] = np.nan
        for column in columns:
            self.numbers.pop(column, None)
        return out

    def turn_round(self) -> None:
        """Put the last row first."""
        self.numbers = {column: values[::-1] for column, values in self.numbers.items()}
        self.stamps = {column: found.turned_round() for column, found in self.stamps.items()}
        self.words = {column: (codes[::-1], names) for column, (codes, names) in self.words.items()}


class _Collected:
    """Chunks of columns, until they are joined."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.numbers: dict[int, Growing] = {}
        self.stamps: dict[int, GrowingStamps] = {}
        self.codes: dict[int, list[np.ndarray]] = {}
        self.known: dict[int, dict[str, int]] = {}
        self.texts: dict[int, tuple[int, str]] = {}
        self.count = self.headers = 0

    def count_text(self, column: int, cells: pd.Series, values: pd.Series) -> None:
        """Count cells of a column of numbers that hold something else, and keep one."""
        if cells is values:
            return
        wrong = cells[values.isna() & cells.notna()]
        before, example = self.texts.get(column, (0, ""))
        if len(wrong):
            self.texts[column] = (before + len(wrong), example or str(wrong.iloc[0]))

    def number(self, column: int, values: np.ndarray) -> None:
        self.numbers.setdefault(column, Growing(values.dtype.type, self.expected)).add(values)

    def stamp(self, column: int, values: Stamps) -> None:
        self.stamps.setdefault(column, GrowingStamps(self.expected)).add(values)

    def word(self, column: int, values: pd.Series) -> None:
        found = values.astype("category")
        known = self.known.setdefault(column, {})
        number = [known.setdefault(_word(name), len(known)) for name in found.cat.categories]
        codes = found.cat.codes.to_numpy()
        self.codes.setdefault(column, []).append(np.array([*number, -1], np.int32)[codes])

    def rows(self) -> Rows:
        numbers = {column: values.whole() for column, values in self.numbers.items()}
        found = {column: values.whole() for column, values in self.stamps.items()}
        words = {column: (np.concatenate(parts), list(self.known[column])) for column, parts in self.codes.items()}
        return Rows(numbers, found, words, self.count, self.headers)


def _word(name: Any) -> str:
    """A person or device as text: 7, not 7.0."""
    return f"{name:.0f}" if isinstance(name, float) and name.is_integer() else str(name).strip()


def read_rows(
    table: Table,
    layout: Layout,
    *,
    axes: Collection[int] = (),
    clocks: Mapping[int, bool] = {},
    words: Collection[int] = (),
    max_bytes: int | None = None,
    max_rows: int | None = None,
) -> Rows:
    """Read some columns of a table.

    Args:
        table: to read.
        layout: of the table.
        axes: places of columns of numbers.
        clocks: places of columns of time stamps -> whether they are numbers.
        words: places of columns of words.
        max_bytes: the largest uncompressed size; None: see `source.byte_limit`.
        max_rows: stop about there.

    Raises:
        ValueError: the table is damaged.
    """
    if table.kind == "parquet":
        return _parquet(table, layout, axes, clocks, words, max_bytes, max_rows)
    try:
        return _text(table, layout, axes, clocks, words, max_bytes, max_rows, strict=True)
    except _NotNumbersError:
        return _text(table, layout, axes, clocks, words, max_bytes, max_rows, strict=False)


class _NotNumbersError(Exception):
    """A column of numbers holds text somewhere."""


def _text(
    table: Table,
    layout: Layout,
    axes: Collection[int],
    clocks: Mapping[int, bool],
    words: Collection[int],
    max_bytes: int | None,
    max_rows: int | None,
    *,
    strict: bool,
) -> Rows:
    dtypes: dict[int, Any] = {column: f"S{_WIDTH}" for column, is_number in clocks.items() if not is_number}
    if strict:
        dtypes |= dict.fromkeys(axes, np.float32) | {c: np.float64 for c, is_number in clocks.items() if is_number}
    dtypes |= dict.fromkeys(words, "category")
    found = _Collected(min(table.path.stat().st_size // _SHORTEST, _MOST_EXPECTED))
    try:
        with table.open(max_bytes) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas warns of lines with empty cells at their end
            chunks = pd.read_csv(
                text_of(stream, layout),
                sep=layout.separator,
                decimal=layout.decimal,
                thousands=layout.thousands,
                comment=layout.comment,
                header=None,
                names=range(len(layout.names)),
                usecols=sorted({*axes, *clocks, *words}),
                index_col=False,
                dtype=dtypes,
                skipinitialspace=layout.separator != r"\s+",
                chunksize=_CHUNK,
                low_memory=False,
                encoding_errors="replace",
                na_values=["NULL", "None", "-", "?", "N/A"],
            )
            for chunk in chunks:
                _collect(found, chunk, layout, axes, clocks, words)
                if max_rows is not None and found.count >= max_rows:
                    break
    except pd.errors.EmptyDataError:
        pass
    except (ValueError, OverflowError) as error:
        if strict and not isinstance(error, pd.errors.ParserError) and "holds more than" not in str(error):
            raise _NotNumbersError from error
        raise ValueError(f"'{table}' cannot be read as a table: {str(error).strip()}") from error
    if found.count == 0:
        raise ValueError(f"'{table}' has no rows of data")
    for column, (count, example) in found.texts.items():
        if count > 0.5 * found.count:
            raise ValueError(
                f"'{table}': {count:,} of {found.count:,} cells in {layout.names[column]} are no numbers, such as "
                f"'{example[:40]}'; choose other columns with --time, --acc or --gyro, or write them as numbers"
            )
    return found.rows()


def _collect(
    found: _Collected,
    chunk: pd.DataFrame,
    layout: Layout,
    axes: Collection[int],
    clocks: Mapping[int, bool],
    words: Collection[int],
) -> None:
    chunk, headers = _without_headers(chunk, layout, axes)
    found.headers += headers
    found.count += len(chunk)
    for column in axes:
        values = _numeric(chunk[column])
        found.count_text(column, chunk[column], values)
        found.number(column, values.to_numpy(np.float32, na_value=np.nan))
    for column, is_number in clocks.items():
        if is_number:
            values = _numeric(chunk[column])
            found.count_text(column, chunk[column], values)
            stamp = values.to_numpy(np.float64, na_value=np.nan)
            found.number(column, np.where(np.abs(stamp) < _MOST_STAMP, stamp, np.nan))
        else:
            cells = chunk[column].to_numpy()
            if cells.dtype.kind != "S":
                cells = np.array([c if isinstance(c, bytes) else str(c).encode() for c in cells], dtype=f"S{_WIDTH}")
            found.stamp(column, stamps.parse(cells))
    for column in words:
        found.word(column, chunk[column])


def _numeric(column: pd.Series) -> pd.Series:
    """A column's numbers; NaN for other cells. A minus may be written as typesetters do."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = column.astype(str).str.replace("[\u2212\u2013]", "-", regex=True)
    return pd.to_numeric(text, errors="coerce")


def _without_headers(chunk: pd.DataFrame, layout: Layout, axes: Collection[int]) -> tuple[pd.DataFrame, int]:
    """The chunk without rows that repeat the header."""
    texts = [c for c in axes if not pd.api.types.is_numeric_dtype(chunk[c])]
    if not layout.named or not texts:
        return chunk, 0
    repeats = np.ones(len(chunk), bool)
    for column in texts[:3]:
        repeats &= (chunk[column].astype(str).str.strip().str.strip('"') == layout.names[column]).to_numpy(bool)
    return (chunk[~repeats], int(repeats.sum())) if repeats.any() else (chunk, 0)


def _parquet_file(table: Table):  # type: ignore[no-untyped-def]  # pyarrow has no types
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(
            f"'{table}' is a Parquet file; save it as CSV, or install the extra: pip install 'otolith[tables]'"
        ) from error
    try:
        return parquet.ParquetFile(table.path)
    except Exception as error:
        raise ValueError(f"'{table}' cannot be read as a Parquet file: {error}") from error


def _declared_bytes(file: Any) -> int:
    """The uncompressed size of a Parquet file."""
    return sum(int(file.metadata.row_group(number).total_byte_size) for number in range(file.metadata.num_row_groups))


def parquet_layout(table: Table, max_bytes: int | None = None) -> Layout:
    """Return the layout of a Parquet file, with a sample of its rows as text.

    Raises:
        ValueError: it is damaged, or pyarrow is not installed.
    """
    file = _parquet_file(table)
    limit = byte_limit(table.path, max_bytes, packed=True)
    try:
        if _declared_bytes(file) > limit:
            raise too_large(str(table), limit)
        names = tuple(file.schema_arrow.names)
        batch = next(file.iter_batches(batch_size=2000), None)
        columns = [] if batch is None else [[_cell(v) for v in column.to_pylist()] for column in batch.columns]
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"'{table}' cannot be read as a Parquet file: {error}") from error
    sample = tuple(zip(*columns, strict=True))
    if len(sample) < 2:
        raise ValueError(f"'{table}' has {len(sample)} rows; a recording needs at least 2")
    return Layout("", "", ".", None, 0, names, True, ("",) * len(names), (), sample)


def _cell(value: Any) -> str:
    if isinstance(value, datetime.timedelta):
        return str(value.total_seconds())
    return "" if value is None else value.isoformat(sep=" ") if hasattr(value, "isoformat") else str(value)


def _parquet(
    table: Table,
    layout: Layout,
    axes: Collection[int],
    clocks: Mapping[int, bool],
    words: Collection[int],
    max_bytes: int | None,
    max_rows: int | None,
) -> Rows:
    file = _parquet_file(table)
    found = _Collected(file.metadata.num_rows)
    wanted = [layout.names[column] for column in sorted({*axes, *clocks, *words})]
    limit = byte_limit(table.path, max_bytes, packed=True)
    if max(8 * len(wanted) * file.metadata.num_rows, _declared_bytes(file)) > limit:  # equal values take no place in it
        raise too_large(str(table), limit)
    place = {name: number for number, name in enumerate(layout.names)}
    try:
        for batch in file.iter_batches(batch_size=_CHUNK, columns=wanted):
            chunk = batch.to_pandas(ignore_metadata=True)
            chunk.columns = [place[str(name)] for name in chunk.columns]
            for column in chunk.columns[chunk.dtypes.map(pd.api.types.is_timedelta64_dtype)]:
                chunk[column] = chunk[column].dt.total_seconds()
            for column in clocks:
                if pd.api.types.is_datetime64_any_dtype(chunk[column]):
                    found.stamp(column, _instants(chunk[column]))
            mine = {c: n for c, n in clocks.items() if not pd.api.types.is_datetime64_any_dtype(chunk[c])}
            for column, is_number in mine.items():
                if not is_number:
                    chunk[column] = [str(cell).encode() for cell in chunk[column]]
            _collect(found, chunk, layout, axes, mine, words)
            if max_rows is not None and found.count >= max_rows:
                break
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"'{table}' cannot be read as a Parquet file: {error}") from error
    return found.rows()


def _instants(column: pd.Series) -> Stamps:
    """Dates that are stored as such."""
    zoned = column.dt.tz is not None
    naive = column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column
    value = naive.to_numpy().astype("datetime64[ns]").view(np.int64)
    real = value != NAT
    day = np.where(real, value // stamps.DAY_NS, NAT)
    clock = np.where(real, value - np.where(real, day, 0) * stamps.DAY_NS, NAT)
    return Stamps(day, None, clock, np.zeros(len(value), np.int64) if zoned else None, True, True)
