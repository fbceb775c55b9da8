r"""Imputation: the missing cells of a row, given its observed cells and its mask.

With the normalised weights \tilde w_k of a row's draws (``objectives.bounds``),

    SNIS   E[x_mis|x_obs, s] ~ sum_k \tilde w_k x_k           the imputation of least squared error
    SIR    x_{k_m}, k_m ~ Categorical(\tilde w)               multiple imputations
    MCMC   a chain over (z, x_mis) with the posterior as its law   where the weights degenerate

Where no weight reads a missing value that was drawn, SIR draws it anew given z_{k_m}.

K may be any size: draws are made a chunk at a time and only a running log-sum-exp, the weighted
sum and one reservoir for each imputation are kept. Latents that are proposed at the mode of the
posterior come with nearly equal weights, so that few draws do: if K is only the most there may be,
chunks are short and end once the effective number is enough. A row's randomness comes from
the row's own values, so its answer does not depend on which rows are beside it, nor on their
order. Draws of equal rows are independent, for each has randomness of its own; their means are the
same.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, eq. 11-12.
    D. B. Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988.
    M. T. Chao, "A general purpose unequal probability sampling plan", Biometrika 69, 1982.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm.data.power import Bend
from mnar_ebm.inference import targets
from mnar_ebm.inference.chains import run_chain
from mnar_ebm.inference.rows import Rows, in_blocks, map_rows, row_seeds
from mnar_ebm.missingness import not_asked
from mnar_ebm.models import Model, Params
from mnar_ebm.objectives import bounds
from mnar_ebm.programs import once
from mnar_ebm.types import Array, Key

CHUNK_SAMPLES = 1000

SHORT_CHUNK_SAMPLES, ENOUGH_SAMPLES = 200, 150.0
"""Draws of a chunk where K is only the most, and their effective number that is enough: the error
of a mean is then a twelfth of the posterior's standard deviation, and less by pairs."""

EXACT_SHARE = 0.999
"""Effective share of a chunk from which q is the posterior: a mean over pairs of draws is exact."""


class Imputation(NamedTuple):
    """What importance sampling says of a batch of rows: arrays of JAX, or of NumPy from ``impute``.

    Attributes:
        mean: posterior mean; observed cells as they came, but for a ``bend``. [B, D]
        draws: multiple imputations; observed cells as they came. [B, M, D]
        bound: the importance-weighted bound of each row, less log Z, in nats. [B]
        ess: effective number of draws behind each row, in [1, K]. [B]
    """

    mean: Any
    draws: Any
    bound: Any
    ess: Any


class _Running(NamedTuple):
    """Sums over the draws so far, each relative to exp(``log_total``)."""

    log_total: Array  # log sum_k w_k  []
    log_total_square: Array  # log sum_k w_k²  []
    mean: Array  # sum_k w_k x_k / sum_k w_k  [D]
    draws: Array  # [M, D]
    num_chunks: Array  # []

    @property
    def ess(self) -> Array:
        """Effective number of the draws so far. []."""
        return jnp.exp(2.0 * self.log_total - self.log_total_square)


