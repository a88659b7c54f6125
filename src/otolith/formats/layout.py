"""How a text table is written: encoding, separator, decimal sign, lines before it, header, units."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from otolith.formats.encoding import decoded
from otolith.formats.names import is_unit
from otolith.formats.options import Fact, ReadOptions
from otolith.formats.source import Table
from otolith.formats.stamps import is_stamp

_SAMPLE_BYTES = 1 << 18
_MOST_LINES = 3000
_SEPARATORS = (";", "\t", ",", "|", r"\s+")
_NUMBER = re.compile(r"^[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?$")
_GROUPED = {
    sign: re.compile(rf"^[+-]?\d{{1,3}}(?:{re.escape(sign)}\d{{3}})+(?:{re.escape(point)}\d*)?$")
    for sign, point in ((",", "."), (".", ","))
}
_NOTHING = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "inf", "-inf", "+inf", "nat", "#n/a"))
_COMMENT = re.compile(r"^\s*(?:#|%|//|\*)+\s?")
_SEP_LINE = re.compile(r'^\s*"?sep=(\\t|.)"?\s*$')


@dataclasses.dataclass(frozen=True)
class Layout:
    """A table's layout.

    Attributes:
        encoding: of the text.
        separator: between cells; a regular expression for runs of blanks.
        decimal: the decimal sign.
        comment: a sign after which the rest of a line is left out; None without one.
        skip: lines before the first row of data.
        names: of the columns; their numbers, if the table has no header.
        named: whether the table has a header.
        units: of the columns, from a row of units under the header; else empty strings.
        preamble: lines before the header.
        sample: cells of the first rows of data.
        start_and_rate: seconds since 1970 and rate in Hz, where the two first rows state them (Empatica E4).
        facts: what was decided.
        old_lines: whether lines end with a carriage return alone.
        thousands: a sign between groups of three digits; None without one.
    """

    encoding: str
    separator: str
    decimal: str
    comment: str | None
    skip: int
    names: tuple[str, ...]
    named: bool
    units: tuple[str, ...]
    preamble: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    start_and_rate: tuple[float, float] | None = None
    facts: tuple[Fact, ...] = ()
    old_lines: bool = False
    thousands: str | None = None


def number(cell: str) -> float | None:
    """Return a cell's number, with a decimal point or comma, and groups of three digits; None if it is none."""
    if _NUMBER.match(cell):
        return float(cell.replace(",", "."))
    if _GROUPED[","].match(cell):
        return float(cell.replace(",", ""))
    return float(cell.replace(".", "").replace(",", ".")) if _GROUPED["."].match(cell) else None


def find_layout(table: Table, options: ReadOptions) -> Layout:
    """Find out how a table is written.

    Raises:
        ValueError: it is binary, empty, or no table; or the options do not suit it.
    """
    with table.open(options.max_bytes) as stream:
        head = stream.read(_SAMPLE_BYTES)
        whole = not stream.read(1)
    text, encoding = decoded(head, str(table))
    lines = [line.rstrip("\r") for line in re.split(r"\n" if "\n" in text else r"\r", text)]
    if lines and not (whole and lines[-1]):
        lines.pop()  # cut off
    lines = lines[:_MOST_LINES]
    skip = options.skip_rows or 0
    if skip >= max(1, len(lines)):
        raise ValueError(f"'{table}': --skip-rows {skip} leaves no line; the table has {len(lines)}")
    said = next((found[1] for line in lines[:3] if (found := _SEP_LINE.match(line))), None)
    separator = {"\\t": "\t"}.get(said, said) if said else None
    rows_of = _Lines(lines[skip:], separator, str(table))
    first, width = rows_of.first(options.header)
    names, units, header_at = rows_of.header(first, options)
    start_and_rate = None if names else rows_of.start_and_rate(first)
    data_at = first + (2 if start_and_rate else 0)
    sample = tuple(tuple(cells) for cells in rows_of.cells[data_at:] if len(cells) >= 2)
    facts = _facts(encoding, rows_of, skip + header_at, names, units, options, start_and_rate)
    if options.column_names is not None:
        if len(options.column_names) not in (width, rows_of.full_width):
            raise ValueError(
                f"'{table}': --columns names {len(options.column_names)} columns; its rows have "
                f"{rows_of.full_width}, such as "
                f"{', '.join(sample[0]) if sample else 'none'}"
            )
        names = list(options.column_names)
    bare = names or [str(k) for k in range(rows_of.full_width)]
    bare = (bare + [""] * rows_of.full_width)[: rows_of.full_width]
    units = (units + [""] * len(bare))[: len(bare)]
    return Layout(
        encoding,
        rows_of.separator,
        rows_of.decimal,
        rows_of.comment,
        skip + data_at,
        tuple(_distinct(bare)),
        bool(names),
        tuple(units),
        tuple(lines[: skip + header_at]),
        sample,
        start_and_rate,
        tuple(facts),
        "\n" not in text,
        rows_of.thousands,
    )


