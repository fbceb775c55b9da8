"""The replay buffer: what each function does to the rows, and persistent chains on an exact RBM."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import samplers
from mnar_ebm.samplers import replay

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_VISIBLE, NUM_HIDDEN = 4, 3
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=NUM_VISIBLE)))
HIDDEN = np.array(list(itertools.product([0.0, 1.0], repeat=NUM_HIDDEN)))


@pytest.fixture(autouse=True)
def no_rank_promotion():
    """Forbid silent broadcasting between arrays of unequal rank."""
    with jax.numpy_rank_promotion("raise"):
        yield


# The functions, on rows that can be told apart.


def numbered(size=6):
    """Return a buffer whose row n holds n, in two leaves, at age n."""
    rows = jnp.arange(size)
    positions = {"a": rows.astype(float), "b": jnp.stack([rows, rows], axis=-1)}
    return replay.Replay(positions, rows)


def test_drawn_rows_are_distinct_and_every_row_is_drawn_alike():
    """Index n with row n, no index twice, and each in R/N of the draws, within 4 s.e."""
    draws = jax.vmap(functools.partial(replay.draw, replay=numbered(), num_rows=2))
    indices, rows = draws(jax.random.split(jax.random.key(0), 3000))
    chex.assert_trees_all_equal(rows, jax.tree.map(lambda leaf: leaf[indices], numbered()))
    assert np.all(indices[:, 0] != indices[:, 1])
    for position in range(2):  # in random order: each place sees each row alike
        counts = np.bincount(indices[:, position], minlength=6)
        error = np.sqrt(3000 * (1 / 6) * (5 / 6))
        assert np.all(np.abs(counts - 500) < 4 * error)


@pytest.mark.parametrize("share, num_restarts", [(0.0, {0}), (0.3, {1, 2}), (1.0, {5})])
def test_a_share_of_the_rows_starts_again(share, num_restarts):
    """Its count is the share in expectation; who starts again is fresh, at age 0, in all leaves."""
    rows = jax.tree.map(lambda leaf: leaf[1:], numbered())
    fresh = jax.tree.map(lambda leaf: leaf + 100, rows.positions)
    keys = jax.random.split(jax.random.key(1), 2000)
    restart = jax.jit(jax.vmap(replay.restart, in_axes=(0, None, None, None)))
    after = restart(keys, rows, fresh, jnp.asarray(share))
    is_fresh = np.asarray(after.ages == 0)
    assert set(is_fresh.sum(axis=1)) == num_restarts
    expected = np.where(is_fresh, fresh["a"], rows.positions["a"])
    np.testing.assert_array_equal(after.positions["a"], expected)
    np.testing.assert_array_equal(after.positions["b"], np.stack([expected] * 2, axis=-1))
    assert abs(is_fresh.mean() - share) < 4 * 0.5 / (5 * np.sqrt(2000)) + 1e-12


def test_rows_go_back_where_they_were():
    """Drawn, advanced and put back: these rows have moved, no other has, and none is lost."""
    buffer = numbered()
    indices, rows = replay.draw(jax.random.key(2), buffer, 3)
    moved = jax.tree.map(lambda leaf: leaf + 10, rows)
    after = replay.put_back(buffer, indices, moved)
    is_drawn = np.isin(np.arange(6), indices)
    np.testing.assert_array_equal(after.ages, np.arange(6) + 10 * is_drawn)
    np.testing.assert_array_equal(after.positions["a"], after.ages.astype(float))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, buffer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype):
    """Under x64 as well."""
    with jax.enable_x64(True):
        buffer = replay.init({"a": jnp.zeros((4, 2), dtype)})
        indices, rows = replay.draw(jax.random.key(0), buffer, 2)
        rows = replay.restart(jax.random.key(1), rows, rows.positions, 0.5)
        chex.assert_trees_all_equal_shapes_and_dtypes(
            replay.put_back(buffer, indices, rows), buffer
        )
        assert buffer.positions["a"].dtype == dtype


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: replay.init({}), "positions: expected one leading axis for all leaves, got"),
        (lambda: replay.init(0.0), "positions: expected one leading axis for all leaves, got"),
        (
            lambda: replay.init((jnp.ones(2), jnp.ones(3))),
            "positions: expected one leading axis for all leaves, got",
        ),
        (
            lambda: replay.draw(jax.random.key(0), numbered(), 7),
            "num_rows: expected a number from 1 to 6, got 7",
        ),
        (
            lambda: replay.restart(jax.random.key(0), numbered(), numbered().positions, 1.1),
            "share: expected a value from 0 to 1, got 1.1",
        ),
    ],
)
def test_wrong_settings(call, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# An RBM whose 16 visible states can be listed: exp(b'v + c'h + v'Wh) / Z.


class RBM:
    """Exact laws of a small restricted Boltzmann machine with skewed biases."""

    def __init__(self, strength):
        """Draw weights; the stronger, the longer block Gibbs takes to mix."""
        rng = np.random.default_rng(5)
        self.weights = strength * rng.normal(size=(NUM_VISIBLE, NUM_HIDDEN))
        # (v - ½)'W(h - ½) has modes of like weight; what is added makes them unlike.
        self.visible_bias = 0.3 * rng.normal(size=NUM_VISIBLE) - self.weights.sum(axis=1) / 2
        self.hidden_bias = 0.3 * rng.normal(size=NUM_HIDDEN) - self.weights.sum(axis=0) / 2
        joint = np.exp(
            (STATES @ self.visible_bias)[:, None]
            + HIDDEN @ self.hidden_bias
            + STATES @ self.weights @ HIDDEN.T
        )
        self.law = joint.sum(axis=1) / joint.sum()
        hidden_given = joint / joint.sum(axis=1, keepdims=True)
        self.kernel = hidden_given @ (joint / joint.sum(axis=0)).T
        """P(v'|v) of a sweep of block Gibbs. [16, 16]"""
        mean_hidden = hidden_given @ HIDDEN
        outer = STATES[:, :, None] * mean_hidden[:, None]
        self.statistics = np.concatenate([STATES, mean_hidden, outer.reshape(16, -1)], axis=1)
        """s(v) = (v, E[h|v], v E[h|v]'), whose mean is the gradient of log Z. [16, 19]"""

    def moments(self, law):
        """Return the mean of s(v) under a law of v."""
        return law @ self.statistics

    def gradient(self, data, num_steps):
        """Return g_k = <s>_data - data P^k <s>, what CD-k expects. [19]."""
        return self.moments(data) - self.moments(
            data @ np.linalg.matrix_power(self.kernel, num_steps)
        )

    def sweep(self, key, v):
        """Draw v' given v by block Gibbs, in the bits of the states. [4] -> [4]."""
        key_hidden, key_visible = jax.random.split(key)
        h = jax.random.bernoulli(
            key_hidden, jax.nn.sigmoid(self.hidden_bias + v @ self.weights)
        ).astype(v.dtype)
        p = jax.nn.sigmoid(self.visible_bias + self.weights @ h)
        return jax.random.bernoulli(key_visible, p).astype(v.dtype)

    def advance(self, key, positions, num_steps):
        """Run chains for some sweeps. [N, 4]."""

        def step(v, key):
            return jax.vmap(self.sweep)(jax.random.split(key, len(v)), v), None

        return jax.lax.scan(step, positions, jax.random.split(key, num_steps))[0]

    def draws(self, key, law, num_rows):
        """Draw states from a law of v. [N, 4]."""
        chosen = jax.random.choice(key, len(law), (num_rows,), p=jnp.asarray(law))
        return jnp.asarray(STATES, jnp.float32)[chosen]

    def errors(self, states, law):
        """Return how far the mean of s is from its mean under a law, in standard errors. [19]."""
        values = self.statistics[np.asarray(states, int) @ [8, 4, 2, 1]]
        error = np.sqrt(np.maximum(law @ self.statistics**2 - self.moments(law) ** 2, 0))
        return (values.mean(axis=0) - self.moments(law)) / error * np.sqrt(len(values))


DATA = np.random.default_rng(6).dirichlet(np.full(16, 0.5))
"""A law of v that no RBM of this size has."""


@functools.cache
def machine(strength=2.0):
    """Return the RBM of a strength."""
    return RBM(strength)


def test_block_gibbs_leaves_the_law_invariant():
    """The oracle itself: rows sum to 1, πP = π, and detailed balance holds."""
    rbm = machine()
    np.testing.assert_allclose(rbm.kernel.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(rbm.law @ rbm.kernel, rbm.law, rtol=1e-12)
    flow = rbm.law[:, None] * rbm.kernel
    np.testing.assert_allclose(flow, flow.T, rtol=1e-10)


def test_the_limit_of_cd_is_the_gradient_of_the_likelihood():
    """Autodiff of the exact log-likelihood is g_∞."""
    rbm = machine()

    def log_likelihood(b, c, w):
        free = STATES @ b + jax.nn.softplus(c[None] + STATES @ w).sum(axis=-1)
        return DATA @ free - jax.nn.logsumexp(free)

    with jax.enable_x64(True):
        gradient = jax.grad(log_likelihood, argnums=(0, 1, 2))(
            *map(jnp.asarray, (rbm.visible_bias, rbm.hidden_bias, rbm.weights))
        )
    exact = rbm.moments(DATA) - rbm.moments(rbm.law)
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in gradient]), exact, atol=1e-12)
    np.testing.assert_allclose(rbm.gradient(DATA, 2000), exact, atol=1e-12)


