r"""p(x|z) of columns that heap on one value: an atom there, a Gaussian beside it.

An amount that is often exactly zero (income, rainfall, what a mixture lacks) or a measurement cut
off at a limit is *semicontinuous*: an atom, and on one side of it a continuous part. With the
atom at x = 0, where ``data.Standardiser`` puts it,

    p(x|z) = \pi                           if x = 0,     \pi = sigmoid(atom)
    p(x|z) = (1 - \pi) N(x; loc, scale²)   otherwise,

a density against Lebesgue measure plus the atom. The mass of the Gaussian on the other side, a few
in a hundred, is cut off at the atom where values leave the model (``tilted.FittedModel``). A
Gaussian alone would shrink its scale around the heap, and expect every other value near it.

References:
    N. Duan, W. Manning, C. Morris, J. Newhouse, "A Comparison of Alternative Models for the
    Demand for Medical Care", Journal of Business & Economic Statistics 1(2), 1983 (two-part).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import stats

from mnar_ebm.likelihoods.base import Likelihood, gaussian
from mnar_ebm.numerics import logistic
from mnar_ebm.types import Array, DecoderOutput, Key

ATOM_WIDTH = 1e-6
"""Distance from the atom, in standard units, that is taken for rounding."""


def is_atom(x: Array) -> Array:
    """Return whether standardised values are at the atom. [..., D]."""
    return jnp.abs(x) < ATOM_WIDTH


def two_part(atom_side: tuple[int, ...]) -> Likelihood:
    r"""Return N(loc, scale²), with an atom at 0 in some of the columns.

    The decoder keeps loc on the right side of the atom (``nets.autoencoder``).

    Its transport is the Gaussian's where \Phi(noise_1) is above \pi, else 0. It jumps: chains that
    accept by Metropolis keep their law, and unadjusted ones feel no pull between the two parts.

    Args:
        atom_side: as ``Likelihood`` keeps it. [D]
    """
    columns, normal = np.array(atom_side) != 0, gaussian()

    def choice_log_prob(eta: DecoderOutput, x: Array) -> Array:
        logit = jnp.where(is_atom(x), eta.atom, -eta.atom)
        return jnp.where(columns, logistic.log_cdf(logit), 0.0)

    def log_prob(eta: DecoderOutput, x: Array) -> Array:
        beside = jnp.where(columns & is_atom(x), 0.0, normal.log_prob(eta, x))
        return choice_log_prob(eta, x) + beside

    def probability(eta: DecoderOutput) -> Array:
        return jnp.where(columns, jax.nn.sigmoid(eta.atom), 0.0)

    def sample(key: Key, eta: DecoderOutput) -> Array:
        key_choice, key_value = jax.random.split(key)
        at_atom = jax.random.bernoulli(key_choice, probability(eta))
        return jnp.where(at_atom, 0.0, normal.sample(key_value, eta))

    def transport(eta: DecoderOutput, noise: Array) -> Array:
        at_atom = stats.norm.cdf(noise[1]) < probability(eta)
        return jnp.where(at_atom, 0.0, eta.loc + eta.scale * noise[0])

    return Likelihood(
        name="two_part",
        log_prob=log_prob,
        sample=sample,
        mean=lambda eta: (1.0 - probability(eta)) * eta.loc,
        transport=transport,
        num_noise=2,
        heads=("loc", "scale", "atom"),
        choice_log_prob=choice_log_prob,
        atom_side=atom_side,
    )