def _facts(
    encoding: str,
    found: _Lines,
    before: int,
    names: Sequence[str],
    units: Sequence[str],
    options: ReadOptions,
    start_and_rate: tuple[float, float] | None,
) -> list[Fact]:
    said = []
    if encoding not in ("utf-8", "utf-8-sig"):
        said.append(f"text in {encoding}")
    if found.separator in (";", "|") or found.decimal == ",":
        said.append(f"cells separated by '{found.separator}'{', decimal comma' if found.decimal == ',' else ''}")
    facts = [Fact("layout", f"layout: {'; '.join(said)}", True)] if said else []
    if before:
        facts.append(
            Fact("layout", f"layout: {before} line{'s' if before > 1 else ''} before the table", True, "--skip-rows")
        )
    if any(units):
        facts.append(Fact("layout", "layout: a row of units under the header", True))
    if start_and_rate:
        text = f"layout: the first two rows state the start and the rate, {start_and_rate[1]:g} Hz, as Empatica E4 does"
        facts.append(Fact("layout", text, True, "--rate"))
    elif not names and options.column_names is None:
        facts.append(
            Fact("layout", "layout: no header, so columns are named by their numbers from 0", True, "--columns")
        )
    return facts


def _split(line: str, separator: str) -> list[str]:
    line = line.replace("\r", " ")
    if separator == r"\s+":
        if '"' in line:
            return [cell.strip() for cell in next(csv.reader([" ".join(line.split())], delimiter=" "))]
        return line.split()
    if '"' in line:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])]
    return [cell.strip() for cell in line.split(separator)]


def _data(cell: str) -> bool:
    return cell.lower() in _NOTHING or number(cell) is not None or is_stamp(cell)


