"""The length of HMC's trajectories, found by gradient ascent while a chain runs.

A trajectory that is too short makes a random walk of the chain, one that is too long comes back.
Good lengths change the distance from the mean most, ChEES (change in the estimator of the expected
square):

    ChEES(T) = E[¼ (‖y' - m‖² - ‖y - m‖²)²],      y = x / √w,

y' the end of a trajectory of length u T, u uniform, and m the mean. Its derivative in T is

    E[½ (‖y' - m‖² - ‖y - m‖²) u (y' - m)·v'],      v' = √w p',

for the end moves at the speed v'.
"""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.adaptation import DualAveragingState, dual_averaging
from mnar_ebm.samplers.base import GradientState, LogDensityFn, SamplingAlgorithm, sample
from mnar_ebm.samplers.hmc import draw_num_steps, hmc, propose
from mnar_ebm.samplers.trees import broadcast_to
from mnar_ebm.samplers.windows import Moments, no_moments, update_moments
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["adapt_trajectory"]

INITIAL_LENGTH = 2.25
"""T that is best for N(0, I): there (1 - sin(2T) / 2T) / 4, which is its ChEES, is largest."""

_RATE, _DECAY, _PULL = 0.025, 0.95, 0.2


class _TrajectoryState(NamedTuple):
    chain: GradientState
    search: DualAveragingState
    moments: Moments
    log_length: Array
    log_length_sum: Array
    squares: Array
    num_steps: Array


def adapt_trajectory(
    key: Key,
    logdensity_fn: LogDensityFn,
    position: PyTree,
    num_steps: int,
    step_size: float | Array,
    inverse_mass_matrix: PyTree = 1.0,
    target_acceptance_rate: float = 0.8,
) -> tuple[dict[str, Any], GradientState]:
    """Run a chain whose trajectory length and step size adapt, and return what they settle on.

    Each step moves log T, which starts at the length that is best for N(0, I), by the derivative of
    log(ChEES(T) / √T) as one trajectory shows it, in units of its size in recent steps, and a
    little back to where it started, so that noise alone takes it nowhere. T is the geometric mean
    over the later half of the steps. Under ``jax.vmap`` every chain finds settings of its own.

    Args:
        key: a random key.
        logdensity_fn: log p up to a constant, of one position. []
        position: where the chain starts: any pytree of arrays.
        num_steps: steps of the chain; a few hundred are usual.
        step_size: ε, the first to try. []
        inverse_mass_matrix: w, as in ``hmc``.
        target_acceptance_rate: between 0 and 1.

    Returns:
        ``step_size`` [], ``inverse_mass_matrix`` and ``trajectory_length`` [], as a dict for
        ``hmc(logdensity_fn, **settings)``; and the sampler's state, whose position is where to
        sample from.

    Raises:
        ValueError: ``num_steps`` is below 1, or ``step_size`` is a number and not positive.

    Examples:
        >>> settings, _ = adapt_trajectory(jax.random.key(0), lambda x: -(x**2) / 2, 0.0, 9, 1.0)
        >>> sorted(settings)
        ['inverse_mass_matrix', 'step_size', 'trajectory_length']

    References:
        Matthew D. Hoffman, Alexey Radul and Pavel Sountsov, "An adaptive-MCMC scheme for setting
        trajectory lengths in Hamiltonian Monte Carlo", AISTATS 2021,
        https://proceedings.mlr.press/v130/hoffman21a.html, section 3.
    """
    find = dual_averaging(step_size / 10, target_acceptance_rate)  # drawn to 10 times as much
    log_step_size = jnp.log(jnp.asarray(step_size, float))
    weights = broadcast_to(position, "inverse_mass_matrix", inverse_mass_matrix)

    def init(position: PyTree, key: Key | None = None) -> _TrajectoryState:
        zero = jnp.zeros(())
        chain = hmc(logdensity_fn, step_size).init(position, key)
        length = jnp.log(jnp.full((), INITIAL_LENGTH))
        moments = update_moments(no_moments(chain.position), chain.position)
        search = find.init()._replace(
            log_step_size=log_step_size, log_step_size_average=log_step_size
        )
        return _TrajectoryState(chain, search, moments, length, zero, zero, zero)

    def step(key: Key, state: _TrajectoryState) -> tuple[_TrajectoryState, None]:
        key_momentum, key_accept, key_length = jax.random.split(key, 3)
        size = jnp.exp(state.search.log_step_size)
        length = draw_num_steps(key_length, jnp.exp(state.log_length) / size)
        end, momentum, error = propose(
            key_momentum, logdensity_fn, state.chain, size, weights, length
        )
        rate = jnp.exp(-jnp.maximum(error, 0))
        is_accepted = jax.random.uniform(key_accept) < rate
        slope = _slope(state, end, momentum, weights, length * size)
        slope = jnp.where(rate > 1e-3, rate * slope, 0.0)
        chain = jax.tree.map(lambda a, b: jnp.where(is_accepted, a, b), end, state.chain)
        t = state.num_steps + 1
        squares = _DECAY * state.squares + (1 - _DECAY) * slope**2
        scale = jnp.sqrt(squares / (1 - _DECAY**t)) + 1e-30
        pull = _PULL * (jnp.log(INITIAL_LENGTH) - state.log_length)
        log_length = state.log_length + _RATE * (jnp.clip(slope / scale, -3, 3) + pull)
        log_length = jnp.clip(log_length, jnp.log(size), jnp.log(1024 * size))
        total = state.log_length_sum + jnp.where(2 * t > num_steps, log_length, 0.0)
        search = find.update(state.search, rate)
        moments = update_moments(state.moments, chain.position)
        return _TrajectoryState(chain, search, moments, log_length, total, squares, t), None

    chain = SamplingAlgorithm(init, step)
    state, _ = sample(key, chain, position, num_steps, transform=lambda state, info: None)
    settings = {
        "step_size": jnp.exp(state.search.log_step_size_average),
        "inverse_mass_matrix": inverse_mass_matrix,
        "trajectory_length": jnp.exp(state.log_length_sum / (num_steps - num_steps // 2)),
    }
    return settings, state.chain


def _slope(
    state: _TrajectoryState, end: GradientState, momentum: PyTree, weights: PyTree, time: Array
) -> Array:
    """Compute T² times the derivative of ChEES(T) / √T, from one trajectory of this time. []."""

    def total(x: PyTree, y: PyTree) -> Array:
        return jax.tree.reduce(operator.add, jax.tree.map(lambda a, b: jnp.sum(a * b), x, y))

    def off(position: PyTree) -> PyTree:
        return jax.tree.map(lambda x, m: x - m, position, state.moments.mean)

    def square(position: PyTree) -> Array:
        away = off(position)
        return total(away, jax.tree.map(lambda x, w: x / w, away, weights))

    change = square(end.position) - square(state.chain.position)
    return change * (time * total(off(end.position), momentum) - change / 8)
