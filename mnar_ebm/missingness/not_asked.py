r"""Cells that no mechanism decides on, for they are missing by design: they were not asked.

In standard units such a cell holds +\infty, a value that nothing else can have, and is masked. To a
mechanism it is told by a ``shift`` of its logit so high that it is missing whatever it holds,

    P(missing_d|x) = 1,      log P = 0,      p(x_d|missing, z) = p(x_d|z)

so that it adds nothing to log p(s|x), moves no parameter, and is filled as if it were at random.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mnar_ebm.missingness.base import Mechanism, Shift
from mnar_ebm.types import Array, Key, PyTree

MARK = np.inf
"""What a cell holds, in standard units, that was not asked."""

CERTAIN = 1e4
"""Shift of a logit, or a probit, at which a cell is missing for certain in float32."""


def filled(x: Any, mask: Any) -> Array:
    """Return rows with 0 in gaps, but for the mark of what was not asked. [..., D]."""
    return jnp.where(mask | jnp.isposinf(x), x, 0.0)


def shift(x: Array, mask: Array) -> Array:
    """Return the shift of logits that tells what was not asked, 0 elsewhere. [..., D]."""
    return jnp.where(~mask & jnp.isposinf(x), CERTAIN, 0.0).astype(x.dtype)


def with_not_asked(mechanism: Mechanism) -> Mechanism:
    """Return the mechanism that does not see the cells which were not asked.

    Rows that are completed have no mark: ``log_prob`` and ``sample`` are of what was asked.

    Args:
        mechanism: one whose functions take a ``shift``, which is added to.
    """

    def complete(
        key: Key, params: PyTree, eta: Any, x: Array, mask: Array, given: Shift = 0.0
    ) -> tuple[Array, Array]:
        moved = shift(x, mask) + given
        return mechanism.complete(key, params, eta, jnp.where(mask, x, 0.0), mask, moved)

    def mean_with(own: Callable[..., Array]) -> Callable[..., Array]:
        def mean(params: PyTree, eta: Any, x: Array, mask: Array, given: Shift = 0.0) -> Array:
            moved = shift(x, mask) + given
            return own(params, eta, jnp.where(mask, x, 0.0), mask, moved)

        return mean

    mean = None if mechanism.mean is None else mean_with(mechanism.mean)
    return mechanism._replace(complete=complete, mean=mean)
