"""Learning: gradients against enumeration, standard errors, and couplings that are recovered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mnar_ebm import markov
from mnar_ebm.markov import Clique
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages

EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]

pytestmark = pytest.mark.usefixtures("quick_compile_all")


def graph_of(params):
    """Return an Ising model of four nodes."""
    return markov.ising(4, EDGES, params["couplings"], params["fields"])


def truth():
    """Return parameters of either sign."""
    return {
        "couplings": jnp.array([0.5, -0.4, 0.3, 0.6, -0.2]),
        "fields": jnp.array([0.2, 0.0, -0.3, 0.1]),
    }


def stage_of(phase, pace=None, num_chains=1000):
    """Return a stage that learns it."""
    settings = markov.PhaseSettings(phase, num_chains)
    return markov.make_stage(settings, pace or Pace(), truth(), graph_of)


def law(params):
    """Return the states and their probabilities."""
    graph = graph_of(params)
    x = markov.enumerate_states(graph)
    return x, special.softmax(-np.asarray(markov.energy(graph, x), float))


def test_the_exact_gradient_is_the_difference_of_moments():
    """Of a graph's tables as of its couplings."""
    params = truth()
    rows = jnp.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    stage = stage_of("exact")
    found = jax.grad(lambda p: stage.loss(jax.random.key(0), p, rows, rows, ())[0])(params)
    x, p = law(params)

    def moments(x, p):
        s = 2.0 * np.asarray(x) - 1
        return p @ np.stack([s[:, i] * s[:, j] for i, j in EDGES], axis=1), p @ s

    data, model = moments(rows, np.full(3, 1 / 3)), moments(x, p)
    np.testing.assert_allclose(found["couplings"], model[0] - data[0], atol=1e-5)
    np.testing.assert_allclose(found["fields"], model[1] - data[1], atol=1e-5)
    graph = graph_of(params)
    slope = jax.grad(lambda graph: markov.likelihood_loss(graph, rows).mean())(graph)
    seen = jax.grad(lambda graph: markov.energy(graph, rows).mean())(graph)
    for own, data, model in zip(
        slope.tables, seen.tables, markov.marginals(graph).cliques, strict=True
    ):
        np.testing.assert_allclose(own, data - model, atol=1e-6)


def test_the_true_law_is_where_pseudo_likelihood_is_stationary():
    """The expected slope of its loss is 0 at the truth, and is not elsewhere."""
    x, p = law(truth())

    def expected(params):
        return -(jnp.asarray(p, float) * markov.pseudo_log_likelihood(graph_of(params), x)).sum()

    for own in jax.tree.leaves(jax.grad(expected)(truth())):
        np.testing.assert_allclose(own, 0.0, atol=1e-6)
    away = jax.tree.map(lambda value: value + 0.1, truth())
    assert max(float(abs(own).max()) for own in jax.tree.leaves(jax.grad(expected)(away))) > 0.02


@pytest.mark.slow
def test_chains_that_stand_for_the_model_have_its_gradient():
    """With chains at exact draws of it the slope of the gap is that of the likelihood."""
    params, num = truth(), 40_000
    key_rows, key_chains, key = jax.random.split(jax.random.key(0), 3)
    rows = jax.random.randint(key_rows, (50, 4), 0, 2)
    chains = markov.sample(key_chains, graph_of(params), num)

    def slope(phase, memory):
        stage = stage_of(phase)
        return jax.grad(lambda p: stage.loss(key, p, rows, rows, memory)[0])(params)

    for own, other in zip(
        jax.tree.leaves(slope("pcd", chains)), jax.tree.leaves(slope("exact", ())), strict=True
    ):
        np.testing.assert_allclose(own, other, atol=5 / np.sqrt(num))


@pytest.mark.slow
def test_the_standard_error_of_a_field_has_its_closed_form():
    """It is atanh of the mean spin m, with variance 1 / (N (1 - m²)), by either loss."""
    rows = jnp.array([[0]] * 30 + [[1]] * 70)
    field = jnp.arctanh(0.4)

    def graph_of_one(field):
        return markov.make_graph([2], [Clique((0,), jnp.array([1.0, -1.0]) * field)])

    for loss in (
        lambda field, x: markov.likelihood_loss(graph_of_one(field), x),
        lambda field, x: -markov.pseudo_log_likelihood(graph_of_one(field), x),
    ):
        assert abs(jax.vmap(jax.grad(loss), (None, 0))(field, rows).mean()) < 1e-6
        found = markov.standard_errors(loss, field, rows)
        np.testing.assert_allclose(found, 1 / np.sqrt(100 * (1 - 0.4**2)), rtol=1e-4)


def fit(phase, rows, num_steps):
    """Return what the engine learns from all rows at once."""
    start = jax.tree.map(jnp.zeros_like, truth())
    stage = stage_of(phase, Pace(num_steps, 0.05, "cosine"))
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    nothing = pad_rows(rows[:0])
    *_, end = run_stages(Loop(len(rows)), [stage], start, pad_rows(rows), nothing, keys)
    return end.params


@pytest.mark.slow
def test_three_ways_to_learn_agree():
    """Within two standard errors of each other, and within four of the truth."""
    rows = markov.sample(jax.random.key(0), graph_of(truth()), 4000)
    found = {phase: fit(phase, rows, 300) for phase in ("exact", "pseudo", "pcd")}
    errors = markov.standard_errors(
        lambda p, x: -markov.pseudo_log_likelihood(graph_of(p), x), found["pseudo"], rows
    )
    for one in found.values():
        for other, most in ((found["exact"], 2), (truth(), 4)):
            far = jax.tree.map(lambda a, b, error: abs(a - b) / error, one, other, errors)
            assert all((leaf < most).all() for leaf in jax.tree.leaves(far))


@pytest.mark.slow
def test_a_graph_is_learned_as_it_is():
    """Its tables, judged by held-out rows: the law of held-out rows is reached, in nats."""
    model = markov.potts(3, 3, [(0, 1), (1, 2)], 1.0, np.random.default_rng(0).normal(size=(3, 3)))
    rows = markov.sample(jax.random.key(0), model, 3000)
    start = jax.tree.map(jnp.zeros_like, model)
    stage = markov.make_stage(markov.PhaseSettings("pcd", 500), Pace(400, 0.05, "cosine"), start)
    keys = [tuple(jax.random.split(jax.random.key(1)))]
    *_, end = run_stages(
        Loop(200), [stage], start, pad_rows(rows[:2000]), pad_rows(rows[2000:]), keys
    )

    def loss(graph):
        return float(markov.likelihood_loss(graph, rows[2000:]).mean())

    assert loss(model) - 0.02 < loss(end.params) < loss(model) + 0.02 < loss(start) - 0.2


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: stage_of("cd"), "phase: expected one of exact, pcd, pseudo, got 'cd'"),
        (lambda: stage_of("pcd", num_chains=0), "num_chains: expected at least 1, got 0"),
        (
            lambda: markov.make_stage(
                markov.PhaseSettings("exact"),
                Pace(),
                markov.ising(400, markov.lattice_edges(20, 20), 0.1),
            ),
            "entries to sum exactly, got",
        ),
    ],
)
def test_a_wrong_stage_is_refused(make, line):
    """Before any step."""
    with pytest.raises(ValueError, match=line):
        make()
