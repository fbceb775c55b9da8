r"""Samples of the tilted model, and of the posterior of a row, by weights or by chains.

Weights: base draws, resampled by exp(-\lambda E). Chains have one of four targets:

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
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks, models, samplers
from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.models import Model, Params
from mnar_ebm.objectives import bounds
from mnar_ebm.types import Array, Key, PyTree

SPACES = ("latent", "data", "noise")
METHODS = ("ula", "mala")

LogDensity = Callable[[PyTree], Array]


class ModelSamples(NamedTuple):
    """Draws from the tilted model.

    Attributes:
        x: rows. [N, D]
        z: their latents. [N, L]
        diagnostics: named scalars: ``ess_fraction`` for weights, ``acceptance_rate`` and
            ``step_size`` for chains.
    """

    x: Array
    z: Array
    diagnostics: dict[str, Array]


def sample_by_weights(
    key: Key, model: Model, params: Params, num_samples: int, num_proposals: int
) -> ModelSamples:
    """Draw from the tilted model by resampling base draws (SNIS, then SIR).

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        num_samples: N.
        num_proposals: base draws to choose from, at least N.
    """
    key_base, key_sir = jax.random.split(key)
    x, z = models.sample_base(key_base, model.vae, params.base, num_proposals)
    log_w = -models.energy(model, params, x, z)
    chosen = samplers.sir(key_sir, log_w, num_samples, method="systematic")
    ess_fraction = samplers.effective_sample_size(log_w) / num_proposals
    return ModelSamples(x[chosen], z[chosen], {"ess_fraction": ess_fraction})


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
        ValueError: the tilt reads z, or the likelihood is discrete.
    """
    if model.tilt.reads_z:
        raise ValueError("space: data needs a tilt of x alone, got one that reads z")
    _check_continuous(model)
    everything = jnp.ones(model.vae.num_features, bool)
    noise = jax.random.normal(key, (num_samples, model.vae.latent_dim))

    def logdensity(x: Array) -> Array:
        loc, scale = model.vae.encode(params.base, x, everything)
        z = loc + scale * noise
        log_q = models.log_prior(noise) - jnp.log(scale).sum()
        eta = model.vae.decode(params.base, z)
        log_likelihood = masked_log_prob(model.vae.likelihood, eta, x, everything)
        log_w = log_likelihood + models.log_prior(z) - log_q
        return bounds.elbo(log_w) - models.energy(model, params, x, jnp.zeros_like(loc))

    return logdensity


