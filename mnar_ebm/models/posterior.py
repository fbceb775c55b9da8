r"""q(z|x_obs, s), from which the latents of a row are proposed: an encoder's, or Laplace's.

A linear decoder needs no encoder: with u = W z + m what the likelihood reads, all of

    log p(z) + log p(x_obs|z) + m(z),       m(z) = log p(s|x_obs, z) where that is in closed form

is concave in z, and a few Newton steps find its mode and curvature (``samplers.laplace``); not so
beside an atom, whose softplus bends loc, nor under Student-t, where draws are worth less. Where
columns are Gaussian and nothing hidden is read it is the posterior itself,

    N(P⁻¹ Wᵀ \Sigma⁻¹ (x_obs - m), P⁻¹),    P = I + Wᵀ \Sigma⁻¹ W    over the observed columns

and every weight of a row is the same, p(x_obs). Nothing is amortised, so nothing has to be fitted
anew for rows that were held out. A mechanism that is not in closed form is read at the mean of what
is hidden, which is a guess, as an encoder's is: weights make up for either.

References:
    M. E. Tipping, C. M. Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999,
    sec. 3.2 (the posterior).
    J. Geweke, "Bayesian Inference in Econometric Models Using Monte Carlo Integration",
    Econometrica 57, 1989 (weights of draws from an approximation at the mode).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.models.model import Model, Params, log_prior
from mnar_ebm.samplers.laplace import Laplace, laplace
from mnar_ebm.types import Array

NUM_NEWTON_STEPS = 4


class Encoded(NamedTuple):
    """The independent normals that an encoder gives.

    Attributes:
        mode: [L]
        scale: [L]
    """

    mode: Array
    scale: Array

    def draw(self, noise: Array) -> tuple[Array, Array]:
        """Return draws [K, L] and log q of each [K], from standard normal noise [K, L]."""
        return self.mode + self.scale * noise, log_prior(noise) - jnp.log(self.scale).sum()


class Point(NamedTuple):
    """What an autoencoder has for q: all weight on one latent, of which p/q is taken for 1.

    The weights of a row are then p(x_obs|z), how well it is reconstructed, and bound nothing.

    Attributes:
        mode: [L]
    """

    mode: Array

    def draw(self, noise: Array) -> tuple[Array, Array]:
        """Return the latent [K, L] and log p(z) in place of log q [K], as often as the noise."""
        z = jnp.broadcast_to(self.mode, noise.shape)
        return z, log_prior(z)


def posterior(model: Model, params: Params, x: Array, mask: Array) -> Encoded | Point | Laplace:
    """Return q(z|x_obs, s) of a row, the encoder's, or Laplace's if there is none.

    Args:
        model: the model; its tilt is not read.
        params: its parameters.
        x: a row; what a missing cell holds is not read. [D]
        mask: ``True`` where observed. [D]
    """
    if model.vae.encode is not None and model.vae.is_point:
        return Point(model.vae.encode(params.base, x, mask)[0])
    if model.vae.encode is not None:
        return Encoded(*model.vae.encode(params.base, x, mask))
    filled = jnp.where(mask, x, 0.0)

    def log_joint(z: Array) -> Array:
        return log_prior(z) + _log_likelihood(model, params, filled, mask, z)

    return laplace(log_joint, jnp.zeros(model.vae.latent_dim, x.dtype), NUM_NEWTON_STEPS)


def _log_likelihood(model: Model, params: Params, x: Array, mask: Array, z: Array) -> Array:
    """Return log p(x_obs|z) + m(z), of mechanisms that draw what is hidden at its mean. []."""
    eta, mechanism = model.vae.decode(params.base, z), model.mechanism
    if mechanism.mean is None:
        hidden = jnp.where(mask, x, model.vae.likelihood.mean(eta))
        log_m = mechanism.log_prob(params.mechanism, hidden, mask)
    else:
        unread = jax.random.key(0)  # m does not depend on what is drawn
        log_m = mechanism.complete(unread, params.mechanism, eta, x, mask)[1]
    return masked_log_prob(model.vae.likelihood, eta, x, mask) + log_m
