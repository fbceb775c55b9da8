"""Bridge sampling: log Z from weights at draws of the base and at draws of the target.

Importance sampling reads the weights of base draws alone, reverse importance sampling those of
target draws alone, and each fails where the other law has tails that it does not reach. The bridge
reads both and needs only that the two laws overlap.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import check_at_least, check_no_nan, check_positive, check_rank
from mnar_ebm.samplers.importance import log_mean_exp
from mnar_ebm.types import Array

__all__ = ["BridgeEstimate", "bridge"]


class BridgeEstimate(NamedTuple):
    """The estimate from the weights of both laws.

    Attributes:
        log_z: the estimate. []
        log_z_standard_error: the root of its relative mean squared error. []
        overlap: ∫ p q / (s_1 p + s_0 q): 1 if the laws are the same, 0 if they do not touch; below
            a few hundredths the error, too, is unreliable. []
        num_iterations: of the fixed point. []
        is_converged: whether the last iteration changed nothing but rounding. []
    """

    log_z: Array
    log_z_standard_error: Array
    overlap: Array
    num_iterations: Array
    is_converged: Array


def bridge(
    log_w_base: Array,
    log_w_target: Array,
    *,
    target_inefficiency: float | Array = 1.0,
    max_num_iterations: int = 1000,
) -> BridgeEstimate:
    """Estimate log Z, of w = p̃/q with q the base and p = p̃/Z the target, by the optimal bridge.

        Z = E_q[f_0] Z / E_p[f_1],    f_0 = p / (s_1 p + s_0 q),    f_1 = q / (s_1 p + s_0 q)

    for any Z that f_0 and f_1 are given, s_0 and s_1 being the shares of the draws; it is iterated
    to its fixed point, where both means are the overlap. The squared error of N_0 and N_1 draws:

        var_q(f_0) / (N_0 E_q[f_0]²) + τ var_p(f_1) / (N_1 E_p[f_1]²)

    Both sets may be those of ``ais`` and ``reverse_ais``: then p and q are laws of whole paths.

    Args:
        log_w_base: log p̃ - log q at draws of the base, independent ones; ``-inf`` is allowed. [N]
        log_w_target: the same at draws of the target; another number of them. [N]
        target_inefficiency: τ, draws of the target to one that is independent: N_1 / ESS, of a
            chain. It enters the error alone. []
        max_num_iterations: where to stop if the fixed point is not reached.

    Returns:
        The estimate.

    Raises:
        ValueError: ``max_num_iterations`` is below 1, ``target_inefficiency`` is a number and not
            positive, or a weight is NaN.

    Examples:
        >>> key_base, key_target = jax.random.split(jax.random.key(0))
        >>> base = jax.random.normal(key_base, (1000,))
        >>> target = 1 + jax.random.normal(key_target, (1000,))  # N(0, 1) tilted by exp(x)
        >>> estimate = bridge(base, target)
        >>> abs(float(estimate.log_z) - 0.5) < 4 * float(estimate.log_z_standard_error)
        True

    References:
        Xiao-Li Meng and Wing Hung Wong, "Simulating ratios of normalizing constants via a simple
        identity: a theoretical exploration", Statistica Sinica 6(4), 1996,
        https://www3.stat.sinica.edu.tw/statistica/j6n4/j6n43/j6n43.htm.
        Sylvia Frühwirth-Schnatter, "Estimating marginal likelihoods for mixture and Markov
        switching models using bridge sampling techniques", The Econometrics Journal 7(1), 2004,
        https://doi.org/10.1111/j.1368-423X.2004.00125.x (the error).
    """
    for name, log_w in (("log_w_base", log_w_base), ("log_w_target", log_w_target)):
        check_rank(name, log_w)
        check_no_nan(name, log_w)
    check_at_least("max_num_iterations", max_num_iterations)
    check_positive("target_inefficiency", target_inefficiency)
    centre = jnp.median(log_w_target)  # near log Z there is more precision to iterate with
    log_w_base, log_w_target = log_w_base - centre, log_w_target - centre
    tolerance = 100 * jnp.finfo(log_w_target.dtype).eps

    def iterate(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        log_z, _, iteration = carry
        log_f_base, log_f_target = log_bridge(log_w_base, log_w_target, log_z)
        change = log_mean_exp(log_f_base) - log_mean_exp(log_f_target)
        return log_z + change, change, iteration + 1

    def goes_on(carry: tuple[Array, Array, Array]) -> Array:
        _, change, iteration = carry
        return (jnp.abs(change) > tolerance) & (iteration < max_num_iterations)

    zero = jnp.zeros_like(centre)
    start = (zero, jnp.full_like(zero, jnp.inf), jnp.zeros((), int))
    log_z, change, num_iterations = jax.lax.while_loop(goes_on, iterate, start)
    f_base, f_target = map(jnp.exp, log_bridge(log_w_base, log_w_target, log_z))
    squared_error = _relative_variance(f_base) + target_inefficiency * _relative_variance(f_target)
    is_converged = jnp.abs(change) <= tolerance
    return BridgeEstimate(
        centre + log_z, jnp.sqrt(squared_error), jnp.mean(f_target), num_iterations, is_converged
    )


def log_bridge(log_w_base: Array, log_w_target: Array, log_z: Array) -> tuple[Array, Array]:
    """Compute log f_0 at draws of the base and log f_1 at draws of the target.

        f_0 = (w/Z) / (s_1 w/Z + s_0) = σ(u) / s_1,        u = log w - log Z + log(s_1 / s_0)
        f_1 = 1 / (s_1 w/Z + s_0) = σ(-u) / s_0

    Args:
        log_w_base: log-weights. [N]
        log_w_target: log-weights. [N]
        log_z: log Z. []

    Returns:
        Both, each as long as its draws. [N], [N]

    References:
        As for ``bridge``.
    """
    size_base, size_target = log_w_base.size, log_w_target.size
    offset = math.log(size_target / size_base) - log_z
    log_share_base = math.log(size_base / (size_base + size_target))
    log_share_target = math.log(size_target / (size_base + size_target))
    log_f_base = jax.nn.log_sigmoid(log_w_base + offset) - log_share_target
    return log_f_base, jax.nn.log_sigmoid(-log_w_target - offset) - log_share_base


def _relative_variance(f: Array) -> Array:
    """Compute var(f) / (N mean(f)²), the squared relative error of a mean."""
    return jnp.mean((f / jnp.mean(f) - 1) ** 2) / max(f.size - 1, 1)
