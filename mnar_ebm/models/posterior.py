r"""q(z|x_obs, s), from which the latents of a row are proposed: an encoder's, or Laplace's.

A linear decoder needs no encoder: with u = W z + m what the likelihood reads, all of

    log p(z) + log p(x_obs|z) + m(z),       m(z) = log p(s|x_obs, z) where that is in closed form

is concave in z, and a few Newton steps find its mode and curvature (``samplers.laplace``); not so
beside an atom, whose softplus bends loc, nor under Student-t, where draws are worth less. Where
columns are Gaussian and nothing hidden is read it is the posterior itself,

    N(P⁻¹ Wᵀ \Sigma⁻¹ (x_obs - m), P⁻¹),    P = I + Wᵀ \Sigma⁻¹ W    over the observed columns

and every weight of a row is the same, p(x_obs). Where columns are numbers that hide at most
themselves, and no gap reads z, the likelihood is a sum over columns of functions of what the
decoder says of each, of the parts \eta_a = loc and log-odds of an atom, and with J_a = d\eta_a/dz

    A = I - \sum_{a,b} J_aᵀ diag(d²/d\eta_a d\eta_b) J_b

but for the bend of loc beside an atom, takes two derivatives of that sum, and none for each of the
latents. Nothing is amortised, so nothing has to be fitted
anew for rows that were held out. A mechanism that is not in closed form is read at the mean of what
is hidden, which is a guess, as an encoder's is: weights make up for either.

References:
    M. E. Tipping, C. M. Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999,
    sec. 3.2 (the posterior).
    J. Geweke, "Bayesian Inference in Econometric Models Using Monte Carlo Integration",
    Econometrica 57, 1989 (weights of draws from an approximation at the mode).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.missingness import not_asked
from mnar_ebm.models.model import Model, Params, log_prior
from mnar_ebm.samplers.laplace import Laplace, laplace, newton
from mnar_ebm.types import Array, DecoderOutput

NUM_NEWTON_STEPS = 4

MOVED = ("loc", "atom")
"""Parts of the decoder's output that a linear decoder moves with z."""


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
    filled, start = not_asked.filled(x, mask), jnp.zeros(model.vae.latent_dim, x.dtype)

    def decode(z: Array) -> DecoderOutput:
        return model.vae.decode(params.base, z)

    def log_likelihood(eta: DecoderOutput, z: Array) -> Array:
        return _log_likelihood(model, params, filled, mask, eta, z)

    by_columns = model.mechanism.mean is not None and not model.mechanism.reads_z
    if by_columns and not model.vae.likelihood.blocks:
        of_columns = functools.partial(log_likelihood, z=start)
        return laplace_by_columns(of_columns, decode, start, NUM_NEWTON_STEPS)
    return laplace(lambda z: log_prior(z) + log_likelihood(decode(z), z), start, NUM_NEWTON_STEPS)


def laplace_by_columns(
    log_likelihood: Callable[[DecoderOutput], Array],
    decode: Callable[[Array], DecoderOutput],
    position: Array,
    num_steps: int,
) -> Laplace:
    """Return the Gaussian at the mode of log p(z) + log p(x_obs, s|z), a sum over columns.

    Args:
        log_likelihood: of the decoder's output, leaves [D]; a sum of functions of each column. []
        decode: [L] -> leaves [D], of which loc and atom alone move with z, each of a column with
            one linear function of it.
        position: where the steps start. [L]
        num_steps: steps.
    """

    def moved(z: Array) -> dict[str, Array]:
        eta = decode(z)
        return {name: getattr(eta, name) for name in MOVED if getattr(eta, name) is not None}

    # At 0, the same for all rows: one product then serves a batch of them.
    slopes = jax.jacfwd(moved)(jnp.zeros_like(position))
    names = list(slopes)
    pairs = {
        (one, other): slopes[one][:, :, None] * slopes[other][:, None, :]
        for one in names
        for other in names
    }

    def derivatives(z: Array) -> tuple[Array, Array]:
        eta = decode(z)
        factor = jax.tree.map(_ratio, jax.jacfwd(moved)(z), slopes)
        gradient_fn = jax.grad(lambda parts: log_likelihood(eta._replace(**parts)))
        gradient, along = jax.linearize(gradient_fn, moved(z))
        curvature = jnp.eye(len(z), dtype=z.dtype)
        for one in names:
            only = {name: factor[name] * (name == one) for name in names}
            second = along(only)
            for other in names:
                curvature -= jnp.tensordot(factor[other] * second[other], pairs[one, other], 1)
        ascent = sum((factor[name] * gradient[name]) @ slopes[name] for name in names)
        return ascent - z, curvature

    return newton(derivatives, position, num_steps)


def _ratio(slope: Array, reference: Array) -> Array:
    """Return what the gradient of each column is a multiple of another by. [D, L] each -> [D]."""
    square = (reference**2).sum(axis=-1)
    return (slope * reference).sum(axis=-1) / jnp.maximum(square, jnp.finfo(slope.dtype).tiny)


def _log_likelihood(
    model: Model, params: Params, x: Array, mask: Array, eta: DecoderOutput, z: Array
) -> Array:
    """Return log p(x_obs|z) + m(z), of mechanisms that draw what is hidden at its mean. []."""
    mechanism = model.mechanism
    if mechanism.mean is None:
        hidden = jnp.where(mask, x, model.vae.likelihood.mean(eta))
        log_m = mechanism.log_prob(params.mechanism, hidden, mask, z)
    else:
        unread = jax.random.key(0)  # m does not depend on what is drawn
        log_m = mechanism.complete(unread, params.mechanism, eta, x, mask, z)[1]
    return masked_log_prob(model.vae.likelihood, eta, x, mask) + log_m
