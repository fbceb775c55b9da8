"""A machine of few units against enumeration: sums, conditionals, kernels and gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm.boltzmann import RBM, rbm, training

V, H = 4, 3
VISIBLE = np.array(list(itertools.product([0.0, 1.0], repeat=V)))[:, ::-1]  # as numbers count
HIDDEN = np.array(list(itertools.product([0.0, 1.0], repeat=H)))[:, ::-1]


@functools.cache
def machine(v=V, h=H, scale=1.0):
    """Return a machine with parameters of order 1, in float64 of NumPy."""
    rng = np.random.default_rng(0)
    return RBM(rng.normal(size=v), rng.normal(size=h), scale * rng.normal(size=(v, h)))


def joint():
    """Return -E(v, h) by the definition, in float64. [16, 8]."""
    b, c, w = machine()[:3]
    return (VISIBLE @ b)[:, None] + HIDDEN @ c + VISIBLE @ w @ HIDDEN.T


def law():
    """Return p(v) of every state. [16]."""
    return special.softmax(joint(), axis=None).sum(axis=1)


def exact_moments(p):
    """Return the means of v, h and v h where v has the law ``p``."""
    b, c, w = machine()[:3]
    h = special.expit(c + VISIBLE @ w)
    return RBM(p @ VISIBLE, p @ h, VISIBLE.T @ (p[:, None] * h))


@pytest.fixture
def double():
    """Compute in float64."""
    with jax.enable_x64(True):
        yield RBM(*(jnp.asarray(part) for part in machine()[:3]))


def test_sums_over_either_side_and_over_both_agree(double):
    """Log Z over v, over h, and over (v, h); the free energy is minus the log of a sum over h."""
    expected = special.logsumexp(joint())
    for one in (double, rbm.transpose(double)):
        np.testing.assert_allclose(rbm.log_z(one), expected, rtol=1e-12)
        np.testing.assert_allclose(
            special.logsumexp(
                -np.asarray(rbm.free_energy(one, VISIBLE if one is double else HIDDEN))
            ),
            expected,
            rtol=1e-12,
        )
    of_hidden = special.logsumexp(joint(), axis=1)
    np.testing.assert_allclose(-rbm.free_energy(double, VISIBLE), of_hidden, rtol=1e-12)
    energies = rbm.energy(double, VISIBLE[:, None], HIDDEN[None])
    np.testing.assert_allclose(-energies, joint(), rtol=1e-12)
    log_p = rbm.log_likelihood(double, VISIBLE, rbm.log_z(double))
    np.testing.assert_allclose(np.exp(log_p), law(), rtol=1e-12)


def test_the_gradient_of_the_likelihood_is_the_difference_of_moments(double):
    """Autodiff of the exact log-likelihood, and enumeration."""
    data = jnp.asarray(VISIBLE[[3, 7, 7, 12]])

    def loss(one):
        return -rbm.log_likelihood(one, data, rbm.log_z(one)).mean()

    weights = np.bincount([3, 7, 7, 12], minlength=16) / 4
    found = jax.grad(loss)(double)
    moments = exact_moments(law()), exact_moments(weights)
    for own, model, seen in zip(*(part[:3] for part in (found, *moments)), strict=True):
        np.testing.assert_allclose(own, model - seen, atol=1e-12)


def test_the_pseudo_likelihood_is_that_of_each_unit_given_the_others(double):
    """By the enumerated law; the likelihood itself where units are independent."""
    p = law()
    for number, v in enumerate(VISIBLE):
        flips = [number ^ (1 << unit) for unit in range(V)]
        expected = np.log(p[number] / (p[number] + p[flips])).sum()
        np.testing.assert_allclose(rbm.pseudo_log_likelihood(double, v), expected, rtol=1e-10)
    free = double._replace(weights=jnp.zeros((V, H)))
    for v in VISIBLE[:3]:
        likelihood = rbm.log_likelihood(free, v, rbm.log_z(free))
        np.testing.assert_allclose(rbm.pseudo_log_likelihood(free, v), likelihood, rtol=1e-12)


def kernel():
    """Return P(v'|v) of a sweep, by enumeration. [16, 16]."""
    b, c, w = machine()[:3]
    on_h, on_v = special.expit(c + VISIBLE @ w), special.expit(b + HIDDEN @ w.T)
    p_h = np.prod(np.where(HIDDEN[None] == 1, on_h[:, None], 1 - on_h[:, None]), axis=-1)
    p_v = np.prod(np.where(VISIBLE[None] == 1, on_v[:, None], 1 - on_v[:, None]), axis=-1)
    return p_h @ p_v


def numbers_of(v):
    """Return which state each row is."""
    return (np.asarray(v) @ 2 ** np.arange(V)).astype(int)


def test_a_sweep_leaves_the_law_and_is_drawn_by_it():
    """π P = π, π_i P_ij is symmetric, and 40,000 draws from two states have their rows of P."""
    p, transition = law(), kernel()
    np.testing.assert_allclose(p @ transition, p, atol=1e-14)
    flow = p[:, None] * transition
    np.testing.assert_allclose(flow, flow.T, atol=1e-14)
    one = RBM(*(jnp.asarray(part, jnp.float32) for part in machine()[:3]))
    for number in (2, 13):
        start = jnp.broadcast_to(jnp.asarray(VISIBLE[number], jnp.float32), (40_000, V))
        seen = np.bincount(numbers_of(rbm.sweep(jax.random.key(number), one, start)), minlength=16)
        assert stats.chisquare(seen, 40_000 * transition[number]).pvalue > 1e-3


def test_draws_of_a_machine_have_its_law():
    """Exact ones, by the states of either side; and chains after enough sweeps."""
    one = RBM(*(jnp.asarray(part, jnp.float32) for part in machine()[:3]))
    start = jnp.zeros((40_000, V))
    wide = RBM(one.visible, jnp.tile(one.hidden, 2), jnp.tile(one.weights, (1, 2)))
    p_wide = special.softmax(np.asarray(-rbm.free_energy(wide, VISIBLE), float))
    for found, expected in (
        (rbm.sample(jax.random.key(0), one, 40_000), law()),
        (rbm.sample(jax.random.key(1), wide, 40_000), p_wide),
        (rbm.gibbs(jax.random.key(2), one, start, 50), law()),
    ):
        seen = np.bincount(numbers_of(found), minlength=16)
        assert stats.chisquare(seen, 40_000 * expected).pvalue > 1e-3


def test_contrastive_divergence_has_the_gradient_that_it_should():
    """g_k = <s>_data - (p_data P^k) <s>, which is that of the likelihood as k grows."""
    one = RBM(*(jnp.asarray(part, jnp.float32) for part in machine()[:3]))
    p_data = np.bincount([3, 7, 7, 12], minlength=16) / 4
    data = jnp.asarray(VISIBLE[[3, 7, 7, 12]], jnp.float32)
    many = jnp.tile(data, (5000, 1))
    for k in (1, 3):
        p_k = p_data @ np.linalg.matrix_power(kernel(), k)
        expected = jax.tree.map(np.subtract, exact_moments(p_k), exact_moments(p_data))
        negatives = rbm.gibbs(jax.random.key(k), one, many, k)
        found = jax.grad(training.gap)(one, many, negatives)
        for own, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, wanted, atol=4 * 0.5 / np.sqrt(20_000))
    second = np.sort(np.abs(np.linalg.eigvals(kernel())))[-2]
    gaps = []
    for k in range(1, 11):
        p_k = p_data @ np.linalg.matrix_power(kernel(), k)
        far = jax.tree.map(np.subtract, exact_moments(p_k), exact_moments(law()))
        gaps.append(np.sqrt(sum((part**2).sum() for part in far[:3])) / second**k)
    assert max(gaps[4:]) / min(gaps[4:]) < 1.1  # g_k goes to that of the likelihood as λ_2^k


