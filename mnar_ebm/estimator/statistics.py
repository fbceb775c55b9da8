"""Statistics of completed tables: an estimate of each, its variance, and both pooled.

A statistic is a function of a completed table that returns an estimate, or a pair (estimate,
variance). Where it gives no variance, the rows of each of the M tables are drawn anew R times, with
replacement, and the variance within a table is the mean over tables of that of the R estimates. It
is sure to about sqrt(2 / (M (R - 1))) of its size: with M R = ``NUM_RESAMPLES``, a tenth or less.

References:
    B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, alg. 6.1.
    M. Schomaker, C. Heumann, "Bootstrap inference when using multiple imputation", Statistics in
    Medicine 37, 2018, https://doi.org/10.1002/sim.7654, sec. 3 ("MI Boot").
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnar_ebm import metrics

NUM_RESAMPLES = 400
"""Resamples of rows, of all completed tables together; at least ``MIN_RESAMPLES`` of each."""

MIN_RESAMPLES = 10

Statistic = Callable[[Any], Any]


def mean_of(column: int) -> Statistic:
    """Return the mean of a column of a table [N, D], and its variance."""

    def statistic(table: np.ndarray) -> tuple[float, float]:
        values = table[:, column]
        return values.mean(), values.var(ddof=1) / len(values)

    return statistic


def share_of(column: int, threshold: float, sign: int) -> Statistic:
    """Return the share of the values of a column that are above a number, or below it.

    Args:
        column: of a table [N, D].
        threshold: the number.
        sign: 1 for those above, -1 for those below.
    """

    def statistic(table: np.ndarray) -> tuple[float, float]:
        is_beyond = sign * table[:, column] > sign * threshold
        return is_beyond.mean(), is_beyond.var(ddof=1) / len(is_beyond)

    return statistic


def named(name: str, column: int) -> Statistic:
    """Return the statistic of a column that is called ``mean``, ``share_above:VALUE`` or the like.

    Args:
        name: of the statistic.
        column: of a table [N, D].

    Raises:
        ValueError: there is none of that name.
    """
    kind, _, number = name.partition(":")
    signs = {"share_above": 1, "share_below": -1}
    try:
        if name == "mean":
            return mean_of(column)
        return share_of(column, float(number), signs[kind])
    except (KeyError, ValueError):
        raise ValueError(
            "statistic: expected mean, share_above:VALUE, share_below:VALUE or a function of a "
            f"completed table, got {name!r}"
        ) from None


def pooled(statistic: Statistic, tables: Sequence[Any], seed: int) -> metrics.Pooled:
    """Return the pooled statistic of completed tables, arrays or data frames, of N rows each.

    The degrees of freedom of a complete table are taken as N - 1.

    Args:
        statistic: of a table; see above.
        tables: the M tables. [M]
        seed: of the resamples.

    Raises:
        ValueError: the statistic is not a finite number or a pair of them.
    """
    num_rows = len(tables[0])
    estimates, variances = [], []
    for index, table in enumerate(tables):
        estimate, variance = _evaluate(statistic, table)
        if variance is None:
            num_resamples = max(MIN_RESAMPLES, math.ceil(NUM_RESAMPLES / len(tables)))
            rng = np.random.default_rng([seed, index])
            rows = rng.integers(num_rows, size=(num_resamples, num_rows))
            again = [_evaluate(statistic, _take(table, chosen))[0] for chosen in rows]
            variance = float(np.var(again, ddof=1))
        estimates.append([estimate])
        variances.append([variance])
    return metrics.pool(np.array(estimates), np.array(variances), df_complete=num_rows - 1)


def _evaluate(statistic: Statistic, table: Any) -> tuple[float, float | None]:
    """Return the estimate and, if the statistic gives it, its variance."""
    value = statistic(table)
    is_pair = isinstance(value, (tuple, list))
    try:
        parts = [np.asarray(part, float).item() for part in (value if is_pair else [value])]
    except (TypeError, ValueError):
        parts = []
    if len(parts) != 1 + is_pair or not np.isfinite(parts).all() or min(parts[1:], default=0) < 0:
        raise ValueError(
            "statistic: expected a finite number or a pair (estimate, variance) of a completed "
            f"table, got {_shortened(value)}"
        )
    return parts[0], parts[1] if is_pair else None


def _take(table: Any, rows: np.ndarray) -> Any:
    return table.iloc[rows] if isinstance(table, pd.DataFrame) else table[rows]


def _shortened(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:56]} ..."
