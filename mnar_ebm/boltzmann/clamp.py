r"""Missing visible units given those observed: the observed ones are clamped.

With v_o observed, the hidden units have a law that a sum over the missing units leaves, of which
each has its part of A, and given them the missing units are independent:

    p(h|v_o) ∝ exp(c·h + t(v_o)·(W h)_o + Σ_(i missing) A_i(b_i + (W h)_i)),      v_i ~ p(v_i|h)

Where hidden units can be enumerated draws and means are exact and independent, row by row.
Otherwise chains do it, a sweep of h given v and of v given h in which observed units stay.

A row is any array with its own mask, ``True`` where a unit is observed; what a missing unit holds,
NaN or anything, is not read. Of groups of levels all units are observed or none.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.visible import BINARY, RBM, Visible, check_rows
from mnar_ebm.samplers.importance import sir
from mnar_ebm.types import Array, Key


def impute(
    key: Key,
    rbm: RBM,
    v: Array,
    mask: Array,
    num_draws: int,
    num_sweeps: int = 100,
    kind: Visible = BINARY,
) -> Array:
    """Return draws of rows given what is observed of them: exact ones, or ends of chains.

    They are exact where there are at most ``MAX_UNITS`` hidden units. Otherwise each is the end of
    a chain of its own, which begins where the missing units have their means without others.

    Args:
        key: random key.
        rbm: the machine.
        v: rows. [N, V]
        mask: whether each unit is observed. [N, V]
        num_draws: K, of each row.
        num_sweeps: of each chain, if there are chains.
        kind: of the visible units.

    Returns:
        The rows, observed units as they were. [K, N, V]

    Raises:
        ValueError: an observed unit is not of its kind, shapes differ, or a group is observed in
            part.
    """
    check_observed(kind, v, mask)
    if rbm.hidden.shape[0] <= machines.MAX_UNITS:

        def draw_row(at: tuple[Key, Array, Array]) -> Array:
            return sample_row(at[0], rbm, at[1], at[2], num_draws, kind)

        rows = jax.lax.map(draw_row, (jax.random.split(key, len(v)), v, mask))
        return jnp.swapaxes(rows, 0, 1)
    key_start, key_chains = jax.random.split(key)
    several = jnp.broadcast_to(v, (num_draws, *v.shape))
    start = kind.draw(key_start, rbm, jnp.broadcast_to(rbm.visible, several.shape))
    return gibbs(key_chains, rbm, jnp.where(mask, several, start), mask, num_sweeps, kind)


@functools.partial(jax.jit, static_argnames=("num_sweeps", "kind"))
def gibbs(
    key: Key, rbm: RBM, v: Array, mask: Array, num_sweeps: int, kind: Visible = BINARY
) -> Array:
    """Return chains after so many sweeps in which observed units stay. [..., V] -> [..., V].

    A sweep leaves the law of the missing units given the observed ones as it is.

    Args:
        key: random key.
        rbm: the machine.
        v: where chains begin, without gaps. [..., V]
        mask: whether each unit is observed. [..., V]
        num_sweeps: sweeps.
        kind: of the visible units.
    """

    def step(v: Array, key: Key) -> tuple[Array, None]:
        return jnp.where(mask, v, machines.sweep(key, rbm, v, kind)), None

    return jax.lax.scan(step, v, jax.random.split(key, num_sweeps))[0]


@functools.partial(jax.jit, static_argnames="kind")
def mean(rbm: RBM, v: Array, mask: Array, kind: Visible = BINARY) -> Array:
    """Return E[v|v_o], exactly, by a sum over all states of the hidden units. [N, V] -> [N, V].

    Raises:
        ValueError: there are more than ``MAX_UNITS`` hidden units.
    """

    def of_row(at: tuple[Array, Array]) -> Array:
        v, mask = at
        log_p = log_law(rbm, v, mask, kind)
        weights = jnp.exp(log_p - jax.nn.logsumexp(log_p))
        size = min(machines.CHUNK, len(weights))

        def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
            numbers, weights = chunk
            return total + weights @ kind.mean(rbm, _logits(rbm, numbers)), None

        chunks = jnp.arange(len(weights)).reshape(-1, size), weights.reshape(-1, size)
        total, _ = jax.lax.scan(add, jnp.zeros_like(rbm.visible), chunks)
        return jnp.where(mask, v, total)

    return jax.lax.map(of_row, (v, mask))


@functools.partial(jax.jit, static_argnames=("num_draws", "kind"))
def sample_row(
    key: Key, rbm: RBM, v: Array, mask: Array, num_draws: int, kind: Visible = BINARY
) -> Array:
    """Return independent draws of a row given what is observed of it, exact ones. [V] -> [K, V].

    Raises:
        ValueError: there are more than ``MAX_UNITS`` hidden units.
    """
    key_state, key_units = jax.random.split(key)
    chosen = sir(key_state, log_law(rbm, v, mask, kind), num_draws)
    return jnp.where(mask, v, kind.draw(key_units, rbm, _logits(rbm, chosen)))


def log_law(rbm: RBM, v: Array, mask: Array, kind: Visible = BINARY) -> Array:
    """Return log p(h, v_o) but for a constant, of every state of the hidden units. [2^H].

    Raises:
        ValueError: there are more than ``MAX_UNITS`` hidden units.
    """
    statistics = jnp.where(mask, kind.statistics(rbm, jnp.where(mask, v, 0.0)), 0.0)
    machines.check_units(rbm.hidden.shape[0])

    def of_state(number: Array) -> Array:
        eta = _logits(rbm, number)
        missing = jnp.where(mask, 0.0, kind.log_partition(rbm, eta)).sum(axis=-1)
        h = machines.states(number, rbm.hidden.shape[0], rbm.weights.dtype)
        return h @ rbm.hidden + eta @ statistics + missing

    numbers = jnp.arange(2 ** rbm.hidden.shape[0])
    return jax.lax.map(of_state, numbers, batch_size=machines.CHUNK)


def check_observed(kind: Visible, v: Array, mask: Array) -> None:
    """Raise ``ValueError`` unless what is observed of rows is what such units may be.

    Args:
        kind: of the visible units.
        v: rows. [N, V]
        mask: whether each unit is observed. [N, V]

    Raises:
        ValueError: an observed unit is not of its kind, shapes differ, or a group is observed in
            part.
    """
    table, seen = np.asarray(v), np.asarray(mask)
    if table.shape != seen.shape or seen.dtype != bool:
        raise ValueError(
            f"mask: expected truth values of shape {table.shape}, got {seen.dtype} of {seen.shape}"
        )
    any_row = np.zeros(table.shape[-1], table.dtype)
    any_row[:: kind.num_levels] = kind.num_levels > 1  # the first level of every group
    check_rows(kind, np.where(seen, table, any_row))
    groups = seen.reshape(len(seen), -1, kind.num_levels)
    is_part = groups.any(axis=-1) & ~groups.all(axis=-1)
    if is_part.any():
        row, group = np.argwhere(is_part)[0]
        raise ValueError(
            f"mask: expected all levels of a group observed or none, got a part in row {row}, "
            f"group {group}"
        )


def _logits(rbm: RBM, numbers: Array) -> Array:
    """Return η of numbered states of the hidden units. [...] -> [..., V]."""
    h = machines.states(numbers, rbm.hidden.shape[0], rbm.weights.dtype)
    return machines.visible_logits(rbm, h)