class _Lines:
    """The first lines of a file, cut into cells by the separator that makes a table of them."""

    def __init__(self, lines: Sequence[str], separator: str | None, name: str) -> None:
        self.name = name
        self.lines = list(lines)
        body = [line for line in lines if line.strip() and not _COMMENT.match(line)]
        if len(body) < 2:
            raise ValueError(f"'{name}' has {len(body)} lines of text; a recording needs a table of at least 2 rows")
        tail = body[-max(2, min(400, int(0.6 * len(body)))) :]
        ends = [line.rstrip().endswith(";") for line in tail]
        scores = {}
        for sign in [separator] if separator else _SEPARATORS:
            strip = sign == "," and all(ends)  # 1,A,3,4; as WISDM writes it
            rows = [_split(line.rstrip().rstrip(";") if strip else line, sign) for line in tail]
            scores[sign] = (*self._score(rows), strip)
        self.separator = max(scores, key=lambda key: scores[key][0])
        score, self.full_width, numeric, strip = scores[self.separator]
        if score <= 0 or self.full_width < 2:
            raise ValueError(f"'{name}' is no table of numbers; its last full line is '{tail[-1][:80]}'")
        self.numeric = numeric
        self.comment = ";" if strip else None
        self.cells = [self._cells(line) for line in self.lines]
        values = [row[k] for row in self.cells for k in numeric if len(row) == self.full_width]
        commas = sum("," in cell and bool(_NUMBER.match(cell)) for cell in values)
        points = sum("." in cell and bool(_NUMBER.match(cell)) for cell in values)
        self.decimal = "," if commas > points and (self.separator != "," or commas > 0) else "."
        self.thousands = self._thousands(values, "." if self.decimal == "," else ",")

    def _thousands(self, values: Sequence[str], sign: str) -> str | None:
        """The sign between groups of three digits, where all cells that hold it are such numbers."""
        with_sign = [cell for cell in values if sign in cell and not is_stamp(cell)]
        grouped = all(_GROUPED[sign].match(cell) for cell in with_sign)
        certain = (
            sign == "," or any(self.decimal in cell for cell in with_sign) or any(c.count(".") > 1 for c in with_sign)
        )
        return sign if with_sign and grouped and certain else None

    def _cells(self, line: str) -> list[str]:
        return _split(line.rstrip().rstrip(";") if self.comment else line, self.separator)

    @staticmethod
    def _score(rows: Sequence[Sequence[str]]) -> tuple[float, int, list[int]]:
        """How well rows agree in their number of cells, times the columns of numbers; the cells; those columns."""
        width, times = Counter(map(len, rows)).most_common(1)[0]
        if width < 2:
            return 0.0, width, []
        alike = [row for row in rows if len(row) == width]
        numeric = []
        for k in range(width):
            filled = [row[k] for row in alike if row[k].lower() not in _NOTHING]
            if filled and sum(_data(cell) for cell in filled[:200]) > 0.6 * min(len(filled), 200):
                numeric.append(k)
        return times / len(rows) * len(numeric), width, numeric

    def _is_data(self, cells: Sequence[str]) -> bool:
        if len(cells) < 2 or len(cells) > self.full_width or (len(cells) < self.full_width - 1):
            return False
        mine = [cells[k] for k in self.numeric if k < len(cells)]
        return all(_data(cell) for cell in mine) and any(cell.lower() not in _NOTHING for cell in mine)

    def first(self, header: bool | None) -> tuple[int, int]:
        """The first line of data, and the cells of a row without empty ones at its end."""
        for place, cells in enumerate(self.cells):
            if not self._is_data(cells) or _COMMENT.match(self.lines[place]):
                continue
            following = [c for c in self.cells[place + 1 : place + 11] if any(c)]
            if sum(self._is_data(c) for c in following) >= 0.6 * len(following) and (following or header is False):
                self._check_before(place)
                trailing = not any(c[-1] for c in self.cells[place:] if len(c) == self.full_width)
                return place, self.full_width - int(trailing)
        raise ValueError(
            f"'{self.name}' is no table: no two lines after each other hold numbers in the same {self.full_width} "
            "columns; "
            "pass --skip-rows if lines before the table confuse the reader"
        )

    def _check_before(self, first: int) -> None:
        """Check that the lines before the first row of data are no rows whose stamps alone cannot be read.

        Raises:
            ValueError: they are; the message shows one.
        """
        alike = [
            place
            for place, cells in enumerate(self.cells[:first])
            if len(cells) == self.full_width and sum(_data(cells[k]) for k in self.numeric) == len(self.numeric) - 1 > 1
        ]
        if len(alike) >= 5:
            cell = next(self.cells[alike[0]][k] for k in self.numeric if not _data(self.cells[alike[0]][k]))
            raise ValueError(
                f"'{self.name}', line {alike[0] + 1}: '{cell[:40]}' is neither a number nor a date, as "
                f"in {len(alike):,} such lines; write all rows alike, or pass --skip-rows {first} to begin after them"
            )

    def header(self, first: int, options: ReadOptions) -> tuple[list[str], list[str], int]:
        """Names and units of the columns, empty if there are none; and the line where the header begins."""
        if options.header is False:
            return [], [], first
        names: list[list[str]] = []
        units: list[str] = []
        top = first
        for place in range(first - 1, max(-1, first - 8), -1):
            line = self.lines[place]
            if not line.strip() or _SEP_LINE.match(line):
                if names:
                    break
                continue
            cells = self._header_cells(line)
            if cells is None:
                break
            filled = [cell for cell in cells if cell]
            if not names and sum(is_unit(cell) for cell in filled) > 0.6 * len(filled) and place > 0:
                if not units or sum(map(bool, units)) < len(filled):
                    units = cells
            elif len(names) < 2 and len(filled) >= (2 if not names else 1):
                names.append(cells)
            else:
                break
            top = place
            if len(names) == 2:
                break
        if not names:
            return [], [], first
        base = names[0]
        if len(names) == 2:
            if len(set(filter(None, base))) < len([name for name in base if name]):
                base = _under(names[1], base)
            else:
                top = next((p for p in range(top, first) if self._header_cells(self.lines[p]) == names[0]), top)
        return base, units, top

    def _header_cells(self, line: str) -> list[str] | None:
        """A line's cells, if it may belong to the header."""
        bare = _COMMENT.sub("", line)
        cells = self._cells(bare)
        if self.separator == r"\s+" and len(cells) != self.full_width:
            cells = [cell.strip() for cell in re.split(r"\t|\s{2,}|,\s*|;\s*", bare.strip())]
        if self.separator == r"\s+" and len(cells) == self.full_width - 1:
            cells = self._split_dates(cells)
        if len(cells) == self.full_width - 1 and not self._counted() and self.separator != r"\s+":
            cells = [*cells, ""]
        elif len(cells) == self.full_width - 1:
            cells = ["", *cells]  # R leaves the name of the row numbers out
        while len(cells) > self.full_width and not cells[-1]:
            cells.pop()
        if len(cells) != self.full_width or all(_data(cell) for cell in cells):
            return None
        texts = [cell for cell in cells if cell and not _NUMBER.match(cell) and not is_stamp(cell)]
        return cells if len(texts) >= 0.6 * len([cell for cell in cells if cell]) else None

    def _split_dates(self, cells: list[str]) -> list[str]:
        """Names of a table of blanks whose stamps hold a blank: `time x y z` over `2024-05-01 10:00:00 0.1 0.2 0.9`."""
        for k in range(self.full_width - 1):
            rows = [c for c in self.cells if len(c) == self.full_width]
            if rows and is_stamp(rows[-1][k]) and is_stamp(rows[-1][k + 1]):
                return [*cells[:k], f"{cells[k]} date", *cells[k:]]
        return cells

    def _counted(self) -> bool:
        """Whether the first column counts rows."""
        first = [number(c[0]) for c in self.cells if len(c) == self.full_width and number(c[0]) is not None][:50]
        return len(first) > 2 and all(b - a == 1 for a, b in pairwise(first) if a is not None and b is not None)

    def start_and_rate(self, first: int) -> tuple[float, float] | None:
        """The start and the rate, where the first two rows state them in each column."""
        rows = [[number(cell) for cell in cells if cell] for cells in self.cells[first : first + 3]]
        if len(rows) < 3 or any(len(set(row)) != 1 or None in row for row in rows[:2]) or len(rows[0]) < 3:
            return None
        start, rate = rows[0][0], rows[1][0]
        assert start is not None and rate is not None
        return (start, rate) if 1e9 < start < 3e9 and 0.5 <= rate <= 2000 else None


def _under(above: Sequence[str], names: Sequence[str]) -> list[str]:
    """Names prefixed with what stands over them; an empty cell continues the one to its left."""
    found, over = [], ""
    for upper, name in zip(above, names, strict=True):
        over = upper or over
        found.append(f"{over} {name}".strip() if name else over)
    return found


def _distinct(names: Sequence[str]) -> list[str]:
    met: Counter[str] = Counter()
    found = []
    for name in names:
        bare = name.strip().lstrip("\ufeff").strip()
        found.append(f"{bare}.{met[bare]}" if met[bare] else bare)
        met[bare] += 1
    return found


def text_of(stream: io.BufferedIOBase, layout: Layout) -> io.BufferedIOBase | io.TextIOBase:
    """Return what pandas reads, moved behind the lines before the data.

    Lines in UTF-8 stay bytes, which are quicker; a header in another encoding does not matter to the rows below it.
    """
    if layout.encoding.startswith(("utf-16", "utf-32")) or layout.old_lines:
        text = io.TextIOWrapper(stream, encoding=layout.encoding, errors="replace", newline=None)  # type: ignore[type-var]
        for _ in range(layout.skip):
            text.readline()
        return text
    for _ in range(layout.skip):
        stream.readline()
    return stream
