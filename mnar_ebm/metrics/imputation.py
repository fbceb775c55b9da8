"""How good an imputation is, on the cells that were missing and whose truth is known.

rmse        sqrt(mean_cells ((mean - truth) / sd)²)                     of a point
crps        mean_cells (E|X - truth| - ½ E|X - X'|) / sd                of M draws
coverage    mean_cells 1[low <= truth <= high]                          of M draws
pool        one estimate and its variance from those of M completed tables (Rubin's rules)
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mnar_ebm import _checks
from mnar_ebm.data import moments


def imputation_rmse(imputed: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return the root mean squared error over missing cells, each column in its own units.

        sqrt(mean_{missing (n, d)} ((imputed_nd - truth_nd) / sd_d)²)

    with sd_d the standard deviation of column d over all true values: the error on data that were
    standardised before cells were hidden, which is what published tables report.

    Args:
        imputed: completed rows, original units. [N, D]
        truth: complete rows, original units. [N, D]
        mask: ``True`` where observed. [N, D]

    Raises:
        ValueError: the shapes differ, or no cell is missing.

    References:
        N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, Table 1 and App. A.1.
    """
    _check_shapes("imputed", imputed.shape, truth, mask)
    error = (imputed - truth) / moments.scale(truth)
    return float(np.sqrt(np.mean(error[~mask] ** 2)))


