r"""The second tilt, from the model of the selected rows to a small unbiased sample.

The rows are few: how much they carry, that is the kind of energy, the precision \alpha of a
Gaussian prior on its weights and the scale \lambda, is what gains most on folds of rows that the
energy was not fitted to (``debiasing.second_tilt``). \lambda = 0, the model as it was, is a
candidate, and is kept unless the gain is above its standard error. Without folds there is no such
guard.

References:
    Z. Xiao, K. Kreis, J. Kautz, A. Vahdat, "VAEBM: A Symbiosis between Variational Autoencoders
    and Energy-based Models", ICLR 2021, https://arxiv.org/abs/2010.00654, eq. 4 (a frozen base).
    M. Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B 36, 1974.
"""

import functools
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import diagnostics, kinds, models
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.debiasing import clusters, second_tilt
from mnar_ebm.debiasing.second_tilt import WEIGHT_DECAYS, Fits, Pools
from mnar_ebm.models import Tilt
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
    normalise,
)
from mnar_ebm.settings import ENERGIES
from mnar_ebm.tilted.facts import TableFacts, check_values
from mnar_ebm.tilted.fitted import FittedModel, restore
from mnar_ebm.tilted.tilt_scale import CANDIDATES
from mnar_ebm.types import Array, Batch, Key, PyTree

KINDS = {"best": ENERGIES} | {kind: (kind,) for kind in ENERGIES}
"""The kinds of energy to try, by the setting ``unbiased_energy``."""

WORDS = {
    "additive": "an additive energy",
    "network": "a network",
    "clusters": "new shares of clusters",
}

CHAINS = "; so sample by chains, not by weights"

MIN_EFFECTIVE_DRAWS = 300
"""Least effective number of base draws of a scale that may be chosen. With them log Z has a
standard error of about 0.06 nats, though samples need chains and not weights."""


class UnbiasedReport(NamedTuple):
    r"""What the fit to the unbiased rows found.

    Attributes:
        energy: the kind of the second energy, ``none`` if it gained too little.
        weight_decay: \alpha.
        tilt_scale: \lambda, 0 if the model was left as it was.
        num_rows: n, unbiased rows.
        num_folds: F, folds of them.
        bound_before: mean bound of the rows before, in nats a row; too high where the model was
            trained on them.
        gain: by how much the tilt raises it on folds that it was not fitted to, if there are any;
            as the largest of many candidates', it is somewhat flattering.
        gain_standard_error: of it.
        log_z: log Z of the whole tilt against the base, in nats.
        log_z_standard_error: its Monte Carlo standard error.
        ess_fraction: effective share of base draws under the weights of the whole tilt.
        pareto_k: Pareto shape of these weights; ``None`` without a tilt.
        log_weights: minus the whole energy at base draws, for diagnostics. [P]
        row_bounds: bound of each row before. [n]
        mean_errors: for each column whose values among the rows differ, its mean under the model
            that is returned less that of the rows, in standard errors (``mean_errors``).
    """

    energy: str
    weight_decay: float
    tilt_scale: float
    num_rows: int
    num_folds: int
    bound_before: float
    gain: float
    gain_standard_error: float
    log_z: float
    log_z_standard_error: float
    ess_fraction: float
    pareto_k: float | None
    log_weights: np.ndarray
    row_bounds: np.ndarray
    mean_errors: dict[str, float]

    def __str__(self) -> str:
        """Return what was found, in words."""
        rows = f"{self.num_rows} unbiased rows, bound {self.bound_before:.2f} nats a row: "
        if self.energy == "none":
            return rows + (
                "no energy raised it on folds left out by more than its standard error, so the "
                f"model was kept as it was{CHAINS * self.is_degenerate}{self.far_mean}"
            )
        kind = WORDS[self.energy]
        where = "folds left out" if self.num_folds else "the rows that it was fitted to"
        words = (
            f"{rows}{kind}, weight decay {self.weight_decay:g}, scale {self.tilt_scale:.2f}, "
            f"raises it by {self.gain:.2f} ± {self.gain_standard_error:.2f} on {where}; "
            f"log Z {self.log_z:.3f} ± {self.log_z_standard_error:.3f}, effective share of base "
            f"draws {self.ess_fraction:.3f}, Pareto k {self.pareto_k or 0:.2f}"
        )
        return words + CHAINS * self.is_degenerate + self.far_mean

    @property
    def far_mean(self) -> str:
        """What to mind of the mean that is farthest off, if chance would not have it so far.

        Of D columns none would be in about 99 of 100 large samples from the model (Bonferroni);
        and the rows that a tilt was fitted to are nearer to it than new ones.
        """
        if not self.mean_errors:
            return ""
        name, error = max(self.mean_errors.items(), key=lambda item: abs(item[1]))
        if abs(error) < -NormalDist().inv_cdf(0.005 / len(self.mean_errors)):
            return ""
        where = "above" if error > 0 else "below"
        return (
            f"; mind that the mean of {name} is still {abs(error):.1f} standard errors {where} "
            "that of the unbiased rows"
        )

    @property
    def is_degenerate(self) -> bool:
        """Whether too few base draws carry the weight for averages or samples by weights."""
        return diagnostics.is_degenerate(self.ess_fraction, self.pareto_k)


