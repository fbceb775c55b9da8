"""Gaussian and multinomial visible units against mixtures, enumeration and derivatives."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import BINARY, GAUSSIAN, RBM, multinomial, rbm
from mnar_ebm.boltzmann.visible import draw
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages

H = 3
HIDDEN = np.array(list(itertools.product([0.0, 1.0], repeat=H)))[:, ::-1]
LEVELS = multinomial(3)
STATES = np.array([np.concatenate(pair) for pair in itertools.product(np.eye(3), repeat=2)])


def machine(kind, dtype=jnp.float32):
    """Return a machine of few units: 4 Gaussians, or 2 groups of 3 levels."""
    rng = np.random.default_rng(0)
    num = 4 if kind is GAUSSIAN else 6
    parts = [rng.normal(size=num), rng.normal(size=H), rng.normal(size=(num, H))]
    parts += [0.3 * rng.normal(size=num)] if kind is GAUSSIAN else []
    return RBM(*(jnp.asarray(part, dtype) for part in parts))


def mixture(one):
    """Return the weights [8], means [8, V] and standard deviations [V] of the law of Gaussians."""
    b, c, w, s = (np.asarray(part, float) for part in one)
    s = np.exp(s)
    means = b + HIDDEN @ w.T
    log_w = HIDDEN @ c + (means**2 / (2 * s**2) + np.log(2 * np.pi * s**2) / 2).sum(axis=1)
    return log_w, means, s


@functools.partial(jax.jit, static_argnums=1)
def log_z_of(one, kind):
    """Return log Z, by one program."""
    return rbm.log_z(one, kind)


@functools.partial(jax.jit, static_argnums=2)
def mean_log_likelihood(one, x, kind):
    """Return the mean log-likelihood of rows, by one program."""
    return rbm.log_likelihood(one, x, rbm.log_z(one, kind), kind).mean()


def law_of_levels(one):
    """Return log Σ_h exp(-E) of every state, by the definition. [9]."""
    b, c, w = (np.asarray(part, float) for part in one[:3])
    joint = (STATES @ b)[:, None] + HIDDEN @ c + STATES @ w @ HIDDEN.T
    return special.logsumexp(joint, axis=1)


def test_bits_that_are_seldom_on_are_so_as_often_as_they_should():
    """Once in 2^17, below what 16 random bits tell apart; with their complements, and at p = 1."""
    count = jax.jit(lambda key, logits: draw(key, jnp.full((20_001, 1000), logits)).sum())
    expected = 20_001_000 * 2.0**-17
    logits = special.logit(2.0**-17)
    for number, sign in enumerate((1, -1)):
        on = float(count(jax.random.key(number), sign * logits))
        assert abs((on if sign > 0 else 20_001_000 - on) - expected) < 5 * np.sqrt(expected) + 2
    assert draw(jax.random.key(2), jnp.full((3, 5), 100.0)).all()
    assert not draw(jax.random.key(2), jnp.full((3, 5), -100.0)).any()


@pytest.mark.parametrize("shape", [(7,), (3, 1), (1, 3), (5, 3, 4)])
def test_bits_of_any_shape_are_independent(shape):
    """Means and products of pairs of even bits, over many keys."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    seen = jax.vmap(lambda key: draw(key, jnp.zeros(shape)))(keys).reshape(len(keys), -1)
    spins = 2.0 * seen - 1.0
    assert (np.abs(spins.mean(axis=0)) < 5 / np.sqrt(len(keys))).all()
    products = np.asarray(spins.T @ spins) / len(keys) - np.eye(seen.shape[1])
    assert (np.abs(products) < 5 / np.sqrt(len(keys))).all()


def test_gaussian_units_are_a_mixture():
    """Of 2^H Gaussians: log Z, density, energy, and derivatives by autodiff."""
    with jax.enable_x64(True):
        one = machine(GAUSSIAN, float)
        log_w, means, s = mixture(one)
        v = np.random.default_rng(1).normal(size=(5, 4))
        log_z = log_z_of(one, GAUSSIAN)
        np.testing.assert_allclose(log_z, special.logsumexp(log_w), rtol=1e-12)
        parts = stats.norm.logpdf(v[:, None], means, s).sum(axis=-1)
        expected = special.logsumexp(parts + special.log_softmax(log_w), axis=1)
        found = jax.jit(rbm.log_likelihood, static_argnums=3)(one, v, log_z, GAUSSIAN)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        energies = jax.jit(lambda one: rbm.energy(one, v[:, None], HIDDEN[None], GAUSSIAN))(one)
        summed = -special.logsumexp(-np.asarray(energies), axis=1)
        free = jax.jit(rbm.free_energy, static_argnums=2)(one, v, GAUSSIAN)
        np.testing.assert_allclose(free, summed, rtol=1e-10)

        def log_p(v):
            return -rbm.free_energy(one, v, GAUSSIAN)

        slope, curve = jax.jit(jax.grad(log_p))(v[0]), jax.jit(jax.hessian(log_p))(v[0])
        score = -(0.5 * slope**2 + jnp.diag(curve)).sum()
        found = jax.jit(rbm.hyvarinen_score)(one, v[0])
        np.testing.assert_allclose(found, score, rtol=1e-10)


