"""Convolutional nets of images: plain, or of residual blocks; smooth, and without batch norm.

Their activation is SiLU, so that a density has a gradient everywhere, and they grow at most in
proportion to |x|, so that with a Gaussian reference Z is finite. They start at 0: at the reference.

With ``is_normalised`` each kernel, as a matrix of its inputs by its outputs, is divided by its
largest singular value where that is above 1:

    K / max(1, s(K))

References:
    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018,
    https://arxiv.org/abs/1802.05957, sec. 2.1 (there by power iteration, here exactly).
    K. He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016,
    https://arxiv.org/abs/1603.05027, fig. 1b, without the normalisation.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.types import Array


class PlainNet(nn.Module):
    """Convolutions of 3 x 3 pixels, each of which halves the sides, and a linear map of all.

    Attributes:
        num_outputs: O.
        channels: of each convolution.
        is_normalised: whether kernels have spectral norm at most 1.
    """

    num_outputs: int
    channels: tuple[int, ...]
    is_normalised: bool = False

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map an image [H, W, C], or a batch of them, to outputs [..., O]."""
        for width in self.channels:
            image = nn.silu(_convolution(width, self.is_normalised, strides=2)(image))
        return _last(self.num_outputs, image)


class ResidualNet(nn.Module):
    """At each width a convolution that halves the sides, and h + f(h) of two more.

    Attributes:
        num_outputs: O.
        channels: of each block.
        is_normalised: whether kernels have spectral norm at most 1.
    """

    num_outputs: int
    channels: tuple[int, ...]
    is_normalised: bool = False

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map an image [H, W, C], or a batch of them, to outputs [..., O]."""
        for width in self.channels:
            image = _convolution(width, self.is_normalised, strides=2)(image)
            hidden = _convolution(width, self.is_normalised)(nn.silu(image))
            image = image + _convolution(width, self.is_normalised)(nn.silu(hidden))
        return _last(self.num_outputs, nn.silu(image))


NETWORKS = {"plain": PlainNet, "residual": ResidualNet}


def spectrally_normalised(kernel: Array) -> Array:
    """Return K / max(1, s(K)), K [..., I, O] as a matrix of all inputs by outputs, s its norm."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    square = jnp.linalg.eigvalsh(matrix.T @ matrix)[-1]
    return kernel / jnp.sqrt(jnp.maximum(square, 1.0))


def _convolution(width: int, is_normalised: bool, strides: int = 1) -> nn.Conv:
    convolve = _convolve_normalised if is_normalised else jax.lax.conv_general_dilated
    return nn.Conv(width, (3, 3), strides, conv_general_dilated=convolve)


def _convolve_normalised(image: Array, kernel: Array, *args: Any, **kwargs: Any) -> Array:
    normal = spectrally_normalised(kernel)
    return jax.lax.conv_general_dilated(image, normal, *args, **kwargs)


def _last(num_outputs: int, image: Array) -> Array:
    features = image.reshape(*image.shape[:-3], -1)
    return nn.Dense(num_outputs, kernel_init=nn.initializers.zeros_init())(features)
