"""Block Gibbs: exact transition probabilities of an RBM, an Ising ring, kernels within a sweep."""

import functools
import importlib
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mnar_ebm import samplers
from tests import oracles

module = importlib.import_module("mnar_ebm.samplers.gibbs")  # the package's gibbs is the function

NUM_VISIBLE, NUM_HIDDEN = 3, 2
DRAWS = np.random.default_rng(0)
WEIGHTS = DRAWS.normal(0, 1.5, (NUM_VISIBLE, NUM_HIDDEN))
BIAS_V, BIAS_H = DRAWS.normal(0, 0.7, NUM_VISIBLE), DRAWS.normal(0, 0.7, NUM_HIDDEN)


def units(num):
    """Return every state of some binary units. [2^n, n]."""
    return np.array(list(itertools.product([0, 1], repeat=num)), float)


V, H = units(NUM_VISIBLE), units(NUM_HIDDEN)


def log_joint():
    """Return log p(v, h) of the RBM, up to log Z, over all states. [2^V, 2^H]."""
    return V @ WEIGHTS @ H.T + (V @ BIAS_V)[:, None] + H @ BIAS_H


def transitions():
    """Return P(v'|v) = Σ_h p(v'|h) p(h|v). [2^V, 2^V]."""
    h_given_v = scipy.special.softmax(log_joint(), axis=1)
    v_given_h = scipy.special.softmax(log_joint(), axis=0)
    return h_given_v @ v_given_h.T


def rbm():
    """Gibbs for the RBM: hidden units first, then visible ones."""

    def update(weights, bias, other):
        def draw(key, position):
            probability = jax.nn.sigmoid(position[other] @ weights + bias)
            return jax.random.bernoulli(key, probability).astype(jnp.int32)

        return draw

    return samplers.gibbs({"h": update(WEIGHTS, BIAS_H, "v"), "v": update(WEIGHTS.T, BIAS_V, "h")})


def test_oracle():
    """Sums over v, over h and over both agree on log Z; the marginal chain is reversible."""
    over_v = V @ BIAS_V + np.logaddexp(0, V @ WEIGHTS + BIAS_H).sum(axis=1)
    over_h = H @ BIAS_H + np.logaddexp(0, H @ WEIGHTS.T + BIAS_V).sum(axis=1)
    log_z = scipy.special.logsumexp(log_joint())
    np.testing.assert_allclose(scipy.special.logsumexp(over_v), log_z, rtol=1e-14)
    np.testing.assert_allclose(scipy.special.logsumexp(over_h), log_z, rtol=1e-14)
    law = np.exp(over_v - log_z)
    np.testing.assert_allclose(law @ transitions(), law, rtol=1e-13)
    flow = law[:, None] * transitions()
    np.testing.assert_allclose(flow, flow.T, atol=1e-16)


def assert_transitions():
    """Hold that one sweep goes from each v to the next with the exact probabilities (χ²)."""
    num_draws = 20_000
    visible = jnp.asarray(V, jnp.int32).repeat(num_draws, axis=0)
    position = {"v": visible, "h": jnp.zeros((len(visible), NUM_HIDDEN), jnp.int32)}
    keys = jax.random.split(jax.random.key(1), len(visible))
    algorithm = rbm()
    move = jax.jit(jax.vmap(lambda k, x: algorithm.step(k, algorithm.init(x))[0].position["v"]))
    after = np.asarray(move(keys, position)) @ [4, 2, 1]
    for row, probabilities in zip(after.reshape(len(V), num_draws), transitions(), strict=True):
        counts = np.bincount(row, minlength=len(V))
        assert scipy.stats.chisquare(counts, num_draws * probabilities).pvalue > 1e-4


def test_transition_probabilities():
    assert_transitions()


def test_a_sweep_that_reads_stale_blocks_is_seen(monkeypatch):
    """All blocks drawn given the old ones: a public bug."""

    def stale(key, updates, position):
        keys = jax.random.split(key, len(updates))
        drawn = zip(updates, keys, strict=True)
        return position | {name: updates[name](key, position) for name, key in drawn}

    monkeypatch.setattr(module, "sweep", stale)
    with pytest.raises(AssertionError):
        assert_transitions()


