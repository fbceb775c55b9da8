"""Samples of tilted models, by weights and by chains, against exact laws."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import inference as sampling
from mnar_ebm import models, samplers
from mnar_ebm.config import Config
from mnar_ebm.inference import targets
from mnar_ebm.likelihoods import make_likelihood, masked_log_prob
from mnar_ebm.missingness import none
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_CHAINS = 3000


def tilted_model(space, linear=oracles.DENSE):
    """Return a linear model tilted in a space, with an exact encoder, and its parameters."""
    return oracles.make_linear_model(linear, energy=oracles.quadratic(space))


def law_of(space, linear=oracles.DENSE):
    """Return the tilted law of (z, x)."""
    return oracles.tilted_joint(linear, oracles.quadratic(space))[1]


def stack(samples):
    """Return draws of (z, x), of all chains. [N, L + D]."""
    draws = np.concatenate([samples.z, samples.x], axis=-1)
    return draws.reshape(-1, draws.shape[-1])


GROWTH = 0.8


def funnel():
    """Return a model with x = exp(a z) e, whose decoder's scale depends on z. L = D = 1."""
    likelihood = make_likelihood("gaussian")

    def decode(params, z):
        return DecoderOutput(jnp.zeros_like(z), jnp.exp(GROWTH * z))

    vae = models.VAE(lambda key: {}, lambda *row: None, decode, likelihood, 1, 1)
    one = jnp.ones((), float)
    return models.Model(vae, none(likelihood), models.no_tilt()), models.Params(
        {}, {}, {}, one, one
    )


