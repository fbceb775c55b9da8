"""Step sizes found by dual averaging: the chain itself is the experiment.

A step size is good when the acceptance rate is near a target. The rate falls as the step grows, so
the step size is the root of a noisy decreasing function; dual averaging finds it while the chain
runs. The adapting chain does not leave its target invariant: adapt first, then sample.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from mnar_ebm.samplers.base import SamplingAlgorithm, check_positive, sample
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["DualAveraging", "DualAveragingState", "adapt_step_size", "dual_averaging"]


class DualAveragingState(NamedTuple):
    """Where the search for a step size stands.

    Attributes:
        log_step_size: x_t, what to try next. []
        log_step_size_average: x̄_t, the best guess so far. []
        error_sum: Σ H_i, target less acceptance rate. []
        num_updates: t. []
    """

    log_step_size: Array
    log_step_size_average: Array
    error_sum: Array
    num_updates: Array


class DualAveraging(NamedTuple):
    """A search for a step size, as two pure functions.

    Attributes:
        init: ``init() -> state``.
        update: ``update(state, acceptance_rate) -> state``.
    """

    init: Callable[[], DualAveragingState]
    update: Callable[[DualAveragingState, Array | float], DualAveragingState]


def dual_averaging(
    initial_step_size: float | Array,
    target_acceptance_rate: float = 0.574,
    gamma: float = 0.05,
    t0: float = 10.0,
    kappa: float = 0.75,
) -> DualAveraging:
    """Build the search for the step size whose acceptance rate is the target.

        x_(t+1) = μ - (√t / γ) Σ_(i≤t) H_i / (t + t0),       H_i = target - acceptance rate
        x̄_(t+1) = t^-κ x_(t+1) + (1 - t^-κ) x̄_t

    with x the log of the step size and μ = log(10 ``initial_step_size``), so that large steps,
    which are cheap, are tried first.

    Args:
        initial_step_size: the first to try. []
        target_acceptance_rate: the target, between 0 and 1.
        gamma: how strongly x is drawn to μ.
        t0: how much the first steps are held back.
        kappa: how fast the first steps are forgotten; above 1/2, at most 1.

    Returns:
        The search: ``init()`` and ``update(state, acceptance_rate)``.

    Raises:
        ValueError: ``initial_step_size`` is a number and not positive, or the target is not
            strictly between 0 and 1.

    Examples:
        >>> search = dual_averaging(0.1)
        >>> state = search.update(search.init(), 1.0)  # accepted: try a longer step
        >>> bool(state.log_step_size > search.init().log_step_size)
        True

    References:
        Matthew D. Hoffman and Andrew Gelman, "The No-U-Turn Sampler", JMLR 15, 2014,
        https://jmlr.org/papers/v15/hoffman14a.html, section 3.2.1, equation (6).
    """
    check_positive("initial_step_size", initial_step_size)
    if not 0 < target_acceptance_rate < 1:
        raise ValueError(
            "target_acceptance_rate: expected a value strictly between 0 and 1, "
            f"got {target_acceptance_rate}"
        )
    log_initial = jnp.log(jnp.asarray(initial_step_size, float))
    mu = jnp.log(10.0) + log_initial

    def init() -> DualAveragingState:
        zero = jnp.zeros_like(log_initial)
        return DualAveragingState(log_initial, log_initial, error_sum=zero, num_updates=zero)

    def update(state: DualAveragingState, acceptance_rate: Array | float) -> DualAveragingState:
        t = state.num_updates + 1
        error_sum = state.error_sum + (target_acceptance_rate - acceptance_rate)
        log_step_size = mu - jnp.sqrt(t) / gamma * error_sum / (t + t0)
        weight = t**-kappa
        average = weight * log_step_size + (1 - weight) * state.log_step_size_average
        return DualAveragingState(log_step_size, average, error_sum, t)

    return DualAveraging(init, update)


class _AdaptationState(NamedTuple):
    chain: Any
    search: DualAveragingState


def adapt_step_size(
    key: Key,
    make_algorithm: Callable[[Array], SamplingAlgorithm],
    position: PyTree,
    num_steps: int,
    initial_step_size: float | Array,
    target_acceptance_rate: float = 0.574,
) -> tuple[Array, Any]:
    """Run a chain whose step size adapts, and return the step size that it settles on.

    Each step runs the sampler at the current step size, and passes its acceptance rate to
    ``dual_averaging``. The rate of the result is off the target by the order of 1/√``num_steps``.
    Under ``jax.vmap`` every chain finds a step size of its own.

    Args:
        key: a random key.
        make_algorithm: ``step_size -> SamplingAlgorithm``, with ``acceptance_rate`` in its info and
            a state that does not depend on the step size, such as ``partial(mala, logdensity_fn)``.
        position: where the chain starts: any pytree of arrays.
        num_steps: steps of the chain; a few hundred are usual.
        initial_step_size: the first to try. []
        target_acceptance_rate: 0.574 is for ``mala``; 0.65 to 0.8 is usual for HMC.

    Returns:
        The step size, exp x̄ [], and the sampler's state, whose position is where to sample from.

    Raises:
        ValueError: ``num_steps`` is below 1, ``initial_step_size`` is a number and not positive, or
            the target is not strictly between 0 and 1.

    Examples:
        >>> import functools, jax
        >>> from mnar_ebm.samplers import mala, sample
        >>> make_algorithm = functools.partial(mala, lambda x: -0.5 * x**2)
        >>> key_adapt, key_sample = jax.random.split(jax.random.key(0))
        >>> step_size, state = adapt_step_size(key_adapt, make_algorithm, 0.0, 200, 0.1)
        >>> state, kept = sample(key_sample, make_algorithm(step_size), state.position, 100)

    References:
        Matthew D. Hoffman and Andrew Gelman, "The No-U-Turn Sampler", JMLR 15, 2014,
        https://jmlr.org/papers/v15/hoffman14a.html, section 3.2, algorithm 5.
        Gareth O. Roberts and Jeffrey S. Rosenthal, "Optimal scaling of discrete approximations to
        Langevin diffusions", JRSS B 60(1), 1998, https://doi.org/10.1111/1467-9868.00123 (0.574).
    """
    search = dual_averaging(initial_step_size, target_acceptance_rate)

    def init(position: PyTree, key: Key | None = None) -> _AdaptationState:
        state = search.init()
        algorithm = make_algorithm(jnp.exp(state.log_step_size))
        return _AdaptationState(algorithm.init(position, key), state)

    def step(key: Key, state: _AdaptationState) -> tuple[_AdaptationState, Any]:
        algorithm = make_algorithm(jnp.exp(state.search.log_step_size))
        chain, info = algorithm.step(key, state.chain)
        return _AdaptationState(chain, search.update(state.search, info.acceptance_rate)), info

    algorithm = SamplingAlgorithm(init, step)
    state, _ = sample(key, algorithm, position, num_steps, transform=lambda state, info: None)
    return jnp.exp(state.search.log_step_size_average), state.chain
