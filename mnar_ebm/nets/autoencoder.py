"""Encoder q(z|x_obs, s) and decoder p(x|z)."""

import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.nets.mlp import ACTIVATIONS, MLP
from mnar_ebm.numerics.logistic import softplus
from mnar_ebm.types import Array, DecoderOutput

SCALE_FLOOR = 1e-2
"""Smallest scale of p(x|z), in standard deviations: without one the likelihood is unbounded."""

DF_FLOOR = 2.0
"""Smallest degrees of freedom, so that the variance of x given z is finite."""

GAP_FLOOR = 1e-3
"""Smallest distance of two thresholds, so that every ordinal level has a probability."""


class Encoder(nn.Module):
    """Mean and standard deviation of q(z|x_obs, s).

    Attributes:
        latent_dim: L.
        widths: units of each hidden layer, from the row to the latent.
        show_mask: whether the mask is read beside the row.
        activation: of the hidden layers, one of ``mlp.ACTIVATIONS``.
    """

    latent_dim: int
    widths: tuple[int, ...]
    show_mask: bool = True
    activation: str = "tanh"

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
        """Map a row, with missing cells filled by 0, and its mask to (loc, scale) of z. [L]."""
        inputs = jnp.concatenate([x, mask.astype(x.dtype)], axis=-1) if self.show_mask else x
        hidden = _hidden(self.widths, self.activation, inputs)
        loc = nn.Dense(self.latent_dim)(hidden)
        log_scale = jnp.clip(nn.Dense(self.latent_dim)(hidden), -5.0, 5.0)
        return loc, jnp.exp(log_scale)


def _hidden(widths: tuple[int, ...], activation: str, inputs: Array) -> Array:
    """Return the last of the hidden layers. [..., I] -> [..., widths[-1]]."""
    return ACTIVATIONS[activation](MLP(widths, activation)(inputs))


class Decoder(nn.Module):
    """Parameters of p(x|z): loc = g f(z), scale = g softplus(.) above the floor.

    The gain g = exp(.) of each column is free to grow fast: a column whose large values are
    missing has been standardised by too small a scale, and its true spread must be found.

    Attributes:
        num_features: D.
        widths: units of each hidden layer, from the latent to the row.
        kind: ``mlp``, ``linear`` (with one shared scale: probabilistic PCA), or ``linear_mlp``,
            the sum of both.
        scale: ``shared`` by all columns, ``per_feature``, or ``per_latent`` (a function of z).
        heads: fields of the output that the likelihood reads; the others are ``None``.
        atom_side: of each column, on which side of an atom at 0 its values lie, 1 or -1, or 0
            without an atom; empty if no column has one. The log-odds of atoms are a map of the
            decoder's kind, and loc is softplus(loc) on their side.
        has_gain: whether g is learned; else it is 1.
        activation: of the hidden layers, one of ``mlp.ACTIVATIONS``.
    """

    num_features: int
    widths: tuple[int, ...]
    kind: str
    scale: str
    heads: tuple[str, ...] = ("loc", "scale")
    atom_side: tuple[int, ...] = ()
    has_gain: bool = True
    activation: str = "tanh"

    @nn.compact
    def __call__(self, z: Array) -> DecoderOutput:
        """Map ``z`` [..., L] to the parameters of p(x|z), each [..., D]."""
        gain = self._gain() if self.has_gain else jnp.ones(self.num_features, z.dtype)
        network = self._network(z)
        make = {
            "loc": lambda: self._beside_atom(gain * self._map(network, "loc", z)),
            "scale": lambda: self._scale(network, gain, z.shape[:-1]),
            "df": lambda: self._parameter("df", 2.0, DF_FLOOR, z.shape[:-1]),
            "gap": lambda: self._parameter("gap", 0.0, GAP_FLOOR, z.shape[:-1]),
            "atom": lambda: self._map(network, "atom", z),
        }
        return DecoderOutput(**{head: make[head]() for head in self.heads})

    def _gain(self) -> Array:
        return jnp.exp(self.param("log_gain", nn.initializers.zeros_init(), (self.num_features,)))

    def _map(self, network: dict[str, Array], name: str, z: Array) -> Array:
        """Return the map from z of the decoder's kind: linear, a network's, or their sum."""
        output = network.get(name, jnp.zeros((), z.dtype))
        if self.kind == "mlp":
            return output
        return output + nn.Dense(self.num_features, name=f"linear_{name}")(z)

    def _beside_atom(self, loc: Array) -> Array:
        if not self.atom_side:
            return loc
        side = jnp.asarray(self.atom_side, loc.dtype)
        return jnp.where(side == 0, loc, side * softplus(side * loc))

    def _network(self, z: Array) -> dict[str, Array]:
        """Return what is read off the hidden layers, of ``loc``, ``scale``, ``atom``. [..., D]."""
        is_deep = self.kind != "linear"
        wanted = {"loc": is_deep, "scale": self.scale == "per_latent", "atom": is_deep}
        names = [name for name, is_wanted in wanted.items() if is_wanted and name in self.heads]
        if not names:
            return {}
        hidden = _hidden(self.widths, self.activation, z)
        # One product for all takes half the time of two.
        outputs = nn.Dense(self.num_features * len(names), name="network")(hidden)
        return dict(zip(names, jnp.split(outputs, len(names), axis=-1), strict=True))

    def _scale(self, network: dict[str, Array], gain: Array, rows: tuple[int, ...]) -> Array:
        shape = (*rows, self.num_features)
        if self.scale == "shared":
            raw = self.param("scale", nn.initializers.zeros_init(), (1,))
            return jnp.broadcast_to(SCALE_FLOOR + softplus(raw), shape)
        if self.scale == "per_latent":
            raw = network["scale"]
        else:
            raw = self.param("scale", nn.initializers.zeros_init(), (self.num_features,))
        return jnp.broadcast_to(SCALE_FLOOR + gain * softplus(raw), shape)

    def _parameter(self, name: str, start: float, floor: float, rows: tuple[int, ...]) -> Array:
        """Return what z does not move, above its floor, one for each column. [..., D]."""
        raw = self.param(name, nn.initializers.constant(start), (self.num_features,))
        return jnp.broadcast_to(floor + softplus(raw), (*rows, self.num_features))
