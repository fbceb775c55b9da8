"""Annealed importance sampling: log Z of a tilt, from below and from above.

A base p_0 is tilted by weights w along a path of inverse temperatures 0 = β_0 < ... < β_T = 1:

    log p_β(x) = log p_0(x) + β log w(x),      Z = E_(p_0) w = ∫ p_0 w / ∫ p_0

``ais`` walks up the path from draws of the base, ``reverse_ais`` down from draws of the target p_1.
One is unbiased for Z and the other for 1/Z, so that in expectation the log of the first is below
log Z and that of the second above: a bracket (bidirectional Monte Carlo). Both return the
log-weights of their paths on one scale, and ``bridge`` joins the two into a sharper estimate.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import (
    LogDensityFn,
    SamplingAlgorithm,
    check_at_least,
    check_rank,
    sample,
)
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
)
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["AnnealedEstimate", "Bracket", "BuildFn", "ais", "move", "reverse_ais", "tempered"]

BuildFn = Callable[[LogDensityFn], SamplingAlgorithm]
"""Makes the kernel of a log-density: ``functools.partial(mala, step_size=0.1)``."""


class AnnealedEstimate(NamedTuple):
    """The estimate from N annealed paths.

    Attributes:
        log_z: the estimate; of ``ais`` biased down, of ``reverse_ais`` biased up. []
        log_z_standard_error: by the delta method, as far as the paths reach. []
        effective_sample_size: of the paths' weights, in paths: if it is near 1, trust nothing. []
        log_w: log of target over base, of each path; ``bridge`` takes those of both directions. [N]
        draws: where the paths end: at the target, with weights w, or at the base, with weights 1/w;
            each leaf [N, ...].
        acceptance_rate: of the kernel at β_1..β_T; NaN if it reports none. [T]
    """

    log_z: Array
    log_z_standard_error: Array
    effective_sample_size: Array
    log_w: Array
    draws: PyTree
    acceptance_rate: Array


Side = TypeVar("Side")


class Bracket(NamedTuple, Generic[Side]):
    """log Z from below and from above, in expectation.

    Attributes:
        lower: estimate by paths from draws of the base.
        upper: estimate by paths from draws of the target.
    """

    lower: Side
    upper: Side


def ais(
    key: Key,
    sample_fn: Callable[[Key], PyTree],
    base_logdensity_fn: LogDensityFn,
    log_weight_fn: Callable[[PyTree], Array],
    build: BuildFn,
    inverse_temperatures: Sequence[float] | Array,
    num_samples: int,
    num_steps: int = 1,
) -> AnnealedEstimate:
    """Estimate log Z by annealing draws of the base into the target.

        x_0 ~ p_0,    x_t ~ K_t(· | x_(t-1)) with p_(β_t) invariant,    t = 1..T
        log w = Σ_t (β_t - β_(t-1)) log w(x_(t-1)),    Ẑ = (1/N) Σ_n w_n

    E Ẑ = Z for any T and any kernels, so log Ẑ is biased down. With T = 1 it is ``snis``.

    Args:
        key: a random key.
        sample_fn: ``key -> x``, one draw from p_0: any pytree.
        base_logdensity_fn: log p_0 up to a constant, of one position. []
        log_weight_fn: log w, of one position; -E for the tilt exp(-E). []
        build: ``logdensity_fn -> SamplingAlgorithm``. It is called, and its state made anew, at
            each temperature, so that no density of another temperature is carried over.
        inverse_temperatures: β_0 = 0 to β_T = 1, increasing. [T + 1]
        num_samples: N, independent paths.
        num_steps: steps of the kernel at each temperature.

    Returns:
        The estimate. Its cost is N T ``num_steps`` steps.

    Raises:
        ValueError: ``num_samples`` or ``num_steps`` is below 1, or ``inverse_temperatures`` are
            known and do not increase from 0 to 1.

    Examples:
        >>> import functools
        >>> from mnar_ebm.samplers import mala
        >>> args = (lambda x: -0.5 * x**2, lambda x: x, functools.partial(mala, step_size=0.3))
        >>> up = ais(jax.random.key(0), jax.random.normal, *args, jnp.linspace(0, 1, 11), 1000)
        >>> abs(float(up.log_z) - 0.5) < 4 * float(up.log_z_standard_error)
        True

    References:
        Radford M. Neal, "Annealed importance sampling", Statistics and Computing 11, 2001,
        https://doi.org/10.1023/A:1008923215028.
    """
    check_at_least("num_samples", num_samples)
    key_base, key_paths = jax.random.split(key)
    start = jax.vmap(sample_fn)(jax.random.split(key_base, num_samples))
    walk = _Walk(base_logdensity_fn, log_weight_fn, build, num_steps)
    log_w, draws, acceptance = _anneal(key_paths, start, walk, inverse_temperatures, upwards=True)
    return _estimate(log_w, log_w, draws, acceptance)


def reverse_ais(
    key: Key,
    target_draws: PyTree,
    base_logdensity_fn: LogDensityFn,
    log_weight_fn: Callable[[PyTree], Array],
    build: BuildFn,
    inverse_temperatures: Sequence[float] | Array,
    num_steps: int = 1,
) -> AnnealedEstimate:
    """Estimate log Z by annealing draws of the target back into the base: the mirror of ``ais``.

        x_T ~ p_1,    x_(t-1) ~ K_t(· | x_t),    t = T..1
        log w = Σ_t (β_t - β_(t-1)) log w(x_(t-1)),    1/Ẑ = (1/N) Σ_n 1/w_n

    E[1/Ẑ] = 1/Z, so log Ẑ is biased up: an upper bound, if the draws are exact and the kernels
    reversible, as MALA and HMC are (the walk down must be the walk up in reversed time).

    Args:
        key: a random key.
        target_draws: N independent draws of p_1, each leaf [N, ...].
        base_logdensity_fn: as for ``ais``.
        log_weight_fn: as for ``ais``.
        build: as for ``ais``.
        inverse_temperatures: β_0 = 0 to β_T = 1, increasing, as for ``ais``. [T + 1]
        num_steps: steps of the kernel at each temperature.

    Returns:
        The estimate.

    Raises:
        ValueError: ``num_steps`` is below 1, or ``inverse_temperatures`` are known and do not
            increase from 0 to 1.

    Examples:
        >>> import functools
        >>> from mnar_ebm.samplers import mala
        >>> args = (lambda x: -0.5 * x**2, lambda x: x, functools.partial(mala, step_size=0.3))
        >>> x = 1 + jax.random.normal(jax.random.key(0), (1000,))
        >>> down = reverse_ais(jax.random.key(1), x, *args, jnp.linspace(0, 1, 11))
        >>> abs(float(down.log_z) - 0.5) < 4 * float(down.log_z_standard_error)
        True

    References:
        Roger B. Grosse, Zoubin Ghahramani and Ryan P. Adams, "Sandwiching the marginal likelihood
        using bidirectional Monte Carlo", 2015, https://arxiv.org/abs/1511.02543.
    """
    walk = _Walk(base_logdensity_fn, log_weight_fn, build, num_steps)
    log_w, draws, acceptance = _anneal(key, target_draws, walk, inverse_temperatures, upwards=False)
    up = _estimate(log_w, -log_w, draws, acceptance)
    return up._replace(log_z=-up.log_z)


def tempered(
    base_logdensity_fn: LogDensityFn,
    log_weight_fn: Callable[[PyTree], Array],
    inverse_temperature: Array,
) -> LogDensityFn:
    """Build the log-density of a tempered tilt: log p_β(x) = log p_0(x) + β log w(x).

    Args:
        base_logdensity_fn: log p_0 up to a constant, of one position. []
        log_weight_fn: log w, of one position. []
        inverse_temperature: β. []

    Returns:
        log p_β, of one position.

    References:
        As for ``ais``.
    """
    return lambda x: base_logdensity_fn(x) + inverse_temperature * log_weight_fn(x)


def move(
    key: Key, build: BuildFn, logdensity_fn: LogDensityFn, position: PyTree, num_steps: int
) -> tuple[PyTree, Array]:
    """Move one position by a few steps of the kernel of a density, from a state made anew.

    Args:
        key: a random key.
        build: ``logdensity_fn -> SamplingAlgorithm``.
        logdensity_fn: what the kernel leaves invariant. []
        position: any pytree.
        num_steps: steps.

    Returns:
        The new position, and the mean acceptance rate; NaN if the kernel reports none. []

    References:
        As for ``ais``.
    """

    def acceptance_rate(state: object, info: object) -> Array:
        return jnp.asarray(getattr(info, "acceptance_rate", jnp.nan))

    algorithm = build(logdensity_fn)
    state, rates = sample(key, algorithm, position, num_steps, transform=acceptance_rate)
    return state.position, jnp.mean(rates)


class _Walk(NamedTuple):
    """The path's densities, and how one moves at each of them."""

    base_logdensity_fn: LogDensityFn
    log_weight_fn: Callable[[PyTree], Array]
    build: BuildFn
    num_steps: int


