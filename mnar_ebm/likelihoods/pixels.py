r"""p(x|z) of values between 0 and 1, as the grey levels of pixels are.

With l = loc, \sigma the logistic function and s = scale,

    continuous Bernoulli    p(x|z) = exp(l x - A(l)),  A(l) = log((e^l - 1)/l)   a density on [0, 1]
    discretised logistic    P(x|z) = \sigma((x + h - l)/s) - \sigma((x - h - l)/s),  h = 1/510

the second of the 256 levels k/255, with all that is below the lowest at it, and above the highest.
Bernoulli's own formula at grey levels is no density of them: it does not integrate to 1.

References:
    G. Loaiza-Ganem, J. P. Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", NeurIPS 2019, https://arxiv.org/abs/1907.06845, eq. 5-8.
    T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++", ICLR 2017,
    https://arxiv.org/abs/1701.05517, eq. 2.
"""

import jax
import jax.numpy as jnp
from jax.scipy import special

from mnar_ebm.likelihoods.base import Likelihood
from mnar_ebm.numerics import logistic, normal
from mnar_ebm.types import Array, DecoderOutput, Key

SMALL = 0.1
"""Size of l below which A and its kin are series: their formulas divide 0 by 0 at l = 0."""

NUM_LEVELS = 256


def continuous_bernoulli() -> Likelihood:
    r"""Return exp(l x - A(l)) on [0, 1]; its distribution function has an inverse.

    F(x) = (e^{l x} - 1)/(e^l - 1), so that u = \Phi(noise) makes x = log(1 + u (e^l - 1))/l.

    Examples:
        >>> import jax.numpy as jnp
        >>> from mnar_ebm.types import DecoderOutput
        >>> likelihood, flat = continuous_bernoulli(), DecoderOutput(jnp.zeros(3))
        >>> likelihood.log_prob(flat, jnp.array([0.0, 0.5, 1.0])).tolist()  # uniform
        [0.0, 0.0, 0.0]
    """

    def sample(key: Key, eta: DecoderOutput) -> Array:
        return _inverse(eta.loc, jax.random.normal(key, eta.loc.shape, eta.loc.dtype))

    return Likelihood(
        name="continuous_bernoulli",
        log_prob=lambda eta, x: eta.loc * x - log_normaliser(eta.loc),
        sample=sample,
        mean=lambda eta: _mean(eta.loc),
        transport=lambda eta, noise: _inverse(eta.loc, noise[0]),
        num_noise=1,
        heads=("loc",),
    )


def log_normaliser(logit: Array) -> Array:
    """Return A(l) = log((e^l - 1)/l) = l/2 + log(sinh(l/2)/(l/2)). [...]."""
    half = jnp.abs(logit) / 2.0
    large = jnp.where(half < SMALL / 2.0, 1.0, half)
    far = large + jnp.log(-jnp.expm1(-2.0 * large)) - jnp.log(2.0 * large)
    near = half**2 / 6.0 - half**4 / 180.0
    return logit / 2.0 + jnp.where(half < SMALL / 2.0, near, far)


def _mean(logit: Array) -> Array:
    """Return A'(l) = 1/(1 - e^-l) - 1/l. [...]."""
    is_small = jnp.abs(logit) < SMALL
    large = jnp.where(is_small, 1.0, logit)
    near = 0.5 + logit / 12.0 - logit**3 / 720.0
    return jnp.where(is_small, near, -1.0 / jnp.expm1(-large) - 1.0 / large)


def _inverse(logit: Array, noise: Array) -> Array:
    r"""Return x with F(x) = \Phi(noise), from the side where e^l is at most 1. [...]."""
    is_small = jnp.abs(logit) < SMALL
    size = jnp.where(is_small, 1.0, jnp.abs(logit))
    is_above = logit > 0
    from_it = jnp.where(is_above, -noise, noise)
    # log(1 - u + u e^-l), by logarithms: at u = 1 in float32 not all of it is lost.
    from_end = -jnp.logaddexp(normal.log_cdf(-from_it), normal.log_cdf(from_it) - size) / size
    far = jnp.where(is_above, 1.0 - from_end, from_end)
    u = special.ndtr(noise)
    slope = u * (1.0 - u) / 2.0
    near = u + logit * slope * (1.0 + logit * (1.0 - 2.0 * u) / 3.0)
    return jnp.where(is_small, near, far)


def discretised_logistic() -> Likelihood:
    r"""Return the logistic law of location loc and scale s, rounded to 256 levels from 0 to 1.

    With a = (x + h - l)/s > b = (x - h - l)/s, \sigma(a) - \sigma(b) is written as
    \sigma(a) \sigma(-b) (1 - e^{b - a}), whose logarithm is exact in the tails; at the ends one of
    the two is 1 and the last factor is left out. Its mean is that before rounding,
    s (softplus(l/s) - softplus((l - 1)/s)), which differs by less than 2e-5 while s >= 0.01.
    """

    def log_prob(eta: DecoderOutput, x: Array) -> Array:
        level, width = _round(x), 1.0 / (NUM_LEVELS - 1)
        above = (level + width / 2.0 - eta.loc) / eta.scale
        below = above - width / eta.scale
        is_lowest, is_highest = level <= 0.0, level >= 1.0
        up = jnp.where(is_highest, 0.0, logistic.log_cdf(above))
        down = jnp.where(is_lowest, 0.0, logistic.log_cdf(-below))
        between = jnp.log(-jnp.expm1(-width / eta.scale))
        return up + down + jnp.where(is_lowest | is_highest, 0.0, between)

    def sample(key: Key, eta: DecoderOutput) -> Array:
        noise = jax.random.logistic(key, eta.loc.shape, eta.loc.dtype)
        return _round(eta.loc + eta.scale * noise)

    def mean(eta: DecoderOutput) -> Array:
        below = logistic.softplus((eta.loc - 1.0) / eta.scale)
        return eta.scale * (logistic.softplus(eta.loc / eta.scale) - below)

    return Likelihood(
        name="discretised_logistic",
        log_prob=log_prob,
        sample=sample,
        mean=mean,
        transport=None,
        num_noise=0,
        choice_log_prob=log_prob,
    )


def _round(x: Array) -> Array:
    """Return the nearest level. [...]."""
    return jnp.round(jnp.clip(x, 0.0, 1.0) * (NUM_LEVELS - 1)) / (NUM_LEVELS - 1)
