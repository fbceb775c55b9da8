"""log Z along ladders of checkpoints and along training itself, against enumeration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import BINARY, annealed, rbm, trajectory
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages

V, H = 12, 6


@functools.cache
def rows():
    """Return bits in three patterns with noise."""
    rng = np.random.default_rng(0)
    patterns = rng.random((3, V)) < 0.5
    flips = rng.random((2000, V)) < 0.1
    return jnp.asarray(patterns[rng.integers(3, size=2000)] ^ flips, jnp.float32)


@functools.cache
def run(rate=0.003):
    """Return the checkpoints of a run, and what it followed."""
    start = rbm.init_at(jax.random.key(0), rows(), H)
    settings = boltzmann.ChainSettings("pcd", num_chains=200)
    stage = boltzmann.make_stage(
        settings, Pace(800, rate, "cosine"), rows().mean(axis=0), followed=start
    )
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    seen = [start]
    for now in run_stages(Loop(100), [stage], start, pad_rows(rows()), pad_rows(rows()[:0]), keys):
        if not now.is_end:
            seen.append(jax.tree.map(jnp.copy, now.params))
    return seen, jax.tree.map(jnp.copy, now.state.chains)


def test_steps_of_training_tell_log_z():
    """Both directions, after 800 steps that are small beside what a sweep forgets."""
    _, found = run()
    exact = rbm.log_z(found.rbm)
    assert abs(exact - rbm.log_z_independent(found.rbm)) > 1
    assert abs(found.lower - exact) < 0.2 and abs(found.upper - exact) < 0.2


def test_directions_may_agree_and_be_wrong():
    """At three times the rate chains lag behind: both directions miss the same, so no bracket."""
    _, found = run(rate=0.01)
    assert abs(found.upper - found.lower) < 0.3
    assert abs(found.lower - rbm.log_z(found.rbm)) > 0.6


def test_exact_chains_bracket_every_step():
    """Along machines whose draws are exact: within their errors, below and above in the mean."""
    end = run()[0][-1]
    ladder = boltzmann.tempering.temperatures(end, jnp.zeros(V), 6)
    places = [jax.tree.map(lambda leaf, n=n: leaf[n], ladder) for n in range(6)]

    @jax.jit
    def one(key):
        keys = jax.random.split(key, 6)
        now = trajectory.begin(keys[0], places[0], 400, BINARY)
        for key, place in zip(keys[1:], places[1:], strict=True):
            now = trajectory.follow(now, place, rbm.sample(key, place, 400), BINARY)
        return now.lower, now.upper

    lower, upper = jax.lax.map(one, jax.random.split(jax.random.key(3), 40))
    exact = rbm.log_z(end)
    for side in (lower, upper):
        assert abs(side.mean() - exact) < 4 * side.std() / np.sqrt(40) + 0.02
    assert lower.mean() < upper.mean() + 4 * (lower - upper).std() / np.sqrt(40)


def test_checkpoints_are_a_ladder():
    """Both sides hold log Z; paths along checkpoints weigh about the same at the end."""
    checkpoints, _ = run()
    first = annealed.without_weights(checkpoints[0], checkpoints[0].visible)
    ladder = boltzmann.stack([first, *checkpoints])
    end = checkpoints[-1]
    draws = rbm.sample(jax.random.key(4), end, 200)
    for keep in (0.0, 0.5):
        found = boltzmann.bracket_along(jax.random.key(5), ladder, draws, 50, 200, keep=keep)
        for side in found:
            assert abs(side.log_z - rbm.log_z(end)) < 4 * side.standard_error
            assert side.standard_error < 0.1
