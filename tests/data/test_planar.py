"""The densities of the plane: they integrate to one, and their samples have their law."""

import numpy as np
import pytest
from scipy import stats

from mnar_ebm.data.datasets.planar import PLANAR, grid


@pytest.mark.parametrize("name", PLANAR)
def test_they_integrate_to_one(name):
    """On the square, by midpoints: the integrand is smooth and small at the walls."""
    points, area = grid(300)
    np.testing.assert_allclose(area * np.exp(PLANAR[name]().log_prob(points)).sum(), 1, atol=2e-6)


@pytest.mark.parametrize("name", PLANAR)
def test_samples_follow_the_density(name):
    """By the count of each cell of a coarse grid against its integral: Pearson's chi²."""
    density, num = PLANAR[name](), 20_000
    points, area = grid(240)
    probability = area * np.exp(density.log_prob(points)).reshape(24, 10, 24, 10).sum(axis=(1, 3))
    x = density.sample(np.random.default_rng(0), num)
    edges = np.linspace(-6, 6, 25)
    count = np.histogram2d(x[:, 0], x[:, 1], [edges, edges])[0]
    is_large = num * probability > 5
    expected = np.append(num * probability[is_large], num * (1 - probability[is_large].sum()))
    found = np.append(count[is_large], num - count[is_large].sum())
    assert stats.chisquare(found, expected).pvalue > 1e-4
    moved = stats.chisquare(np.roll(found, 1), expected)
    assert moved.pvalue < 1e-4  # the test can fail


def test_a_checkerboard_has_a_density_far_from_its_squares():
    """Finite where a difference of distribution functions is below what floats know."""
    x = np.array([[0.0, 0.0], [5.0, -5.0], [1e3, 0.0]])
    log_prob = PLANAR["checkerboard"]().log_prob(x)
    assert np.isfinite(log_prob).all() and (np.diff(log_prob) < 0).all()