def _anneal(
    key: Key,
    start: PyTree,
    walk: _Walk,
    inverse_temperatures: Sequence[float] | Array,
    *,
    upwards: bool,
) -> tuple[Array, PyTree, Array]:
    """Walk N positions along the path; log-weights [N], positions [N, ...], acceptance [T]."""
    check_at_least("num_steps", walk.num_steps)
    _check_inverse_temperatures(inverse_temperatures)
    log_weights = jax.eval_shape(jax.vmap(walk.log_weight_fn), start)
    check_rank("log_weight_fn", log_weights)
    betas = jnp.asarray(inverse_temperatures, log_weights.dtype)

    def move_one(key: Key, position: PyTree, beta: Array) -> tuple[PyTree, Array]:
        target = tempered(walk.base_logdensity_fn, walk.log_weight_fn, beta)
        return move(key, walk.build, target, position, walk.num_steps)

    def step(
        carry: tuple[Array, PyTree], at: tuple[Key, Array, Array]
    ) -> tuple[tuple[Array, PyTree], Array]:
        log_w, position = carry
        key, beta, increment = at
        keys = jax.random.split(key, log_w.size)
        if upwards:  # weigh, then move; the walk down undoes it in the other order
            log_w = log_w + increment * jax.vmap(walk.log_weight_fn)(position)
        position, rates = jax.vmap(move_one, (0, 0, None))(keys, position, beta)
        if not upwards:
            log_w = log_w + increment * jax.vmap(walk.log_weight_fn)(position)
        return (log_w, position), jnp.mean(rates)

    keys = jax.random.split(key, betas.size - 1)
    carry = (jnp.zeros_like(log_weights), jax.tree.map(jnp.asarray, start))
    path = (keys, betas[1:], jnp.diff(betas))
    carry, rates = jax.lax.scan(step, carry, path, reverse=not upwards)
    return *carry, rates


def _estimate(log_w: Array, log_ratio: Array, draws: PyTree, rates: Array) -> AnnealedEstimate:
    """Reduce the log of weights whose mean is Z, or 1/Z."""
    error, ess = log_mean_exp_standard_error(log_ratio), effective_sample_size(log_ratio)
    return AnnealedEstimate(log_mean_exp(log_ratio), error, ess, log_w, draws, rates)


def _check_inverse_temperatures(inverse_temperatures: Sequence[float] | Array) -> None:
    """Raise ``ValueError`` unless they increase from 0 to 1; a traced array passes."""
    check_rank("inverse_temperatures", inverse_temperatures)
    if isinstance(inverse_temperatures, jax.core.Tracer):
        return
    betas = [float(beta) for beta in jax.device_get(inverse_temperatures)]
    increasing = all(low < high for low, high in zip(betas, betas[1:], strict=False))
    if len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not increasing:
        shown = ", ".join(f"{beta:g}" for beta in betas[:5]) + (", ..." if len(betas) > 5 else "")
        raise ValueError(
            f"inverse_temperatures: expected values that increase from 0 to 1, got {shown}"
        )
