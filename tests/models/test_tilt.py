"""Tilted linear-Gaussian models: log Z, the negative phase and noise contrast, in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import models
from mnar_ebm.config import Config
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.objectives import bounds, contrastive, negative_phase
from mnar_ebm.samplers import effective_sample_size, log_mean_exp_standard_error
from mnar_ebm.tilted import stages
from mnar_ebm.types import Batch

pytestmark = pytest.mark.usefixtures("quick_compile")

SPACES = ("data", "latent", "joint")
every_space = pytest.mark.parametrize("space", SPACES)
LINEAR = oracles.DENSE
NUM_DRAWS = 200_000


@functools.cache
def tilted_model(space, widen=1.0):
    """Return the linear model tilted in a space, and its parameters."""
    return oracles.make_linear_model(LINEAR, energy=oracles.quadratic(space), widen=widen)


def exact(space):
    """Return log Z and the tilted law of (z, x)."""
    return oracles.tilted_joint(LINEAR, oracles.quadratic(space))


@functools.cache
def base_draws(space):
    """Return draws of (z, x) from the base [N, L + D] and their energies [N]."""
    model, params = tilted_model(space)
    draw = jax.jit(models.sample_base, static_argnums=(1, 3))
    x, z = draw(jax.random.key(0), model.vae, params.base, NUM_DRAWS)
    return np.concatenate([z, x], axis=1), jax.jit(models.energy, static_argnums=0)(
        model, params, x, z
    )


def test_latent_log_z_matches_gauss_hermite_quadrature():
    """The formula of the latent tilt, -½ log|P| + ½ c'P^-1 c with P = I + B, and the oracle's."""
    energy = oracles.quadratic("latent")
    nodes, weights = oracles.normal_nodes(60, 2)
    v = np.concatenate([nodes, np.zeros((len(nodes), 4))], axis=1)
    by_quadrature = np.log(weights @ np.exp(-energy(v)))
    precision, slope = np.eye(2) + energy.curvature[:2, :2], energy.slope[:2]
    closed = -0.5 * np.linalg.slogdet(precision)[1] + 0.5 * slope @ np.linalg.solve(
        precision, slope
    )
    log_z, law = exact("latent")
    np.testing.assert_allclose([closed, by_quadrature], log_z, rtol=1e-10)
    z = oracles.latents_of(LINEAR, law)
    np.testing.assert_allclose(z.mean, -np.linalg.solve(precision, slope), rtol=1e-10)
    np.testing.assert_allclose(z.covariance, np.linalg.inv(precision), rtol=1e-10)
    x = oracles.rows_of(LINEAR, law)
    np.testing.assert_allclose(x.mean, LINEAR.mean + LINEAR.loadings @ z.mean, rtol=1e-10)
    covariance = LINEAR.loadings @ z.covariance @ LINEAR.loadings.T + LINEAR.noise**2 * np.eye(4)
    np.testing.assert_allclose(x.covariance, covariance, rtol=1e-10)


def test_data_log_z_matches_gauss_hermite_quadrature():
    """The tilt of x alone, over the marginal of x, with 24 nodes in each of four columns."""
    energy, marginal = oracles.quadratic("data"), oracles.rows_of(LINEAR, oracles.joint(LINEAR))
    nodes, weights = oracles.normal_nodes(24, 4)
    x = marginal.mean + nodes @ np.linalg.cholesky(marginal.covariance).T
    v = np.concatenate([np.zeros((len(x), 2)), x], axis=1)
    log_z, law = exact("data")
    np.testing.assert_allclose(np.log(weights @ np.exp(-energy(v))), log_z, rtol=1e-7)
    own = oracles.Quadratic(energy.curvature[2:, 2:], energy.slope[2:])
    alone_log_z, alone = oracles.tilt(marginal, own)
    np.testing.assert_allclose(alone_log_z, log_z, rtol=1e-10)
    np.testing.assert_allclose(alone.mean, oracles.rows_of(LINEAR, law).mean, rtol=1e-10)


@every_space
def test_joint_log_prob_is_the_tilted_density(space):
    """Log p(x, z, s) + log Z, with s of probability one."""
    log_z, law = exact(space)
    v = np.random.default_rng(0).normal(size=(20, 6))
    with jax.enable_x64(True):
        model, params = oracles.make_linear_model(LINEAR, energy=oracles.quadratic(space))
        log_prob = jax.vmap(models.joint_log_prob, in_axes=(None, None, 0, 0, None))
        actual = jax.jit(log_prob, static_argnums=0)(
            model, params, v[:, 2:], v[:, :2], np.ones(4, bool)
        )
    np.testing.assert_allclose(actual, law.log_prob(v) + log_z, rtol=1e-10)


@every_space
def test_base_draws_give_log_z_and_the_tilted_moments(space):
    """Log Z by snis, and its weights' mean and covariance of (z, x), within five errors."""
    log_z, law = exact(space)
    v, energies = base_draws(space)
    oracles.assert_moments(v, oracles.joint(LINEAR))
    error = log_mean_exp_standard_error(-energies)
    assert abs(negative_phase.snis_log_z(energies) - log_z) < 5 * error
    oracles.assert_weighted_moments(-energies, v, law)


