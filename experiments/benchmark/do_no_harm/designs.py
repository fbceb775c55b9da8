r"""The designs: a complete table and its gaps by name, seed and number of rows.

Families, by what P(s|x) depends on:

    ignorable           observed values and other gaps alone: imputation may forget why
    no_self_censoring   hidden values of other columns, never of the column itself
    self_masking        the value that goes missing

Without other word three columns of six, x1 to x3, are missing at a rate of 0.3; x4 to x6 are
complete. \Phi is the normal distribution function, and a whatever makes the rate right.

References:
    D. Malinsky, I. Shpitser, E. J. Tchetgen Tchetgen, "Semiparametric Inference for Nonmonotone
    Missing-Not-at-Random Data: the No Self-Censoring Model", JASA 117, 2022,
    https://doi.org/10.1080/01621459.2020.1862669.
    S. Wang, J. Shao, J. K. Kim, "An instrumental variable approach for identification and
    estimation with nonignorable nonresponse", Statistica Sinica 24, 2014 (``self_instrument``).
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.benchmark.do_no_harm import gaps, values
from experiments.benchmark.do_no_harm.gaps import HIDDEN, Law
from experiments.benchmark.do_no_harm.values import Values

FAMILIES = ("ignorable", "no_self_censoring", "self_masking")


class Example(NamedTuple):
    """A table with gaps whose hidden values are known, if there are any.

    Attributes:
        values: the complete table; NaN in gaps that nobody knows.
        mask: ``True`` where observed. [N, D]
        law: of the gaps, where it is known.
    """

    values: Values
    mask: np.ndarray
    law: Law | None = None


class Design(NamedTuple):
    """Where examples come from.

    Attributes:
        name: what it is called.
        family: one of ``FAMILIES``, or another word where no criterion applies.
        description: one line.
        make: ``(seed, number of rows) -> Example``, the same for the same seed.
    """

    name: str
    family: str
    description: str
    make: Callable[[int, int], Example]


DESIGNS: dict[str, Design] = {}
"""By name, in the order of the table."""


def _add(
    name: str,
    family: str,
    description: str,
    law: Callable[[Values], Law],
    base: Callable[[np.random.Generator, int], Values] = values.gaussian,
) -> None:
    def make(seed: int, num_rows: int) -> Example:
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        table = base(rng, num_rows)
        bound = law(table)
        return Example(table, bound.draw(rng, table.x), bound)

    DESIGNS[name] = Design(name, family, description, make)


def _hidden(x: np.ndarray) -> np.ndarray:
    return x[..., list(HIDDEN)]


def _driver(x: np.ndarray) -> np.ndarray:
    """Return x4 + x5. [..., 1]."""
    return x[..., [3]] + x[..., [4]]


def _at_random(table: Values) -> Law:
    return gaps.probit(table.x, _driver)


def _two_blocks(table: Values) -> Law:
    return gaps.blocks(((0, 1), (2, 3)))


def _predicted_block(table: Values) -> Law:
    lead = gaps.probit(table.x, lambda x: 1.5 * x[..., [3]], columns=(0,))
    return gaps.blocks((HIDDEN,), lead)


def _nearly_complete(table: Values) -> Law:
    return gaps.by_gappy(3, 1.5, 3 / len(table.x), num_missing=3)


def _others(order: tuple[int, ...], slope: float, columns: tuple[int, ...]) -> Callable:
    """Return the law by which column ``columns[j]`` is missing by what column ``order[j]`` is."""
    return lambda table: gaps.probit(table.x, lambda x: slope * x[..., list(order)], columns)


def _itself(
    shape: Callable[[np.ndarray], np.ndarray],
    columns: tuple[int, ...] = HIDDEN,
    rate: float | None = gaps.RATE,
) -> Callable[[Values], Law]:
    r"""Return the law \Phi(a + shape(x_j)) of each column."""
    return lambda table: gaps.probit(table.x, lambda x: shape(x[..., list(columns)]), columns, rate)


def _self_and_block(table: Values) -> Law:
    hides = _itself(lambda x: 1.5 * x, (0,))(table)
    return gaps.beside(hides, gaps.blocks(((1, 2, 3),)))


def _instrument(table: Values) -> Law:
    return gaps.probit(table.x, lambda x: 1.5 * _hidden(x) + 1.5 * x[..., [5]])


_add("mcar", "ignorable", "each cell by a coin", lambda table: gaps.independent())
_add("block", "ignorable", "x1 to x3 together, by a coin", lambda table: gaps.blocks((HIDDEN,)))
_add("block_by_complete", "ignorable", "x1 to x3 together, Φ(a + 1.5 x4)", _predicted_block)
_add("two_blocks", "ignorable", "x1 with x2, x3 with x4, each by a coin", _two_blocks)
_add(
    "drop_out",
    "ignorable",
    "x4 to x6 in turn, by the value before: Φ(a + x), hazard 0.16",
    lambda table: gaps.drop_out((3, 4, 5), 1.0, 0.16),
)
_add(
    "drop_out_random",
    "ignorable",
    "x4 to x6 in turn, by a coin of 0.16",
    lambda table: gaps.drop_out((3, 4, 5), 0.0, 0.16),
)
_add(
    "careless",
    "ignorable",
    "all columns, each row at its own Beta(0.5, 1.2) rate",
    lambda table: gaps.careless(range(values.NUM_COLUMNS), 0.5, 1.2),
)
_add("mar", "ignorable", "Φ(a + x4 + x5)", _at_random)
_add("mar_nearly", "ignorable", "Φ(a + 1.5 x4), x4 lacks three cells, 0 there", _nearly_complete)
_add(
    "mar_gappy",
    "ignorable",
    "Φ(a + 1.5 x4), x4 lacks a fifth, 0 there",
    lambda table: gaps.by_gappy(3, 1.5, 0.2),
)
_add(
    "mar_absolute",
    "ignorable",
    "Φ(a + 2 |x4|)",
    lambda table: gaps.probit(table.x, lambda x: 2.0 * np.abs(x[..., [3]])),
)
_add(
    "mar_product",
    "ignorable",
    "Φ(a + 1.5 x4 x5)",
    lambda table: gaps.probit(table.x, lambda x: 1.5 * x[..., [3]] * x[..., [4]]),
)
_add("mar_skewed", "ignorable", "lognormal columns, Φ(a + x4 + x5)", _at_random, values.skewed)
_add("mar_heavy", "ignorable", "t with 4 df, Φ(a + x4 + x5)", _at_random, values.heavy)
_add("mar_clouds", "ignorable", "two clouds, Φ(a + x4 + x5)", _at_random, values.two_components)
_add(
    "mar_curved",
    "ignorable",
    "x5 = sin 2 x2, x6 = x1², Φ(a + x4 + x5)",
    _at_random,
    values.curved,
)
_add(
    "mar_mixed",
    "ignorable",
    "x3 of two levels, x4 of three, x1 to x4 missing, Φ(a + x5 + x6)",
    lambda table: gaps.probit(table.x, lambda x: x[..., [4]] + x[..., [5]], (0, 1, 2, 3)),
    values.mixed,
)
_add(
    "gappy_driver",
    "no_self_censoring",
    "Φ(a + 1.5 x4), x4 lacks a fifth and acts all the same",
    lambda table: gaps.by_gappy(3, 1.5, 0.2, reads_hidden=True),
)
_add(
    "swap",
    "no_self_censoring",
    "x1 by x2 and x2 by x1, x3 by x4 and x4 by x3: Φ(a + 1.5 x)",
    _others((1, 0, 3, 2), 1.5, (0, 1, 2, 3)),
)
_add(
    "chain",
    "no_self_censoring",
    "x1 by x2, x2 by x3, x3 by x4, x4 by x5: Φ(a + 1.5 x), x5 complete",
    _others((1, 2, 3, 4), 1.5, (0, 1, 2, 3)),
)
_add(
    "ring_strong",
    "no_self_censoring",
    "x1 by x2, x2 by x3, x3 by x1: Φ(a + 4 x)",
    _others((1, 2, 0), 4.0, HIDDEN),
)
_add("self_hard", "self_masking", "above the mean", lambda table: gaps.above_mean())
_add("self_soft", "self_masking", "Φ(1.5 x)", _itself(lambda x: 1.5 * x, rate=None))
_add("self_weak", "self_masking", "Φ(0.5 x)", _itself(lambda x: 0.5 * x, rate=None))
_add("self_low", "self_masking", "Φ(a - 1.5 x)", _itself(lambda x: -1.5 * x))
_add("self_tails", "self_masking", "Φ(a + 3 |x|)", _itself(lambda x: 3.0 * np.abs(x)))
_add("self_middle", "self_masking", "Φ(a - 3 |x|)", _itself(lambda x: -3.0 * np.abs(x)))
_add("self_one", "self_masking", "x1 alone, Φ(a + 1.5 x)", _itself(lambda x: 1.5 * x, (0,)))
_add(
    "self_and_block",
    "self_masking",
    "x1 by Φ(a + 1.5 x), x2 to x4 together by a coin",
    _self_and_block,
)
_add(
    "self_instrument",
    "self_masking",
    "Φ(a + 1.5 x + 1.5 x6), x6 independent of the rest",
    _instrument,
    values.instrumented,
)
_add(
    "self_skewed",
    "self_masking",
    "lognormal columns, Φ(a + 1.5 x)",
    _itself(lambda x: 1.5 * x),
    values.skewed,
)
_add(
    "self_level",
    "self_masking",
    "x3 of two levels alone: half of yes, a tenth of no",
    lambda table: gaps.by_level(2, (0.1, 0.5)),
    values.mixed,
)
