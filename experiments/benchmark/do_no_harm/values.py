"""Complete tables: six columns of two factors, bent, mixed or cut into levels.

    x_j = l_j . f + 0.6 e_j,    f ~ N(0, I_2),  e_j ~ N(0, 1),  l_j ~ N(0, I_2)

with loadings l_j drawn for each table; numeric columns are brought to mean 0 and standard deviation
1 over its rows. A column of levels holds the index of the level.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mnar_ebm.data import moments
from mnar_ebm.estimator.columns import ColumnType

NUM_COLUMNS = 6
NOISE = 0.6
LEVELS = {"binary": ("no", "yes"), "categorical": ("a", "b", "c")}


class Values(NamedTuple):
    """A complete table.

    Attributes:
        x: numbers, and indices of levels. [N, D]
        types: of the columns. [D]
        is_gaussian: whether rows are draws of one normal law.
    """

    x: np.ndarray
    types: tuple[ColumnType, ...]
    is_gaussian: bool = False

    @property
    def is_numeric(self) -> np.ndarray:
        """Which columns are numbers. [D]."""
        return np.array([column.kind == "numeric" for column in self.types])


def gaussian(rng: np.random.Generator, num_rows: int) -> Values:
    """Return two factors as they are."""
    return _numeric(_factors(rng, num_rows)[1], is_gaussian=True)


def skewed(rng: np.random.Generator, num_rows: int) -> Values:
    """Return exp(0.8 x_j) of standard x_j: lognormal columns, of skewness 3.7."""
    return _numeric(np.exp(0.8 * _standardise(_factors(rng, num_rows)[1])))


def heavy(rng: np.random.Generator, num_rows: int) -> Values:
    """Return rows of the t distribution with 4 degrees of freedom."""
    x = _factors(rng, num_rows)[1]
    return _numeric(x / np.sqrt(rng.chisquare(4, (num_rows, 1)) / 4))


def two_components(rng: np.random.Generator, num_rows: int) -> Values:
    """Return two clouds of one shape, a step of N(0, 3² I) apart, three rows in five in the first.

    Their distance is between two and three times the spread of a cloud in a typical column.
    """
    x = _factors(rng, num_rows)[1]
    step = 3.0 * rng.normal(size=NUM_COLUMNS)
    return _numeric(x + (rng.random((num_rows, 1)) < 0.4) * step)


def curved(rng: np.random.Generator, num_rows: int) -> Values:
    """Return x_6 = x_1² and x_5 = sin 2x_2 beside four columns of factors, with noise of 0.3."""
    x = _standardise(_factors(rng, num_rows)[1])
    bent = np.stack([np.sin(2.0 * x[:, 1]), x[:, 0] ** 2], axis=1)
    x[:, 4:] = bent + 0.3 * rng.normal(size=bent.shape)
    return _numeric(x)


def instrumented(rng: np.random.Generator, num_rows: int) -> Values:
    """Return two factors with a sixth column N(0, 1) that is independent of the others."""
    x = _factors(rng, num_rows)[1]
    x[:, -1] = rng.normal(size=num_rows)
    return _numeric(x, is_gaussian=True)


def mixed(rng: np.random.Generator, num_rows: int) -> Values:
    """Return four numbers, a third column of two levels and a fourth of three.

    The binary column tells whether its number is positive; the categorical one is drawn with
    logits that are linear in the factors.
    """
    factors, x = _factors(rng, num_rows)
    values = _numeric(x)
    logits = 1.5 * factors @ rng.normal(size=(2, len(LEVELS["categorical"])))
    values.x[:, 2] = values.x[:, 2] > 0
    values.x[:, 3] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    types = list(values.types)
    for column, kind in ((2, "binary"), (3, "categorical")):
        types[column] = levels(types[column].name, LEVELS[kind])
    return Values(values.x, tuple(types))


def levels(name: str, names: tuple[object, ...]) -> ColumnType:
    """Return the type of a column of levels."""
    kind = "categorical" if len(names) > 2 else "binary"
    return ColumnType(name, kind, tuple(names), pd.CategoricalDtype(list(names)))


def to_frame(x: np.ndarray, types: tuple[ColumnType, ...]) -> pd.DataFrame:
    """Return codes as a data frame: floats and categories, without a value where NaN. [N, D]."""
    series = {
        column.name: codes
        if column.kind == "numeric"
        else pd.Categorical.from_codes(np.nan_to_num(codes, nan=-1).astype(int), dtype=column.dtype)
        for codes, column in zip(x.T, types, strict=True)
    }
    return pd.DataFrame(series)


def to_codes(frame: pd.DataFrame, types: tuple[ColumnType, ...]) -> np.ndarray:
    """Return the codes of a complete data frame of these columns. [N, D]."""
    codes = [
        frame[column.name].to_numpy(float)
        if column.kind == "numeric"
        else frame[column.name].cat.codes.to_numpy(float)
        for column in types
    ]
    return np.stack(codes, axis=1)


def _factors(rng: np.random.Generator, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors [N, 2] and the columns that load on them [N, D]."""
    factors = rng.normal(size=(num_rows, 2))
    loadings = rng.normal(size=(2, NUM_COLUMNS))
    return factors, factors @ loadings + NOISE * rng.normal(size=(num_rows, NUM_COLUMNS))


def _standardise(x: np.ndarray) -> np.ndarray:
    return (x - moments.mean(x)) / moments.scale(x)


def _numeric(x: np.ndarray, *, is_gaussian: bool = False) -> Values:
    types = tuple(ColumnType(f"x{index + 1}") for index in range(x.shape[1]))
    return Values(_standardise(x), types, is_gaussian)
