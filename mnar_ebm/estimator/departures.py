r"""Departures from the fitted model in the missing values of some columns, of a stated size.

    tilt     p(x_mis|x_obs, s) \prod_j exp(\gamma u_j), normalised
    shift    x_j + \delta sd_j, the delta adjustment of multiple imputation

over the columns j that are chosen and missing in a row. u_j is the value in standard deviations of
what was observed of its column, or the number of a level, from 0, in the order of the levels.

The tilt is the energy -\gamma u_j of the one density, so the importance weights make it exactly. It
says of missingness: with h what the fitted mechanism says,

    logit P(missing_j|x) = a + h(x) + \gamma u_j

and a such that the mean over the completed rows is the share that is missing. \gamma is thus a log
odds ratio per standard deviation, or per level, beyond what the model has found.

References:
    A. Rotnitzky, J. M. Robins, D. O. Scharfstein, "Semiparametric Regression for Repeated Outcomes
    with Nonignorable Nonresponse", JASA 93, 1998, pp. 1321-1339.
    A. M. Franks, E. M. Airoldi, D. B. Rubin, "Nonstandard conditionally specified models for
    nonignorable missing data", PNAS 117, 2020, https://doi.org/10.1073/pnas.1815563117.
    S. van Buuren, "Flexible Imputation of Missing Data", 2nd edition, 2018, sec. 3.8 and 9.2.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from mnar_ebm import models
from mnar_ebm.data import moments
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.estimator.report import describe
from mnar_ebm.kinds import Block
from mnar_ebm.tilted import FittedModel

LOW, HIGH = 0.1, 0.9
"""Quantiles of the completed values between which P(missing) is compared."""

HALF_WINDOW = 0.05
"""Share of the completed values on either side of such a quantile that is counted."""

Draw = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""From a size to draws of rows with gaps [n, M, D'], and effective numbers behind them [F, n]."""


class Target(NamedTuple):
    """A column whose missing values depart from the fitted model.

    Attributes:
        name: its name.
        block: its encoded columns.
        unit: standard deviation of what was observed of it; 1 where it holds levels.
        is_missing: where it was not observed. [N]
    """

    name: str
    block: Block
    unit: float
    is_missing: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """What turns encoded columns into u. [W]."""
        if self.block.kind == "numeric":
            return np.array([1.0 / self.unit])
        return np.ones(1) if self.block.width == 1 else np.arange(self.block.width, dtype=float)

    @property
    def ends(self) -> tuple[str, str]:
        """Between what its P(missing) is compared: the high end and the low one, in words."""
        if self.block.kind == "numeric":
            return f"the 90th percentile of {self.name}", "the 10th"
        return f"the last level of {self.name}", "the first"


def make_target(name: str, block: Block, x: np.ndarray) -> Target:
    """Return the column of that name.

    Args:
        name: its name.
        block: its encoded columns.
        x: encoded rows, NaN where missing. [N, D']

    Raises:
        ValueError: it has levels without an order, or no gap, or not two values that differ.
    """
    if block.kind == "categorical" and block.num_levels > 2:
        raise ValueError(
            f"columns: expected numbers, two levels or levels in order, got {name!r} with "
            f"{block.num_levels} levels in no order"
        )
    own = x[:, block.columns]
    is_missing = np.isnan(own[:, 0])
    if not is_missing.any():
        raise ValueError(f"columns: expected columns with a gap, got none in {name!r}")
    seen = own[~is_missing]
    if len(np.unique(seen, axis=0)) < 2:
        raise ValueError(f"columns: expected two observed values that differ in {name!r}, got none")
    unit = float(moments.scale(seen)[0]) if block.kind == "numeric" else 1.0
    return Target(name, block, unit, is_missing)


def tilted(fitted: FittedModel, targets: Sequence[Target], gamma: float) -> FittedModel:
    r"""Return the model of p(x_mis|x_obs, s) \prod_j exp(\gamma u_j), to impute with.

    It is the same program for every gamma, which is one of its parameters. To pickle it, or to
    sample the population from it, loses its meaning: it is a law of missing values.
    """
    standardiser = fitted.facts.standardiser
    direction = np.zeros(len(fitted.facts.columns))
    for target in targets:
        own = target.block.columns
        direction[own] = target.weights * standardiser.scale[own]
    model, params = models.tilt_linearly(
        fitted.model, fitted.params, direction, gamma, standardiser.bend
    )
    return fitted._replace(model=model, params=params)


