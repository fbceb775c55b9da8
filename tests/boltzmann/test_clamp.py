"""Missing units given observed ones against enumeration, row by row and by chains."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import boltzmann
from mnar_ebm.boltzmann import GAUSSIAN, RBM, clamp, multinomial, rbm

V, H = 5, 3
BITS = np.array(list(itertools.product([0.0, 1.0], repeat=V)))
HIDDEN = np.array(list(itertools.product([0.0, 1.0], repeat=H)))[:, ::-1]
MASK = np.array([True, False, True, False, False])


def machine(num=V, is_gaussian=False):
    """Return a machine of few units."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=num), rng.normal(size=H), rng.normal(size=(num, H))]
    parts += [0.3 * rng.normal(size=num)] if is_gaussian else []
    return RBM(*(jnp.asarray(part, jnp.float32) for part in parts))


def test_bits_given_others():
    """Means, exact draws and chains have the law of the states that agree with what is seen."""
    one, row = machine(), np.array([1.0, np.nan, 0.0, np.nan, np.nan])
    agrees = (BITS[:, MASK] == row[MASK]).all(axis=1)
    p = special.softmax(-np.asarray(rbm.free_energy(one, BITS[agrees]), float))
    given = jnp.asarray(row, jnp.float32)[None], jnp.asarray(MASK)[None]
    mean = clamp.mean(one, *given)
    np.testing.assert_allclose(mean[0], p @ BITS[agrees], atol=1e-5)
    draws = boltzmann.impute(jax.random.key(0), one, *given, 20_000)[:, 0]
    start = jnp.tile(jnp.nan_to_num(given[0]), (20_000, 1))
    chains = clamp.gibbs(jax.random.key(1), one, start, given[1], 50)
    for found in (draws, chains):
        seen = (np.asarray(found)[:, None] == BITS[agrees]).all(axis=-1).sum(axis=0)
        assert seen.sum() == 20_000
        assert stats.chisquare(seen, 20_000 * p).pvalue > 1e-3


def test_gaussians_given_others():
    """A mixture whose parts weigh what they say of the observed units."""
    one = machine(is_gaussian=True)
    b, c, w, s = (np.asarray(part, float) for part in one)
    s, means = np.exp(s), b + HIDDEN @ w.T
    log_w = HIDDEN @ c + (means**2 / (2 * s**2) + np.log(2 * np.pi * s**2) / 2).sum(axis=1)
    row = np.array([0.3, np.nan, -1.0, np.nan, np.nan])
    log_w += stats.norm.logpdf(row[MASK], means[:, MASK], s[MASK]).sum(axis=1)
    p = special.softmax(log_w)
    given = jnp.asarray(row, jnp.float32)[None], jnp.asarray(MASK)[None]
    mean = clamp.mean(one, *given, GAUSSIAN)
    np.testing.assert_allclose(mean[0], np.where(MASK, row, p @ means), atol=1e-4)
    draws = np.asarray(boltzmann.impute(jax.random.key(0), one, *given, 20_000, 1, GAUSSIAN))[:, 0]
    assert (draws[:, MASK] == np.float32(row[MASK])).all()
    for unit in np.flatnonzero(~MASK):
        uniform = stats.norm.cdf(draws[:, unit, None], means[:, unit], s[unit]) @ p
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def test_levels_given_others():
    """One of two categories, whose law is that of three states."""
    kind, one = multinomial(3), machine(6)
    rows = np.concatenate([np.tile(np.eye(3)[1], (3, 1)), np.eye(3)], axis=1)
    p = special.softmax(-np.asarray(rbm.free_energy(one, rows, kind), float))
    row, mask = rows[:1] * [1, 1, 1, np.nan, np.nan, np.nan], np.arange(6)[None] < 3
    given = jnp.asarray(row, jnp.float32), jnp.asarray(mask)
    np.testing.assert_allclose(clamp.mean(one, *given, kind)[0, 3:], p, atol=1e-5)
    draws = boltzmann.impute(jax.random.key(0), one, *given, 20_000, 1, kind)[:, 0, 3:]
    assert stats.chisquare(np.asarray(draws.sum(axis=0)), 20_000 * p).pvalue > 1e-3
    with pytest.raises(ValueError, match="all levels of a group observed or none.* row 0, group 1"):
        boltzmann.impute(jax.random.key(0), one, rows[:1], np.arange(6)[None] < 4, 1, kind=kind)


def test_a_machine_too_large_to_sum_over_is_walked(monkeypatch):
    """Draws are then ends of chains: the same law, and what is observed stays."""
    one, row = machine(), jnp.array([[1.0, jnp.nan, 0.0, jnp.nan, jnp.nan]])
    mask = jnp.asarray(MASK)[None]
    expected = clamp.mean(one, row, mask)[0]
    monkeypatch.setattr(rbm, "MAX_UNITS", H - 1)
    draws = boltzmann.impute(jax.random.key(0), one, row, mask, 20_000, num_sweeps=50)[:, 0]
    assert (draws[:, MASK] == row[0, MASK]).all()
    assert (np.abs(draws.mean(axis=0) - expected) < 5 * 0.5 / np.sqrt(20_000)).all()
    with pytest.raises(ValueError, match="expected at most 2 units on one side"):
        clamp.log_law(one, row[0], mask[0])


def test_what_cannot_be_clamped_is_refused():
    """An observed gap, an observed value that no bit has, a mask that is none."""
    one, row = machine(), np.array([[1.0, np.nan, 0.0, np.nan, np.nan]])
    for v, mask, line in (
        (row, np.ones((1, V), bool), "rows: expected no gaps, got one in row 0, unit 1"),
        (2 * row, MASK[None], "expected values from 0 to 1 of binary units, got 2"),
        (row, MASK, r"mask: expected truth values of shape \(1, 5\), got bool of \(5,\)"),
        (row, MASK[None] * 1.0, "mask: expected truth values .* got float64"),
    ):
        with pytest.raises(ValueError, match=line):
            boltzmann.impute(jax.random.key(0), one, v, mask, 1)
