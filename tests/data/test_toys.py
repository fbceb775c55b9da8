"""Toy densities against other ways to the same numbers."""

import numpy as np
import pytest
from scipy import integrate, stats

from mnar_ebm import data
from mnar_ebm.data.datasets import toys


@pytest.mark.parametrize("name", ["gaussian_mixture", "two_moons"])
def test_planar_densities_integrate_to_one(name):
    """The trapezium rule on a wide grid; the integrand is smooth and vanishes at the edge."""
    axis, step = np.linspace(-7, 7, 281, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = sum(np.exp(toys.TOYS[name]().log_prob(part)).sum() for part in np.split(grid, 281))
    np.testing.assert_allclose(total * step**2, 1, rtol=1e-8)


@pytest.mark.parametrize("name", toys.TOYS)
def test_samples_follow_the_density(name):
    """Samples of the toy and a wide Gaussian weighted by the density have the same moments."""
    toy, rng = toys.TOYS[name](), np.random.default_rng(0)
    x = toy.sample(rng, 20_000)
    wide = stats.multivariate_normal(x.mean(axis=0), 2 * np.cov(x.T))
    y = wide.rvs(20_000, random_state=rng)
    weight = np.exp(toy.log_prob(y) - wide.logpdf(y))[:, None]
    for moment in (np.ones_like, lambda v: v, np.square, lambda v: v * np.roll(v, 1, axis=1)):
        direct, weighted = moment(x), weight * moment(y)
        error = np.sqrt((direct.var(axis=0) + weighted.var(axis=0)) / 20_000)
        assert (np.abs(direct.mean(axis=0) - weighted.mean(axis=0)) < 5 * error).all()


def test_gaussian_mixture_matches_scipy():
    """Component by component."""
    toy = toys.gaussian_mixture()
    x = np.random.default_rng(1).normal(0, 3, (100, 2))
    parts = zip(toy.weights, toy.means, toy.covariances, strict=True)
    expected = sum(w * stats.multivariate_normal(m, c).pdf(x) for w, m, c in parts)
    np.testing.assert_allclose(toy.log_prob(x), np.log(expected), rtol=1e-10)


def test_linear_gaussian_matches_scipy():
    """Its density, and the moments of its samples within five standard errors."""
    toy = toys.linear_gaussian()
    x = toy.sample(np.random.default_rng(2), 20_000)
    expected = stats.multivariate_normal(toy.mean, toy.covariance).logpdf(x)
    np.testing.assert_allclose(toy.log_prob(x), expected, rtol=1e-12)
    variance = np.diag(toy.covariance)
    error = np.sqrt((np.outer(variance, variance) + toy.covariance**2) / len(x))
    assert (np.abs(x.mean(axis=0) - toy.mean) < 5 * np.sqrt(variance / len(x))).all()
    assert (np.abs(np.cov(x.T) - toy.covariance) < 5 * error).all()


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.5])
def test_two_moons_matches_adaptive_quadrature(noise):
    """Near the moons, between them and far away."""
    toy = toys.TwoMoons(noise)
    x = np.array([[0.0, 1.0], [1.0, -0.5], [0.5, 0.25], [-1.0, 0.0], [1.0, 0.1], [3.0, -2.0]])
    expected = [_moons_log_prob(point, noise) for point in x]
    np.testing.assert_allclose(toy.log_prob(x), expected, atol=1e-8, rtol=0)


def _moons_log_prob(point, noise):
    """Integrate over the angle with ``scipy.integrate.quad``, peak by peak."""
    total = []
    for center, sign in (((0, 0), 1), ((1, 0.5), -1)):
        offset = sign * (point - center)
        peak = np.clip(np.arctan2(offset[1], offset[0]), 0, np.pi)
        best = min((0, np.pi, peak), key=lambda t: _squares(offset, t))
        scale = _squares(offset, best) / (2 * noise**2)
        integral, _ = integrate.quad(
            lambda t, o=offset, s=scale: np.exp(s - _squares(o, t) / (2 * noise**2)),
            *(0, np.pi),
            points=np.clip(best + noise * np.array([-5, -1, 0, 1, 5]), 0, np.pi),
            epsabs=0,
            epsrel=1e-11,
            limit=500,
        )
        total.append(np.log(integral / np.pi) - scale)
    return np.logaddexp(*total) - np.log(2) - np.log(2 * np.pi * noise**2)


def _squares(offset, angle):
    """Return the squared distance to a point of the upper moon."""
    return (offset[0] - np.cos(angle)) ** 2 + (offset[1] - np.sin(angle)) ** 2


@pytest.mark.parametrize("name", toys.TOYS)
def test_load_is_seeded(name):
    """Two thousand rows, the same for the same seed."""
    first, again, other = (data.load(name, seed=seed) for seed in (0, 0, 1))
    assert len(first.x) == 2000
    np.testing.assert_array_equal(first.truth, again.truth)
    assert not np.array_equal(first.truth, other.truth)