def debias(fitted: FittedModel, unbiased: Table) -> tuple[FittedModel, UnbiasedReport]:
    """Return the model tilted to an unbiased sample, and what was found.

    What the model may have learned from an earlier sample is replaced.

    Args:
        fitted: a trained model with a tilt, which may be 0.
        unbiased: rows with the columns of its table, in original units; their gaps at random.

    Raises:
        ValueError: the settings name no tilt or no second energy, or the rows are too few, of
            another table or out of range.
    """
    fitted = fitted.without_second()
    config = fitted.config
    if config.model.tilt == "none":
        raise ValueError("tilt: expected data, latent or joint, got none, which reads nothing")
    if config.unbiased.unbiased_energy == "none":
        raise ValueError(f"unbiased_energy: expected one of {', '.join(KINDS)}, got none")
    check_unbiased(config, fitted.facts, unbiased)
    key = jax.random.fold_in(jax.random.key(config.seed), 2**30)
    key_pools, key_fit, key_clusters = jax.random.split(key, 3)
    x, mask = fitted.standardise(unbiased.x)
    batch = Batch(jnp.asarray(x), jnp.asarray(mask))
    num_draws = second_tilt.pool_size(x.shape[1])
    pools = second_tilt.make_pools(key_pools, fitted.model, fitted.params, batch, num_draws)
    fold_of_row = _folds(config.seed, len(x), config.unbiased.unbiased_folds)
    sizes = (
        config.unbiased.unbiased_folds,
        config.unbiased.unbiased_steps,
        config.negatives.num_negatives,
    )
    tilts = {
        kind: models.make_second_tilt(config.model, x.shape[1], kind)
        for kind in KINDS[config.unbiased.unbiased_energy]
    }
    fits = {
        kind: second_tilt.fit(
            key_fit, tilt, _constants(key_clusters, kind, tilt, pools), pools, fold_of_row, *sizes
        )
        for kind, tilt in tilts.items()
    }
    chosen = _choose(fits) if config.unbiased.unbiased_folds else _as_it_fits(fits)
    drawn = fitted.facts.standardiser.invert(np.asarray(pools.to_judge.x, np.float64))
    tell = functools.partial(_report, unbiased, drawn, pools, config.unbiased.unbiased_folds)
    if chosen is None:
        return fitted, tell(pools.to_judge.log_w)
    fit, scale = fits[chosen.kind], CANDIDATES[chosen.scale]
    second = jax.tree.map(lambda leaf: leaf[-1, chosen.decay], fit.params)
    log_w = second_tilt.log_weights(tilts[chosen.kind], second, scale, pools)
    gains = np.asarray(fit.gains[chosen.decay, chosen.scale])
    report = tell(log_w, chosen, gains)
    terms = {
        "first": fitted.params.energy,
        "second": second,
        "scales": jnp.stack([fitted.params.tilt_scale, scale]),
        "first_log_z": fitted.params.log_z,
    }
    params = fitted.params._replace(
        energy=terms, tilt_scale=jnp.ones(()), log_z=jnp.asarray(report.log_z, jnp.float32)
    )
    return restore(config, fitted.facts._replace(second_energy=chosen.kind), params), report


def check_unbiased(config: Config, facts: TableFacts, unbiased: Table) -> None:
    """Raise ``ValueError`` unless a model of ``config`` can be trained with these rows."""
    if unbiased.columns != facts.columns:
        raise ValueError(
            f"unbiased: expected the columns {', '.join(facts.columns)}, "
            f"got {', '.join(unbiased.columns)}"
        )
    kinds.check_encoded("unbiased", unbiased.x, unbiased.columns, facts.blocks)
    check_values(config, unbiased)
    least = (
        f"unbiased_folds={config.unbiased.unbiased_folds}"
        if config.unbiased.unbiased_folds
        else "2"
    )
    if len(unbiased.x) < (config.unbiased.unbiased_folds or 2):
        raise ValueError(f"unbiased: expected at least {least} rows, got {len(unbiased.x)}")


