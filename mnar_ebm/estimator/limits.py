"""Between which values a column may be imputed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnar_ebm.estimator.columns import ColumnType


def make_limits(
    min_value: Any, max_value: Any, columns: Sequence[ColumnType], x: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest imputed value of each column; levels have none. [D] each.

    Those of an integer column are whole, and within the range of its dtype; where none is given,
    within what was seen.

    Args:
        min_value: a number, or one for each column; ``None``: there is none.
        max_value: as ``min_value``.
        columns: what the D columns are.
        x: rows with these columns. [N, D]
        mask: ``True`` where they were observed. [N, D]

    Raises:
        ValueError: a limit has another shape, or the least is not below the largest.
    """
    limits = []
    for name, value, none in (("min_value", min_value, -np.inf), ("max_value", max_value, np.inf)):
        limit = np.asarray(none if value is None else value, np.float64)
        if limit.shape not in ((), (len(columns),)):
            raise ValueError(
                f"{name}: expected a number or {len(columns)} of them, got shape {limit.shape}"
            )
        is_numeric = [column.kind == "numeric" for column in columns]
        limits.append(np.where(is_numeric, limit, none))
    is_open = np.isinf(limits)
    for index, one in enumerate(columns):
        if one.integer_range is not None:
            low, high = one.integer_range
            limits[0][index] = max(np.ceil(limits[0][index]), low)
            limits[1][index] = min(np.floor(limits[1][index]), high)
    if not (limits[0] < limits[1]).all():
        column = int(np.argmin(limits[0] < limits[1]))
        raise ValueError(
            f"min_value: expected below max_value in every column, got {limits[0][column]} and "
            f"{limits[1][column]} in column {column}"
        )
    for index, one in enumerate(columns):
        seen = x[mask[:, index], index]
        if one.integer_range is not None and len(seen):
            if is_open[0][index]:
                limits[0][index] = min(seen.min(), limits[1][index])
            if is_open[1][index]:
                limits[1][index] = max(seen.max(), limits[0][index])
    return limits[0], limits[1]
