r"""Draws in one call: many chains, settings adapted, compiled once.

A log-density with parameters is passed as ``Partial(logdensity_fn, params)``. A ``Partial`` is a
pytree whose leaves are arguments of the compiled function, so that new parameters, a new key, new
positions or another step size of the same shapes do not compile again:

>>> import jax
>>> from jax.tree_util import Partial
>>> from mnar_ebm import samplers
>>> def logdensity_fn(precision, x):
...     return -0.5 * (precision * x**2).sum()
>>> key, x0 = jax.random.key(0), jax.numpy.zeros((4, 3))
>>> for precision in (1.0, 2.0):  # compiled once
...     chains = samplers.hamiltonian(key, Partial(logdensity_fn, precision), x0, 100)
>>> chains.draws.shape, chains.info.acceptance_rate.shape, chains.settings["step_size"].shape
((4, 100, 3), (4, 100), (4,))

A plain function works too, and is compiled once for each function object.

On a CPU, many chains in many dimensions run up to three times as fast in batches whose positions
fit the cache: ``batch_size=100`` for 10,000 chains of 1,000 dimensions. The law of the draws is the
same; rounding is not, and so chains part after some steps.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.tree_util import Partial

from mnar_ebm.samplers.adaptation import adapt_step_size
from mnar_ebm.samplers.base import (
    LogDensityFn,
    check_at_least,
    check_positive,
    check_start,
    sample,
)
from mnar_ebm.samplers.hmc import hmc
from mnar_ebm.samplers.langevin import mala, ula
from mnar_ebm.samplers.trajectory import adapt_trajectory
from mnar_ebm.samplers.windows import window_adaptation
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["Chains", "adjusted_langevin", "hamiltonian", "langevin"]


class Chains(NamedTuple):
    """Draws of C chains, chains before draws as in ArviZ.

    Attributes:
        draws: positions, each leaf [C, N, ...].
        info: of the sampler, for each draw; each leaf [C, N, ...].
        settings: ``step_size`` and what else each chain ran with; each leaf [C, ...].
    """

    draws: PyTree
    info: Any
    settings: dict[str, Any]


def langevin(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    num_steps: int,
    *,
    step_size: float | Array,
    temperature: float | Array = 1.0,
    burn_in: int = 0,
    thin: int = 1,
    batch_size: int | None = None,
) -> Chains:
    """Draw by unadjusted Langevin chains (``ula``), whose law is off by the order of the step size.

    Args:
        key: a random key.
        logdensity_fn: log p up to a constant, of one position; a ``Partial`` if it has parameters.
        x0: where each chain starts, each leaf [C, ...].
        num_steps: N, kept draws of each chain.
        step_size: η of x' = x + η ∇log p(x) + √(2 η temperature) ξ. []
        temperature: T; the target is p^(1/T). []
        burn_in: steps before the first that can be kept.
        thin: steps from one kept draw to the next.
        batch_size: chains that run side by side, the next when they are done; all by default.

    Returns:
        The draws.

    Raises:
        ValueError: a setting is out of range, the leaves of ``x0`` have no common first axis, or
            a chain starts where log p is not finite.

    References:
        As for ``ula``.
    """
    check_positive("step_size", step_size)
    check_positive("temperature", temperature, or_zero=True)
    _check_chains(logdensity_fn, x0, batch_size)
    static = (num_steps, burn_in, thin, batch_size)
    return _langevin(key, _partial(logdensity_fn), x0, step_size, temperature, *static)


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _langevin(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    step_size: Array,
    temperature: Array,
    num_steps: int,
    burn_in: int,
    thin: int,
    batch_size: int | None,
) -> Chains:
    def run(key: Key, position: PyTree) -> Chains:
        algorithm = ula(logdensity_fn, step_size, temperature)
        _, (draws, info) = sample(key, algorithm, position, num_steps, burn_in=burn_in, thin=thin)
        return Chains(draws, info, {"step_size": step_size})

    return _over_chains(run, key, x0, batch_size)


def adjusted_langevin(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    num_steps: int,
    *,
    num_adaptation_steps: int = 500,
    thin: int = 1,
    batch_size: int | None = None,
) -> Chains:
    """Draw by Metropolis-adjusted Langevin chains (``mala``), each with its own adapted step size.

    Args:
        key: a random key.
        logdensity_fn: log p up to a constant, of one position; a ``Partial`` if it has parameters.
        x0: where each chain starts, each leaf [C, ...].
        num_steps: N, kept draws of each chain.
        num_adaptation_steps: steps of ``adapt_step_size``, which are not kept.
        thin: steps from one kept draw to the next.
        batch_size: chains that run side by side, the next when they are done; all by default.

    Returns:
        The draws.

    Raises:
        ValueError: a setting is out of range, the leaves of ``x0`` have no common first axis, or
            a chain starts where log p is not finite.

    References:
        As for ``mala`` and ``adapt_step_size``.
    """
    _check_chains(logdensity_fn, x0, batch_size)
    static = (num_steps, num_adaptation_steps, thin, batch_size)
    return _adjusted_langevin(key, _partial(logdensity_fn), x0, *static)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _adjusted_langevin(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    num_steps: int,
    num_adaptation_steps: int,
    thin: int,
    batch_size: int | None,
) -> Chains:
    make_algorithm = functools.partial(mala, logdensity_fn)

    def run(key: Key, position: PyTree) -> Chains:
        key_adapt, key_sample = jax.random.split(key)
        step_size, state = adapt_step_size(
            key_adapt, make_algorithm, position, num_adaptation_steps, 0.1
        )
        algorithm = make_algorithm(step_size)
        _, (draws, info) = sample(key_sample, algorithm, state.position, num_steps, thin=thin)
        return Chains(draws, info, {"step_size": step_size})

    return _over_chains(run, key, x0, batch_size)


def hamiltonian(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    num_steps: int,
    *,
    num_adaptation_steps: int = 1000,
    num_integration_steps: int | None = None,
    thin: int = 1,
    batch_size: int | None = None,
) -> Chains:
    """Draw by Hamiltonian chains (``hmc``), each with its own step size, mass matrix and length.

    Args:
        key: a random key.
        logdensity_fn: log p up to a constant, of one position; a ``Partial`` if it has parameters.
        x0: where each chain starts, each leaf [C, ...].
        num_steps: N, kept draws of each chain.
        num_adaptation_steps: steps that are not kept, at least 30: of ``window_adaptation`` and,
            a third of them, of ``adapt_trajectory``.
        num_integration_steps: leapfrog steps of every trajectory, in place of the length that
            adapts. Where their number is fixed, chains may come back to where they were.
        thin: steps from one kept draw to the next.
        batch_size: chains that run side by side, the next when they are done; all by default.

    Returns:
        The draws.

    Raises:
        ValueError: a setting is out of range, the leaves of ``x0`` have no common first axis, or
            a chain starts where log p is not finite.

    References:
        As for ``hmc`` and ``window_adaptation``.
    """
    _check_chains(logdensity_fn, x0, batch_size)
    if num_integration_steps is None:  # two thirds for the windows, the rest for the length
        check_at_least("num_adaptation_steps", num_adaptation_steps, 30)
    static = (num_steps, num_adaptation_steps, num_integration_steps, thin, batch_size)
    return _hamiltonian(key, _partial(logdensity_fn), x0, *static)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6, 7))
def _hamiltonian(
    key: Key,
    logdensity_fn: LogDensityFn,
    x0: PyTree,
    num_steps: int,
    num_adaptation_steps: int,
    num_integration_steps: int | None,
    thin: int,
    batch_size: int | None,
) -> Chains:
    make_algorithm = functools.partial(
        hmc, logdensity_fn, num_integration_steps=num_integration_steps
    )
    is_free = num_integration_steps is None
    num_last = num_adaptation_steps // 3 if is_free else 0

    def run(key: Key, position: PyTree) -> Chains:
        key_adapt, key_sample = jax.random.split(key)
        settings, state = window_adaptation(
            key_adapt, make_algorithm, position, num_adaptation_steps - num_last
        )
        if is_free:
            key_length = jax.random.fold_in(key_adapt, 1)
            settings, state = adapt_trajectory(
                key_length, logdensity_fn, state.position, num_last, **settings
            )
        algorithm = make_algorithm(**settings)
        _, (draws, info) = sample(key_sample, algorithm, state.position, num_steps, thin=thin)
        return Chains(draws, info, settings)

    return _over_chains(run, key, x0, batch_size)


def _over_chains(
    run: Callable[[Key, PyTree], Chains], key: Key, x0: PyTree, batch_size: int | None
) -> Chains:
    """Map one chain over starts and keys."""
    num_chains = jax.tree.leaves(x0)[0].shape[0]
    keys = jax.random.split(key, num_chains)
    if batch_size is None or batch_size >= num_chains:
        return jax.vmap(run)(keys, x0)
    return jax.lax.map(lambda chain: run(*chain), (keys, x0), batch_size=batch_size)


def _partial(logdensity_fn: LogDensityFn) -> Partial:
    return logdensity_fn if isinstance(logdensity_fn, Partial) else Partial(logdensity_fn)


@jax.jit
def _logdensities(logdensity_fn: LogDensityFn, x0: PyTree) -> Array:
    return jax.vmap(logdensity_fn)(x0)


def _check_chains(logdensity_fn: LogDensityFn, x0: PyTree, batch_size: int | None) -> None:
    shapes = [jax.numpy.shape(leaf) for leaf in jax.tree.leaves(x0)]
    if len({shape[:1] for shape in shapes}) != 1 or shapes[0] == () or shapes[0][0] == 0:
        raise ValueError(f"x0: expected leaves with one first axis of chains, got shapes {shapes}")
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((x0, logdensity_fn))):
        check_start(_logdensities(_partial(logdensity_fn), x0))
    if batch_size is not None:
        check_at_least("batch_size", batch_size)
