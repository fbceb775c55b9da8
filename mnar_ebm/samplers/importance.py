"""Importance sampling: draws from one law, weighted to stand for another.

Everything reads ``log_w`` [N], the log-weights of N draws, which need not be normalised; batches
are a ``jax.vmap``. A weight of zero is ``-inf``. If *every* weight is zero, ``log_mean_exp`` and
``normalise`` give ``-inf``, the effective sample size is 0 and the standard error infinite.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import check_no_nan, check_rank
from mnar_ebm.types import Array, Key, PyTree

__all__ = [
    "SNISInfo",
    "effective_sample_size",
    "log_mean_exp",
    "log_mean_exp_standard_error",
    "normalise",
    "sir",
    "snis",
]


_UNITS = 2.0**31  # into which the weights are divided


class SNISInfo(NamedTuple):
    """What a set of weighted draws tells of itself.

    Attributes:
        log_z: ``log_mean_exp`` of the weights; exp of it is unbiased, so it is biased down. []
        log_z_standard_error: ``log_mean_exp_standard_error``. []
        ess: ``effective_sample_size``, in draws. []
    """

    log_z: Array
    log_z_standard_error: Array
    ess: Array


def log_mean_exp(log_w: Array, axis: int = -1) -> Array:
    """Compute log (1/N) Σ_n w_n without overflow.

    Args:
        log_w: log-weights. [..., N]
        axis: of the N draws.

    Returns:
        The log of the mean weight; ``-inf`` if all weights are zero. [...]

    References:
        Yuri Burda, Roger Grosse and Ruslan Salakhutdinov, "Importance weighted autoencoders", 2016,
        https://arxiv.org/abs/1509.00519, equation (8).
    """
    return jax.nn.logsumexp(log_w, axis=axis) - math.log(log_w.shape[axis])


def normalise(log_w: Array) -> Array:
    """Scale weights to sum to one: log w̃_n = log w_n - log Σ_m w_m.

    Args:
        log_w: log-weights. [N]

    Returns:
        The normalised log-weights; all ``-inf`` if all weights are zero. [N]

    References:
        As for ``snis``.
    """
    check_rank("log_w", log_w)
    largest = jnp.max(log_w)
    log_w = log_w - jnp.where(jnp.isneginf(largest), 0, largest)  # -inf less -inf would be NaN
    return log_w - jnp.maximum(jax.nn.logsumexp(log_w), 0)  # Σ w >= 1, or all w are zero


def effective_sample_size(log_w: Array) -> Array:
    """Compute 1 / Σ_n w̃_n², in draws: N for equal weights, 1 if one draw has all the weight.

    Args:
        log_w: log-weights. [N]

    Returns:
        The effective sample size, from 1 to N; 0 if all weights are zero. []

    References:
        Augustine Kong, Jun S. Liu and Wing Hung Wong, "Sequential imputations and Bayesian missing
        data problems", JASA 89(425), 1994, https://doi.org/10.1080/01621459.1994.10476469.
    """
    weights = jnp.exp(normalise(log_w))  # they sum to one, or all are zero
    return jnp.sum(weights) / jnp.maximum(jnp.sum(weights**2), 1 / log_w.size)


def log_mean_exp_standard_error(log_w: Array) -> Array:
    """Estimate the standard error of ``log_mean_exp``, as far as the draws reach (delta method).

        √(var(w) / N) / mean(w) = √((1/N) Σ_n (N w̃_n - 1)² / (N - 1))

    Args:
        log_w: log-weights. [N]

    Returns:
        The standard error; infinite if N is 1 or if all weights are zero. []

    References:
        As for ``snis``.
    """
    size = log_w.size
    excess = size * jnp.exp(normalise(log_w)) - 1  # w / mean(w) - 1
    error = jnp.sqrt(jnp.mean(excess**2) / max(size - 1, 1))
    return jnp.where((size == 1) | jnp.all(jnp.isneginf(log_w)), jnp.inf, error)


def snis(
    key: Key,
    sample_fn: Callable[[Key], PyTree],
    log_weight_fn: Callable[[PyTree], Array],
    num_samples: int,
) -> tuple[PyTree, Array, SNISInfo]:
    """Draw N samples with self-normalised importance weights.

        x_n ~ q,    w_n = p(x_n) / q(x_n),    E_p[f] ≈ Σ_n w̃_n f(x_n),    Ẑ = (1/N) Σ_n w_n

    For a tilt exp(-E) of q, log w is -E. The weighted mean has a bias of order 1/N, Ẑ none.

    Args:
        key: a random key.
        sample_fn: ``key -> x``, one draw from q: any pytree.
        log_weight_fn: ``x -> log w``, of one draw. []
        num_samples: N.

    Returns:
        The draws, each leaf [N, ...]; their normalised log-weights [N]; and the info.

    Raises:
        ValueError: ``num_samples`` is below 1.

    Examples:
        >>> _, _, info = snis(jax.random.key(0), jax.random.normal, lambda x: x, 10_000)
        >>> abs(float(info.log_z) - 0.5) < 4 * float(info.log_z_standard_error)
        True

    References:
        Art B. Owen, "Monte Carlo theory, methods and examples", 2013, section 9.2,
        https://artowen.su.domains/mc/.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
    samples = jax.vmap(sample_fn)(jax.random.split(key, num_samples))
    log_w = jax.vmap(log_weight_fn)(samples)
    check_rank("log_weight_fn", log_w)
    log_z, error = log_mean_exp(log_w), log_mean_exp_standard_error(log_w)
    return samples, normalise(log_w), SNISInfo(log_z, error, effective_sample_size(log_w))


