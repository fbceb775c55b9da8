r"""Score matching: log-densities fitted by their gradients, so that no log Z is needed.

With s(x) = ∇ log p(x) the score of the model and s* that of the data, each loss is a constant away
from the Fisher divergence ½ E_data ‖s - s*‖²:

    exact       ½‖s‖² + tr ∇s                              the trace in D products J e_i
    sliced      ½‖s‖² + v·(∇s v)                           v random signs; variance reduced
    sliced      ½(v·s)² + v·(∇s v)                         the same in expectation
    denoising   ½‖s(x + σε) + ε/σ‖²                        of the *noisy* data

of one example, with no batch axis. The log-density is the whole one: of an energy with a reference
p_0, log p_0 - E, whose score has the reference's in it.

A score is local. Two modes with nothing between them have the right score whatever their weights,
so that no loss here learns how much of the data is in each. On a box, what the integration by parts
leaves at the walls is left out: the data should be away from them.

References:
    A. Hyvärinen, "Estimation of Non-Normalized Statistical Models by Score Matching", JMLR 6, 2005,
    https://jmlr.org/papers/v6/hyvarinen05a.html, eq. 4.
    Y. Song, S. Garg, J. Shi, S. Ermon, "Sliced Score Matching", UAI 2019,
    https://arxiv.org/abs/1905.07088, eqs. 7 and 8 (the variance-reduced form).
    P. Vincent, "A Connection Between Score Matching and Denoising Autoencoders", Neural Computation
    23(7), 2011, https://doi.org/10.1162/NECO_a_00142, eq. 11.
"""

import chex
import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import LogDensityFn
from mnar_ebm.types import Array, Key

MAX_EXACT_FEATURES = 64
"""Most features of the exact loss, whose cost grows with them."""


def score_exact(logdensity_fn: LogDensityFn, x: Array) -> Array:
    """Return ½‖s(x)‖² + tr ∇s(x), the trace without noise.

    Args:
        logdensity_fn: log p up to a constant, of one example. []
        x: an example. [D]

    Returns:
        The loss. []

    Raises:
        ValueError: D is above ``MAX_EXACT_FEATURES``.
    """
    chex.assert_rank(x, 1)
    if x.shape[0] > MAX_EXACT_FEATURES:
        raise ValueError(
            f"score_exact: expected at most {MAX_EXACT_FEATURES} features, got {x.shape[0]}: "
            "use score_sliced or score_denoising"
        )
    score, push = jax.linearize(jax.grad(logdensity_fn), x)
    basis = jnp.eye(x.shape[0], dtype=x.dtype)
    return 0.5 * jnp.vdot(score, score) + jnp.trace(jax.vmap(push)(basis))


def score_sliced(
    key: Key,
    logdensity_fn: LogDensityFn,
    x: Array,
    num_directions: int = 1,
    is_reduced: bool = True,
) -> Array:
    """Return the loss along random directions of signs, v with E v v' = I.

    Args:
        key: random key.
        logdensity_fn: log p up to a constant, of one example. []
        x: an example, of any shape. [...]
        num_directions: directions that are averaged over.
        is_reduced: whether ½‖s‖² is kept whole, which has less variance, or is ½(v·s)².

    Returns:
        The loss. []
    """
    score, push = jax.linearize(jax.grad(logdensity_fn), x)
    directions = jax.random.rademacher(key, (num_directions, *x.shape), x.dtype)
    traces = jax.vmap(lambda v: jnp.vdot(v, push(v)))(directions)
    if is_reduced:
        return 0.5 * jnp.vdot(score, score) + traces.mean()
    along = jax.vmap(lambda v: jnp.vdot(v, score))(directions)
    return (0.5 * along**2 + traces).mean()


def score_denoising(key: Key, logdensity_fn: LogDensityFn, x: Array, noise: Array) -> Array:
    """Return ½‖s(x + σε) + ε/σ‖², σ one of a ladder: no second derivative.

    Its optimum is the density of *noisy* data: of N(0, S) it is N(0, S + σ²I). One density cannot
    be right for several σ: with a ladder it is that of data under a σ drawn from it.

    Args:
        key: random key.
        logdensity_fn: log p up to a constant, of one example. []
        x: an example, of any shape. [...]
        noise: σ; one number, or the ladder from which one is drawn. [] or [S]

    Returns:
        The loss. []
    """
    key_scale, key_noise = jax.random.split(key)
    sigma = jax.random.choice(key_scale, jnp.atleast_1d(noise))
    epsilon = jax.random.normal(key_noise, x.shape, x.dtype)
    residual = jax.grad(logdensity_fn)(x + sigma * epsilon) + epsilon / sigma
    return 0.5 * jnp.vdot(residual, residual)
