"""Brackets of log Z against enumeration, and guards that bite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import RBM, rbm, training
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages
from mnar_ebm.training.optimiser import make_optimiser


def machine(scale=0.5):
    """Return a machine of 30 x 8 units, whose log Z is exact."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=30), rng.normal(size=8), scale * rng.normal(size=(30, 8))
    return RBM(*(jnp.asarray(part, jnp.float32) for part in parts))


def brackets(one, num_runs, draws=None, num_paths=100, **settings):
    """Return brackets of log Z by so many seeds, from exact draws if there are no others. [R]."""

    def run(key):
        key_draws, key_paths = jax.random.split(key)
        start = rbm.sample(key_draws, one, num_paths) if draws is None else draws
        bias = jnp.zeros(30)
        return boltzmann.bracket(key_paths, one, bias, start, num_paths=num_paths, **settings)

    return jax.lax.map(run, jax.random.split(jax.random.key(1), num_runs))


def test_both_sides_are_within_their_errors():
    """Of 20 runs with 1000 temperatures, all; the bracket is narrow."""
    one = machine()
    exact = rbm.log_z(one)
    found = brackets(one, 20)
    for side in found:
        assert (np.abs(side.log_z - exact) < 3.5 * side.standard_error).all()
        assert (side.effective_sample_size > 50).all()
    assert np.abs(found.upper.log_z - found.lower.log_z).max() < 0.2


def test_with_few_temperatures_the_sides_are_below_and_above():
    """In expectation, here of the mean over 50 runs of three paths."""
    one = machine(scale=1.0)
    exact = float(rbm.log_z(one))
    found = brackets(one, 50, num_temperatures=5, num_paths=3)
    lower, upper = (np.asarray(side.log_z, float) for side in found)
    error = lower.std() / np.sqrt(50), upper.std() / np.sqrt(50)
    assert lower.mean() + 2 * error[0] < exact < upper.mean() - 2 * error[1]


def test_a_machine_of_independent_bits_needs_no_path():
    """Where the base is the machine every weight is 1."""
    one = machine()._replace(weights=jnp.zeros((30, 8)), hidden=jnp.zeros(8))
    found = boltzmann.bracket(
        jax.random.key(0), one, one.visible, rbm.sample(jax.random.key(1), one, 10), 5, 10
    )
    for side in found:
        np.testing.assert_allclose(side.log_z, rbm.log_z(one), rtol=1e-6)


def test_errors_know_of_a_mode_that_paths_missed():
    """It has half of Z and few of the paths; those back from exact draws know of it."""
    one = RBM(
        jnp.zeros(30),
        jnp.full(1, -30 * (np.log1p(np.exp(4.0)) - np.log(2))),
        jnp.full((30, 1), 4.0),
    )
    exact = rbm.log_z(one)
    found = brackets(one, 20)
    for side in found:
        assert (np.abs(side.log_z - exact) <= 3 * side.standard_error).all()
    own = np.sqrt(1 / found.lower.effective_sample_size - 1 / 100)
    assert (np.abs(found.lower.log_z - exact) > 3 * own).mean() > 0.1  # of 20, honest ones: none
    short = brackets(one, 20, draws=rbm.draw(jax.random.key(2), jnp.zeros((100, 30))))
    assert (np.abs(short.lower.log_z - exact) > 3 * short.lower.standard_error).any()  # inexact


def test_guards_bite(monkeypatch):
    """A wrong sign in the free energy, and a bracket from draws that are not the machine's."""
    one = machine(scale=1.0)
    exact = float(rbm.log_z(one))
    stuck = brackets(one, 5, draws=jnp.ones((100, 30)), num_temperatures=5)
    assert (stuck.upper.log_z < exact).any()  # not above: a draw has to be the machine's

    def wrong(one, v, kind):
        return v @ one.visible - jax.nn.softplus(one.hidden + v @ one.weights).sum(axis=-1)

    monkeypatch.setattr(rbm, "free_energy", wrong)
    jax.clear_caches()
    found = brackets(one, 5)
    assert (np.abs(found.lower.log_z - exact) > 3.5 * found.lower.standard_error).any()


@pytest.mark.parametrize("phase", ["pcd", "cd"])
def test_a_machine_trains_through_the_engine(phase):
    """On bits that go together in pairs: it learns which, and its likelihood nears the entropy."""
    rng = np.random.default_rng(0)
    half = rng.random((2500, 3)) < 0.5
    other = half ^ (rng.random((2500, 3)) < 0.15)
    x = jnp.asarray(np.concatenate([half, other], axis=1), jnp.float32)
    settings = boltzmann.ChainSettings(phase, 100, 5)
    stage = boltzmann.make_stage(settings, Pace(600, 0.02, "cosine"), x[:2000].mean(axis=0))
    start = rbm.init(jax.random.key(0), jnp.full(6, 0.5), 6, scale=0.1)
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    rows, held_out = pad_rows(x[:2000]), pad_rows(x[2000:])
    *_, end = run_stages(Loop(100), [stage], start, rows, held_out, keys)
    reached = rbm.log_likelihood(end.params, x[2000:], rbm.log_z(end.params)).mean()
    flips = (x[2000:, :3] != x[2000:, 3:]).sum(axis=1)
    law = -3 * np.log(2) + flips * np.log(0.15) + (3 - flips) * np.log(0.85)
    before = rbm.log_likelihood(start, x[2000:], rbm.log_z(start)).mean()
    assert before < law.mean() - 0.7 and reached > law.mean() - 0.05


