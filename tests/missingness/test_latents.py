"""Latents of the gaps: masks by enumeration and by quadrature over z; what is read, and by whom."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from mnar_ebm import Config, models
from mnar_ebm.kinds import make_blocks
from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.missingness import latents, make_gap_model
from mnar_ebm.models import make_model
from mnar_ebm.objectives import bounds
from mnar_ebm.samplers.importance import log_mean_exp_standard_error
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_DRAWS = 20_000
TABLES = {"numeric": (), "mixed": make_blocks([("binary", 2), ("numeric", 0), ("categorical", 3)])}
ROWS = {"numeric": [1.2, -0.7, 0.4], "mixed": [1.0, -0.7, 0.0, 1.0, 0.0]}
MASKS = np.array(list(itertools.product([False, True], repeat=3)))
Z = np.array([0.6, -1.1, 0.9], np.float32)
"""Two latents that are decoded, and one of the gaps."""

every_table = pytest.mark.parametrize("table", TABLES)
READ = {"ignorable": 1, "selfmasking_probit": 1, "latent": 3}
"""How many of the latents are read."""


@functools.cache
def model_of(name, table, gap_terms=True):
    """Return the model of gaps of a table of three columns."""
    return make_gap_model(
        name,
        make_likelihood("gaussian", TABLES[table]),
        len(ROWS[table]),
        gap_terms=gap_terms,
        latent_dim=2,
        gap_latents=1,
    )


def some_params(gaps, table):
    """Return parameters away from 0, but for the order of columns."""
    params = gaps.init(jax.random.key(0), jnp.linspace(0.3, 0.4, len(ROWS[table])))
    rng = np.random.default_rng(1)

    def move(path, leaf):
        is_order = "earlier" in jax.tree_util.keystr(path)
        return leaf if is_order else leaf + jnp.float32(0.4) * rng.normal(size=leaf.shape)

    return jax.tree_util.tree_map_with_path(move, params)


@pytest.mark.parametrize("name", READ)
@every_table
def test_masks_are_drawn_as_often_as_they_score(name, table):
    """Given z, each of the eight within five standard errors, with gap terms and without."""
    x = jnp.asarray(ROWS[table], jnp.float32)
    masks = np.asarray(MASKS)
    if TABLES[table]:
        masks = masks[:, np.repeat(np.arange(3), [block.width for block in TABLES[table]])]
    for has_terms in (False, True):
        gaps = model_of(name, table, has_terms)
        params = some_params(gaps, table)

        @jax.jit
        def ask(key, gaps=gaps, params=params):
            score = jax.vmap(gaps.log_prob, (None, None, 0, None))(params, x, masks, Z)
            rows = jnp.tile(x, (NUM_DRAWS, 1))
            return score, gaps.sample(key, params, rows, jnp.tile(Z, (NUM_DRAWS, 1)))

        log_prob, drawn = jax.tree.map(np.asarray, ask(jax.random.key(2)))
        probability = np.exp(log_prob.astype(float))
        np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
        frequency = (drawn[:, None] == masks).all(axis=-1).mean(axis=0)
        error = np.sqrt(probability * (1 - probability) / NUM_DRAWS)
        assert (np.abs(frequency - probability) <= 5 * error + 3 / NUM_DRAWS).all()


@pytest.mark.parametrize("name", READ)
def test_the_last_latents_are_read(name):
    """As many as there are loadings: h = z Λ, beside the gap terms."""
    gaps = model_of(name, "numeric")
    params = some_params(gaps, "numeric")
    loadings = np.sinh(np.asarray(params["latents"]["slope"], float))
    assert loadings.shape == (READ[name], 3)
    x, mask = jnp.asarray(ROWS["numeric"]), jnp.array([True, False, True])
    moved = gaps.shift(params, x, mask, Z) - gaps.shift(params, x, mask, 0 * Z)
    np.testing.assert_allclose(moved, Z[3 - READ[name] :] @ loadings, rtol=1e-5)


@every_table
@pytest.mark.parametrize("name", READ)
def test_loadings_of_zero_change_nothing(name, table):
    """Scores, terms and means are those without latents, to the last bit of float32 or so."""
    gaps, x = model_of(name, table), jnp.asarray(ROWS[table])
    plain = make_gap_model(
        name, make_likelihood("gaussian", TABLES[table]), len(ROWS[table]), gap_terms=True
    )
    params = some_params(gaps, table)
    params["latents"] = jax.tree.map(jnp.zeros_like, params["latents"])
    rng = np.random.default_rng(3)
    loc = jnp.asarray(rng.normal(size=(2, len(x))), jnp.float32)
    eta, mask = DecoderOutput(loc, jnp.full_like(loc, 0.8)), jnp.zeros(len(x), bool)

    def ask(gaps, params):
        z = jnp.tile(Z, (2, 1))
        rows, log_m = gaps.complete(jax.random.key(0), params, eta, x, mask, z)
        mean = gaps.mean(params, eta, x, mask, z)
        return rows, log_m, mean, gaps.log_prob(params, x, mask, Z)

    without = {name: params[name] for name in ("own", "gaps")}
    for one, other in zip(ask(gaps, params), ask(plain, without), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def one_factor(name, proposal="encoder"):
    """Return a model of two columns of one factor, with one latent of the gaps."""
    config = Config(
        tilt="latent",
        mechanism=name,
        likelihood="gaussian",
        latent_dim=1,
        gap_latents=1,
        hidden_dim=4,
        proposal=proposal,
    )
    model = make_model(config.model, 2, ())
    params = models.init_params(jax.random.key(0), model, jnp.array([0.3, 0.4]))
    num_read = len(params.mechanism["latents"]["slope"])
    slope = jnp.array([[1.1, 0.7], [0.9, -1.2]])[2 - num_read :]
    return model, params._replace(mechanism=params.mechanism | {"latents": {"slope": slope}})


def logistic_of(params, z):
    """Return P(missing) of both columns under each z. [..., 2]."""
    loadings = np.sinh(np.asarray(params.mechanism["latents"]["slope"], float))
    logit = np.asarray(params.mechanism["own"]["logit"], float)
    return special.expit(logit + z[..., 2 - len(loadings) :] @ loadings)


@pytest.mark.parametrize("proposal", ["encoder", "laplace"])
@pytest.mark.parametrize("name", ["latent", "mcar"])
def test_the_bound_is_the_density_by_quadrature(name, proposal):
    """Log p(x_obs, s) by a grid of z and u, of every mask: within five standard errors."""
    model, params = one_factor(name, proposal)
    x = np.array([1.3, -0.4], np.float32)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1)
    weight = np.outer(weights, weights) / weights.sum() ** 2
    eta = model.vae.decode(params.base, jnp.asarray(z[:, :1, :], jnp.float32))
    loc, scale = (np.asarray(part, float) for part in (eta.loc, eta.scale))
    density, missing = stats.norm.pdf(x, loc, scale), logistic_of(params, z)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=0)
    def ask(mask):
        log_w = bounds.log_weights(jax.random.key(3), model, params, x, mask, NUM_DRAWS).log_w
        return bounds.importance_bound(log_w), log_mean_exp_standard_error(log_w)

    masks = np.array(list(itertools.product([False, True], repeat=2)))
    for mask, bound, error in zip(masks, *ask(jnp.asarray(masks)), strict=True):
        seen = np.where(mask, density, 1.0).prod(axis=-1)
        expected = np.log(
            (weight * seen * np.where(mask, 1 - missing, missing).prod(axis=-1)).sum()
        )
        assert abs(float(bound) - expected) < 5 * float(error) + 1e-4, mask


def test_latents_of_the_gaps_move_neither_decoder_nor_energy():
    """They are the mechanism's alone: they change p(s|x, z) and nothing else."""
    model, params = one_factor("mcar")
    z = jnp.asarray(np.random.default_rng(4).normal(size=(5, 2)), jnp.float32)
    other = z.at[:, 1].add(1.0)
    params = params._replace(energy=jax.tree.map(lambda leaf: leaf + 0.3, params.energy))
    for one, two in zip(*(model.vae.decode(params.base, v) for v in (z, other)), strict=True):
        assert one is two is None or (np.asarray(one) == np.asarray(two)).all()
    energies = [models.energy(model, params, jnp.zeros((5, 2)), v) for v in (z, other)]
    assert (energies[0] == energies[1]).all() and np.ptp(np.asarray(energies[0])) > 0
    x, mask = jnp.zeros((5, 2)), jnp.array([True, False])
    scores = [model.mechanism.log_prob(params.mechanism, x, mask, v) for v in (z, other)]
    assert (scores[0] != scores[1]).all()
    moved = model.mechanism.log_prob(params.mechanism, x, mask, z.at[:, 0].add(1.0))
    assert (moved == scores[0]).all()


