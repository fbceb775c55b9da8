r"""A tilt that a handful of rows can carry: new shares of clusters that many rows have shown.

    exp(-E(z)) = sum_c \omega_c N_c(z) / sum_c \pi_c N_c(z)

with the second mixture fitted to latents of the selected rows, and the first the same but for its
shares, which are those of the unbiased rows. No row has a label.

References:
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: A Simple Procedure", Neural Computation 14(1), 2002, eq. 2.9 (the EM steps).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.mixture import GaussianMixture

from mnar_ebm.training import FittedModel
from mnar_ebm.types import Array

NUM_CLUSTERS = 20
"""About as many as there may be kinds of rows, or more: clusters of one kind move together."""

MAX_ROWS = 8000
NUM_DRAWS = 20
NUM_EM_STEPS = 200

PRIOR_ROWS = 1.0
r"""Rows that the prior is worth, Dirichlet(\pi): one, a unit-information prior."""


class Clusters(NamedTuple):
    r"""A tilt of clusters' shares.

    Attributes:
        log_shares: log \pi, of the selected rows. [C]
        log_new_shares: log \omega, of the unbiased rows. [C]
        means: of the clusters. [C, L]
        precisions: Cholesky factors U of their precisions U U^T. [C, L, L]
    """

    log_shares: Array
    log_new_shares: Array
    means: Array
    precisions: Array

    def energy(self, z: Array) -> Array:
        """Return E(z) in nats. [..., L] -> [...]."""
        centred = z[..., None, :] - self.means
        standard = jnp.einsum("...ci,cij->...cj", centred, self.precisions)
        log_det = jnp.log(jnp.diagonal(self.precisions, axis1=1, axis2=2)).sum(axis=1)
        log_density = log_det - 0.5 * (standard**2).sum(axis=-1)
        before = jax.nn.logsumexp(self.log_shares + log_density, axis=-1)
        return before - jax.nn.logsumexp(self.log_new_shares + log_density, axis=-1)


def fit_mixture(z: np.ndarray, seed: int) -> GaussianMixture:
    """Return clusters of latents of the selected rows. [N, L]."""
    return GaussianMixture(NUM_CLUSTERS, reg_covar=1e-3, random_state=seed).fit(z)


def fit_shares(mixture: GaussianMixture, z: np.ndarray) -> Clusters:
    r"""Return the tilt to the unbiased rows: their shares, by EM from those of the mixture.

        \omega_c <- (sum_n q_nc + \alpha \pi_c) / (n + \alpha),  q_nc ~ \omega_c / \pi_c E[p(c|z_n)]

    Args:
        mixture: clusters of the selected rows.
        z: draws of the latents of the unbiased rows. [S, n, L]
    """
    shares = mixture.weights_
    near = np.mean([mixture.predict_proba(draw) for draw in z], axis=0)
    new = shares
    for _ in range(NUM_EM_STEPS):
        joint = near * new / shares
        counts = (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0)
        new = (counts + PRIOR_ROWS * shares) / (counts.sum() + PRIOR_ROWS)
    arrays = np.log(shares), np.log(new), mixture.means_, mixture.precisions_cholesky_
    return Clusters(*(jnp.asarray(array, jnp.float32) for array in arrays))


def encode(fitted: FittedModel, x: np.ndarray, num_draws: int, seed: int) -> np.ndarray:
    """Return draws of q(z|x) of complete rows. [N, D] -> [num_draws, N, L]."""
    standard, mask = fitted.standardise(x)
    encoder = jax.jit(jax.vmap(fitted.model.vae.encode, (None, 0, 0)))
    loc, scale = map(np.asarray, encoder(fitted.params.base, standard, mask))
    noise = np.random.default_rng(seed).normal(size=(num_draws, *loc.shape))
    return loc + scale * noise


def fit(fitted: FittedModel, selected: np.ndarray, seed: int) -> GaussianMixture:
    """Return clusters of the latents of some of the selected rows. [N, D]."""
    return fit_mixture(encode(fitted, selected[:MAX_ROWS], 1, seed)[0], seed)


def tilt(
    fitted: FittedModel, mixture: GaussianMixture, unbiased: np.ndarray, seed: int
) -> Clusters:
    """Return the tilt to the unbiased rows. [n, D]."""
    return fit_shares(mixture, encode(fitted, unbiased, NUM_DRAWS, seed))
