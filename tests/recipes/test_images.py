"""Rows that are images: their shape and units, and a density of them with noise."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import data
from mnar_ebm.models.ebm import EBM, EBMParams, normal_reference
from mnar_ebm.nets.convolution import image_shape
from mnar_ebm.recipes import ebm as recipe
from mnar_ebm.recipes import noise, points
from mnar_ebm.training import InterruptedTraining, Loop, Pace, loop, pad_rows

CONFIG = points.Config(
    network="plain",
    num_channels=2,
    data_noise=0.5,
    num_steps=6,
    batch_size=32,
    num_chains=64,
    num_chain_steps=2,
)


def table(num_rows=80, side=6):
    """Return images of a bright square on a dark ground, in 0..16."""
    rng = np.random.default_rng(0)
    x = np.zeros((num_rows, side, side))
    for image, corner in zip(x, rng.integers(0, side - 2, (num_rows, 2)), strict=True):
        image[corner[0] : corner[0] + 3, corner[1] : corner[1] + 3] = rng.integers(8, 17)
    columns = [f"p{number}" for number in range(side**2)]
    return data.make_table("squares", columns, x.reshape(num_rows, -1))


@pytest.mark.parametrize(("num", "shape"), [(64, (8, 8, 1)), (3072, (32, 32, 3)), (3, (1, 1, 3))])
def test_the_shape_is_read_off_the_number_of_columns(num, shape):
    assert image_shape(num) == shape


def test_what_is_no_image_is_refused():
    """In one line that names what reads it."""
    rows = np.random.default_rng(0).normal(size=(100, 5))
    with pytest.raises(ValueError, match=r"square images.* got 5; --network=mlp reads any"):
        points.train(CONFIG, data.make_table("five", "abcde", rows))


def test_images_have_one_scale():
    """Together mean 0 and sd 1; a pixel that is always dark stays below the others."""
    facts, rows = points.table_facts(CONFIG, table())
    assert abs(rows.mean()) < 1e-5 and abs(rows.std() - 1) < 1e-5
    assert len(set(facts.standardiser.scale)) == 1
    np.testing.assert_allclose(facts.standardiser.invert(rows), table().x, atol=1e-4)


def test_rows_get_noise_anew_at_each_step():
    """Of the standard deviation that was told, in pairs in the data alone."""
    rows = jnp.zeros((500, 4))
    found = recipe._blur(jax.random.key(0), 0.7, rows)
    oracles.assert_mean(found.ravel(), 0.0)
    oracles.assert_mean(found.ravel() ** 2, 0.49)
    pairs = recipe._blur(jax.random.key(0), 0.7, recipe.Pairs(rows, rows))
    np.testing.assert_array_equal(pairs.noise, 0.0)
    np.testing.assert_array_equal(pairs.data, found)


def test_the_noise_of_a_gaussian_is_taken_back():
    """E[x given y] = y s²/(s² + σ²), whose density is N(0, s² + σ²)."""
    scale, sigma, y = 1.3, 0.5, jnp.asarray([2.0, -1.0])
    total = scale**2 + sigma**2
    found = noise.denoise(lambda y: -0.5 * jnp.vdot(y, y) / total, sigma, y)
    np.testing.assert_allclose(found, y * scale**2 / total, rtol=1e-6)


def test_gaussians_are_fitted_with_their_noise(quick_compile):
    """By the variance that noise contrast finds: 1 + σ²; without noise, 1."""
    reference = normal_reference((1,), 2.0)
    ebm = EBM(
        lambda key: jnp.zeros(()),
        lambda precision, x: 0.5 * precision * jnp.vdot(x, x),
        reference.log_prob,
        reference.sample,
    )
    rows = jax.random.normal(jax.random.key(1), (4000, 1))
    found = {}
    for sigma in (0.0, 1.0):
        settings = recipe.Settings(data_noise=sigma)
        stages = recipe.make_stages("nce", ebm, settings, Pace(300, 3e-2, "cosine"))
        start = EBMParams(jnp.zeros(()), jnp.zeros(()))
        held_out = pad_rows(rows[:200])
        loop_ = Loop(400, ema_decay=0.9)
        fitted = recipe.fit(jax.random.key(0), stages, start, pad_rows(rows), held_out, loop_)
        found[sigma] = 1.0 / (float(fitted.params.energy) + 0.25)
    assert abs(found[0.0] - 1.0) < 0.1 and abs(found[1.0] - 2.0) < 0.25, found


@pytest.mark.parametrize(
    "objective",
    [
        "pcd",
        pytest.param("energy_matching", marks=pytest.mark.slow),
        pytest.param("score_denoising", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_bit_for_bit_and_its_draws_are_images(tmp_path, monkeypatch, objective):
    """Chains and noise and all; draws have no more noise, and are within what was seen."""
    monkeypatch.setattr(loop, "CHUNK_STEPS", 2)
    config = points.Config(**CONFIG.flat() | {"objective": objective})
    whole = points.train(config, table())
    stops = iter([True, *[False] * 9])
    with pytest.raises(InterruptedTraining, match="stopped at step 2"):
        points.train(config, table(), tmp_path, should_stop=lambda: next(stops))
    resumed = points.train(config, table(), tmp_path, resume=True)
    for found in (resumed, points.load(tmp_path)):
        assert oracles.bits(found.params) == oracles.bits(whole.params)
    shown = whole.shown(jax.random.normal(jax.random.key(0), (5, 36)))
    assert shown.shape == (5, 36) and shown.min() >= 0 and shown.max() <= 16