def test_ising_ring():
    """The magnetisation is d log Z / dh / n, with Z by the transfer matrix."""
    num_spins, coupling, field = 8, 0.4, 0.2

    def log_z(field):
        mean = np.exp(coupling) * np.cosh(field)
        root = np.sqrt(np.exp(2 * coupling) * np.sinh(field) ** 2 + np.exp(-2 * coupling))
        return np.log((mean + root) ** num_spins + (mean - root) ** num_spins)

    spins = 2 * units(num_spins) - 1
    log_p = coupling * (spins * np.roll(spins, 1, axis=1)).sum(axis=1) + field * spins.sum(axis=1)
    np.testing.assert_allclose(log_z(field), scipy.special.logsumexp(log_p), rtol=1e-13)
    magnetisation = scipy.special.softmax(log_p) @ spins.mean(axis=1)
    slope = (log_z(field + 1e-5) - log_z(field - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope / num_spins, magnetisation, rtol=1e-8)

    def update(other, shift):
        def draw(key, position):
            neighbours = position[other] + jnp.roll(position[other], shift)
            up = jax.nn.sigmoid(2 * (coupling * neighbours + field))
            return 2 * jax.random.bernoulli(key, up).astype(jnp.int32) - 1

        return draw

    algorithm = samplers.gibbs({"even": update("odd", 1), "odd": update("even", -1)})
    start = {"even": jnp.ones(4, jnp.int32), "odd": jnp.ones(4, jnp.int32)}

    def mean_of_chain(key):
        _, kept = samplers.sample(
            key, algorithm, start, 400, burn_in=50, transform=lambda state, info: state.position
        )
        return (kept["even"].mean() + kept["odd"].mean()) / 2

    means = jax.jit(jax.vmap(mean_of_chain))(jax.random.split(jax.random.key(2), 64))
    oracles.assert_mean(np.asarray(means, np.float64), magnetisation)


def test_kernels_within_a_sweep():
    """Two blocks of a skewed density by MALA: log a ~ N(0, ½²) and b | a ~ N(a, 1)."""

    def logdensity_fn(x):
        return -2 * jnp.log(x["a"]) ** 2 - jnp.log(x["a"]) - 0.5 * jnp.sum((x["b"] - x["a"]) ** 2)

    build = functools.partial(samplers.mala, step_size=0.2)
    algorithm = samplers.gibbs(
        {
            "a": samplers.kernel_update(build, logdensity_fn, "a", num_steps=3),
            "b": lambda key, x: x["a"] + jax.random.normal(key, x["b"].shape),
        }
    )

    def mean_of_chain(key):
        _, (x, _) = samplers.sample(key, algorithm, {"a": 1.0, "b": jnp.ones(2)}, 1000, burn_in=100)
        return x["a"].mean(), x["b"].mean()

    a, b = jax.jit(jax.vmap(mean_of_chain))(jax.random.split(jax.random.key(3), 64))
    oracles.assert_mean(np.asarray(a, np.float64), np.exp(1 / 8))
    oracles.assert_mean(np.asarray(b, np.float64), np.exp(1 / 8))


def test_keeps_dtypes_and_checks_blocks():
    """An update that widens is narrowed, and wrong names are said."""
    algorithm = samplers.gibbs({"a": lambda key, x: x["a"] + np.float64(1)})
    with jax.enable_x64(True):
        state, _ = algorithm.step(jax.random.key(0), algorithm.init({"a": jnp.float32(0)}))
        chex.assert_type(state.position["a"], jnp.float32)
    with pytest.raises(ValueError, match=r"position: expected blocks \['a'\], got \['a', 'b'\]"):
        algorithm.init({"a": 0.0, "b": 0.0})
    with pytest.raises(ValueError, match="updates: expected at least one block, got none"):
        samplers.gibbs({})
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        samplers.kernel_update(samplers.mala, lambda x: 0.0, "a", num_steps=0)