@every_space
def test_jensen_is_minus_the_mean_energy_and_never_above_snis(space):
    """Minus E_base[E], below log Z, and below snis on any draws."""
    log_z, _ = exact(space)
    base, energy = oracles.joint(LINEAR), oracles.quadratic(space)
    mean_energy = energy(base.mean) + 0.5 * np.trace(energy.curvature @ base.covariance)
    _, energies = base_draws(space)
    oracles.assert_mean(energies, mean_energy)
    assert -mean_energy < log_z
    groups = energies.reshape(-1, 100)
    lower, upper = (
        jax.vmap(estimate)(groups)
        for estimate in (negative_phase.mean_log_z, negative_phase.snis_log_z)
    )
    assert (lower < upper).all()
    np.testing.assert_allclose(lower.mean(), -energies.mean(), rtol=1e-4)


@every_space
@pytest.mark.parametrize("name", ["snis", "jensen"])
def test_gradient_of_the_negative_phase_is_a_moment(name, space):
    """In the curvature ½E[vv'], in the slope E[v]: of the tilted model, or of the base."""
    model, params = tilted_model(space)
    estimate = NEGATIVE_PHASES[name].log_z

    @jax.jit
    def gradients(keys):
        def log_z(energy, key):
            moved = params._replace(energy=energy)
            return estimate(negative_phase.base_energies(key, model, moved, 5000))

        return jax.vmap(jax.grad(log_z), in_axes=(None, 0))(params.energy, keys)

    law = exact(space)[1] if name == "snis" else oracles.joint(LINEAR)
    gradient = gradients(jax.random.split(jax.random.key(1), 40))
    oracles.assert_mean(gradient["slope"], -law.mean)
    second = law.covariance + np.outer(law.mean, law.mean)
    oracles.assert_mean(gradient["curvature"], -0.5 * second)


@every_space
@pytest.mark.parametrize("num_observed", [0, 2, 4])
def test_tilted_bound_is_unbiased_for_the_tilted_likelihood(space, num_observed):
    """E w = p_t(x_obs) Z, with x_mis drawn and E of the completed row in the weight."""
    mask = np.arange(4) < num_observed
    row = np.array([0.8, -0.5, 0.3, 1.1])
    log_z, law = exact(space)
    expected = log_z
    if num_observed:
        expected += oracles.rows_of(LINEAR, law).marginal(mask).log_prob(row[mask])
    log_w = row_log_weights(space, row, mask)
    oracles.assert_mean(np.exp(np.asarray(log_w, np.float64) - expected), 1.0)
    bound = bounds.importance_bound(log_w, tilted_model(space)[1].log_z)
    error = log_mean_exp_standard_error(log_w)
    assert abs(float(bound) - (expected - log_z)) < 5 * error


def row_log_weights(space, row, mask):
    """Return many log-weights of a row under an encoder that covers the posterior. [K]."""
    return _row_draws(*tilted_model(space, widen=1.4), row, mask).log_w


