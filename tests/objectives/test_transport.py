"""Energy matching: pairs of least distance, and data that are the noise moved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mnar_ebm.objectives.transport import energy_matching, pair


def test_pairs_of_moved_noise_are_the_noise():
    """The map of a translation is optimal, whatever the order of the rows."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(50, 3))
    shift = np.array([5.0, -1.0, 2.0])
    pairs = pair(rng.permutation(data) - shift, data, batch_size=50)
    np.testing.assert_allclose(pairs.data - pairs.noise, np.broadcast_to(shift, (50, 3)))


def test_pairs_in_a_line_are_in_order():
    """In one dimension the sorted rows are paired; in batches, those of a batch."""
    rng = np.random.default_rng(1)
    noise, data = rng.normal(size=(2, 40, 1))
    pairs = pair(noise, data, batch_size=20)
    for part in (slice(0, 20), slice(20, 40)):
        order = np.argsort(pairs.data[part, 0])
        np.testing.assert_array_equal(pairs.noise[part][order], np.sort(noise[part], axis=0))


def test_images_are_paired_as_rows():
    """The shapes stay, and every row of noise is used once."""
    rng = np.random.default_rng(2)
    noise, data = rng.normal(size=(2, 10, 4, 4))
    pairs = pair(noise, data)
    assert pairs.noise.shape == (10, 4, 4) and pairs.data is data
    np.testing.assert_array_equal(np.sort(pairs.noise.ravel()), np.sort(noise.ravel()))


def test_the_potential_of_moved_noise_is_a_plane():
    """V(x) = a·x + ½ x'Bx with least loss has a = -m and B = 0, exactly."""
    rng = np.random.default_rng(3)
    shift = np.array([1.0, -2.0])
    noise, time = rng.normal(size=(30, 2)), rng.uniform(size=30)
    pairs = pair(noise, noise + shift, 30)

    def loss(flat):
        def potential(x):
            return flat[:2] @ x + 0.5 * x @ flat[2:].reshape(2, 2) @ x

        each = jax.vmap(energy_matching, (None, 0, 0, 0))
        return each(potential, pairs.noise, pairs.data, time).mean()

    with jax.enable_x64(True):
        found = optimize.minimize(jax.jit(jax.value_and_grad(loss)), rng.normal(size=6), jac=True)
    np.testing.assert_allclose(found.x[:2], -shift, atol=1e-5)
    curvature = found.x[2:].reshape(2, 2)
    np.testing.assert_allclose(curvature + curvature.T, 0.0, atol=1e-5)


def test_the_loss_is_the_square_of_what_the_slope_lacks():
    """A flat potential leaves ‖x_1 - x_0‖²; the line's ends are noise and data."""
    noise, data = jnp.zeros(2), jnp.asarray([3.0, 4.0])
    assert energy_matching(lambda x: 0.0 * x.sum(), noise, data, 0.3) == 25.0
    for time, end in ((0.0, noise), (1.0, data)):
        loss = energy_matching(lambda x: 0.5 * jnp.vdot(x, x), noise, data, time)
        np.testing.assert_allclose(loss, ((end + data - noise) ** 2).sum())


def test_wrong_input_is_told_in_one_line():
    """Rows that cannot be paired."""
    with pytest.raises(ValueError, match=r"expected noise of shape \(3, 2\), got \(4, 2\)"):
        pair(np.zeros((4, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        pair(np.zeros((3, 2)), np.zeros((3, 2)), 0)
