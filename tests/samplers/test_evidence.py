"""log Z by annealing up and down, by a bridge and by tempered particles, against quadrature."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from mnar_ebm.samplers import (
    SamplingAlgorithm,
    ais,
    bridge,
    effective_sample_size,
    hmc,
    mala,
    reverse_ais,
    smc,
)

pytestmark = pytest.mark.usefixtures("quick_compile_all")

smc_module = importlib.import_module("mnar_ebm.samplers.smc")  # the package's smc is the function

# A Cauchy prior and an observation of 2 with noise .5: far off centre, and not symmetric.
LADDER = np.linspace(0, 1, 11)
GRID = np.linspace(-30, 30, 200_001)
KERNEL = functools.partial(mala, step_size=0.1)


def log_prior(x):
    """Log Cauchy(x), without its constant."""
    return -jnp.log1p(x**2)


def log_likelihood(x):
    """Log N(2; x, .5²), without its constant."""
    return -2.0 * (x - 2.0) ** 2


def exact_log_z():
    """Log E_prior[likelihood], by quadrature."""
    value, _ = integrate.quad(lambda x: stats.cauchy.pdf(x) * np.exp(-2 * (x - 2) ** 2), -20, 20)
    return np.log(value)


def posterior_draws(num_draws, seed=0):
    """Draw from the posterior by inverting its distribution function on a grid. [N]."""
    density = stats.cauchy.pdf(GRID) * np.exp(-2 * (GRID - 2) ** 2)
    cumulative = np.cumsum(density) / density.sum()
    return np.interp(np.random.default_rng(seed).uniform(size=num_draws), cumulative, GRID)


@functools.partial(jax.jit, static_argnames=("build", "num_samples"))
def up(key, build=KERNEL, num_samples=20_000):
    """Anneal from the prior to the posterior."""
    return ais(key, jax.random.cauchy, log_prior, log_likelihood, build, LADDER, num_samples)


@functools.partial(jax.jit, static_argnames="build")
def down(key, draws, build=KERNEL):
    """Anneal from the posterior to the prior."""
    return reverse_ais(key, draws, log_prior, log_likelihood, build, LADDER)


def stale(logdensity_fn):
    """MALA that stands on the density of another temperature, as a state carried over does."""
    return SamplingAlgorithm(
        mala(log_prior, step_size=0.1).init, mala(logdensity_fn, step_size=0.1).step
    )


def z_score(log_w, log_value):
    """(mean(w) / value - 1) in standard errors."""
    ratio = np.exp(np.asarray(log_w, float) - log_value)
    return (ratio.mean() - 1) / (ratio.std(ddof=1) / np.sqrt(ratio.size))


# Annealing.


def test_ais_is_unbiased():
    """E w = Z, with ten temperatures and one step of MALA at each."""
    assert abs(z_score(up(jax.random.key(0)).log_w, exact_log_z())) < 4


def test_reverse_ais_is_unbiased_for_the_inverse():
    """E 1/w = 1/Z, from exact draws of the posterior of N(0, 1) and the likelihood σ(2x); Z = ½.

    With this likelihood 1/w has a variance; with a Gaussian one it has none, and no standard error.
    Where x ~ N(0, 1) keeps its sign with probability σ(2x), it is a draw of the posterior.
    """
    key_x, key_sign, key_down = jax.random.split(jax.random.key(1), 3)
    x = jax.random.normal(key_x, (20_000,))
    x = jnp.where(jax.random.uniform(key_sign, x.shape) < jax.nn.sigmoid(2 * x), x, -x)
    model = (lambda x: -0.5 * x**2, lambda x: jax.nn.log_sigmoid(2 * x), KERNEL, LADDER)
    log_w = jax.jit(lambda key: reverse_ais(key, x, *model).log_w)(key_down)
    assert abs(z_score(-log_w, np.log(2))) < 4


def test_stale_densities_bite():
    """The unbiasedness that is asserted above is lost with the previous density in the state."""
    assert abs(z_score(up(jax.random.key(0), stale).log_w, exact_log_z())) > 8


def test_annealing_brackets_log_z():
    """In expectation the log of a single path is below log Z upwards, above it downwards.

    With the prior N(0, 1) the posterior is N(1.6, .2), and Z = √(2π/4) N(2; 0, 1.25).
    """
    log_z = 0.5 * np.log(np.pi / 2) + stats.norm.logpdf(2, scale=np.sqrt(1.25))
    model = (lambda x: -0.5 * x**2, log_likelihood, KERNEL, LADDER)
    draws = 1.6 + np.sqrt(0.2) * jax.random.normal(jax.random.key(0), (5000,))
    above = jax.jit(lambda key: reverse_ais(key, draws, *model).log_w)(jax.random.key(1))
    below = jax.jit(lambda key: ais(key, jax.random.normal, *model, 5000).log_w)(jax.random.key(2))
    low, high = (float(jnp.mean(log_w)) for log_w in (below, above))
    error_low, error_high = (float(jnp.std(log_w)) / np.sqrt(5000) for log_w in (below, above))
    assert low + 4 * error_low < log_z < high - 4 * error_high


def test_annealed_standard_errors_are_honest():
    """Over repetitions log Z is off by what the standard error says."""
    keys = jax.random.split(jax.random.key(2), 100)
    estimates = jax.lax.map(functools.partial(up, num_samples=1000), keys)
    z = (np.asarray(estimates.log_z) - exact_log_z()) / estimates.log_z_standard_error
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert stats.chi2.cdf(np.sum(z**2), z.size) < 0.999


def test_annealing_ends_at_the_target():
    """The paths, weighted, have the posterior's mean; those that go down have the prior's law."""
    estimate = up(jax.random.key(3))
    weights = np.asarray(jax.nn.softmax(estimate.log_w), float)
    draws = np.asarray(estimate.draws, float)
    mean = weights @ draws
    error = np.sqrt(np.sum((weights * (draws - mean)) ** 2))
    density = stats.cauchy.pdf(GRID) * np.exp(-2 * (GRID - 2) ** 2)
    assert abs(mean - density @ GRID / density.sum()) < 4 * error
    assert np.all((estimate.acceptance_rate > 0.5) & (estimate.acceptance_rate <= 1))


@pytest.mark.parametrize("path", [[0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.5, 1.0]])
def test_a_path_that_is_none_is_refused(path):
    """The message shows it."""
    with pytest.raises(ValueError, match="inverse_temperatures: expected values that increase"):
        ais(jax.random.key(0), jax.random.normal, log_prior, log_likelihood, KERNEL, path, 10)


# The bridge, on N(0, 1) tilted by exp(2 x): N(2, 1) and log Z = 2.


def tilted_normals(seed, num_base=1000, num_target=2000):
    """Return log-weights of draws of the base and of the target. [N_0], [N_1]."""
    base, target = jax.random.split(jax.random.key(seed))
    return (
        2 * jax.random.normal(base, (num_base,)),
        4 + 2 * jax.random.normal(target, (num_target,)),
    )


def bridge_z_scores(estimate_of):
    """(log Ẑ - log Z) / standard error over 100 repetitions."""
    estimates = jax.vmap(lambda seed: estimate_of(*tilted_normals(seed)))(jnp.arange(100))
    assert np.all(estimates.is_converged)
    return np.asarray((estimates.log_z - 2) / estimates.log_z_standard_error)


def test_bridge_is_right_and_knows_its_error():
    """Errors, in standard errors, are standard normal."""
    z = bridge_z_scores(bridge)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert 0.001 < stats.chi2.cdf(np.sum(z**2), z.size) < 0.999


def test_bridge_with_swapped_roles_bites():
    """Base weights given as the target's, and the other way round, miss log Z."""
    z = bridge_z_scores(lambda log_w_base, log_w_target: bridge(log_w_target, log_w_base))
    assert abs(z.mean()) > 4 / np.sqrt(z.size)


