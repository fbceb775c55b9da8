"""Encoder q(z|x_obs, s) and decoder p(x|z)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.nets.mlp import MLP
from mnar_ebm.types import Array, DecoderOutput

SCALE_FLOOR = 1e-2
"""Smallest scale of p(x|z), in standard deviations: without one the likelihood is unbounded."""

DF_FLOOR = 2.0
"""Smallest degrees of freedom, so that the variance of x given z is finite."""


class Encoder(nn.Module):
    """Mean and standard deviation of q(z|x_obs, s).

    Attributes:
        latent_dim: L.
        hidden_dim: units in each of two hidden layers.
    """

    latent_dim: int
    hidden_dim: int

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
        """Map a row, with missing cells filled by 0, and its mask to (loc, scale) of z. [L]."""
        inputs = jnp.concatenate([x, mask.astype(x.dtype)], axis=-1)
        hidden = MLP((self.hidden_dim,) * 2, activation="tanh")(inputs)
        hidden = nn.tanh(hidden)
        loc = nn.Dense(self.latent_dim)(hidden)
        log_scale = jnp.clip(nn.Dense(self.latent_dim)(hidden), -5.0, 5.0)
        return loc, jnp.exp(log_scale)


class Decoder(nn.Module):
    """Parameters of p(x|z): loc = g f(z), scale = g softplus(.) above the floor.

    The gain g = exp(.) of each column is free to grow fast: a column whose large values are
    missing has been standardised by too small a scale, and its true spread must be found.

    Attributes:
        num_features: D.
        hidden_dim: units in each of two hidden layers.
        kind: ``mlp``, ``linear`` (with one shared scale: probabilistic PCA), or ``linear_mlp``,
            the sum of both.
        scale: ``shared`` by all columns, ``per_feature``, ``per_latent`` (a function of z), or
            ``none`` for a likelihood without a scale.
        has_df: whether the likelihood has degrees of freedom, one for each column.
    """

    num_features: int
    hidden_dim: int
    kind: str
    scale: str
    has_df: bool = False

    @nn.compact
    def __call__(self, z: Array) -> DecoderOutput:
        """Map ``z`` [..., L] to the parameters of p(x|z), each [..., D]."""
        gain = jnp.exp(self.param("log_gain", nn.initializers.zeros_init(), (self.num_features,)))
        hidden = z
        if self.kind != "linear" or self.scale == "per_latent":
            hidden = nn.tanh(MLP((self.hidden_dim,) * 2, activation="tanh")(z))
        loc = jnp.zeros((), z.dtype)
        if self.kind != "linear":
            loc = loc + nn.Dense(self.num_features, name="network_loc")(hidden)
        if self.kind != "mlp":
            loc = loc + nn.Dense(self.num_features, name="linear_loc")(z)
        return DecoderOutput(
            loc=gain * loc,
            scale=None if self.scale == "none" else self._scale(hidden, gain, loc.shape),
            df=self._df(loc.shape) if self.has_df else None,
        )

    def _scale(self, hidden: Array, gain: Array, shape: tuple[int, ...]) -> Array:
        if self.scale == "shared":
            raw = self.param("scale", nn.initializers.zeros_init(), (1,))
            return jnp.broadcast_to(SCALE_FLOOR + jax.nn.softplus(raw), shape)
        if self.scale == "per_latent":
            raw = nn.Dense(self.num_features, name="network_scale")(hidden)
        else:
            raw = self.param("scale", nn.initializers.zeros_init(), (self.num_features,))
        return jnp.broadcast_to(SCALE_FLOOR + gain * jax.nn.softplus(raw), shape)

    def _df(self, shape: tuple[int, ...]) -> Array:
        raw = self.param("df", nn.initializers.constant(2.0), (self.num_features,))
        return jnp.broadcast_to(DF_FLOOR + jax.nn.softplus(raw), shape)
