r"""Chains and rings of any length: log Z by products of transfer matrices.

    E(x) = Σ_t E_t(x_t, x_(t+1)),      Z = Σ (T_1 T_2 ... T_n),      T_t = exp(-E_t)

the sum over the entries of the product for a chain of n + 1 nodes, its trace for a ring of n. The
products are of logs, one after the other in one loop, so that a chain of thousands neither compiles
for long nor overflows. A node may stand for a column of a lattice. The field of a node belongs to
one of its edges.

References:
    H. A. Kramers, G. H. Wannier, "Statistics of the Two-Dimensional Ferromagnet", Physical Review
    60, 1941.
"""

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array


@jax.jit
def chain_log_z(energies: Array) -> Array:
    """Return log Z of a chain.

    Args:
        energies: E_t of neighbours, one table for each edge. [n, S, S]
    """

    def step(log_sum: Array, energy: Array) -> tuple[Array, None]:
        return jax.nn.logsumexp(log_sum[:, None] - energy, axis=0), None

    start = jnp.zeros(energies.shape[1], energies.dtype)
    return jax.nn.logsumexp(jax.lax.scan(step, start, energies)[0])


@jax.jit
def ring_log_z(energies: Array) -> Array:
    """Return log Z of a ring, the last of whose edges leads back to the first node.

    Args:
        energies: E_t of neighbours, one table for each edge. [n, S, S]
    """

    def step(log_sums: Array, energy: Array) -> tuple[Array, None]:
        return jax.nn.logsumexp(log_sums[:, :, None] - energy, axis=1), None

    return jax.nn.logsumexp(jnp.diagonal(jax.lax.scan(step, -energies[0], energies[1:])[0]))
