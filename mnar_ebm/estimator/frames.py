"""Data frames of pandas and of polars: what comes in goes out as the same kind, with its types."""

import sys
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types


def is_polars(X: Any) -> bool:
    """Return whether a table is a data frame of polars, which need not be installed."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(X, polars.DataFrame)


def keeps_types(X: Any) -> bool:
    """Return whether all columns come back as they came: of polars, or with nullable integers."""
    if is_polars(X):
        return True
    return isinstance(X, pd.DataFrame) and any(
        isinstance(dtype, pd.api.extensions.ExtensionDtype) and types.is_integer_dtype(dtype)
        for dtype in X.dtypes
    )


def as_pandas(X: Any) -> Any:
    """Return a data frame of polars as one of pandas with the same types; others as they are."""
    if not is_polars(X):
        return X
    return pd.DataFrame({name: _to_series(X[name]) for name in X.columns})


def _to_series(column: Any) -> pd.Series:
    dtype, cells = column.dtype, column.to_list()
    if dtype.is_integer():
        unsigned = "U" if dtype.is_unsigned_integer() else ""
        return pd.Series(cells, dtype=f"{unsigned}Int64")
    if dtype.is_float():
        return pd.Series(column.to_numpy().astype(np.float64, copy=False))
    if str(dtype) == "Boolean":
        return pd.Series(cells, dtype="boolean")
    if str(dtype).startswith("Enum"):  # whose categories are in order
        return pd.Series(pd.Categorical(cells, dtype.categories.to_list(), ordered=True))
    if str(dtype).startswith("Categorical"):
        return pd.Series(pd.Categorical(cells))
    return pd.Series(cells, dtype=object)


def like(X: Any, frame: pd.DataFrame) -> Any:
    """Return a data frame of pandas as one of the kind that ``X`` is, its columns in their types.

    A column of integers that holds other numbers, as means do, is one of floating-point numbers.
    """
    if not is_polars(X):
        return frame
    import polars

    columns = []
    for name in frame:
        own = [None if pd.isna(cell) else cell for cell in frame[name]]
        dtype = X.schema.get(name)
        if dtype is not None and dtype.is_integer():
            is_whole = all(cell is None or float(cell).is_integer() for cell in own)
            dtype = dtype if is_whole else polars.Float64
        columns.append(polars.Series(str(name), own, dtype=dtype, strict=False))
    return polars.DataFrame(columns)


def beside(frame: Any, more: pd.DataFrame) -> Any:
    """Return a data frame of either kind with the columns of another, row by row, after its own."""
    if not is_polars(frame):
        return pd.concat([frame, more.set_axis(frame.index)], axis=1)
    import polars

    return frame.hstack(polars.DataFrame({name: more[name].to_list() for name in more}))
