"""What holds for every chain sampler, and for the loop that runs them: one table, one test each."""

import functools
import inspect
import re
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import samplers
from mnar_ebm.samplers import base

pytestmark = pytest.mark.usefixtures("quick_compile_all")


def gibbs_of_mala(logdensity_fn, step_size):
    """One block by MALA given the other, and back."""
    build = functools.partial(samplers.mala, step_size=step_size)
    names = ("b", "a")
    return samplers.gibbs({x: samplers.kernel_update(build, logdensity_fn, x) for x in names})


def tempering_of_mala(logdensity_fn, step_size):
    """Three replicas, moved by MALA."""
    return samplers.parallel_tempering(
        lambda fn, beta: samplers.mala(fn, step_size / beta),
        lambda position: 0.0,
        logdensity_fn,
        [1.0, 0.6, 0.3],
    )


# Every chain sampler of the package, as a function of the log-density alone.
SAMPLERS = {
    "ula": functools.partial(samplers.ula, step_size=0.1),
    "mala": functools.partial(samplers.mala, step_size=0.3),
    "hmc": functools.partial(samplers.hmc, step_size=0.3),
    "elliptical_slice": functools.partial(samplers.elliptical_slice, mean=0.2),  # a log-likelihood
    "gibbs": functools.partial(gibbs_of_mala, step_size=0.3),
    "parallel_tempering": functools.partial(tempering_of_mala, step_size=0.3),
}

every_sampler = pytest.mark.parametrize("build", SAMPLERS.values(), ids=SAMPLERS.keys())


@pytest.fixture(autouse=True)
def no_rank_promotion():
    """Forbid silent broadcasting between arrays of unequal rank."""
    with jax.numpy_rank_promotion("raise"):
        yield


def logdensity_fn(position):
    """A skewed density of a scalar and a vector, with unequal scales."""
    a, b = position["a"], position["b"]
    return -jnp.exp(-a) - a - jnp.sum(b**2 / jnp.arange(1, 4, dtype=b.dtype)) + 0.3 * a * b[0]


def start(dtype=jnp.float32):
    """Return where chains start: a dict of a scalar and a vector."""
    return {"a": jnp.zeros((), dtype), "b": jnp.array([0.5, -1.0, 2.0], dtype)}


def run(algorithm, key, position, num_steps=10, **settings):
    """Run a few steps of a sampler."""
    return samplers.sample(key, algorithm, position, num_steps, **settings)


@functools.cache
def compiled_run(build):
    """Ten steps, compiled once for all of the tests that look at them."""
    return jax.jit(functools.partial(run, build(logdensity_fn)))


def assert_same_draws(actual, expected):
    """Same up to the order in which a compiler sums."""
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("builder", [samplers.ula, samplers.mala, samplers.hmc])
def test_builder_parameter_names(builder):
    """One word per idea."""
    assert list(inspect.signature(builder).parameters)[:2] == ["logdensity_fn", "step_size"]


@every_sampler
def test_parameter_names(build):
    """A sampler is ``init(position, key=None)`` and ``step(key, state)``."""
    algorithm = build(logdensity_fn)
    assert isinstance(algorithm, samplers.SamplingAlgorithm)
    init, step = (inspect.signature(function).parameters for function in algorithm)
    assert list(init) == ["position", "key"]
    assert init["key"].default is None
    assert list(step) == ["key", "state"]


@every_sampler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_pytree_keeps_structure_shape_and_dtype(build, dtype):
    """A wide step size does not widen a narrow position."""
    with jax.enable_x64(True):
        position = start(dtype)
        wide = build.func(logdensity_fn, jnp.asarray(0.1, jnp.float64))
        for algorithm in (build(logdensity_fn), wide):
            state = jax.eval_shape(algorithm.init, position)
            chex.assert_trees_all_equal_shapes_and_dtypes(state.position, position)
            new_state, _ = jax.eval_shape(algorithm.step, jax.random.key(0), state)
            chex.assert_trees_all_equal_shapes_and_dtypes(new_state, state)
            _, (draws, _) = jax.eval_shape(
                functools.partial(run, algorithm), jax.random.key(1), position
            )
            stacked = jax.tree.map(lambda x: jnp.stack([x] * 10), position)
            chex.assert_trees_all_equal_shapes_and_dtypes(draws, stacked)


