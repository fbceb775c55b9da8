"""Columns of several kinds: from a data frame to codes, to encoded columns, and back.

A table of *codes* has a number for each cell: the value itself in a numeric column, the index of
the level in any other, NaN where missing. The model sees *encoded* columns (``kinds``).

| dtype                         | kind                                  | comes back as |
|-------------------------------|---------------------------------------|---------------|
| floating point                | numeric                               | it was        |
| integer without a gap         | numeric                               | it was (1)    |
| integer with a gap in ``fit`` | numeric                               | float64       |
| boolean                       | binary                                | it was        |
| category, ordered or not      | ordinal or categorical, binary if two | it was        |
| text, object of text or truth | categorical, binary if two            | it was        |
| object of numbers             | numeric                               | float64       |

(1) What is imputed is rounded, within what was seen. Where a new row has an observed value
that the dtype cannot hold, the column comes back as float64.

Numbers of only two values, whatever their dtype, are binary, unless they are asked to be numeric.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from mnar_ebm.data.csv_files import DOTS
from mnar_ebm.estimator import frames
from mnar_ebm.estimator.column_type import ColumnType, dense, is_number
from mnar_ebm.estimator.two_valued import as_levels, number_codes, unknown_level
from mnar_ebm.kinds import Block, make_blocks

MAX_LEVELS = 200
"""Most levels of a column; one with more is a name or an identifier."""


def learn(X: Any, missing_values: float, two_valued: str = "binary") -> tuple[ColumnType, ...]:
    """Return the columns of a data frame, or none if X is another table or all hold numbers.

    Args:
        X: any table.
        missing_values: a number that marks a missing cell, or NaN.
        two_valued: what numbers of only two values are, ``binary`` or ``numeric``.

    Raises:
        TypeError: columns hold neither numbers, truth values, categories nor text, or several of
            these, or more levels than a name or a date has; the message tells of all of them.
        ValueError: two columns have one name.
    """
    is_polars, X = frames.is_polars(X), frames.as_pandas(X)
    if not isinstance(X, pd.DataFrame):
        return ()
    if not X.columns.is_unique:
        name = X.columns[X.columns.duplicated()][0]
        raise ValueError(f"X: expected distinct column names, got {name!r} more than once")
    keeps_types = frames.keeps_types(X) or is_polars
    if not keeps_types and all(is_number(X.iloc[:, i].dtype) for i in range(X.shape[1])):
        return ()
    frame = hide_marked(X, missing_values)
    found = [_learn_column(name, frame.iloc[:, i]) for i, name in enumerate(X.columns)]
    refused = [one for one in found if isinstance(one, str)]
    if refused:
        raise TypeError(
            f"X: expected columns of numbers, truth values or levels, got {'; '.join(refused)}; "
            "passthrough=[...] leaves columns out of the model and in the table"
        )
    columns = tuple(one for one in found if isinstance(one, ColumnType))
    if all(column.kind == "numeric" for column in columns) and not keeps_types:
        return ()
    if two_valued == "numeric":
        return columns
    return tuple(as_levels(column, frame.iloc[:, i]) for i, column in enumerate(columns))


def _learn_column(name: Any, series: pd.Series) -> ColumnType | str:
    """Return what a column is, or in words what it holds that cannot be modelled."""
    dtype, seen = series.dtype, series.dropna()
    if isinstance(dtype, pd.CategoricalDtype):
        present = set(seen.unique())
        levels = tuple(level for level in dtype.categories if level in present)
        return _discrete(name, "ordinal" if dtype.ordered else "categorical", levels, dtype)
    if types.is_bool_dtype(dtype):
        return ColumnType(name, "binary", (False, True) if len(seen) else (), dtype)
    if is_number(dtype) and not types.is_complex_dtype(dtype):
        has_gap = len(seen) < len(series)
        is_nullable = isinstance(dtype, pd.api.extensions.ExtensionDtype)
        is_kept = is_nullable or not (types.is_integer_dtype(dtype) and has_gap)
        return ColumnType(name, dtype=dtype) if is_kept else ColumnType(name)
    if types.is_object_dtype(dtype) or types.is_string_dtype(dtype):
        if all(_is_plain_number(value) for value in seen):
            return ColumnType(name)
        if all(isinstance(value, (str, bool, np.bool_)) for value in seen):
            return _discrete(name, "categorical", tuple(sorted(seen.unique(), key=str)), dtype)
        return f"{name!r} with {_examples(list(seen))}"
    way_out = (
        "as dates, which numbers of days would be" if "datetime" in str(dtype) else f"as {dtype}"
    )
    return f"{name!r} {way_out}"


def _is_plain_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _examples(levels: Sequence[Any]) -> str:
    """Return in words that a column holds numbers and something else, with one of each."""
    number = next((one for one in levels if _is_plain_number(one)), None)
    other = next(one for one in levels if not _is_plain_number(one))
    is_builtin = type(other).__module__ == "builtins"  # others show their insides
    shown = repr(other if is_builtin else str(other))[:60]
    if number is None:
        return f"values such as {shown}"
    return (
        f"numbers and texts, as {number:g} and {shown}: make these missing, or keep all as codes "
        "(pandas.read_stata(convert_categoricals=False))"
    )


def _discrete(name: Any, kind: str, levels: tuple[Any, ...], dtype: Any) -> ColumnType | str:
    if len({_is_plain_number(level) for level in levels}) > 1:
        return f"{name!r} with {_examples(levels)}"
    if len(levels) > MAX_LEVELS:
        return (
            f"{name!r} with {len(levels)} levels, as a name has: at most {MAX_LEVELS} are modelled"
        )
    return ColumnType(name, kind if len(levels) > 2 else "binary", levels, dtype)


def hide_marked(frame: pd.DataFrame, missing_values: float) -> pd.DataFrame:
    """Return a data frame with a missing cell where a number or a dot marks one; False is not 0.

    A dot, alone or with a letter, is how SAS and Stata write a gap (``data.csv.DOTS``).
    """
    is_text = [not is_number(dtype) for dtype in frame.dtypes]
    if any(is_text):
        frame = frame.mask(frame.isin(DOTS) & is_text)
    if missing_values != missing_values:
        return frame
    series = (frame.iloc[:, i] for i in range(frame.shape[1]))
    is_truth = np.array([types.infer_dtype(one, skipna=True) == "boolean" for one in series])
    return frame.mask(is_marked(frame, missing_values) & ~is_truth)


def is_marked(X: Any, missing_values: float) -> Any:
    """Return which values are the number that marks a missing cell, in either precision. [N, D].

    A float32 of 99.9 is not 99.9, but what becomes of it.
    """
    return (X == missing_values) | (X == float(np.float32(missing_values)))


def as_frame(X: Any) -> pd.DataFrame:
    """Return a table as a data frame of pandas."""
    X = frames.as_pandas(X)
    return X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X, object))


def plain_numbers(X: Any) -> Any:
    """Return a table of numbers with NaN where an object column of a data frame has another gap."""
    if not isinstance(X, pd.DataFrame):
        return X
    return X.apply(lambda one: one.where(one.notna(), np.nan) if one.dtype == object else one)


def to_codes(
    frame: pd.DataFrame,
    columns: tuple[ColumnType, ...],
    missing_values: float,
    handle_unknown: str,
) -> np.ndarray:
    """Return the codes of a data frame. [N, D].

    Args:
        frame: rows with these columns, in this order.
        columns: as learned.
        missing_values: a number that marks a missing cell, or NaN.
        handle_unknown: ``error``, or ``missing`` to read an unknown level as a missing cell.

    Raises:
        TypeError: a numeric column holds something else.
        ValueError: a level was not seen in ``fit``; the message names column and level.
    """
    frame = hide_marked(frame, missing_values)
    return np.stack(
        [_codes_of(frame.iloc[:, i], column, handle_unknown) for i, column in enumerate(columns)],
        axis=1,
    )


def _codes_of(series: pd.Series, column: ColumnType, handle_unknown: str) -> np.ndarray:
    if column.kind == "numeric":
        return _numbers(column, series)
    is_missing = series.isna().to_numpy(bool)
    values = series.to_numpy(object)
    if column.is_two_valued:
        values = _numbers(column, series)
        codes = number_codes(values, column)
    else:
        codes = pd.Index(column.levels, dtype=object).get_indexer(values)
    is_unknown = (codes < 0) & ~is_missing
    if handle_unknown == "error" and is_unknown.any():
        raise unknown_level(column, values, is_unknown)
    return np.where(is_missing | is_unknown, np.nan, codes)


def _numbers(column: ColumnType, series: pd.Series) -> np.ndarray:
    try:
        return series.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"X: expected numbers in column {column.name!r}, got {series.dtype}"
        ) from None


def blocks_of(columns: tuple[ColumnType, ...]) -> tuple[Block, ...]:
    """Return the blocks of the encoded columns."""
    return make_blocks(column.block for column in columns)


def expand(codes: np.ndarray, columns: tuple[ColumnType, ...]) -> np.ndarray:
    """Return encoded columns, NaN where missing. [N, D] -> [N, D']."""
    parts = []
    for own, block in zip(codes.T, blocks_of(columns), strict=True):
        own = own[:, None]
        if block.width > 1:
            one_hot = (own == np.arange(block.width)).astype(codes.dtype)
            own = np.where(np.isnan(own), np.nan, one_hot)
        parts.append(own)
    return np.concatenate(parts, axis=1)


def contract(
    encoded: np.ndarray, columns: tuple[ColumnType, ...], is_mean: bool = False
) -> np.ndarray:
    """Return values, and codes of the likeliest level, from means or draws. [..., D'] -> [..., D].

    Values of integer columns are rounded, but for means of those whose type can hold a gap. A
    column with one level only has that one.
    """
    codes = []
    for column, block in zip(columns, blocks_of(columns), strict=True):
        own = encoded[..., block.columns]
        if column.kind == "numeric":
            is_nullable = isinstance(column.dtype, pd.api.extensions.ExtensionDtype)
            is_rounded = column.integer_range is not None and not (is_mean and is_nullable)
            codes.append(np.round(own[..., 0]) if is_rounded else own[..., 0])
        elif column.kind == "binary":
            codes.append(np.minimum(own[..., 0] > 0.5, len(column.levels) - 1))
        else:
            codes.append(own.argmax(axis=-1))
    return np.stack(codes, axis=-1)


def to_frame(
    codes: np.ndarray, columns: Sequence[ColumnType], given: pd.DataFrame, mask: np.ndarray
) -> pd.DataFrame:
    """Return codes as a data frame in the dtypes of ``columns``. [N, D].

    Args:
        codes: of completed rows. [N, D]
        columns: what they are.
        given: the rows as they came.
        mask: ``True`` where they were observed. [N, D]
    """
    series = [
        _to_series(codes[:, i], column, given.iloc[:, i], mask[:, i])
        for i, column in enumerate(columns)
    ]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=given.index)
    frame.columns = pd.Index([column.name for column in columns])
    return frame


def _to_series(
    codes: np.ndarray, column: ColumnType, given: pd.Series, is_observed: np.ndarray
) -> pd.Series:
    index = given.index
    if column.kind == "numeric":
        series, limits = pd.Series(codes, index), column.integer_range
        if limits is None:
            return series.astype(column.dtype)
        if not ((codes == np.round(codes)) & series.between(*limits)).all():
            return series
        dtype, rows = dense(column.dtype), np.flatnonzero(is_observed)
        series = series.astype(dtype)
        series.iloc[rows] = given.iloc[rows].astype(dtype).array  # beyond 2**53 a code is rounded
        return series.astype(column.dtype)
    is_level = ~np.isnan(codes)  # all are, but in a column without any value
    values = np.full(len(codes), None, object)
    values[is_level] = np.array([*column.levels, None], object)[codes[is_level].astype(int)]
    return pd.Series(values, index, dtype=column.dtype)
