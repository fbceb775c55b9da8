"""The networks of a VAE, its bound, and the autoencoder that it is without a draw."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import data, models, tilted
from mnar_ebm.objectives import bounds
from mnar_ebm.recipes import vae

NUM_PIXELS = 9


def fitted_of(**settings):
    """Return an untrained model of images of 3 x 3 pixels."""
    config = vae.config(hidden_dims=(6, 5), latent_dim=2, **settings)
    columns = [f"p{number}" for number in range(NUM_PIXELS)]
    table = data.make_table("toy", columns, np.zeros((2, NUM_PIXELS)))
    return tilted.make_fitted(config, tilted.table_facts(config, table))


def image():
    """Return an image and the mask of its pixels. [D], [D]."""
    x = jnp.asarray(np.arange(NUM_PIXELS) % 2, jnp.float32)
    return x, jnp.arange(NUM_PIXELS) != 4


def test_there_are_three_linear_layers_each_way():
    """Of the widths that are told, and in the other order on the way back."""
    base = fitted_of().params.base
    shapes = {
        jax.tree_util.keystr(path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(base)
        if "kernel" in jax.tree_util.keystr(path)
    }
    of_encoder = sorted(shape for path, shape in shapes.items() if "encoder" in path)
    of_decoder = sorted(shape for path, shape in shapes.items() if "decoder" in path)
    assert of_encoder == sorted([(9, 6), (6, 5), (5, 2), (5, 2)])
    assert of_decoder == sorted([(2, 5), (5, 6), (6, 9)])


def test_two_layers_of_one_width_are_as_before():
    """Without widths of their own, of ``hidden_dim``."""
    assert vae.config(hidden_dim=7).model.widths == (7, 7)
    assert vae.config(hidden_dims=["4", "3"]).model.widths == (4, 3)


@pytest.mark.parametrize("widths", [(0,), (2.5,), ("few",)])
def test_widths_are_whole_numbers(widths):
    """Others are refused."""
    with pytest.raises(ValueError, match="hidden_dims: expected"):
        vae.config(hidden_dims=widths)


def test_the_elbo_is_reconstruction_less_divergence():
    """E_q log p(x|z) - KL(q, p), the second in closed form, within the error of the draws."""
    fitted, (x, mask) = fitted_of(), image()
    draws = bounds.log_weights(jax.random.key(0), fitted.model, fitted.params, x, mask, 4000)
    loc, scale = fitted.model.vae.encode(fitted.params.base, x, mask)
    divergence = 0.5 * (loc**2 + scale**2 - 1 - 2 * jnp.log(scale)).sum()
    probability = fitted.decode(draws.z)
    chosen = np.where(np.asarray(x) > 0, probability, 1 - probability)
    reconstruction = np.log(chosen)[:, np.asarray(mask)].sum(axis=1)
    oracles.assert_mean(np.asarray(draws.log_w), reconstruction.mean() - float(divergence), 6)


def test_encode_and_decode_are_the_networks():
    """Rows at a time, in their own units; what is missing is not read."""
    fitted, (x, mask) = fitted_of(), image()
    row = np.where(mask, x, np.nan)
    loc, scale = fitted.encode(np.stack([row, np.zeros(NUM_PIXELS)]))
    expected = fitted.model.vae.encode(fitted.params.base, jnp.where(mask, x, 7.0), mask)
    np.testing.assert_allclose([loc[0], scale[0]], expected, rtol=1e-5)
    assert (scale > 0).all()
    eta = fitted.model.vae.decode(fitted.params.base, jnp.asarray(loc[0]))
    np.testing.assert_allclose(fitted.decode(loc)[0], jax.nn.sigmoid(eta.loc), rtol=1e-5)


def test_an_autoencoder_counts_the_reconstruction_alone():
    """Every weight is log p(x_obs given its code), whatever the code and the noise."""
    fitted, (x, mask) = fitted_of(proposal="point"), image()
    draws = bounds.log_weights(jax.random.key(0), fitted.model, fitted.params, x, mask, 3)
    loc, _ = fitted.model.vae.encode(fitted.params.base, x, mask)
    assert isinstance(models.posterior(fitted.model, fitted.params, x, mask), models.Point)
    np.testing.assert_allclose(draws.z, np.broadcast_to(loc, (3, 2)))
    probability = fitted.decode(np.asarray(loc)[None])[0]
    chosen = np.where(np.asarray(x) > 0, probability, 1 - probability)
    np.testing.assert_allclose(draws.log_w, np.log(chosen)[np.asarray(mask)].sum(), rtol=1e-5)


def test_an_autoencoder_has_no_tilt():
    """It is no density."""
    with pytest.raises(ValueError, match="proposal: expected encoder with a tilt"):
        vae.config(proposal="point", tilt="latent")


def test_pixels_are_from_0_to_1():
    """Under each likelihood of those."""
    table = data.make_table("toy", ["a", "b"], np.array([[0.0, 2.0], [1.0, 0.5]]))
    for name in ("bernoulli", "continuous_bernoulli", "discretised_logistic"):
        config = vae.config(likelihood=name)
        with pytest.raises(ValueError, match=f"{name} expects values from 0 to 1, got 2"):
            tilted.table_facts(config, table)
