"""The loops that the JAX libraries without one of their own for many chains are run in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.samplers.interface import Chains, Draws
from experiments.benchmark.samplers.targets import Target

__all__ = ["Kept", "chains", "contrastive_divergence", "logdensity_fn", "on_host", "timed"]


class Kept(NamedTuple):
    """What a loop keeps of a step: the position and, where it tells them, how the proposal fared.

    Attributes:
        position: [D].
        acceptance_rate: of the proposal. []
        energy_error: ΔH, or an empty array. [] or [0]
    """

    position: Any
    acceptance_rate: Any = jnp.nan
    energy_error: Any = jnp.zeros(0)


def logdensity_fn(target: Target) -> Callable[[Any], Any]:
    """Return the log-density of positions [..., D], with its constants on the device."""
    constants = {name: jnp.asarray(value) for name, value in target.constants.items()}
    return lambda x: target.logdensity(constants, x, jnp)


def timed(run: Callable[..., Any], *arguments: Any) -> Callable[[int], Any]:
    """Compile ``run(key, *arguments)`` into a function of the seed that waits for its end."""
    compiled = jax.jit(run)
    arguments = jax.device_put(arguments)
    return lambda seed: jax.block_until_ready(compiled(jax.random.key(seed), *arguments))


def on_host(kept: Kept, num_gradients: float) -> Draws:
    """Bring kept values [C, N, ...] to the host."""
    position, acceptance_rate, energy_error = map(np.asarray, kept)
    return Draws(position, float(acceptance_rate.mean()), energy_error, num_gradients)


def chains(
    init: Callable[[Any, Any], Any],
    step: Callable[[Any, Any], tuple[Any, Kept]],
    num_gradients: float,
) -> Chains:
    """Run a kernel in the fastest plain loop: a scan over keys that are split at once.

    Args:
        init: ``(position, key) -> state``, with ``state.position`` or ``state.z``.
        step: ``(key, state) -> (state, kept)``.
        num_gradients: of a step.
    """

    def run(key: Any, start: Any, num_draws: int, thin: int) -> Kept:
        key_init, key_steps = jax.random.split(key)
        keys = jax.random.split(key_steps, (num_draws, thin))

        def draw(state: Any, keys: Any) -> tuple[Any, Kept]:
            state, _ = jax.lax.scan(lambda s, k: (step(k, s)[0], None), state, keys[:-1])
            return step(keys[-1], state)

        return jax.lax.scan(draw, init(start, key_init), keys)[1]

    def advance(starts: np.ndarray, num_steps: int) -> Callable[[int], Any]:
        def ends(key: Any, starts: Any) -> Any:
            keys = jax.random.split(key, len(starts))
            return jax.vmap(lambda k, x: run(k, x, 1, num_steps).position[0])(keys, starts)

        return timed(ends, starts)

    def draws(seed: int, starts: np.ndarray, num_draws: int, thin: int) -> Draws:
        keys = jax.random.split(jax.random.key(seed), len(starts))
        compiled = jax.jit(jax.vmap(lambda k, x: run(k, x, num_draws, thin)))
        return on_host(compiled(keys, starts), num_gradients)

    return Chains(advance, draws)


def contrastive_divergence(
    target: Target, advance: Callable[[Any, Callable[[Any], Any], Any], Any]
) -> Callable[[np.ndarray], Callable[[int], Any]]:
    """Return the gradient of mean E(data) - mean E(negatives), negatives being advanced data.

    Args:
        target: with E = -log p up to a constant.
        advance: ``(key, logdensity_fn, start [D]) -> end [D]``, one chain.
    """

    def step(key: Any, constants: Any, data: Any) -> Any:
        def logdensity(constants: Any, x: Any) -> Any:
            return target.logdensity(constants, x, jnp)

        keys = jax.random.split(key, len(data))
        negatives = jax.vmap(lambda k, x: advance(k, lambda y: logdensity(constants, y), x))(
            keys, data
        )

        def loss(constants: Any) -> Any:
            return logdensity(constants, negatives).mean() - logdensity(constants, data).mean()

        value, gradient = jax.value_and_grad(loss)(constants)
        return value, negatives, gradient

    constants = dict(target.constants)
    return lambda data: timed(step, constants, data)
