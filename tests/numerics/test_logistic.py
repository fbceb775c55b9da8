"""The standard logistic against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mnar_ebm.numerics import logistic

GRID = np.concatenate([np.linspace(-20.0, 20.0, 321), [-1e4, -80.0, -40.0, 40.0, 80.0, 1e4]])


@pytest.mark.parametrize(
    "function, value, derivative",
    [
        (logistic.softplus, lambda x: -special.log_expit(-x), special.expit),
        (logistic.log_cdf, special.log_expit, lambda x: special.expit(-x)),
    ],
)
def test_value_and_derivative(function, value, derivative):
    """At 0, where two branches meet, and far out on both sides, in float32."""
    assert 0.0 in GRID
    x = jnp.asarray(GRID, jnp.float32)
    np.testing.assert_allclose(function(x), value(GRID), rtol=2e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(function))(x), derivative(GRID), rtol=4e-6)
