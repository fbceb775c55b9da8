"""Toy densities with known answers: each can be sampled and evaluated."""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from mnar_ebm.data.table import Table, benchmark_table

NUM_ROWS = 2000
NUM_NODES = 256

_leggauss = functools.cache(np.polynomial.legendre.leggauss)


class Toy(Protocol):
    """A density on R^D."""

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, D]."""

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""


class GaussianMixture(NamedTuple):
    """``p(x) = sum_c weights[c] N(x; means[c], covariances[c])``.

    Attributes:
        weights: probabilities of the components; C of them. [C]
        means: their means. [C, D]
        covariances: their covariances. [C, D, D]
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, D]."""
        component = rng.choice(len(self.weights), num_rows, p=self.weights)
        noise = rng.standard_normal((num_rows, self.means.shape[1]))
        factor = np.linalg.cholesky(self.covariances)[component]
        return self.means[component] + np.einsum("nij,nj->ni", factor, noise)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        components = zip(self.weights, self.means, self.covariances, strict=True)
        terms = [np.log(w) + _normal_log_prob(x, m, c) for w, m, c in components]
        return np.logaddexp.reduce(terms, axis=0)


class TwoMoons(NamedTuple):
    """Two half circles, with a uniform angle t in [0, pi], blurred by Gaussian noise.

    ``x = (cos t, sin t) + noise e`` or, as often, ``x = (1 - cos t, 1/2 - sin t) + noise e``,
    with e standard normal.

    Attributes:
        noise: the standard deviation of the noise, at least 0.05 for ``log_prob`` to be exact.
    """

    noise: float

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        angle = rng.uniform(0, np.pi, num_rows)
        upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        is_upper = rng.random((num_rows, 1)) < 0.5
        moons = np.where(is_upper, upper, np.array([1.0, 0.5]) - upper)
        return moons + self.noise * rng.standard_normal((num_rows, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows; the lower moon is the upper one, turned."""
        lower = np.array([1.0, 0.5]) - x
        return np.logaddexp(self._arc_log_prob(x), self._arc_log_prob(lower)) - np.log(2)

    def _arc_log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the upper moon's log-density [N], by Gauss-Legendre quadrature.

        ``p(x) = (1 / pi) int_0^pi N(x; (cos t, sin t), noise^2 I) dt``
        """
        nodes, weights = _leggauss(NUM_NODES)
        angle = np.pi * (nodes + 1) / 2
        arc = np.stack([np.cos(angle), np.sin(angle)])
        squares = (x**2).sum(axis=1, keepdims=True) + 1 - 2 * x @ arc  # |x - arc|^2, [N, nodes]
        terms = -0.5 * squares / self.noise**2
        peak = terms.max(axis=1)
        mean = np.exp(terms - peak[:, None]) @ (weights / 2)
        return peak + np.log(mean) - np.log(2 * np.pi * self.noise**2)


class LinearGaussian(NamedTuple):
    """Probabilistic PCA: ``x = mean + loadings z + noise e``, with z and e standard normal.

    Attributes:
        loadings: [D, L]
        mean: [D]
        noise: the standard deviation of the noise.
    """

    loadings: np.ndarray
    mean: np.ndarray
    noise: float

    @property
    def covariance(self) -> np.ndarray:
        """Return ``loadings loadings^T + noise^2 I`` [D, D]."""
        return self.loadings @ self.loadings.T + self.noise**2 * np.eye(len(self.mean))

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, D]."""
        latent = rng.standard_normal((num_rows, self.loadings.shape[1]))
        noise = self.noise * rng.standard_normal((num_rows, len(self.mean)))
        return self.mean + latent @ self.loadings.T + noise

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows, ``log N(x; mean, covariance)``."""
        return _normal_log_prob(x, self.mean, self.covariance)


def gaussian_mixture() -> GaussianMixture:
    """Return three components in the plane, of unequal weights and shapes."""
    return GaussianMixture(
        weights=np.array([0.5, 0.3, 0.2]),
        means=np.array([[-2.0, 0.0], [2.0, 1.0], [0.5, -2.5]]),
        covariances=np.array(
            [[[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.15], [-0.15, 0.6]], [[0.8, 0.0], [0.0, 0.1]]]
        ),
    )


def two_moons() -> TwoMoons:
    """Return two moons with noise 0.1."""
    return TwoMoons(noise=0.1)


def linear_gaussian() -> LinearGaussian:
    """Return six columns that depend on two latents."""
    return LinearGaussian(
        loadings=np.array(
            [[1.0, 0.0], [0.8, 0.6], [0.0, 1.2], [-0.7, 0.5], [0.9, -0.9], [0.3, 1.0]]
        ),
        mean=np.array([0.0, 1.0, -1.0, 2.0, 0.5, -0.5]),
        noise=0.5,
    )


TOYS: dict[str, Callable[[], Toy]] = {
    "gaussian_mixture": gaussian_mixture,
    "two_moons": two_moons,
    "linear_gaussian": linear_gaussian,
}


def load(name: str, seed: int) -> Table:
    """Return 2000 rows of one of :data:`TOYS`, masked by the benchmark protocol."""
    truth = TOYS[name]().sample(np.random.default_rng(seed), NUM_ROWS)
    return benchmark_table(name, [f"x{d}" for d in range(truth.shape[1])], truth)


def _normal_log_prob(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return ``log N(x; mean, covariance)`` [N] of the rows."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, (x - mean).T)
    log_scale = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
    return -0.5 * (white**2).sum(axis=0) - log_scale
