"""Hamiltonian Monte Carlo: the geometry of its trajectories, and a skewed target left invariant."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mnar_ebm.samplers import hmc, sample

pytestmark = pytest.mark.usefixtures("quick_compile_all")

hmc_module = importlib.import_module("mnar_ebm.samplers.hmc")  # the package's hmc is the function

WEIGHTS = np.array([0.5, 1.0, 2.5])  # an inverse mass matrix of unequal entries


def gumbel(x):
    """Independent standard Gumbel coordinates: skewed, so that a wrong sign shows."""
    return -jnp.sum(x + jnp.exp(-x))


def coupled(x):
    """A skewed density whose coordinates depend on each other."""
    return gumbel(x) - 0.25 * (x[0] * x[1] - x[2]) ** 2


def phase_points(num_points):
    """Draw positions and momenta. [C, 3], [C, 3]."""
    rng = np.random.default_rng(0)
    return rng.gumbel(size=(num_points, 3)), rng.normal(size=(num_points, 3)) / np.sqrt(WEIGHTS)


def trajectory(x, p, step_size, num_integration_steps, logdensity_fn=coupled):
    """Return the end of a trajectory, and its energy error. [D], [D], []."""
    state = hmc(logdensity_fn, step_size).init(x)
    end, end_p = hmc_module.leapfrog(
        logdensity_fn, state, p, step_size, WEIGHTS, num_integration_steps
    )
    return end.position, end_p, hmc_module.energy_error(state, p, end, end_p, WEIGHTS)


# The trajectory.


def test_leapfrog_is_the_textbook_loop():
    """Half a kick, a drift, half a kick, with nothing merged, and H from its definition."""
    x, p = (points[0] for points in phase_points(1))
    with jax.enable_x64(True):
        logdensity, grad = jax.jit(coupled), jax.jit(jax.grad(coupled))
        end = trajectory(x, p, 0.1, 7)
        before = -logdensity(x) + 0.5 * np.sum(WEIGHTS * p**2)
        for _ in range(7):
            p = p + 0.05 * grad(x)
            x = x + 0.1 * WEIGHTS * p
            p = p + 0.05 * grad(x)
        after = -logdensity(x) + 0.5 * np.sum(WEIGHTS * p**2)
        np.testing.assert_allclose(end[0], x, rtol=1e-12)
        np.testing.assert_allclose(end[1], p, rtol=1e-12)
        np.testing.assert_allclose(end[2], after - before, atol=1e-12)


def test_trajectory_is_reversible():
    """From the end, with the momentum turned round, it comes back to the start."""
    x, p = phase_points(50)
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda x, p: trajectory(x, p, 0.1, 10)))
        end, end_p, error = map(np.asarray, run(x, p))
        back, back_p, back_error = map(np.asarray, run(end, -end_p))
    assert np.all(np.abs(end - x).max(axis=1) > 0.01)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(-back_p, p, atol=1e-12)
    np.testing.assert_allclose(back_error, -error, atol=1e-12)


def test_trajectory_keeps_volume():
    """The determinant of d(x', p') / d(x, p) is 1."""
    with jax.enable_x64(True):
        jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda v: jnp.concatenate(
            trajectory(v[:3], v[3:], 0.2, 5)[:2]
        ))))  # fmt: skip
        matrices = jacobian(np.concatenate(phase_points(20), axis=1))
        assert np.all(np.abs(matrices - np.eye(6)).max(axis=(1, 2)) > 0.1)
        np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)


def test_energy_error_is_of_order_two():
    """At a fixed time L ε, halving ε divides ΔH by 4, up to a term of the order ε²."""
    x, p = phase_points(50)
    with jax.enable_x64(True):

        def error_size(num_integration_steps):
            run = functools.partial(
                trajectory,
                step_size=0.5 / num_integration_steps,
                num_integration_steps=num_integration_steps,
            )
            return np.sqrt(np.mean(jax.jit(jax.vmap(run))(x, p)[2] ** 2))

        sizes = np.array([error_size(steps) for steps in (25, 50, 100)])
    np.testing.assert_allclose(np.log2(sizes[:-1] / sizes[1:]), 2, atol=0.005)


def test_harmonic_oscillator_keeps_a_shadow_of_the_energy():
    """Leapfrog keeps ½ w p² + ½ λ x² (1 - ε² w λ / 4) exactly."""
    x, p = phase_points(50)
    step_size, precision = 0.4, np.array([0.3, 2.0, 6.0])

    def harmonic(x):
        return -0.5 * jnp.sum(precision * x**2)

    def shadow(x, p):
        factor = 1 - step_size**2 * WEIGHTS * precision / 4
        return 0.5 * WEIGHTS * p**2 + 0.5 * precision * x**2 * factor

    with jax.enable_x64(True):
        run = functools.partial(
            trajectory, step_size=step_size, num_integration_steps=17, logdensity_fn=harmonic
        )
        end, end_p, _ = map(np.asarray, jax.jit(jax.vmap(run))(x, p))
    np.testing.assert_allclose(shadow(end, end_p), shadow(x, p), rtol=1e-12)


def test_a_step_costs_one_gradient_for_each_leapfrog_step():
    """The gradient at the start is cached, and that at the end is for the next step."""
    calls = []

    def counted(x):
        calls.append(x)
        return gumbel(x)

    state = hmc(gumbel, 0.1).init(jnp.ones(3))
    with jax.disable_jit():
        hmc_module.leapfrog(counted, state, jnp.ones(3), 0.1, WEIGHTS, 7)
    assert len(calls) == 7


# The target.


def oracle_scores():
    """Take exact draws through ten long steps; z of E[exp(-ΔH)], of moments, p of K-S, and rate."""
    num_chains = 5000
    key_start, key_steps = jax.random.split(jax.random.key(5))
    starts = jax.random.gumbel(key_start, (num_chains, 3))
    keys = jax.random.split(key_steps, num_chains)
    algorithm = hmc(gumbel, 0.7, WEIGHTS, 3)

    def run(key, position):
        state, (_, info) = sample(key, algorithm, position, 10)
        return state.position, info

    x, info = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(keys, starts))
    with np.errstate(over="ignore", invalid="ignore"):  # of a broken sampler
        ratio = np.exp(-info.energy_error[:, 0], dtype=np.float64)  # from exact draws
        z_ratio = (ratio.mean() - 1) / (ratio.std() / np.sqrt(num_chains))
    mean, variance = stats.gumbel_r.stats()
    excess = stats.gumbel_r.stats(moments="k")
    z_mean = (x.mean(axis=0) - mean) / np.sqrt(variance / num_chains)
    z_variance = np.mean((x - mean) ** 2, axis=0) / variance - 1
    z_variance /= np.sqrt((excess + 2) / num_chains)
    p_values = [stats.kstest(x[:, i], stats.gumbel_r.cdf).pvalue for i in range(3)]
    return z_ratio, z_mean, z_variance, p_values, info.acceptance_rate.mean()


def passes(z_ratio, z_mean, z_variance, p_values, acceptance_rate):
    """Return whether the draws are still exact, as far as the oracle sees, and some rejected."""
    scores = np.abs([z_ratio, *z_mean, *z_variance])
    return bool(np.all(scores < 4) and min(p_values) > 1e-3 and 0.5 < acceptance_rate < 0.95)


def test_hmc_leaves_the_target_invariant():
    """Exact draws stay exact draws, the chains do reject, and E[exp(-ΔH)] = 1."""
    assert passes(*oracle_scores())


def turned_error(right):
    """Take H at the start for H at the end."""
    return lambda *args: -right(*args)


def leapfrog_with_stale(field):
    """Keep the start's cached value of a field at the end."""

    def wrong(right):
        def leapfrog(logdensity_fn, state, *args):
            end, momentum = right(logdensity_fn, state, *args)
            return end._replace(**{field: getattr(state, field)}), momentum

        return leapfrog

    return wrong


