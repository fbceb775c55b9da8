"""Latents of the gaps, fitted: gaps that go together hide nothing; gaps by a factor are told."""

import functools

import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import Config, data, metrics
from mnar_ebm.tilted.held_out import difference, impute_held_out

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile_all")]

NUM_ROWS = 600
CONFIG = Config(
    tilt="none",
    likelihood="gaussian",
    decoder="linear",
    proposal="laplace",
    latent_dim=2,
    learning_rate=0.03,
    num_importance_samples=5,
    num_steps=500,
    slope_precision=4.0,
    slope_start="high",
    validation_fraction=0.3,
)


def table_of(x, is_missing):
    """Return the table with cells hidden, which knows what they hold."""
    names = [f"x{index}" for index in range(x.shape[1])]
    return data.make_table("t", names, np.where(is_missing, np.nan, x), truth=x)


@functools.cache
def block():
    """Return six columns of two factors, three of them missing together in 30 % of the rows."""
    rng = np.random.default_rng(5)
    loadings = rng.normal(size=(2, 6))
    x = rng.normal(size=(NUM_ROWS, 2)) @ loadings + 0.6 * rng.normal(size=(NUM_ROWS, 6))
    is_missing = np.zeros(x.shape, bool)
    is_missing[:, :3] = rng.random((NUM_ROWS, 1)) < 0.3
    return table_of(x / x.std(axis=0), is_missing)


def fit(table, **settings):
    """Return the model, and the bounds of its held-out rows. [N]."""
    fitted, _ = mnar_ebm.train(CONFIG.replace(**settings), table)
    return fitted, impute_held_out(fitted, table)[1].bound


def test_beside_a_latent_of_the_gaps_a_block_hides_nothing():
    """Without it self-masking wins clearly and fills badly; with it the gain and the harm go."""
    table, gains, errors = block(), {}, {}
    for num in (0, 1):
        bounds = {}
        for mechanism in ("mcar", "selfmasking_probit"):
            fitted, bounds[mechanism] = fit(table, mechanism=mechanism, gap_latents=num)
            filled = fitted.impute(table.x).mean
            errors[num, mechanism] = metrics.imputation_rmse(filled, table.truth, table.mask)
        gains[num] = difference(bounds["selfmasking_probit"], bounds["mcar"])
    assert gains[0].mean > 3 * gains[0].standard_error
    assert gains[1].mean < 0.2 * gains[0].mean
    assert errors[0, "selfmasking_probit"] > 1.5 * errors[0, "mcar"]
    assert errors[1, "selfmasking_probit"] < 1.1 * errors[1, "mcar"]


def test_gaps_by_the_factor_behind_the_columns_are_told():
    """The mean of a hidden column, which is off if values are taken to be missing at random."""
    rng = np.random.default_rng(6)
    factor = rng.normal(size=(NUM_ROWS, 1))
    x = factor + 0.8 * rng.normal(size=(NUM_ROWS, 5))
    is_missing = rng.random(x.shape) < 1 / (1 + np.exp(-2 * factor))
    is_missing[:, 4] = False
    table, off = table_of(x, is_missing), {}
    for mechanism in ("mcar", "latent"):
        fitted, _ = fit(table, mechanism=mechanism, latent_dim=1)
        bias = (fitted.impute(table.x).mean - x).mean(axis=0)[:4]
        off[mechanism] = np.abs(bias).max()
    assert off["latent"] < 0.5 * off["mcar"]
    loadings = np.sinh(np.asarray(fitted.params.mechanism["latents"]["slope"]))[0]
    assert (np.sign(loadings[:4]) == np.sign(loadings[0])).all() and np.abs(loadings[:4]).min() > 1
