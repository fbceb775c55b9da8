"""Why cells are missing: the law of the gaps given a complete row, drawn from and evaluated.

Every law here is a product over the columns with gaps, one after the other,

    P(s|x) = prod_j P(s_j | x, s_before),

so that a few functions of the row and of the gaps before tell all of it: blocks go with their
first column, who dropped out stays out, and a row whose rate is Beta(a, b) is Pólya's urn.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

HIDDEN = (0, 1, 2)
"""The columns that have gaps, where nothing else is said."""
RATE = 0.3
"""The share of their cells that is missing, where nothing else is said."""

Rates = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Law(NamedTuple):
    """The law of the gaps of a row.

    Attributes:
        columns: those with gaps, in the order in which gaps are drawn. [J]
        rates: P(missing_j | x, s_before) of rows [..., D] and masks [..., D]; what it makes of a
            column must not depend on the mask of that column or of later ones. [..., J]
        num_first: how many cells the first column lacks, if that is a given number.
    """

    columns: tuple[int, ...]
    rates: Rates
    num_first: int | None = None

    def draw(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Return a mask, ``True`` where observed. [N, D]."""
        mask = np.ones(x.shape, bool)
        for place, column in enumerate(self.columns):
            if place == 0 and self.num_first is not None:
                mask[:, column] = rng.permutation(len(x)) >= self.num_first
            else:
                mask[:, column] = rng.random(len(x)) >= self.rates(x, mask)[:, place]
        return mask

    def log_prob(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return log P(s|x) of each row. [...].

        Args:
            x: complete rows. [..., D]
            mask: ``True`` where observed. [..., D]
        """
        x, mask = np.broadcast_arrays(x, mask)
        columns = list(self.columns)
        rates = self.rates(x, mask)
        with np.errstate(divide="ignore"):
            terms = np.log(np.where(mask[..., columns], 1.0 - rates, rates))
        others = np.delete(mask, columns, axis=-1).all(axis=-1)
        return np.where(others, terms.sum(axis=-1), -np.inf)


def independent(columns: Sequence[int] = HIDDEN, rate: float = RATE) -> Law:
    """Return cells missing completely at random, each by a coin of its own."""
    return Law(tuple(columns), _constant(np.full(len(columns), rate)))


def probit(
    x: np.ndarray,
    linear: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[int] = HIDDEN,
    rate: float | None = RATE,
) -> Law:
    r"""Return P(missing_j|x) = \Phi(a_j + linear_j(x)).

    Args:
        x: the table, for which a_j is set. [N, D]
        linear: of rows [..., D]; one number for each column, or the same. [..., J] or [..., 1]
        columns: those with gaps. [J]
        rate: mean of P over the rows of the table; without it a_j is 0.
    """
    shift = 0.0 if rate is None else np.array([_shift(one, rate) for one in linear(x).T])
    return Law(
        tuple(columns),
        lambda x, mask: special.ndtr(_wide(shift + linear(x), x, len(columns))),
    )


def above_mean(columns: Sequence[int] = HIDDEN) -> Law:
    """Return values of standard columns missing wherever they are positive."""
    return Law(tuple(columns), lambda x, mask: (x[..., list(columns)] > 0.0).astype(float))


def by_level(column: int, rates: Sequence[float]) -> Law:
    """Return a column of levels whose level tells the probability that it is missing."""
    return Law((column,), lambda x, mask: np.take(rates, x[..., [column]].astype(int)))


def blocks(parts: Sequence[Sequence[int]], leads: Law | None = None, rate: float = RATE) -> Law:
    """Return columns that are missing together.

    Args:
        parts: columns of each block.
        leads: the law of the first column of each block, in their order; by default coins.
        rate: of these coins.
    """
    first = tuple(part[0] for part in parts)
    leads = independent(first, rate) if leads is None else leads
    assert leads.columns == first
    followers = [column for part in parts for column in part[1:]]
    leader = [part[0] for part in parts for _ in part[1:]]

    def rates(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.concatenate([leads.rates(x, mask), ~mask[..., leader]], axis=-1)

    return Law((*first, *followers), rates)


def drop_out(columns: Sequence[int], slope: float, hazard: float) -> Law:
    r"""Return rows that end: who lacks a column lacks all later ones.

    Who is still there leaves with probability \Phi(a + slope x_before), x_before the standard
    column before, which is then observed; a makes that ``hazard`` for a normal column.
    """
    before = [column - 1 for column in columns]
    shift = special.ndtri(hazard) * np.sqrt(1.0 + slope**2)

    def rates(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen = mask[..., before]
        return np.where(seen, special.ndtr(shift + slope * np.where(seen, x[..., before], 0)), 1.0)

    return Law(tuple(columns), rates)


def careless(columns: Sequence[int], a: float, b: float) -> Law:
    """Return rows each with a rate of its own, Beta(a, b).

    With the rate integrated out it is Pólya's urn,

        P(missing_j | s_before) = (a + gaps before) / (a + b + columns before).
    """
    columns = tuple(columns)
    places = np.arange(len(columns))

    def rates(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        gaps = np.cumsum(~mask[..., list(columns)], axis=-1)
        before = np.concatenate([np.zeros_like(gaps[..., :1]), gaps[..., :-1]], axis=-1)
        return (a + before) / (a + b + places)

    return Law(columns, rates)


def by_gappy(
    driver: int,
    slope: float,
    driver_rate: float,
    *,
    num_missing: int | None = None,
    reads_hidden: bool = False,
    columns: Sequence[int] = HIDDEN,
    rate: float = RATE,
) -> Law:
    r"""Return P(missing_j) = \Phi(a + slope x_driver) of a standard driver that has gaps itself.

    Its gaps are completely at random. Where it is hidden it counts as 0, or as what it is with
    ``reads_hidden``. a makes the rate right for a normal driver.

    Args:
        driver: its column.
        slope: of the others' gaps in it.
        driver_rate: share of its cells that is missing.
        num_missing: how many of them are, if that is a given number.
        reads_hidden: whether the others' gaps depend on what it hides.
        columns: those whose gaps it drives. [J]
        rate: share of their cells that is missing.
    """
    shift = special.ndtri(rate) * np.sqrt(1.0 + slope**2)

    def rates(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        value = x[..., [driver]]
        value = value if reads_hidden else np.where(mask[..., [driver]], value, 0.0)
        others = _wide(special.ndtr(shift + slope * value), x, len(columns))
        own = np.full_like(others[..., :1], driver_rate)
        return np.concatenate([own, others], axis=-1)

    return Law((driver, *columns), rates, num_missing)


def beside(first: Law, second: Law) -> Law:
    """Return two laws of different columns, independent given the row."""

    def rates(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.concatenate([first.rates(x, mask), second.rates(x, mask)], axis=-1)

    return Law((*first.columns, *second.columns), rates)


def _constant(values: np.ndarray) -> Rates:
    return lambda x, mask: np.broadcast_to(values, (*x.shape[:-1], len(values)))


def _wide(values: np.ndarray, x: np.ndarray, width: int) -> np.ndarray:
    return np.broadcast_to(values, (*x.shape[:-1], width))


def _shift(linear: np.ndarray, rate: float) -> float:
    r"""Return a with mean \Phi(a + linear) = rate."""
    return optimize.brentq(
        lambda a: special.ndtr(a + linear).mean() - rate,
        special.ndtri(rate) - linear.max() - 1.0,
        special.ndtri(rate) - linear.min() + 1.0,
    )