def momentum_without_mass(right):
    """Draw p ~ N(0, I) whatever the mass."""
    return lambda key, position, weights: right(key, position, np.ones(3))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("energy_error", turned_error),
        ("leapfrog", leapfrog_with_stale("logdensity")),
        ("leapfrog", leapfrog_with_stale("logdensity_grad")),
        ("_draw_momentum", momentum_without_mass),
    ],
    ids=["sign", "stale density", "stale gradient", "no mass"],
)
def test_the_oracle_sees_a_broken_sampler(monkeypatch, name, wrong):
    """The ways in which public code was wrong all fail."""
    monkeypatch.setattr(hmc_module, name, wrong(getattr(hmc_module, name)))
    *scores, _ = oracle_scores()
    assert not passes(*scores, acceptance_rate=0.8)  # it is the draws that fail, not the rate


def test_mass_matrix_undoes_a_change_of_units():
    """With w = s², the chain on the target in units s is the chain with w = 1, scaled by s."""
    units = {"a": np.array([0.1, 3.0]), "b": np.array(20.0)}

    def logdensity_fn(position):
        return gumbel(jnp.append(position["a"], position["b"])) - 0.1 * position["b"] ** 2

    def in_units(position):
        return logdensity_fn(jax.tree.map(jnp.divide, position, units))

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.ones_like, units)
        key, squares = jax.random.key(1), jax.tree.map(np.square, units)
        _, (plain, info) = sample(key, hmc(logdensity_fn, 0.6), start, 20)
        _, (scaled, _) = sample(key, hmc(in_units, 0.6, squares), units, 20)
        plain, scaled = jax.tree.map(np.asarray, (plain, scaled))
    assert np.any(info.is_accepted)
    for name, unit in units.items():
        np.testing.assert_allclose(scaled[name], plain[name] * unit, rtol=1e-9)