def _constants(key: Key, kind: str, tilt: Tilt, pools: Pools) -> PyTree:
    """Return what an energy knows before it sees unbiased rows, by collection."""
    return {"clusters": clusters.fit(key, tilt, *pools.to_fit)} if kind == "clusters" else {}


def _folds(seed: int, num_rows: int, num_folds: int) -> Array:
    """Return the fold of each row, at random by the seed, all of about one size; or -1. [n]."""
    if not num_folds:
        return jnp.full(num_rows, -1)
    folds = np.arange(num_rows) % num_folds
    return jnp.asarray(np.random.default_rng(seed).permutation(folds))


class _Choice(NamedTuple):
    """A candidate: its kind, and the indices of its weight decay and of its scale."""

    kind: str
    decay: int
    scale: int


def _choose(fits: dict[str, Fits]) -> _Choice | None:
    """Return what gains most on rows it was not fitted to, if that is above its standard error."""
    best, highest = None, 0.0
    for kind, fit in fits.items():
        gains = np.asarray(fit.gains)
        mean = gains.mean(axis=-1)
        standard_error = gains.std(axis=-1, ddof=1) / np.sqrt(gains.shape[-1])
        is_believed = (np.asarray(fit.ess) >= MIN_EFFECTIVE_DRAWS) & (mean > standard_error)
        mean = np.where(is_believed, mean, -np.inf)
        decay, scale = np.unravel_index(np.argmax(mean), mean.shape)
        if mean[decay, scale] > highest:
            best, highest = _Choice(kind, int(decay), int(scale)), mean[decay, scale]
    return best


def _as_it_fits(fits: dict[str, Fits]) -> _Choice:
    """Return the one energy that was fitted, with the least weight decay and the largest scale."""
    (kind,) = fits
    return _Choice(kind, int(np.argmin(WEIGHT_DECAYS)), int(np.argmax(CANDIDATES)))


def mean_errors(
    columns: Sequence[str], rows: np.ndarray, draws: np.ndarray, log_w: Array
) -> dict[str, float]:
    r"""Return the weighted mean of draws less that of rows, in standard errors, by column.

    (\sum_i w_i x_i - \bar x) / \sqrt{s^2 / n + \sum_i w_i^2 (x_i - \sum_j w_j x_j)^2}, with
    normalised weights w, and n rows that have a value; a column whose values are all alike, or
    with one value, is left out.

    Args:
        columns: the D names.
        rows: a sample, in original units; NaN in its gaps. [n, D]
        draws: of a base, in original units. [P, D]
        log_w: their log-weights. [P]
    """
    differ = np.fmin.reduce(rows) < np.fmax.reduce(rows)
    shown = rows[:, differ]
    variance = np.nanvar(shown, axis=0, ddof=1) / np.isfinite(shown).sum(axis=0)
    values, weights = draws[:, differ], np.exp(normalise(log_w))
    expected = weights @ values
    noise = weights**2 @ (values - expected) ** 2
    errors = (expected - np.nanmean(shown, axis=0)) / np.sqrt(variance + noise)
    names = (name for name, differs in zip(columns, differ, strict=True) if differs)
    return dict(zip(names, errors.tolist(), strict=True))


def _report(
    unbiased: Table,
    drawn: np.ndarray,
    pools: Pools,
    num_folds: int,
    log_w: Array,
    chosen: _Choice | None = None,
    gains: np.ndarray | None = None,
) -> UnbiasedReport:
    """Return what was found, of the energy that was chosen, if one was."""
    gains = np.zeros(2) if gains is None else gains
    return UnbiasedReport(
        energy=chosen.kind if chosen else "none",
        weight_decay=WEIGHT_DECAYS[chosen.decay] if chosen else 0.0,
        tilt_scale=float(CANDIDATES[chosen.scale]) if chosen else 0.0,
        num_rows=len(pools.row_bounds),
        num_folds=num_folds,
        bound_before=float(pools.row_bounds.mean()),
        gain=float(gains.mean()),
        gain_standard_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
        log_z=float(log_mean_exp(log_w)),
        log_z_standard_error=float(log_mean_exp_standard_error(log_w)),
        ess_fraction=float(effective_sample_size(log_w)) / len(log_w),
        pareto_k=diagnostics.pareto_k(log_w) if np.ptp(log_w) > 0 else None,
        log_weights=np.asarray(log_w),
        row_bounds=np.asarray(pools.row_bounds),
        mean_errors=mean_errors(unbiased.columns, unbiased.x, drawn, log_w),
    )