@functools.partial(jax.jit, static_argnums=0)
def _row_draws(model, params, row, mask):
    return bounds.log_weights(jax.random.key(2), model, params, row, mask, NUM_DRAWS)


def test_a_data_tilt_leaves_the_latents_of_a_complete_row_alone():
    """Every log-weight moves by -E(x), so that the posterior of z given x is the base's."""
    energy, mask = oracles.quadratic("data"), np.ones(4, bool)
    row = np.array([0.8, -0.5, 0.3, 1.1])
    model, params = tilted_model("data", widen=1.4)
    tilted, plain = (
        _row_draws(each, params, row, mask).log_w for each in (model, models.without_tilt(model))
    )
    expected = -energy(np.concatenate([np.zeros(2), row]))
    rounding = 8 * np.finfo(np.float32).eps * np.abs(plain).max()
    np.testing.assert_allclose(tilted - plain, expected, atol=rounding)


def test_a_bounded_energy_matches_quadrature():
    """E(z) = 2 tanh(z_1 z_2 + z_1), which is not quadratic: log Z and E[z] by 80 nodes squared."""
    model, params = oracles.make_linear_model(LINEAR)

    def energy(params, x, z):
        return 2.0 * jnp.tanh(z[..., 0] * z[..., 1] + z[..., 0])

    model = model._replace(tilt=models.Tilt(False, True, lambda key: {}, energy))
    nodes, weights = oracles.normal_nodes(80, 2)
    tilted = weights * np.exp(-2.0 * np.tanh(nodes[:, 0] * nodes[:, 1] + nodes[:, 0]))
    estimate = jax.jit(negative_phase.base_energies, static_argnums=(1, 3))
    energies = estimate(jax.random.key(3), model, params, NUM_DRAWS)
    error = log_mean_exp_standard_error(-energies)
    assert abs(negative_phase.snis_log_z(energies) - np.log(tilted.sum())) < 5 * error


@pytest.mark.parametrize("noise_ratio", [1.0, 5.0])
def test_noise_contrast_is_stationary_at_the_truth(noise_ratio):
    """Data that are the noise, reweighted by exp(-E): at -E and their log Z the gradient is 0.

    Away from it the loss is higher, and in log Z alone it has its one minimum there.
    """
    with jax.enable_x64(True):
        log_weight = jnp.asarray(np.random.default_rng(1).normal(size=300))
        weights, log_z = jax.nn.softmax(log_weight), negative_phase.snis_log_z(-log_weight)

        @jax.jit
        @jax.value_and_grad
        def loss(log_ratio):
            return contrastive.nce_loss(log_ratio, weights, log_ratio, noise_ratio)

        truth, gradient = loss(log_weight - log_z)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
        for shift in (-1.0, -0.1, 0.1, 1.0):
            value, gradient = loss(log_weight - log_z + shift)
            assert value > truth and np.sign(gradient.sum()) == np.sign(shift)
        assert loss(log_weight * 0.9 - log_z)[0] > truth


@pytest.mark.parametrize("space", ["data", "latent"])
def test_the_nce_stage_is_stationary_at_the_truth(space):
    """Rows of the tilted model: its gradient in energy and log Z has mean zero there."""
    model, params = tilted_model(space)
    config = Config(
        tilt=space, negative_phase="nce", num_importance_samples=100, num_negatives=1000
    )
    _, law = exact(space)
    num_runs, num_rows = 100, 100
    rows = np.random.default_rng(2).multivariate_normal(law.mean, law.covariance, 10_000)[:, 2:]
    batches = rows.reshape(num_runs, num_rows, 4).astype(np.float32)

    @jax.jit
    def gradients(keys, batches, log_z):
        def loss(part, key, x):
            moved = params._replace(energy=part[0], log_z=part[1])
            batch = Batch(x, jnp.ones(x.shape, bool))
            return stages.nce_loss(
                model,
                config.optimisation.num_importance_samples,
                config.negatives,
                key,
                moved,
                batch,
                (),
            )[0]

        gradient = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))
        return gradient((params.energy, log_z), keys, batches)

    keys = jax.random.split(jax.random.key(4), num_runs)
    energy_gradient, log_z_gradient = gradients(keys, batches, params.log_z)
    oracles.assert_mean(log_z_gradient, 0.0)
    oracles.assert_mean(energy_gradient["slope"], 0.0)
    oracles.assert_mean(energy_gradient["curvature"], 0.0)
    _, off = gradients(keys, batches, params.log_z + 0.3)
    assert off.mean() > 5 * off.std() / np.sqrt(num_runs)  # pushed back down: the test could tell