def impute_row(
    key: Key,
    model: Model,
    params: Params,
    x: Array,
    mask: Array,
    num_samples: int,
    num_imputations: int,
    bend: Bend | None = None,
    is_most: bool = False,
) -> Imputation:
    """Impute one row by importance sampling in chunks; pure, for use under ``vmap`` or ``map``.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        x: a row; what a missing cell holds is not read. [D]
        mask: ``True`` where observed. [D]
        num_samples: K, rounded up to whole chunks.
        num_imputations: M.
        bend: of the columns, if they are bent: the mean is then that of values before they were.
        is_most: whether K is only the most, and fewer are drawn where their effective number is
            enough, if they are proposed at the mode; an encoder's draws are always K.

    Returns:
        The imputation of the row, without the batch axis.
    """
    may_end = is_most and model.vae.encode is None
    chunk_samples = min(num_samples, SHORT_CHUNK_SAMPLES if may_end else CHUNK_SAMPLES)
    num_chunks = -(-num_samples // chunk_samples)
    keys = jax.random.split(key, num_chunks)
    x = not_asked.filled(x, mask)

    def is_due(running: _Running) -> Array:
        is_due = running.num_chunks < num_chunks
        if not may_end:
            return is_due
        exact = EXACT_SHARE * chunk_samples * running.num_chunks
        has_some = running.num_chunks > 0
        return is_due & ~(has_some & (running.ess >= jnp.minimum(ENOUGH_SAMPLES, exact)))

    def add_chunk(running: _Running) -> _Running:
        key_draws, key_sir, key_keep = jax.random.split(keys[running.num_chunks], 3)
        drawn = bounds.log_weights(key_draws, model, params, x, mask, chunk_samples)
        log_sum = jax.nn.logsumexp(drawn.log_w)
        log_total = jnp.logaddexp(running.log_total, log_sum)
        share = jnp.exp(log_sum - log_total)
        chunk_mean = bounds.posterior_mean(drawn, bend)
        draws = running.draws
        if num_imputations:
            # Each reservoir takes a draw from the new chunk with the chunk's share of all weight.
            new = bounds.resample(key_sir, model, params, x, mask, drawn, num_imputations)
            replace = jax.random.uniform(key_keep, (num_imputations, 1)) < share
            draws = jnp.where(replace, new, draws)
        return _Running(
            log_total=log_total,
            log_total_square=jnp.logaddexp(
                running.log_total_square, jax.nn.logsumexp(2.0 * drawn.log_w)
            ),
            mean=running.mean + share * (chunk_mean - running.mean),
            draws=draws,
            num_chunks=running.num_chunks + 1,
        )

    empty = _Running(
        log_total=jnp.asarray(-jnp.inf),
        log_total_square=jnp.asarray(-jnp.inf),
        mean=jnp.zeros_like(x),
        draws=jnp.zeros((num_imputations, *x.shape), x.dtype),
        num_chunks=jnp.asarray(0),
    )
    running = jax.lax.while_loop(is_due, add_chunk, empty)
    return Imputation(
        mean=jnp.where(mask, x if bend is None else bend.invert(x), running.mean),
        draws=running.draws,
        bound=running.log_total - jnp.log(running.num_chunks * chunk_samples) - params.log_z,
        ess=running.ess,
    )


def make_imputer(
    model: Model, num_samples: int, num_imputations: int, is_most: bool = False
) -> Callable[[Key, Params, Bend | None, Rows, int], Imputation]:
    """Return the jitted ``(key, params, bend, rows, num_rows) -> Imputation`` of a fixed model.

    Rows are mapped one after the other, each with the same program, so that neither the number
    of rows nor what they hold changes the answer for one of them by a single bit.
    """

    @jax.jit
    def imputer(
        key: Key, params: Params, bend: Bend | None, rows: Rows, num_rows: int
    ) -> Imputation:
        def one(row: Rows) -> Imputation:
            key_row = jax.random.fold_in(key, row.seed)
            sizes = num_samples, num_imputations
            return impute_row(key_row, model, params, row.x, row.mask, *sizes, bend, is_most)

        return map_rows(one, rows, num_rows)

    return imputer


def impute(
    key: Key,
    model: Model,
    params: Params,
    x: np.ndarray,
    mask: np.ndarray,
    *,
    num_samples: int,
    num_imputations: int = 0,
    bend: Bend | None = None,
    is_most: bool = False,
) -> Imputation:
    """Impute any number of rows, in blocks of one shape, so that nothing is compiled twice.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        x: rows, standardised as the training rows were. [N, D]
        mask: ``True`` where observed. [N, D]
        num_samples: K, importance samples for each row; memory does not grow with it.
        num_imputations: M, multiple imputations for each row, independent for equal rows.
        bend: of the columns, if they are bent: the mean is then that of values before they were.
        is_most: whether K is only the most, and fewer are drawn where their effective number is
            enough.

    Returns:
        The imputation of every row, as NumPy arrays, float32. Draws are in standard units, as ``x``
        is, which observed cells hold; so is the mean, unless there is a bend.

    Raises:
        TypeError: K or M is not a whole number.
        ValueError: one is too small, or the number of columns is not the model's.
    """
    _checks.check_whole("num_samples", num_samples, 1)
    _checks.check_whole("num_imputations", num_imputations, 0)
    _check_columns(model, x)
    imputer = _cached_imputer(model, num_samples, num_imputations, is_most)
    seeds, first = row_seeds(x, mask)
    if not num_imputations:
        seeds = seeds[first]
    imputed = in_blocks(functools.partial(imputer, key, params, bend), x, mask, seeds)
    mean, bound, ess = (part[first] for part in (imputed.mean, imputed.bound, imputed.ess))
    return Imputation(mean, imputed.draws, bound, ess)


def impute_by_chains(
    key: Key,
    model: Model,
    params: Params,
    x: np.ndarray,
    mask: np.ndarray,
    *,
    num_imputations: int,
    num_steps: int = 500,
    thin: int = 50,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the missing block of every row by a Metropolis-adjusted Langevin chain over (z, x_mis).

    Importance sampling degenerates where a row's posterior is far from the encoder's proposal (a
    low ``Imputation.ess``); the chain does not rely on that proposal.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        x: rows, standardised as the training rows were. [N, D]
        mask: ``True`` where observed. [N, D]
        num_imputations: M, draws kept of each row's chain.
        num_steps: steps in which the step size adapts, and as many again before the first draw.
        thin: steps between two draws.

    Returns:
        Completed rows [N, M, D], observed cells as they came, and acceptance rates [N].

    Raises:
        ValueError: a size is below 1, the likelihood is discrete, or a cell was not asked.
    """
    for name, value in (
        ("num_imputations", num_imputations),
        ("num_steps", num_steps),
        ("thin", thin),
    ):
        _checks.check_whole(name, value, 1)
    _check_columns(model, x)
    sampler = _cached_chain_imputer(model, num_imputations, num_steps, thin)
    if np.isposinf(x).any():
        raise ValueError("x: expected gaps that a chain can move, got cells that were not asked")
    seeds, _ = row_seeds(x, mask)
    return in_blocks(functools.partial(sampler, key, params), x, mask, seeds)


def make_chain_imputer(
    model: Model, num_imputations: int, num_steps: int, thin: int
) -> Callable[[Key, Params, Rows, int], tuple[Array, Array]]:
    """Return the jitted ``(key, params, rows, num_rows) -> (draws, acceptance)``."""

    @jax.jit
    def imputer(key: Key, params: Params, rows: Rows, num_rows: int) -> tuple[Array, Array]:
        def one(row: Rows) -> tuple[Array, Array]:
            x, mask, seed = row
            key_start, key_chain = jax.random.split(jax.random.fold_in(key, seed))
            key_weights, key_z, key_noise = jax.random.split(key_start, 3)
            drawn = bounds.log_weights(key_weights, model, params, x, mask, CHUNK_SAMPLES)
            start = targets.init_noise(key_noise, model)
            start["z"] = drawn.z[jax.random.categorical(key_z, drawn.log_w)]
            noise, info, _ = run_chain(
                key_chain,
                targets.posterior_logdensity(model, params, x, mask),
                start,
                num_imputations,
                method="mala",
                warm_up=num_steps,
                thin=thin,
            )
            completed, _ = jax.vmap(lambda point: targets.from_noise(model, params, point))(noise)
            return jnp.where(mask, x, completed), info["acceptance_rate"].mean()

        return map_rows(one, rows, num_rows)

    return imputer


def _check_columns(model: Model, x: np.ndarray) -> None:
    if x.shape[1] != model.vae.num_features:
        raise ValueError(f"x: expected {model.vae.num_features} columns, got {x.shape[1]}")


_cached_chain_imputer = once(make_chain_imputer)
_cached_imputer = once(make_imputer)