def test_noise_space_is_standard_normal_where_the_decoder_stretches():
    """Without an energy the gradient is -e, to 1e-12; leaving the Jacobian out shifts it by -a.

    The noise of x is N(0, 1) whatever z. Writing log p(z) + log p(x(e)|z) instead forgets
    log dx/de = a z and moves the mean of e_z to -a.
    """
    with jax.enable_x64(True):
        model, params = funnel()

        def without_jacobian(noise):
            x, z = targets.from_noise(model, params, noise)
            eta = model.vae.decode(params.base, z)
            return models.log_prior(z) + masked_log_prob(model.vae.likelihood, eta, x, x == x)

        right = jax.jit(jax.vmap(jax.grad(targets.noise_logdensity(model, params))))
        wrong = jax.jit(jax.vmap(jax.grad(without_jacobian)))
        e = np.random.default_rng(0).normal(size=(2, 50, 1))
        noise = {"z": jnp.asarray(e[0]), "x": jnp.asarray(e[1])[..., None]}
        for name, shift in (("z", GROWTH), ("x", 0.0)):
            np.testing.assert_allclose(right(noise)[name], -noise[name], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(wrong(noise)[name], -noise[name] - shift, atol=1e-12)


@pytest.mark.parametrize("space", ["data", "latent", "joint"])
def test_noise_space_has_the_energy_of_its_point(space):
    """Log N(e) - E(x(e), z(e)), with the x and z that ``from_noise`` returns."""
    model, params = tilted_model(space)
    noise = targets.init_noise(jax.random.key(1), model)
    x, z = targets.from_noise(model, params, noise)
    np.testing.assert_allclose(
        x, z @ oracles.DENSE.loadings.T + oracles.DENSE.mean + 0.7 * noise["x"][0], rtol=1e-5
    )
    flat = np.concatenate([noise["z"], noise["x"].ravel()]).astype(np.float64)
    energy = oracles.quadratic(space)(np.concatenate([z, x]))
    expected = -0.5 * flat @ flat - 3 * np.log(2 * np.pi) - energy
    np.testing.assert_allclose(targets.noise_logdensity(model, params)(noise), expected, rtol=1e-5)


def test_latent_and_data_targets_are_the_exact_log_densities():
    """Up to a constant: log p_t(z), and log p_t(x) where the encoder is exact."""
    with jax.enable_x64(True):
        energy = oracles.quadratic("latent")
        model, params = oracles.make_linear_model(oracles.DENSE, energy=energy)
        z = np.random.default_rng(1).normal(size=(20, 2))
        actual = jax.jit(jax.vmap(targets.latent_logdensity(model, params)))(z)
        exact = oracles.latents_of(oracles.DENSE, law_of("latent")).log_prob(z)
        np.testing.assert_allclose(actual - actual[0], exact - exact[0], rtol=1e-10)

        linear, energy = oracles.DISJOINT, oracles.quadratic("data")
        model, params = oracles.make_linear_model(linear, energy=energy)
        x = np.random.default_rng(2).normal(size=(20, 4))
        target = targets.data_logdensity(jax.random.key(0), model, params, num_samples=3)
        actual = jax.jit(jax.vmap(target))(x)
        exact = oracles.rows_of(linear, law_of("data", linear)).log_prob(x)
        np.testing.assert_allclose(actual - actual[0], exact - exact[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "method, space",
    [
        ("mala", "latent"),
        pytest.param("mala", "data", marks=pytest.mark.slow),
        ("mala", "noise"),
        ("hmc", "noise"),
    ],
)
def test_adapted_chains_reach_the_tilted_law(method, space):
    """Mean and covariance of independent chains' draws, within five standard errors."""
    tilt, linear = {
        "latent": ("latent", oracles.DENSE),
        "data": ("data", oracles.DISJOINT),
        "noise": ("joint", oracles.DENSE),
    }[space]
    model, params = tilted_model(tilt, linear)
    samples = sampling.sample_by_chains(
        jax.random.key(2),
        model=model,
        params=params,
        num_chains=NUM_CHAINS,
        num_draws=1,
        method=method,
        space=space,
        num_steps=100,
    )
    law = law_of(tilt, linear)
    if space == "data":  # its z is the encoder's mean
        oracles.assert_moments(samples.x[:, 0], oracles.rows_of(linear, law))
        oracles.assert_mean(samples.z[:, 0], oracles.latents_of(linear, law).mean)
    else:
        oracles.assert_moments(stack(samples), law)
    target = {"mala": 0.574, "hmc": 0.8}[method]
    assert abs(samples.info["acceptance_rate"].mean() - target) < 0.15
    assert samples.step_size.shape == (NUM_CHAINS,) and (samples.step_size > 0).all()


@pytest.mark.slow
def test_mala_keeps_a_step_size_that_it_is_given():
    """The law is the same."""
    model, params = tilted_model("joint")
    samples = sampling.sample_by_chains(
        jax.random.key(3),
        model=model,
        params=params,
        num_chains=NUM_CHAINS,
        num_draws=1,
        method="mala",
        space="noise",
        num_steps=40,
        step_size=0.4,
    )
    oracles.assert_moments(stack(samples), law_of("joint"))
    assert (samples.step_size == np.float32(0.4)).all()


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_ula_has_its_own_law(temperature):
    """From N(0, I), T steps: m' = m - h(Pm + c), S' = (I - hP) S (I - hP) + 2hT I, exactly."""
    energy, model_params = oracles.quadratic("latent"), tilted_model("latent")
    num_steps, step_size = 7, 0.3
    precision, slope = np.eye(2) + energy.curvature[:2, :2], energy.slope[:2]
    mean, covariance, shrink = np.zeros(2), np.eye(2), np.eye(2) - step_size * precision
    for _ in range(num_steps):
        mean = shrink @ mean - step_size * slope
        covariance = shrink @ covariance @ shrink + 2 * step_size * temperature * np.eye(2)
    samples = sampling.sample_by_chains(
        jax.random.key(4),
        model=model_params[0],
        params=model_params[1],
        num_chains=20_000,
        num_draws=1,
        method="ula",
        space="latent",
        num_steps=num_steps - 1,  # and one to the first draw
        step_size=step_size,
        temperature=temperature,
    )
    oracles.assert_moments(samples.z[:, 0], oracles.Gaussian(mean, covariance))


def test_sampling_by_weights_reaches_the_tilted_law():
    """Independent runs: their means, and the effective share of draws, 1 / (1 + chi²)."""
    model, params = tilted_model("joint")
    law, size = law_of("joint"), 2000

    @jax.jit
    def run(keys):
        return jax.vmap(lambda key: sampling.sample_by_weights(key, model, params, size, 4 * size))(
            keys
        )

    samples = run(jax.random.split(jax.random.key(5), 50))
    centred = np.concatenate([samples.z, samples.x], axis=2).astype(np.float64) - law.mean
    oracles.assert_mean(centred.mean(axis=1), 0.0)
    squares = np.einsum("rni,rnj->rij", centred, centred) / size
    oracles.assert_mean(squares, law.covariance)
    chi_square = oracles.chi_square(oracles.DENSE, oracles.quadratic("joint"))
    ess = jax.vmap(samplers.effective_sample_size)(samples.log_w)
    oracles.assert_mean(ess / (4 * size), 1 / (1 + chi_square))


def test_without_a_tilt_weights_are_equal():
    """The draws are the base's."""
    model, params = oracles.make_linear_model(oracles.DENSE)
    samples = sampling.sample_by_weights(jax.random.key(6), model, params, 5000, 5000)
    oracles.assert_moments(stack(samples), oracles.joint(oracles.DENSE))
    assert (samples.log_w == 0).all()
    assert len(np.unique(samples.x, axis=0)) == 5000  # the comb takes each once


@pytest.mark.parametrize("shift, method", [(1.0, "snis"), (4.0, "mala")])
def test_chains_run_where_few_base_draws_carry_the_weight(shift, method):
    """E = m z_1 moves N(0, 1) to N(-m, 1); of base draws exp(-m²) are effective: 37 %, 1e-7."""
    energy = oracles.Quadratic(np.zeros((6, 6)), shift * np.eye(6)[0])
    model, params = oracles.make_linear_model(oracles.DENSE, energy=energy)
    settings = {"num_chains": 2000, "num_steps": 100, "thin": 5}
    samples = sampling.sample(jax.random.key(9), model, params, 2000, **settings)
    assert samples.method == method
    assert any("chains ran instead" in warning for warning in samples.warnings) == (shift == 4)
    oracles.assert_moments(stack(samples), oracles.tilted_joint(oracles.DENSE, energy)[1])


@pytest.mark.parametrize("shift", [1.0, 4.0])
def test_weights_that_were_asked_for_are_taken(shift):
    """With a warning where they are degenerate."""
    energy = oracles.Quadratic(np.zeros((6, 6)), shift * np.eye(6)[0])
    model, params = oracles.make_linear_model(oracles.DENSE, energy=energy)
    samples = sampling.sample(jax.random.key(9), model, params, 10, method="snis")
    assert samples.method == "snis" and samples.x.shape == (10, 4)
    assert [warning.endswith(": sample by chains") for warning in samples.warnings] == (
        [True] if shift == 4 else []
    )


@pytest.mark.parametrize("shape", [math.inf, math.nan, -math.inf])
def test_weights_that_one_draw_carries_are_warned_about(monkeypatch, shape):
    """Their tail is infinite; it is not taken for weights without a tail, or with none to tell."""
    monkeypatch.setattr("mnar_ebm.diagnostics.pareto_k", lambda log_w: shape)
    model, params = oracles.make_linear_model(oracles.DENSE)
    samples = sampling.sample(jax.random.key(9), model, params, 10, method="snis")
    is_infinite = shape == math.inf
    assert ("pareto_k" in samples.summary) is is_infinite is bool(samples.warnings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"num_chains": 0}, "num_chains: expected at least 1, got 0"),
        ({"temperature": 0.5}, "temperature: expected 1 for auto, got 0.5"),
        ({"method": "nuts"}, "method: expected one of auto, snis, ula"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_in_words(settings, message):
    """Before anything is drawn."""
    settings = {"num_samples": 10} | settings
    with pytest.raises(ValueError, match=message):
        sampling.sample(jax.random.key(9), *tilted_model("latent"), **settings)


@functools.cache
def bernoulli_model(tilt):
    """Return a small network model of binary columns."""
    config = Config(tilt=tilt, mechanism="none", likelihood="bernoulli", latent_dim=2, hidden_dim=4)
    model = models.make_model(config.model, num_features=3, observed_columns=())
    init = jax.jit(models.init_params, static_argnums=1)
    return model, init(jax.random.key(0), model, jnp.full(3, 0.5))


@pytest.mark.parametrize(
    "model_of, settings, message",
    [
        (lambda: tilted_model("data"), {"space": "latent"}, "latent needs a tilt of z alone"),
        (lambda: tilted_model("joint"), {"space": "latent"}, "latent needs a tilt of z alone"),
        (lambda: tilted_model("latent"), {"space": "data"}, "data needs a tilt of x alone"),
        (lambda: tilted_model("joint"), {"space": "data"}, "data needs a tilt of x alone"),
        (
            lambda: bernoulli_model("data"),
            {"space": "data"},
            "expected latent with likelihood bern",
        ),
        (lambda: bernoulli_model("joint"), {"space": "noise"}, "expected latent with .* discrete"),
        (
            lambda: tilted_model("latent"),
            {"space": "pixel"},
            "one of latent, data, noise, got 'pix",
        ),
        (
            lambda: tilted_model("latent"),
            {"method": "nuts"},
            "method: expected one of ula, mala, hmc",
        ),
        (
            lambda: tilted_model("latent"),
            {"method": "ula"},
            "step_size: expected a positive number",
        ),
        (lambda: tilted_model("latent"), {"temperature": 0.5}, "temperature: expected 1 for mala"),
        (
            lambda: tilted_model("latent"),
            {"method": "ula", "step_size": -1.0},
            "step_size: expected a positive number, got -1.0",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(model_of, settings, message):
    """One line that says what is expected."""
    settings = {"method": "mala", "space": "latent", "num_steps": 2} | settings
    with pytest.raises(ValueError, match=message) as error:
        sampling.sample_by_chains(jax.random.key(0), *model_of(), 3, 1, **settings)
    assert "\n" not in str(error.value)


def test_draws_of_a_chain_are_thinned():
    """Draw t of a chain is the state after the warm-up and t + 1 times ``thin`` steps."""
    model, params = tilted_model("latent")
    settings = {"method": "ula", "space": "latent", "num_steps": 5, "step_size": 0.1}
    run = functools.partial(
        sampling.sample_by_chains, jax.random.key(8), model=model, params=params, num_chains=3
    )
    kept = run(num_draws=2, thin=3, **settings)
    every = run(num_draws=6, **settings)
    assert kept.z.shape == (3, 2, 2) and kept.info["logdensity"].shape == (3, 2)
    np.testing.assert_allclose(kept.z, every.z[:, 2::3], rtol=1e-6)


def test_a_discrete_model_is_sampled_in_latent_space():
    """Its rows are of zeros and ones."""
    model, params = bernoulli_model("latent")
    samples = sampling.sample_by_chains(
        jax.random.key(7),
        model=model,
        params=params,
        num_chains=5,
        num_draws=4,
        method="mala",
        space="latent",
        num_steps=5,
    )
    assert samples.x.shape == (5, 4, 3) and set(np.unique(samples.x)) == {0.0, 1.0}
