"""Hamiltonian Monte Carlo: a trajectory through the log-density, accepted or rejected at its end.

The position x gets a momentum p, and the pair an energy, the Hamiltonian

    H(x, p) = -log p(x) + ½ Σ_i w_i p_i²,      p ~ N(0, diag(1/w)),

w the diagonal of the inverse mass matrix. Along a trajectory H is nearly kept, so that a move may
be long and is still accepted. Good w are the variances of the target: ``window_adaptation`` finds
them, and a step size with them.
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
    check_at_least,
    check_positive,
)
from mnar_ebm.samplers.trees import broadcast_to, check_all_positive, normal_like
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["HMCInfo", "energy_error", "hmc", "leapfrog"]

_DIVERGENCE = 1000.0
_STEPS, _MAX_STEPS = 10, 1024


class HMCInfo(NamedTuple):
    """What an HMC step reports.

    Attributes:
        acceptance_rate: the probability of accepting the end of the trajectory. []
        is_accepted: whether it was accepted. []
        energy_error: ΔH, infinite where it is NaN; in equilibrium E[exp(-ΔH)] = 1. []
        is_divergent: whether ΔH is above 1000: the step is too long for the place. []
        num_integration_steps: L, the gradients that the step cost. []
    """

    acceptance_rate: Array
    is_accepted: Array
    energy_error: Array
    is_divergent: Array
    num_integration_steps: Array


def hmc(
    logdensity_fn: LogDensityFn,
    step_size: float | Array,
    inverse_mass_matrix: PyTree = 1.0,
    num_integration_steps: int | None = None,
    trajectory_length: float | Array | None = None,
) -> SamplingAlgorithm:
    """Build Hamiltonian Monte Carlo, which leaves p invariant exactly.

        p ~ N(0, diag(1/w));    (x', p') = L leapfrog steps from (x, p)
        accept x' with probability min(1, exp(-ΔH)),    ΔH = H(x', p') - H(x, p)

    Start where p > 0: an end of density zero, or with a ΔH that is NaN, is rejected. For a Gaussian
    the trajectory is stable while ``step_size`` is below 2 / √(w λ) for every precision λ; with w
    of 1/λ a length ε L near π/2 is best, and one of 2π comes back to where it began: chains whose
    ε adapts to a fixed L may settle there and hardly move. So lengths vary, by default,

        L = ⌈u T / ε⌉,    u uniform on (0, 1],    T = 10 ε,    at most 1024.

    Args:
        logdensity_fn: log p up to a constant, of one position. []
        step_size: ε, of a leapfrog step; a number or a scalar array. []
        inverse_mass_matrix: w, shaped as the position, or a scalar for all coordinates.
        num_integration_steps: L, if it is to be the same in every step.
        trajectory_length: T, or else T; ``adapt_trajectory`` finds it. []

    Returns:
        The sampler.

    Raises:
        ValueError: ``step_size``, ``inverse_mass_matrix`` or ``trajectory_length`` is a number and
            not positive, ``num_integration_steps`` is below 1 or is given beside it, or, from
            ``step``, ``inverse_mass_matrix`` is not shaped as the position.

    Examples:
        >>> import jax
        >>> algorithm = hmc(lambda x: -0.5 * x**2, step_size=0.1)
        >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(1.0))
        >>> bool(info.is_accepted), bool(abs(info.energy_error) < 0.01)
        (True, True)

    References:
        Radford M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo,
        2011, https://arxiv.org/abs/1206.1901, sections 2.3, 3.2 and 3.3 (lengths that vary).
    """
    check_positive("step_size", step_size)
    check_all_positive("inverse_mass_matrix", inverse_mass_matrix)
    if num_integration_steps is not None:
        check_at_least("num_integration_steps", num_integration_steps)
        if trajectory_length is not None:
            raise ValueError("expected num_integration_steps or trajectory_length, got both")
    if trajectory_length is not None:
        check_positive("trajectory_length", trajectory_length)
    init = functools.partial(_init, logdensity_fn)

    def draw_length(key: Key) -> int | Array:
        if num_integration_steps is not None:
            return num_integration_steps
        ratio = _STEPS if trajectory_length is None else trajectory_length / step_size
        return draw_num_steps(key, ratio)

    def step(key: Key, state: GradientState) -> tuple[GradientState, HMCInfo]:
        key_momentum, key_accept, key_length = jax.random.split(key, 3)
        num_steps = draw_length(key_length)
        weights = broadcast_to(state.position, "inverse_mass_matrix", inverse_mass_matrix)
        proposal, _, error = propose(
            key_momentum, logdensity_fn, state, step_size, weights, num_steps
        )
        acceptance_rate = jnp.exp(-jnp.maximum(error, 0))
        is_accepted = positive_uniform(key_accept, dtype=error.dtype) < acceptance_rate
        new_state = jax.tree.map(functools.partial(jnp.where, is_accepted), proposal, state)
        info = (acceptance_rate, is_accepted, error, error > _DIVERGENCE, jnp.asarray(num_steps))
        return new_state, HMCInfo(*info)

    return SamplingAlgorithm(init, step)


def propose(
    key: Key,
    logdensity_fn: LogDensityFn,
    state: GradientState,
    step_size: float | Array,
    inverse_mass_matrix: PyTree,
    num_integration_steps: int | Array,
) -> tuple[GradientState, PyTree, Array]:
    """Draw a momentum and follow the trajectory.

    Args:
        key: a random key.
        logdensity_fn: log p up to a constant, of one position. []
        state: the chain at x.
        step_size: ε. []
        inverse_mass_matrix: w, with the structure of the position; a leaf may be a scalar.
        num_integration_steps: L.

    Returns:
        The state at the end, the momentum there, and ΔH, infinite where it is NaN. []

    References:
        As for ``hmc``.
    """
    momentum = _draw_momentum(key, state.position, inverse_mass_matrix)
    settings = (step_size, inverse_mass_matrix, num_integration_steps)
    end, end_momentum = leapfrog(logdensity_fn, state, momentum, *settings)
    error = energy_error(state, momentum, end, end_momentum, inverse_mass_matrix)
    return end, end_momentum, jnp.where(jnp.isnan(error), jnp.inf, error)


def draw_num_steps(key: Key, ratio: float | Array) -> Array:
    """Draw how many leapfrog steps a trajectory has, ⌈u T / ε⌉ with u uniform on (0, 1].

    Args:
        key: a random key.
        ratio: T / ε. []
    """
    u = 1 - jax.random.uniform(key)
    return jnp.clip(jnp.ceil(u * ratio), 1, _MAX_STEPS).astype(int)


def leapfrog(
    logdensity_fn: LogDensityFn,
    state: GradientState,
    momentum: PyTree,
    step_size: float | Array,
    inverse_mass_matrix: PyTree,
    num_integration_steps: int | Array,
) -> tuple[GradientState, PyTree]:
    """Follow Hamilton's equations for L leapfrog steps (velocity Verlet).

        p ← p + (ε/2) g(x);    then L times  x ← x + ε w p,  p ← p + ε g(x);    p ← p - (ε/2) g(x)

    with g = ∇log p: the two half kicks between leapfrog steps are one, and the last is halved. The
    map keeps volume, and is its own inverse once the momentum is turned round. The error in H is of
    the order ε².

    Args:
        logdensity_fn: log p up to a constant, of one position. []
        state: the chain at x.
        momentum: p, shaped as the position.
        step_size: ε. []
        inverse_mass_matrix: w, with the structure of the position; a leaf may be a scalar.
        num_integration_steps: L.

    Returns:
        The state at the end, and the momentum there.

    References:
        As for ``hmc``, section 2.3.
    """
    step_sizes = jax.tree.map(lambda w: step_size * w, inverse_mass_matrix)

    def kick(momentum: PyTree, grad: PyTree, size: float | Array) -> PyTree:
        return jax.tree.map(lambda p, g: (p + size * g).astype(p.dtype), momentum, grad)

    def drift(position: PyTree, momentum: PyTree) -> PyTree:
        return jax.tree.map(
            lambda x, p, size: (x + size * p).astype(x.dtype), position, momentum, step_sizes
        )

    def leap(_: Array, pair: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        position = drift(*pair)
        return position, kick(pair[1], jax.grad(logdensity_fn)(position), step_size)

    pair = state.position, kick(momentum, state.logdensity_grad, step_size / 2)
    position, momentum = jax.lax.fori_loop(0, num_integration_steps - 1, leap, pair)
    end = _init(logdensity_fn, drift(position, momentum))
    return end, kick(momentum, end.logdensity_grad, step_size / 2)


def energy_error(
    state: GradientState,
    momentum: PyTree,
    proposal: GradientState,
    proposal_momentum: PyTree,
    inverse_mass_matrix: PyTree,
) -> Array:
    """Compute ΔH = ½ Σ_i w_i (p'_i - p_i)(p'_i + p_i) - (log p(x') - log p(x)).

    Args:
        state: the chain at x.
        momentum: p, shaped as the position.
        proposal: the end of the trajectory, x'.
        proposal_momentum: p', shaped as the position.
        inverse_mass_matrix: w, with the structure of the position; a leaf may be a scalar.

    Returns:
        ΔH; NaN where both densities are zero or the trajectory overflowed. []

    References:
        As for ``hmc``, section 3.2.
    """

    def term(p: Array, new_p: Array, w: Array) -> Array:
        return jnp.sum(0.5 * w * (new_p - p) * (new_p + p))

    terms = jax.tree.map(term, momentum, proposal_momentum, inverse_mass_matrix)
    return jax.tree.reduce(operator.add, terms) - (proposal.logdensity - state.logdensity)


def _init(logdensity_fn: LogDensityFn, position: PyTree, key: Key | None = None) -> GradientState:
    del key  # nothing here is random
    position = jax.tree.map(jnp.asarray, position)
    return GradientState(position, *jax.value_and_grad(logdensity_fn)(position))


def _draw_momentum(key: Key, position: PyTree, inverse_mass_matrix: PyTree) -> PyTree:
    """Draw p ~ N(0, diag(1/w)), in the position's dtype."""
    noise = normal_like(key, position)
    return jax.tree.map(lambda n, w: (n / jnp.sqrt(w)).astype(n.dtype), noise, inverse_mass_matrix)
