"""Convolutional nets: what they start at, how they grow, and the norm of their kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm.models import ebm as ebms
from mnar_ebm.nets import convolution
from mnar_ebm.nets.convolution import NETWORKS, Convolution

SHAPE = (8, 8, 1)


def built(kind, is_normalised=False, scale=0.3):
    """Return a net of two outputs whose parameters are all off 0, and these."""
    net = NETWORKS[kind](2, (3, 4), is_normalised)
    params = net.init(jax.random.key(0), jnp.zeros(SHAPE))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [
        scale * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)
    ]
    return net, jax.tree.unflatten(tree, drawn)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 8, 2), (5, 5, 1), (2, 3, 4), (1, 1, 3)])
def test_convolutions_are_those_of_jax(stride, shape):
    """By its own operation with padding to the same size, on even and odd sides."""
    x = jax.random.normal(jax.random.key(0), (3, *shape))
    layer = Convolution(5, stride)
    params = layer.init(jax.random.key(1), x)
    numbers = ("NHWC", "HWIO", "NHWC")
    kernel = params["params"]["kernel"]
    expected = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", None, None, numbers)
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_starts_at_the_reference_and_reads_images_one_by_one(kind):
    """Zero everywhere at first; a batch gives what its images give."""
    net, params = built(kind)
    x = jax.random.normal(jax.random.key(2), (5, *SHAPE))
    start = net.init(jax.random.key(0), x[0])
    np.testing.assert_array_equal(net.apply(start, x), 0.0)
    each = jnp.stack([net.apply(params, one) for one in x])
    assert each.shape == (5, 2) and float(jnp.abs(each).min()) > 0
    np.testing.assert_allclose(net.apply(params, x), each, rtol=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_grows_at_most_in_proportion(kind):
    """Ten times as far out it is at most about ten times as large: a Gaussian reference wins."""
    net, params = built(kind)
    x = jax.random.normal(jax.random.key(2), SHAPE)
    far, farther = (jnp.abs(net.apply(params, c * x)).max() for c in (1e3, 1e4))
    assert float(farther) < 11 * float(far)


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_a_normalised_kernel_has_norm_one_at_most(scale):
    """A small one is left as it is; the gradient is finite even at 0."""
    kernel = scale * jax.random.normal(jax.random.key(0), (3, 3, 4, 6))
    found = convolution.spectrally_normalised(kernel)
    norm = np.linalg.norm(np.asarray(found).reshape(-1, 6), 2)
    before = np.linalg.norm(np.asarray(kernel).reshape(-1, 6), 2)
    np.testing.assert_allclose(norm, min(before, 1.0), rtol=1e-5)
    slope = jax.grad(lambda k: convolution.spectrally_normalised(k).sum())(0.0 * kernel)
    assert np.isfinite(slope).all()


def test_normalised_nets_are_less_steep():
    """Of equal parameters above the norm."""
    x = jax.random.normal(jax.random.key(2), SHAPE)
    slopes = []
    for is_normalised in (False, True):
        net, params = built("plain", is_normalised, scale=3.0)
        slope = jax.jacrev(net.apply, argnums=1)(params, x)
        slopes.append(jnp.linalg.norm(slope))
    assert float(slopes[1]) < 0.1 * float(slopes[0])


def test_an_energy_of_a_network_is_bounded_and_the_same_for_equal_arguments():
    """It reads rows of pixels; unknown kinds are refused by name."""
    reference = ebms.normal_reference((64,))
    network = ebms.image_network("plain", SHAPE, (3, 4))
    ebm = ebms.network_ebm(network, reference, 2.0)
    assert ebm is ebms.network_ebm(ebms.image_network("plain", SHAPE, (3, 4)), reference, 2.0)
    params = jax.tree.map(lambda leaf: leaf + 3.0, ebm.init(jax.random.key(0)))
    assert abs(float(ebm.energy(params, jnp.ones(64)))) <= 2.0
    with pytest.raises(ValueError, match="network: expected one of plain, residual, got 'deep'"):
        ebms.image_network("deep", SHAPE, (3,))
