r"""p(x|z) of a table whose columns are of several kinds: a distribution for each.

With ``loc`` and ``gap`` the decoder's output for the encoded columns of a block (``kinds``),

    numeric        N(loc, scale²), or Student-t
    binary         P(x = 1) = sigmoid(loc)
    categorical    p = softmax(loc_1, ..., loc_k)
    ordinal        P(level <= j) = sigmoid(t_j - loc_1),   t_1 = 0,  t_j = t_{j-1} + gap_j

so that the thresholds t_j ascend; they are the same for every z. A one-hot column contributes
x_j log p_j, so that the log-probability is elementwise: its sum over the observed encoded columns
is that of the observed columns of the table.

References:
    P. McCullagh, "Regression models for ordinal data", JRSS B 42(2), 1980, eq. 1.1 (ordinal).
    A. Nazabal, P. M. Olmos, Z. Ghahramani, I. Valera, "Handling incomplete heterogeneous data
    using VAEs", Pattern Recognition 107, 2020, https://arxiv.org/abs/1807.03653, sec. 2.2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import kinds
from mnar_ebm.kinds import Block, Group
from mnar_ebm.likelihoods.base import Likelihood
from mnar_ebm.numerics import logistic
from mnar_ebm.types import Array, DecoderOutput, Key


def log_levels(group: Group, eta: DecoderOutput) -> Array:
    r"""Return log P(level|z) of each block of a group. [..., G, k].

    An ordinal level lies between two thresholds, and with a = t_j - loc > b = t_{j-1} - loc,

        log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))
    """
    loc = eta.loc[..., group.columns]
    if group.kind == "binary":
        return jnp.concatenate([logistic.log_cdf(-loc), logistic.log_cdf(loc)], axis=-1)
    if group.kind == "categorical":
        return jax.nn.log_softmax(loc)
    gaps = eta.gap[..., group.columns[:, 1:-1]]
    zero = jnp.zeros((*gaps.shape[:-1], 1), gaps.dtype)
    t = jnp.concatenate([zero, jnp.cumsum(gaps, axis=-1)], axis=-1) - loc[..., :1]
    below, above = logistic.log_cdf(t), logistic.log_cdf(-t)
    between = below[..., 1:] + above[..., :-1] + jnp.log(-jnp.expm1(-gaps))
    return jnp.concatenate([below[..., :1], between, above[..., -1:]], axis=-1)


def level_weights(group: Group, x: Array) -> Array:
    """Return the weight of each level in the encoded columns of a row. [..., D'] -> [..., G, k]."""
    own = x[..., group.columns]
    return jnp.concatenate([1.0 - own, own], axis=-1) if group.kind == "binary" else own


def encode(group: Group, weights: Array) -> Array:
    """Return the encoded columns of a group, flat. [..., G, k] -> [..., GW]."""
    own = weights[..., 1:] if group.kind == "binary" else weights
    return own.reshape(*own.shape[:-2], -1)


def draw_levels(key: Key, group: Group, log_p: Array) -> Array:
    """Draw a level of each block from unnormalised ``log_p``, encoded. [..., G, k] -> [..., GW]."""
    levels = jax.random.categorical(key, log_p)
    return encode(group, jax.nn.one_hot(levels, group.num_levels, dtype=log_p.dtype))


def take(eta: DecoderOutput, columns: np.ndarray) -> DecoderOutput:
    """Return the decoder's output for some of the encoded columns."""
    return jax.tree.map(lambda leaf: leaf[..., columns], eta)


OF_NUMBERS = ("gaussian", "two_part", "student_t")
"""Likelihoods of numeric columns beside discrete ones."""


def of_blocks(
    blocks: tuple[Block, ...], numeric: Likelihood, atom_side: tuple[int, ...] = ()
) -> Likelihood:
    """Return the likelihood of blocks of several kinds.

    Args:
        blocks: the columns of the table.
        numeric: that of the numeric columns.
        atom_side: of the encoded columns, as ``Likelihood`` keeps it. [D] or empty

    Raises:
        ValueError: ``numeric`` is discrete, or of values within an interval.
    """
    if numeric.name not in OF_NUMBERS:
        raise ValueError(
            f"likelihood: expected one of {', '.join(OF_NUMBERS)} for the numeric columns of a "
            f"table that has discrete ones too, got {numeric.name!r}"
        )
    groups = kinds.groups(blocks)
    numbers = kinds.numeric(blocks)
    order = np.concatenate([numbers, *(group.columns.ravel() for group in groups)])
    back = np.argsort(order)

    def join(of_numbers: Callable[[DecoderOutput], Array], eta: Any, rest: list[Array]) -> Array:
        """Put numeric columns, if there are any, and the rest back in order. [..., D]."""
        parts = [of_numbers(take(eta, numbers)), *rest] if len(numbers) else rest
        return jnp.concatenate(parts, axis=-1)[..., back]

    def of_levels(eta: DecoderOutput, x: Array) -> list[Array]:
        """Return log P(level|z) of the levels in a row, elementwise. [..., GW] each."""
        terms = []
        for group in groups:
            term = level_weights(group, x) * log_levels(group, eta)
            if group.kind == "binary":
                term = term.sum(axis=-1, keepdims=True)
            terms.append(term.reshape(*term.shape[:-2], -1))
        return terms

    def log_prob(eta: DecoderOutput, x: Array) -> Array:
        return join(lambda own: numeric.log_prob(own, x[..., numbers]), eta, of_levels(eta, x))

    def choice_log_prob(eta: DecoderOutput, x: Array) -> Array:
        def of_numbers(own: DecoderOutput) -> Array:
            if numeric.choice_log_prob is None:
                return jnp.zeros_like(own.loc)
            return numeric.choice_log_prob(own, x[..., numbers])

        return join(of_numbers, eta, of_levels(eta, x))

    def sample(key: Key, eta: DecoderOutput) -> Array:
        key_numeric, *keys = jax.random.split(key, 1 + len(groups))
        draws = [
            draw_levels(key_group, group, log_levels(group, eta))
            for key_group, group in zip(keys, groups, strict=True)
        ]
        return join(lambda own: numeric.sample(key_numeric, own), eta, draws)

    def mean(eta: DecoderOutput) -> Array:
        weights = [encode(group, jnp.exp(log_levels(group, eta))) for group in groups]
        return join(numeric.mean, eta, weights)

    return Likelihood(
        name="mixed",
        log_prob=log_prob,
        sample=sample,
        mean=mean,
        transport=None,
        num_noise=0,
        heads=_heads(blocks, numeric, atom_side),
        choice_log_prob=choice_log_prob,
        atom_side=atom_side,
        blocks=blocks,
        numeric=numeric,
    )


def _heads(
    blocks: tuple[Block, ...], numeric: Likelihood, atom_side: tuple[int, ...]
) -> tuple[str, ...]:
    """Return what all columns need: of numbers, if there are any, of atoms, and of thresholds."""
    heads = set(numeric.heads if len(kinds.numeric(blocks)) else ("loc",)) - {"atom"}
    heads |= {"atom"} if atom_side else set()
    heads |= {"gap"} if any(block.kind == "ordinal" for block in blocks) else set()
    return tuple(name for name in DecoderOutput._fields if name in heads)
