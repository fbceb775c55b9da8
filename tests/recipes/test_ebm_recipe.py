"""Every objective through the engine on Gaussian data: the optimum is known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm.models import ebm as ebms
from mnar_ebm.models.ebm import EBM, EBMParams, normal_reference
from mnar_ebm.recipes import ebm as recipe
from mnar_ebm.recipes.negatives import ChainSettings
from mnar_ebm.training import Loop, Pace, pad_rows

pytestmark = pytest.mark.usefixtures("quick_compile")

SCALE, NUM_ROWS = 2.0, 2000
LAW = oracles.Gaussian(np.array([0.5, -0.3]), np.array([[1.0, 0.4], [0.4, 0.6]]))
SETTINGS = recipe.Settings(
    ChainSettings(num_chains=500, num_steps=3, step_size=0.3), noise=(0.7,), temperature=0.5
)
LOOP = Loop(batch_size=250, ema_decay=0.9, patience=100)


def quadratic(params, x):
    """Return E(x) = ½ x'Ax + b'x - a."""
    return 0.5 * x @ params["curvature"] @ x + params["slope"] @ x - params["level"]


def model():
    """Return a model with a quadratic energy, and its start, at which it is the reference."""
    reference = normal_reference((2,), SCALE)

    def init(key):
        return {"curvature": jnp.zeros((2, 2)), "slope": jnp.zeros(2), "level": jnp.zeros(())}

    ebm = EBM(init, quadratic, reference.log_prob, reference.sample)
    return ebm, ebms.init_params(jax.random.key(0), ebm)


def draws(num, seed=0):
    """Return rows of the Gaussian. [N, 2]."""
    return jnp.asarray(np.random.default_rng(seed).multivariate_normal(*LAW, num), jnp.float32)


def fit(name, settings=SETTINGS, num_steps=400, rate=0.1):
    """Return what training comes to."""
    ebm, start = model()
    rows, held_out = draws(NUM_ROWS), draws(256, 1)
    if name == "energy_matching":
        rows = recipe.pair_with_reference(jax.random.key(2), ebm, rows)
        held_out = recipe.pair_with_reference(jax.random.key(3), ebm, held_out)
    stages = recipe.make_stages(name, ebm, settings, Pace(num_steps, rate, "cosine"))
    key = jax.random.key(1)
    return recipe.fit(key, stages, start, pad_rows(rows), pad_rows(held_out), LOOP)


def found_law(params):
    """Return the precision and the mean of a fitted model."""
    curvature = np.asarray(params.energy["curvature"], float)
    precision = 0.5 * (curvature + curvature.T) + np.eye(2) / SCALE**2
    return precision, np.linalg.solve(precision, -np.asarray(params.energy["slope"], float))


def distance(params, covariance):
    """Return how far a model is from a Gaussian, in standard errors of its rows; the largest."""
    precision, mean = found_law(params)
    expected = np.linalg.inv(covariance)
    variance = np.outer(np.diag(expected), np.diag(expected)) + expected**2
    far = np.abs(precision - expected) / np.sqrt(variance / NUM_ROWS)
    return max(far.max(), np.abs(mean - LAW.mean).max() * np.sqrt(NUM_ROWS / covariance[0, 0]))


@pytest.mark.parametrize(
    "name",
    [
        "pcd",
        "nce",
        "score_exact",
        pytest.param("cd", marks=pytest.mark.slow),
        pytest.param("score_sliced", marks=pytest.mark.slow),
        pytest.param("energy_matching", marks=pytest.mark.slow),
    ],
)
def test_objectives_fit_the_gaussian(name):
    """Precision and mean are those of the data, within four errors of so many rows."""
    settings = SETTINGS._replace(line_weight=0.0)
    found = fit(name, settings)
    assert distance(found.params, LAW.covariance) < 4
    assert not found.is_lost and found.records[-1]["step"] == found.records[-1]["num_steps"]
    if name == "nce":  # its log Z is that of the law that it fits
        ebm, _ = model()
        expected = ebms.log_unnormalised(ebm, found.params, jnp.asarray(LAW.mean))
        expected -= LAW.log_prob(LAW.mean)
        assert abs(found.params.log_z - expected) < 0.05


def test_denoising_fits_the_noisy_gaussian():
    """That of S + σ²I; the data's own is far."""
    found = fit("score_denoising")
    assert distance(found.params, LAW.covariance + 0.49 * np.eye(2)) < 4
    assert distance(found.params, LAW.covariance) > 8


