"""Closed forms to test against: linear-Gaussian models, quadratic tilts, probit self-masking.

Probabilistic PCA makes (z, x) jointly Gaussian, and a quadratic energy keeps it so. With v = (z, x)
one formula, that of a tilted Gaussian, therefore gives log Z, the tilted model and every
conditional law. ``make_linear_model`` builds the same density from hand-written callables, without
a network: every bound, sampler and imputer of the package takes it as it takes a VAE.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from mnar_ebm import models
from mnar_ebm.data.datasets.toys import LinearGaussian
from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.missingness import base as mechanisms
from mnar_ebm.missingness import make_gap_model
from mnar_ebm.missingness.gap_model import with_common
from mnar_ebm.types import DecoderOutput

DENSE = LinearGaussian(
    loadings=np.array([[1.0, 0.3], [0.5, -0.8], [0.2, 1.1], [-0.6, 0.4]]),
    mean=np.array([0.4, -0.3, 0.0, 0.6]),
    noise=0.7,
)
"""Every column reads both latents, so that the posterior is correlated."""

DISJOINT = LinearGaussian(
    loadings=np.array([[1.0, 0.0], [0.8, 0.0], [0.0, 1.2], [0.0, -0.7]]),
    mean=np.array([0.3, -0.2, 0.5, 0.0]),
    noise=0.6,
)
"""Every column reads one latent: a diagonal encoder can be the exact posterior of any mask."""


class Gaussian(NamedTuple):
    """N(mean, covariance) in float64. [D], [D, D]."""

    mean: np.ndarray
    covariance: np.ndarray

    def log_prob(self, x):
        """Return the log-density. [..., D] -> [...]."""
        return stats.multivariate_normal(self.mean, self.covariance).logpdf(x)

    def marginal(self, part):
        """Return the law of a part, a slice or a boolean mask."""
        return Gaussian(self.mean[part], self.covariance[part][:, part])

    def given(self, is_known, value):
        """Return the law of the rest given that the known part has a value."""
        rest = ~is_known
        gain = np.linalg.solve(
            self.covariance[is_known][:, is_known], self.covariance[is_known][:, rest]
        ).T
        mean = self.mean[rest] + gain @ (value - self.mean[is_known])
        covariance = self.covariance[rest][:, rest] - gain @ self.covariance[is_known][:, rest]
        return Gaussian(mean, covariance)


class Quadratic(NamedTuple):
    """E(v) = ½ v'Av + b'v with v = (z, x). [L + D, L + D], [L + D]."""

    curvature: np.ndarray
    slope: np.ndarray

    def __call__(self, v):
        """Return the energy. [..., L + D] -> [...]."""
        return 0.5 * np.einsum("...i,ij,...j", v, self.curvature, v) + v @ self.slope


def quadratic(space, latent_dim=2, num_features=4):
    """Return one fixed energy, curved both up and down, as far as its space reads it."""
    size = latent_dim + num_features
    rng = np.random.default_rng(7)
    factor, noise = rng.normal(size=(2, size, size))
    strength = 4.0 if space == "latent" else 1.0
    curvature = strength * (0.1 * factor @ factor.T / size + 0.04 * (noise + noise.T))
    slope = 0.3 * strength * rng.normal(size=size)
    is_latent = np.arange(size) < latent_dim
    read = {"latent": is_latent, "data": ~is_latent, "joint": is_latent | ~is_latent}[space]
    return Quadratic(np.where(np.outer(read, read), curvature, 0.0), np.where(read, slope, 0.0))


def tilt(base, energy, scale=1.0):
    """Return log Z and p(v) exp(-scale E(v)) / Z for a Gaussian p and a quadratic E.

    C' = (C^-1 + A)^-1,  m' = C'(C^-1 m - b),
    log Z = -½ log|I + CA| - ½ m'C^-1 m + ½ m''C'^-1 m'.
    """
    a, b = scale * energy.curvature, scale * energy.slope
    precision = np.linalg.inv(base.covariance)
    tilted_precision = precision + a
    assert np.linalg.eigvalsh(tilted_precision).min() > 0, "the tilt is not normalisable"
    covariance = np.linalg.inv(tilted_precision)
    mean = covariance @ (precision @ base.mean - b)
    _, log_det = np.linalg.slogdet(np.eye(len(b)) + base.covariance @ a)
    log_z = 0.5 * (mean @ tilted_precision @ mean - base.mean @ precision @ base.mean - log_det)
    return log_z, Gaussian(mean, (covariance + covariance.T) / 2)


def joint(linear):
    """Return the law of (z, x) under probabilistic PCA."""
    num_features, latent_dim = linear.loadings.shape
    covariance = np.block(
        [[np.eye(latent_dim), linear.loadings.T], [linear.loadings, linear.covariance]]
    )
    return Gaussian(np.concatenate([np.zeros(latent_dim), linear.mean]), covariance)


def tilted_joint(linear, energy):
    """Return log Z and the tilted law of (z, x); without an energy, 0 and the base's."""
    return (0.0, joint(linear)) if energy is None else tilt(joint(linear), energy)