@every_sampler
def test_same_key_same_draws_with_and_without_jit(build):
    """A key fixes the draws, and another key gives others."""
    key, other_key = jax.random.split(jax.random.key(2))
    expected = compiled_run(build)(key, start())
    chex.assert_tree_all_finite(expected)
    chex.assert_trees_all_equal(compiled_run(build)(key, start()), expected)
    assert_same_draws(run(build(logdensity_fn), key, start()), expected)
    other = compiled_run(build)(other_key, start())
    assert not np.any(np.asarray(other[0].position["b"] == expected[0].position["b"]))


@every_sampler
def test_chains_are_a_vmap(build):
    """A chain among others is the chain alone."""
    keys = jax.random.split(jax.random.key(3), 2)
    positions = jax.tree.map(lambda x: np.stack([x, x + 1]), start())
    together = jax.tree.map(np.asarray, jax.vmap(compiled_run(build))(keys, positions))
    for chain in range(2):
        alone = compiled_run(build)(keys[chain], jax.tree.map(lambda x, c=chain: x[c], positions))
        assert_same_draws(jax.tree.map(lambda x, c=chain: x[c], together), alone)


@every_sampler
def test_second_call_does_not_trace(build):
    """A call with the same shapes is not compiled again."""
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, position):
        return run(build(logdensity_fn), key, position, burn_in=2, thin=3)

    for seed in range(2):
        jax.block_until_ready(step(jax.random.key(seed), start()))
    with pytest.raises(AssertionError, match="traced"):  # the counter does count
        step(jax.random.key(0), {**start(), "a": 0})


def test_burn_in_and_thinning_choose_among_the_draws_of_one_chain():
    """Draw n is step burn_in + n thin."""
    build, key = SAMPLERS["mala"], jax.random.key(5)
    state, kept = compiled_run(build)(key, start())
    thinned = run(build(logdensity_fn), key, start(), num_steps=2, burn_in=4, thin=3)
    assert_same_draws(thinned, (state, jax.tree.map(lambda leaf: leaf[4 + 2 :: 3], kept)))


def test_mala_rejects_where_the_density_is_nan_or_zero():
    """Such proposals are made, and none is accepted."""

    def half_normal(x):
        return jnp.where(x < 0, jnp.where(x < -0.5, jnp.nan, -jnp.inf), -0.5 * x**2)

    algorithm = samplers.mala(half_normal, step_size=1.0)
    _, (x, info) = run(algorithm, jax.random.key(4), 0.1, num_steps=500)
    x, (rate, is_accepted, proposal) = jax.tree.map(np.asarray, (x, info))
    assert np.any(np.isnan(proposal)) and np.any(np.isneginf(proposal)) and np.any(is_accepted)
    assert np.all(np.isfinite(proposal[is_accepted]))
    assert np.all(rate[~np.isfinite(proposal)] == 0)
    assert np.all(x >= 0)


def test_steps_that_are_not_kept_are_not_stored():
    """No array has an axis of steps, only of draws."""

    def sizes(**settings):
        algorithm = SAMPLERS["mala"](logdensity_fn)
        jaxpr = jax.make_jaxpr(lambda key: run(algorithm, key, start(), **settings))
        shapes = re.findall(r"\w+\[([\d,]+)\]", str(jaxpr(jax.random.key(0))))
        return {int(size) for shape in shapes for size in shape.split(",")}

    # 13 steps of burn-in, then 7 draws of 11 steps: only the 7 may be the size of an array.
    assert sizes(num_steps=7, thin=11, burn_in=13) & {7, 11, 13, 77, 90} == {7}
    assert 77 in sizes(num_steps=77)


