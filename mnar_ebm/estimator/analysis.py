"""A sensitivity analysis: the statistic for each size of a departure, of fits or of an imputer.

Fits and encoded rows are all that it needs; an imputer adds what its tables look like.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mnar_ebm import _checks
from mnar_ebm.estimator import columns as kinds
from mnar_ebm.estimator import departures, statistics
from mnar_ebm.estimator.departures import Draw, Target
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.estimator.sensitivity import Sensitivity
from mnar_ebm.estimator.statistics import Statistic

LEVEL = 0.95
"""Nominal coverage of the intervals."""

MAX_ROWS = 20_000
"""About how many completed rows, at most, P(missing) is told by."""

Finish = Callable[[np.ndarray], Any]
"""From draws of the rows with gaps, encoded [M, n, D'], to the M completed tables."""


class _Point(NamedTuple):
    """What is found at one size; names as in ``Sensitivity``."""

    estimate: float
    low: float
    high: float
    missing_information: float
    missing_ratio: list[float]
    least_ess: float
    median_ess: float


def check_grid(gamma: Any, delta: Any) -> tuple[str, np.ndarray]:
    """Return which of the two was given, and its sizes, ascending, with 0 among them. [G].

    Raises:
        TypeError: the sizes are no numbers.
        ValueError: both were given, or neither, or the sizes are not a list of finite numbers.
    """
    given = {name: one for name, one in (("gamma", gamma), ("delta", delta)) if one is not None}
    if len(given) != 1:
        raise ValueError(f"expected one of gamma and delta, got {'both' if given else 'neither'}")
    ((name, sizes),) = given.items()
    try:
        grid = np.atleast_1d(np.asarray(sizes, float))
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected numbers, got {sizes!r}") from None
    if grid.ndim != 1 or not grid.size or not np.isfinite(grid).all():
        raise ValueError(f"{name}: expected a list of finite numbers, got {sizes!r}")
    return name, np.union1d(grid, 0.0)


def analyse(
    ensemble: Ensemble,
    x: np.ndarray,
    targets: Sequence[Target],
    statistic: Statistic,
    *,
    name: str,
    gamma: Any = None,
    delta: Any = None,
    conclusion: float | None = None,
    num_imputations: int = 20,
    finish: Finish | None = None,
) -> Sensitivity:
    """Return the statistic over the size of a departure from the fits.

    Args:
        ensemble: the fits; P(missing) is told by the mechanism of the first.
        x: encoded rows, NaN where missing. [N, D']
        targets: the columns whose missing values depart.
        statistic: of a completed table, as ``statistics`` has it.
        name: of the statistic.
        gamma: sizes of a tilt, or ``None``. 0 is added to either.
        delta: sizes of a shift, or ``None``.
        conclusion: value that the statistic is compared with, if there is one.
        num_imputations: M, completed tables for each size.
        finish: makes tables of the draws; by default the encoded rows, completed.

    Raises:
        TypeError: a number is not one.
        ValueError: not exactly one of gamma and delta was given, or it does not go with the
            columns, or a number is not as expected, or the statistic gives none.
    """
    parameter, grid = check_grid(gamma, delta)
    _checks.check_whole("num_imputations", num_imputations, 2)
    if conclusion is not None and not np.isfinite(conclusion):
        raise ValueError(f"conclusion: expected a finite number, got {conclusion}")
    has_gap = np.isnan(x).any(axis=1)
    is_target = np.any([target.is_missing[has_gap] for target in targets], axis=0)
    make = departures.by_tilt if parameter == "gamma" else departures.by_shift
    draw = make(ensemble, targets, x[has_gap], num_imputations)

    def fill(draws: np.ndarray) -> np.ndarray:
        tables = np.tile(x, (len(draws), 1, 1))
        tables[:, has_gap] = draws
        return tables

    def ratio(target: Target, rows: np.ndarray, size: float) -> float:
        if parameter == "delta":
            return departures.ratio_by_shift(target, rows)
        return departures.ratio_by_tilt(ensemble.models[0], target, rows, size)

    def at(size: float) -> _Point:
        draws, ess = _in_tables(draw, size)
        ess = ess[:, is_target]
        tables: Any = (finish or fill)(draws)
        pooled = statistics.pooled(statistic, tables, ensemble.seed)
        low, high = pooled.interval(LEVEL)
        some = fill(draws[: max(1, MAX_ROWS // len(x))])
        return _Point(
            float(pooled.estimate[0]),
            float(low[0]),
            float(high[0]),
            float(pooled.missing_information[0]),
            [ratio(target, some, size) for target in targets],
            float(ess.min()),
            float(np.median(ess)),
        )

    points = [at(float(size)) for size in grid]
    return Sensitivity(
        statistic=name,
        parameter=parameter,
        columns=tuple(target.name for target in targets),
        units=tuple(target.unit for target in targets),
        ends=tuple(target.ends for target in targets),
        grid=grid,
        **{field: np.array([getattr(one, field) for one in points]) for field in _Point._fields},
        num_samples=ensemble.models[0].config.num_imputation_samples,
        conclusion=None if conclusion is None else float(conclusion),
        level=LEVEL,
    )


def _in_tables(draw: Draw, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return draws as tables [M, n, D'], and the effective number behind each row. [F, n]."""
    draws, ess = draw(size)
    return draws.swapaxes(0, 1), ess


def analyse_imputer(
    imputer: Any, X: Any, columns: Any, statistic: Any, num_imputations: int, **settings: Any
) -> Sensitivity:
    """Return the analysis of an imputer's tables.

    Args:
        imputer: a fitted ``MNARImputer``.
        X: table with the columns of ``fit``. [N, D]
        columns: names or numbers of columns, or one of them.
        statistic: a function of a completed table as ``transform`` gives it, or the name of one of
            the first of ``columns``; of one that holds levels, they are counted from 0.
        num_imputations: M.
        **settings: ``gamma``, ``delta`` and ``conclusion``.

    Raises:
        TypeError: as ``analyse``.
        ValueError: as ``analyse``, or a column is unknown or has no value.
    """
    check_grid(settings["gamma"], settings["delta"])
    x, mask = imputer._validate(X, is_fit=False)
    encoded, places = imputer._encode(x, mask), np.cumsum(imputer._has_value) - 1
    blocks = kinds.blocks_of(imputer._kept)
    names = [column.name for column in imputer._columns]
    chosen = find_columns(columns, names)
    for column in chosen:
        if not imputer._has_value[column]:
            raise ValueError(f"columns: expected columns with a value, got {names[column]!r}")
    targets = [
        departures.make_target(str(names[column]), blocks[places[column]], encoded)
        for column in chosen
    ]
    is_named = isinstance(statistic, str)
    if is_named:
        name = f"{statistic} of {names[chosen[0]]}"
        place = chosen[0] if imputer.keep_empty_features else places[chosen[0]]
        statistic = statistics.named(statistic, int(place))
    elif callable(statistic):
        name = getattr(statistic, "__name__", "statistic")
    else:
        raise TypeError(f"statistic: expected a name or a function, got {statistic!r}")

    def finish(draws: np.ndarray) -> Any:
        tables = imputer._complete(draws, x, mask)
        if is_named or not imputer._is_mixed:
            return tables
        return [imputer._to_frame(table, mask, X) for table in tables]

    return analyse(
        imputer.ensemble_,
        encoded,
        targets,
        statistic,
        name="statistic" if name == "<lambda>" else name,
        num_imputations=num_imputations,
        finish=finish,
        **settings,
    )


def find_columns(columns: Any, names: Sequence[Any]) -> list[int]:
    """Return the numbers of columns that are given by name or by number, one or several.

    Raises:
        ValueError: there is no such column, or one is given twice, or none.
    """
    is_one = isinstance(columns, (str, int, np.integer))
    found = []
    for column in [columns] if is_one else columns:
        if column in names:
            found.append(list(names).index(column))
        elif isinstance(column, (int, np.integer)) and 0 <= column < len(names):
            found.append(int(column))
        else:
            shown = ", ".join(map(str, names[:20])) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"columns: expected some of {shown}, got {column!r}")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"columns: expected columns, each once, got {columns!r}")
    return found