def by_tilt(
    ensemble: Ensemble, targets: Sequence[Target], x: np.ndarray, num_imputations: int
) -> Draw:
    """Return the draws of encoded rows with gaps ``x`` [n, D'], by gamma; their noise is the same.

    Raises:
        ValueError: the law of a numeric column has tails too heavy for a tilt.
    """
    has_numbers = any(target.block.kind == "numeric" for target in targets)
    if has_numbers and ensemble.models[0].config.model.likelihood == "student_t":
        raise ValueError("gamma: expected a likelihood with light tails, got student_t; take delta")

    def draw(gamma: float) -> tuple[np.ndarray, np.ndarray]:
        fits = tuple(tilted(one, targets, gamma) for one in ensemble.models)
        return ensemble._replace(models=fits).weighted_draws(x, num_imputations)

    return draw


def by_shift(
    ensemble: Ensemble, targets: Sequence[Target], x: np.ndarray, num_imputations: int
) -> Draw:
    """Return the draws of encoded rows with gaps ``x`` [n, D'], by delta: the same ones, shifted.

    Raises:
        ValueError: a column is not numeric.
    """
    shift = np.zeros(x.shape)
    for target in targets:
        if target.block.kind != "numeric":
            raise ValueError(f"delta: expected columns of numbers, got levels in {target.name!r}")
        own = target.block.start
        shift[:, own] = np.where(np.isnan(x[:, own]), target.unit, 0.0)
    draws, ess = ensemble.weighted_draws(x, num_imputations)
    return lambda delta: (draws + delta * shift[:, None], ess)


def ratio_by_tilt(fitted: FittedModel, target: Target, rows: np.ndarray, gamma: float) -> float:
    """Return P(missing|high value) over P(missing|low value) that a tilt means.

    The values are the 90th and the 10th percentile of the completed ones, or the last and the first
    level; the other columns are at their means, as in the report of a fit. That a value goes along
    with others which tell of its gap is left out: without a tilt, of gaps at random it is 1.

    Args:
        fitted: the model before it was tilted.
        target: the column.
        rows: completed rows, encoded. [M, N, D']
        gamma: size of the tilt.
    """
    own = target.block.columns
    rows = rows.reshape(-1, rows.shape[2])
    if target.block.kind == "numeric":
        ends = np.quantile(rows[:, own], (LOW, HIGH), axis=0)
    else:
        ends = np.eye(target.block.width)[[0, -1]] if target.block.width > 1 else np.eye(2)[:, 1:]
    at_ends = np.tile(rows.mean(axis=0), (2, 1))
    at_ends[:, own] = ends
    odds = np.concatenate(
        [
            _log_odds(fitted, own, values) + gamma * values[:, own] @ target.weights
            for values in (rows, at_ends)
        ]
    )
    most = np.abs(odds).max() + 50.0
    share = target.is_missing.mean()
    intercept = optimize.brentq(lambda a: special.expit(a + odds[:-2]).mean() - share, -most, most)
    low, high = special.expit(intercept + odds[-2:])
    return float(high / low)


def ratio_by_shift(target: Target, rows: np.ndarray) -> float:
    """Return the share imputed of the values about the 90th percentile over that about the 10th.

    It is counted, among the completed values within 5 percent of them on either side.

    Args:
        target: the column.
        rows: completed rows, encoded. [M, N, D']
    """
    values = rows[:, :, target.block.start]
    is_missing = np.broadcast_to(target.is_missing, values.shape)
    shares = []
    for center in (LOW, HIGH):
        low, high = np.quantile(values, (center - HALF_WINDOW, center + HALF_WINDOW))
        shares.append(is_missing[(low <= values) & (values <= high)].mean())
    return float(np.divide(shares[1], shares[0])) if shares[0] else np.nan


def _log_odds(fitted: FittedModel, own: slice, rows: np.ndarray) -> np.ndarray:
    """Return what the fitted mechanism says of encoded rows. [R, D'] -> [R]."""
    standard = fitted.facts.standardiser.apply(rows).astype(np.float32)
    return np.asarray(describe.log_odds(fitted, own, jnp.asarray(standard)), float)