# What goes wrong.


def test_a_step_that_is_too_long_diverges_and_is_rejected():
    """Beyond ε √(w λ) = 2 the energy grows without bound, up to NaN."""
    for num_integration_steps, is_finite in ((10, True), (200, False)):
        algorithm = hmc(lambda x: -0.5 * jnp.sum(x**2), 2.5, 1.0, num_integration_steps)
        state = algorithm.init(jnp.ones(2))
        new_state, info = algorithm.step(jax.random.key(2), state)
        assert info.is_divergent and not info.is_accepted and info.acceptance_rate == 0
        assert np.isfinite(info.energy_error) == is_finite
        np.testing.assert_array_equal(new_state.position, state.position)


def test_ends_where_the_density_is_nan_or_zero_are_rejected():
    """Such ends are reached, and none is accepted."""

    def half_normal(x):
        return jnp.where(x < 0, jnp.where(x < -0.5, jnp.nan, -jnp.inf), -0.5 * x**2)

    _, (x, info) = sample(jax.random.key(4), hmc(half_normal, 0.3, 1.0, 4), 0.1, 500)
    x, info = jax.tree.map(np.asarray, (x, info))
    assert np.any(np.isinf(info.energy_error)) and np.any(info.is_accepted)
    assert np.all(np.isfinite(info.energy_error[info.is_accepted]))
    np.testing.assert_array_equal(info.is_divergent, info.energy_error > 1000)
    assert np.all(x >= 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_size": 0.0}, "step_size: expected a positive number, got 0.0"),
        ({"inverse_mass_matrix": -1.0}, "inverse_mass_matrix: expected a positive number"),
        ({"inverse_mass_matrix": {"a": -1.0}}, "inverse_mass_matrix: .* got -1.0"),
        ({"num_integration_steps": 0}, "num_integration_steps: expected at least 1, got 0"),
    ],
)
def test_wrong_settings(settings, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        hmc(gumbel, **{"step_size": 0.1, **settings})


@pytest.mark.parametrize(
    ("inverse_mass_matrix", "message"),
    [
        (np.ones(3), r"expected a leaf of shape \(2,\) or a scalar, got \(3,\)"),
        ({"a": 1.0}, "expected a scalar or .* got "),
    ],
)
def test_a_mass_matrix_of_another_shape(inverse_mass_matrix, message):
    """It is named when the first step shows the position."""
    algorithm = hmc(gumbel, 0.1, inverse_mass_matrix)
    with pytest.raises(ValueError, match="inverse_mass_matrix: " + message):
        algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
