"""The tilt of clusters' shares, against a mixture whose shares are known."""

import numpy as np
from scipy import stats
from sklearn.mixture import GaussianMixture

from experiments.benchmark.debiasing import clusters

MEANS = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def draw(rng, shares, num_rows):
    """Return rows of three round clusters."""
    return MEANS[rng.choice(3, num_rows, p=shares)] + rng.normal(size=(num_rows, 2))


def test_shares_of_a_small_sample_are_found_and_the_energy_is_the_ratio():
    """Selected .7, .2, .1; unbiased .2, .3, .5; E is log of one mixture less log of the other."""
    rng = np.random.default_rng(0)
    mixture = GaussianMixture(3, random_state=0).fit(draw(rng, [0.7, 0.2, 0.1], 5000))
    found = clusters.fit_shares(mixture, draw(rng, [0.2, 0.3, 0.5], 400)[None])
    order = [int(np.argmin(((mixture.means_ - mean) ** 2).sum(axis=1))) for mean in MEANS]
    new = np.exp(np.asarray(found.log_new_shares))[order]
    np.testing.assert_allclose(new, [0.2, 0.3, 0.5], atol=4 * np.sqrt(0.25 / 400))

    z = rng.normal(scale=2.0, size=(7, 2))
    parts = np.stack(
        [
            stats.multivariate_normal.pdf(z, mean, covariance)
            for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True)
        ]
    )
    exact = np.log(mixture.weights_ @ parts / (np.exp(found.log_new_shares) @ parts))
    np.testing.assert_allclose(found.energy(z), exact, rtol=1e-4, atol=1e-4)


def test_no_row_leaves_the_shares_where_they_were():
    """The prior is worth one row: of rows as the selected ones are, little is moved."""
    rng = np.random.default_rng(1)
    x = draw(rng, [0.7, 0.2, 0.1], 4000)
    mixture = GaussianMixture(3, random_state=0).fit(x)
    found = clusters.fit_shares(mixture, x[None])
    np.testing.assert_allclose(found.log_new_shares, found.log_shares, atol=0.01)