def test_bridge_beats_both_ways_of_importance_sampling():
    """Each way reads one set of draws alone."""

    def errors(seed):
        log_w_base, log_w_target = tilted_normals(seed)
        forward = jax.nn.logsumexp(log_w_base) - jnp.log(log_w_base.size)
        reverse = jnp.log(log_w_target.size) - jax.nn.logsumexp(-log_w_target)
        return jnp.stack([bridge(log_w_base, log_w_target).log_z, forward, reverse]) - 2

    bridged, forward, reverse = np.sqrt(np.mean(np.square(jax.vmap(errors)(jnp.arange(200))), 0))
    assert bridged < 0.7 * min(forward, reverse)


def test_bridge_takes_annealed_paths():
    """Up and down together are nearer than the gap between them."""
    log_z = exact_log_z()
    both = up(jax.random.key(4)), down(jax.random.key(5), posterior_draws(20_000, seed=1))
    estimate = bridge(both[0].log_w, both[1].log_w)
    assert abs(estimate.log_z - log_z) < 4 * estimate.log_z_standard_error
    assert estimate.log_z_standard_error < min(each.log_z_standard_error for each in both)
    assert 0 < estimate.overlap < 1


@pytest.mark.parametrize("settings", [{"max_num_iterations": 0}, {"target_inefficiency": 0.0}])
def test_bridge_refuses_wrong_settings(settings):
    """The message names the setting."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        bridge(jnp.zeros(3), jnp.zeros(3), **settings)


# Tempered particles, on eight Gaussians of unequal weight on a circle.

MODES = 4 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], -1)
MASSES = np.array([1, 2, 1, 3, 1, 2, 1, 1]) / 12
LOG_Z = 1.234567


def log_base(x):
    """Log N(x; 0, 9 I), normalised."""
    return -jnp.sum(x**2) / 18 - np.log(18 * np.pi)


def log_eight_gaussians(x):
    """Log of exp(1.234567) times the mixture."""
    squares = jnp.sum((x - MODES) ** 2, -1) / 0.3**2
    return LOG_Z + jax.nn.logsumexp(-0.5 * squares + np.log(MASSES)) - np.log(2 * np.pi * 0.3**2)


@functools.partial(jax.jit, static_argnames="num_samples")
def crowd(key, num_samples=2000):
    """Move particles from the base to the eight Gaussians."""
    return smc(
        key,
        lambda key: 3 * jax.random.normal(key, (2,)),
        log_base,
        lambda x: log_eight_gaussians(x) - log_base(x),
        functools.partial(hmc, step_size=0.2, num_integration_steps=5),
        num_samples,
        num_steps=3,
        target_ess=0.7,
    )


@functools.cache
def crowds():
    """Forty crowds."""
    return jax.lax.map(crowd, jax.random.split(jax.random.key(0), 40))


def test_smc_finds_log_z():
    """The mean error is within four of its standard errors, the scatter not above .04.

    The scatter is judged with what a χ² of as many runs allows.
    """
    errors = np.asarray(crowds().log_z) - LOG_Z
    assert np.all(crowds().is_finished)
    assert abs(errors.mean()) < 4 * errors.std(ddof=1) / np.sqrt(errors.size)
    assert stats.chi2.cdf(np.sum((errors - errors.mean()) ** 2) / 0.04**2, errors.size - 1) < 0.999


def test_smc_standard_error_is_of_the_right_size():
    """The scatter of the runs is in the χ² band of what they report."""
    errors, claimed = np.asarray(crowds().log_z) - LOG_Z, crowds().log_z_standard_error
    assert 1e-3 < stats.chi2.cdf(np.sum((errors / claimed) ** 2), errors.size) < 0.999


def test_smc_standard_error_at_many_temperatures():
    """Resampling nearly even weights adds to the shares of base draws, and not to log Z."""

    def run(key):
        target = (lambda x: -0.5 * x**2, lambda x: 3 * x, functools.partial(mala, step_size=0.3))
        return smc(key, jax.random.normal, *target, 200, 20, target_ess=0.9)

    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), 200))
    errors = (np.asarray(found.log_z) - 4.5) / np.asarray(found.log_z_standard_error)
    assert 1e-3 < stats.chi2.cdf(np.sum(errors**2), errors.size) < 0.999


def test_smc_finds_the_masses():
    """The share of each mode, over all runs, is within four standard errors of its mass."""
    nearest = np.argmin(np.sum((np.asarray(crowds().draws)[:, :, None] - MODES) ** 2, -1), -1)
    shares = np.stack([np.mean(nearest == mode, 1) for mode in range(8)], -1)
    error = shares.std(axis=0, ddof=1) / np.sqrt(len(shares))
    assert np.all(np.abs(shares.mean(axis=0) - MASSES) < 4 * error)


def test_smc_reaches_an_asymmetric_target():
    """A Cauchy prior and an observation far off centre: log Z and the posterior's mean."""
    run = jax.jit(
        lambda key: smc(key, jax.random.cauchy, log_prior, log_likelihood, KERNEL, 2000, 5)
    )
    estimates = jax.lax.map(run, jax.random.split(jax.random.key(1), 10))
    errors = np.asarray(estimates.log_z) - exact_log_z()
    means = np.asarray(estimates.draws).mean(axis=1)
    for values in (errors, means - posterior_draws(1_000_000).mean()):
        assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(values.size)


