"""Columns of numbers that have two values alone: binary columns, whose levels are the numbers.

A number between or beyond the two would be no value of such a column, yet a normal law draws it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnar_ebm.estimator.column_type import ColumnType

FEWEST_CELLS = 10
"""Observed cells below which that there are two values among them says little."""


def learn_numbers(
    names: Sequence[Any], x: np.ndarray, mask: np.ndarray, two_valued: str
) -> tuple[ColumnType, ...]:
    """Return the columns of a table of numbers.

    Args:
        names: of the columns. [D]
        x: the values. [N, D]
        mask: ``True`` where they were observed. [N, D]
        two_valued: as in :func:`learn`.
    """
    columns = tuple(ColumnType(name, dtype=x.dtype) for name in names)
    if two_valued == "numeric":
        return columns
    seen = (pd.Series(x[mask[:, i], i]) for i in range(x.shape[1]))
    return tuple(as_levels(*pair) for pair in zip(columns, seen, strict=True))


def as_levels(column: ColumnType, series: pd.Series) -> ColumnType:
    """Return a numeric column as a binary one if it has two values alone."""
    if column.kind != "numeric":
        return column
    seen = series.dropna().to_numpy(np.float64)
    levels = np.unique(seen)
    is_told = (
        len(levels) == 2 and np.isfinite(levels).all() and len({*levels.astype(np.float32)}) == 2
    )
    if not is_told or len(seen) < FEWEST_CELLS:
        return column
    return column._replace(kind="binary", levels=tuple(levels.tolist()))


def number_codes(values: np.ndarray, column: ColumnType) -> np.ndarray:
    """Return which of the levels numbers are, in either precision, or -1. [N]."""
    is_level = values[:, None].astype(np.float32) == np.array(column.levels, np.float32)
    return np.where(is_level.any(axis=1), is_level.argmax(axis=1), -1)


def known_numbers(
    x: np.ndarray, mask: np.ndarray, columns: Sequence[ColumnType], handle_unknown: str
) -> np.ndarray:
    """Return the mask of a table of numbers without values that are no level. [N, D].

    Args:
        x: the values. [N, D]
        mask: ``True`` where they were observed. [N, D]
        columns: as learned. [D]
        handle_unknown: as in :func:`to_codes`.

    Raises:
        ValueError: as :func:`to_codes`.
    """
    mask = mask.copy()
    for own, values, column in zip(mask.T, x.T, columns, strict=True):
        if column.is_two_valued:
            is_unknown = own & (number_codes(np.where(own, values, np.nan), column) < 0)
            if handle_unknown == "error" and is_unknown.any():
                raise unknown_level(column, values, is_unknown)
            own &= ~is_unknown
    return mask


def unknown_level(column: ColumnType, values: np.ndarray, is_unknown: np.ndarray) -> ValueError:
    """Return the error that names the first value of a column [N] that ``fit`` has not seen."""
    row = int(np.argmax(is_unknown))
    value = f"{values[row]:g}" if column.is_two_valued else repr(values[row])
    hint = ", two_valued='numeric' in fit takes both as numbers" if column.is_two_valued else ""
    return ValueError(
        f"X: expected one of the levels seen in fit in column {column.name!r}, "
        f"got {value} in row {row}; handle_unknown='missing' takes it as missing{hint}"
    )


def coded(x: np.ndarray, columns: Sequence[ColumnType]) -> np.ndarray:
    """Return numbers with codes in the columns of two values. [N, D]."""
    parts = [
        np.where(np.isnan(own), own, number_codes(own, column)) if column.is_two_valued else own
        for own, column in zip(x.T, columns, strict=True)
    ]
    return np.stack(parts, axis=1)


def decoded(codes: np.ndarray, columns: Sequence[ColumnType]) -> np.ndarray:
    """Return the inverse of ``coded``, of completed tables. [..., D]."""
    parts = [
        np.where(codes[..., i] > 0, *column.levels[::-1]) if column.is_two_valued else codes[..., i]
        for i, column in enumerate(columns)
    ]
    return np.stack(parts, axis=-1)
