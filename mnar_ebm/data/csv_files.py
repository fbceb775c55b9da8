"""A user's CSV file: in as text, out with every observed cell as it came in.

A file has a header line of names, commas and numbers. A cell is missing if, stripped and in lower
case, it is in :data:`MISSING`; of a single column a blank line is such a cell. Other blank lines
may stand only around the header and at the end: no row is lost. Filled values follow
``Csv.columns``.
"""

import dataclasses
import math
import os
import string
import textwrap
from collections import Counter
from collections.abc import Iterable
from csv import Error, reader, writer
from typing import Any

import numpy as np
import pandas as pd

from mnar_ebm.data import reasons
from mnar_ebm.data.table import Table, make_table
from mnar_ebm.files import replacing

DOTS = (".", *("." + letter for letter in string.ascii_lowercase))
"""Marks of SAS and Stata, whose letters say why a value is missing."""

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", *DOTS})
"""Marks of a missing value, in lower case."""

FEW_CELLS = 10
"""Cells of a column below which their range says little of where others may lie."""

Path = str | os.PathLike[str]
Names = tuple[str, ...]
Scale = np.ndarray | float


@dataclasses.dataclass(frozen=True, eq=False)
class Csv:
    """A CSV file, as text and as numbers.

    Attributes:
        path: the file, for messages.
        columns: names, in the order of ``text`` and ``x``.
        text: the cells as they stand in the file. [N, D]
        x: the cells as numbers; NaN where missing. [N, D]
        file_columns: names, in the order of the file.
        source: what the table was taken of, if it is no CSV file: a survey, or a data frame.
        fills_not_asked: whether cells that were not asked are filled, too, in what is written.
    """

    path: str
    columns: Names
    text: np.ndarray
    x: np.ndarray
    file_columns: Names
    source: Any = None
    fills_not_asked: bool = False


def read_csv(path: Path, require_observed: bool = False) -> Csv:
    """Read a table of numbers with missing cells.

    Args:
        path: the file.
        require_observed: refuse a column without a single value, as training must.

    Raises:
        ValueError: the file is not a table of numbers; one line names file, line and column.
    """
    columns, lines, text = read_text(path)
    x = to_numbers(path, columns, lines, text)
    if require_observed:
        make_table(str(path), columns, x)
    return Csv(str(path), columns, text, x, columns)