def test_levels_are_enumerated():
    """Over visible states and over hidden ones: log Z; and the pseudo-likelihood of each group."""
    with jax.enable_x64(True):
        one = machine(LEVELS, float)
        log_law = law_of_levels(one)
        np.testing.assert_allclose(-rbm.free_energy(one, STATES, LEVELS), log_law, rtol=1e-12)
        np.testing.assert_allclose(rbm.log_z(one, LEVELS), special.logsumexp(log_law), rtol=1e-12)
        table = log_law.reshape(3, 3)
        given = special.log_softmax(table, axis=0) + special.log_softmax(table, axis=1)
        found = [rbm.pseudo_log_likelihood(one, v, LEVELS) for v in STATES]
        np.testing.assert_allclose(found, given.ravel(), rtol=1e-10)


def test_draws_of_gaussians_have_the_moments_of_the_mixture():
    """Exact ones, and these after a sweep, which leaves their law."""
    one, size = machine(GAUSSIAN), 40_000
    log_w, means, s = mixture(one)
    p = special.softmax(log_w)
    mean = p @ means
    second = np.einsum("k,ki,kj->ij", p, means, means) + np.diag(s**2)
    exact = rbm.sample(jax.random.key(0), one, size, GAUSSIAN)
    for v in (exact, rbm.sweep(jax.random.key(1), one, exact, GAUSSIAN)):
        v = np.asarray(v, float)
        products = v[:, :, None] * v[:, None]
        assert (np.abs(v.mean(axis=0) - mean) < 5 * v.std(axis=0) / np.sqrt(size)).all()
        error = products.std(axis=0) / np.sqrt(size)
        assert (np.abs(products.mean(axis=0) - second) < 5 * error).all()
        chosen = stats.norm.cdf(v[:, :1], means[:, 0], s[0]) @ p  # of the first unit: uniform
        assert stats.kstest(chosen, "uniform").pvalue > 1e-3


def test_draws_of_levels_have_their_law():
    """Exact ones, and chains after enough sweeps."""
    one = machine(LEVELS)
    p = special.softmax(law_of_levels(one))
    start = jnp.tile(jnp.asarray(STATES[:1], jnp.float32), (40_000, 1))
    for v in (
        rbm.sample(jax.random.key(0), one, 40_000, LEVELS),
        rbm.gibbs(jax.random.key(1), one, start, 50, LEVELS),
    ):
        seen = (np.asarray(v) @ np.asarray(STATES).T == 2).sum(axis=0)
        assert seen.sum() == 40_000
        assert stats.chisquare(seen, 40_000 * p).pvalue > 1e-3


@pytest.mark.parametrize("kind", [GAUSSIAN, LEVELS], ids=lambda kind: kind.name)
def test_the_gradient_of_log_z_is_a_mean_over_draws(kind):
    """∂ log Z = -E ∂F, of every parameter, standard deviations too."""
    one = machine(kind)
    v = rbm.sample(jax.random.key(0), one, 20_000, kind)
    exact = jax.jit(jax.grad(lambda one: rbm.log_z(one, kind)))(one)
    slope = jax.grad(lambda one, v: -rbm.free_energy(one, v, kind))
    each = jax.jit(jax.vmap(slope, (None, 0)))(one, v)
    for own, wanted in zip(jax.tree.leaves(each), jax.tree.leaves(exact), strict=True):
        error = own.std(axis=0) / np.sqrt(20_000)
        assert (np.abs(own.mean(axis=0) - wanted) < 5 * error + 1e-4).all()


@pytest.mark.parametrize("kind", [GAUSSIAN, LEVELS], ids=lambda kind: kind.name)
def test_brackets_hold_log_z(kind):
    """From a machine without weights, resampled or not."""
    one = machine(kind)
    draws = rbm.sample(jax.random.key(0), one, 200, kind)
    exact = log_z_of(one, kind)
    for keep in (0.0, 0.5):
        found = boltzmann.bracket(
            jax.random.key(1), one, one.visible + 0.3, draws, 50, 200, kind, keep
        )
        for side in found:
            assert abs(side.log_z - exact) < 4 * side.standard_error
            assert side.standard_error < 0.2


