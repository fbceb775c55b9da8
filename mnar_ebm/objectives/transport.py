r"""Energy matching: one potential whose slope carries noise to data along straight lines.

Noise x_0 and data x_1 are paired so that their squared distances have the least sum, and on the
line x_t = (1 - t) x_0 + t x_1 the potential is to fall as fast as the pair is apart:

    ‖∇V(x_t) + x_1 - x_0‖²

Where no two lines cross, the minimum is the map of optimal transport, -∇V(x_t) = x_1 - x_0: for
data that are the noise moved by m, V(x) = -m·x. It says nothing of how steep V is at its end. Near
the data V is made a density at temperature ε, p(x) ∝ exp(-V(x)/ε), by contrast with chains.

References:
    M. Balcerak et al., "Energy Matching: Unifying Flow Matching and Energy-Based Models for
    Generative Modeling", NeurIPS 2025, https://arxiv.org/abs/2504.10612, sec. 3.
    A. Tong et al., "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
    Transport", TMLR 2024, https://arxiv.org/abs/2302.00482 (pairs within a batch).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mnar_ebm.types import Array

BATCH_SIZE = 256
"""Rows that are paired at once: the cost of an assignment grows with the cube."""


class Pairs(NamedTuple):
    """Rows of noise, each with the row of data that it is carried to.

    Attributes:
        noise: x_0. [N, ...]
        data: x_1. [N, ...]
    """

    noise: Any
    data: Any


def pair(noise: Any, data: Any, batch_size: int = BATCH_SIZE) -> Pairs:
    """Return the pairs whose squared distances have the least sum, within batches of rows.

    The rows of data stay where they are, those of noise are put beside them. It is exact if one
    batch holds all rows.

    Args:
        noise: as many independent rows of the reference as there are data. [N, ...]
        data: rows, in random order. [N, ...]
        batch_size: rows that are paired with one another.

    Raises:
        ValueError: the shapes differ, or the batch has no row.
    """
    noise, data = np.asarray(noise), np.asarray(data)
    if noise.shape != data.shape:
        raise ValueError(f"pair: expected noise of shape {data.shape}, got {noise.shape}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    paired = np.empty_like(noise)
    flat_noise, flat_data = (rows.reshape(len(rows), -1) for rows in (noise, data))
    for first in range(0, len(data), batch_size):
        part = slice(first, first + batch_size)
        cost = cdist(flat_data[part], flat_noise[part], "sqeuclidean")
        paired[part] = noise[part][linear_sum_assignment(cost)[1]]
    return Pairs(paired, data)


def energy_matching(
    potential_fn: Callable[[Array], Array], noise: Array, data: Array, time: Array
) -> Array:
    """Return ‖∇V(x_t) + x_1 - x_0‖² of one pair.

    Args:
        potential_fn: V, of one position. []
        noise: x_0, of any shape. [...]
        data: x_1. [...]
        time: t, from 0 to 1. []

    Returns:
        The loss. []
    """
    residual = jax.grad(potential_fn)((1.0 - time) * noise + time * data) + data - noise
    return jnp.vdot(residual, residual)
