"""What is known of a column of a table."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types


class ColumnType(NamedTuple):
    """What is known of a column of the table.

    Attributes:
        name: its name.
        kind: as in ``kinds.KINDS``.
        levels: those seen in ``fit``, in order; none if numeric.
        dtype: of the column as it comes back.
    """

    name: Any
    kind: str = "numeric"
    levels: tuple[Any, ...] = ()
    dtype: Any = np.dtype(np.float64)

    @property
    def block(self) -> tuple[str, int]:
        """Kind and number of levels of its block; a column with one level counts as binary."""
        return self.kind, max(len(self.levels), 2) if self.kind != "numeric" else 0

    @property
    def integer_range(self) -> tuple[float, float] | None:
        """Least and largest value of its dtype that float64 holds, or ``None`` if not integer."""
        if self.kind != "numeric" or not types.is_integer_dtype(self.dtype):
            return None
        dtype = dense(self.dtype)
        info = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
        high = np.float64(info.max)
        return float(info.min), float(high if int(high) <= info.max else np.nextafter(high, 0.0))

    @property
    def is_two_valued(self) -> bool:
        """Whether its levels are numbers of a column that could have held any number."""
        return self.kind != "numeric" and is_number(self.dtype)

    @property
    def encoded_names(self) -> list[str]:
        """Names of its encoded columns."""
        if self.kind == "numeric":
            return [str(self.name)]
        levels = self.levels[-1:] if self.kind == "binary" else self.levels
        return [f"{self.name}={level}" for level in levels]


def dense(dtype: Any) -> Any:
    """Return the dtype, or that of what a sparse one holds."""
    return dtype.subtype if isinstance(dtype, pd.SparseDtype) else dtype


def is_number(dtype: Any) -> bool:
    """Return whether a dtype holds numbers, of which truth values are none."""
    return types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype)
