"""Aliases and axis letters that every module shares.

Axis letters, in the order in which they appear in a shape:

    B rows   K importance samples   C chains   T steps   N draws   D features   L latent

so ``[B, K, L]`` is a batch of rows, each with K samples of an L-dimensional latent.
A ``mask`` is boolean and ``True`` means *observed*, everywhere.
"""

from typing import Any, NamedTuple, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed JAX random key, as made by ``jax.random.key``."""

PyTree: TypeAlias = Any
"""Any nesting of tuples, lists and dicts of arrays."""


class Batch(NamedTuple):
    """Rows of an incomplete table.

    Attributes:
        x: values, standardised; what a missing cell holds is never read. [B, D]
        mask: ``True`` where the value was observed. [B, D]
        is_selected: whether the mechanism chose what was observed of a row; ``None`` if it did in
            all. [B]
    """

    x: Array
    mask: Array
    is_selected: Any = None


class DecoderOutput(NamedTuple):
    """Parameters of p(x|z), one set per column; leading axes are free (``[K, D]``, ``[D]``).

    Attributes:
        loc: mean, location or logit. [..., D]
        scale: standard deviation or scale, above the floor; ``None`` where there is none. [..., D]
        df: degrees of freedom, above 2; ``None`` where there are none. [..., D]
        gap: distance of two thresholds of an ordinal column, above 0; ``None`` where there is no
            such column. [..., D]
        atom: log-odds of the atom of a column; ``None`` where no column has one. [..., D]
    """

    loc: Array
    scale: Any = None
    df: Any = None
    gap: Any = None
    atom: Any = None
