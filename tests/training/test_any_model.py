"""The engine trains a model that is no table: a Boltzmann machine, by chains that persist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from mnar_ebm.training import Loop, Pace, Stage, Verdict, pad_rows, run_stages, verdict

NUM_HIDDEN = 8


def free_energy(params, v):
    """Return -b v - sum_j log(1 + exp(c_j + v W_j)). [..., 64] -> [...]."""
    return -v @ params["b"] - jax.nn.softplus(v @ params["w"] + params["c"]).sum(axis=-1)


def sweep(key, params, v):
    """Return visible units after a sweep of block Gibbs. [C, 64]."""
    key_h, key_v = jax.random.split(key)
    h = jax.random.bernoulli(key_h, jax.nn.sigmoid(v @ params["w"] + params["c"])).astype(float)
    return jax.random.bernoulli(key_v, jax.nn.sigmoid(h @ params["w"].T + params["b"])).astype(
        float
    )


def pcd_loss(key, params, batch, held_out, chains):
    """Return the mean free energy of data less that of chains, which go on from where they were."""
    chains = jax.lax.stop_gradient(sweep(key, params, chains))
    gap = free_energy(params, batch).mean() - free_energy(params, chains).mean()
    return gap, ({"energy_gap": gap}, chains)


def log_likelihood(params, v):
    """Return log p(v), exactly: Z is a sum over all states of the hidden units. [...]."""
    states = (jnp.arange(2**NUM_HIDDEN)[:, None] >> jnp.arange(NUM_HIDDEN)) & 1
    log_z = states @ params["c"] + jax.nn.softplus(states @ params["w"].T + params["b"]).sum(axis=1)
    return -free_energy(params, v) - jax.nn.logsumexp(log_z)


def evaluate(key, params, batch, is_row):
    """Return the mean log-likelihood of held-out rows."""
    return verdict(jnp.mean(log_likelihood(params, batch), where=is_row))


def exact_loss(key, params, batch, held_out, nothing):
    """Return minus the mean log-likelihood."""
    return -log_likelihood(params, batch).mean(), ({}, nothing)


@pytest.mark.slow
def test_a_boltzmann_machine_trains_by_persistent_chains():
    """It comes as far as by the exact gradient, and says more than independent bits do."""
    v = jnp.asarray(load_digits().data > 7, float)
    rows, held_out = v[:1500], v[1500:1750]
    rate = jnp.clip(rows.mean(axis=0), 0.01, 0.99)
    params = {
        "b": jnp.log(rate / (1 - rate)),
        "c": jnp.zeros(NUM_HIDDEN),
        "w": 0.01 * jax.random.normal(jax.random.key(0), (64, NUM_HIDDEN)),
    }
    pace = Pace(num_steps=1500, learning_rate=0.01, schedule="cosine")
    pcd = Stage(
        "pcd",
        pcd_loss,
        evaluate,
        pace,
        init_memory=lambda key: jax.random.bernoulli(key, 0.5, (100, 64)).astype(float),
    )
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    reached = {}
    for stage in (pcd, Stage("exact", exact_loss, evaluate, pace)):
        *_, end = run_stages(Loop(100), [stage], params, pad_rows(rows), pad_rows(held_out), keys)
        reached[stage.name] = log_likelihood(end.params, held_out).mean()
        np.testing.assert_allclose(end.state.best_bound, reached[stage.name], rtol=1e-5)
    independent = log_likelihood(params | {"w": jnp.zeros((64, NUM_HIDDEN))}, held_out).mean()
    assert reached["exact"] > independent + 3
    assert abs(reached["pcd"] - reached["exact"]) < 0.5


def test_a_verdict_that_gives_up_ends_a_stage():
    """At once, whatever the score; the best so far is what is kept."""

    def loss(key, params, batch, held_out, nothing):
        return ((params - batch) ** 2).mean(), ({}, nothing)

    def evaluate(key, params, batch, is_row):
        score = params.sum()
        return Verdict(score, score > 1.0, {"held_out": score})

    stage = Stage("walk", loss, evaluate, Pace(num_steps=5000, learning_rate=0.01))
    rows = pad_rows(jnp.full((20, 1), 9.0))
    keys = [tuple(jax.random.split(jax.random.key(0)))]
    found = list(run_stages(Loop(10), [stage], jnp.zeros(1), rows, rows, keys))
    assert 1 < len(found) < 5 and found[-1].is_end
    assert float(found[-1].params[0]) == float(found[-1].state.best_bound) > 1.0
