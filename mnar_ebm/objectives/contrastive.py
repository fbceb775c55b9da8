"""Losses that hold data against something else: draws of the base, or chains of the model.

Noise contrast tells data from draws of a known law, and learns log Z on the way. Contrast with
chains has the gradient of the likelihood while they are at the model, and is no objective.

References:
    M. Gutmann, A. Hyvärinen, "Noise-contrastive estimation of unnormalized statistical models,
    with applications to natural image statistics", JMLR 13, 2012, eq. 10.
    J. Aneja, A. Schwing, J. Kautz, A. Vahdat, "A Contrastive Learning Approach for Training
    Variational Autoencoder Priors", NeurIPS 2021, https://arxiv.org/abs/2010.02917, eq. 5.
    G. E. Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", Neural
    Computation 14(8), 2002, https://doi.org/10.1162/089976602760128018.
    W. Grathwohl et al., "Your Classifier is Secretly an Energy Based Model and You Should Treat it
    Like One", ICLR 2020, https://arxiv.org/abs/1912.03263, eqs. 5 to 8.
"""

from collections.abc import Callable

import chex
import jax
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


def contrast(energy_fn: Callable[[Array], Array], data: Array, negative: Array) -> Array:
    """Return the energy gap E(x) - E(x') of an example and a draw of the model.

        ∇ -log p(x) = ∇E(x) - E_model ∇E(x')

    is its gradient in expectation; x' is held fixed. At the optimum it is 0, whatever the energy.

    Args:
        energy_fn: E, of one position. []
        data: an example. [...]
        negative: where a chain stands. [...]

    Returns:
        The gap, in nats. []
    """
    return energy_fn(data) - energy_fn(jax.lax.stop_gradient(negative))


def jem(
    logits_fn: Callable[[Array], Array],
    data: Array,
    negative: Array,
    known: Array,
    label: Array,
    weight: float = 1.0,
) -> Array:
    """Return the loss of a classifier that is a density too: -log p(y|x), and the gap of log p(x).

        p(y|x) = softmax_y f(x),      E(x) = -log sum_y exp(f_y(x))

    The examples of the two terms may be others, so that few labels go with many rows.

    Args:
        logits_fn: f, of one position. [Y]
        data: an example of the density. [...]
        negative: where a chain of p(x) stands. [...]
        known: an example whose class is known. [...]
        label: its class. []
        weight: of the gap.

    Returns:
        The loss. []
    """
    logits = logits_fn(known)
    cross_entropy = jax.nn.logsumexp(logits) - logits[label]
    gap = contrast(lambda x: -jax.nn.logsumexp(logits_fn(x)), data, negative)
    return cross_entropy + weight * gap
