"""Noise-contrastive estimation of the tilt: tell data from base draws, and learn log Z on the way.

References:
    M. Gutmann, A. Hyvärinen, "Noise-contrastive estimation of unnormalized statistical models,
    with applications to natural image statistics", JMLR 13, 2012, eq. 10.
    J. Aneja, A. Schwing, J. Kautz, A. Vahdat, "A Contrastive Learning Approach for Training
    Variational Autoencoder Priors", NeurIPS 2021, https://arxiv.org/abs/2010.02917, eq. 5.
"""

import chex
import jax.numpy as jnp

from mnar_ebm.numerics.logistic import softplus
from mnar_ebm.types import Array


def nce_loss(
    log_ratio_data: Array, weights_data: Array, log_ratio_noise: Array, noise_ratio: float
) -> Array:
    r"""Return the logistic loss of data against noise.

    With h = -E - log Z the log-ratio of tilted model to base and \nu noise draws per datum,

        J = E_data[softplus(log \nu - h)] + \nu E_noise[softplus(h - log \nu)]

    Args:
        log_ratio_data: h at the data. [M]
        weights_data: non-negative, with sum 1. [M]
        log_ratio_noise: h at the noise. [N]
        noise_ratio: \nu.

    Returns:
        J. []
    """
    chex.assert_rank([log_ratio_data, weights_data, log_ratio_noise], 1)
    log_nu = jnp.log(noise_ratio)
    data_term = jnp.sum(weights_data * softplus(log_nu - log_ratio_data))
    noise_term = jnp.mean(softplus(log_ratio_noise - log_nu))
    return data_term + noise_ratio * noise_term
