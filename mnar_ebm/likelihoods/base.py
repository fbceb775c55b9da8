"""p(x|z) where all columns are of one kind, and the contract of a likelihood.

A likelihood factorises over columns, so every function is elementwise, its leading axes are free
and a sum over the observed columns is the log-probability of what was observed. Distributions
are built where they are used and never leave the function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
from jax.scipy import stats

from mnar_ebm.kinds import Block
from mnar_ebm.numerics import normal
from mnar_ebm.types import Array, DecoderOutput, Key


class Likelihood(NamedTuple):
    """A distribution of one value per column given the decoder's output.

    Attributes:
        name: as in ``LIKELIHOODS``, or ``mixed``.
        log_prob: ``(eta, x) -> [..., D]``, log-density of each value.
        sample: ``(key, eta) -> [..., D]``, differentiable in ``eta`` but for what it chose
            among discrete alternatives.
        mean: ``(eta) -> [..., D]``.
        transport: ``(eta, noise) -> [..., D]``, a map, differentiable almost everywhere, under
            which standard normal noise of shape ``[num_noise, ..., D]`` has the law p(x|z);
            ``None`` if a column has discrete values alone.
        num_noise: normal variables that ``transport`` needs for each value.
        heads: fields of ``DecoderOutput`` that it reads, which a decoder makes
            (``nets.autoencoder``).
        choice_log_prob: ``(eta, x) -> [..., D]``, log-probability of what a draw chose among
            discrete alternatives, which its gradient does not see; ``None`` if there are none.
        atom_side: of each column, on which side of an atom at 0 its other values lie: 1 above, -1
            below, 0 for a column without one; empty if no column has one. [D]
        blocks: the columns, if they are of several kinds (``likelihoods.mixed``).
        numeric: the likelihood of those that are numeric, if there are others.
    """

    name: str
    log_prob: Callable[[DecoderOutput, Array], Array]
    sample: Callable[[Key, DecoderOutput], Array]
    mean: Callable[[DecoderOutput], Array]
    transport: Callable[[DecoderOutput, Array], Array] | None
    num_noise: int
    heads: tuple[str, ...] = ("loc", "scale")
    choice_log_prob: Callable[[DecoderOutput, Array], Array] | None = None
    atom_side: tuple[int, ...] = ()
    blocks: tuple[Block, ...] = ()
    numeric: Any = None


class StudentT(distrax.Distribution):
    """Location-scale Student-t with ``df`` degrees of freedom, which distrax lacks."""

    def __init__(self, df: Array, loc: Array, scale: Array):
        """Take degrees of freedom, location and scale of one broadcastable shape. [...]."""
        super().__init__()
        self._df, self._loc, self._scale = jnp.broadcast_arrays(df, loc, scale)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the parameters."""
        return self._loc.shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """A scalar event."""
        return ()

    def log_prob(self, value: Array) -> Array:
        """Return the log-density of ``value``. [...]."""
        return stats.t.logpdf(value, self._df, self._loc, self._scale)

    def _sample_n(self, key: Key, n: int) -> Array:
        shape = (n, *self.batch_shape)
        return self._loc + self._scale * jax.random.t(key, self._df, shape, self._loc.dtype)


def gaussian() -> Likelihood:
    """Return N(loc, scale²)."""

    def distribution(eta: DecoderOutput) -> Any:
        return distrax.Normal(eta.loc, eta.scale)

    return Likelihood(
        name="gaussian",
        log_prob=lambda eta, x: distribution(eta).log_prob(x),
        sample=lambda key, eta: distribution(eta).sample(seed=key),
        mean=lambda eta: eta.loc,
        transport=lambda eta, noise: eta.loc + eta.scale * noise[0],
        num_noise=1,
    )


def student_t() -> Likelihood:
    r"""Return the Student-t with location, scale and degrees of freedom above 2.

    Its transport is Bailey's polar method: with U = \Phi(noise_0), V = \Phi(noise_1),
    t = sqrt(df (U^{-2/df} - 1)) cos(2 pi V).

    References:
        R. W. Bailey, "Polar generation of random variates with the t-distribution",
        Mathematics of Computation 62, 1994, eq. 5.
    """

    def distribution(eta: DecoderOutput) -> StudentT:
        return StudentT(eta.df, eta.loc, eta.scale)

    def transport(eta: DecoderOutput, noise: Array) -> Array:
        # -log U is kept from 0, where the square root has no derivative.
        minus_log_u = jnp.maximum(-normal.log_cdf(noise[0]), 1e-12)
        radius = jnp.sqrt(eta.df * jnp.expm1(2.0 / eta.df * minus_log_u))
        angle = 2.0 * jnp.pi * stats.norm.cdf(noise[1])
        return eta.loc + eta.scale * radius * jnp.cos(angle)

    return Likelihood(
        name="student_t",
        log_prob=lambda eta, x: distribution(eta).log_prob(x),
        sample=lambda key, eta: distribution(eta).sample(seed=key),
        mean=lambda eta: eta.loc,
        transport=transport,
        num_noise=2,
        heads=("loc", "scale", "df"),
    )


def bernoulli() -> Likelihood:
    """Return Bernoulli(sigmoid(loc)); values in [0, 1] between are read as probabilities."""

    def distribution(eta: DecoderOutput) -> Any:
        return distrax.Bernoulli(logits=eta.loc)

    def log_prob(eta: DecoderOutput, x: Array) -> Array:
        return distribution(eta).log_prob(x)

    return Likelihood(
        name="bernoulli",
        log_prob=log_prob,
        sample=lambda key, eta: distribution(eta).sample(seed=key).astype(eta.loc.dtype),
        mean=lambda eta: jax.nn.sigmoid(eta.loc),
        transport=None,
        num_noise=0,
        heads=("loc",),
        choice_log_prob=log_prob,
    )


def masked_log_prob(likelihood: Likelihood, eta: DecoderOutput, x: Array, mask: Array) -> Array:
    """Return log p(x_obs|z), the sum over observed columns.

    Missing cells are filled before the formula, so that NaN in them changes neither the value
    nor the gradient.

    Args:
        likelihood: p(x|z).
        eta: decoder's output. [..., D]
        x: a row; what a missing cell holds is not read. [D]
        mask: ``True`` where observed. [D]

    Returns:
        log p(x_obs|z). [...]
    """
    filled = jnp.where(mask, x, 0.0)
    return jnp.where(mask, likelihood.log_prob(eta, filled), 0.0).sum(axis=-1)
