"""Block Gibbs sampling: a position in named blocks, each drawn in turn given all of the others.

    x_k' ~ p(x_k | x_1', ..., x_(k-1)', x_(k+1), ..., x_K),    k = 1..K

A block is moved by an exact conditional where one is known, and by any sampler of this package
where none is: ``kernel_update`` makes an update of a sampler. Blocks may be discrete.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import LogDensityFn, SamplingAlgorithm, check_at_least, sample
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["BlockUpdate", "GibbsState", "gibbs", "kernel_update", "sweep"]

Blocks = dict[str, PyTree]
"""A position in named blocks."""

BlockUpdate = Callable[[Key, Blocks], PyTree]
"""``(key, position) -> new value of one block``, a move that leaves its conditional invariant."""


class GibbsState(NamedTuple):
    """The state of a Gibbs chain: nothing but where it stands.

    Attributes:
        position: the blocks by name, each any pytree of arrays.
    """

    position: Blocks


def gibbs(updates: Mapping[str, BlockUpdate]) -> SamplingAlgorithm:
    """Build a systematic-scan Gibbs sampler, one sweep over all blocks a step.

    The sweep goes in the order of ``updates``, and each update sees the blocks drawn before it. It
    leaves p invariant if each update leaves its conditional invariant; it is not reversible, though
    what one of two blocks does is. The info of a step is empty.

    Args:
        updates: of each block of the position, its update.

    Returns:
        The sampler, for positions that are dicts with the keys of ``updates``.

    Raises:
        TypeError: ``updates`` is no mapping.
        ValueError: ``updates`` is empty or, from ``init``, its names are not those of the position.

    Examples:
        >>> import jax
        >>> rho, scale = 0.9, (1 - 0.9**2) ** 0.5  # two correlated normals
        >>> def update(other):
        ...     return lambda key, x: rho * x[other] + scale * jax.random.normal(key)
        >>> algorithm = gibbs({"a": update("b"), "b": update("a")})
        >>> _, (x, _) = sample(jax.random.key(0), algorithm, {"a": 0.0, "b": 0.0}, 1000)
        >>> bool(abs((x["a"] * x["b"]).mean() - rho) < 0.3)
        True

    References:
        Stuart Geman and Donald Geman, "Stochastic Relaxation, Gibbs Distributions, and the Bayesian
        Restoration of Images", IEEE Transactions on Pattern Analysis and Machine Intelligence 6,
        1984, https://doi.org/10.1109/TPAMI.1984.4767596.
    """
    if not isinstance(updates, Mapping):
        raise TypeError(f"updates: expected a mapping of blocks, got {type(updates).__name__}")
    if not updates:
        raise ValueError("updates: expected at least one block, got none")

    def init(position: Blocks, key: Key | None = None) -> GibbsState:
        if set(position) != set(updates):
            raise ValueError(f"position: expected blocks {sorted(updates)}, got {sorted(position)}")
        return GibbsState(jax.tree.map(jnp.asarray, dict(position)))

    def step(key: Key, state: GibbsState) -> tuple[GibbsState, tuple[()]]:
        return GibbsState(sweep(key, updates, state.position)), ()

    return SamplingAlgorithm(init, step)


def sweep(key: Key, updates: Mapping[str, BlockUpdate], position: Blocks) -> Blocks:
    """Draw each block once, given the newest of the others.

    Args:
        key: a random key.
        updates: of each block, its update, in the order of the sweep.
        position: the blocks.

    Returns:
        The position after the sweep, in its own dtypes.

    Raises:
        TypeError: a block of whole numbers is redrawn as one of fractions, which it would lose.
    """
    for update_key, (name, update) in zip(
        jax.random.split(key, len(updates)), updates.items(), strict=True
    ):
        as_before = functools.partial(_as_before, name)
        new = jax.tree.map(as_before, update(update_key, position), position[name])
        position = {**position, name: new}
    return position


def _as_before(name: str, new: Array, old: Array) -> Array:
    before, after = jnp.result_type(old), jnp.result_type(new)
    if jnp.issubdtype(after, jnp.inexact) and not jnp.issubdtype(before, jnp.inexact):
        raise TypeError(
            f"position: expected {after} in block {name!r}, which is so drawn, got {before}"
        )
    return jnp.asarray(new, before)


def kernel_update(
    build: Callable[[LogDensityFn], SamplingAlgorithm],
    logdensity_fn: LogDensityFn,
    name: str,
    num_steps: int = 1,
) -> BlockUpdate:
    """Make the update of a block from a sampler (Metropolis within Gibbs).

    The sampler moves the block under p(x_name | the others) ∝ p(x); its state is made anew in each
    sweep, as the other blocks have moved.

    Args:
        build: ``logdensity_fn -> SamplingAlgorithm``, such as a ``functools.partial`` of ``mala``.
        logdensity_fn: log p of the whole position, up to a constant. []
        name: the block.
        num_steps: steps of the sampler in each sweep.

    Returns:
        The update, for ``gibbs``.

    Raises:
        ValueError: ``num_steps`` is below 1.

    Examples:
        >>> import functools, jax
        >>> from mnar_ebm.samplers import mala
        >>> build = functools.partial(mala, step_size=0.3)
        >>> def logdensity_fn(x):
        ...     return -0.5 * (x["a"] ** 2 + (x["b"] - x["a"]) ** 2)
        >>> updates = {name: kernel_update(build, logdensity_fn, name) for name in ("a", "b")}
        >>> _, (x, _) = sample(jax.random.key(0), gibbs(updates), {"a": 0.0, "b": 0.0}, 10)
        >>> x["b"].shape
        (10,)
    """
    check_at_least("num_steps", num_steps)

    def update(key: Key, position: Blocks) -> PyTree:
        algorithm = build(lambda block: logdensity_fn({**position, name: block}))
        state, _ = sample(key, algorithm, position[name], 1, thin=num_steps, transform=_nothing)
        return state.position

    return update


def _nothing(state: Any, info: Any) -> tuple[()]:
    return ()
