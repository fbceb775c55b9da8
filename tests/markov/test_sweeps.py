"""Gibbs by colours: its kernel and its law against enumeration; a colour with two neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import markov, samplers
from mnar_ebm.markov import Clique, sweeps

SIZES = {"a": 2, "b": 3, "c": 2, "d": 4}

pytestmark = pytest.mark.usefixtures("quick_compile_all")


def mixed():
    """Return a graph of nodes with 2, 3, 2 and 4 states, with cliques of three, two and one."""
    rng = np.random.default_rng(2)
    nodes = ("abc", "dc", "b")
    cliques = [Clique(each, rng.normal(size=[SIZES[n] for n in each])) for each in nodes]
    return markov.make_graph(SIZES, cliques)


def law(graph):
    """Return p of every joint state, with an axis for each node, in float64."""
    energies = np.asarray(markov.energy(graph, markov.enumerate_states(graph)), float)
    return special.softmax(-energies).reshape(graph.structure.num_states)


def kernel(p, colours):
    """Return P(x'|x) of a sweep by the definition. [states, states]."""
    states = np.indices(p.shape).reshape(p.ndim, -1).T
    transition = np.eye(p.size)
    for nodes in colours:
        move = np.ones((p.size, p.size))
        for node in range(p.ndim):
            if node in nodes:
                given = np.moveaxis(p / p.sum(axis=node, keepdims=True), node, -1)
                others = tuple(np.delete(states, node, axis=1).T)
                move *= given[others][:, states[:, node]]
            else:
                move *= states[:, None, node] == states[None, :, node]
        transition = transition @ move
    return transition


def numbers_of(x, sizes):
    """Return which joint state each draw is."""
    return np.ravel_multi_index(np.asarray(x).T, sizes)


def test_a_sweep_leaves_the_law_and_is_drawn_by_it():
    """πP = π, and 20,000 sweeps from each of two states have their rows of P."""
    graph = mixed()
    p, colours = law(graph), markov.colour(graph.structure)
    transition = kernel(p, colours)
    np.testing.assert_allclose(p.ravel() @ transition, p.ravel(), atol=1e-12)
    for number in (3, 40):
        start = np.array(np.unravel_index(number, p.shape))
        x = markov.draw(jax.random.key(number), graph, jnp.tile(start, (20_000, 1)), 1)
        seen = np.bincount(numbers_of(x, p.shape), minlength=p.size)
        expected = 20_000 * transition[number]
        assert not seen[expected == 0].any()
        reached = expected > 0
        assert stats.chisquare(seen[reached], expected[reached]).pvalue > 1e-3


def test_chains_reach_the_law_from_anywhere():
    """Started at uniform states; states that a node has not never come."""
    graph = mixed()
    p = law(graph)
    start = markov.start(jax.random.key(0), graph, 20_000)
    assert (start.max(axis=0) == jnp.array(p.shape) - 1).all()
    x = markov.draw(jax.random.key(1), graph, start, 30)
    seen = np.bincount(numbers_of(x, p.shape), minlength=p.size)
    assert stats.chisquare(seen, 20_000 * p.ravel()).pvalue > 1e-3


def test_it_is_a_sampler_as_the_others():
    """The loop of samplers runs it, here 500 chains at once, on a ring of known magnetisation."""
    graph = markov.ising(8, [(i, (i + 1) % 8) for i in range(8)], 0.4, 0.2)
    algorithm = markov.gibbs(graph)
    position = jnp.zeros((500, 8), int)
    run = jax.jit(lambda key: samplers.sample(key, algorithm, position, 4, burn_in=30, thin=10))
    state, (draws, info) = run(jax.random.key(0))
    assert draws.shape == (4, 500, 8) and not info
    np.testing.assert_array_equal(draws[-1], state.position)
    exact = markov.marginals(graph).nodes[:, 1].mean()
    of_chain = np.asarray(draws, float).mean(axis=(0, 2))
    assert abs(of_chain.mean() - exact) < 5 * of_chain.std() / np.sqrt(500)


def test_a_node_in_no_clique_is_uniform():
    """Even if its colour holds none that is in one."""
    graph = markov.make_graph([2, 2, 3], [Clique((0, 1), np.eye(2))])
    x = markov.draw(jax.random.key(0), graph, jnp.zeros((3000, 3), int), 1, [[0], [1], [2]])
    assert stats.chisquare(np.bincount(x[:, 2], minlength=3)).pvalue > 1e-3


def test_two_neighbours_in_a_colour_have_another_law(monkeypatch):
    """It is refused; with the refusal taken away, the two come out independent."""
    graph = markov.ising(2, [(0, 1)], 1.0)
    start = markov.start(jax.random.key(0), graph, 4000)

    def correlation(colours):
        x = 2 * markov.draw(jax.random.key(1), graph, start, 20, colours) - 1
        return float((x[:, 0] * x[:, 1]).mean())

    assert abs(correlation([[1], [0]]) - np.tanh(1)) < 0.05
    with pytest.raises(ValueError, match="no two neighbours in one, got 0 and 1"):
        correlation([[0, 1]])
    monkeypatch.setattr(sweeps, "check_colours", lambda graph, colours: ((0, 1),))
    assert abs(correlation([[0, 1]])) < 0.08


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda g: markov.gibbs(g, [[0], [1]]), "expected each of 4 nodes in one"),
        (lambda g: markov.gibbs(g, [[0, 1], [2, 3], [0]]), "expected each of 4 nodes in one"),
        (lambda g: markov.gibbs(g, [[0], [1, 3], [2]]).init(jnp.zeros(4)), "whole numbers of sh"),
        (lambda g: markov.gibbs(g).init(jnp.zeros(3, int)), r"of shape \[..., 4\], got"),
        (
            lambda g: markov.energy(g, jnp.array([1, 2, 2, 0])),
            "states of 'c': expected 0 to 1, got 2",
        ),
        (lambda g: markov.gibbs(g).init(jnp.array([0, -1, 0, 0])), "'b': expected 0 to 2, got -1"),
        (lambda g: markov.draw(jax.random.key(0), g, jnp.zeros(4, int), 0), "num_sweeps"),
    ],
)
def test_wrong_colours_and_positions_are_refused(call, line):
    with pytest.raises(ValueError, match=line):
        call(mixed())


def test_the_pseudo_likelihood_is_that_of_each_node_given_the_others():
    """By the enumerated law; and the likelihood itself where nodes are independent."""
    graph = mixed()
    p = law(graph)
    expected = sum(np.log(p / p.sum(axis=node, keepdims=True)) for node in range(p.ndim))
    states = markov.enumerate_states(graph)
    found = markov.pseudo_log_likelihood(graph, states.reshape(2, 24, 4))
    np.testing.assert_allclose(found.ravel(), expected.ravel(), atol=1e-4)
    alone = markov.make_graph([2, 3], [Clique((0,), [0.1, -0.4]), Clique((1,), [1.0, 0.0, 0.3])])
    states = markov.enumerate_states(alone)
    np.testing.assert_allclose(
        markov.pseudo_log_likelihood(alone, states), np.log(law(alone)).ravel(), atol=1e-5
    )