@every_space
def test_the_spaces_of_a_network_decide_what_it_is_shown(space):
    """A change of what is not read changes nothing; the fresh energy is 0 and it is bounded."""
    tilt = models.make_tilt(space, num_features=4, latent_dim=2, hidden_dim=8, bound=3.0)
    params = tilt.init(jax.random.key(0))
    x, z = (
        jax.random.normal(jax.random.key(1), (5, 4)),
        jax.random.normal(jax.random.key(2), (5, 2)),
    )
    np.testing.assert_array_equal(tilt.energy(params, x, z), np.zeros(5))
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)
    energy = tilt.energy(params, x, z)
    assert energy.shape == (5,)
    assert np.array_equal(energy, tilt.energy(params, x + 1, z)) == (not tilt.reads_x)
    assert np.array_equal(energy, tilt.energy(params, x, z + 1)) == (not tilt.reads_z)
    assert (np.abs(tilt.energy(params, 1e6 * x, 1e6 * z)) <= 3).all()


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_a_bound_on_the_energy_bounds_what_it_leaves_effective(bound):
    """At least 1/cosh²(b) of base draws, of steep networks too; near it where E is rarely low."""
    tilt = models.make_tilt("latent", num_features=1, latent_dim=2, hidden_dim=8, bound=bound)
    z = jax.random.normal(jax.random.key(0), (4096, 2))

    def effective_share(key):
        leaves, tree = jax.tree.flatten(tilt.init(key))
        noise = [4 * jax.random.normal(key, leaf.shape) for leaf in leaves]
        params = jax.tree.unflatten(
            tree, [leaf + more for leaf, more in zip(leaves, noise, strict=True)]
        )
        energy = tilt.energy(params, jnp.zeros((len(z), 1)), z)
        return effective_sample_size(-energy) / len(z)

    shares = jax.jit(jax.vmap(effective_share))(jax.random.split(jax.random.key(1), 200))
    least = 1 / np.cosh(bound) ** 2
    assert least <= shares.min() < 1.2 * least


def test_an_unknown_space_is_refused():
    """The known ones are listed."""
    with pytest.raises(ValueError, match="tilt: expected one of none, data, latent, joint, got"):
        models.make_tilt("pixel", 4, 2, 8, 20.0)


@pytest.mark.parametrize("is_normalised", [False, True])
def test_a_convolutional_energy_reads_rows_as_images(is_normalised):
    """It starts at 0 and keeps its bound; a batch of rows is as each of them; z is not read."""
    tilt = models.make_tilt("data", 36, 2, 8, 3.0, "plain", (3, 4), is_normalised)
    start = tilt.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 3, 36))
    assert not np.any(tilt.energy(start, x, jnp.zeros((2, 3, 2))))
    moved = jax.tree.map(lambda leaf: leaf + 0.05, start)
    energies = np.asarray(tilt.energy(moved, x, jnp.ones((2, 3, 2))))
    assert energies.shape == (2, 3) and np.ptp(energies) > 0
    assert np.abs(tilt.energy(moved, 1e4 * x, jnp.ones((2, 3, 2)))).max() <= 3.0
    one = tilt.energy(moved, x[1, 2], jnp.zeros(2))
    np.testing.assert_allclose(one, energies[1, 2], rtol=1e-4)


def test_a_convolutional_energy_is_of_images_alone():
    """Neither of a latent, nor of rows that fill no square."""
    with pytest.raises(ValueError, match="network: expected mlp for a tilt that reads the latent"):
        Config(tilt="joint", network="plain")
    tilt = models.make_tilt("data", 7, 2, 8, 3.0, "plain", (3,))
    with pytest.raises(ValueError, match="expected the columns of square images, .* got 7"):
        tilt.init(jax.random.key(0))