def latents_of(linear, law):
    """Return the law of z in a law of (z, x)."""
    return law.marginal(slice(0, linear.loadings.shape[1]))


def rows_of(linear, law):
    """Return the law of x in a law of (z, x)."""
    return law.marginal(slice(linear.loadings.shape[1], None))


def chi_square(linear, energy):
    """Return chi² of the tilted model from its base: Z(2E) / Z(E)² - 1."""
    base = joint(linear)
    return np.exp(tilt(base, energy, 2.0)[0] - 2.0 * tilt(base, energy)[0]) - 1.0


def make_linear_model(linear, *, mechanism="none", energy=None, widen=1.0):
    """Return the model of a linear-Gaussian law, from callables alone, and its parameters.

    The encoder has the mean of the exact posterior and ``widen`` times its standard deviations. The
    mechanism's parameters are those of a fresh start with a missing rate of 0.3.

    Args:
        linear: loadings, mean and noise.
        mechanism: as in ``Config.mechanism``.
        energy: a quadratic tilt, or none.
        widen: 1 makes the encoder exact where the posterior is diagonal.
    """
    num_features, latent_dim = linear.loadings.shape
    likelihood = make_likelihood("gaussian")

    def encode(params, x, mask):
        loadings = jnp.where(mask[:, None], params["loadings"], 0.0) / params["noise"]
        residual = jnp.where(mask, x - params["mean"], 0.0) / params["noise"]
        covariance = jnp.linalg.inv(jnp.eye(latent_dim) + loadings.T @ loadings)
        return covariance @ loadings.T @ residual, widen * jnp.sqrt(jnp.diagonal(covariance))

    def decode(params, z):
        loc = params["mean"] + z @ params["loadings"].T
        return DecoderOutput(loc, jnp.broadcast_to(params["noise"], loc.shape))

    base = {name: jnp.asarray(value, float) for name, value in linear._asdict().items()}
    vae = models.VAE(lambda key: base, encode, decode, likelihood, num_features, latent_dim)
    missing = make_gap_model(mechanism, likelihood, num_features, observed_columns=(0,))
    model = models.Model(vae, missing, make_quadratic_tilt(energy, latent_dim))
    key, log_z = jax.random.key(0), tilted_joint(linear, energy)[0]
    params = models.Params(
        base=base,
        mechanism=missing.init(key, jnp.full(num_features, 0.3, float)),
        energy=model.tilt.init(key),
        tilt_scale=jnp.ones((), float),
        log_z=jnp.asarray(log_z, float),
    )
    return model, params


def make_quadratic_tilt(energy, latent_dim):
    """Return the tilt of a quadratic energy, which reads what it depends on."""
    if energy is None:
        return models.no_tilt()
    reads = np.any(energy.curvature, axis=0) | (energy.slope != 0)
    params = {name: jnp.asarray(value, float) for name, value in energy._asdict().items()}

    def value(params, x, z):
        v = jnp.concatenate([z, x], axis=-1)
        return 0.5 * ((v @ params["curvature"]) * v).sum(-1) + v @ params["slope"]

    return models.Tilt(
        bool(reads[latent_dim:].any()), bool(reads[:latent_dim].any()), lambda key: params, value
    )


