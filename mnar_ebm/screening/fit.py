r"""Fit a factor model by its likelihood, all rows at once, and score it.

The posterior of the latents of a row is nearly Gaussian, and is exactly so where nothing hidden is
read and all columns are. K draws v_k of the Gaussian at its mode (``samplers.laplace``) give

    log p(x_obs, s) ~ log (1/K) \sum_k p(x_obs, s, v_k) / q(v_k)

whose gradient holds the draws fixed; they come in pairs, one as far on either side of the mode, by
which the errors of what is odd about it cancel. The draws are new in every step: with two that stay
the same, a fit with more latents ended 200 nats below another. Adam follows it, less a weak normal
prior of gap terms, bends and what is read of other columns; a mode starts from that of the step
before.

References:
    J. Geweke, "Bayesian Inference in Econometric Models Using Monte Carlo Integration",
    Econometrica 57, 1989 (weights p/q of draws from an approximation at the mode).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mnar_ebm.models.posterior import laplace_by_columns
from mnar_ebm.samplers.importance import effective_sample_size, log_mean_exp
from mnar_ebm.samplers.laplace import Laplace, laplace
from mnar_ebm.screening import factors as model
from mnar_ebm.screening.factors import Factors, Params, Reads
from mnar_ebm.training.descent import descend
from mnar_ebm.types import Array, Key, PyTree


class Tuning(NamedTuple):
    """How candidates are fitted and scored.

    Attributes:
        widen: factor on the standard deviations of the Gaussian that is drawn from.
        num_draws: draws of each row in a step, K, in pairs of noise and its negative.
        num_scoring_draws: draws of each row that is scored.
        scoring_rows: rows that are scored at a time.
        num_warm_steps: steps in which the learning rate rises.
    """

    widen: float = 1.05
    num_draws: int = 4
    num_scoring_draws: int = 64
    scoring_rows: int = 128
    num_warm_steps: int = 30


TUNING = Tuning()


PRIOR_SD = {"shape": 0.5, "coefficients": 1.0, "others": 1.0, "kernel": 3.0}
"""Standard deviations of the normal priors: of bends, of gap terms, of what is read of others, and
of the loadings."""


class Rows(NamedTuple):
    """Rows in standard units.

    Attributes:
        x: values, 0 in gaps but for what was not asked. [N, D]
        mask: ``True`` where observed. [N, D]
    """

    x: Array
    mask: Array


class Score(NamedTuple):
    """What a fitted candidate says of every row.

    Attributes:
        log_p: log p(x_obs, s), in nats, of values in standard units. [N]
        ess: effective number of the draws behind it. [N]
    """

    log_p: Array
    ess: Array


def _posterior(
    factors: Factors, params: Params, row: model.Row, start: Array, num_steps: int
) -> Laplace:
    if factors.reads_others or factors.model.vae.likelihood.blocks:
        return laplace(lambda v: model.log_joint(factors, params, row, v), start, num_steps)
    return laplace_by_columns(
        lambda eta: model.log_columns(factors, params, row, eta),
        lambda v: model.decode(factors, params, v),
        start,
        num_steps,
    )


def _log_weights(
    factors: Factors, params: Params, row: model.Row, posterior: Laplace, noise: Array
) -> tuple[Array, Array]:
    """Return v_k [K, V] and log p(x_obs, s, v_k) - log q(v_k) [K], by pairs of noise. [K/2, V]."""
    latents, log_q = posterior.draw(jnp.concatenate([noise, -noise]), TUNING.widen)
    log_p = jax.vmap(lambda v: model.log_joint(factors, params, row, v))(latents)
    return latents, log_p - log_q


def _log_prior(params: Params) -> Array:
    """Return the log-density of the weak priors, up to a constant. []."""
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params.decoder)
        if model.is_loading(path)
    ]
    parts = {
        "shape": [params.shape],
        "coefficients": [params.gaps["coefficients"]],
        "others": [params.others],
        "kernel": kernels,
    }
    return sum(
        -0.5 * (leaf**2).sum() / PRIOR_SD[name] ** 2
        for name, some in parts.items()
        for leaf in some
    )


@functools.partial(jax.jit, static_argnums=0)
def fit(
    factors: Factors,
    key: Key,
    rows: Rows,
    params: Params,
    reads: Reads,
    num_steps: Array,
    learning_rate: Array,
) -> Params:
    """Return the parameters after so many steps of Adam, whose rate falls as a cosine.

    Args:
        factors: the model.
        key: random key.
        rows: to fit to. [N, D]
        params: to start from.
        reads: what the candidate reads.
        num_steps: steps.
        learning_rate: of the first steps, after ``TUNING.num_warm_steps``.
    """
    blocks = factors.model.vae.likelihood.blocks
    num_rows, size = len(rows.x), factors.num_latents
    num_pairs = TUNING.num_draws // 2

    def find(params: Params, x: Array, mask: Array, start: Array) -> Laplace:
        return _posterior(factors, params, model.read_row(params, x, mask), start, 1)

    def loss(index: Array, free: Params, modes: Array) -> tuple[Array, Array]:
        params = model.hold(free, reads, blocks)
        fixed = jax.lax.stop_gradient(params)
        posteriors = jax.vmap(find, in_axes=(None, 0, 0, 0))(fixed, rows.x, rows.mask, modes)
        noise = jax.random.normal(jax.random.fold_in(key, index), (num_rows, num_pairs, size))

        def bound(x: Array, mask: Array, posterior: Laplace, noise: Array) -> Array:
            row = model.read_row(params, x, mask)
            return log_mean_exp(_log_weights(factors, params, row, posterior, noise)[1])

        bounds = jax.vmap(bound)(rows.x, rows.mask, posteriors, noise)
        return -(bounds.sum() + _log_prior(free)) / num_rows, posteriors.mode

    def rate(index: Array) -> Array:
        falling = learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * index / num_steps))
        return falling * jnp.minimum(1.0, (index + 1) / TUNING.num_warm_steps)

    adam = functools.partial(optax.scale_by_adam, b2=0.99)
    return descend(loss, params, jnp.zeros((num_rows, size)), num_steps, rate, adam)


def _by_row(key: Key, rows: Rows, function: Callable[[Key, Array, Array], PyTree]) -> PyTree:
    """Return ``function(key, x, mask)`` of every row, some rows at a time.

    Rows have noise of their own, or the errors of their estimates would not cancel in a sum.
    """
    num_rows = len(rows.x)
    num_blocks = -(-num_rows // TUNING.scoring_rows)
    index = jnp.minimum(jnp.arange(num_blocks * TUNING.scoring_rows), num_rows - 1)
    keys = jax.random.split(key, num_rows)

    def of_block(block: Array) -> PyTree:
        return jax.vmap(function)(keys[block], rows.x[block], rows.mask[block])

    found = jax.lax.map(of_block, index.reshape(num_blocks, TUNING.scoring_rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_rows], found)


def _weighted(factors: Factors, key: Key, params: Params, row: model.Row) -> tuple[Array, Array]:
    """Return draws of v [K, V] and their log-weights [K], at a mode found from 0."""
    posterior = _posterior(factors, params, row, jnp.zeros(factors.num_latents), 10)
    noise = jax.random.normal(key, (TUNING.num_scoring_draws // 2, factors.num_latents))
    return _log_weights(factors, params, row, posterior, noise)


@functools.partial(jax.jit, static_argnums=0)
def score(factors: Factors, key: Key, rows: Rows, params: Params, reads: Reads) -> Score:
    """Return what a candidate says of every row; with the same key, by the same noise.

    Args:
        factors: the model.
        key: random key.
        rows: to score. [N, D]
        params: as fitted.
        reads: what the candidate reads.
    """
    params = model.hold(params, reads, factors.model.vae.likelihood.blocks)

    def of_row(key: Key, x: Array, mask: Array) -> Score:
        row = model.read_row(params, x, mask)
        log_w = _weighted(factors, key, params, row)[1]
        return Score(log_mean_exp(log_w), effective_sample_size(log_w))

    return _by_row(key, rows, of_row)


@functools.partial(jax.jit, static_argnums=0)
def fill(factors: Factors, key: Key, rows: Rows, params: Params, reads: Reads) -> Array:
    """Return rows with their gaps at the posterior mean, in standard units. [N, D].

    The arguments are those of ``score``.
    """
    params = model.hold(params, reads, factors.model.vae.likelihood.blocks)

    def of_row(key: Key, x: Array, mask: Array) -> Array:
        key_latent, key_hidden = jax.random.split(key)
        row = model.read_row(params, x, mask)
        latents, log_w = _weighted(factors, key_latent, params, row)
        hidden = jax.vmap(lambda key, v: model.draw_hidden(key, factors, params, row, v))
        mean = jax.nn.softmax(log_w) @ hidden(jax.random.split(key_hidden, len(log_w)), latents)
        return jnp.where(mask, x, mean)

    return _by_row(key, rows, of_row)
