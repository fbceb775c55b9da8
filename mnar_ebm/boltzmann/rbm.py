r"""The restricted Boltzmann machine, hidden units bits: energy, conditionals, Gibbs, exact sums.

With bits as visible units, of which other kinds (``boltzmann.visible``) are variations,

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

import jax
import jax.numpy as jnp

from mnar_ebm.boltzmann.visible import BINARY, GAUSSIAN, RBM, Visible, check_rows, draw
from mnar_ebm.samplers.importance import sir
from mnar_ebm.types import Array, Key

__all__ = [
    "MAX_UNITS",
    "RBM",
    "check_units",
    "draw",
    "energy",
    "free_energy",
    "gibbs",
    "hidden_logits",
    "init",
    "init_at",
    "hyvarinen_score",
    "log_likelihood",
    "log_z",
    "log_z_independent",
    "over_hidden",
    "pseudo_log_likelihood",
    "sample",
    "sample_independent",
    "states",
    "sweep",
    "transpose",
    "visible_logits",
]

MAX_UNITS = 20
"""Most units of the smaller side whose states are summed over: a million."""

CHUNK = 2**12
"""States that are looked at at once."""


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
    _check_sides(rate, num_hidden)
    if not bool(((rate > 0) & (rate < 1)).all()):
        raise ValueError("rate: expected values strictly between 0 and 1")
    weights = scale * jax.random.normal(key, (rate.shape[0], num_hidden))
    return RBM(jax.scipy.special.logit(rate), jnp.zeros(num_hidden), weights)


def init_at(
    key: Key, rows: Array, num_hidden: int, kind: Visible = BINARY, scale: float = 0.01
) -> RBM:
    """Return a machine whose visible units are nearly independent, each with the law of its column.

    Bits and levels are counted with one row of each more, so that no rate is 0 or 1. Gaussians have
    the mean and the standard deviation of their column.

    Args:
        key: random key.
        rows: data. [N, V]
        num_hidden: H.
        kind: of the visible units.
        scale: standard deviation of the weights, of Gaussian units times that of their column.

    Raises:
        ValueError: rows are not of this kind, or there is no unit.
    """
    check_rows(kind, rows)
    _check_sides(rows[0], num_hidden)
    weights = scale * jax.random.normal(key, (rows.shape[1], num_hidden))
    if kind is GAUSSIAN:
        spread = jnp.maximum(rows.std(axis=0), 1e-3)
        hidden = jnp.zeros(num_hidden)
        return RBM(rows.mean(axis=0), hidden, spread[:, None] * weights, jnp.log(spread))
    num_values = max(kind.num_levels, 2)
    rate = (rows.sum(axis=0) + 1.0) / (len(rows) + num_values)
    bias = jax.scipy.special.logit(rate) if kind.num_levels == 1 else jnp.log(rate)
    return RBM(bias, jnp.zeros(num_hidden), weights)


def energy(rbm: RBM, v: Array, h: Array, kind: Visible = BINARY) -> Array:
    """Return E(v, h). [..., V], [..., H] -> [...]."""
    statistics = kind.statistics(rbm, v)
    pairs = ((statistics @ rbm.weights) * h).sum(axis=-1)
    return -kind.log_reference(rbm, v) - statistics @ rbm.visible - h @ rbm.hidden - pairs


def free_energy(rbm: RBM, v: Array, kind: Visible = BINARY) -> Array:
    """Return F(v), in nats. [..., V] -> [...]."""
    statistics = kind.statistics(rbm, v)
    of_hidden = jax.nn.softplus(rbm.hidden + statistics @ rbm.weights).sum(axis=-1)
    return -kind.log_reference(rbm, v) - statistics @ rbm.visible - of_hidden


def hidden_logits(rbm: RBM, v: Array, kind: Visible = BINARY) -> Array:
    """Return logit P(h_j = 1|v), the features of a row. [..., V] -> [..., H]."""
    return rbm.hidden + kind.statistics(rbm, v) @ rbm.weights


def visible_logits(rbm: RBM, h: Array) -> Array:
    """Return η = b + W h, of bits logit P(v_i = 1|h). [..., H] -> [..., V]."""
    return rbm.visible + h @ rbm.weights.T


def transpose(rbm: RBM) -> RBM:
    """Return the machine of bits with its sides exchanged."""
    return RBM(rbm.hidden, rbm.visible, rbm.weights.T)


def sweep(key: Key, rbm: RBM, v: Array, kind: Visible = BINARY) -> Array:
    """Return chains after a sweep: h given v, then v given h. [C, V] -> [C, V].

    It leaves p(v) as it is, and is reversible.
    """
    key_h, key_v = jax.random.split(key)
    h = draw(key_h, hidden_logits(rbm, v, kind))
    return kind.draw(key_v, rbm, visible_logits(rbm, h))


def gibbs(key: Key, rbm: RBM, v: Array, num_sweeps: int, kind: Visible = BINARY) -> Array:
    """Return chains after so many sweeps. [C, V] -> [C, V]."""

    def step(v: Array, key: Key) -> tuple[Array, None]:
        return sweep(key, rbm, v, kind), None

    return jax.lax.scan(step, v, jax.random.split(key, num_sweeps))[0]


def log_z(rbm: RBM, kind: Visible = BINARY) -> Array:
    """Return log Z, by a sum over all states of the hidden side, or of fewer bits. [].

    Raises:
        ValueError: there are more than ``MAX_UNITS`` units to sum over.
    """
    return jax.nn.logsumexp(over_hidden(_with_few_hidden(rbm, kind), kind))


def sample(key: Key, rbm: RBM, num_samples: int, kind: Visible = BINARY) -> Array:
    """Return independent draws of p(v), exact where a side can be enumerated. [N, V].

    Raises:
        ValueError: there are more than ``MAX_UNITS`` units to sum over.
    """
    key_state, key_other = jax.random.split(key)
    turned = _with_few_hidden(rbm, kind)
    chosen = sir(key_state, over_hidden(turned, kind), num_samples)
    units = states(chosen, turned.hidden.shape[0], rbm.weights.dtype)
    return units if turned is not rbm else kind.draw(key_other, rbm, visible_logits(rbm, units))


def log_z_independent(rbm: RBM, kind: Visible = BINARY) -> Array:
    """Return log Z of a machine whose weights are 0, Σ_i A_i(b_i) + Σ_j softplus(c_j). []."""
    return kind.log_partition(rbm, rbm.visible).sum() + jax.nn.softplus(rbm.hidden).sum()


def sample_independent(key: Key, rbm: RBM, num_samples: int, kind: Visible = BINARY) -> Array:
    """Return independent draws of a machine whose weights are 0. [N, V]."""
    return kind.draw(key, rbm, jnp.broadcast_to(rbm.visible, (num_samples, *rbm.visible.shape)))


def log_likelihood(rbm: RBM, v: Array, log_z: Array | float, kind: Visible = BINARY) -> Array:
    """Return log p(v), in nats, for a log Z that was computed or estimated. [..., V] -> [...]."""
    return -free_energy(rbm, v, kind) - log_z


def pseudo_log_likelihood(rbm: RBM, v: Array, kind: Visible = BINARY) -> Array:
    """Return Σ_i log p(v_i|v_others), exactly, without log Z. [V] -> [].

    A unit is a bit, or a group of levels; of bits

        log p(v_i|others) = log sigmoid(F(v with i flipped) - F(v))

    Raises:
        ValueError: units are Gaussian, whose conditionals are mixtures: ``hyvarinen_score``.

    References:
        J. Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 24, 1975.
    """
    if kind is GAUSSIAN:
        raise ValueError("kind: expected bits or levels, got gaussian: use hyvarinen_score")
    logits = hidden_logits(rbm, v)
    if kind.num_levels > 1:
        return _pseudo_of_levels(rbm, v, logits, kind.num_levels)
    change = 1.0 - 2.0 * v  # of each unit, if it is flipped
    flipped = logits + change[:, None] * rbm.weights
    up = change * rbm.visible + (jax.nn.softplus(flipped) - jax.nn.softplus(logits)).sum(axis=1)
    return jax.nn.log_sigmoid(-up).sum()


def _pseudo_of_levels(rbm: RBM, v: Array, logits: Array, num_levels: int) -> Array:
    """Return Σ_g log p(v_g|others), from -F of every level of every group. []."""
    weights = rbm.weights.reshape(-1, num_levels, rbm.hidden.shape[0])
    groups = v.reshape(-1, num_levels)
    others = logits - jnp.einsum("gk,gkh->gh", groups, weights)
    rise = jax.nn.softplus(others[:, None] + weights).sum(axis=-1)
    log_p = jax.nn.log_softmax(rbm.visible.reshape(-1, num_levels) + rise, axis=-1)
    return (groups * log_p).sum()


def hyvarinen_score(rbm: RBM, v: Array) -> Array:
    """Return the score of a row of Gaussian units that needs no log Z: the higher the better. [].

        -Σ_i ½ (∂_i log p(v))² + ∂_i² log p(v),      ∂_i log p = (b_i - v_i + (W σ)_i) / s_i²

    In expectation it is highest for the law of the data, as a likelihood is.

    References:
        A. Hyvärinen, "Estimation of Non-Normalized Statistical Models by Score Matching", JMLR 6,
        2005, eq. 4.
    """
    precision = jnp.exp(-2.0 * jnp.asarray(rbm.log_scale))
    on = jax.nn.sigmoid(hidden_logits(rbm, v, GAUSSIAN))
    slope = precision * (rbm.visible - v + rbm.weights @ on)
    curvature = precision**2 * (rbm.weights**2 @ (on * (1.0 - on))) - precision
    return -(0.5 * slope**2 + curvature).sum()


def over_hidden(rbm: RBM, kind: Visible = BINARY) -> Array:
    """Return log Σ_v exp(-E(v, h)) of every state of the hidden side, in chunks. [2^H].

        c·h + A(b + W h)

    Raises:
        ValueError: there are more than ``MAX_UNITS`` hidden units.
    """
    num_units = rbm.hidden.shape[0]
    check_units(num_units)

    def of_state(number: Array) -> Array:
        h = states(number, num_units, rbm.weights.dtype)
        eta = visible_logits(rbm, h)
        return h @ rbm.hidden + kind.log_partition(rbm, eta).sum(axis=-1)

    return jax.lax.map(of_state, jnp.arange(2**num_units), batch_size=CHUNK)


def states(numbers: Array, num_units: int, dtype: jnp.dtype) -> Array:
    """Return the bits of numbers, as states of units. [...] -> [..., H]."""
    return ((numbers[..., None] >> jnp.arange(num_units)) & 1).astype(dtype)


def check_units(num_units: int) -> None:
    """Raise ``ValueError`` if so many units have too many states for a sum."""
    if num_units > MAX_UNITS:
        raise ValueError(
            f"rbm: expected at most {MAX_UNITS} units on one side to sum over, got "
            f"{num_units} on the smaller: use brackets (boltzmann.annealed)"
        )


def _with_few_hidden(rbm: RBM, kind: Visible) -> RBM:
    """Return the machine, or that with its sides exchanged if these are bits and fewer visible."""
    is_turned = kind is BINARY and rbm.weights.shape[0] <= rbm.weights.shape[1]
    return transpose(rbm) if is_turned else rbm


def _check_sides(row: Array, num_hidden: int) -> None:
    if num_hidden < 1 or row.ndim != 1 or not row.shape[0]:
        raise ValueError(f"rbm: expected units on both sides, got {row.shape} and {num_hidden}")
