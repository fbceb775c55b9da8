"""Chains in one call: compiled once, the same draws as by hand, right moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from mnar_ebm import samplers
from tests import oracles

pytestmark = pytest.mark.usefixtures("quick_compile_all")

CALLS = {
    "langevin": functools.partial(samplers.langevin, step_size=0.1, burn_in=2),
    "adjusted_langevin": functools.partial(samplers.adjusted_langevin, num_adaptation_steps=30),
    "hamiltonian": functools.partial(
        samplers.hamiltonian, num_adaptation_steps=30, num_integration_steps=3
    ),
}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def skewed(rate, x):
    """Return log p of the log of a Gamma(2, rate) variable and of a normal beside it."""
    return 2 * x["a"] - rate * jnp.exp(x["a"]) - 0.5 * jnp.sum(x["b"] ** 2)


def starts(num_chains, dtype=jnp.float32):
    """Return where the chains start."""
    return {"a": jnp.zeros(num_chains, dtype), "b": jnp.ones((num_chains, 2), dtype)}


@every_call
def test_shapes_and_dtypes(call):
    """Chains, then draws; float32 stays so beside float64."""
    with jax.enable_x64(True):
        chains = call(jax.random.key(0), Partial(skewed, 1.0), starts(3), 5, thin=2)
    assert chains.draws["b"].shape == (3, 5, 2) and chains.draws["b"].dtype == jnp.float32
    assert all(leaf.shape == (3, 5) for leaf in jax.tree.leaves(chains.info))
    assert chains.settings["step_size"].shape == (3,)


@every_call
def test_new_parameters_do_not_compile_again(call):
    """Nor do new positions, keys or step sizes; another function does."""
    traces = []

    def counted(rate, x):
        traces.append(rate)
        return skewed(rate, x)

    call(jax.random.key(0), Partial(counted, 1.0), starts(2), 5)
    count = len(traces)
    again = {"step_size": 0.05, "temperature": 2.0} if "step_size" in call.keywords else {}
    moved = jax.tree.map(lambda leaf: leaf + 1, starts(2))
    call(jax.random.key(1), Partial(counted, 2.0), moved, 5, **again)
    assert len(traces) == count > 0
    call(jax.random.key(1), Partial(counted, 2.0), moved, 6, **again)
    assert len(traces) > count


def test_parameters_matter():
    """What is not compiled again is still read again."""
    draws = [
        samplers.adjusted_langevin(jax.random.key(0), Partial(skewed, rate), starts(2), 9).draws
        for rate in (1.0, 2.0)
    ]
    assert not np.any(np.asarray(draws[0]["a"] == draws[1]["a"]))


def test_draws_are_those_of_sample():
    """One call is a vmap of the loop."""
    key, target = jax.random.key(3), functools.partial(skewed, 1.0)
    chains = samplers.langevin(key, target, starts(3), 7, step_size=0.1, burn_in=4, thin=2)

    def run(key, position):
        algorithm = samplers.ula(target, 0.1)
        return samplers.sample(key, algorithm, position, 7, burn_in=4, thin=2)[1]

    draws, info = jax.vmap(run)(jax.random.split(key, 3), starts(3))
    for actual, expected in ((chains.draws, draws), (chains.info, info)):
        for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_call
def test_batches_change_nothing(call):
    """Five chains, two at a time, are five chains; the last batch is short."""
    with jax.enable_x64(True):  # adaptation enlarges the rounding
        x0 = starts(5, jnp.float64)
        run = functools.partial(call, jax.random.key(6), Partial(skewed, 1.0), x0, 4)
        for one, two in zip(
            jax.tree.leaves(run()), jax.tree.leaves(run(batch_size=2)), strict=True
        ):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        run(batch_size=0)


@pytest.mark.parametrize("call", [samplers.adjusted_langevin, samplers.hamiltonian])
def test_moments_of_a_skewed_target(call):
    """E exp(a) = 2 / rate, which is the mean of a Gamma variable; E b² = 1."""
    chains = call(jax.random.key(4), Partial(skewed, 4.0), starts(64), 1000)
    oracles.assert_mean(np.exp(np.asarray(chains.draws["a"], np.float64)).mean(axis=1), 0.5)
    oracles.assert_mean((np.asarray(chains.draws["b"], np.float64) ** 2).mean(axis=1), 1.0)


def test_inside_jit_vmap_and_grad():
    """Ours may be part of a larger computation."""

    @jax.jit
    def mean_square(key, rate):
        chains = samplers.langevin(key, Partial(skewed, rate), starts(2), 5, step_size=0.1)
        return (chains.draws["a"] ** 2).mean()

    keys = jax.random.split(jax.random.key(5), 3)
    assert jax.vmap(mean_square, (0, None))(keys, 2.0).shape == (3,)
    slope = jax.grad(mean_square, argnums=1)(keys[0], 2.0)
    ends = [mean_square(keys[0], rate) for rate in (1.99, 2.01)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("x0", "shapes"),
    [(0.0, r"\[\(\)\]"), ({"a": np.zeros(2), "b": np.zeros((3, 2))}, r"\[\(2,\), \(3, 2\)\]")],
)
@every_call
def test_wrong_starts(call, x0, shapes):
    message = f"x0: expected leaves with one first axis of chains, got shapes {shapes}"
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0), Partial(skewed, 1.0), x0, 5)


def test_wrong_settings():
    with pytest.raises(ValueError, match="step_size: expected a positive number, got -1"):
        samplers.langevin(jax.random.key(0), Partial(skewed, 1.0), starts(2), 5, step_size=-1)
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        samplers.adjusted_langevin(jax.random.key(0), Partial(skewed, 1.0), starts(2), 0)


def test_too_few_steps_to_adapt_are_told():
    """By the name of what was told, and only where a length is adapted, too."""
    start = jnp.zeros((2, 1))
    with pytest.raises(ValueError, match="num_adaptation_steps: expected at least 30, got 29"):
        samplers.hamiltonian(jax.random.key(0), jnp.sum, start, 1, num_adaptation_steps=29)