def test_transform_decides_what_is_kept():
    """What is not asked for is not stored."""
    run_traced = functools.partial(
        run, SAMPLERS["mala"](logdensity_fn), transform=lambda state, info: state.logdensity
    )
    state, kept = jax.eval_shape(run_traced, jax.random.key(6), start())
    assert state.logdensity.shape == () and kept.shape == (10,)


class WalkState(NamedTuple):
    """The state of a random walk."""

    position: jax.Array
    jump: jax.Array


class WalkInfo(NamedTuple):
    """The info of a random walk."""

    acceptance_rate: float


def test_runs_a_kernel_with_other_parameter_names():
    """The contract is positional: blackjax calls the key ``rng_key``, and a state may use it."""

    def init(position, rng_key=None):
        return WalkState(position, jax.random.normal(rng_key))

    def step(rng_key, state):
        jump = jax.random.normal(rng_key, state.position.shape)
        return WalkState(state.position + jump, jnp.sum(jump)), WalkInfo(1.0)

    state, (x, info) = samplers.sample(
        jax.random.key(7), samplers.SamplingAlgorithm(init, step), jnp.zeros(2), 20
    )
    assert x.shape == (20, 2) and info.acceptance_rate.shape == (20,)
    np.testing.assert_allclose(np.sum(x[-1] - x[-2]), state.jump, rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda f: samplers.ula(f, 0.0), "step_size: expected a positive number, got 0.0"),
        (lambda f: samplers.ula(f, 0.1, -1), "temperature: expected a positive number or zero"),
        (lambda f: samplers.mala(f, -1), "step_size: expected a positive number, got -1"),
        (lambda f: samplers.mala(f, float("nan")), "step_size: .* got nan"),
        (lambda f: samplers.mala(f, np.float32(np.inf)), "step_size: .* got inf"),
    ],
)
def test_wrong_settings(build, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        build(logdensity_fn)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps: expected at least 1, got 0"),
        ({"num_steps": 1, "thin": 0}, "thin: expected at least 1, got 0"),
        ({"num_steps": 1, "burn_in": -1}, "burn_in: expected at least 0, got -1"),
    ],
)
def test_wrong_lengths(settings, message):
    """A wrong length is named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        samplers.sample(jax.random.key(0), SAMPLERS["ula"](logdensity_fn), start(), **settings)


def test_a_traced_step_size_passes():
    """Only plain numbers are checked: an array may be traced."""
    base.check_positive("step_size", jnp.asarray(-1.0))  # an array is not looked at
    for builder in (samplers.ula, samplers.mala):
        jax.eval_shape(lambda size, build=builder: build(logdensity_fn, size).init(start()), 0.3)


def log_normal(x):
    """Log N(0, I), where x_1 is above 0 alone."""
    return jnp.where(x[0] > 0, -0.5 * jnp.sum(x**2), -jnp.inf)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: samplers.ula(log_normal, "a"), TypeError, "step_size: expected a number, got 'a'"),
        (lambda: samplers.mala(log_normal, None), TypeError, "step_size: expected a number"),
        (lambda: samplers.hmc(log_normal, [0.1]), TypeError, "step_size: expected a number"),
        (lambda: run_from(jnp.ones(2), 1.5), TypeError, "num_steps: expected a whole number, got"),
        (lambda: run_from(-jnp.ones(2)), ValueError, "position: expected a start of finite log-"),
        (lambda: chains_from(-jnp.ones((3, 2))), ValueError, "a start of finite .* got -inf"),
        (lambda: chains_from(jnp.ones((0, 2))), ValueError, "x0: expected leaves with one first"),
        (lambda: samplers.gibbs([log_normal]), TypeError, "updates: expected a mapping of blocks"),
    ],
)
def test_wrong_input_is_refused_in_one_line(call, error, message):
    """Before any work, by an error of the right kind."""
    with pytest.raises(error, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def run_from(position, num_steps=3):
    """Run MALA from a position."""
    algorithm = samplers.mala(log_normal, 0.1)
    return samplers.sample(jax.random.key(0), algorithm, position, num_steps)


def chains_from(x0):
    """Run chains from positions."""
    return samplers.langevin(jax.random.key(0), log_normal, x0, 3, step_size=0.1)
