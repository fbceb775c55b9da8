r"""log Z of a machine that cannot be enumerated, from below and from above.

From independent bits with biases b_0, hidden units summed out, to the machine:

    f_β(v) = exp((1 - β) b_0·v + β b·v) Π_j (1 + exp(β (c_j + (v W)_j))),   0 = β_0 < ... < β_T = 1

so that Z_0 = 2^H Π_i (1 + exp(b_0i)) and Z_1 = Z. A sweep of Gibbs at the machine with biases
(1 - β) b_0 + β b, β c and weights β W leaves f_β as it is. Forward from draws of the bits,

    log w = Σ_t log f_(β_t)(v_(t-1)) - log f_(β_(t-1))(v_(t-1)),      E w = Z / Z_0

and backward from draws of the machine E 1/w = Z_0 / Z: of the logs, the first is below log Z in
expectation and the second above, so that together they bracket it. **The second holds only for
exact draws of the machine**: from chains that have not crossed, it may be below log Z too.

A likelihood by the forward estimate alone is too high. The path is not linear in β, and its kernel
needs more than a log-density, so that it is not one of ``samplers.ais``.

References:
    R. Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008,
    https://doi.org/10.1145/1390156.1390266, sec. 4.
    R. Grosse, Z. Ghahramani, R. Adams, "Sandwiching the Marginal Likelihood Using Bidirectional
    Monte Carlo", 2015, https://arxiv.org/abs/1511.02543.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.rbm import RBM
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
)
from mnar_ebm.types import Array, Key


class Side(NamedTuple):
    """One side of a bracket.

    Attributes:
        log_z: the estimate, in nats. []
        standard_error: of it, as far as the paths reach. []
        effective_sample_size: of the paths; if it is near 1, trust nothing. []
    """

    log_z: Array
    standard_error: Array
    effective_sample_size: Array


class Bracket(NamedTuple):
    """log Z from below and from above, in expectation.

    Attributes:
        lower: by paths from independent bits.
        upper: by paths from draws of the machine.
    """

    lower: Side
    upper: Side


def bracket(
    key: Key,
    rbm: RBM,
    base_bias: Array,
    target_draws: Array,
    num_temperatures: int = 1000,
    num_paths: int = 100,
) -> Bracket:
    """Return log Z from below and from above.

    Args:
        key: random key.
        rbm: the machine.
        base_bias: b_0, as the logits of the data's means. [V]
        target_draws: exact draws of the machine (``rbm.sample``), or of long chains, which is then
            to be said: what is above log Z with the former may not be with the latter. [N, V]
        num_temperatures: T.
        num_paths: paths from below; from above there is one for each draw.
    """
    key_start, key_up, key_down = jax.random.split(key, 3)
    betas = jnp.linspace(0.0, 1.0, num_temperatures + 1)
    logits = jnp.broadcast_to(base_bias, (num_paths, base_bias.shape[0]))
    up = _log_weights(key_up, rbm, base_bias, machines.draw(key_start, logits), betas, True)
    down = _log_weights(key_down, rbm, base_bias, target_draws, betas, False)
    log_z_base = jax.nn.softplus(base_bias).sum() + rbm.hidden.shape[0] * jnp.log(2.0)
    return Bracket(_side(up, log_z_base, 1.0), _side(-down, log_z_base, -1.0))


def _side(log_w: Array, log_z_base: Array, sign: float) -> Side:
    return Side(
        log_z_base + sign * log_mean_exp(log_w),
        log_mean_exp_standard_error(log_w),
        effective_sample_size(log_w),
    )


@functools.partial(jax.jit, static_argnums=5)
def _log_weights(
    key: Key, rbm: RBM, base_bias: Array, start: Array, betas: Array, upwards: bool
) -> Array:
    """Return log w of each path, which begins at ``start`` [N, V]. [N]."""

    def at(beta: Array) -> RBM:
        visible = (1.0 - beta) * base_bias + beta * rbm.visible
        return RBM(visible, beta * rbm.hidden, beta * rbm.weights)

    def log_ratio(v: Array, below: Array, above: Array) -> Array:
        return machines.free_energy(at(below), v) - machines.free_energy(at(above), v)

    def step(
        carry: tuple[Array, Array], now: tuple[Key, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        v, log_w = carry
        key, below, above = now
        if upwards:
            log_w = log_w + log_ratio(v, below, above)
            return (machines.sweep(key, at(above), v), log_w), None
        v = machines.sweep(key, at(above), v)
        return (v, log_w + log_ratio(v, below, above)), None

    keys = jax.random.split(key, betas.shape[0] - 1)
    order = (keys, betas[:-1], betas[1:])
    zeros = jnp.zeros(start.shape[0], start.dtype)
    return jax.lax.scan(step, (start, zeros), order, reverse=not upwards)[0][1]
