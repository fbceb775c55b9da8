"""Elliptical slice sampling against posteriors in closed form: flat, conjugate and skewed."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mnar_ebm.samplers import elliptical_slice, sample

module = importlib.import_module("mnar_ebm.samplers.elliptical_slice")

MEAN, SCALE = np.array([0.5, -2.0]), np.array([1.5, 0.4])


def final_draws(algorithm, positions, num_steps):
    """Run one chain from each start, and return the last positions. [C, ...] -> [C, ...]."""
    keys = jax.random.split(jax.random.key(1), len(positions))

    def last(key, position):
        return sample(key, algorithm, position, num_steps, transform=lambda *_: None)[0].position

    return np.asarray(jax.jit(jax.vmap(last))(keys, positions), np.float64)


def fits(draws, law):
    """Return whether draws [C, ...] have a law, by mean and Kolmogorov-Smirnov test."""
    z = (draws.mean(axis=0) - law.mean()) / (law.std() / np.sqrt(len(draws)))
    p_value = stats.kstest(law.cdf(draws), "uniform", axis=0).pvalue
    return bool(np.all(np.abs(z) < 4) and np.all(p_value > 1e-3))


def test_a_constant_likelihood_leaves_the_prior_invariant():
    """Exact draws stay exact draws, all move, and every first point is taken."""
    noise = np.random.default_rng(2).normal(size=(10_000, 2)).astype(np.float32)
    algorithm = elliptical_slice(lambda x: jnp.zeros(()))
    draws = final_draws(algorithm, noise, 5)
    assert fits(draws, stats.norm(np.zeros(2), np.ones(2)))
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(len(draws))
    assert np.all(draws != noise)
    _, info = algorithm.step(jax.random.key(0), algorithm.init(noise[0]))
    assert info.num_evaluations == 1 and info.is_accepted


# From one point, thirty steps of the chain forget the start.


def conjugate_fits():
    """Return whether N(m, s²) times N(observation; x, noise²) gives the posterior of the books."""
    observation, noise = np.array([2.0, -1.0]), np.array([0.5, 0.6])

    def loglikelihood_fn(x):
        return -0.5 * jnp.sum(((observation - x) / noise) ** 2)

    precision = SCALE**-2 + noise**-2
    law = stats.norm((MEAN / SCALE**2 + observation / noise**2) / precision, precision**-0.5)
    algorithm = elliptical_slice(loglikelihood_fn, MEAN, SCALE)
    return fits(final_draws(algorithm, jnp.zeros((3000, 2)), 30), law)


def test_a_conjugate_likelihood():
    """Prior and posterior are Gaussian, with means and scales of their own."""
    assert conjugate_fits()


def test_a_skewed_posterior():
    """N(0, 1) times Φ(6x) is the skew normal law 2 φ(x) Φ(6x)."""
    algorithm = elliptical_slice(lambda x: jax.scipy.stats.norm.logcdf(6 * x))
    assert fits(final_draws(algorithm, jnp.full(3000, -0.5), 30), stats.skewnorm(6))


def shrink_from_one_side(angle, lower, upper):
    """Look between the chain and the rejected angle alone, which is not reversible."""
    return jnp.zeros_like(angle), angle


def ellipse_round_zero(right):
    """Leave the prior's mean out."""
    return lambda x, other, mean, angle: right(x, other, jnp.zeros_like(mean), angle)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("ellipse", ellipse_round_zero(module.ellipse)), ("shrink", shrink_from_one_side)],
    ids=["round zero", "one side"],
)
def test_the_oracle_sees_a_broken_sampler(monkeypatch, name, wrong):
    """An ellipse round 0, and a bracket that is cut on both sides of an angle, fail."""
    monkeypatch.setattr(module, name, wrong)
    assert not conjugate_fits()


def test_the_bracket_shrinks_to_where_the_chain_stands():
    """0 stays inside, and a rejected angle becomes an end."""
    lower, upper = -4.0, 2.0
    for angle, expected in ((-1.0, (-1.0, 2.0)), (0.5, (-4.0, 0.5))):
        assert tuple(map(float, module.shrink(angle, lower, upper))) == expected


def test_a_peaked_likelihood_needs_a_few_evaluations_and_no_step_size():
    """The bracket halves or so at each: a width of 1e-4 costs about log2(2π / 1e-4) = 16."""
    algorithm = elliptical_slice(lambda x: -0.5 * (x / 1e-4) ** 2)
    _, (x, info) = sample(jax.random.key(3), algorithm, 0.0, 1000)
    assert np.all(info.is_accepted) and np.mean(info.num_evaluations) < 32
    assert 0 < np.std(x) < 1e-3


def test_a_likelihood_of_nan_or_zero():
    """No point of NaN is taken; where all are, the chain stays; from zero it finds the support."""

    def run(key, position, offset):
        def half(x):
            return offset + jnp.where(x < 0, jnp.where(x < -0.5, jnp.nan, -jnp.inf), -x)

        return sample(key, elliptical_slice(half), position, 50)

    keys = jax.random.split(jax.random.key(4), 3)
    starts, offsets = np.array([0.1, -0.1, 0.1], "float32"), np.array([0, 0, np.nan], "float32")
    state, (x, info) = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(keys, starts, offsets))
    assert np.all(info.is_accepted[0]) and np.all(x[0] >= 0)
    assert state.position[1] >= 0
    assert np.all(x[2] == starts[2]) and not np.any(info.is_accepted[2])


@pytest.mark.parametrize("scale", [0.0, -1, {"a": float("inf")}])
def test_wrong_settings(scale):
    """A wrong scale is named, with what was expected."""
    with pytest.raises(ValueError, match="scale: expected a positive number, got"):
        elliptical_slice(lambda x: 0.0, scale=scale)


@pytest.mark.parametrize("name", ["mean", "scale"])
def test_settings_of_another_shape(name):
    """They are named when the first step shows the position."""
    algorithm = elliptical_slice(jnp.sum, **{name: np.ones(3)})
    with pytest.raises(ValueError, match=rf"{name}: expected a leaf of shape \(2,\) or a scalar"):
        algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