def test_the_bias_of_cd_falls_with_the_second_eigenvalue():
    """‖g_k - g_∞‖ / λ₂^k settles, as fast as (λ₃/λ₂)^k."""
    rbm = machine()
    _, second, third = np.sort(np.abs(np.linalg.eigvals(rbm.kernel)))[:-4:-1]
    exact = rbm.moments(DATA) - rbm.moments(rbm.law)
    ratio = np.array(
        [np.linalg.norm(rbm.gradient(DATA, k) - exact) / second**k for k in range(1, 21)]
    )
    distance = np.abs(ratio / ratio[-1] - 1)
    assert np.all(distance < 0.02)
    assert np.all(distance[:10] < (third / second) ** np.arange(1, 11))


@pytest.mark.parametrize("num_steps", [1, 3])
def test_contrastive_divergence_estimates_its_own_expectation(num_steps):
    """Chains from data for k sweeps: g_k within 4 s.e., and not g_∞."""
    rbm, num_chains = machine(), 40_000
    starts = rbm.draws(jax.random.key(3), DATA, num_chains)
    states = jax.jit(rbm.advance, static_argnums=2)(jax.random.key(4), starts, num_steps)
    law = DATA @ np.linalg.matrix_power(rbm.kernel, num_steps)
    assert np.all(np.abs(rbm.errors(states, law)) < 4)
    assert np.any(np.abs(rbm.errors(states, rbm.law)) > 10)


