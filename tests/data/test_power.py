"""Yeo and Johnson's transform: beside scikit-learn's, there and back, and what it is fitted to."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.preprocessing import PowerTransformer

from mnar_ebm import data
from mnar_ebm.data.power import Bend

POWERS = np.array([0.001, 0.5, 1.0, 1.6, 1.999])
GRID = np.tile(np.linspace(-6, 6, 121)[:, None], len(POWERS))
LIMITS = (np.full(5, -8.0), np.full(5, 8.0))
MAP = Bend(POWERS, np.zeros(5), np.ones(5), *LIMITS)


def rows(seed=0):
    """Return a skewed column, one skewed the other way, a normal one and an amount. [N, 4]."""
    rng = np.random.default_rng(seed)
    amount = np.where(rng.random(3000) < 0.3, 0.0, rng.lognormal(size=3000))
    return np.stack(
        [rng.lognormal(size=3000), -rng.gamma(2, size=3000), *rng.normal(5, 2, (1, 3000)), amount],
        axis=1,
    )


def test_the_map_is_that_of_scikit_learn():
    """At powers of both sides of 1, on both sides of 0."""
    theirs = PowerTransformer(standardize=False).fit(GRID + np.arange(121)[:, None] % 2)
    theirs.lambdas_ = POWERS
    np.testing.assert_allclose(MAP.apply(GRID), theirs.transform(GRID), rtol=1e-6)
    np.testing.assert_allclose(MAP.apply(GRID)[:, 2], GRID[:, 2], rtol=1e-12)


def test_it_comes_back():
    """In double precision and, in JAX, in single; 0, where an atom is, to the bit."""
    told = (np.linspace(-0.4, 0.4, 5), np.linspace(0.5, 2, 5))
    bend = Bend(POWERS, np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5), *LIMITS, *told)
    np.testing.assert_allclose(bend.invert(bend.apply(GRID)), GRID, rtol=1e-9, atol=1e-12)
    single = bend.invert(jnp.asarray(bend.apply(GRID), jnp.float32))
    np.testing.assert_allclose(single, GRID, rtol=1e-3, atol=1e-5)
    assert (MAP.invert(MAP.apply(np.zeros(5))) == 0).all()


@pytest.mark.parametrize("has_atoms", [False, True])
def test_it_goes_on_straight_beyond_what_was_seen(has_atoms):
    """With the value and the slope of the edge, there and back; it bends within."""
    x = rows()
    mask = np.ones_like(x, bool)
    atoms = data.find_atoms(x, mask) if has_atoms else None
    bent = data.Standardiser.fit(x, mask, atoms).with_bend(x, mask, np.array([0, 1, 3]), atoms)
    step = np.array([0.0, 1e-6, 5.0, 10.0])[:, None]
    for edge, side in ((x.min(axis=0), -1.0), (x.max(axis=0), 1.0)):
        points = edge + side * step
        values = bent.apply(points)
        slope = (values[1:] - values[0]) / (points[1:] - points[0])
        np.testing.assert_allclose(np.log(slope), bent.log_derivative(points)[1:], atol=1e-6)
        np.testing.assert_allclose(bent.invert(values), points, rtol=1e-9, atol=1e-9)
    inner = np.quantile(x, [0.9, 0.99], axis=0)
    rates = np.diff(bent.log_derivative(inner), axis=0)[0]
    assert (np.abs(rates[[0, 1, 3]]) > 0.01).all() and rates[2] == 0


def test_its_derivative_is_its_own():
    """Central differences agree."""
    told, step = (np.linspace(-0.4, 0.4, 5), np.linspace(0.5, 2, 5)), 1e-5
    bend = Bend(POWERS, np.zeros(5), np.full(5, 3.0), *LIMITS, *told)
    slope = (bend.apply(GRID + step) - bend.apply(GRID - step)) / (2 * step)
    np.testing.assert_allclose(bend.log_derivative(GRID), np.log(slope), atol=1e-6)


def test_the_derivative_of_standard_units_is_that_of_all_of_their_steps():
    """Centring, scaling and bending, by central differences."""
    x = rows()
    mask = np.ones_like(x, bool)
    bent = data.Standardiser.fit(x, mask).with_bend(x, mask, np.array([0, 1, 3]))
    points = np.quantile(x, [0.35, 0.6, 0.9], axis=0)
    slope = (bent.apply(points + 1e-5) - bent.apply(points - 1e-5)) / 2e-5
    np.testing.assert_allclose(bent.log_derivative(points), np.log(slope), atol=1e-6)


def test_the_power_is_the_likeliest():
    """That of scikit-learn, where it lies in (0, 2) and values are told from where they are."""
    x = data.Standardiser.fit(rows(), np.ones((3000, 4), bool)).apply(rows())[:, 1:3]
    bend = Bend.fit(x, np.ones_like(x, bool), np.arange(2), np.array([True, False]))
    np.testing.assert_allclose(bend.power, PowerTransformer().fit(x).lambdas_, atol=1e-3)
    assert (bend.origin == 0).all() and (bend.unit == 1).all()


def test_a_lognormal_column_is_told_from_its_foot():
    """There its map is nearly the logarithm; at its mean in standard deviations it is not."""
    x = np.random.default_rng(2).lognormal(sigma=0.8, size=(2000, 1))
    x = (x - x.mean()) / x.std()
    mask = np.ones_like(x, bool)
    free, held = (Bend.fit(x, mask, [0], np.array([has_atom])) for has_atom in (False, True))
    assert free.origin[0] < -0.5 and free.unit[0] < 1
    gained = (_log_density(free, x) - _log_density(held, x)).sum()
    assert gained > 50
    assert abs(stats.skew(free.apply(x)[:, 0])) < 0.15 < abs(stats.skew(held.apply(x)[:, 0]))


def _log_density(bend, x):
    """Return the log-density of values whose map is normal, of any mean and deviation. [N, 1]."""
    bent = bend.apply(x)
    return stats.norm.logpdf(bent, bent.mean(), bent.std()) + bend.log_derivative(x)


def test_a_bent_table_is_nearer_to_normal_and_comes_back():
    """Skewness shrinks; means are 0 and deviations 1; atoms, and columns left out, stay."""
    x, mask = rows(), np.random.default_rng(1).random((3000, 4)) < 0.8
    atoms = data.find_atoms(x, mask)
    assert atoms.side == (0, 0, 0, 1)
    straight = data.Standardiser.fit(x, mask, atoms)
    bent = straight.with_bend(x, mask, np.array([0, 1, 3]), atoms)
    hidden = np.where(mask, x, np.nan)
    bent_again = straight.with_bend(hidden, mask, np.array([0, 1, 3]), atoms)
    np.testing.assert_array_equal(bent.bend.power, bent_again.bend.power)  # reads no hidden value

    standard = np.where(mask, bent.apply(x), np.nan)
    np.testing.assert_allclose(np.nanmean(standard[:, :3], axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(standard[:, :3], axis=0), 1, rtol=1e-12)
    for column in (0, 1):
        before, after = (
            (z[mask[:, column], column] ** 3).mean() for z in (straight.apply(x), standard)
        )
        assert abs(after) < 0.5 * abs(before)
    np.testing.assert_array_equal(bent.apply(x)[:, 2], straight.apply(x)[:, 2])
    np.testing.assert_array_equal(bent.apply(x)[:, 3] == 0, x[:, 3] == 0)
    assert (bent.invert(bent.apply(x))[x[:, 3] == 0, 3] == 0).all()
    np.testing.assert_allclose(bent.invert(bent.apply(x)), x, rtol=1e-8, atol=1e-10)


def test_a_bend_survives_json_exactly():
    """And a standardiser without one is described as before there were any."""
    x = rows()
    straight = data.Standardiser.fit(x, np.ones_like(x, bool))
    bent = straight.with_bend(x, np.ones_like(x, bool), np.array([0, 1, 3]))
    text = json.dumps(bent.to_json(), allow_nan=False)  # strict JSON has no infinity
    again = data.Standardiser.from_json(json.loads(text))
    np.testing.assert_array_equal(again.apply(x), bent.apply(x))
    far = np.array([[-1e9] * 4, [1e9] * 4])
    np.testing.assert_array_equal(again.invert(far), bent.invert(far))
    assert set(straight.to_json()) == {"mean", "scale"}


@pytest.mark.parametrize(
    "values",
    [[3.0, 3.0], [0.0, 1.0, 1.0], [1e-200, 2e-200, 3e-200], [0.3, 0.1 + 0.2, np.nextafter(0.3, 0)]],
    ids=["constant", "binary", "tiny", "rounded"],
)
def test_what_has_no_shape_is_left_straight(values):
    """Two values, and those that rounding alone tells apart, which go by no standard unit."""
    x = np.array(values)[:, None]
    mask = np.ones_like(x, bool)
    straight = data.Standardiser.fit(x, mask)
    bent = straight.with_bend(x, mask, np.arange(1))
    far = np.array([[-50.0], [50.0]])
    np.testing.assert_array_equal(bent.apply(far), straight.apply(far))
