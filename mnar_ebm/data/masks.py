r"""Masks that hide cells of a complete table, at random or not, for benchmarks.

Each takes complete values [N, D] and returns a mask [N, D], ``True`` where observed. Those that
draw take a seed first. In standardised columns x, with sigma the logistic function,

    above_mean      x_d > c, d < D/2                               self-masking, deterministic
    mcar            P(missing_d) = r                               completely at random
    mar             P(missing_d|x) = sigma(a_d + sum_j b_jd x_j)   j always observed
    logistic        the same, but the columns j are hidden too     not at random
    self_logistic   P(missing_d|x) = sigma(a_d ± x_d)              self-masking
    quantile        x_d in a tail, there with probability r        self-masking
    extremes        |x_d| among the r largest, d < D/2             self-masking, two-sided
    around_mean     |x_d| among the r smallest, d < D/2            self-masking, two-sided
    one_variable    x_d above its median, there with probability r, one d
    weighted_sum    sum_j b_j x_j in a fifth of its range: a fifth of the columns, all j hidden too
    regime          P(missing_d|x) = sigma(a_d + u x_d), u = ±1 for a row: which tail, by the row

with a_d such that the expected rate is r.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not
    at Random Data", ICLR 2021, https://arxiv.org/abs/2006.12871, App. A.1 and E (above_mean).
    B. Muzellec, J. Josse, C. Boyer, M. Cuturi, "Missing Data Imputation using Optimal Transport",
    ICML 2020, https://arxiv.org/abs/2002.03860, sec. 4 and its code's ``utils.py`` (mcar, mar,
    logistic, self_logistic, quantile).
    S. Ghalebikesabi, R. Cornish, L. Kelly, C. Holmes, "Deep Generative Missingness Pattern-Set
    Mixture Models", AISTATS 2021, sec. 5 and its code's ``preprocess.py`` (one_variable: MNAR1var;
    weighted_sum: MNARsum).
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from mnar_ebm import _checks
from mnar_ebm.data import moments


def mask_above_mean(x: np.ndarray, num_sds: float = 0.0) -> np.ndarray:
    """Hide the high values of the first half of the columns.

    ``mask[n, d] = False`` where ``d < D // 2`` and ``x[n, d] > mean_n x[n, d] + c sd_n x[n, d]``.

    Args:
        x: complete values. [N, D]
        num_sds: c, standard deviations from the mean to the cut-off.

    Returns:
        The mask, ``True`` where observed. [N, D]

    Raises:
        ValueError: a value is missing.
    """
    x = _check_complete(x)
    cutoff = moments.mean(x) + num_sds * x.std(axis=0)
    return ~(_first_half(x) & (x > cutoff))


def mask_mcar(seed: int, x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Hide every cell with the same probability, whatever it holds.

    Args:
        seed: of the draws.
        x: complete values. [N, D]
        rate: r, the share of cells to hide.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    return np.random.default_rng(seed).random(x.shape) >= rate


def mask_mar(
    seed: int, x: np.ndarray, rate: float = 0.3, observed_share: float = 0.3
) -> np.ndarray:
    """Hide cells by a logistic model of columns that are always observed: missing at random.

    Args:
        seed: of the observed columns, the model's slopes and the draws.
        x: complete values. [N, D]
        rate: r, the share of cells to hide in each of the other columns.
        observed_share: share of the columns that are always observed, at least one.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    return _mask_by_inputs(np.random.default_rng(seed), x, rate, observed_share)[0]


def mask_logistic(
    seed: int, x: np.ndarray, rate: float = 0.3, input_share: float = 0.3
) -> np.ndarray:
    """Hide cells by a logistic model of columns that are then hidden too, completely at random.

    Args:
        seed: of the input columns, the model's slopes and the draws.
        x: complete values. [N, D]
        rate: r, the share of cells to hide in every column.
        input_share: share of the columns that the model reads, at least one.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    rng = np.random.default_rng(seed)
    mask, inputs = _mask_by_inputs(rng, x, rate, input_share)
    mask[:, inputs] = rng.random((len(x), len(inputs))) >= rate
    return mask


def mask_self_logistic(seed: int, x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Hide each cell by a logistic model of what it holds, up or down by a coin for each column.

    Args:
        seed: of the signs and the draws.
        x: complete values. [N, D]
        rate: r, the share of cells to hide in every column.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], x.shape[1])
    return _draw(rng, signs * _standardise(x), rate)


def mask_quantile(
    seed: int, x: np.ndarray, rate: float = 0.6, quantile: float = 0.25, cut: str = "both"
) -> np.ndarray:
    """Hide cells in the tails of half of the columns.

    Args:
        seed: of the columns and the draws.
        x: complete values. [N, D]
        rate: r, the probability that a cell in a tail is hidden.
        quantile: share of a column that a tail is.
        cut: ``upper``, ``lower`` or ``both`` tails.

    Raises:
        ValueError: a value is missing, a share is not between 0 and 1 or ``cut`` is unknown.
    """
    x = _check_complete(x, rate)
    _checks.check_choice("cut", cut, ("upper", "lower", "both"))
    _checks.check_between("quantile", quantile, 0, 0.5)
    rng = np.random.default_rng(seed)
    low, high = np.quantile(x, (quantile, 1.0 - quantile), axis=0)
    in_tail = (x >= high) & (cut != "lower") | (x <= low) & (cut != "upper")
    columns = np.isin(np.arange(x.shape[1]), _choose(rng, x.shape[1], 0.5))
    return ~(columns & in_tail & (rng.random(x.shape) < rate))


def mask_extremes(x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Hide the values of the first half of the columns that are farthest from the mean.

    Args:
        x: complete values. [N, D]
        rate: r, the share of cells to hide in each of these columns.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    distance = np.abs(_standardise(_check_complete(x, rate)))
    return ~(_first_half(x) & (distance > np.quantile(distance, 1.0 - rate, axis=0)))


def mask_around_mean(x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Hide the values of the first half of the columns that are nearest to the mean.

    Args:
        x: complete values. [N, D]
        rate: r, the share of cells to hide in each of these columns.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    distance = np.abs(_standardise(_check_complete(x, rate)))
    return ~(_first_half(x) & (distance < np.quantile(distance, rate, axis=0)))


def mask_one_variable(seed: int, x: np.ndarray, rate: float = 0.8) -> np.ndarray:
    """Hide values above the median of one column, drawn among all.

    Args:
        seed: of the column and the draws.
        x: complete values. [N, D]
        rate: r, the probability that a cell above the median is hidden.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    rng = np.random.default_rng(seed)
    column = np.arange(x.shape[1]) == rng.integers(x.shape[1])
    return ~(column & (x > np.median(x, axis=0)) & (rng.random(x.shape) < rate))


