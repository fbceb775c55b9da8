r"""Energies: bounded scalars, of a network, of a sum over what is shown or of clusters of it.

Each is at most b nats from 0, so that Z is finite whatever the tails of the base, and weights
w = exp(-E) of N base draws, which lie between e^-b and e^b, keep an effective share of

    ESS/N = (sum_n w_n)² / (N sum_n w_n²) >= 1/cosh²(b).

A wide b lets E fall without end where few base draws are: log Z then rests on the rarest of them.

References:
    L. V. Kantorovich, "Functional analysis and applied mathematics", 1948: the inequality
    (sum_n w_n)² / (N sum_n w_n²) >= 4mM/(m + M)² for weights from m to M.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.nets.convolution import NETWORKS, image_shape
from mnar_ebm.nets.mlp import MLP
from mnar_ebm.types import Array


def bounded(raw: Array, bound: float) -> Array:
    """Return b tanh(f/b), which is f for an infinite b."""
    return raw if bound == jnp.inf else bound * jnp.tanh(raw / bound)


class Energy(nn.Module):
    """E(v) = b tanh(f(v)/b) with f a network that starts at 0, where the tilt is the base.

    Attributes:
        hidden_dim: units in each of two hidden layers.
        bound: b, in nats.
    """

    hidden_dim: int
    bound: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map ``[..., I]`` to energies ``[...]``, in nats."""
        widths = (self.hidden_dim, self.hidden_dim, 1)
        raw = MLP(widths, activation="silu", zero_last=True)(inputs)[..., 0]
        return bounded(raw, self.bound)


class ImageEnergy(nn.Module):
    """E(x) = b tanh(f(x)/b) of the pixels of square images, f convolutional and 0 at first.

    Attributes:
        kind: of the network, one of ``convolution.NETWORKS``.
        channels: of each convolution, or of each block.
        is_normalised: whether kernels have spectral norm at most 1.
        bound: b, in nats.
    """

    kind: str
    channels: tuple[int, ...]
    is_normalised: bool
    bound: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map rows of pixels ``[..., D]`` to energies ``[...]``, in nats."""
        image = inputs.reshape(*inputs.shape[:-1], *image_shape(inputs.shape[-1]))
        network = NETWORKS[self.kind](1, self.channels, self.is_normalised)
        return bounded(network(image)[..., 0], self.bound)


class AdditiveEnergy(nn.Module):
    """E(v) = b tanh(sum_i f_i(v_i)/b), f_i(v) = sum_j a_ij tanh(w_ij v + c_ij): few rows carry it.

    It starts at 0; the steps of tanh start where a standard normal variable varies.

    Attributes:
        bound: b, in nats.
        num_units: J, steps of each f_i.
    """

    bound: float
    num_units: int = 8

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map ``[..., I]`` to energies ``[...]``, in nats."""
        shape = (inputs.shape[-1], self.num_units)
        slopes = self.param("kernel_in", nn.initializers.normal(1.0), shape)
        offsets = self.param("bias_in", nn.initializers.normal(1.0), shape)
        heights = self.param("kernel_out", nn.initializers.zeros_init(), shape)
        steps = nn.tanh(inputs[..., None] * slopes + offsets)
        raw = (steps * heights).sum(axis=(-2, -1))
        return bounded(raw, self.bound)


class ClusterEnergy(nn.Module):
    r"""E(v) = -b tanh(log(sum_c p(c|v) exp(a_c))/b): clusters a_c nats likelier than before.

    p(c|v) is that of a mixture of Gaussians with diagonal covariances, which is not trained: the
    collection ``clusters``, with log \pi [C], its means and its precisions [C, I]. E starts at 0.

    Attributes:
        bound: b, in nats.
        num_clusters: C.
    """

    bound: float
    num_clusters: int = 20

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map ``[..., I]`` to energies ``[...]``, in nats."""
        shape = (self.num_clusters, inputs.shape[-1])
        log_shares = self.variable("clusters", "log_shares", jnp.zeros, shape[:1]).value
        means = self.variable("clusters", "means", jnp.zeros, shape).value
        precisions = self.variable("clusters", "precisions", jnp.ones, shape).value
        ratios = self.param("log_ratios", nn.initializers.zeros_init(), shape[:1])
        squares = ((inputs[..., None, :] - means) ** 2 * precisions).sum(axis=-1)
        log_joint = log_shares + 0.5 * (jnp.log(precisions).sum(axis=-1) - squares)
        raw = -jax.nn.logsumexp(jax.nn.log_softmax(log_joint) + ratios, axis=-1)
        return bounded(raw, self.bound)
