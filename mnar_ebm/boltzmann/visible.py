r"""What the visible units of a machine may be: bits, Gaussians, or groups of levels.

Given hidden units each kind is an exponential family with natural parameters η = b + W h:

    E(v, h) = -log r(v) - t(v)·η(h) - c·h,          A(η) = log ∫ r(v) exp(t(v)·η) dv

so that F(v) = -log r(v) - t(v)·b - Σ_j softplus(c_j + (t(v) W)_j), and, with v integrated out,
Z = Σ_h exp(c·h + A(b + W h)). A kind is its t, r and A, how it is drawn, and its mean:

| kind | v | t(v) | log r(v) | A(η) |
|---|---|---|---|---|
| binary | 0 or 1 | v | 0 | Σ_i softplus(η_i) |
| gaussian | real | v/s² | -Σ_i v_i²/(2 s_i²) | Σ_i η_i²/(2 s_i²) + log(2π s_i²)/2 |
| multinomial | groups of K, one on | v | 0 | Σ_g log Σ_(i in g) exp(η_i) |

Gaussian units are N(b + W h, s²), and the energy is Σ (v - b)²/(2s²) - c·h - (v/s²)·W h but for a
constant, Σ b²/(2s²). The standard deviations are parameters, as logs.

References:
    M. Welling, M. Rosen-Zvi, G. E. Hinton, "Exponential Family Harmoniums with an Application to
    Information Retrieval", NeurIPS 2004, eqs. 2 to 8.
    K. Cho, A. Ilin, T. Raiko, "Improved Learning of Gaussian-Bernoulli Restricted Boltzmann
    Machines", ICANN 2011, https://doi.org/10.1007/978-3-642-21735-7_2, eq. 3 (v/s² with W).
    R. Salakhutdinov, A. Mnih, G. E. Hinton, "Restricted Boltzmann Machines for Collaborative
    Filtering", ICML 2007, https://doi.org/10.1145/1273496.1273596, eqs. 1 and 2 (multinomial).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.types import Array, Key


class RBM(NamedTuple):
    """Parameters of a machine.

    Attributes:
        visible: b. [V]
        hidden: c. [H]
        weights: W. [V, H]
        log_scale: log s of Gaussian visible units; empty of others. [V]
    """

    visible: Array
    hidden: Array
    weights: Array
    log_scale: Array | tuple[()] = ()


class Visible(NamedTuple):
    """A kind of visible units: functions of the machine and of what they are given.

    Attributes:
        name: what it is called.
        num_levels: K, levels of a group; 1: units are on their own.
        statistics: ``(rbm, v) -> t(v)``. [..., V] -> [..., V]
        log_reference: ``(rbm, v) -> log r(v)``. [..., V] -> [...]
        log_partition: ``(rbm, eta) -> A(η)``, the part of each unit. [..., V] -> [..., V]
        mean: ``(rbm, eta) -> E v``. [..., V] -> [..., V]
        draw: ``(key, rbm, eta) -> v``. [..., V] -> [..., V]
        is_valid: ``(v) -> which``, whether each unit may be what it is. [..., V] -> [..., V]
        expected: what it should be, in words.
    """

    name: str
    num_levels: int
    statistics: Callable[[RBM, Array], Array]
    log_reference: Callable[[RBM, Array], Array]
    log_partition: Callable[[RBM, Array], Array]
    mean: Callable[[RBM, Array], Array]
    draw: Callable[[Key, RBM, Array], Array]
    is_valid: Callable[[np.ndarray], np.ndarray]
    expected: str


def draw(key: Key, logits: Array) -> Array:
    """Return bits that are on with these log-odds, as floats: a uniform below a threshold."""
    rows = logits.reshape(-1, logits.shape[-1])
    on = _uniforms(key, rows.shape[0], rows.shape[1], logits.dtype).reshape(
        logits.shape
    ) < jax.nn.sigmoid(logits)
    return on.astype(logits.dtype)


def _uniforms(key: Key, num_rows: int, num_columns: int, dtype: jnp.dtype) -> Array:
    """Return uniforms of 24 bits, each of which costs half a random word. [R, C].

    The upper 16 bits of each are its own. Those below only decide where the upper ones tie with a
    threshold, once in 65,536: they are a word of the row plus a word of the column, uniform and
    independent but for the four at the corners of a rectangle.
    """
    num_words, num_more = -(-num_rows // 2), -(-num_rows // num_columns)
    with jax.threefry_partitionable(False):  # both words of a block are used, not their sum
        words = jax.random.bits(key, (num_words + 1 + num_more, num_columns), jnp.uint32)
    words = jax.lax.optimization_barrier(words)  # or they are computed once for either half
    upper = jnp.concatenate([words[:num_words] >> 16, words[:num_words] & 0xFFFF])[:num_rows]
    of_row = words[num_words + 1 :].ravel()[:num_rows, None]
    both = (upper << 16) | ((of_row + words[num_words]) >> 16)
    return (both >> 8).astype(jnp.int32).astype(dtype) * 2.0**-24


def _nothing(rbm: RBM, v: Array) -> Array:
    return jnp.zeros_like(jnp.asarray(v)[..., 0])


BINARY = Visible(
    name="binary",
    num_levels=1,
    statistics=lambda rbm, v: v,
    log_reference=_nothing,
    log_partition=lambda rbm, eta: jax.nn.softplus(eta),
    mean=lambda rbm, eta: jax.nn.sigmoid(eta),
    draw=lambda key, rbm, eta: draw(key, eta),
    is_valid=lambda v: (v >= 0) & (v <= 1),
    expected="values from 0 to 1",
)
"""Bits. What lies between 0 and 1 is taken for how likely a unit is on, as is common."""


def _precision(rbm: RBM) -> Array:
    return jnp.exp(-2.0 * jnp.asarray(rbm.log_scale))


GAUSSIAN = Visible(
    name="gaussian",
    num_levels=1,
    statistics=lambda rbm, v: v * _precision(rbm),
    log_reference=lambda rbm, v: -0.5 * (v**2 * _precision(rbm)).sum(axis=-1),
    log_partition=lambda rbm, eta: (
        0.5 * eta**2 * _precision(rbm) + 0.5 * jnp.log(2 * jnp.pi) + jnp.asarray(rbm.log_scale)
    ),
    mean=lambda rbm, eta: eta,
    draw=lambda key, rbm, eta: (
        eta + jnp.exp(jnp.asarray(rbm.log_scale)) * jax.random.normal(key, eta.shape, eta.dtype)
    ),
    is_valid=np.isfinite,
    expected="finite values",
)
"""Real numbers, each with a standard deviation of its own given the hidden units."""


@functools.cache
def multinomial(num_levels: int) -> Visible:
    """Return the kind of V/K groups of K units of which one is on: the levels of a category.

    Args:
        num_levels: K, the same for all groups.

    Raises:
        ValueError: there are fewer than two levels.
    """
    if num_levels < 2:
        raise ValueError(f"num_levels: expected at least 2, got {num_levels}")

    def grouped(eta: Array) -> Array:
        return eta.reshape(*eta.shape[:-1], -1, num_levels)

    def log_partition(rbm: RBM, eta: Array) -> Array:
        of_group = jax.nn.logsumexp(grouped(eta), axis=-1) / num_levels
        return jnp.repeat(of_group, num_levels, axis=-1)

    def mean(rbm: RBM, eta: Array) -> Array:
        return jax.nn.softmax(grouped(eta), axis=-1).reshape(eta.shape)

    def draw_levels(key: Key, rbm: RBM, eta: Array) -> Array:
        level = jax.random.categorical(key, grouped(eta))
        return jax.nn.one_hot(level, num_levels, dtype=eta.dtype).reshape(eta.shape)

    def is_valid(v: np.ndarray) -> np.ndarray:
        groups = v.reshape(*v.shape[:-1], -1, num_levels)
        is_one = ((groups >= 0).all(axis=-1)) & (np.abs(groups.sum(axis=-1) - 1) < 1e-4)
        return np.repeat(is_one, num_levels, axis=-1)

    return Visible(
        name="multinomial",
        num_levels=num_levels,
        statistics=lambda rbm, v: v,
        log_reference=_nothing,
        log_partition=log_partition,
        mean=mean,
        draw=draw_levels,
        is_valid=is_valid,
        expected=f"groups of {num_levels} levels that are not negative and sum to 1",
    )


def check_rows(kind: Visible, v: Array | np.ndarray, name: str = "rows") -> None:
    """Raise ``ValueError`` unless rows are what visible units of this kind may be.

    Args:
        kind: of the visible units.
        v: rows, none of them with gaps. [N, V]
        name: what they are called in the message.

    Raises:
        ValueError: rows are no table, have gaps, or a value that such a unit has not.
    """
    table = np.asarray(v)
    if table.ndim != 2 or 0 in table.shape or table.shape[1] % kind.num_levels:
        groups = f" in groups of {kind.num_levels}" if kind.num_levels > 1 else ""
        raise ValueError(f"{name}: expected [rows, units{groups}], got shape {table.shape}")
    if np.isnan(table).any():
        row, unit = np.argwhere(np.isnan(table))[0]
        raise ValueError(
            f"{name}: expected no gaps, got one in row {row}, unit {unit}; boltzmann.clamp fills "
            "gaps given what is observed"
        )
    is_valid = kind.is_valid(table)
    if not is_valid.all():
        row, unit = np.argwhere(~is_valid)[0]
        raise ValueError(
            f"{name}: expected {kind.expected} of {kind.name} units, got {table[row, unit]:g} in "
            f"row {row}, unit {unit}"
        )
