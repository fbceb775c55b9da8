r"""The second tilt, from the model of the selected rows to a small unbiased sample.

With p_1 the model so far, without its mechanism, the second energy E raises the bound of an
unbiased row, which may have gaps of its own, by

    gain(\lambda) = log E_{p_1(x, z|x_obs)} exp(-\lambda E) - log E_{p_1(x, z)} exp(-\lambda E)

Both expectations are means over draws that are made once, for p_1 is frozen. The rows are few: how
much they carry, that is the kind of energy, the precision \alpha of a Gaussian prior on its weights
and the scale \lambda, is what gains most on folds of the rows that the energy was not fitted to.
\lambda = 0, the model as it was, is a candidate, and is kept unless the gain is above its standard
error.

References:
    Z. Xiao, K. Kreis, J. Kautz, A. Vahdat, "VAEBM: A Symbiosis between Variational Autoencoders
    and Energy-based Models", ICLR 2021, https://arxiv.org/abs/2010.00654, eq. 4 (a frozen base).
    M. Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B 36, 1974.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnar_ebm import blocks as kinds
from mnar_ebm import diagnostics, models
from mnar_ebm.config import ENERGIES, Config
from mnar_ebm.data.table import Table
from mnar_ebm.models import Model, Params, Tilt
from mnar_ebm.objectives import bounds
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
    sir,
)
from mnar_ebm.training.fitted import FittedModel, TableFacts, restore
from mnar_ebm.training.tilt_scale import CANDIDATES, NUM_NEGATIVES
from mnar_ebm.types import Array, Batch, Key, PyTree

KINDS = {"none": (), "additive": ("additive",), "network": ("network",), "best": ENERGIES}
"""The kinds of energy to try, by ``Config.unbiased_energy``."""

WEIGHT_DECAYS = (0.1, 1.0, 10.0)
r"""Precisions \alpha of the prior on the weights of an energy."""

LEARNING_RATE = 1e-2
NUM_SAMPLES = 2000
"""Importance samples of the posterior of an unbiased row, of which draws are chosen."""

NUM_ROW_DRAWS = 100
STEP_ROW_DRAWS = 5
"""Draws of the posterior of a row that are kept, and that a step of training looks at."""

MIN_EFFECTIVE_DRAWS = 300
"""Least effective number of base draws of a scale that may be chosen. With them log Z has a
standard error of about 0.06 nats, though samples need chains and not weights."""

MAX_POOL_SIZE = 2**25
CHUNK_DRAWS = 1024
"""Most numbers in the pool of base draws, of which wide tables have fewer; and how many draws are
looked at at once."""


class UnbiasedReport(NamedTuple):
    r"""What the fit to the unbiased rows found.

    Attributes:
        energy: the kind of the second energy, ``none`` if it gained too little.
        weight_decay: \alpha.
        tilt_scale: \lambda, 0 if the model was left as it was.
        num_rows: n, unbiased rows.
        bound_before: mean bound of the rows before, in nats a row.
        gain: by how much the tilt raises it on folds that it was not fitted to.
        gain_standard_error: of it.
        log_z: log Z of the whole tilt against the base, in nats.
        log_z_standard_error: its Monte Carlo standard error.
        ess_fraction: effective share of base draws under the weights of the whole tilt.
        pareto_k: Pareto shape of these weights; ``None`` without a tilt.
        log_weights: minus the whole energy at base draws, for diagnostics. [P]
        row_bounds: bound of each row before. [n]
    """

    energy: str
    weight_decay: float
    tilt_scale: float
    num_rows: int
    bound_before: float
    gain: float
    gain_standard_error: float
    log_z: float
    log_z_standard_error: float
    ess_fraction: float
    pareto_k: float | None
    log_weights: np.ndarray
    row_bounds: np.ndarray

    def __str__(self) -> str:
        """Return what was found, in words."""
        rows = f"{self.num_rows} unbiased rows, bound {self.bound_before:.2f} nats a row: "
        if self.energy == "none":
            return rows + (
                "no energy raised it on folds left out by more than its standard error, so the "
                "model was kept as it was"
            )
        kind = {"additive": "an additive energy", "network": "a network"}[self.energy]
        words = (
            f"{rows}{kind}, weight decay {self.weight_decay:g}, scale {self.tilt_scale:.2f}, "
            f"raises it by {self.gain:.2f} ± {self.gain_standard_error:.2f} on folds left out; "
            f"log Z {self.log_z:.3f} ± {self.log_z_standard_error:.3f}, effective share of base "
            f"draws {self.ess_fraction:.3f}, Pareto k {self.pareto_k or 0:.2f}"
        )
        return words + "; so sample by chains, not by weights" * self.is_degenerate

    @property
    def is_degenerate(self) -> bool:
        """Whether too few base draws carry the weight for averages or samples by weights."""
        few = self.ess_fraction < diagnostics.UNRELIABLE_ESS
        return few or (self.pareto_k or 0.0) > diagnostics.UNRELIABLE_K


class Pools(NamedTuple):
    """Draws of the model so far, where energies are fitted and judged.

    Attributes:
        row_x: rows completed by draws of their posterior. [n, M, D]
        row_z: their latents. [n, M, L]
        row_bounds: bound of each row. [n]
        base_x: draws of the base. [P, D]
        base_z: their latents. [P, L]
        log_w: minus the first energy at them. [P]
    """

    row_x: Array
    row_z: Array
    row_bounds: Array
    base_x: Array
    base_z: Array
    log_w: Array


class _Fits(NamedTuple):
    """An energy fitted without each fold and to all rows, for every weight decay.

    Attributes:
        params: leaves [F + 1, A, ...], the last of all rows.
        gains: of each row by the fit without its fold, for every scale. [A, S, n]
        ess: effective number of base draws of the fit to all. [A, S]
    """

    params: PyTree
    gains: Array
    ess: Array


def debias(fitted: FittedModel, unbiased: Table) -> tuple[FittedModel, UnbiasedReport]:
    """Return the model tilted to an unbiased sample, and what was found.

    What the model may have learned from an earlier sample is replaced.

    Args:
        fitted: a trained model with a tilt, which may be 0.
        unbiased: rows with the columns of its table, in original units; their gaps at random.

    Raises:
        ValueError: the model has no tilt, or the rows are too few or of another table.
    """
    fitted = fitted.without_second()
    config = fitted.config
    if config.tilt == "none":
        raise ValueError("tilt: expected data, latent or joint, got none, which reads nothing")
    check_unbiased(config, fitted.facts, unbiased)
    key_pools, key_fit = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 2**30))
    x, mask = fitted.standardise(unbiased.x)
    batch = Batch(jnp.asarray(x), jnp.asarray(mask))
    pools = _make_pools(key_pools, fitted.model, fitted.params, batch, _pool_size(x.shape[1]))
    fold_of_row = _folds(config.seed, len(x), config.unbiased_folds)
    sizes = (config.unbiased_folds, config.unbiased_steps, config.num_negatives)
    tilts = {
        kind: models.make_second_tilt(config, x.shape[1], kind)
        for kind in KINDS[config.unbiased_energy]
    }
    fits = {kind: _fit(key_fit, tilt, pools, fold_of_row, *sizes) for kind, tilt in tilts.items()}
    chosen = _choose(fits)
    if chosen is None:
        return fitted, _report(pools, pools.log_w)
    fit, scale = fits[chosen.kind], CANDIDATES[chosen.scale]
    second = jax.tree.map(lambda leaf: leaf[-1, chosen.decay], fit.params)
    log_w = _log_weights(tilts[chosen.kind], second, scale, pools)
    report = _report(pools, log_w, chosen, np.asarray(fit.gains[chosen.decay, chosen.scale]))
    terms = {
        "first": fitted.params.energy,
        "second": second,
        "scales": jnp.stack([fitted.params.tilt_scale, scale]),
    }
    params = fitted.params._replace(
        energy=terms, tilt_scale=jnp.ones(()), log_z=jnp.asarray(report.log_z, jnp.float32)
    )
    return restore(config, fitted.facts._replace(second_energy=chosen.kind), params), report


def _pool_size(num_columns: int) -> int:
    """Return how many base draws to make: fewer of wide rows, whole chunks of them."""
    num_chunks = MAX_POOL_SIZE // num_columns // CHUNK_DRAWS
    return min(NUM_NEGATIVES, max(num_chunks, 1) * CHUNK_DRAWS)


def check_unbiased(config: Config, facts: TableFacts, unbiased: Table) -> None:
    """Raise ``ValueError`` unless a model of ``config`` can be trained with these rows."""
    if unbiased.columns != facts.columns:
        raise ValueError(
            f"unbiased: expected the columns {', '.join(facts.columns)}, "
            f"got {', '.join(unbiased.columns)}"
        )
    kinds.check_encoded("unbiased", unbiased.x, unbiased.columns, facts.blocks)
    if len(unbiased.x) < config.unbiased_folds:
        raise ValueError(
            f"unbiased: expected at least unbiased_folds={config.unbiased_folds} rows, "
            f"got {len(unbiased.x)}"
        )


def _folds(seed: int, num_rows: int, num_folds: int) -> Array:
    """Return the fold of each row, at random by the seed, all of about one size. [n]."""
    folds = np.arange(num_rows) % num_folds
    return jnp.asarray(np.random.default_rng(seed).permutation(folds))


@functools.partial(jax.jit, static_argnums=(1, 4))
def _make_pools(key: Key, model: Model, params: Params, batch: Batch, num_base_draws: int) -> Pools:
    """Return draws of the posterior of each row, of the base, and their weights."""
    key_rows, key_base = jax.random.split(key)

    def draw(row: tuple[Key, Array, Array]) -> tuple[Array, Array, Array]:
        key_draws, key_sir, key_order = jax.random.split(row[0], 3)
        is_selected = jnp.asarray(False)
        drawn = bounds.log_weights(key_draws, model, params, *row[1:], NUM_SAMPLES, is_selected)
        chosen = sir(key_sir, drawn.log_w, NUM_ROW_DRAWS, method="systematic")
        chosen = jax.random.permutation(key_order, chosen)
        bound = bounds.importance_bound(drawn.log_w, params.log_z)
        return drawn.x[chosen], drawn.z[chosen], bound

    keys = jax.random.split(key_rows, batch.x.shape[0])
    row_x, row_z, row_bounds = jax.lax.map(draw, (keys, batch.x, batch.mask), batch_size=16)
    base_x, base_z = models.sample_base(key_base, model.vae, params.base, num_base_draws)
    log_w = -models.energy(model, params, base_x, base_z)
    return Pools(row_x, row_z, row_bounds, base_x, base_z, log_w)


@functools.partial(jax.jit, static_argnums=(1, 4, 5, 6))
def _fit(
    key: Key,
    tilt: Tilt,
    pools: Pools,
    fold_of_row: Array,
    num_folds: int,
    num_steps: int,
    num_negatives: int,
) -> _Fits:
    """Return the energy fitted without each fold, and to all rows, and what it gains."""
    decays = jnp.asarray(WEIGHT_DECAYS)
    left_out = jnp.arange(num_folds + 1)  # the last is no row's fold

    def fit(fold: Array, decay: Array) -> PyTree:
        weights = (fold_of_row != fold).astype(pools.log_w.dtype)
        return _fit_one(key, tilt, pools, weights, decay, num_steps, num_negatives)

    params = jax.vmap(jax.vmap(fit, (None, 0)), (0, None))(left_out, decays)

    def judge(params: PyTree) -> tuple[Array, Array]:
        return _gains(tilt, params, pools)

    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), params)
    gains, ess = jax.tree.map(
        lambda leaf: leaf.reshape(num_folds + 1, len(decays), *leaf.shape[1:]),
        jax.lax.map(judge, flat),
    )
    own = gains[fold_of_row, :, :, jnp.arange(fold_of_row.shape[0])]  # [n, A, S]
    return _Fits(params, jnp.moveaxis(own, 0, -1), ess[-1])


def _fit_one(
    key: Key,
    tilt: Tilt,
    pools: Pools,
    weights: Array,
    decay: Array,
    num_steps: int,
    num_negatives: int,
) -> PyTree:
    r"""Return the energy that maximises sum_n w_n gain_n - \alpha/2 |\theta|^2, by Adam.

    Each step looks at some of the draws of every row and at some of the base, in turn.
    """
    key_init, key_steps = jax.random.split(key)
    optimiser = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, num_steps))
    params = tilt.init(key_init)

    def loss(params: PyTree, key: Key) -> Array:
        key_rows, key_base = jax.random.split(key)
        rows = _window(key_rows, (pools.row_x, pools.row_z), STEP_ROW_DRAWS, axis=1)
        base = _window(key_base, (pools.base_x, pools.base_z, pools.log_w), num_negatives, axis=0)
        posterior = log_mean_exp(-tilt.energy(params, *rows))
        log_z = log_mean_exp(base[2] - tilt.energy(params, *base[:2]))
        size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        total = weights.sum()
        return log_z - (weights @ posterior - 0.5 * decay * size) / total

    def step(carry: tuple[PyTree, PyTree], key: Key) -> tuple[tuple[PyTree, PyTree], None]:
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss)(params, key), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key_steps, num_steps)
    return jax.lax.scan(step, (params, optimiser.init(params)), keys)[0][0]


def _window(key: Key, arrays: tuple[Array, ...], size: int, axis: int) -> tuple[Array, ...]:
    """Return some draws that lie side by side, the same of each array."""
    num_draws = arrays[0].shape[axis]
    size = min(size, num_draws)
    start = jax.random.randint(key, (), 0, num_draws - size + 1)
    return tuple(jax.lax.dynamic_slice_in_dim(a, start, size, axis) for a in arrays)


def _gains(tilt: Tilt, params: PyTree, pools: Pools) -> tuple[Array, Array]:
    r"""Return each row's gain and the effective number of base draws, by \lambda. [S, n], [S]."""
    scales = jnp.asarray(CANDIDATES)
    chunks = jax.tree.map(_in_chunks, (pools.base_x, pools.base_z))
    base = jax.lax.map(lambda chunk: tilt.energy(params, *chunk), chunks).ravel()
    rows = jax.lax.map(lambda row: tilt.energy(params, *row), (pools.row_x, pools.row_z))
    log_w = pools.log_w - scales[:, None] * base
    log_z = log_mean_exp(log_w) - log_mean_exp(pools.log_w)
    gains = log_mean_exp(-scales[:, None, None] * rows) - log_z[:, None]
    return gains, jax.vmap(effective_sample_size)(log_w)


