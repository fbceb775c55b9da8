r"""The second energy: draws to fit it on, its fits without each fold, and what it gains.

With p_1 the frozen model so far, without its mechanism, E raises the bound of an unbiased row by

    gain(\lambda) = log E_{p_1(x, z|x_obs)} exp(-\lambda E) - log E_{p_1(x, z)} exp(-\lambda E)

where both expectations are means over draws that are made once. It is fitted by

    max_\theta sum_n w_n gain_n(1) - \alpha/2 |\theta|^2

with w_n = 0 in the fold that is left out: for each fold, for none, and for each \alpha, side by
side.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mnar_ebm import models
from mnar_ebm.models import Model, Params, Tilt
from mnar_ebm.objectives import bounds
from mnar_ebm.samplers.importance import effective_sample_size, log_mean_exp, sir
from mnar_ebm.tilted.tilt_scale import CANDIDATES, NUM_NEGATIVES
from mnar_ebm.training.descent import descend
from mnar_ebm.types import Array, Batch, Key, PyTree

WEIGHT_DECAYS = (0.1, 1.0, 10.0)
r"""Precisions \alpha of the prior on the weights of an energy."""


class Tuning(NamedTuple):
    """How energies are fitted and judged.

    Attributes:
        learning_rate: peak learning rate.
        num_samples: importance samples of the posterior of an unbiased row, of which draws are
            chosen.
        num_row_draws: most draws of the posterior of a row that are kept.
        step_row_draws: most of these that a step looks at.
        max_pool_size: most numbers in a pool of draws: a wide table has fewer draws.
        chunk_draws: base draws that are looked at at once.
    """

    learning_rate: float = 1e-2
    num_samples: int = 2000
    num_row_draws: int = 100
    step_row_draws: int = 5
    max_pool_size: int = 2**25
    chunk_draws: int = 1024


TUNING = Tuning()


class BaseDraws(NamedTuple):
    """Draws of the base.

    Attributes:
        x: rows. [P, D]
        z: their latents. [P, L]
        log_w: minus the first energy at them. [P]
    """

    x: Array
    z: Array
    log_w: Array


class Pools(NamedTuple):
    """Draws of the model so far, where energies are fitted and judged.

    An energy may learn by heart which base draws it is fitted to: others judge it.

    Attributes:
        row_x: rows completed by draws of their posterior, fewer of many or wide rows. [n, M, D]
        row_z: their latents. [n, M, L]
        row_bounds: bound of each row. [n]
        to_fit: base draws that energies are fitted to.
        to_judge: base draws that they are judged by.
    """

    row_x: Array
    row_z: Array
    row_bounds: Array
    to_fit: BaseDraws
    to_judge: BaseDraws


class Fits(NamedTuple):
    """An energy fitted without each fold and to all rows, for every weight decay.

    Attributes:
        params: leaves [F + 1, A, ...], the last of all rows.
        gains: of each row by the fit without its fold, for every scale. [A, S, n]
        ess: effective number of the base draws that judge, the least of all fits. [A, S]
    """

    params: PyTree
    gains: Array
    ess: Array


def pool_size(num_columns: int) -> int:
    """Return how many base draws to make: fewer of wide rows, whole chunks of them."""
    num_chunks = TUNING.max_pool_size // num_columns // TUNING.chunk_draws
    return min(NUM_NEGATIVES, max(num_chunks, 1) * TUNING.chunk_draws)


@functools.partial(jax.jit, static_argnums=(1, 4))
def make_pools(key: Key, model: Model, params: Params, batch: Batch, num_base_draws: int) -> Pools:
    """Return draws of the posterior of each row, of the base, and their weights."""
    key_rows, key_fit, key_judge = jax.random.split(key, 3)
    num_row_draws = max(
        TUNING.step_row_draws, min(TUNING.num_row_draws, TUNING.max_pool_size // batch.x.size)
    )

    def draw(row: tuple[Key, Array, Array]) -> tuple[Array, Array, Array]:
        key_draws, key_sir, key_order = jax.random.split(row[0], 3)
        is_selected = jnp.asarray(False)
        drawn = bounds.log_weights(
            key_draws, model, params, *row[1:], TUNING.num_samples, is_selected
        )
        chosen = sir(key_sir, drawn.log_w, num_row_draws, method="systematic")
        chosen = jax.random.permutation(key_order, chosen)
        bound = bounds.importance_bound(drawn.log_w, params.log_z)
        return drawn.x[chosen], drawn.z[chosen], bound

    keys = jax.random.split(key_rows, batch.x.shape[0])
    row_x, row_z, row_bounds = jax.lax.map(draw, (keys, batch.x, batch.mask), batch_size=16)

    def draw_base(key: Key) -> BaseDraws:
        x, z = models.sample_base(key, model.vae, params.base, num_base_draws)
        return BaseDraws(x, z, -models.energy(model, params, x, z))

    return Pools(row_x, row_z, row_bounds, draw_base(key_fit), draw_base(key_judge))


@functools.partial(jax.jit, static_argnums=(1, 5, 6, 7))
def fit(
    key: Key,
    tilt: Tilt,
    constants: PyTree,
    pools: Pools,
    fold_of_row: Array,
    num_folds: int,
    num_steps: int,
    num_negatives: int,
) -> Fits:
    """Return the energy fitted without each fold, and to all rows, and what it gains.

    ``constants`` are the parameters of the energy that are not learned, by collection.
    """
    decays = jnp.asarray(WEIGHT_DECAYS)
    left_out = jnp.arange(num_folds + 1)  # the last is no row's fold

    def fit_without(fold: Array, decay: Array) -> PyTree:
        weights = (fold_of_row != fold).astype(pools.row_bounds.dtype)
        learned = _fit_one(key, tilt, constants, pools, weights, decay, num_steps, num_negatives)
        return {"params": learned, **constants}

    params = jax.vmap(jax.vmap(fit_without, (None, 0)), (0, None))(left_out, decays)

    def judge(params: PyTree) -> tuple[Array, Array]:
        return _gains(tilt, params, pools)

    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), params)
    gains, ess = jax.tree.map(
        lambda leaf: leaf.reshape(num_folds + 1, len(decays), *leaf.shape[1:]),
        jax.lax.map(judge, flat),
    )
    own = gains[fold_of_row, :, :, jnp.arange(fold_of_row.shape[0])]  # [n, A, S]
    return Fits(params, jnp.moveaxis(own, 0, -1), ess.min(axis=0))


def _fit_one(
    key: Key,
    tilt: Tilt,
    constants: PyTree,
    pools: Pools,
    weights: Array,
    decay: Array,
    num_steps: int,
    num_negatives: int,
) -> PyTree:
    r"""Return the energy that maximises sum_n w_n gain_n - \alpha/2 |\theta|^2, by Adam.

    Each step estimates both means by a random window of draws, of every row and of the base.
    """
    key_init, key_steps = jax.random.split(key)
    keys = jax.random.split(key_steps, num_steps)

    def loss(index: Array, learned: PyTree, nothing: tuple[()]) -> tuple[Array, tuple[()]]:
        params = {"params": learned, **constants}
        key_rows, key_base = jax.random.split(keys[index])
        rows = _window(key_rows, (pools.row_x, pools.row_z), TUNING.step_row_draws, axis=1)
        base = BaseDraws(*_window(key_base, pools.to_fit, num_negatives, axis=0))
        posterior = log_mean_exp(-tilt.energy(params, *rows))
        log_z = log_mean_exp(base.log_w - tilt.energy(params, base.x, base.z))
        size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(learned))
        total = weights.sum()
        return log_z - (weights @ posterior - 0.5 * decay * size) / total, nothing

    rate = optax.cosine_decay_schedule(TUNING.learning_rate, num_steps)
    return descend(loss, tilt.init(key_init)["params"], (), num_steps, rate)


def _window(key: Key, arrays: tuple[Array, ...], size: int, axis: int) -> tuple[Array, ...]:
    """Return some draws that lie side by side, the same of each array."""
    num_draws = arrays[0].shape[axis]
    size = min(size, num_draws)
    start = jax.random.randint(key, (), 0, num_draws - size + 1)
    return tuple(jax.lax.dynamic_slice_in_dim(a, start, size, axis) for a in arrays)


def _gains(tilt: Tilt, params: PyTree, pools: Pools) -> tuple[Array, Array]:
    r"""Return each row's gain and the effective number of base draws, by \lambda. [S, n], [S]."""
    scales = jnp.asarray(CANDIDATES)
    base = _energies(tilt, params, pools.to_judge)
    rows = jax.lax.map(lambda row: tilt.energy(params, *row), (pools.row_x, pools.row_z))
    log_w = pools.to_judge.log_w - scales[:, None] * base
    log_z = log_mean_exp(log_w) - log_mean_exp(pools.to_judge.log_w)
    gains = log_mean_exp(-scales[:, None, None] * rows) - log_z[:, None]
    return gains, jax.vmap(effective_sample_size)(log_w)


def _energies(tilt: Tilt, params: PyTree, base: BaseDraws) -> Array:
    """Return E at base draws, a chunk at a time. [P]."""
    shown = jax.tree.map(
        lambda leaf: leaf.reshape(-1, TUNING.chunk_draws, *leaf.shape[1:]), (base.x, base.z)
    )
    return jax.lax.map(lambda chunk: tilt.energy(params, *chunk), shown).ravel()


@functools.partial(jax.jit, static_argnums=0)
def log_weights(tilt: Tilt, params: PyTree, scale: Array, pools: Pools) -> Array:
    """Return minus the whole energy at the base draws that judge. [P]."""
    return pools.to_judge.log_w - scale * _energies(tilt, params, pools.to_judge)
