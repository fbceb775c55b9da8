"""Positions are pytrees: noise shaped as one, and settings that may be shaped as one."""

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import check_positive
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["broadcast_to", "check_all_positive", "normal_like"]


def normal_like(key: Key, position: PyTree) -> PyTree:
    """Draw ξ ~ N(0, I) shaped as a position, with one key for each leaf and each leaf's dtype.

    A single leaf takes the key as it is: on a cheap density the noise is most of a step's cost, and
    a split would be one more call of the generator.

    Args:
        key: a random key, for this alone.
        position: any pytree of floating-point arrays.

    Returns:
        The noise, shaped as ``position``.
    """
    leaves, treedef = jax.tree.flatten(position)
    keys = [key] if len(leaves) == 1 else list(jax.random.split(key, len(leaves)))
    keys = jax.tree.unflatten(treedef, keys)
    return jax.tree.map(lambda key, x: jax.random.normal(key, x.shape, x.dtype), keys, position)


def broadcast_to(position: PyTree, name: str, value: PyTree) -> PyTree:
    """Give each leaf of a position its own part of a setting.

    Args:
        position: any pytree of arrays.
        name: the setting's name, for the message.
        value: the setting: a number or a scalar array for all coordinates, or a pytree shaped as
            the position, in which a scalar may stand for a leaf or for a branch.

    Returns:
        A pytree with the structure of ``position``; each leaf is a scalar or shaped as there.

    Raises:
        ValueError: the setting has another structure, or a leaf of it another shape.

    Examples:
        >>> broadcast_to({"a": jnp.zeros(2), "b": jnp.zeros(3)}, "scale", 0.5)
        {'a': 0.5, 'b': 0.5}
    """

    def leaf(x: Array, part: Array) -> Array:
        if jnp.shape(part) not in ((), jnp.shape(x)):
            shapes = f"{jnp.shape(x)} or a scalar, got {jnp.shape(part)}"
            raise ValueError(f"{name}: expected a leaf of shape {shapes}")
        return part

    try:
        parts = jax.tree.broadcast(value, position)
    except ValueError as error:
        expected, got = jax.tree.structure(position), jax.tree.structure(value)
        raise ValueError(f"{name}: expected a scalar or {expected}, got {got}") from error
    return jax.tree.map(leaf, position, parts)


def check_all_positive(name: str, value: PyTree) -> None:
    """Raise ``ValueError`` for a setting with a number in it that is not positive and finite.

    Args:
        name: the argument's name, for the message.
        value: the setting, a number, an array or a pytree of them; arrays are not looked at.

    Raises:
        ValueError: a number in it is not positive and finite.
    """
    for leaf in jax.tree.leaves(value):
        check_positive(name, leaf)
