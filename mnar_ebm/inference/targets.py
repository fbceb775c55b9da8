r"""Targets of chains: the log-densities of the tilted model, and of the posterior of a row.

    latent      log p(z) - E(z)                                      a tilt that reads z alone
    data        ELBO(x) - E(x)                                       a tilt that reads x alone
    noise       -½|e_z|² - ½|e_x|² - E(x(e), z(e))                   any tilt
    posterior   log p(z) - ½|e_x|² + log p(x_obs|z) + log p(s|x) - E(x, z)   any tilt, one row

In noise space z = e_z and x = T(z, e_x), the likelihood's transport of standard normal noise: the
base is exactly N(0, I) there, so no Jacobian is left out and the chain is well scaled. The
posterior too moves (z, e_x) and clamps the observed cells, so that none of them can wander.

References:
    Z. Xiao, K. Kreis, J. Kautz, A. Vahdat, "VAEBM: A Symbiosis between Variational Autoencoders
    and Energy-based Models", ICLR 2021, https://arxiv.org/abs/2010.00654, sec. 3.2.
    B. Pang, T. Han, E. Nijkamp, S.-C. Zhu, Y. N. Wu, "Learning Latent Space Energy-Based Prior
    Model", NeurIPS 2020, https://arxiv.org/abs/2006.08205, eq. 3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mnar_ebm import models
from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.models import Model, Params
from mnar_ebm.objectives import bounds
from mnar_ebm.types import Array, Key, PyTree

LogDensity = Callable[[PyTree], Array]


def latent_logdensity(model: Model, params: Params) -> LogDensity:
    """Return z [L] -> log p(z) - E(z).

    Raises:
        ValueError: the tilt reads x.
    """
    if model.tilt.reads_x:
        raise ValueError("space: latent needs a tilt of z alone, got one that reads x")

    def logdensity(z: Array) -> Array:
        nothing = jnp.zeros(model.vae.num_features)
        return models.log_prior(z) - models.energy(model, params, nothing, z)

    return logdensity


def data_logdensity(key: Key, model: Model, params: Params, num_samples: int) -> LogDensity:
    """Return x [D] -> ELBO(x) - E(x), with the noise of the ELBO held fixed by ``key``.

    The ELBO is that of a complete row, without the mechanism; it stands in for log p(x), and the
    chain's law is off by its gap.

    Raises:
        ValueError: the tilt reads z, or values are discrete or have an atom.
    """
    if model.tilt.reads_z:
        raise ValueError("space: data needs a tilt of x alone, got one that reads z")
    if model.vae.likelihood.choice_log_prob is not None:
        raise _not_continuous(model)
    everything = jnp.ones(model.vae.num_features, bool)
    noise = jax.random.normal(key, (num_samples, model.vae.latent_dim))

    def logdensity(x: Array) -> Array:
        z, log_q = models.posterior(model, params, x, everything).draw(noise)
        eta = model.vae.decode(params.base, z)
        log_likelihood = masked_log_prob(model.vae.likelihood, eta, x, everything)
        log_w = log_likelihood + models.log_prior(z) - log_q
        return bounds.elbo(log_w) - models.energy(model, params, x, jnp.zeros_like(z[0]))

    return logdensity


def _not_continuous(model: Model) -> ValueError:
    return ValueError(
        f"space: expected latent with likelihood {model.vae.likelihood.name}, "
        "whose values are discrete"
    )


def noise_logdensity(model: Model, params: Params) -> LogDensity:
    """Return {"z": [L], "x": [num_noise, D]} -> log N(e_z) + log N(e_x) - E(x(e), z(e)).

    Raises:
        ValueError: the likelihood is discrete.
    """

    def logdensity(noise: PyTree) -> Array:
        x, z = from_noise(model, params, noise)
        log_base = models.log_prior(noise["z"]) + models.log_prior(noise["x"]).sum()
        return log_base - models.energy(model, params, x, z)

    return logdensity


def from_noise(model: Model, params: Params, noise: PyTree) -> tuple[Array, Array]:
    """Return (x [D], z [L]) of a point in noise space."""
    z = noise["z"]
    transport = model.vae.likelihood.transport
    if transport is None:
        raise _not_continuous(model)
    return transport(model.vae.decode(params.base, z), noise["x"]), z


def init_noise(key: Key, model: Model) -> PyTree:
    """Return a draw of the base in noise space: {"z": [L], "x": [num_noise, D]}.

    Raises:
        ValueError: the likelihood is discrete.
    """
    if model.vae.likelihood.transport is None:
        raise _not_continuous(model)
    key_z, key_x = jax.random.split(key)
    shape = (model.vae.likelihood.num_noise, model.vae.num_features)
    return {
        "z": jax.random.normal(key_z, (model.vae.latent_dim,)),
        "x": jax.random.normal(key_x, shape),
    }


def posterior_logdensity(model: Model, params: Params, x: Array, mask: Array) -> LogDensity:
    """Return the log-posterior of one row over {"z": [L], "x": [num_noise, D]}, up to a constant.

    The missing cells are x_mis = T(z, e_x); the noise of an observed cell is not read, and keeps
    its law N(0, 1).

    Args:
        model: the model.
        params: its parameters.
        x: a row; what a missing cell holds is not read. [D]
        mask: ``True`` where observed. [D]

    Raises:
        ValueError: the likelihood is discrete.
    """
    x = jnp.where(mask, x, 0.0)

    def logdensity(noise: PyTree) -> Array:
        drawn, z = from_noise(model, params, noise)
        eta = model.vae.decode(params.base, z)
        completed = jnp.where(mask, x, drawn)
        return (
            models.log_prior(z)
            + models.log_prior(noise["x"]).sum()
            + masked_log_prob(model.vae.likelihood, eta, x, mask)
            + model.mechanism.log_prob(params.mechanism, completed, mask, z)
            - models.energy(model, params, completed, z)
        )

    return logdensity
