"""The coverage study: its law, its least squares, and that it runs."""

import json

import jax
import numpy as np
import oracles
import pytest
from scipy import stats

from mnar_ebm import Config

TINY = ("--num_tables=3", "--num_rows=40", "--num_imputations=3", "--bootstrap_steps=2")


@pytest.fixture
def coverage(load):
    """Return the command's module."""
    return load("benchmark.coverage")


def test_tables_are_of_the_law_that_is_told(coverage):
    """Slope 1 and mean 0 of the whole; x hides itself, as often as the probit says."""
    truth, mask = coverage.simulate(np.random.default_rng(0), 50, 1000)
    found = [coverage.least_squares(table) for table in truth]
    values = np.array([one.values for one in found])
    errors = values.std(axis=0) / np.sqrt(50)
    assert (np.abs(values.mean(axis=0) - list(coverage.TRUTH.values())) < 5 * errors).all()
    assert mask[:, :, 1:].all()
    rate = stats.norm.cdf(-0.75 / np.sqrt(1 + 1.5**2))  # of Φ(1.5 (x - 0.5)), x ~ N(0, 1)
    assert abs((~mask[:, :, 0]).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / 50_000)
    assert truth[~mask[:, :, 0], 0].mean() > 0.5 > 0 > truth[mask[:, :, 0], 0].mean()


def test_least_squares_is_scipys(coverage):
    """Slope, mean, and their standard errors."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3))
    found = coverage.least_squares(table)
    line = stats.linregress(table[:, 0], table[:, 1])
    np.testing.assert_allclose(found.values, [line.slope, table[:, 0].mean()])
    expected = [line.stderr, stats.sem(table[:, 0])]
    np.testing.assert_allclose(np.sqrt(found.variances), expected)
    estimate, low, high = coverage.interval_of_one(table)
    half = stats.t.ppf(0.975, 28) * line.stderr
    np.testing.assert_allclose([low[0], high[0]], [line.slope - half, line.slope + half])
    pooled = coverage.interval_of_many(np.stack([table] * 4))
    np.testing.assert_allclose(pooled[0], estimate)
    np.testing.assert_allclose(pooled[1:], [low, high], rtol=0.02)  # a few degrees of freedom less


def test_coverage_is_the_share_of_intervals_that_hold_the_truth(coverage):
    """Three of four, for either; the ends count."""
    estimates = np.array([[1.0, 0.0], [1.5, 0.0], [0.5, 0.5], [1.0, 2.0]])
    found = coverage.summarise(estimates, estimates - 0.5, estimates + [0.4, 0.5])
    assert found["slope"]["coverage"] == 0.75 and found["mean"]["coverage"] == 0.75
    np.testing.assert_allclose(found["slope"]["width"], 0.9)
    np.testing.assert_allclose([found["slope"]["bias"], found["mean"]["bias"]], [0.0, 0.625])


@pytest.mark.slow
def test_a_fit_takes_the_steps_that_it_is_told(coverage):
    """Whatever was compiled before."""
    config = Config(
        tilt="none",
        mechanism="none",
        latent_dim=1,
        hidden_dim=4,
        num_importance_samples=2,
        batch_size=8,
        validation_fraction=0.0,
    )
    truth, mask = coverage.simulate(np.random.default_rng(0), 3, 20)
    fitter, key = coverage.Fitter(config, truth.shape[2]), jax.random.key(0)
    start = fitter.init(key, mask)
    one, two, again = (fitter.fit(key, start, truth, mask, steps) for steps in (1, 2, 1))
    assert oracles.bits(one) == oracles.bits(again) != oracles.bits(two)


@pytest.mark.slow
def test_the_study_runs(call, tmp_path):
    """Every method on every table, observed cells as they came; a table and a record."""
    settings = ("--num_steps=3", "--num_imputation_samples=20", f"--workdir={tmp_path}")
    said = call("benchmark.coverage", *TINY, *settings)
    assert said.status == 0, said.err
    record = json.loads((tmp_path / "coverage.json").read_text())
    assert record["num_tables"] == 3 and 0 < record["missing"] < 1
    names = ["nothing missing", "complete rows", "mice", "one model", "bootstrapped models"]
    assert list(record["results"]) == names
    for found in record["results"].values():
        assert np.isfinite([found[name]["width"] for name in ("slope", "mean")]).all()
    assert len([line for line in said.out.splitlines() if line.startswith("| ")]) == 1 + 2 * 5
