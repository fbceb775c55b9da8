"""Trajectories of HMC whose length varies and adapts: chains that do not come back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import diagnostics, samplers
from mnar_ebm.samplers.hmc import draw_num_steps


def normal(x, scale=1.0):
    """Compute log N(x; 0, scale² I), up to a constant."""
    return -0.5 * jnp.sum((x / scale) ** 2)


def test_chains_do_not_come_back_to_where_they_were():
    """On N(0, I), by defaults, squares are as good as a tenth of as many independent draws."""
    starts = jax.random.normal(jax.random.key(0), (4, 10))
    chains = samplers.hamiltonian(jax.random.key(1), normal, starts, 500)
    draws = np.asarray(chains.draws)
    for values in (draws, draws**2):
        table = diagnostics.summarise({"x": values})
        assert table["rhat"] < 1.03 and table["ess_bulk"] > 200
    assert 1.0 < chains.info.num_integration_steps.mean() < 6.0
    assert np.abs((draws**2).mean() - 1) < 5 * np.sqrt(2 / 10 / 200)


def test_the_length_follows_the_widest_direction():
    """Where a mass matrix does not tell of it; on N(0, I) it stays near what is best there."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def length(key, widest):
        scale = jnp.ones(5).at[0].set(widest)
        density = functools.partial(normal, scale=scale)
        settings, _ = samplers.adapt_trajectory(key, density, jnp.zeros(5), 300, 0.5)
        return settings["trajectory_length"]

    keys = jax.random.split(jax.random.key(2), 8)
    round_one, long_one = length(keys, 1.0), length(keys, 8.0)
    assert 1.2 < round_one.mean() < 4.0
    assert long_one.mean() > 2 * round_one.mean()


@pytest.mark.parametrize(("ratio", "most"), [(10, 10), (3.5, 4), (0.2, 1), (1e9, 1024)])
def test_numbers_of_steps_are_uniform(ratio, most):
    """1 to ⌈T / ε⌉, the last as often as is left over; never more than 1024."""
    keys = jax.random.split(jax.random.key(3), 4000)
    counts = np.bincount(jax.vmap(draw_num_steps, (0, None))(keys, ratio), minlength=most + 1)
    assert counts.sum() == 4000 and counts[0] == 0 and len(counts) == most + 1
    if most <= 10:
        share = np.diff(np.minimum(np.arange(most + 1) / ratio, 1.0))
        assert (np.abs(counts[1:] / 4000 - share) < 5 * np.sqrt(share / 4000) + 1e-9).all()


def test_wrong_lengths():
    with pytest.raises(ValueError, match="num_integration_steps or trajectory_length, got both"):
        samplers.hmc(normal, 0.1, num_integration_steps=3, trajectory_length=1.0)
    with pytest.raises(ValueError, match="trajectory_length: expected a positive number, got 0"):
        samplers.hmc(normal, 0.1, trajectory_length=0.0)
