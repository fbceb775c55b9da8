"""Densities of a table's rows: units, likelihoods, gaps, and runs that go on."""

import dataclasses

import jax
import numpy as np
import oracles
import pytest

from mnar_ebm import data
from mnar_ebm.recipes import points
from mnar_ebm.training import InterruptedTraining, loop

COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])
CONFIG = points.Config(objective="nce", num_steps=6, batch_size=32, num_chains=64, energy_dim=16)


def table(num_rows=2000, whole=False):
    """Return rows of a Gaussian, far from 0 and of unequal scales."""
    z = np.random.default_rng(0).multivariate_normal([0, 0], COVARIANCE, num_rows)
    x = 100.0 + z * [10.0, 2.0]
    return data.make_table("pair", ("a", "b"), np.round(x) if whole else x)


@pytest.fixture(scope="module")
def fitted():
    """Return a density that is trained well enough for its likelihood to be near the truth."""
    config = dataclasses.replace(CONFIG, num_steps=800, energy_dim=32, batch_size=256)
    return points.train(config, table())


def test_the_likelihood_is_near_that_of_the_law(fitted):
    """Within .05 nats, by log Z that is learned; a Gaussian of independent columns is .5 below."""
    standard = fitted.standardise(table().x)
    log_p = fitted.mean_log_unnormalised(standard) - float(fitted.params.log_z)
    independent = -np.log(2 * np.pi) - 1.0
    exact = independent - 0.5 * np.log(np.linalg.det(np.cov(standard.T)))
    assert abs(log_p - exact) < 0.05
    assert log_p > independent + 0.4


@pytest.mark.slow
def test_gaps_are_filled_by_their_conditional(fitted):
    """Mean and sd of b given a, in standard units, within five Monte Carlo errors and the fit's."""
    x = np.array([[110.0, np.nan]])
    mean, draws, shares = fitted.impute(np.vstack([x, [[90.0, 98.0]]]), num_imputations=1000)
    assert (
        (draws[:, 0, 0] == 110).all() and (draws[:, 1] == [90, 98]).all() and shares.shape == (1,)
    )
    drawn, standard = fitted.standardise(draws[:, 0])[:, 1], fitted.standardise(x)[0, 0]
    assert abs(drawn.mean() - 0.8 * standard) < 5 * 0.6 / 1000**0.5 + 0.05
    assert abs(drawn.std() - 0.6) < 5 * 0.6 / 2000**0.5 + 0.05
    np.testing.assert_allclose(mean[0], draws[:, 0].mean(axis=0))


def test_whole_numbers_are_spread_and_come_back():
    """By noise as wide as they are apart; draws are whole again, and within what was seen."""
    config = dataclasses.replace(CONFIG, jitter=1.0)
    facts, rows = points.table_facts(config, table(whole=True))
    spread = facts.standardiser.invert(rows)
    assert (np.abs(spread - table(whole=True).x) <= 0.5001).all()
    assert len(np.unique(spread[:, 1])) > 1900
    drawn = points.FittedDensity(config, facts, None, None).original(rows)
    np.testing.assert_array_equal(drawn, table(whole=True).x)


@pytest.mark.parametrize("objective", ["pcd", "energy_matching"])
def test_a_run_goes_on_bit_for_bit_and_is_found_again(tmp_path, monkeypatch, objective):
    """Chains and all, across stages."""
    monkeypatch.setattr(loop, "CHUNK_STEPS", 2)
    config = dataclasses.replace(CONFIG, objective=objective, num_chain_steps=2)
    whole = points.train(config, table(200))
    stops = iter([True, *[False] * 9])
    with pytest.raises(InterruptedTraining, match="stopped at step 2"):
        points.train(config, table(200), tmp_path, should_stop=lambda: next(stops))
    resumed = points.train(config, table(200), tmp_path, resume=True)
    for found in (resumed, points.load(tmp_path)):
        assert oracles.bits(found.params) == oracles.bits(whole.params)
        assert found.facts.to_json() == whole.facts.to_json()


def test_many_columns_are_judged_by_their_score():
    """Draws of the reference would tell log Z wrong there; what they say is not taken."""
    config = dataclasses.replace(CONFIG, objective="pcd", num_chain_steps=2)
    rows = np.random.default_rng(0).normal(size=(100, 6))
    seen = []
    points.train(config, data.make_table("six", "abcdef", rows), report=seen.append)
    assert "ess_share" not in seen[-1] and np.isfinite(seen[-1]["held_out"])
    points.train(config, table(100), report=seen.append)
    assert "ess_share" in seen[-1]


@pytest.mark.parametrize(
    ("x", "message"),
    [([[1.0, np.nan], [2.0, 3.0]], "expected complete rows .* in column 'b'")],
)
def test_gaps_are_refused_by_name(x, message):
    with pytest.raises(ValueError, match=message):
        points.train(CONFIG, data.make_table("pair", ("a", "b"), np.array(x)))


def test_weight_decay_shrinks_the_kernels_of_every_objective():
    """By the pace of the stage; biases are left alone."""
    for objective in ("nce", "pcd", "score_sliced", "energy_matching"):
        steady = {"schedule": "constant", "validation_fraction": 0.0, "average_decay": 0.0}
        steady["weight_decay"] = 1e-9  # nearly none, by the program of much
        config = dataclasses.replace(CONFIG, objective=objective, num_chain_steps=2, **steady)
        plain = points.train(config, table(200)).params.energy
        decayed = points.train(dataclasses.replace(config, weight_decay=10.0), table(200))
        sizes = [
            sum(
                float((leaf**2).sum())
                for path, leaf in jax.tree_util.tree_leaves_with_path(energy)
                if "kernel" in jax.tree_util.keystr(path)
            )
            for energy in (plain, decayed.params.energy)
        ]
        assert sizes[1] < 0.5 * sizes[0], objective