def train(x, kind, num_hidden=2, moves_scale=True, start=None):
    """Return the machine before and after training by persistent chains."""
    settings = boltzmann.ChainSettings("pcd", 200, 2, moves_scale=moves_scale)
    stage = boltzmann.make_stage(settings, Pace(600, 0.02, "cosine"), x.mean(axis=0), kind)
    start = rbm.init_at(jax.random.key(0), x, num_hidden, kind, 0.1) if start is None else start
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    held_out = pad_rows(x[:200])
    *_, end = run_stages(Loop(100, patience=99), [stage], start, pad_rows(x), held_out, keys)
    return start, end.params


def test_gaussian_units_learn_two_clusters():
    """Their likelihood nears that of the law; standard deviations move unless they are to stay."""
    rng = np.random.default_rng(0)
    centre = rng.choice([-1.0, 1.0], size=(3000, 1))
    x = jnp.asarray(centre * [1.0, 0.5] + [0.5, 0.25] * rng.normal(size=(3000, 2)), jnp.float32)
    parts = [stats.norm.logpdf(x, sign * np.array([1, 0.5]), [0.5, 0.25]) for sign in (-1, 1)]
    law = (np.logaddexp(*(part.sum(axis=1) for part in parts)) - np.log(2)).mean()
    start, end = train(x, GAUSSIAN)
    assert mean_log_likelihood(start, x, GAUSSIAN) < law - 0.4
    assert mean_log_likelihood(end, x, GAUSSIAN) > law - 0.05
    np.testing.assert_allclose(jnp.exp(end.log_scale), [0.5, 0.25], rtol=0.15)
    start, end = train(x, GAUSSIAN, moves_scale=False)
    assert (start.log_scale == end.log_scale).all() and (start.weights != end.weights).all()


def test_levels_learn_which_go_together():
    """Two categories of three levels that agree with probability 0.8."""
    rng = np.random.default_rng(0)
    first = rng.integers(3, size=3000)
    second = np.where(rng.random(3000) < 0.7, first, rng.integers(3, size=3000))
    x = jnp.asarray(np.concatenate([np.eye(3)[first], np.eye(3)[second]], axis=1), jnp.float32)
    start, end = train(x, LEVELS, num_hidden=4)
    law = np.log(np.where(first == second, 0.8 / 3, 0.1 / 3)).mean()
    assert mean_log_likelihood(start, x, LEVELS) < law - 0.3
    assert mean_log_likelihood(end, x, LEVELS) > law - 0.05


def test_rows_of_the_wrong_kind_are_refused():
    """In one line that says where, and what fills a gap."""
    good = np.full((3, 6), 0.5)
    boltzmann.check_rows(BINARY, good)
    boltzmann.check_rows(LEVELS, STATES)
    wrong, gap = good.copy(), good.copy()
    wrong[1, 2], gap[2, 4] = 1.5, np.nan
    for kind, rows, line in (
        (
            BINARY,
            wrong,
            "rows: expected values from 0 to 1 of binary units, got 1.5 in row 1, unit 2",
        ),
        (
            BINARY,
            gap,
            "rows: expected no gaps, got one in row 2, unit 4; boltzmann.clamp fills gaps",
        ),
        (
            GAUSSIAN,
            good * np.inf,
            "rows: expected finite values of gaussian units, got inf in row 0",
        ),
        (LEVELS, good, "expected groups of 3 levels .* sum to 1 of multinomial units, got 0.5"),
        (LEVELS, good[:, :4], r"expected \[rows, units in groups of 3\], got shape \(3, 4\)"),
        (BINARY, good[0], r"expected \[rows, units\], got shape \(6,\)"),
    ):
        with pytest.raises(ValueError, match=line):
            boltzmann.check_rows(kind, rows)
    with pytest.raises(ValueError, match="num_levels: expected at least 2, got 1"):
        multinomial(1)
    with pytest.raises(ValueError, match="expected bits or levels, got gaussian"):
        rbm.pseudo_log_likelihood(machine(GAUSSIAN), jnp.zeros(4), GAUSSIAN)
    with pytest.raises(ValueError, match="expected at most 20 units on one side .* got 21"):
        rbm.log_z(rbm.init_at(jax.random.key(0), jnp.asarray(STATES), 21, LEVELS), LEVELS)
