"""Metrics of imputations against closed forms."""

import numpy as np
import pytest
from scipy import stats

from mnar_ebm import metrics


def cells(draws, truth):
    """Return draws [C, M] and truths [C] as the one gap of two columns, the other observed."""
    full = np.stack([draws, np.zeros_like(draws)], axis=-1)
    complete = np.stack([truth, np.arange(len(truth), dtype=float)], axis=-1)
    return full, complete, np.array([[False, True]]).repeat(len(truth), axis=0)


@pytest.mark.parametrize("num_draws", [2, 20])
def test_crps_is_that_of_the_law_whatever_the_number_of_draws(num_draws):
    """Of N(0, 1) at y: y (2 Φ(y) - 1) + 2 φ(y) - 1/√π, here in units of the column."""
    rng = np.random.default_rng(0)
    truth = 2.0 * rng.normal(size=20_000)
    draws = rng.normal(size=(len(truth), num_draws))
    exact = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - np.pi**-0.5
    got = metrics.crps(*cells(draws, truth)) * truth.std()
    pairs = np.abs(draws[:, :, None] - draws[:, None]).sum(axis=(1, 2))
    each = np.abs(draws - truth[:, None]).mean(axis=1) - pairs / (2 * num_draws * (num_draws - 1))
    np.testing.assert_allclose(got, each.mean(), rtol=1e-12)
    assert abs(got - exact.mean()) < 5 * (each - exact).std() / np.sqrt(len(truth))