def mask_weighted_sum(seed: int, x: np.ndarray, num_sets: int = 5) -> np.ndarray:
    """Hide a set of columns in the rows where a weighted sum of all columns is in some quantiles.

    The columns are split into sets, and the l-th is hidden in the l-th of as many equal shares of
    the rows, in the order of sum_j b_j x_j, b_j ~ N(0, 1) and x standardised.

    Args:
        seed: of the weights.
        x: complete values. [N, D]
        num_sets: sets of columns, and shares of rows.

    Raises:
        ValueError: a value is missing.
    """
    x = _check_complete(x)
    weights = np.random.default_rng(seed).normal(size=x.shape[1])
    rank = np.argsort(np.argsort(_standardise(x) @ weights))
    share_of_row = rank * num_sets // len(x)
    set_of_column = np.arange(x.shape[1]) * num_sets // x.shape[1]
    return share_of_row[:, None] != set_of_column


def mask_regime(seed: int, x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Hide high values in some rows and low ones in the others, by a coin for each row.

    What goes missing in a row is related beyond what its values say, so that no mechanism whose
    columns are independent given the row is right.

    Args:
        seed: of the coins and the draws.
        x: complete values. [N, D]
        rate: r, the share of cells to hide in every column.

    Raises:
        ValueError: a value is missing, or the rate is not between 0 and 1.
    """
    x = _check_complete(x, rate)
    rng = np.random.default_rng(seed)
    return _draw(rng, rng.choice([-1.0, 1.0], (len(x), 1)) * _standardise(x), rate)


MASKS: dict[str, Callable[[int, np.ndarray], np.ndarray]] = {
    "above_mean": lambda seed, x: mask_above_mean(x),
    "above_mean_0.25sd": lambda seed, x: mask_above_mean(x, 0.25),
    "above_mean_0.5sd": lambda seed, x: mask_above_mean(x, 0.5),
    "above_mean_0.75sd": lambda seed, x: mask_above_mean(x, 0.75),
    "above_mean_1sd": lambda seed, x: mask_above_mean(x, 1.0),
    "mcar": mask_mcar,
    "mar": mask_mar,
    "logistic": mask_logistic,
    "self_logistic": mask_self_logistic,
    "quantile": mask_quantile,
    "extremes": lambda seed, x: mask_extremes(x),
    "around_mean": lambda seed, x: mask_around_mean(x),
    "one_variable": mask_one_variable,
    "weighted_sum": lambda seed, x: mask_weighted_sum(seed, x),
    "regime": mask_regime,
}
"""By name: ``(seed, x [N, D]) -> mask [N, D]``, at the rates of the functions above."""


def hide(name: str, seed: int, x: np.ndarray) -> np.ndarray:
    """Return the mask called ``name`` for complete values. [N, D].

    Raises:
        ValueError: the name is unknown, or a value is missing.
    """
    _checks.check_choice("mask", name, MASKS)
    return MASKS[name](seed, x)


def _check_complete(x: np.ndarray, rate: float = 0.5) -> np.ndarray:
    x = _checks.check_table("x", x)
    if np.isnan(x).any():
        raise ValueError("x: expected complete values, got NaN")
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a share between 0 and 1, got {rate}")
    return x


def _first_half(x: np.ndarray) -> np.ndarray:
    return np.arange(np.shape(x)[1]) < np.shape(x)[1] // 2


def _standardise(x: np.ndarray) -> np.ndarray:
    return (x - moments.mean(x)) / moments.scale(x)


def _choose(rng: np.random.Generator, num_columns: int, share: float) -> np.ndarray:
    """Return the indices of a share of the columns, at least one. [J]."""
    return rng.choice(num_columns, max(1, int(share * num_columns)), replace=False)


def _mask_by_inputs(
    rng: np.random.Generator, x: np.ndarray, rate: float, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask by a logistic model of some columns, and these columns, fully observed."""
    inputs = _choose(rng, x.shape[1], share)
    slopes = rng.normal(size=(len(inputs), x.shape[1]))
    mask = _draw(rng, _standardise(_standardise(x)[:, inputs] @ slopes), rate)
    mask[:, inputs] = True
    return mask, inputs


def _draw(rng: np.random.Generator, linear: np.ndarray, rate: float) -> np.ndarray:
    """Draw a mask with P(missing_d) = sigma(a_d + linear_d), a_d set for the rate. [N, D]."""

    def intercept(column: np.ndarray) -> float:
        return optimize.brentq(
            lambda a: special.expit(a + column).mean() - rate,
            special.logit(rate) - column.max() - 1.0,
            special.logit(rate) - column.min() + 1.0,
        )

    intercepts = np.array([intercept(column) for column in linear.T])
    return rng.random(linear.shape) >= special.expit(intercepts + linear)
