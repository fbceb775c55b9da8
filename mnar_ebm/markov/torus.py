r"""The Ising model on a torus without a field, exactly, at any finite size.

For m x n spins and E(x) = -J Σ_ij s_i s_j over the 2 m n neighbours, J > 0,

    Z = ½ (2 sinh 2J)^(mn/2) (Π_r 2 cosh(m γ_(2r+1)/2) + Π_r 2 sinh(m γ_(2r+1)/2)
                              + Π_r 2 cosh(m γ_2r/2) ± Π_r 2 sinh(m γ_2r/2)),      r = 0, ..., n - 1
    cosh γ_q = cosh 2J coth 2J - cos(π q / n),      γ_0 = 2J + log tanh J

where γ_0 changes its sign at the critical coupling, and the last product with it. All four are
positive below but for that one, and are added as logs; 2 sinh is 2 cosh times tanh.

What has no closed form at finite size is the mean of |Σ s_i|; its square is a sum of correlations.

References:
    B. Kaufman, "Crystal Statistics. II. Partition Function Evaluated by Spinor Analysis", Physical
    Review 76, 1949.
    A. E. Ferdinand, M. E. Fisher, "Bounded and Inhomogeneous Ising Models. I. Specific-Heat Anomaly
    of a Finite Lattice", Physical Review 185, 1969, section II.
"""

import functools
import math

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.types import Array

CRITICAL_COUPLING = 0.5 * math.log(1.0 + math.sqrt(2.0))
"""J at which the infinite lattice begins to magnetise, where sinh 2J = 1."""


def torus_log_z(num_rows: int, num_columns: int, coupling: float) -> Array:
    """Return log Z of m x n spins. [].

    Args:
        num_rows: m, at least 3, so that no two edges join the same nodes.
        num_columns: n, likewise.
        coupling: J.

    Raises:
        ValueError: the lattice is too small, or the coupling is not positive.
    """
    _check(num_rows, num_columns, coupling)
    return _log_z(jnp.asarray(coupling, float), num_rows, num_columns)


def torus_energy(num_rows: int, num_columns: int, coupling: float) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of E(x), in nats: of m x n spins, not of one. [].

        mean = -J ∂ log Z / ∂J,      variance = J² ∂² log Z / ∂J²

    Args:
        num_rows: m, as for ``torus_log_z``.
        num_columns: n.
        coupling: J.

    Raises:
        ValueError: as for ``torus_log_z``.
    """
    _check(num_rows, num_columns, coupling)
    at = jnp.asarray(coupling, float)
    slope = jax.grad(_log_z)
    return (
        -at * slope(at, num_rows, num_columns),
        at * jnp.sqrt(jax.grad(slope)(at, num_rows, num_columns)),
    )


def _check(num_rows: int, num_columns: int, coupling: float) -> None:
    _checks.check_whole("num_rows", num_rows, 3)
    _checks.check_whole("num_columns", num_columns, 3)
    _checks.check_positive("coupling", coupling)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _log_z(coupling: Array, m: int, n: int) -> Array:
    double = 2.0 * coupling
    cosh_gamma = jnp.cosh(double) / jnp.tanh(double) - jnp.cos(jnp.pi * jnp.arange(1, 2 * n) / n)
    zero = double + jnp.log(jnp.tanh(coupling))
    gamma = jnp.concatenate([zero[None], jnp.arccosh(cosh_gamma)])

    def pair(half: Array) -> Array:
        """Return log (Π 2 cosh + Π 2 sinh)."""
        return jnp.logaddexp(half, -half).sum() + jnp.log1p(jnp.prod(jnp.tanh(half)))

    odd, even = pair(m * gamma[1::2] / 2.0), pair(m * gamma[::2] / 2.0)
    return m * n / 2.0 * jnp.log(2.0 * jnp.sinh(double)) + jnp.logaddexp(odd, even) - jnp.log(2.0)