def sir(key: Key, log_w: Array, num_draws: int, method: str = "multinomial") -> Array:
    """Resample: draw M indices with probabilities proportional to the weights, with replacement.

    The distribution function of the weights is inverted at M points of [0, 1): independent ones
    (multinomial), or a comb (m + u) / M, m = 0..M-1, with one u (systematic). Index n is expected
    M w̃_n times from both, and comes that often, rounded up or down, from the comb, in order.
    Sums are of whole numbers, with 31 bits: single precision would skew draws of a million.

    Args:
        key: a random key.
        log_w: log-weights. [N]
        num_draws: M.
        method: ``"multinomial"`` or ``"systematic"``.

    Returns:
        Indices in 0..N-1; all 0 if all weights are zero. [M]

    Raises:
        ValueError: ``num_draws`` is below 1, ``method`` is not known, or a weight is NaN.

    Examples:
        >>> log_w = jnp.log(jnp.array([0.5, 0.0, 0.25, 0.25]))
        >>> sir(jax.random.key(0), log_w, 4, "systematic").tolist()
        [0, 0, 2, 3]

    References:
        Donald B. Rubin, "A noniterative sampling/importance resampling alternative to the data
        augmentation algorithm", JASA 82(398), 1987, https://doi.org/10.2307/2289460.
        Genshiro Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space
        models", JCGS 5(1), 1996, https://doi.org/10.1080/10618600.1996.10474692 (the comb).
    """
    check_rank("log_w", log_w)
    check_no_nan("log_w", log_w)
    if num_draws < 1:
        raise ValueError(f"num_draws: expected at least 1, got {num_draws}")
    weights = jnp.exp(normalise(log_w))
    if method == "multinomial":
        whole, _ = _cumulative(_UNITS * weights)
        points = _points(key, num_draws, whole[-1])
    elif method == "systematic":
        whole, part = _cumulative(num_draws * (weights / jnp.maximum(jnp.sum(weights), 1e-30)))
        whole = whole + (part > jax.random.uniform(key)).astype(whole.dtype)
        points = jnp.arange(num_draws, dtype=whole.dtype)
    else:
        raise ValueError(f"method: expected multinomial or systematic, got {method!r}")
    indices = jnp.searchsorted(whole, points, side="right")
    # A point may be rounded beyond all: it then belongs to the last index of positive weight.
    return jnp.minimum(indices, jnp.searchsorted(whole, whole[-1]))


def _cumulative(terms: Array) -> tuple[Array, Array]:
    """Return the cumulative sums of positive terms, as whole numbers and what is beyond. [N] each.

    Whole numbers add up exactly, and of the rest only what is below 1 is rounded.
    """
    floor = jnp.floor(terms)
    part = jnp.cumsum(terms - floor)
    whole = jnp.cumsum(floor.astype(jnp.uint32)) + jnp.floor(part).astype(jnp.uint32)
    return whole, part - jnp.floor(part)


def _points(key: Key, num_draws: int, total: Array) -> Array:
    """Draw whole numbers from 0 to ``total`` - 1, which is about 2^31. [M]."""
    coarse = (2**23 * jax.random.uniform(key, (num_draws,))).astype(jnp.uint32)
    fine = jax.random.bits(jax.random.fold_in(key, 1), (num_draws,), jnp.uint8)
    points = coarse * 2**8 + fine
    excess = jax.lax.bitcast_convert_type(total - jnp.uint32(2**31), jnp.int32)
    shift = jnp.floor(points.astype(float) / _UNITS * excess).astype(jnp.int32)
    return points + jax.lax.bitcast_convert_type(shift, jnp.uint32)