def test_crps_prefers_the_right_spread():
    """Draws that are too sure, or too unsure, score worse than those of the truth's law."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_000)
    scores = [
        metrics.crps(*cells(spread * rng.normal(size=(len(truth), 20)), truth))
        for spread in (0.3, 1.0, 3.0)
    ]
    assert scores[1] < min(scores[0], scores[2]) - 0.05


@pytest.mark.parametrize("num_draws", [19, 20, 99])
def test_an_interval_of_the_right_law_covers_at_its_level(num_draws):
    """Also with few draws: exactly where its ends are order statistics, 20 draws within 0.006."""
    rng = np.random.default_rng(2)
    truth, draws = rng.normal(size=20_000), rng.normal(size=(20_000, num_draws))
    covered = metrics.interval_coverage(*cells(draws, truth), level=0.9)
    slack = 0.006 if num_draws == 20 else 0.0
    assert abs(covered - 0.9) < slack + 5 * np.sqrt(0.09 / len(truth))
    too_sure = metrics.interval_coverage(*cells(0.5 * draws, truth), level=0.9)
    assert too_sure < 0.7


def test_draws_that_say_too_little_are_refused():
    """A single draw, too few for the level, other shapes, no gap."""
    truth, draws = np.zeros(3), np.zeros((3, 5))
    with pytest.raises(ValueError, match="level: expected at most 0.67 for 5 draws, got 0.9"):
        metrics.interval_coverage(*cells(draws, truth))
    with pytest.raises(ValueError, match="draws: number for each row: expected at least 2, got 1"):
        metrics.crps(*cells(draws[:, :1], truth))
    full, complete, mask = cells(draws, truth)
    with pytest.raises(ValueError, match="draws, truth, mask: expected one shape, got"):
        metrics.crps(full[:2], complete, mask)
    with pytest.raises(ValueError, match="draws: expected shape .* got"):
        metrics.crps(full[:, 0], complete, mask)
    with pytest.raises(ValueError, match="mask: expected a missing cell, got none"):
        metrics.crps(full, complete, np.ones_like(mask))


def test_pooling_follows_rubins_rules():
    """A case by hand: estimates 1, 2, 3 with variances 1, 2, 3, so W = 2, B = 1, T = 10/3."""
    estimates, variances = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [3.0]])
    pooled = metrics.pool(estimates, variances)
    assert pooled.estimate == 2.0
    np.testing.assert_allclose(pooled.standard_error**2, 10 / 3)
    np.testing.assert_allclose(pooled.missing_information, 0.4)
    np.testing.assert_allclose(pooled.df, 2 / 0.4**2)  # (M - 1)/γ²
    small = metrics.pool(estimates, variances, df_complete=10)
    observed = 0.6 * 10 * 11 / 13
    np.testing.assert_allclose(small.df, 1 / (1 / 12.5 + 1 / observed))
    low, high = small.interval(0.95)
    half = stats.t.ppf(0.975, small.df) * np.sqrt(10 / 3)
    np.testing.assert_allclose([low, high], [2 - half, 2 + half])


def test_without_gaps_pooling_changes_nothing():
    """Equal estimates: the variance is that of each, and t is normal, or of (ν+1)/(ν+3) as many."""
    estimates, variances = np.full((20, 2), 0.5), np.full((20, 2), 4.0)
    pooled = metrics.pool(estimates, variances)
    assert np.isinf(pooled.df).all()
    np.testing.assert_allclose(pooled.interval()[1], 0.5 + 2 * stats.norm.ppf(0.975))
    np.testing.assert_allclose(metrics.pool(estimates, variances, 30).df, 30 * 31 / 33)


def test_pooled_intervals_cover():
    """The mean of N(θ, 1) rows of which a third is imputed from its posterior: 95 % of intervals.

    With n rows observed, θ given them is N(mean, 1/n): proper imputations of the m others.
    """
    rng = np.random.default_rng(3)
    num_tables, n, m, num_imputations = 2000, 40, 20, 20
    covered = 0
    for _ in range(num_tables):
        seen = rng.normal(size=n)
        theta = seen.mean() + rng.normal(size=num_imputations) / np.sqrt(n)
        filled = theta[:, None] + rng.normal(size=(num_imputations, m))
        means = (seen.sum() + filled.sum(axis=1)) / (n + m)
        low, high = metrics.pool(
            means[:, None], np.full((num_imputations, 1), 1 / (n + m))
        ).interval()
        covered += low[0] <= 0.0 <= high[0]
    assert abs(covered / num_tables - 0.95) < 5 * np.sqrt(0.95 * 0.05 / num_tables)


def test_pooling_refuses_other_shapes_and_a_single_table():
    """In one line."""
    with pytest.raises(
        ValueError, match=r"estimates, variances: expected one shape .* \(2, 1\) and"
    ):
        metrics.pool(np.zeros((2, 1)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="estimates: imputations: expected at least 2, got 1"):
        metrics.pool(np.zeros((1, 1)), np.ones((1, 1)))


def test_total_variation_of_two_laws():
    """Half the sum of differences: 0 of one law with itself, 1 of laws that share no class."""
    assert metrics.total_variation([0.2, 0.8], [0.2, 0.8]) == 0.0
    assert metrics.total_variation([1.0, 0.0], [0.0, 1.0]) == 1.0
    training = np.array([0.12, 0.33, 0.28, 0.20, 0.07])
    assert metrics.total_variation(training, np.full(5, 0.2)) == pytest.approx(0.21)
    with pytest.raises(ValueError, match=r"p, q: expected one shape \[classes\], got \(2,\) and"):
        metrics.total_variation([0.2, 0.8], [1.0])


def test_frechet_distance_of_samples_with_known_moments():
    """With C_1 = diag(a²) and C_2 = diag(b²) it is |m_1 - m_2|² + sum (a - b)²; a zero too."""
    rng = np.random.default_rng(3)
    white = rng.normal(size=(500, 3))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T  # moments 0 and I
    first, second = np.array([1.0, 2.0, 0.0]), np.array([1.5, 0.5, 3.0])
    shift = np.array([0.0, 2.0, 1.0])
    distance = metrics.frechet_distance(white * first, white[:, [1, 0, 2]] * second + shift)
    assert distance == pytest.approx(5.0 + ((first - second) ** 2).sum())
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = metrics.frechet_distance(white * first @ turn, (white * second + shift) @ turn)
    assert turned == pytest.approx(distance)


def test_samples_of_other_features_are_refused():
    """Another number of columns, one row."""
    with pytest.raises(ValueError, match=r"expected shapes \[N, F\] and \[M, F\], got \(4, 2\)"):
        metrics.frechet_distance(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="first, second: rows: expected at least 2, got 1"):
        metrics.frechet_distance(np.zeros((1, 2)), np.zeros((4, 2)))
