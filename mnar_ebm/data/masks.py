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

with a_d such that the expected rate is r.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not
    at Random Data", ICLR 2021, https://arxiv.org/abs/2006.12871, App. A.1 and E (above_mean).
    B. Muzellec, J. Josse, C. Boyer, M. Cuturi, "Missing Data Imputation using Optimal Transport",
    ICML 2020, https://arxiv.org/abs/2002.03860, sec. 4 and its code's ``utils.py`` (mcar, mar,
    logistic, self_logistic, quantile).
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from mnar_ebm import _checks


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
    # Rounding can put the mean of a constant column just below the constant.
    cutoff = np.maximum(x.mean(axis=0) + num_sds * x.std(axis=0), x.min(axis=0))
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
    scale = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(scale > 0, scale, 1.0)


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
