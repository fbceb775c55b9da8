r"""Chains that exchange places along a ladder of machines, and so cross where Gibbs stays.

R crowds of chains, one at each machine of a ladder, have the joint law Π_r p_r(v_r). After a sweep
at each, neighbours exchange places with probability

    min(1, exp(F_r(v_r) + F_(r+1)(v_(r+1)) - F_r(v_(r+1)) - F_(r+1)(v_r)))

which leaves that law as it is: the last crowd is of the machine that is asked for. The ladder goes
from a machine whose chains are drawn anew by every sweep, one without weights, to that machine:

* ``temperatures`` makes one that opens all weights at once (parallel tempering);
* checkpoints of its training, stacked, are one that opens modes in the order in which they were
  learned (tempering along the trajectory). A first-order transition, at which a chain of a
  temperature between would have to be in two places at once, is in the way of the first alone.

Only what neighbours exchange flows: where ``swap_rate`` is near 0 the ladder is broken, and both
ends know nothing of each other.

References:
    S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-Reversible Parallel Tempering: a
    Scalable Highly Parallel MCMC Scheme", JRSS B 84, 2022, https://arxiv.org/abs/1905.02939.
    N. Béreux, A. Decelle, C. Furtlehner, L. Rosset, B. Seoane, "Fast training and sampling of
    Restricted Boltzmann Machines", ICLR 2025, https://arxiv.org/abs/2405.15376 (checkpoints).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.annealed import rung, stack, without_weights
from mnar_ebm.boltzmann.visible import BINARY, RBM, Visible
from mnar_ebm.samplers.tempering import swap
from mnar_ebm.types import Array, Key


class Tempered(NamedTuple):
    """Where the chains of all machines stand.

    Attributes:
        chains: of each machine of the ladder; the last are the draws. [R, C, V]
        swap_rate: how often neighbours would have swapped, of each pair. [R - 1]
        num_round_trips: how often chains that stood at the first machine came to the last and back
            again, all chains together. []
    """

    chains: Array
    swap_rate: Array
    num_round_trips: Array


def temperatures(rbm: RBM, base_bias: Array, num_machines: int) -> RBM:
    """Return a ladder from independent units to a machine, its parameters in even steps.

    Args:
        rbm: the machine.
        base_bias: of the independent units. [V]
        num_machines: R.

    Raises:
        ValueError: there are fewer than two machines.
    """
    if num_machines < 2:
        raise ValueError(f"num_machines: expected at least 2, got {num_machines}")
    ends = stack([without_weights(rbm, base_bias), rbm])
    return jax.vmap(functools.partial(rung, ends))(jnp.linspace(0.0, 1.0, num_machines))


@functools.partial(jax.jit, static_argnames=("num_sweeps", "kind"))
def temper(
    key: Key, ladder: RBM, chains: Array, num_sweeps: int, kind: Visible = BINARY
) -> Tempered:
    """Return chains after so many sweeps at every machine, each followed by swaps.

    Args:
        key: random key.
        ladder: machines, from the easiest to the one that is asked for. Each leaf [R, ...]
        chains: where they begin, at every machine. [R, C, V]
        num_sweeps: sweeps at each machine; every second pair of neighbours may swap after each.
        kind: of the visible units.
    """
    num_machines, num_chains = chains.shape[:2]
    below, above = _but(ladder, -1), _but(ladder, 0)
    sweep = jax.vmap(functools.partial(machines.sweep, kind=kind))
    free_energy = jax.vmap(functools.partial(machines.free_energy, kind=kind))
    swap_all = jax.vmap(swap, in_axes=(1, 1), out_axes=1)

    def step(carry: tuple, now: tuple[Key, Array]) -> tuple[tuple, Array]:
        v, heading, trips = carry
        key, number = now
        key_sweep, key_swap = jax.random.split(key)
        v = sweep(jax.random.split(key_sweep, num_machines), ladder, v)
        own = free_energy(ladder, v)
        crossed = free_energy(below, v[1:]) + free_energy(above, v[:-1])
        rate = jnp.exp(jnp.minimum(own[:-1] + own[1:] - crossed, 0.0))  # [R - 1, C]
        is_turn = (jnp.arange(num_machines - 1) % 2 == number % 2)[:, None]
        is_swapped = is_turn & (jax.random.uniform(key_swap, rate.shape) < rate)
        v, heading = swap_all((v, heading), is_swapped)
        trips = trips + (heading[0] == 1).sum()  # came back from the last
        heading = heading.at[0].set(0)
        heading = heading.at[-1].set(jnp.where(heading[-1] == 0, 1, heading[-1]))
        return (v, heading, trips), rate.mean(axis=1)

    heading = jnp.full((num_machines, num_chains), -1)  # 0: was at the first, 1: then at the last
    order = jax.random.split(key, num_sweeps), jnp.arange(num_sweeps)
    (v, _, trips), rates = jax.lax.scan(step, (chains, heading, jnp.zeros((), int)), order)
    return Tempered(v, rates.mean(axis=0), trips)


def _but(ladder: RBM, end: int) -> RBM:
    """Return a ladder without its first machine (0) or without its last (-1)."""
    return jax.tree.map(lambda leaf: leaf[:-1] if end else leaf[1:], ladder)