def read_text(path: Path) -> tuple[Names, list[int], np.ndarray]:
    """Return the header's names [D], each row's line in the file [N], and its cells [N, D].

    Raises:
        ValueError: the file cannot be read, is empty, or its rows differ in length.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            cells = reader(file, strict=True)
            numbered = [(cells.line_num, row) for row in cells]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected text in UTF-8") from None
    except Error as error:
        hint = " (expected cells separated by ',')" if "expected after" in str(error) else ""
        raise ValueError(f"{path}, line {cells.line_num}: {error}{hint}") from None
    numbered = _without_blank_lines(path, numbered)
    if not numbered:
        raise ValueError(f"{path}: expected a header line, got an empty file")
    if len(numbered[0][1]) == 1:
        _check_one_column(path, [row[0] for _, row in numbered])
    columns = _check_header(path, numbered.pop(0)[1])
    for line, row in numbered:
        if len(row) != len(columns):
            raise ValueError(f"{path}, line {line}: expected {len(columns)} cells, got {len(row)}")
    if not numbered:
        raise ValueError(f"{path}: expected at least one row below the header, got none")
    text = np.array([row for _, row in numbered], object)
    _check_is_no_row(path, columns, text)
    return columns, [line for line, _ in numbered], text


def _without_blank_lines(
    path: Path, numbered: list[tuple[int, list[str]]]
) -> list[tuple[int, list[str]]]:
    """Drop blank lines; in a file of one column a blank line is a missing cell, and stays."""
    is_filled = [place for place, (_, row) in enumerate(numbered) if row]
    if not is_filled:
        return []
    first, last = is_filled[0], is_filled[-1]
    if len(numbered[first][1]) == 1:
        return [(line, row or [""]) for line, row in numbered[first:]]
    rows = numbered[is_filled[1] : last + 1] if len(is_filled) > 1 else []
    for line, row in rows:
        if not row:
            raise ValueError(f"{path}, line {line}: expected a row, got a blank line")
    return [numbered[first], *rows]


def to_numbers(path: Path, columns: Names, lines: list[int], text: np.ndarray) -> np.ndarray:
    """Return the numbers [N, D] in what :func:`read_text` gave, NaN where missing.

    Raises:
        ValueError: a cell is neither missing nor a finite number.
    """
    x = np.array([_number(cell) for cell in text.flat]).reshape(text.shape)
    if np.isinf(x).any():
        row, column = np.argwhere(np.isinf(x))[0]
        raise ValueError(
            f"{path}, line {lines[row]}, column {columns[column]!r}: "
            f"expected a finite number or a mark of a missing value, got {text[row, column]!r}"
        )
    return x


def to_table(csv: Csv, name: str) -> Table:
    """Return the numbers as a table to train on, in the order of ``csv.columns``.

    Raises:
        TypeError: what is given is no ``Csv``.
    """
    if not isinstance(csv, Csv):
        raise TypeError(f"csv: expected a Csv, as read_csv returns, got {type(csv).__name__}")
    return make_table(name, csv.columns, csv.x)


def from_table(table: Table) -> Csv:
    """Return a table as the CSV file that would hold it, its numbers in their shortest form."""
    text = np.array([[repr(value) for value in row] for row in table.x.tolist()], object)
    text[~table.mask] = ""
    return Csv(table.name, table.columns, text, table.x, table.columns)


def align(csv: Csv, columns: Iterable[str]) -> Csv:
    """Return the CSV with its columns in a model's order; written files keep the file's.

    Raises:
        ValueError: the names are not the same.
    """
    columns = tuple(columns)
    missing = [name for name in columns if name not in csv.columns]
    unexpected = [name for name in csv.columns if name not in columns]
    if missing or unexpected:
        raise ValueError(
            f"{csv.path}: expected the model's {len(columns)} columns, got {len(csv.columns)}; "
            f"missing: {_listed(missing)}; unexpected: {_listed(unexpected)}"
        )
    order = [csv.columns.index(name) for name in columns]
    return dataclasses.replace(csv, columns=columns, text=csv.text[:, order], x=csv.x[:, order])


def write_completed(path: Path, csv: Csv, x: np.ndarray, scale: Scale = 0.0) -> None:
    """Write the file again, missing cells filled from ``x`` [N, D], observed cells as text.

    Args:
        path: where to.
        csv: the file.
        x: values. [N, D]
        scale: standard deviations of the columns, as in ``to_text``. [D]

    Raises:
        ValueError: ``x`` has another shape than the file.
    """
    cells = _complete(csv, x, scale)
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        lines = writer(file, lineterminator="\n")
        lines.writerow(csv.file_columns)
        lines.writerows(cells.tolist())


def long_table(csv: Csv, draws: np.ndarray, scale: Scale = 0.0) -> pd.DataFrame:
    """Return the file completed with each of the draws [M, N, D], one below the other.

    Args:
        csv: the file.
        draws: completed rows. [M, N, D]
        scale: as in ``write_completed``. [D]

    Returns:
        Columns ``draw`` (from 1), ``row`` (from 0), then the file's own. [M * N, 2 + D]

    Raises:
        ValueError: a draw has another shape, or the file has a ``draw`` or ``row`` itself.
    """
    for name in ("draw", "row"):
        if name in csv.columns:
            raise ValueError(f"{csv.path}: column {name!r} is in the way of the one to be added")
    text = np.concatenate([_complete(csv, x, scale) for x in draws])
    table = pd.DataFrame(text, columns=csv.file_columns, dtype=object)
    table.insert(0, "row", np.tile(np.arange(len(csv.x)), len(draws)))
    table.insert(0, "draw", np.repeat(np.arange(len(draws)) + 1, len(csv.x)))
    return table


def _check_one_column(path: Path, cells: list[str]) -> None:
    """Raise ``ValueError`` if the first lines look like several cells that no comma parts."""
    found = [mark for mark in ";\t" if mark in cells[0]]
    found += [" " for cell in cells[1:2] if len(cell.split()) > 1]
    if found:
        raise ValueError(f"{path}: expected cells separated by ',', got {found[0]!r}")


def _check_header(path: Path, header: list[str]) -> Names:
    """Return the names in the header; raise ``ValueError`` unless they are distinct names."""
    unnamed = [place for place, name in enumerate(header, start=1) if not name.strip()]
    if len(header) > 1 and unnamed:
        raise ValueError(
            f"{path}: expected a name for every column, got none for column {unnamed[0]} (an index "
            "of pandas is left out by to_csv(index=False))"
        )
    numbers = np.array([_number(name) for name in header])
    is_ordered = any((sign * numbers[1:] > sign * numbers[:-1]).all() for sign in (1, -1))
    if np.isfinite(numbers).any() and not (np.isinf(numbers).any() or is_ordered):
        raise _no_header(path, header, "numbers")
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{path}: expected distinct column names, got {name!r} {count} times")
    return tuple(header)


def _check_is_no_row(path: Path, header: Names, text: np.ndarray) -> None:
    """Raise ``ValueError`` if the header may be a row, which would be lost.

    Numbers are names, as years and wavelengths are, if they go up or down and cannot be cells of
    most of their columns: they lie far from what these hold, or are whole where no cell is. From
    three columns on, 0, 1, 2 and so on are names, as pandas gives them.
    """
    numbers = np.array([_number(name) for name in header])
    if len(header) == 1 and np.isnan(numbers[0]):
        raise _no_header(path, header, "a mark of a missing value")
    is_count = len(header) >= 3 and [name.strip() for name in header] == [
        str(place) for place in range(len(header))
    ]
    if not np.isfinite(numbers).all() or is_count:
        return
    may_be_cell = [_may_be_cell(*pair) for pair in zip(header, text.T, strict=True)]
    if 2 * sum(may_be_cell) >= len(header):
        raise _no_header(path, header, "numbers that may be a row")


def _may_be_cell(name: str, cells: np.ndarray) -> bool:
    """Return whether a number may stand among the cells of its column."""
    values = np.array([_number(cell) for cell in cells])
    seen = np.isfinite(values)
    if not seen.any():
        return True
    if name.strip().lstrip("+-").isdecimal() and all("." in cell for cell in cells[seen]):
        return False
    low, high = values[seen].min(), values[seen].max()
    spread = high - low
    if seen.sum() < FEW_CELLS:  # which may all be near to each other by chance
        spread = max(spread, abs(low), abs(high))
    return bool(low - 3 * spread <= float(name) <= high + 3 * spread)


def _no_header(path: Path, header: Iterable[str], got: str) -> ValueError:
    given = textwrap.shorten(", ".join(header), 60, placeholder=" ...")
    return ValueError(f"{path}: expected a header line of column names, got {got}: {given}")


def _number(cell: str) -> float:
    """Return the number in a cell: NaN if it is missing, infinity if it is not a number."""
    token = cell.strip().lower()
    if token in MISSING:
        return math.nan
    try:
        return float(token.replace("_", "?"))  # to Python, 1_000 is a number
    except ValueError:
        return math.inf


def to_text(value: float, scale: float) -> str:
    """Return a number in six significant digits, or as many as its unit or its column needs.

    Args:
        value: the number.
        scale: standard deviation of its column, a thousandth of which is shown; or 0.
    """
    digits = max(6, len(f"{abs(value):.0f}"))
    if scale and value and math.isfinite(value):
        digits = max(digits, 4 + math.floor(math.log10(abs(value) / scale)))
    return f"{value:.{min(digits, 15)}g}"


def is_to_fill(csv: Csv) -> np.ndarray:
    """Return which cells are filled in what is written. [N, D]."""
    return np.isnan(csv.x) & (csv.fills_not_asked | ~reasons.is_not_asked(csv.x))


def _complete(csv: Csv, x: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the file's cells [N, D] in its own order of columns, the missing ones filled."""
    x = np.asarray(x)
    if x.shape != csv.x.shape:
        raise ValueError(f"{csv.path}: expected values of shape {csv.x.shape}, got {x.shape}")
    text, missing = csv.text.copy(), is_to_fill(csv)
    scales = np.broadcast_to(scale, x.shape)[missing].tolist()
    text[missing] = [to_text(*pair) for pair in zip(x[missing].tolist(), scales, strict=True)]
    return text[:, [csv.columns.index(name) for name in csv.file_columns]]


def _listed(names: list[str]) -> str:
    """Return as many of the names as fit in a message."""
    return textwrap.shorten(", ".join(names) or "none", 80, placeholder=" ...")
