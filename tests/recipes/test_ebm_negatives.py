"""Chains of a training model: what leaves a Gaussian as it is, ages, step sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm.models.ebm import EBM, EBMParams, box_reference, normal_reference
from mnar_ebm.recipes import negatives
from mnar_ebm.recipes.negatives import ChainSettings

pytestmark = pytest.mark.usefixtures("quick_compile")

CURVATURE = np.array([[1.5, 0.6], [0.6, 0.9]])
SLOPE = np.array([-1.0, 0.5])
BASE = oracles.Gaussian(np.zeros(2), 4.0 * np.eye(2))
_, LAW = oracles.tilt(BASE, oracles.Quadratic(CURVATURE, SLOPE))


def model():
    """Return a Gaussian model and its parameters."""
    reference = normal_reference((2,), 2.0)

    def energy(params, x):
        return 0.5 * x @ params["a"] @ x + params["b"] @ x

    params = {"a": jnp.asarray(CURVATURE, jnp.float32), "b": jnp.asarray(SLOPE, jnp.float32)}
    ebm = EBM(lambda key: params, energy, reference.log_prob, reference.sample)
    return ebm, EBMParams(params, jnp.zeros(()))


def exact(num, seed=0):
    """Return exact draws of the model. [N, 2]."""
    draws = np.random.default_rng(seed).multivariate_normal(*LAW, num)
    return jnp.asarray(draws, jnp.float32)


def step(settings, rows, memory):
    """Return what a step makes of what the one before has left."""
    ebm, params = model()

    @jax.jit
    def run(rows, memory):
        return negatives.draw_negatives(jax.random.key(1), ebm, params, rows, memory, settings)

    return run(rows, memory)


def fresh(settings, is_persistent=True):
    """Return what is there before the first step."""
    return negatives.init_memory(jax.random.key(0), model()[0], settings, is_persistent)


def turn(settings, num_chains):
    """Return what a step makes of a buffer of exact draws, all of which are drawn."""
    memory = fresh(settings)
    memory = memory._replace(buffer=memory.buffer._replace(positions=exact(num_chains)))
    return step(settings, jnp.zeros((num_chains, 2)), memory)


def test_a_leap_leaves_the_model_as_it_is():
    """Exact draws stay exact, and a good share of them has moved."""
    ebm, params = model()
    start = exact(4000)
    run = jax.jit(lambda start: negatives.leap(jax.random.key(0), ebm, params, start))
    after, is_new = run(start)
    oracles.assert_moments(after, LAW)
    assert 0.2 < is_new.mean() < 0.8
    np.testing.assert_array_equal((after != start).all(axis=1), is_new)


def test_leaps_alone_reach_the_model_from_anywhere():
    """Chains that start far away have its law after fifty proposals each."""
    ebm, params = model()
    far = jnp.full((2000, 2), 5.0)
    keys = jax.random.split(jax.random.key(0), 50)
    after, _ = jax.lax.scan(lambda x, key: (negatives.leap(key, ebm, params, x)[0], ()), far, keys)
    oracles.assert_moments(after, LAW)


def test_a_step_leaves_the_model_as_it_is_but_for_restarts():
    """Chains of the model keep its law; where half of them start again they do not."""
    settings = ChainSettings(num_chains=4000, num_steps=1, step_size=0.3)
    drawn = turn(settings, 4000)
    oracles.assert_moments(drawn.negatives, LAW)
    with pytest.raises(AssertionError, match="standard errors"):
        oracles.assert_moments(turn(settings._replace(restart=0.5), 4000).negatives, LAW)


def test_chains_go_back_to_the_buffer_with_their_ages():
    """Those that leapt are as old as their last steps; drawn ones alone have moved."""
    settings = ChainSettings(num_chains=50, num_steps=3, step_size=0.3)
    memory = fresh(settings)
    old = memory._replace(buffer=memory.buffer._replace(ages=jnp.full(50, 100)))
    drawn = step(settings, jnp.zeros((20, 2)), old)
    ages = np.asarray(drawn.memory.buffer.ages)
    assert (ages == 100).sum() == 30 and set(ages) <= {3, 100, 103}
    moved = (drawn.memory.buffer.positions != old.buffer.positions).any(axis=1)
    assert not moved[ages == 100].any()
    assert drawn.info["chain_age"] == ages[ages != 100].mean()


def test_chains_from_the_data_start_there():
    """After steps that are tiny they are still near their rows; nothing is kept of them."""
    settings, rows = ChainSettings(num_steps=2, step_size=1e-8), exact(30)
    drawn = step(settings, rows, fresh(settings, is_persistent=False))
    np.testing.assert_allclose(drawn.negatives, rows, atol=2e-3)
    assert drawn.memory.buffer == () and "chain_age" not in drawn.info


@pytest.mark.parametrize("first", [0.05, pytest.param(30.0, marks=pytest.mark.slow)])
def test_the_step_size_finds_the_acceptance(first):
    """From too short and from far too long."""
    settings = ChainSettings(num_chains=100, num_steps=1, step_size=first)
    ebm, params = model()

    def one(memory, key):
        rows = jnp.zeros((100, 2))
        drawn = negatives.draw_negatives(key, ebm, params, rows, memory, settings)
        return drawn.memory, drawn.info["acceptance_rate"]

    keys = jax.random.split(jax.random.key(1), 400)
    _, rates = jax.jit(lambda memory: jax.lax.scan(one, memory, keys))(fresh(settings))
    assert abs(rates[-100:].mean() - negatives.TARGET_ACCEPTANCE) < 0.03


def test_the_step_size_of_an_unadjusted_chain_stays():
    """It has no acceptance to tell of."""
    drawn = turn(ChainSettings("ula", 10, step_size=0.1), 10)
    assert drawn.memory.log_step_size == jnp.log(0.1) and "acceptance_rate" not in drawn.info


def test_chains_stay_in_a_box():
    """A proposal outside is not accepted."""
    box = box_reference((2,), -1.0, 1.0)
    ebm = EBM(lambda key: (), lambda params, x: x.sum(), box.log_prob, box.sample)
    start = jax.vmap(box.sample)(jax.random.split(jax.random.key(0), 200))
    settings = ChainSettings(num_steps=20)
    params = EBMParams((), jnp.zeros(()))
    run = jax.jit(
        lambda start: negatives.advance(jax.random.key(1), ebm, params, start, 0.3, settings)
    )
    after, rate = run(start)
    assert (jnp.abs(after) <= 1).all() and 0 < rate < 1


def test_fewer_chains_than_rows_are_refused():
    """In one line."""
    with pytest.raises(ValueError, match="num_rows: expected a number from 1 to 5, got 9"):
        step(ChainSettings(num_chains=5), jnp.zeros((9, 2)), fresh(ChainSettings(num_chains=5)))