def make_self_masked_model(linear, kind, slope, threshold, widen=1.0):
    """Return a linear model under a probit, P(missing_d|x) = Phi(slope (x_d - threshold)).

    Args:
        linear: loadings, mean and noise.
        kind: ``collapsed``, or ``sampled`` for the same mechanism with x_mis drawn from p(x|z).
        slope: of each column. [D]
        threshold: of each column. [D]
        widen: as in ``make_linear_model``.
    """
    model, params = make_linear_model(linear, mechanism="selfmasking_probit", widen=widen)
    if kind == "sampled":
        sampled = mechanisms.sampled(model.vae.likelihood, *model.mechanism.own[:3])
        model = model._replace(mechanism=with_common(sampled, ()))
    return model, params._replace(mechanism=self_masking_params(slope, threshold))


def self_masking_params(slope, threshold):
    """Return the parameters of P(missing|x) = F(slope (x - threshold)), of unknown sign. [D]."""
    slope, threshold = np.asarray(slope, float), np.asarray(threshold, float)
    return {
        "slope": jnp.asarray(np.arcsinh(slope), float),
        "rate": jnp.asarray(-slope * threshold / np.sqrt(1.0 + slope**2), float),
    }


def hazard(x):
    """Return phi(x) / Phi(x) in float64, by the scaled complementary error function."""
    return np.sqrt(2.0 / np.pi) / special.erfcx(-np.asarray(x, np.float64) / np.sqrt(2.0))


def missing_probability(mean, variance, slope, threshold):
    """Return t with P(missing) = Phi(t) and E[x|missing], for x ~ N(mean, variance) and a probit.

    t = w(m - b) / √(1 + w²v),  E[x|missing] = m + wv / √(1 + w²v) phi(t) / Phi(t).
    """
    s = np.sqrt(1.0 + slope**2 * variance)
    t = slope * (mean - threshold) / s
    return t, mean + slope * variance / s * hazard(t)


def normal_nodes(num_nodes, dimension):
    """Return nodes [n^d, d] and weights [n^d] of Gauss-Hermite quadrature under N(0, I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    grid = np.stack(np.meshgrid(*[nodes] * dimension, indexing="ij"), axis=-1)
    weight = np.prod(np.meshgrid(*[weights] * dimension, indexing="ij"), axis=0)
    return grid.reshape(-1, dimension), weight.ravel() / weight.sum()


def assert_mean(values, expected, num_errors=5.0):
    """Hold that independent values [R, ...] have an expectation, within its standard errors."""
    values = np.asarray(values, np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    distance = np.abs(values.mean(axis=0) - expected)
    assert (distance <= num_errors * error).all(), f"{np.max(distance / error):.1f} standard errors"


def assert_moments(draws, law):
    """Hold that independent draws [R, D] have the mean and the covariance of a Gaussian."""
    centred = np.asarray(draws, np.float64) - law.mean
    assert_mean(centred, 0.0)
    assert_mean(centred[:, :, None] * centred[:, None, :], law.covariance)


def assert_weighted_moments(log_w, draws, law):
    """Hold the same of weighted draws [N, D], with the standard error sum w²(f - Ef)²."""
    weights = np.asarray(special.softmax(np.asarray(log_w, np.float64)))
    centred = np.asarray(draws, np.float64) - law.mean
    squares = centred[:, :, None] * centred[:, None, :] - law.covariance
    for values in (centred, squares.reshape(len(squares), -1)):
        error = np.sqrt(weights**2 @ values**2)
        assert (np.abs(weights @ values) < 5.0 * error).all()


def assert_law(draws, cdf):
    """Hold that draws have a distribution function, by the Kolmogorov-Smirnov test."""
    assert stats.kstest(np.asarray(draws, np.float64), cdf).pvalue > 1e-4


def bits(tree):
    """Return every leaf's bytes, for comparisons in which not a bit may differ."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]