def test_what_is_hidden_does_not_enter_by_latents_of_the_gaps():
    """With u alone gaps stay at random: z given a row is as it was, and so is what is imputed."""
    model, params = one_factor("mcar", "laplace")
    x, mask = jnp.array([1.3, 0.0]), jnp.array([True, False])
    eta = model.vae.decode(params.base, jnp.eye(2))
    loadings, scale = float(eta.loc[0, 0] - eta.loc[1, 0]), float(eta.scale[0, 0])
    precision = 1 + loadings**2 / scale**2
    expected = loadings / scale**2 * (1.3 - float(eta.loc[1, 0])) / precision
    draws = jax.jit(bounds.log_weights, static_argnums=(1, 5))(
        jax.random.key(5), model, params, x, mask, NUM_DRAWS
    )
    weights = np.asarray(jax.nn.softmax(draws.log_w), float)
    spread = np.asarray(draws.z[:, 0], float) - expected
    assert abs(weights @ spread) < 5 * np.sqrt(weights**2 @ spread**2)


def test_the_gradient_in_the_loadings_is_that_of_the_density():
    """The mean over draws is the derivative, by differences, of log p(s) = log E_u prod sigmoid."""
    model, params = one_factor("mcar", "laplace")
    x, mask = jnp.zeros(2), jnp.array([False, False])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    start = np.asarray(params.mechanism["latents"]["slope"], float)

    def density(slope):
        logit = np.asarray(params.mechanism["own"]["logit"], float)
        missing = special.expit(logit + nodes[:, None] * np.sinh(slope))
        return np.log(weights @ missing.prod(axis=1))

    step = 1e-5 * np.eye(2)
    expected = [(density(start[0] + h) - density(start[0] - h)) / 2e-5 for h in step]

    @jax.jit
    @jax.vmap
    def estimate(key):
        def bound(slope):
            moved = params._replace(mechanism=params.mechanism | {"latents": {"slope": slope}})
            log_w = bounds.log_weights(key, model, moved, x, mask, 200).log_w
            return bounds.importance_bound(log_w)

        return jax.grad(bound)(params.mechanism["latents"]["slope"])[0]

    estimates = estimate(jax.random.split(jax.random.key(6), 400))
    oracles.assert_mean(np.asarray(estimates, float), np.asarray(expected))


def test_loadings_start_off_the_saddle():
    """At 0 no loading has a gradient; the start is not 0."""
    assert (latents.init(jax.random.key(0), 2, 3)["slope"] != 0).all()


def test_settings_say_how_many_there_are():
    with pytest.raises(ValueError, match="gap_latents: expected .* got 4"):
        Config(gap_latents=4)
    assert make_model(Config(latent_dim=2, gap_latents=3).model, 2, ()).vae.latent_dim == 5
