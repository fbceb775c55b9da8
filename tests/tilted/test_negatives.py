"""Negative phases by chains, ``cd`` and ``pcd``: their gradient is a moment of the tilted model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import models
from mnar_ebm.config import Config
from mnar_ebm.inference import targets
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.samplers import replay
from mnar_ebm.tilted import negatives as negatives_module
from mnar_ebm.tilted.negatives import data_positions, make_negatives
from mnar_ebm.types import Batch

pytestmark = pytest.mark.usefixtures("quick_compile")

LINEAR = oracles.DENSE
every_space = pytest.mark.parametrize(
    "space", [pytest.param("data", marks=pytest.mark.slow), "latent", "joint"]
)
LONG = {"num_chain_steps": 30}
_X = np.array([[0.8, -0.5, 0.3, 1.1], [0.2, np.nan, 0.4, 0.1]])
BATCH = Batch(_X, ~np.isnan(_X))
"""One row is complete, and one lacks its second value."""

SHORT = {"num_chain_steps": 1, "replay_size": 400, "restart_share": 0.0}
"""Half of the buffer is drawn at each update, for one step of MALA."""


def config_of(space, phase, **settings):
    """Return settings with 200 chains of long steps."""
    return Config(
        tilt=space, negative_phase=phase, num_negatives=200, chain_step_size=0.4, **settings
    )


def run(space, phase, num_updates=1, num_runs=30, **settings):
    """Return value and gradient in ``Params`` of the last update at fixed parameters. [R, ...]."""
    model, params = oracles.make_linear_model(LINEAR, energy=oracles.quadratic(space))
    negatives = make_negatives(config_of(space, phase, **settings).negatives, model)

    @jax.jit
    @jax.vmap
    def last(key):
        key_init, key_last, *keys = jax.random.split(key, 1 + num_updates)
        chains = negatives.init(key_init)
        if keys:
            chains, _ = jax.lax.scan(
                lambda chains, key: (negatives.log_z(key, params, chains, BATCH)[1], None),
                chains,
                jnp.stack(keys),
            )

        def log_z(params):
            value, _, info = negatives.log_z(key_last, params, chains, BATCH)
            return value, info

        (value, info), gradient = jax.value_and_grad(log_z, has_aux=True)(params)
        return value, gradient, info

    return last(jax.random.split(jax.random.key(1), num_runs))


def law_of(space):
    """Return the tilted law of (z, x)."""
    return oracles.tilted_joint(LINEAR, oracles.quadratic(space))[1]


def assert_moments(space, gradient):
    """Hold that the gradient of log Z is -E[v] in the slope and -½E[vv'] in the curvature."""
    shown = slice(0, 2) if space == "latent" else slice(0, 6)  # a tilt of z is shown no x
    law = law_of(space).marginal(shown)
    oracles.assert_mean(gradient.energy["slope"][:, shown], -law.mean)
    second = law.covariance + np.outer(law.mean, law.mean)
    oracles.assert_mean(gradient.energy["curvature"][:, shown, shown], -0.5 * second)


@every_space
def test_long_fresh_chains_have_the_gradient_of_log_z(space):
    """Negative phase ½(C' + m'm'') in the curvature, m' in the slope, within five errors."""
    value, gradient, info = run(space, "cd", **LONG)
    assert_moments(space, gradient)
    assert np.all((info["acceptance_rate"] > 0.5) & (info["acceptance_rate"] < 1))
    # The value is E_model[-E] = log Z + KL(model|base), above log Z.
    energy, law = oracles.quadratic(space), law_of(space)
    log_z, _ = oracles.tilted_joint(LINEAR, energy)
    mean_energy = energy(law.mean) + 0.5 * np.trace(energy.curvature @ law.covariance)
    oracles.assert_mean(value, -mean_energy)
    assert -mean_energy > log_z


@pytest.mark.parametrize("space", ["latent", "joint"])
def test_long_chains_from_data_have_the_gradient_of_log_z(space):
    """Wherever they start, long chains end at the model."""
    _, gradient, _ = run(space, "cd", chain_start="data", **LONG)
    assert_moments(space, gradient)


def test_chains_that_start_at_data_stand_there(monkeypatch):
    """Noise that the model makes the rows of, and latents of their posterior; a gap is drawn."""
    model, params = oracles.make_linear_model(LINEAR, energy=oracles.quadratic("joint"))
    monkeypatch.setattr(negatives_module, "NUM_POSTERIOR_DRAWS", 500)
    starts = data_positions(jax.random.key(3), model, params, BATCH, 2000)
    x, z = jax.vmap(lambda noise: targets.from_noise(model, params, noise))(starts)
    is_first = np.abs(x[:, 1] - BATCH.x[0, 1]) < 1e-4
    seen = np.array([0, 2, 3])
    assert np.abs(x[is_first] - BATCH.x[0]).max() < 1e-4
    assert np.abs(x[~is_first][:, seen] - BATCH.x[1][seen]).max() < 1e-4
    law = oracles.tilted_joint(LINEAR, oracles.quadratic("joint"))[1]
    for row, stands in enumerate((is_first, ~is_first)):
        mask = BATCH.mask[row]
        posterior = law.given(np.array([False, False, *mask]), BATCH.x[row][mask])
        oracles.assert_mean(z[stands], posterior.mean[:2])
        assert 900 < stands.sum() < 1100


@every_space
def test_short_persistent_chains_have_the_gradient_of_log_z(space):
    """One step an update is enough for chains that go on."""
    _, gradient, info = run(space, "pcd", num_updates=40, **SHORT)
    assert_moments(space, gradient)
    assert np.all(np.abs(info["chain_age"] - 20.5) < 2)


def test_short_chains_that_start_again_do_not():
    """With every chain started again, all are one step old, as with ``cd``."""
    settings = SHORT | {"restart_share": 1.0}
    _, gradient, info = run("latent", "pcd", num_updates=2, **settings)
    assert np.all(info["chain_age"] == 1)
    with pytest.raises(AssertionError):
        assert_moments("latent", gradient)


def test_the_gradient_in_the_base_is_that_of_log_z():
    """Chains hold noise, so what the base does to x is differentiated too: exact differences."""
    _, gradient, _ = run("joint", "cd", **LONG)
    for name in ("mean", "loadings", "noise"):
        oracles.assert_mean(gradient.base[name], exact_base_gradient("joint", name))


def exact_base_gradient(space, name, width=1e-5):
    """Return the derivative of log Z in a parameter of the linear model, by differences."""
    start = np.asarray(getattr(LINEAR, name), float)
    result = np.zeros(start.size)
    for index in range(start.size):
        ends = []
        for sign in (1, -1):
            moved = start.ravel().copy()
            moved[index] += sign * width
            linear = LINEAR._replace(**{name: moved.reshape(start.shape)})
            ends.append(oracles.tilted_joint(linear, oracles.quadratic(space))[0])
        result[index] = (ends[0] - ends[1]) / (2 * width)
    return result.reshape(start.shape)


# Guards: each of the ways to get this wrong is seen by the tests above.


def test_a_gradient_that_goes_through_the_chain_is_seen(monkeypatch):
    """The draws move with the energy: another gradient."""
    monkeypatch.setattr(jax.lax, "stop_gradient", lambda tree: tree)
    _, gradient, _ = run("latent", "cd", num_chain_steps=10)
    with pytest.raises(AssertionError):
        assert_moments("latent", gradient)


def test_a_wrong_sign_is_seen(monkeypatch):
    """An energy that goes down at the model's own draws."""
    wrong = NEGATIVE_PHASES["cd"]._replace(log_z=jnp.mean)
    monkeypatch.setitem(NEGATIVE_PHASES, "cd", wrong)
    _, gradient, _ = run("latent", "cd", **LONG)
    with pytest.raises(AssertionError):
        assert_moments("latent", gradient)


def test_chains_that_are_not_put_back_are_seen(monkeypatch):
    """They start from the same place at every update."""
    monkeypatch.setattr(replay, "put_back", lambda buffer, indices, rows: buffer)
    _, gradient, _ = run("latent", "pcd", num_updates=40, **SHORT)
    with pytest.raises(AssertionError):
        assert_moments("latent", gradient)


# What is carried from step to step.


@functools.cache
def small_model(tilt, likelihood="gaussian"):
    """Return a small network model and its parameters."""
    config = Config(tilt=tilt, mechanism="none", likelihood=likelihood, latent_dim=2, hidden_dim=4)
    model = models.make_model(config.model, num_features=4, observed_columns=(0,))
    init = jax.jit(models.init_params, static_argnums=1)
    return model, init(jax.random.key(0), model, jnp.full(4, 0.3))


@pytest.mark.parametrize("phase", ["snis", "jensen", "nce", "cd"])
def test_only_persistent_chains_are_carried(phase):
    """The others have an empty state and hand it on."""
    model, params = small_model("joint")
    negatives = make_negatives(config_of("joint", phase).negatives, model)
    assert jax.tree.leaves(negatives.init(jax.random.key(0))) == []
    value, chains, _ = jax.eval_shape(negatives.log_z, jax.random.key(0), params, (), BATCH)
    assert value.shape == () and chains == ()


@pytest.mark.parametrize("phase", ["cd", "pcd"])
def test_without_a_tilt_there_are_no_chains(phase):
    """The stage ``base`` has log Z = 0."""
    model, params = small_model("none")
    negatives = make_negatives(config_of("none", phase).negatives, model)
    assert negatives.init(jax.random.key(0)) == ()
    value, chains, info = negatives.log_z(jax.random.key(0), params, (), BATCH)
    assert (value, chains, info) == (0, (), {})


def test_a_latent_tilt_has_chains_under_a_discrete_likelihood():
    """They move z alone, where nothing is discrete."""
    model, params = small_model("latent", "bernoulli")
    negatives = make_negatives(config_of("latent", "pcd", **SHORT).negatives, model)
    chains = negatives.init(jax.random.key(0))
    assert chains.positions.shape == (400, 2)

    def log_z(params):
        return negatives.log_z(jax.random.key(1), params, chains, BATCH)[0]

    gradient = jax.jit(jax.grad(log_z))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient.energy))
    assert not any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient.base))
