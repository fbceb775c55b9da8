r"""Self-masking of a table with columns of several kinds, each integrated out in its own way.

A mechanism whose columns are independent given the row is a product, and so is its collapsed
form: numeric columns go missing as in ``selfmasking``, a discrete column with a logit a_j for each
of its levels,

    P(missing|level j) = sigmoid(a_j),      P(missing|z) = sum_j p_j sigmoid(a_j),
    P(level j|missing, z) = p_j sigmoid(a_j) / P(missing|z)

References:
    R. J. A. Little, D. B. Rubin, "Statistical Analysis with Missing Data", 3rd ed., 2019,
    sec. 15.4 (nonignorable models for categorical data).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import kinds
from mnar_ebm.kinds import Block, Group, make_blocks
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.likelihoods import mixed as levels
from mnar_ebm.missingness import base
from mnar_ebm.missingness.base import Shift
from mnar_ebm.missingness.selfmasking import self_masking
from mnar_ebm.numerics import logistic
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree


class Part(NamedTuple):
    """Some of the columns, and why they go missing.

    Attributes:
        name: of its parameters.
        columns: the encoded columns. [n]
        mechanism: of these alone.
    """

    name: str
    columns: np.ndarray
    mechanism: base.Mechanism


def mixed_self_masking(
    likelihood: Likelihood, link: str, sign: str = "unknown", own: Sequence[bool] = ()
) -> base.Mechanism:
    """Return the self-masking mechanism of a mixed likelihood, the product of its two parts.

    Args:
        likelihood: p(x|z), with its blocks.
        link: of the numeric columns, ``probit`` or ``logistic``.
        sign: of the numeric columns, ``high`` or ``low`` if it is known, else ``unknown``.
        own: whether an encoded column may hide itself; empty: all may. [D]

    Raises:
        ValueError: link or sign is unknown.
    """

    def of(columns: np.ndarray) -> tuple[bool, ...]:
        return tuple(own[column] for column in columns) if own else ()

    numbers = kinds.numeric(likelihood.blocks)
    discrete = kinds.discrete(likelihood.blocks)
    parts = []
    if len(numbers):
        mechanism = self_masking(likelihood.numeric, link, sign, of(numbers))
        parts.append(Part("numeric", numbers, mechanism))
    if discrete:
        side_by_side = make_blocks((block.kind, block.num_levels) for block in discrete)
        columns = kinds.columns_of(discrete)
        parts.append(Part("levels", columns, level_masking(side_by_side, of(columns))))
    return product(parts)


def level_masking(blocks: tuple[Block, ...], own: Sequence[bool] = ()) -> base.Mechanism:
    """Return the mechanism of discrete blocks, with a logit of *missing* for each level.

    Args:
        blocks: discrete blocks, side by side: together all the columns of x and of its mask.
        own: whether the levels of a column may differ in their logits; empty: all may. [D]
    """
    groups = kinds.groups(blocks)
    has_own = np.asarray(own or [True] * sum(block.width for block in blocks))

    def is_own(group: Group) -> np.ndarray:
        return has_own[group.columns[:, 0]]

    back = np.argsort(np.concatenate([group.columns.ravel() for group in groups]))

    def join(of_group: Callable[[int, Group], Array]) -> Array:
        """Put the encoded columns of all groups in order. [..., D]."""
        parts = [of_group(index, group) for index, group in enumerate(groups)]
        return jnp.concatenate(parts, axis=-1)[..., back]

    def total(of_group: Callable[[Group], Array]) -> Array:
        """Sum over the blocks of all groups. [..., G] each -> [...]."""
        return jnp.concatenate([of_group(group) for group in groups], axis=-1).sum(axis=-1)

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        def logits(group: Group) -> Array:
            rate = missing_rate[group.columns[:, :1]]
            return jnp.tile(jax.scipy.special.logit(rate), group.num_levels)

        return {group.name: logits(group) for group in groups}

    def of_blocks(shift: Shift, group: Group) -> Shift:
        """Return the shift of each block, that of its first column. [..., G]."""
        return shift if isinstance(shift, float) else shift[..., group.columns[:, 0]]

    def logits(params: PyTree, group: Group, shift: Shift) -> Array:
        """Return the logit of *missing* of each level. [..., G, k]."""
        own = params[group.name]
        if not is_own(group).all():
            tied = jnp.broadcast_to(own.mean(axis=-1, keepdims=True), own.shape)
            own = jnp.where(is_own(group)[:, None], own, tied)
        return own + jnp.expand_dims(of_blocks(shift, group), -1)

    def logit(params: PyTree, group: Group, x: Array, shift: Shift) -> Array:
        """Return the logit of *missing* of each block, given its level. [..., G]."""
        return (levels.level_weights(group, x) * logits(params, group, shift)).sum(axis=-1)

    def log_joint(params: PyTree, group: Group, eta: DecoderOutput, shift: Shift) -> Array:
        """Return log P(level, missing|z). [..., G, k]."""
        return levels.log_levels(group, eta) + logistic.log_cdf(logits(params, group, shift))

    def sample(key: Key, params: PyTree, x: Array, shift: Shift = 0.0) -> Array:
        keys = jax.random.split(key, len(groups))

        def draw(index: int, group: Group) -> Array:
            rate = jax.nn.sigmoid(logit(params, group, x, shift))
            observed = ~jax.random.bernoulli(keys[index], rate)
            return jnp.repeat(observed, group.columns.shape[1], axis=-1)

        return join(draw)

    def log_prob(params: PyTree, x: Array, mask: Array, shift: Shift = 0.0) -> Array:
        def term(group: Group) -> Array:
            sign = jnp.where(mask[group.columns[:, 0]], -1.0, 1.0)
            return logistic.log_cdf(sign * logit(params, group, x, shift))

        return total(term)

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> tuple[Array, Array]:
        x = jnp.where(mask, x, 0.0)
        keys = jax.random.split(key, len(groups))
        joint = {group.name: log_joint(params, group, eta, shift) for group in groups}

        def term(group: Group) -> Array:
            observed = logistic.log_cdf(-logit(params, group, x, shift))
            missing = jax.nn.logsumexp(joint[group.name], axis=-1)
            return jnp.where(mask[group.columns[:, 0]], observed, missing)

        drawn = join(lambda index, group: levels.draw_levels(keys[index], group, joint[group.name]))
        return jnp.where(mask, x, drawn), total(term)

    def mean(
        params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> Array:
        weights = join(
            lambda _, group: levels.encode(
                group, jax.nn.softmax(log_joint(params, group, eta, shift))
            )
        )
        return jnp.where(mask, x, weights)

    return base.Mechanism(init, sample, log_prob, complete, mean)


def product(parts: Sequence[Part]) -> base.Mechanism:
    """Return the mechanism of parts that are independent given the row.

        log p(s|x) = sum_part log p(s_part|x_part)

    Args:
        parts: together they hold every column once.
    """
    back = np.argsort(np.concatenate([part.columns for part in parts]))

    def join(pieces: Sequence[Array]) -> Array:
        return jnp.concatenate(pieces, axis=-1)[..., back]

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        keys = jax.random.split(key, len(parts))
        slopes = jnp.broadcast_to(slope, missing_rate.shape)
        return {
            part.name: part.mechanism.init(own, missing_rate[part.columns], slopes[part.columns])
            for own, part in zip(keys, parts, strict=True)
        }

    def of_part(shift: Shift, part: Part) -> Shift:
        return shift if isinstance(shift, float) else shift[..., part.columns]

    def sample(key: Key, params: PyTree, x: Array, shift: Shift = 0.0) -> Array:
        keys = jax.random.split(key, len(parts))
        return join(
            [
                part.mechanism.sample(
                    own, params[part.name], x[..., part.columns], of_part(shift, part)
                )
                for own, part in zip(keys, parts, strict=True)
            ]
        )

    def log_prob(params: PyTree, x: Array, mask: Array, shift: Shift = 0.0) -> Array:
        terms = [
            part.mechanism.log_prob(
                params[part.name], x[..., part.columns], mask[part.columns], of_part(shift, part)
            )
            for part in parts
        ]
        return sum(terms[1:], terms[0])

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> tuple[Array, Array]:
        keys = jax.random.split(key, len(parts))
        rows, terms = zip(
            *(
                part.mechanism.complete(
                    own,
                    params[part.name],
                    levels.take(eta, part.columns),
                    x[part.columns],
                    mask[part.columns],
                    of_part(shift, part),
                )
                for own, part in zip(keys, parts, strict=True)
            ),
            strict=True,
        )
        return join(rows), sum(terms[1:], terms[0])

    if any(part.mechanism.mean is None for part in parts):
        return base.Mechanism(init, sample, log_prob, complete, mean=None)

    def mean(
        params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> Array:
        return join(
            [
                part.mechanism.mean(
                    params[part.name],
                    levels.take(eta, part.columns),
                    x[part.columns],
                    mask[part.columns],
                    of_part(shift, part),
                )
                for part in parts
                if part.mechanism.mean is not None
            ]
        )

    return base.Mechanism(init, sample, log_prob, complete, mean)