def _check_continuous(model: Model) -> None:
    if model.vae.likelihood.is_discrete:
        raise ValueError(
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
    _check_continuous(model)
    z = noise["z"]
    transport = model.vae.likelihood.transport
    assert transport is not None
    return transport(model.vae.decode(params.base, z), noise["x"]), z


def init_noise(key: Key, model: Model) -> PyTree:
    """Return a draw of the base in noise space: {"z": [L], "x": [num_noise, D]}.

    Raises:
        ValueError: the likelihood is discrete.
    """
    _check_continuous(model)
    key_z, key_x = jax.random.split(key)
    shape = (model.vae.likelihood.num_noise, model.vae.num_features)
    return {
        "z": jax.random.normal(key_z, (model.vae.latent_dim,)),
        "x": jax.random.normal(key_x, shape),
    }


def posterior_logdensity(model: Model, params: Params, x: Array, mask: Array) -> LogDensity:
    """Return the log-posterior of one row over {"z": [L], "x": [num_noise, D]}, up to a constant.

    The missing cells are x_mis = T(z, e_x); the noise of an observed cell is idle, with its own
    N(0, 1) as its law.

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
            + model.mechanism.log_prob(params.mechanism, completed, mask)
            - models.energy(model, params, completed, z)
        )

    return logdensity


def sample_by_chains(
    key: Key,
    model: Model,
    params: Params,
    num_samples: int,
    *,
    method: str,
    space: str,
    num_steps: int,
    step_size: float | None = None,
    temperature: float = 1.0,
) -> ModelSamples:
    """Draw from the tilted model by one chain for each sample, started at base draws.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        num_samples: N chains; the last state of each is returned.
        method: ``ula`` or ``mala``.
        space: ``latent``, ``data`` or ``noise``.
        num_steps: T.
        step_size: of Langevin, in the space's units. For ``mala``, ``None`` adapts it over
            T more steps to an acceptance of 0.574, for each chain.
        temperature: of ``ula``; other than 1 it samples another model.

    Raises:
        ValueError: a name is unknown, the space does not go with the tilt or the likelihood,
            ``ula`` has no step size, or ``mala`` has a temperature.
    """
    _checks.check_choice("method", method, METHODS)
    _checks.check_choice("space", space, SPACES)
    if method == "ula" and step_size is None:
        raise ValueError("step_size: expected a positive number for ula, got none")
    if method == "mala" and temperature != 1.0:
        raise ValueError(f"temperature: expected 1 for mala, got {temperature}")
    key_init, key_target, key_chains, key_x = jax.random.split(key, 4)
    keys_init = jax.random.split(key_init, num_samples)
    if space == "latent":
        logdensity = latent_logdensity(model, params)
        start = jax.random.normal(key_init, (num_samples, model.vae.latent_dim))
    elif space == "data":
        logdensity = data_logdensity(key_target, model, params, num_samples=16)
        start, _ = models.sample_base(key_init, model.vae, params.base, num_samples)
    else:
        logdensity = noise_logdensity(model, params)
        start = jax.vmap(lambda key: init_noise(key, model))(keys_init)

    def run(key: Key, position: PyTree) -> tuple[PyTree, dict[str, Array]]:
        if method == "mala":
            position, diagnostics = run_mala(
                key, logdensity, position, num_steps=1, thin=num_steps, step_size=step_size
            )
        else:
            assert step_size is not None
            algorithm = samplers.ula(logdensity, step_size, temperature)
            _, (position, _) = samplers.sample(key, algorithm, position, 1, thin=num_steps)
            diagnostics = {"step_size": jnp.asarray(step_size)}
        return jax.tree.map(lambda leaf: leaf[0], position), diagnostics

    position, diagnostics = jax.vmap(run)(jax.random.split(key_chains, num_samples), start)
    if space == "latent":
        z = position
        x = model.vae.likelihood.sample(key_x, model.vae.decode(params.base, z))
    elif space == "data":
        everything = jnp.ones(model.vae.num_features, bool)
        encode = jax.vmap(model.vae.encode, in_axes=(None, 0, None))
        x, z = position, encode(params.base, position, everything)[0]
    else:
        x, z = jax.vmap(lambda noise: from_noise(model, params, noise))(position)
    return ModelSamples(x, z, jax.tree.map(jnp.mean, diagnostics))


def run_mala(
    key: Key,
    logdensity: LogDensity,
    position: PyTree,
    *,
    num_steps: int,
    thin: int,
    step_size: float | Array | None = None,
    warm_up: int | None = None,
) -> tuple[PyTree, dict[str, Array]]:
    """Run a MALA chain, its step size adapted first unless it is given.

    Args:
        key: random key.
        logdensity: of one position.
        position: where the chain starts.
        num_steps: N, draws that are kept.
        thin: steps between two of them.
        step_size: of Langevin; ``None`` adapts it to an acceptance rate of 0.574.
        warm_up: steps of the adaptation, and of the burn-in; N times ``thin`` by default.

    Returns:
        The draws, each leaf [N, ...], and ``acceptance_rate`` and ``step_size``.
    """
    key_adapt, key_chain = jax.random.split(key)
    warm_up = num_steps * thin if warm_up is None else warm_up
    if step_size is None:
        step_size, adapted = samplers.adapt_step_size(
            key_adapt, lambda step: samplers.mala(logdensity, step), position, warm_up, 0.1
        )
        position = adapted.position
    _, (draws, acceptance) = samplers.sample(
        key_chain,
        samplers.mala(logdensity, step_size),
        position,
        num_steps,
        burn_in=warm_up,
        thin=thin,
        transform=lambda state, info: (state.position, info.acceptance_rate),
    )
    return draws, {"acceptance_rate": acceptance.mean(), "step_size": jnp.asarray(step_size)}