def test_weight_decay_shrinks_weights_alone():
    """Data and chains alike have no gradient; biases about the offsets stay."""
    pace = Pace(decays=(2.0,))
    stage = boltzmann.make_stage(boltzmann.ChainSettings(), pace, jnp.full(30, 0.5))
    moving = stage.select(machine())
    adam = make_optimiser(stage.decayed, pace.decays, 0.1)
    nothing = jax.tree.map(jnp.zeros_like, moving)
    updates, _ = adam.update(nothing, adam.init(moving), moving)
    np.testing.assert_allclose(updates.weights, -0.2 * moving.weights, rtol=1e-5)
    assert not updates.visible.any() and not updates.hidden.any()


def test_a_wrong_setting_is_refused():
    """In one line."""
    with pytest.raises(ValueError, match="phase: expected one of cd, pcd, got 'snis'"):
        boltzmann.make_stage(boltzmann.ChainSettings("snis"), Pace(), jnp.zeros(3))
    with pytest.raises(ValueError, match="num_sweeps: expected at least 1, got 0"):
        boltzmann.make_stage(boltzmann.ChainSettings(num_sweeps=0), Pace(), jnp.zeros(3))
    with pytest.raises(ValueError, match="momentum: expected a value from 0 to below 1, got 1"):
        boltzmann.make_stage(boltzmann.ChainSettings(momentum=1.0), Pace(), jnp.zeros(3))
    with pytest.raises(ValueError, match="sparsity_rate: expected a value strictly between"):
        boltzmann.make_stage(boltzmann.ChainSettings(sparsity_rate=0.0), Pace(), jnp.zeros(3))
    with pytest.raises(ValueError, match="followed: expected phase pcd"):
        settings = boltzmann.ChainSettings("cd")
        boltzmann.make_stage(settings, Pace(), jnp.zeros(30), followed=machine())


def test_resampled_paths_bracket_too():
    """Paths are drawn anew by their weights; the error knows whose heirs they are."""
    one = machine(scale=1.0)
    exact = rbm.log_z(one)
    found = brackets(one, 20, num_temperatures=100, keep=0.5)
    for side in found:
        assert (np.abs(side.log_z - exact) < 4 * side.standard_error).all()
        assert (side.effective_sample_size < 100).all()


def test_momentum_in_place_of_adam():
    """A gradient that stays: steps of 1, 1.9, 2.71 times it."""
    settings = boltzmann.ChainSettings(momentum=0.9)
    stage = boltzmann.make_stage(settings, Pace(), jnp.full(30, 0.5))
    moving = stage.select(machine())
    optimiser = make_optimiser(stage.decayed, (), 0.1, stage.direct)
    gradient = jax.tree.map(jnp.ones_like, moving)
    state = optimiser.init(moving)
    for size in (1.0, 1.9, 2.71):
        updates, state = optimiser.update(gradient, state, moving)
        np.testing.assert_allclose(updates.weights, -0.1 * size, rtol=1e-5)


def fit(settings, x, num_hidden=6, rate=0.02):
    """Return a machine of bits, trained."""
    stage = boltzmann.make_stage(settings, Pace(400, rate, "cosine"), x.mean(axis=0))
    start = rbm.init_at(jax.random.key(0), x, num_hidden, scale=0.1)
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    *_, end = run_stages(Loop(100), [stage], start, pad_rows(x), pad_rows(x[:0]), keys)
    return end.params


def test_sparse_units_are_on_as_seldom_as_is_asked():
    """With a price; without one they are on half of the time. Momentum trains it."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((1000, 8)) < 0.5, jnp.float32)
    plain = boltzmann.ChainSettings(momentum=0.9)
    on = {}
    for price in (0.0, 1.0):
        one = fit(plain._replace(sparsity_price=price), x, rate=0.05)
        on[price] = jax.nn.sigmoid(rbm.hidden_logits(one, x)).mean(axis=0)
    assert (on[0.0] > 0.3).all()
    np.testing.assert_allclose(on[1.0], 0.1, atol=0.03)
    even = one._replace(weights=0 * one.weights, hidden=jnp.full(6, -np.log(9)))
    entropy = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    np.testing.assert_allclose(training.sparsity(even, x, 0.1), 6 * entropy, rtol=1e-5)


def test_chains_started_afresh_are_seen():
    """Persistent chains of a machine that stays give its gradient; fresh ones give another."""
    one = machine(scale=1.0)._replace(visible=jnp.linspace(-3, 3, 30))
    stage = boltzmann.make_stage(
        boltzmann.ChainSettings(num_chains=2000), Pace(), jnp.full(30, 0.5)
    )
    data = rbm.sample(jax.random.key(0), one, 2000)

    @jax.jit
    def energy_gap(key, memory):
        value, (_, memory) = stage.loss(key, one, data, (), memory)
        return value, memory

    memory = fresh = stage.init_memory(jax.random.key(1))
    for key in jax.random.split(jax.random.key(2), 50):
        persistent, memory = energy_gap(key, memory)
        afresh, _ = energy_gap(key, fresh)
    energies = rbm.free_energy(one, data)
    error = np.sqrt(2) * energies.std() / np.sqrt(2000)
    assert abs(persistent) < 4 * error < abs(afresh)
