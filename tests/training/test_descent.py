"""Steps of Adam on a loss of all rows: against optax by hand, mapped, and with what steps leave."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnar_ebm.training.descent import descend

CENTRE = jnp.array([1.0, -2.0, 0.5])


def loss(index, params, total):
    """Return a bowl that shakes, and the sum of all indices so far."""
    return jnp.sum((params - CENTRE * (1 + 0.1 * jnp.cos(index))) ** 2), total + index


def rate(index):
    """Return a falling learning rate."""
    return 0.3 / (1.0 + index)


def by_hand(start, num_steps):
    """Return what a Python loop over optax gives."""
    optimiser = optax.adam(rate)
    params, state = start, optimiser.init(start)
    for index in range(num_steps):
        gradient = jax.grad(lambda params, index=index: loss(index, params, 0)[0])(params)
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_it_is_optax_in_a_loop():
    start = jnp.zeros(3)
    found = descend(loss, start, jnp.zeros((), int), 12, rate)
    np.testing.assert_allclose(found, by_hand(start, 12), rtol=1e-5)
    assert np.abs(found - by_hand(start, 11)).max() > 1e-3  # one step fewer is seen


def test_candidates_are_mapped_and_steps_may_be_traced():
    starts = jnp.stack([jnp.zeros(3), jnp.ones(3)])
    nothing = jnp.zeros((), int)
    fit = jax.jit(jax.vmap(lambda start, n: descend(loss, start, nothing, n, rate), (0, None)))
    for num_steps in (0, 5):
        expected = [by_hand(start, num_steps) for start in starts]
        np.testing.assert_allclose(fit(starts, num_steps), expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_given_what_the_one_before_left():
    """Here the momentum of the loss itself: each step pulls towards where the last one was."""

    def pull(index, params, before):
        return jnp.sum((params - before) ** 2) + params.sum(), params

    def plain():
        return optax.identity()

    params, before = jnp.array([1.0]), jnp.array([0.0])
    found = descend(pull, params, before, 4, lambda index: jnp.asarray(0.1), plain)
    for _ in range(4):
        params, before = params - 0.1 * (2 * (params - before) + 1), params
    np.testing.assert_allclose(found, params, rtol=1e-6)