def test_the_warm_up_of_energy_matching_finds_the_plane():
    """Data that are the noise moved by m: V(x) = -m·x, so that E takes the reference back."""
    ebm, start = model()
    shift = jnp.asarray([1.5, -0.5])
    noise = jax.vmap(ebm.sample_reference)(jax.random.split(jax.random.key(0), 1000))
    rows = pad_rows(recipe.Pairs(noise, noise + shift))
    settings = SETTINGS._replace(warm_up=1.0)
    stages = recipe.make_stages("energy_matching", ebm, settings, Pace(600, 0.1, "cosine"))
    found = recipe.fit(jax.random.key(1), stages[:1], start, rows, rows, LOOP).params.energy
    curvature = 0.5 * (found["curvature"] + found["curvature"].T)
    np.testing.assert_allclose(found["slope"], -shift / 0.5, atol=0.02)
    np.testing.assert_allclose(curvature, -np.eye(2) / SCALE**2, atol=0.02)


def test_chains_tell_of_themselves():
    """What is recorded of every chunk of steps."""
    record = fit("pcd", num_steps=20).records[-1]
    assert {"energy_gap", "acceptance_rate", "chain_age", "leaps", "ess_share"} <= set(record)
    assert 0 < record["acceptance_rate"] < 1 and record["chain_age"] >= 3


def test_a_gap_that_runs_away_ends_the_stage():
    """Where it is looked at, and what was best before is restored: here the start."""
    found = fit("pcd", SETTINGS._replace(max_gap=1e-6), num_steps=600)
    _, start = model()
    assert len(found.records) == 1 and found.records[0]["step"] == 200
    assert oracles.bits(found.params) == oracles.bits(start)
    assert not found.is_lost


def test_a_loss_that_is_not_finite_leaves_what_was_best():
    """At a rate at which it overflows before the first look, the start; no constant instead."""
    found = fit("score_exact", num_steps=600, rate=1e30)
    assert found.is_lost and not found.records
    assert oracles.bits(found.params) == oracles.bits(model()[1])


def test_held_out_rows_are_judged_by_their_likelihood():
    """Against the closed form, within the error of log Z by draws of the reference."""
    ebm, _ = model()
    curvature = np.linalg.inv(LAW.covariance) - np.eye(2) / SCALE**2
    slope = -np.linalg.solve(LAW.covariance, LAW.mean)
    energy = {"curvature": jnp.asarray(curvature), "slope": jnp.asarray(slope), "level": 3.0}
    rows, is_row = draws(100), jnp.arange(100) < 60
    params = EBMParams(energy, jnp.zeros(()))
    judge = jax.jit(functools.partial(recipe.evaluate_likelihood, ebm))
    found = judge(jax.random.key(0), params, rows, is_row)
    share = found.info["ess_share"]
    error = np.sqrt((1 / share - 1) / recipe.NUM_REFERENCE_DRAWS)
    assert abs(found.score - LAW.log_prob(np.asarray(rows[:60])).mean()) < 4 * error
    assert 0.05 < share < 0.5 and not found.gives_up


def test_equal_settings_have_the_same_stages():
    """So that jit compiles each of them once."""
    ebm, _ = model()
    args = ("nce", ebm, recipe.Settings(), Pace(10))
    assert recipe.make_stages(*args) is recipe.make_stages(*args)


@pytest.mark.parametrize(
    "name, settings, line",
    [
        ("ml", {}, "objective: expected one of cd, pcd, nce, score_exact"),
        ("nce", {"noise_ratio": 0}, "noise_ratio: expected at least 1, got 0"),
        ("score_denoising", {"noise": ()}, "noise: expected at least one standard deviation"),
        ("score_denoising", {"noise": (0.1, -1.0)}, "noise: expected a positive number, got -1.0"),
        ("pcd", {"chains": ChainSettings("hmc")}, "kernel: expected one of mala, ula, got 'hmc'"),
        ("pcd", {"chains": ChainSettings(restart=2.0)}, "restart: expected a value from 0.0 to"),
        ("pcd", {"judge": "loss"}, "judge: expected one of likelihood, score, got 'loss'"),
        ("energy_matching", {"warm_up": 1.5}, "warm_up: expected a value from 0.0 to 1.0, got"),
    ],
)
def test_wrong_settings_are_refused(name, settings, line):
    """Before any work, in one line."""
    ebm, _ = model()
    with pytest.raises(ValueError, match=line):
        recipe.make_stages(name, ebm, recipe.Settings(**settings), Pace(10))
