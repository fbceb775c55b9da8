"""The contract of a missingness mechanism p(s|x), and the mechanisms that no missing value enters.

A mechanism is one thing that draws masks, scores them, and completes a row: it draws the missing
values that go with a latent and returns the term m of the log-weights (``objectives.bounds``),

    ignorable   x_mis ~ p(x_mis|z),      m = log p(s|x_obs) or 0
    sampled     x_mis ~ p(x_mis|z),      m = log p(s|x)
    collapsed   x_mis ~ p(x_mis|z, s),   m = log p(s|x_obs, z)

so that the code of a bound or an imputer never asks which of the three it has.

Where the gaps of a row have something in common (``missingness.gap_model``), the functions take a
``shift`` of the logits or probits of *missing* as their last argument.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import kinds
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.numerics import logistic
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree

Shift = Array | float
"""Of the logits or probits of *missing*, of each encoded column [..., D]; 0: none."""


class Mechanism(NamedTuple):
    """Pure functions of one row; ``params`` comes first, ``eta`` is the decoder's output [K, D].

    All but ``init`` may be handed one argument more, the ``shift`` [..., D] of logits or probits.

    Attributes:
        init: ``(key, missing_rate [D], slope=0) -> params``; where a mechanism is linear in what
            it hides, that starts with this slope (``tilted.start``).
        sample: ``(key, params, x [..., D]) -> mask [..., D]``, a draw from p(s|x).
        log_prob: ``(params, x [..., D], mask [D]) -> [...]``, log p(s|x).
        complete: ``(key, params, eta, x [D], mask [D]) -> (x [K, D], m [K])``, the row with its
            missing values drawn, and the mechanism's term of the log-weights.
        mean: ``(params, eta, x [D], mask [D]) -> [K, D]``, the row with its missing values at
            their mean under the law that ``complete`` draws from; ``None`` where m depends on
            what was drawn, so that the drawn values alone may be averaged, and none drawn anew.
    """

    init: Callable[..., PyTree]
    sample: Callable[..., Array]
    log_prob: Callable[..., Array]
    complete: Callable[..., tuple[Array, Array]]
    mean: Callable[..., Array] | None


def mask_log_prob(log_cdf: Callable[[Array], Array], t: Array, mask: Array) -> Array:
    """Return log p(s|x), the sum over columns of log F(t_d) if missing and log F(-t_d) if not.

    Args:
        log_cdf: log F, of a distribution that is symmetric about 0.
        t: P(missing_d) = F(t_d). [..., D]
        mask: ``True`` where observed. [D]
    """
    return log_cdf(jnp.where(mask, -t, t)).sum(axis=-1)


def logistic_log_prob(logits: Array, mask: Array) -> Array:
    """Return log p(s|x) where ``logits`` are those of *missing*. [..., D] -> [...]."""
    return mask_log_prob(logistic.log_cdf, logits, mask)


def draw_missing(
    key: Key, likelihood: Likelihood, eta: DecoderOutput, x: Array, mask: Array
) -> Array:
    """Return the row with its missing values drawn from p(x_mis|z). [K, D]."""
    return jnp.where(mask, x, likelihood.sample(key, eta))


def choice_gradient(
    likelihood: Likelihood, eta: DecoderOutput, completed: Array, mask: Array
) -> Array:
    r"""Return 0, with the gradient that discrete draws do not carry. [K].

    A choice c ~ r, with r = P(c|z) held fixed as a proposal, has the log-weight log P(c|z) - log r,
    which is 0, and whose gradient makes that of the weights unbiased:

        E_r \nabla [w(c) P(c|z) / r(c)] = \sum_c \nabla [w(c) P(c|z)]
    """
    if likelihood.choice_log_prob is None:
        return jnp.zeros((), completed.dtype)
    log_p = jnp.where(mask, 0.0, likelihood.choice_log_prob(eta, completed)).sum(axis=-1)
    return log_p - jax.lax.stop_gradient(log_p)


def sampled(
    likelihood: Likelihood,
    init: Callable[..., PyTree],
    sample: Callable[..., Array],
    log_prob: Callable[..., Array],
) -> Mechanism:
    """Return the mechanism that draws x_mis from p(x_mis|z) and scores the completed row.

    References:
        N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE: Deep Generative Modelling with
        Missing not at Random Data", ICLR 2021, https://arxiv.org/abs/2006.12871, eq. 7.
    """

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, *shift: Array
    ) -> tuple[Array, Array]:
        completed = draw_missing(key, likelihood, eta, x, mask)
        log_m = log_prob(params, completed, mask, *shift)
        return completed, log_m + choice_gradient(likelihood, eta, completed, mask)

    return Mechanism(init, sample, log_prob, complete, mean=None)


def ignorable(
    likelihood: Likelihood,
    init: Callable[..., PyTree],
    sample: Callable[..., Array],
    log_prob: Callable[..., Array],
) -> Mechanism:
    """Return the mechanism whose ``log_prob`` sees no missing value, so that z never meets it."""

    def log_prob_of_observed(params: PyTree, x: Array, mask: Array, *shift: Array) -> Array:
        return log_prob(params, jnp.where(mask, x, 0.0), mask, *shift)

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, *shift: Array
    ) -> tuple[Array, Array]:
        completed = draw_missing(key, likelihood, eta, x, mask)
        log_m = log_prob_of_observed(params, x, mask, *shift)
        return completed, jnp.broadcast_to(log_m, completed.shape[:-1])

    def mean(params: PyTree, eta: DecoderOutput, x: Array, mask: Array, *shift: Array) -> Array:
        del params, shift
        return jnp.where(mask, x, likelihood.mean(eta))

    return Mechanism(init, sample, log_prob_of_observed, complete, mean)


def by_logits(
    make: Callable[..., Mechanism],
    likelihood: Likelihood,
    init: Callable[..., PyTree],
    logits: Callable[[PyTree, Array], Array],
) -> Mechanism:
    """Return the mechanism P(missing_d|x) = sigmoid(logits_d), with a logit for each *block*.

    Args:
        make: ``ignorable`` or ``sampled``.
        likelihood: p(x|z), with its blocks; without them a column is a block.
        init: as ``Mechanism.init``.
        logits: ``(params, x [..., D]) -> [..., number of blocks]``.
    """
    blocks = likelihood.blocks

    def moved(params: PyTree, x: Array, shift: Shift) -> Array:
        """Return the logits of blocks, the shift at the first column of each. [..., G]."""
        own = logits(params, x)
        return own if isinstance(shift, float) else own + kinds.one_each(blocks, shift)

    def sample(key: Key, params: PyTree, x: Array, shift: Shift = 0.0) -> Array:
        is_missing = jax.random.bernoulli(key, jax.nn.sigmoid(moved(params, x, shift)))
        return kinds.spread(blocks, ~is_missing)

    def log_prob(params: PyTree, x: Array, mask: Array, shift: Shift = 0.0) -> Array:
        return logistic_log_prob(moved(params, x, shift), kinds.one_each(blocks, mask))

    return make(likelihood, init, sample, log_prob)


def with_params(mechanism: Mechanism, change: Callable[[PyTree], PyTree]) -> Mechanism:
    """Return the mechanism whose functions read its parameters after a change."""
    mean = mechanism.mean
    return Mechanism(
        mechanism.init,
        lambda key, params, *rest: mechanism.sample(key, change(params), *rest),
        lambda params, *rest: mechanism.log_prob(change(params), *rest),
        lambda key, params, *rest: mechanism.complete(key, change(params), *rest),
        None if mean is None else lambda params, *rest: mean(change(params), *rest),
    )


def none(likelihood: Likelihood) -> Mechanism:
    """Return the mechanism that is not modelled: m = 0, and every cell is observed."""
    return ignorable(
        likelihood,
        init=lambda key, missing_rate, slope=0.0: {},
        sample=lambda key, params, x, shift=0.0: jnp.ones(x.shape, bool),
        log_prob=lambda params, x, mask, shift=0.0: jnp.zeros(x.shape[:-1], x.dtype),
    )


def mcar(likelihood: Likelihood) -> Mechanism:
    """Return missing completely at random: P(missing_d) = sigmoid(logit_d)."""

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        return {"logit": _logit(kinds.one_each(likelihood.blocks, missing_rate))}

    def logits(params: PyTree, x: Array) -> Array:
        return jnp.broadcast_to(params["logit"], (*x.shape[:-1], *params["logit"].shape))

    return by_logits(ignorable, likelihood, init, logits)


def mar(likelihood: Likelihood, observed_columns: tuple[int, ...]) -> Mechanism:
    """Return missing at random: logit P(missing_d|x) = c_d + sum_j A_dj x_j.

    The sum runs over the columns that are always observed, so no missing value enters.

    Args:
        likelihood: p(x|z).
        observed_columns: indices of the columns without any gap.

    Raises:
        ValueError: there is no such column.
    """
    if not observed_columns:
        raise ValueError("mechanism: mar needs a column without any gap, got none")
    columns = jnp.asarray(observed_columns)

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        intercept = _logit(kinds.one_each(likelihood.blocks, missing_rate))
        shape = (len(observed_columns), intercept.shape[-1])
        return {"intercept": intercept, "slope": jnp.zeros(shape, missing_rate.dtype)}

    def logits(params: PyTree, x: Array) -> Array:
        # A row may lack even these columns at imputation time; the mean, 0, stands in.
        observed = jnp.nan_to_num(x[..., columns])
        return params["intercept"] + observed @ params["slope"]

    return by_logits(ignorable, likelihood, init, logits)


def _logit(rate: Array) -> Array:
    return jnp.log(rate) - jnp.log1p(-rate)