def crps(draws: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    r"""Return the continuous ranked probability score of M draws over missing cells; low is good.

        mean_{missing} (1/M \sum_m |x_m - y| - 1/(2 M (M - 1)) \sum_{m,m'} |x_m - x_m'|) / sd_d

    is fair: its expectation is the score of the law that the draws are from, whatever M.

    Args:
        draws: multiple imputations, original units. [N, M, D]
        truth: complete rows, original units. [N, D]
        mask: ``True`` where observed. [N, D]

    Raises:
        ValueError: the shapes differ, no cell is missing, or M is below 2.

    References:
        C. A. T. Ferro, "Fair scores for ensemble forecasts", Quarterly Journal of the Royal
        Meteorological Society 140, 2014, https://doi.org/10.1002/qj.2270, eq. 3 and sec. 4.
        T. Gneiting, A. E. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
        JASA 102, 2007, https://doi.org/10.1198/016214506000001437, eq. 21.
    """
    cells, values = _missing_cells(draws, truth, mask)
    num_draws = cells.shape[1]
    distance = np.abs(cells - values[:, None]).mean(axis=1)
    # sum_{m,m'} |x_m - x_m'| = 2 sum_m (2m - M - 1) x_(m) with x_(1) <= ... <= x_(M).
    ranks = 2.0 * np.arange(1, num_draws + 1) - num_draws - 1.0
    spread = np.sort(cells, axis=1) @ ranks / (num_draws * (num_draws - 1))
    return float(np.mean(distance - spread))


def interval_coverage(
    draws: np.ndarray, truth: np.ndarray, mask: np.ndarray, level: float = 0.9
) -> float:
    """Return the share of missing cells whose truth lies in the central interval of M draws.

    The ends are quantiles at the plotting positions m/(M + 1), between which a truth of the law
    of the draws falls with probability ``level``, exactly where (M + 1)(1 - level)/2 is a whole
    number, and not less often because M is small.

    Args:
        draws: multiple imputations, original units. [N, M, D]
        truth: complete rows, original units. [N, D]
        mask: ``True`` where observed. [N, D]
        level: nominal coverage, below (M - 1)/(M + 1).

    Raises:
        ValueError: the shapes differ, no cell is missing, or M is too small for the level.

    References:
        R. J. Hyndman, Y. Fan, "Sample Quantiles in Statistical Packages", The American
        Statistician 50, 1996, definition 6.
    """
    cells, values = _missing_cells(draws, truth, mask)
    num_draws = cells.shape[1]
    if not 0 < level <= (num_draws - 1) / (num_draws + 1):
        raise ValueError(
            f"level: expected at most {(num_draws - 1) / (num_draws + 1):.2f} for {num_draws} "
            f"draws, got {level}"
        )
    tails = (0.5 - level / 2, 0.5 + level / 2)
    low, high = np.quantile(cells, tails, axis=1, method="weibull")
    return float(np.mean((low <= values) & (values <= high)))


class Pooled(NamedTuple):
    """An estimate from multiply imputed tables.

    Attributes:
        estimate: its value. [P]
        standard_error: of it, with what the gaps cost. [P]
        df: degrees of freedom of its t distribution. [P]
        missing_information: share of the variance that the gaps cost, lambda; the fraction of
            missing information that R's mice calls fmi adds a term for finite M. [P]
    """

    estimate: np.ndarray
    standard_error: np.ndarray
    df: np.ndarray
    missing_information: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the confidence interval. [P], [P]."""
        half = stats.t.ppf(0.5 + level / 2, self.df) * self.standard_error
        return self.estimate - half, self.estimate + half


def pool(estimates: np.ndarray, variances: np.ndarray, df_complete: float = np.inf) -> Pooled:
    r"""Pool what M completed tables gave, by Rubin's rules.

        T = W + (1 + 1/M) B,    W = mean_m variance_m,    B = var_m estimate_m

    with \lambda = (1 + 1/M) B/T, and degrees of freedom 1/(1/\nu_m + 1/\nu_obs), where
    \nu_m = (M - 1)/\lambda² and \nu_obs = (1 - \lambda) \nu (\nu + 1)/(\nu + 3).

    Args:
        estimates: of each completed table. [M, P]
        variances: their squared standard errors. [M, P]
        df_complete: \nu, degrees of freedom if nothing were missing.

    Raises:
        ValueError: the shapes differ, or M is below 2.

    References:
        D. B. Rubin, "Multiple Imputation for Nonresponse in Surveys", 1987, eq. 3.1.2 to 3.1.10.
        J. Barnard, D. B. Rubin, "Small-sample degrees of freedom with multiple imputation",
        Biometrika 86, 1999, https://doi.org/10.1093/biomet/86.4.948, eq. 3.
    """
    estimates, variances = np.asarray(estimates, float), np.asarray(variances, float)
    if estimates.shape != variances.shape or estimates.ndim != 2:
        raise ValueError(
            "estimates, variances: expected one shape [imputations, estimates], got "
            f"{estimates.shape} and {variances.shape}"
        )
    num_imputations = len(estimates)
    _checks.check_at_least("estimates: imputations", num_imputations, 2)
    within = variances.mean(axis=0)
    between = (1.0 + 1.0 / num_imputations) * estimates.var(axis=0, ddof=1)
    total = within + between
    share = between / np.where(total > 0, total, 1.0)
    precision = share**2 / (num_imputations - 1)
    if np.isfinite(df_complete):
        observed = (1.0 - share) * df_complete * (df_complete + 1) / (df_complete + 3)
        precision = precision + 1.0 / np.maximum(observed, np.finfo(float).tiny)
    with np.errstate(divide="ignore"):
        df = 1.0 / precision
    return Pooled(estimates.mean(axis=0), np.sqrt(total), df, share)


def _check_shapes(name: str, shape: tuple[int, ...], truth: np.ndarray, mask: np.ndarray) -> None:
    if not shape == truth.shape == mask.shape:
        raise ValueError(
            f"{name}, truth, mask: expected one shape, got {shape}, {truth.shape}, {mask.shape}"
        )
    if mask.all():
        raise ValueError("mask: expected a missing cell, got none")


def _missing_cells(
    draws: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the draws and the truth of missing cells in units of their columns. [C, M], [C]."""
    if draws.ndim != 3:
        raise ValueError(f"draws: expected shape [rows, draws, columns], got {draws.shape}")
    _check_shapes("draws", (draws.shape[0], draws.shape[2]), truth, mask)
    _checks.check_at_least("draws: number for each row", draws.shape[1], 2)
    scale = moments.scale(truth)
    return (np.moveaxis(draws, 1, 2) / scale[:, None])[~mask], (truth / scale)[~mask]
