"""Tempered sequential Monte Carlo: a crowd of particles from the base to the target, and log Z.

Particles are weighted, resampled and moved from one inverse temperature to the next. Each is chosen
to keep the effective sample size at its target, so the path need not be known beforehand.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.annealed import BuildFn, move, tempered
from mnar_ebm.samplers.base import LogDensityFn, check_at_least, check_rank
from mnar_ebm.samplers.importance import effective_sample_size, log_mean_exp, normalise, sir
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["SMCEstimate", "next_inverse_temperature", "smc"]

_NUM_BISECTIONS = 40


class SMCEstimate(NamedTuple):
    """The estimate from N particles.

    Attributes:
        draws: of the target, equally weighted; each leaf [N, ...].
        log_z: the estimate, Σ_t log mean w_t. []
        log_z_standard_error: from how the draws of the base share the descendants. []
        num_temperatures: T, how many were needed. []
        is_finished: whether β = 1 was reached; if not, everything here is of a smaller β. []
        inverse_temperatures: β_1..β_T, padded with the last. [max_num_temperatures]
        effective_sample_size: of each step's weights; NaN beyond T. [max_num_temperatures]
        acceptance_rate: of the kernel at each; NaN beyond T, or if the kernel reports none.
            [max_num_temperatures]
    """

    draws: PyTree
    log_z: Array
    log_z_standard_error: Array
    num_temperatures: Array
    is_finished: Array
    inverse_temperatures: Array
    effective_sample_size: Array
    acceptance_rate: Array


class _Crowd(NamedTuple):
    """The particles between two temperatures, and the record of those behind them."""

    position: PyTree
    log_weight: Array
    ancestor: Array  # which draw of the base a particle descends from
    noise: Array  # what the variance of their shares owes to resampling
    beta: Array
    estimate: tuple[Array, Array]
    num_temperatures: Array
    record: Array  # of each temperature: itself, effective sample size, acceptance rate


def smc(
    key: Key,
    sample_fn: Callable[[Key], PyTree],
    base_logdensity_fn: LogDensityFn,
    log_weight_fn: Callable[[PyTree], Array],
    build: BuildFn,
    num_samples: int,
    num_steps: int = 1,
    *,
    target_ess: float = 0.5,
    max_num_temperatures: int = 200,
) -> SMCEstimate:
    """Draw from a tilt, and estimate its log Z, by adaptive tempered sequential Monte Carlo.

        log p_β(x) = log p_0(x) + β log w(x),    Z = E_(p_0) w
        w_t = w^(β_t - β_(t-1)),    log Ẑ = Σ_t log (1/N) Σ_n w_t(x_n)

    At each step β_t is where the effective sample size of w_t has fallen to its target; the
    particles are then resampled (systematic) and moved by a kernel with p_(β_t) invariant. The
    standard error sums the weights of each base draw's descendants, and so knows of particles that
    died out together: with S_n that sum, Σ_n (S_n - 1/N)², S_n being 1/N on average, is the
    variance, less what resampling alone has added to it. The heirs of a base draw lie side by side,
    so that the comb gives them N S_n places, rounded up or down: f (1 - f) / N² each, f the part
    rounded. Adapting β leaves a bias of order 1/N.

    Args:
        key: a random key.
        sample_fn: ``key -> x``, one draw from p_0: any pytree.
        base_logdensity_fn: log p_0 up to a constant, of one position. []
        log_weight_fn: log w, of one position; -E for the tilt exp(-E). []
        build: ``logdensity_fn -> SamplingAlgorithm``, for the density of each temperature.
        num_samples: N, particles.
        num_steps: steps of the kernel at each temperature.
        target_ess: effective sample size to keep, as a share of N, strictly between 0 and 1.
        max_num_temperatures: where to stop if β = 1 is not reached.

    Returns:
        The draws and the estimate.

    Raises:
        ValueError: ``num_samples``, ``num_steps`` or ``max_num_temperatures`` is below 1, or
            ``target_ess`` is not strictly between 0 and 1.

    Examples:
        >>> import functools
        >>> from mnar_ebm.samplers import mala
        >>> args = (lambda x: -0.5 * x**2, lambda x: 3 * x, functools.partial(mala, step_size=0.3))
        >>> estimate = smc(jax.random.key(0), jax.random.normal, *args, 1000, 5)
        >>> abs(float(estimate.log_z) - 4.5) < 4 * float(estimate.log_z_standard_error)
        True

    References:
        Pierre Del Moral, Arnaud Doucet and Ajay Jasra, "Sequential Monte Carlo samplers", JRSS B
        68(3), 2006, https://doi.org/10.1111/j.1467-9868.2006.00553.x.
        Ajay Jasra, David A. Stephens, Arnaud Doucet and Theodoros Tsagaris, "Inference for
        Lévy-driven stochastic volatility models via adaptive sequential Monte Carlo", Scandinavian
        Journal of Statistics 38(1), 2011, https://doi.org/10.1111/j.1467-9469.2010.00723.x (β).
        Hock Peng Chan and Tze Leung Lai, "A general theory of particle filters in hidden Markov
        models and some applications", Annals of Statistics 41(6), 2013,
        https://doi.org/10.1214/13-AOS1172 (the standard error).
    """
    check_at_least("num_samples", num_samples)
    check_at_least("num_steps", num_steps)
    check_at_least("max_num_temperatures", max_num_temperatures)
    if not 0 < target_ess < 1:
        raise ValueError(f"target_ess: expected a share strictly between 0 and 1, got {target_ess}")
    key_base, key_steps = jax.random.split(key)

    def move_one(key: Key, position: PyTree, beta: Array) -> tuple[PyTree, Array]:
        target = tempered(base_logdensity_fn, log_weight_fn, beta)
        return move(key, build, target, position, num_steps)

    def goes_on(crowd: _Crowd) -> Array:
        return (crowd.beta < 1) & (crowd.num_temperatures < max_num_temperatures)

    def step(crowd: _Crowd) -> _Crowd:
        t = crowd.num_temperatures
        key_resample, key_move = jax.random.split(jax.random.fold_in(key_steps, t))
        beta = next_inverse_temperature(crowd.log_weight, crowd.beta, target_ess)
        log_w = (beta - crowd.beta) * crowd.log_weight
        shares = _shares(log_w, crowd.ancestor)
        error = _error(log_w, shares, crowd.noise)
        estimate = (crowd.estimate[0] + log_mean_exp(log_w), error)
        noise = crowd.noise + _comb_noise(shares)
        chosen = sir(key_resample, log_w, num_samples, "systematic")
        position = jax.tree.map(lambda leaf: leaf[chosen], crowd.position)
        keys = jax.random.split(key_move, num_samples)
        position, rates = jax.vmap(move_one, (0, 0, None))(keys, position, beta)
        seen = jnp.stack([beta, effective_sample_size(log_w), jnp.mean(rates)])
        record = crowd.record.at[t].set(seen.astype(crowd.record.dtype))
        log_weight = jax.vmap(log_weight_fn)(position)
        ancestor = crowd.ancestor[chosen]
        return _Crowd(position, log_weight, ancestor, noise, beta, estimate, t + 1, record)

    position = jax.vmap(sample_fn)(jax.random.split(key_base, num_samples))
    log_weight = jax.vmap(log_weight_fn)(position)
    check_rank("log_weight_fn", log_weight)
    zero = jnp.zeros((), log_weight.dtype)
    crowd = jax.lax.while_loop(
        goes_on,
        step,
        _Crowd(
            position,
            log_weight,
            ancestor=jnp.arange(num_samples),
            noise=zero,
            beta=zero,
            estimate=(zero, zero),
            num_temperatures=jnp.zeros((), int),
            record=jnp.full((max_num_temperatures, 3), jnp.nan, log_weight.dtype),
        ),
    )
    betas, ess, rates = crowd.record.T
    betas = jnp.where(jnp.isnan(betas), crowd.beta, betas)
    return SMCEstimate(
        crowd.position,
        *crowd.estimate,
        crowd.num_temperatures,
        crowd.beta >= 1,
        betas,
        ess,
        rates,
    )


def next_inverse_temperature(log_weight: Array, beta: Array, target_ess: float) -> Array:
    """Find the largest β' in (β, 1] at which the weights w^(β' - β) are even enough, by bisection.

        ESS(w^(β' - β)) = target N,    or β' = 1 if ESS(w^(1 - β)) is above that

    Args:
        log_weight: log w at the particles. [N]
        beta: β, where they are. []
        target_ess: effective sample size to keep, as a share of N.

    Returns:
        β'; above β, by as little as there is, if no step is small enough. []

    References:
        As for ``smc``.
    """

    def is_even(increment: Array) -> Array:
        return effective_sample_size(increment * log_weight) >= target_ess * log_weight.size

    def halve(_: int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low + high) / 2
        even = is_even(middle)
        return jnp.where(even, middle, low), jnp.where(even, high, middle)

    rest = 1 - beta
    _, increment = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, (jnp.zeros_like(rest), rest))
    return jnp.where(is_even(rest), 1, jnp.maximum(beta + increment, jnp.nextafter(beta, 2)))


def _shares(log_w: Array, ancestor: Array) -> Array:
    """Compute S_n, the share of the weight that the heirs of base draw n have. [N]."""
    return jax.ops.segment_sum(jnp.exp(normalise(log_w)), ancestor, num_segments=log_w.size)


def _comb_noise(shares: Array) -> Array:
    """Compute Σ_n f_n (1 - f_n) / N², f_n the part of N S_n beyond a whole number. []."""
    part = shares * shares.size % 1
    return jnp.sum(part * (1 - part)) / shares.size**2


def _error(log_w: Array, shares: Array, noise: Array) -> Array:
    """Compute √(Σ_n (S_n - 1/N)² - noise), and at least that of these weights alone. []."""
    even = 1 / shares.size
    own = jnp.sum((jnp.exp(normalise(log_w)) - even) ** 2)
    return jnp.sqrt(jnp.maximum(jnp.sum((shares - even) ** 2) - noise, own))