def _in_chunks(leaf: Array) -> Array:
    """Return draws in chunks of one size. [P, ...] -> [P / size, size, ...]."""
    return leaf.reshape(-1, CHUNK_DRAWS, *leaf.shape[1:])


class _Choice(NamedTuple):
    """A candidate: its kind, and the indices of its weight decay and of its scale."""

    kind: str
    decay: int
    scale: int


def _choose(fits: dict[str, _Fits]) -> _Choice | None:
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


@functools.partial(jax.jit, static_argnums=0)
def _log_weights(tilt: Tilt, params: PyTree, scale: Array, pools: Pools) -> Array:
    """Return minus the whole energy at the base draws. [P]."""
    chunks = jax.tree.map(_in_chunks, (pools.base_x, pools.base_z))
    energy = jax.lax.map(lambda chunk: tilt.energy(params, *chunk), chunks).ravel()
    return pools.log_w - scale * energy


def _report(
    pools: Pools, log_w: Array, chosen: _Choice | None = None, gains: np.ndarray | None = None
) -> UnbiasedReport:
    """Return what was found, of the energy that was chosen, if one was."""
    gains = np.zeros(2) if gains is None else gains
    return UnbiasedReport(
        energy=chosen.kind if chosen else "none",
        weight_decay=WEIGHT_DECAYS[chosen.decay] if chosen else 0.0,
        tilt_scale=float(CANDIDATES[chosen.scale]) if chosen else 0.0,
        num_rows=len(pools.row_bounds),
        bound_before=float(pools.row_bounds.mean()),
        gain=float(gains.mean()),
        gain_standard_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
        log_z=float(log_mean_exp(log_w)),
        log_z_standard_error=float(log_mean_exp_standard_error(log_w)),
        ess_fraction=float(effective_sample_size(log_w)) / len(log_w),
        pareto_k=diagnostics.pareto_k(log_w) if np.ptp(log_w) > 0 else None,
        log_weights=np.asarray(log_w),
        row_bounds=np.asarray(pools.row_bounds),
    )
