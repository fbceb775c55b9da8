r"""The restricted Boltzmann machine of binary units: energy, conditionals, Gibbs, exact sums.

    E(v, h) = -b·v - c·h - v W h,      p(v, h) = exp(-E(v, h)) / Z,      v in {0,1}^V, h in {0,1}^H

Each bias is counted once. With the hidden units summed out, the free energy is minus the log of the
sum over h of exp(-E), and p(v) = exp(-F(v)) / Z:

    F(v) = -b·v - Σ_j log(1 + exp(c_j + (v W)_j))

The units of a side are independent given the other side, so that a sweep of Gibbs draws each side
at once, all chains as one matrix product. It is of energy form with a uniform reference; what is
exact is exact for as many units as a side can be enumerated with (``MAX_UNITS``).

References:
    G. E. Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2012,
    https://doi.org/10.1007/978-3-642-35289-8_32, eqs. 7, 8 and 11.
    A. Fischer, C. Igel, "Training Restricted Boltzmann Machines: An Introduction", Pattern
    Recognition 47, 2014, eqs. 20 to 24.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array, Key

MAX_UNITS = 20
"""Most units of the smaller side whose states are summed over: a million."""

CHUNK = 2**12
"""States that are looked at at once."""


class RBM(NamedTuple):
    """Parameters of a machine.

    Attributes:
        visible: b. [V]
        hidden: c. [H]
        weights: W. [V, H]
    """

    visible: Array
    hidden: Array
    weights: Array


def init(key: Key, rate: Array, num_hidden: int, scale: float = 0.01) -> RBM:
    """Return a machine whose visible units are nearly independent, each on as often as is told.

    Args:
        key: random key.
        rate: how often each visible unit is on, kept off 0 and 1 by the caller. [V]
        num_hidden: H.
        scale: standard deviation of the weights.

    Raises:
        ValueError: a rate is not strictly between 0 and 1, or there is no unit.
    """
    if num_hidden < 1 or rate.ndim != 1 or not rate.shape[0]:
        raise ValueError(f"rbm: expected units on both sides, got {rate.shape} and {num_hidden}")
    if not bool(((rate > 0) & (rate < 1)).all()):
        raise ValueError("rate: expected values strictly between 0 and 1")
    weights = scale * jax.random.normal(key, (rate.shape[0], num_hidden))
    return RBM(jax.scipy.special.logit(rate), jnp.zeros(num_hidden), weights)


def energy(rbm: RBM, v: Array, h: Array) -> Array:
    """Return E(v, h). [..., V], [..., H] -> [...]."""
    return -v @ rbm.visible - h @ rbm.hidden - ((v @ rbm.weights) * h).sum(axis=-1)


def free_energy(rbm: RBM, v: Array) -> Array:
    """Return F(v), in nats. [..., V] -> [...]."""
    return -v @ rbm.visible - jax.nn.softplus(rbm.hidden + v @ rbm.weights).sum(axis=-1)


def hidden_logits(rbm: RBM, v: Array) -> Array:
    """Return logit P(h_j = 1|v), the features of a row. [..., V] -> [..., H]."""
    return rbm.hidden + v @ rbm.weights


def visible_logits(rbm: RBM, h: Array) -> Array:
    """Return logit P(v_i = 1|h). [..., H] -> [..., V]."""
    return rbm.visible + h @ rbm.weights.T


def transpose(rbm: RBM) -> RBM:
    """Return the machine with its sides exchanged."""
    return RBM(rbm.hidden, rbm.visible, rbm.weights.T)


def draw(key: Key, logits: Array) -> Array:
    """Return units that are on with these log-odds, as floats: a uniform below a threshold."""
    on = jax.random.uniform(key, logits.shape, logits.dtype) < jax.nn.sigmoid(logits)
    return on.astype(logits.dtype)


def sweep(key: Key, rbm: RBM, v: Array) -> Array:
    """Return chains after a sweep: h given v, then v given h. [C, V] -> [C, V].

    It leaves p(v) as it is, and is reversible.
    """
    key_h, key_v = jax.random.split(key)
    return draw(key_v, visible_logits(rbm, draw(key_h, hidden_logits(rbm, v))))


def gibbs(key: Key, rbm: RBM, v: Array, num_sweeps: int) -> Array:
    """Return chains after so many sweeps. [C, V] -> [C, V]."""

    def step(v: Array, key: Key) -> tuple[Array, None]:
        return sweep(key, rbm, v), None

    return jax.lax.scan(step, v, jax.random.split(key, num_sweeps))[0]


def log_z(rbm: RBM) -> Array:
    """Return log Z, by a sum over all states of the smaller side, in chunks. [].

    Raises:
        ValueError: both sides have more than ``MAX_UNITS`` units.
    """
    smaller = rbm if rbm.weights.shape[0] <= rbm.weights.shape[1] else transpose(rbm)
    return jax.nn.logsumexp(_over_states(smaller))


def sample(key: Key, rbm: RBM, num_samples: int) -> Array:
    """Return independent draws of p(v), exact where a side can be enumerated. [N, V].

    Raises:
        ValueError: both sides have more than ``MAX_UNITS`` units.
    """
    key_state, key_other = jax.random.split(key)
    is_few_visible = rbm.weights.shape[0] <= rbm.weights.shape[1]
    smaller = rbm if is_few_visible else transpose(rbm)
    chosen = jax.random.categorical(key_state, _over_states(smaller), shape=(num_samples,))
    units = _states(chosen, smaller.visible.shape[0], rbm.weights.dtype)
    return units if is_few_visible else draw(key_other, visible_logits(rbm, units))


def log_likelihood(rbm: RBM, v: Array, log_z: Array | float) -> Array:
    """Return log p(v), in nats, for a log Z that was computed or estimated. [..., V] -> [...]."""
    return -free_energy(rbm, v) - log_z


def pseudo_log_likelihood(rbm: RBM, v: Array) -> Array:
    """Return Σ_i log p(v_i|v_others), exactly, without log Z. [V] -> [].

        log p(v_i|others) = log sigmoid(F(v with i flipped) - F(v))

    References:
        J. Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 24, 1975.
    """
    change = 1.0 - 2.0 * v  # of each unit, if it is flipped
    logits = hidden_logits(rbm, v)
    flipped = logits + change[:, None] * rbm.weights
    up = change * rbm.visible + (jax.nn.softplus(flipped) - jax.nn.softplus(logits)).sum(axis=1)
    return jax.nn.log_sigmoid(-up).sum()


def _over_states(rbm: RBM) -> Array:
    """Return -F of every state of the visible side. [2^V]."""
    num_units = rbm.visible.shape[0]
    if num_units > MAX_UNITS:
        raise ValueError(
            f"rbm: expected at most {MAX_UNITS} units on one side to sum over, got "
            f"{num_units} on the smaller: use brackets (boltzmann.annealed)"
        )
    numbers = jnp.arange(2**num_units)
    size = min(CHUNK, 2**num_units)

    def of_chunk(numbers: Array) -> Array:
        return -free_energy(rbm, _states(numbers, num_units, rbm.weights.dtype))

    return jax.lax.map(of_chunk, numbers.reshape(-1, size)).ravel()


def _states(numbers: Array, num_units: int, dtype: jnp.dtype) -> Array:
    """Return the bits of numbers, as states of units. [N] -> [N, V]."""
    return ((numbers[:, None] >> jnp.arange(num_units)) & 1).astype(dtype)
