"""Swaps along a ladder: the law of every machine, and a gap between modes that Gibbs stays at."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import RBM, rbm, tempering

V = 8
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=V)))


def two_modes(strength=5.0, tilt=0.1):
    """Return a machine whose units are nearly all on or all off; on a little more often."""
    weights = jnp.full((V, 2), strength)
    return RBM(jnp.full(V, tilt - strength), jnp.full(2, -0.5 * V * strength), weights)


def law(one):
    """Return p(v) of every state. [256]."""
    return special.softmax(-np.asarray(rbm.free_energy(one, STATES), float))


def is_on(v):
    """Return which chains are in the mode where most units are on."""
    return np.asarray(v.sum(axis=-1)) > V / 2


def temper(ladder, num_sweeps=200, num_chains=2000):
    """Return chains that all began where every unit is off."""
    start = jnp.zeros((ladder.hidden.shape[0], num_chains, V))
    return tempering.temper(jax.random.key(0), ladder, start, num_sweeps)


def growing(one):
    """Return a ladder of machines whose weights grew, as in training, biases with them."""
    machines = [two_modes(5.0 * share, 0.1 * share) for share in np.linspace(0, 1, 8)]
    return boltzmann.stack([*machines[:-1], one])


@pytest.mark.parametrize("make", ["temperatures", "checkpoints"])
def test_swaps_cross_where_gibbs_stays(make):
    """Chains of every machine have its law, whatever they began as; plain Gibbs never leaves."""
    one = two_modes()
    stays = rbm.gibbs(jax.random.key(1), one, jnp.zeros((2000, V)), 200)
    assert is_on(stays).mean() < 0.05
    ladder = (
        tempering.temperatures(one, jnp.zeros(V), 8) if make == "temperatures" else growing(one)
    )
    found = temper(ladder)
    assert (found.swap_rate > 0.1).all() and found.num_round_trips > 2000
    for number in (3, 7):
        p = law(jax.tree.map(lambda leaf, n=number: leaf[n], ladder))
        index = np.asarray(found.chains[number]) @ 2.0 ** np.arange(V)[::-1]
        seen = np.bincount(index.astype(int), minlength=2**V)
        often = 2000 * p > 5
        counts = [*seen[often], seen[~often].sum()], [*p[often], p[~often].sum()]
        assert stats.chisquare(counts[0], 2000 * np.array(counts[1])).pvalue > 1e-3
    assert 0.3 < is_on(found.chains[-1]).mean()


def test_a_broken_ladder_shows():
    """Two machines whose states differ: nothing is exchanged, and chains stay where they began."""
    every_second = jnp.tile(jnp.array([5.0, -5.0]), V // 2)
    found = temper(tempering.temperatures(two_modes(20.0), every_second, 2))
    assert found.swap_rate[0] < 1e-3 and found.num_round_trips == 0
    assert not is_on(found.chains[-1]).any()


def test_one_machine_is_no_ladder():
    """In one line."""
    with pytest.raises(ValueError, match="num_machines: expected at least 2, got 1"):
        tempering.temperatures(two_modes(), jnp.zeros(V), 1)