def skewed_weights():
    """Log-likelihoods under the prior: a few are high, most very low. [N]."""
    return jnp.asarray(-2.0 * (np.random.default_rng(0).standard_cauchy(2000) - 2.0) ** 2)


def achieved_share():
    """Effective sample size at the next inverse temperature, as a share."""
    log_w = skewed_weights()
    beta = smc_module.next_inverse_temperature(log_w, jnp.zeros(()), 0.7)
    return float(effective_sample_size(beta * log_w)) / log_w.size


def test_next_inverse_temperature_keeps_the_effective_sample_size():
    """It solves ESS = 0.7 N."""
    np.testing.assert_allclose(achieved_share(), 0.7, atol=2e-3)


def test_a_reversed_increment_bites(monkeypatch):
    """A solver that weighs with w^-Δβ keeps another share."""
    monkeypatch.setattr(
        smc_module, "effective_sample_size", lambda log_w: effective_sample_size(-log_w)
    )
    assert abs(achieved_share() - 0.7) > 0.1


def test_smc_says_that_it_did_not_finish():
    """With too few temperatures the last one is below 1."""
    estimate = smc(
        jax.random.key(0),
        jax.random.cauchy,
        log_prior,
        log_likelihood,
        KERNEL,
        100,
        max_num_temperatures=1,
    )
    assert not estimate.is_finished
    assert estimate.inverse_temperatures[-1] < 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_samples", 0), ("num_steps", 0), ("max_num_temperatures", 0), ("target_ess", 1.0)],
)
def test_smc_refuses_wrong_settings(name, value):
    """The message names the setting and shows the value."""
    settings = {"num_samples": 10, name: value}
    with pytest.raises(ValueError, match=f"{name}: .*{value}"):
        smc(jax.random.key(0), jax.random.cauchy, log_prior, log_likelihood, KERNEL, **settings)
