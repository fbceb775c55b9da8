"""Parallel tempering (replica exchange): hot copies of a chain cross what the cold one cannot.

R replicas, one at each inverse temperature 1 = β_1 > ... > β_R >= 0, have the joint target

    Π_r p_r(x_r),    log p_r(x) = log p_0(x) + β_r log w(x),

and neighbours exchange places now and then. With p_0 a prior and w a likelihood a replica is a
tempered posterior; with log p_0 = 0 and w the density itself it is p^β.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.numerics.uniform import positive_uniform
from mnar_ebm.samplers.annealed import tempered
from mnar_ebm.samplers.base import LogDensityFn, SamplingAlgorithm, check_at_least, sample
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["TemperingInfo", "TemperingState", "parallel_tempering", "swap", "swap_rates"]

TemperedBuildFn = Callable[[LogDensityFn, Array], SamplingAlgorithm]
"""Makes the kernel of a log-density and its β: ``lambda f, beta: mala(f, 0.1 / beta)``."""


class TemperingState(NamedTuple):
    """Where the replicas stand.

    Attributes:
        position: of the coldest replica: the draw.
        replicas: of all of them, coldest first; each leaf [R, ...].
        parity: 0 where pairs (1, 2), (3, 4), ... swap next, 1 for (2, 3), (4, 5), ... []
    """

    position: PyTree
    replicas: PyTree
    parity: Array


class TemperingInfo(NamedTuple):
    """What a step of parallel tempering reports.

    Attributes:
        swap_rate: the probability of a swap, of each pair of neighbours, tried or not. [R - 1]
        is_swapped: whether they were swapped; half of the pairs are tried in a step. [R - 1]
        kernel: the info of the kernels' last steps, each leaf [R, ...].
    """

    swap_rate: Array
    is_swapped: Array
    kernel: Any


def parallel_tempering(
    build: TemperedBuildFn,
    base_logdensity_fn: LogDensityFn,
    log_weight_fn: LogDensityFn,
    inverse_temperatures: Sequence[float] | Array,
    num_steps: int = 1,
) -> SamplingAlgorithm:
    """Build parallel tempering around any kernel, with even and odd pairs swapped in turn.

        x_r ~ K_r(· | x_r), r = 1..R;    then for every second pair (r, r + 1) swap x_r, x_(r+1)
        with probability min(1, exp((β_r - β_(r+1)) (log w(x_(r+1)) - log w(x_r))))

    The hottest replica should cross the whole space, and neighbours swap with a rate of 0.2 or
    more: temperatures in geometric sequence are a start, more of them where the rate is low.
    Swapping in turn, rather than at random, carries a replica from hot to cold in O(R) steps.

    Args:
        build: ``(logdensity_fn, inverse_temperature) -> SamplingAlgorithm``; the second argument, a
            traced scalar, is for step sizes that grow with the temperature. The kernel's state is
            made anew in each step, so that no density of another temperature is carried over.
        base_logdensity_fn: log p_0 up to a constant, of one position. []
        log_weight_fn: log w, of one position. []
        inverse_temperatures: β_1 = 1 to β_R, decreasing, not negative. [R]
        num_steps: steps of the kernels between two swaps.

    Returns:
        The sampler of p_1. A step costs R (``num_steps`` + 1) evaluations of the log-density.

    Raises:
        ValueError: ``num_steps`` is below 1, or ``inverse_temperatures`` are known and do not
            decrease from 1, are negative, or are fewer than 2.

    Examples:
        >>> import jax
        >>> from mnar_ebm.samplers import mala
        >>> def two_modes(x):
        ...     return jnp.logaddexp(-0.5 * (x - 6) ** 2, -0.5 * (x + 6) ** 2)
        >>> algorithm = parallel_tempering(
        ...     lambda f, beta: mala(f, 0.5 / beta), jnp.zeros_like, two_modes, [1, 0.3, 0.1, 0.03]
        ... )
        >>> _, (x, info) = sample(jax.random.key(0), algorithm, 6.0, 1000)
        >>> bool(x.min() < -4), info.swap_rate.shape
        (True, (1000, 3))

    References:
        Saifuddin Syed, Alexandre Bouchard-Côté, George Deligiannidis and Arnaud Doucet,
        "Non-Reversible Parallel Tempering: a Scalable Highly Parallel MCMC Scheme", Journal of the
        Royal Statistical Society B 84, 2022, https://arxiv.org/abs/1905.02939.
    """
    check_at_least("num_steps", num_steps)
    betas = _check_temperatures(inverse_temperatures)

    def init(position: PyTree, key: Key | None = None) -> TemperingState:
        position = jax.tree.map(jnp.asarray, position)
        replicas = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(betas), *x.shape)), position)
        return TemperingState(position, replicas, jnp.zeros((), jnp.int32))

    def move(key: Key, position: PyTree, beta: Array) -> tuple[PyTree, Any]:
        kernel = build(tempered(base_logdensity_fn, log_weight_fn, beta), beta)
        state, info = sample(key, kernel, position, 1, thin=num_steps, transform=_info)
        return state.position, jax.tree.map(lambda leaf: leaf[0], info)

    def step(key: Key, state: TemperingState) -> tuple[TemperingState, TemperingInfo]:
        key_move, key_swap = jax.random.split(key)
        keys = jax.random.split(key_move, len(betas))
        replicas, info = jax.vmap(move)(keys, state.replicas, betas)
        rates = swap_rates(jax.vmap(log_weight_fn)(replicas), betas)
        is_turn = jnp.arange(len(rates)) % 2 == state.parity
        is_swapped = is_turn & (positive_uniform(key_swap, rates.shape, rates.dtype) < rates)
        replicas = swap(replicas, is_swapped)
        cold = jax.tree.map(lambda leaf: leaf[0], replicas)
        new_state = TemperingState(cold, replicas, 1 - state.parity)
        return new_state, TemperingInfo(rates, is_swapped, info)

    return SamplingAlgorithm(init, step)


def swap_rates(log_w: Array, inverse_temperatures: Array) -> Array:
    """Return the Metropolis rates at which neighbours swap; p_0 is in both and cancels.

    Args:
        log_w: log w of each replica. [R]
        inverse_temperatures: β. [R]

    Returns:
        min(1, exp((β_r - β_(r+1)) (log w_(r+1) - log w_r))), zero where that is NaN. [R - 1]
    """
    log_ratio = -jnp.diff(inverse_temperatures) * jnp.diff(log_w)
    rates = jnp.exp(jnp.minimum(log_ratio, 0)).astype(log_w.dtype)
    return jnp.where(jnp.isnan(rates), 0, rates)


def swap(replicas: PyTree, is_swapped: Array) -> PyTree:
    """Exchange neighbours.

    Args:
        replicas: positions, each leaf [R, ...].
        is_swapped: whether r and r + 1 exchange places, never two pairs with one in common. [R - 1]

    Returns:
        The replicas in their new places.
    """
    up = jnp.append(is_swapped, False).astype(jnp.int32)
    down = jnp.append(False, is_swapped).astype(jnp.int32)
    source = jnp.arange(len(up)) + up - down
    return jax.tree.map(lambda leaf: leaf[source], replicas)


def _check_temperatures(inverse_temperatures: Sequence[float] | Array) -> Array:
    betas = jnp.asarray(inverse_temperatures, float)
    if isinstance(betas, jax.core.Tracer):
        return betas
    decrease = bool(jnp.all(jnp.diff(betas) < 0)) and betas.ndim == 1 and len(betas) > 1
    if not (decrease and betas[0] == 1 and betas[-1] >= 0):
        expected = "at least two numbers that decrease from 1 and are not negative"
        raise ValueError(f"inverse_temperatures: expected {expected}, got {betas.tolist()}")
    return betas


def _info(state: Any, info: Any) -> Any:
    return info
