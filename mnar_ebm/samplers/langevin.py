"""Langevin samplers: a step up the gradient of the log-density, and noise.

    x' = x + step_size ∇log p(x) + √(2 step_size temperature) ξ,      ξ ~ N(0, I)

is the Euler step of the Langevin diffusion. ``ula`` takes every step, and its error is that of the
discretisation; ``mala`` accepts or rejects the step and is exact. Where the literature writes a
drift of (h/2) ∇log p, h is ``2 * step_size``.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.numerics.uniform import positive_uniform
from mnar_ebm.samplers.base import (
    GradientState,
    LogDensityFn,
    SamplingAlgorithm,
    check_positive,
)
from mnar_ebm.samplers.trees import normal_like
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["MALAInfo", "ULAInfo", "log_acceptance_ratio", "mala", "ula"]


class ULAInfo(NamedTuple):
    """What a ULA step reports.

    Attributes:
        logdensity: log p at the new position; a NaN shows that the step is too long. []
    """

    logdensity: Array


class MALAInfo(NamedTuple):
    """What a MALA step reports.

    Attributes:
        acceptance_rate: the probability of accepting the proposal. []
        is_accepted: whether it was accepted. []
        proposal_logdensity: log p at the proposal, accepted or not. []
    """

    acceptance_rate: Array
    is_accepted: Array
    proposal_logdensity: Array


def ula(
    logdensity_fn: LogDensityFn, step_size: float | Array, temperature: float | Array = 1.0
) -> SamplingAlgorithm:
    """Build the unadjusted Langevin algorithm.

        x' = x + step_size ∇log p(x) + √(2 step_size temperature) ξ,      ξ ~ N(0, I)

    Its law is p^(1/temperature) up to an error of the order of ``step_size``: for a Gaussian of
    precision λ the variance is temperature / (λ (1 - step_size λ / 2)), infinite from 2/λ on.

    Args:
        logdensity_fn: log p up to a constant, of one position. []
        step_size: η; a number or a scalar array. []
        temperature: 1 samples p; another value samples another model, and 0 climbs to a mode. []

    Returns:
        The sampler.

    Raises:
        ValueError: ``step_size`` is a number and not positive, or ``temperature`` is negative.

    Examples:
        >>> import jax
        >>> algorithm = ula(lambda x: -0.5 * x**2, step_size=0.1, temperature=0.0)
        >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(1.0))
        >>> round(float(state.position), 6)
        0.9

    References:
        Gareth O. Roberts and Richard L. Tweedie, "Exponential convergence of Langevin distributions
        and their discrete approximations", Bernoulli 2(4), 1996, https://doi.org/10.2307/3318418,
        section 1.4.
    """
    check_positive("step_size", step_size)
    check_positive("temperature", temperature, or_zero=True)
    init = functools.partial(_init, logdensity_fn)

    def step(key: Key, state: GradientState) -> tuple[GradientState, ULAInfo]:
        new_state = init(_langevin_move(key, state, step_size, temperature))
        return new_state, ULAInfo(new_state.logdensity)

    return SamplingAlgorithm(init, step)


def mala(logdensity_fn: LogDensityFn, step_size: float | Array) -> SamplingAlgorithm:
    """Build the Metropolis-adjusted Langevin algorithm, which leaves p invariant exactly.

        y = x + step_size ∇log p(x) + √(2 step_size) ξ,      ξ ~ N(0, I)
        accept y with probability min(1, p(y) q(x|y) / (p(x) q(y|x)))

    Start where p > 0: a proposal of density zero, or with a ratio that is NaN, is rejected. In many
    dimensions the best step size has an acceptance rate near 0.574; ``adapt_step_size`` finds it.

    Args:
        logdensity_fn: log p up to a constant, of one position. []
        step_size: η; a number or a scalar array. []

    Returns:
        The sampler.

    Raises:
        ValueError: ``step_size`` is a number and not positive.

    Examples:
        >>> import jax
        >>> algorithm = mala(lambda x: -0.5 * x**2, step_size=0.01)
        >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(1.0))
        >>> bool(info.is_accepted), bool(info.acceptance_rate > 0.99)
        (True, True)

    References:
        As for ``ula``, and
        Gareth O. Roberts and Jeffrey S. Rosenthal, "Optimal scaling of discrete approximations to
        Langevin diffusions", JRSS B 60(1), 1998, https://doi.org/10.1111/1467-9868.00123 (0.574).
    """
    check_positive("step_size", step_size)
    init = functools.partial(_init, logdensity_fn)

    def step(key: Key, state: GradientState) -> tuple[GradientState, MALAInfo]:
        key_noise, key_accept = jax.random.split(key)
        proposal = init(_langevin_move(key_noise, state, step_size, 1.0))
        log_ratio = log_acceptance_ratio(state, proposal, step_size)
        acceptance_rate = jnp.where(jnp.isnan(log_ratio), 0, jnp.exp(jnp.minimum(log_ratio, 0)))
        is_accepted = positive_uniform(key_accept, dtype=log_ratio.dtype) < acceptance_rate
        new_state = jax.tree.map(functools.partial(jnp.where, is_accepted), proposal, state)
        return new_state, MALAInfo(acceptance_rate, is_accepted, proposal.logdensity)

    return SamplingAlgorithm(init, step)


def log_acceptance_ratio(
    state: GradientState, proposal: GradientState, step_size: float | Array
) -> Array:
    """Compute log p(y) q(x|y) - log p(x) q(y|x), with q(y|x) = N(y; x + η g_x, 2η I), g = ∇log p.

    The squares |y - x|² cancel; what is left is the error of the trapezium rule along the step:

        log p(y) - log p(x) - ½ ⟨y - x, g_x + g_y⟩ - (η/4) (|g_y|² - |g_x|²)

    Args:
        state: the chain at x.
        proposal: the chain at y.
        step_size: η. []

    Returns:
        The log ratio; NaN where both densities are zero or a gradient is NaN. []

    References:
        As for ``mala``.
    """

    def term(x: Array, y: Array, g_x: Array, g_y: Array) -> Array:
        return jnp.sum((g_x + g_y) * (0.5 * (y - x) + 0.25 * step_size * (g_y - g_x)))

    terms = jax.tree.map(
        term, state.position, proposal.position, state.logdensity_grad, proposal.logdensity_grad
    )
    return proposal.logdensity - state.logdensity - jax.tree.reduce(operator.add, terms)


def _init(logdensity_fn: LogDensityFn, position: PyTree, key: Key | None = None) -> GradientState:
    del key  # nothing here is random
    position = jax.tree.map(jnp.asarray, position)
    return GradientState(position, *jax.value_and_grad(logdensity_fn)(position))


def _langevin_move(
    key: Key, state: GradientState, step_size: float | Array, temperature: float | Array
) -> PyTree:
    """Draw x' = x + η g + √(2ηT) ξ, with one key for each leaf and each leaf's dtype kept."""
    scale = jnp.sqrt(2 * step_size * temperature)

    def move(x: Array, g: Array, noise: Array) -> Array:
        return (x + step_size * g + scale * noise).astype(x.dtype)

    noise = normal_like(key, state.position)
    return jax.tree.map(move, state.position, state.logdensity_grad, noise)