def run_persistent_chains(rbm, start, *, num_updates, share=0.0, size=8192, num_rows=4096):
    """Return the buffer after updates of one sweep each, at fixed parameters."""
    key_start, key_updates = jax.random.split(jax.random.key(7))
    buffer = replay.init(rbm.draws(key_start, start, size))

    def update(buffer, key):
        key_draw, key_fresh, key_restart, key_advance = jax.random.split(key, 4)
        indices, rows = replay.draw(key_draw, buffer, num_rows)
        fresh = rbm.draws(key_fresh, start, num_rows)
        rows = replay.restart(key_restart, rows, fresh, share)
        positions = rbm.advance(key_advance, rows.positions, 1)
        return replay.put_back(buffer, indices, replay.Replay(positions, rows.ages + 1)), None

    run = jax.jit(lambda buffer, keys: jax.lax.scan(update, buffer, keys)[0])
    return run(buffer, jax.random.split(key_updates, num_updates))


def assert_reaches_the_law(num_updates=60):
    """Hold that PCD with one sweep an update has the gradient g_∞, within 4 s.e."""
    rbm = machine()
    buffer = run_persistent_chains(rbm, DATA, num_updates=num_updates)
    assert np.all(np.abs(rbm.errors(buffer.positions, rbm.law)) < 4)
    assert abs(buffer.ages.mean() - num_updates / 2) < 1e-6  # half of the rows at each update


def test_persistent_chains_reach_the_exact_gradient():
    """Although they make one sweep at a time, which CD-1 does not get away with."""
    assert_reaches_the_law()


def test_rows_that_are_not_put_back_are_seen(monkeypatch):
    """The guard bites: a buffer that stays as it was gives g_0."""
    monkeypatch.setattr(replay, "put_back", lambda buffer, indices, rows: buffer)
    with pytest.raises(AssertionError):
        assert_reaches_the_law()


def test_restarts_mix_in_chains_of_every_age():
    """With share s of all rows at each update, the law is (1-s) law P + s start P, exactly."""
    rbm, share, num_updates = machine(), 0.25, 12
    buffer = run_persistent_chains(
        rbm, DATA, num_updates=num_updates, share=share, size=8192, num_rows=8192
    )
    law = DATA
    for _ in range(num_updates):
        law = ((1 - share) * law + share * DATA) @ rbm.kernel
    assert np.all(np.abs(rbm.errors(buffer.positions, law)) < 4)
    assert np.any(np.abs(rbm.errors(buffer.positions, rbm.law)) > 10)


def assert_stays_at_the_law():
    """Hold that chains which start at the law and hardly move stay as good as independent."""
    rbm = machine(6.0)
    buffer = run_persistent_chains(rbm, rbm.law, num_updates=400, size=1024, num_rows=512)
    assert np.all(np.abs(rbm.errors(buffer.positions, rbm.law)) < 4)


def test_slow_chains_do_not_crowd_each_other_out():
    """Each of the N is its own descendant alone."""
    assert np.sort(np.abs(np.linalg.eigvals(machine(6.0).kernel)))[-2] > 0.998
    assert_stays_at_the_law()


def test_a_first_in_first_out_buffer_is_seen(monkeypatch):
    """The guard bites: appended rows leave their stale selves behind and push others out."""

    def append(buffer, indices, rows):
        return jax.tree.map(lambda old, new: jnp.concatenate([old, new])[len(new) :], buffer, rows)

    monkeypatch.setattr(replay, "put_back", append)
    with pytest.raises(AssertionError):
        assert_stays_at_the_law()


def test_a_block_of_fractions_does_not_start_at_whole_numbers():
    """Its draws would be cut off to whole numbers."""
    updates = {"a": lambda key, position: jax.random.normal(key)}
    with pytest.raises(TypeError, match="float32 in block 'a'.* got int32"):
        samplers.sample(jax.random.key(0), samplers.gibbs(updates), {"a": 0}, 5)
