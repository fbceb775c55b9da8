r"""What the gaps of a row have in common: a model of s that reads the gaps and what was observed.

Columns are put in an order, fullest first, and each may go missing by the gaps before it and by the
observed values among these,

    h_d(x_obs, s) = \sum_{e < d} (4 a_ed (1 - s_e) + s_e \sum_{k=1}^{3} b_edk H_k(x_e))

with H_k the normalised Hermite polynomials of x clipped to three standard deviations. As a product
over d of P(s_d | s_<d, x_obs), any pattern of gaps has a probability, and none depends on a hidden
value: it is missing at random (Rubin, 1976) whatever the pattern. Sections that were not asked,
drop-out and careless rows are of this kind.

A mechanism is handed h as a ``shift`` of its logits or probits. With it, what the mechanism reads
of hidden values is told apart from gaps that merely go together.

References:
    D. B. Rubin, "Inference and Missing Data", Biometrika 63, 1976, sec. 4.
    J. M. Robins, R. D. Gill, "Non-response Models for the Analysis of Non-monotone Ignorable
    Missing Data", Statistics in Medicine 16, 1997, sec. 2 (sequences of columns).
"""

import jax
import jax.numpy as jnp

from mnar_ebm import kinds
from mnar_ebm.kinds import Block
from mnar_ebm.types import Array, PyTree

MAX_VALUE = 3.0
"""Largest standardised value that is read as it is: a far one would decide on its own."""

GAP_WEIGHT = 4.0
"""Of a gap beside a value of one standard deviation: columns may always be missing together."""

NUM_FEATURES = 4


def features(x: Array, mask: Array) -> Array:
    """Return what the terms read of each column: its gap, and three powers. [..., 4, D].

    Args:
        x: rows in standard units; what a missing cell holds is not read. [..., D]
        mask: ``True`` where observed. [..., D]
    """
    x = jnp.clip(jnp.where(mask, x, 0.0), -MAX_VALUE, MAX_VALUE)
    gap = jnp.broadcast_to(GAP_WEIGHT * ~mask, x.shape).astype(x.dtype)
    square = jnp.where(mask, (x**2 - 1.0) / 2.0**0.5, 0.0)
    cube = jnp.where(mask, (x**3 - 3.0 * x) / 6.0**0.5, 0.0)
    return jnp.stack(jnp.broadcast_arrays(gap, x, square, cube), axis=-2)


def init(blocks: tuple[Block, ...], missing_rate: Array) -> PyTree:
    """Return terms of 0, and which columns come before which, as 0 and 1.

    Args:
        blocks: the columns, if some of them are discrete.
        missing_rate: share of missing cells of each encoded column. [D]

    Returns:
        ``coefficients`` [4, D, D], of features of column e in the gap of d, and ``earlier`` [D, D].
    """
    rank = jnp.argsort(jnp.argsort(kinds.one_each(blocks, missing_rate), stable=True))
    rank = kinds.spread(blocks, rank)
    earlier = (rank[:, None] < rank[None, :]).astype(missing_rate.dtype)
    return {"coefficients": jnp.zeros((NUM_FEATURES, *earlier.shape)), "earlier": earlier}


def shift(params: PyTree, x: Array, mask: Array) -> Array:
    """Return h of every encoded column, that of a block at its first. [..., D].

    Args:
        params: as ``init`` returns.
        x: rows in standard units. [..., D]
        mask: ``True`` where observed. [..., D]
    """
    weights = params["coefficients"] * jax.lax.stop_gradient(params["earlier"])
    return jnp.tensordot(features(x, mask), weights, axes=[(-2, -1), (0, 1)])
