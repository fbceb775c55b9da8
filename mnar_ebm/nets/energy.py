"""The energy's network: a bounded scalar."""

import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.nets.mlp import MLP
from mnar_ebm.types import Array

ENERGY_BOUND = 20.0
"""Largest \\|E\\|, in nats: with it Z is finite whatever the tails of the base."""


class Energy(nn.Module):
    """E(v) = b tanh(f(v)/b) with f a network that starts at 0, where the tilt is the base.

    Attributes:
        hidden_dim: units in each of two hidden layers.
    """

    hidden_dim: int

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map ``[..., I]`` to energies ``[...]``, in nats."""
        widths = (self.hidden_dim, self.hidden_dim, 1)
        raw = MLP(widths, activation="silu", zero_last=True)(inputs)[..., 0]
        return ENERGY_BOUND * jnp.tanh(raw / ENERGY_BOUND)
