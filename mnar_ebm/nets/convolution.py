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

import math

import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm.types import Array


class Convolution(nn.Module):
    """A convolution of 3 x 3 pixels whose sides are the image's over the stride, rounded up.

    It is a product of all patches with the kernel: within a loop, where chains run, XLA's own
    convolutions take five times as long on a CPU.

    Attributes:
        width: channels of the output.
        stride: 1 or 2.
        is_normalised: whether the kernel has spectral norm at most 1.
    """

    width: int
    stride: int = 1
    is_normalised: bool = False

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map an image [..., H, W, I] to one of the layer's width [..., H', W', O]."""
        shape = (3, 3, image.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:])
        if self.is_normalised:
            kernel = spectrally_normalised(kernel)
        return patches(image, self.stride) @ kernel.reshape(-1, self.width) + bias


class ImageNet(nn.Module):
    """What a net of images is made with.

    Attributes:
        num_outputs: O.
        channels: at each halving of the sides.
        is_normalised: whether kernels have spectral norm at most 1.
    """

    num_outputs: int
    channels: tuple[int, ...]
    is_normalised: bool = False


class PlainNet(ImageNet):
    """Convolutions of 3 x 3 pixels, each of which halves the sides, and a linear map of all."""

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map an image [H, W, C], or a batch of them, to outputs [..., O]."""
        for width in self.channels:
            image = nn.silu(_convolution(width, self.is_normalised, stride=2)(image))
        return _last(self.num_outputs, image)


class ResidualNet(ImageNet):
    """At each width a convolution that halves the sides, and h + f(h) of two more."""

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Map an image [H, W, C], or a batch of them, to outputs [..., O]."""
        for width in self.channels:
            image = _convolution(width, self.is_normalised, stride=2)(image)
            hidden = _convolution(width, self.is_normalised)(nn.silu(image))
            image = image + _convolution(width, self.is_normalised)(nn.silu(hidden))
        return _last(self.num_outputs, nn.silu(image))


NETWORKS = {"plain": PlainNet, "residual": ResidualNet}


def image_shape(num_columns: int) -> tuple[int, int, int]:
    """Return height, width and colours of square images, grey or of three colours.

    Raises:
        ValueError: no such image has so many pixels.
    """
    for colours in (1, 3):
        side = math.isqrt(num_columns // colours)
        if colours * side**2 == num_columns:
            return side, side, colours
    raise ValueError(
        f"network: expected the columns of square images, grey or in three colours, got "
        f"{num_columns}; --network=mlp reads any"
    )


def patches(image: Array, stride: int) -> Array:
    """Return the 3 x 3 pixels about each, or about every second one; zeros beyond edges.

    [..., H, W, I] -> [..., H', W', 9 I].
    """
    *batch, height, width, channels = image.shape
    sides = tuple(-(-length // stride) for length in (height, width))
    rest = [(0, 0)] * len(batch)
    blocks = [side + (2 if stride == 1 else 1) for side in sides]
    for length, side, count in zip((height, width), sides, blocks, strict=True):
        before = max((side - 1) * stride + 3 - length, 0) // 2
        rest.append((before, count * stride - before - length))
    padded = jnp.pad(image, [*rest, (0, 0)])
    split = padded.reshape(*batch, blocks[0], stride, blocks[1], stride, channels)

    def shifted(i: int, j: int) -> Array:
        rows = slice(i // stride, i // stride + sides[0])
        columns = slice(j // stride, j // stride + sides[1])
        return split[..., rows, i % stride, columns, j % stride, :]

    return jnp.concatenate([shifted(i, j) for i in range(3) for j in range(3)], axis=-1)


def spectrally_normalised(kernel: Array) -> Array:
    """Return K / max(1, s(K)), K [..., I, O] as a matrix of all inputs by outputs, s its norm."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    square = jnp.linalg.eigvalsh(matrix.T @ matrix)[-1]
    return kernel / jnp.sqrt(jnp.maximum(square, 1.0))


def _convolution(width: int, is_normalised: bool, stride: int = 1) -> Convolution:
    return Convolution(width, stride, is_normalised)


def _last(num_outputs: int, image: Array) -> Array:
    features = image.reshape(*image.shape[:-3], -1)
    return nn.Dense(num_outputs, kernel_init=nn.initializers.zeros_init())(features)