def test_a_step_does_not_mind_how_units_are_named():
    """Flip some bits of data and chains: the step is that of before, in the flipped machine."""
    one = RBM(*(jnp.asarray(part, jnp.float32) for part in machine()[:3]))
    rng = np.random.default_rng(1)
    data, chains = (jnp.asarray(rng.random((50, V)) < 0.3, jnp.float32) for _ in range(2))
    flip = jnp.array([1.0, 0.0, 1.0, 0.0])
    sign = 1 - 2 * flip

    def flipped(of):  # p'(v) = p(v with bits flipped)
        return RBM(sign * of.visible, of.hidden + flip @ of.weights, sign[:, None] * of.weights)

    def renamed(v):
        return jnp.abs(v - flip)

    def step(of, data, chains, mean):
        def loss(centred):
            return training.gap(training.uncentre(centred, mean), data, chains)

        centred = training.centre(of, mean)
        moved = jax.tree.map(lambda v, by: v - 0.1 * by, centred, jax.grad(loss)(centred))
        return training.uncentre(moved, mean)

    mean = data.mean(axis=0)
    moved = flipped(step(one, data, chains, mean))
    other = step(flipped(one), renamed(data), renamed(chains), renamed(mean))
    for own, wanted in zip(other, moved, strict=True):
        np.testing.assert_allclose(own, wanted, atol=1e-5)
    zeros = jnp.zeros(V)  # without the data's means it does mind
    plain = flipped(step(one, data, chains, zeros))
    other = step(flipped(one), renamed(data), renamed(chains), zeros)
    assert np.abs(other.hidden - plain.hidden).max() > 1e-3


def test_what_cannot_be_summed_over_is_refused():
    """And a machine without units, or with rates that no bias has."""
    big = rbm.init(jax.random.key(0), jnp.full(30, 0.5), 21)
    with pytest.raises(ValueError, match="expected at most 20 units on one side .* got 21"):
        rbm.log_z(big)
    with pytest.raises(ValueError, match="expected values strictly between 0 and 1"):
        rbm.init(jax.random.key(0), jnp.array([0.5, 1.0]), 2)
    with pytest.raises(ValueError, match="expected units on both sides"):
        rbm.init(jax.random.key(0), jnp.full(3, 0.5), 0)
