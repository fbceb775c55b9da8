"""A warm-up for HMC: the step size and the mass matrix, found in windows that grow.

The step size adapts all the time; the variances of the target are learned in windows that double,
so that each window draws with the variances of the one before and forgets what came earlier. The
adapting chain does not leave its target invariant: adapt first, then sample.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.adaptation import DualAveragingState, dual_averaging
from mnar_ebm.samplers.base import SamplingAlgorithm, sample
from mnar_ebm.types import Array, Key, PyTree

__all__ = [
    "Moments",
    "regularised_variance",
    "update_moments",
    "window_adaptation",
    "window_schedule",
]

_MIN_STEPS = 20
_FIRST, _SMALLEST, _LAST = 75, 25, 50  # steps of the search, a first window, the search again


class Moments(NamedTuple):
    """The running moments of a window's positions.

    Attributes:
        num_positions: n. []
        mean: x̄, shaped as the position.
        squares: Σ (x_i - x̄)², shaped as the position.
    """

    num_positions: Array
    mean: PyTree
    squares: PyTree


class _WarmUpState(NamedTuple):
    chain: Any
    num_steps: Array
    initial_step_size: Array
    search: DualAveragingState
    moments: Moments
    inverse_mass_matrix: PyTree


def window_adaptation(
    key: Key,
    make_algorithm: Callable[[Array, PyTree], SamplingAlgorithm],
    position: PyTree,
    num_steps: int,
    initial_step_size: float | Array = 1.0,
    target_acceptance_rate: float = 0.8,
) -> tuple[dict[str, Any], Any]:
    """Run a chain that adapts, and return the step size and the mass matrix that it settles on.

    The first 75 steps find a step size and the typical set; windows of 25, 50, 100, ... steps
    follow, and after each the inverse mass matrix becomes the variances of its positions and the
    search for the step size begins again; the last 50 steps are for the step size alone. Below 150
    steps it is 15, 75 and 10 % of them, with one window. Under ``jax.vmap`` every chain finds
    settings of its own.

    Args:
        key: a random key.
        make_algorithm: ``(step_size, inverse_mass_matrix) -> SamplingAlgorithm``, with
            ``acceptance_rate`` in its info and a state that depends on neither, such as
            ``partial(hmc, logdensity_fn, num_integration_steps=10)``.
        position: where the chain starts: any pytree of arrays.
        num_steps: steps of the chain, at least 20; 1000 are usual.
        initial_step_size: the first to try, with an inverse mass matrix of ones. []
        target_acceptance_rate: between 0 and 1.

    Returns:
        The settings, ``step_size`` [] and ``inverse_mass_matrix`` (shaped as the position), as a
        dict for ``make_algorithm(**settings)``; and the sampler's state, whose position is where to
        sample from.

    Raises:
        ValueError: ``num_steps`` is below 20, ``initial_step_size`` is a number and not positive,
            or the target is not strictly between 0 and 1.

    Examples:
        >>> import functools, jax
        >>> from mnar_ebm.samplers import hmc, sample
        >>> make_algorithm = functools.partial(hmc, lambda x: -0.5 * (x / 5.0) ** 2)
        >>> key_adapt, key_sample = jax.random.split(jax.random.key(0))
        >>> settings, state = window_adaptation(key_adapt, make_algorithm, 0.0, 300)
        >>> _, kept = sample(key_sample, make_algorithm(**settings), state.position, 100)

    References:
        Bob Carpenter et al., "Stan: A Probabilistic Programming Language", Journal of Statistical
        Software 76(1), 2017, https://doi.org/10.18637/jss.v076.i01.
        Stan Reference Manual, "MCMC Sampling", section on automatic parameter tuning,
        https://mc-stan.org/docs/reference-manual/mcmc.html (the windows).
    """
    is_learning, is_end = window_schedule(num_steps)
    dual_averaging(initial_step_size, target_acceptance_rate)  # looks at both settings

    def init(position: PyTree, key: Key | None = None) -> _WarmUpState:
        step_size = jnp.asarray(initial_step_size, float)
        ones = jax.tree.map(jnp.ones_like, position)
        chain = make_algorithm(step_size, ones).init(position, key)
        search = dual_averaging(step_size, target_acceptance_rate).init()
        start = jnp.zeros((), int)
        return _WarmUpState(chain, start, step_size, search, no_moments(position), ones)

    def step(key: Key, state: _WarmUpState) -> tuple[_WarmUpState, Any]:
        algorithm = make_algorithm(jnp.exp(state.search.log_step_size), state.inverse_mass_matrix)
        chain, info = algorithm.step(key, state.chain)
        search = dual_averaging(state.initial_step_size, target_acceptance_rate).update(
            state.search, info.acceptance_rate
        )
        moments = _choose(
            is_learning[state.num_steps],
            update_moments(state.moments, chain.position),
            state.moments,
        )
        on = state._replace(
            chain=chain, num_steps=state.num_steps + 1, search=search, moments=moments
        )
        return _choose(is_end[state.num_steps], begin_again(on), on), info

    def begin_again(state: _WarmUpState) -> _WarmUpState:
        """Take the variances of the window that ends, and empty what the next one fills."""
        step_size = jnp.exp(state.search.log_step_size_average)
        return state._replace(
            initial_step_size=step_size,
            search=dual_averaging(step_size, target_acceptance_rate).init(),
            moments=no_moments(state.chain.position),
            inverse_mass_matrix=regularised_variance(state.moments),
        )

    algorithm = SamplingAlgorithm(init, step)
    state, _ = sample(key, algorithm, position, num_steps, transform=lambda state, info: None)
    settings = {
        "step_size": jnp.exp(state.search.log_step_size_average),
        "inverse_mass_matrix": state.inverse_mass_matrix,
    }
    return settings, state.chain


def window_schedule(num_steps: int) -> tuple[Array, Array]:
    """Lay out the windows: each is twice the one before, and the last takes what is left.

    Args:
        num_steps: steps of the warm-up.

    Returns:
        Whether a step's position counts towards the variances, and whether the step is the last of
        its window. [T], [T]

    Raises:
        ValueError: ``num_steps`` is below 20.

    Examples:
        >>> (jnp.flatnonzero(window_schedule(1000)[1]) + 1).tolist()
        [100, 150, 250, 450, 950]

    References:
        As for ``window_adaptation``.
    """
    if num_steps < _MIN_STEPS:
        raise ValueError(f"num_steps: expected at least {_MIN_STEPS}, got {num_steps}")
    if num_steps < _FIRST + _SMALLEST + _LAST:
        start, end = int(0.15 * num_steps), num_steps - int(0.1 * num_steps)
        size = end - start
    else:
        start, end, size = _FIRST, num_steps - _LAST, _SMALLEST
    first, ends = start, []
    while start < end:
        if start + 3 * size > end:  # the next, twice as long, would not fit
            size = end - start
        start, size = start + size, 2 * size
        ends.append(start)
    steps = jnp.arange(num_steps)
    return (first <= steps) & (steps < end), jnp.isin(steps + 1, jnp.array(ends))


def no_moments(position: PyTree) -> Moments:
    """Return the moments of no positions at all, shaped as one."""
    zeros = jax.tree.map(jnp.zeros_like, position)
    return Moments(jnp.zeros((), int), zeros, zeros)


def update_moments(moments: Moments, position: PyTree) -> Moments:
    """Count one more position.

        δ = x - x̄_(n-1),    x̄_n = x̄_(n-1) + δ / n,    Σ_n = Σ_(n-1) + δ (x - x̄_n)

    Args:
        moments: of n - 1 positions.
        position: x.

    Returns:
        The moments of n positions.

    References:
        B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
        Technometrics 4(3), 1962, https://doi.org/10.1080/00401706.1962.10490022.
    """
    n = moments.num_positions + 1
    mean = jax.tree.map(lambda m, x: m + (x - m) / n.astype(x.dtype), moments.mean, position)
    squares = jax.tree.map(
        lambda s, x, old, new: s + (x - old) * (x - new),
        moments.squares,
        position,
        moments.mean,
        mean,
    )
    return Moments(n, mean, squares)


def regularised_variance(moments: Moments) -> PyTree:
    """Draw the variances of a short window towards 1e-3, Stan's guard against a variance of 0.

        n / (n + 5) · Σ (x_i - x̄)² / (n - 1)  +  5 / (n + 5) · 1e-3

    Args:
        moments: of n positions, n at least 2.

    Returns:
        The variances, shaped as the position.

    References:
        As for ``window_adaptation``.
    """

    def variance(squares: Array) -> Array:
        n = moments.num_positions.astype(squares.dtype)
        return n / (n + 5) * squares / (n - 1) + 5 / (n + 5) * 1e-3

    return jax.tree.map(variance, moments.squares)


def _choose(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
