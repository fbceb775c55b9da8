"""Graphs, their energies and their cliques; what a person can get wrong."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import markov
from mnar_ebm.markov import Clique, cliques

RNG = np.random.default_rng(0)
TRIPLE, PAIR, OWN = RNG.normal(size=(2, 3, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=4)
SIZES = {"a": 2, "b": 3, "c": 2, "d": 4}


def mixed():
    """Return a graph of nodes with 2, 3, 2 and 4 states, with cliques of three, two and one."""
    return markov.make_graph(
        SIZES, [Clique("abc", TRIPLE), Clique("dc", PAIR), Clique("d", lambda d: OWN[d])]
    )


def test_the_energy_is_the_sum_over_cliques():
    """Of tables and of functions alike, in whatever order a clique names its nodes."""
    graph = mixed()
    states = markov.enumerate_states(graph)
    assert states.shape == (48, 4)
    assert [tuple(row) for row in np.asarray(states)] == list(
        itertools.product(*map(range, SIZES.values()))
    )
    a, b, c, d = np.asarray(states).T
    expected = TRIPLE[a, b, c] + PAIR[d, c] + OWN[d]
    np.testing.assert_allclose(markov.energy(graph, states), expected, rtol=1e-5)
    np.testing.assert_allclose(
        markov.energy(graph, states.reshape(6, 8, 4)).ravel(), expected, rtol=1e-5
    )


def test_couplings_are_energies_of_edges():
    """Of spins of either sign in an Ising model, of equal states in a Potts model."""
    edges, couplings, fields = [(0, 1), (2, 1)], np.array([0.5, -2.0]), np.array([0.1, 0.2, -0.4])
    graph = markov.ising(3, edges, couplings, fields)
    x = np.asarray(markov.enumerate_states(graph))
    s = 2 * x - 1
    expected = -0.5 * s[:, 0] * s[:, 1] + 2.0 * s[:, 2] * s[:, 1] - s @ fields
    np.testing.assert_allclose(markov.energy(graph, x), expected, atol=1e-6)
    own = RNG.normal(size=(3, 4))
    graph = markov.potts(3, 4, edges, 0.7, own)
    x = np.asarray(markov.enumerate_states(graph))
    equal = (x[:, 0] == x[:, 1]) + 1.0 * (x[:, 1] == x[:, 2])
    expected = -0.7 * equal - own[np.arange(3), x].sum(axis=1)
    np.testing.assert_allclose(markov.energy(graph, x), expected, atol=1e-5)


def test_a_graph_differentiates_by_its_energies():
    """Its tables are all that is a leaf: the slope of an energy is where the state is."""
    graph = mixed()
    slope = jax.jit(jax.grad(markov.energy))(graph, jnp.array([1, 2, 0, 3]))
    assert slope.structure == graph.structure
    for table, where in zip(slope.tables, [(0, 1, 2, 0), (0, 3, 0), (0, 3)], strict=True):
        expected = np.zeros(table.shape)
        expected[where] = 1.0
        np.testing.assert_array_equal(table, expected)


def test_factors_make_the_energy_of_their_product():
    """exp(-E) is the product of the potentials."""
    graph = markov.make_graph([2, 2], [markov.potential((0, 1), [[1.0, 2.0], [3.0, 4.0]])])
    weights = np.exp(-markov.energy(graph, markov.enumerate_states(graph)))
    np.testing.assert_allclose(weights, [1, 2, 3, 4], rtol=1e-6)


def test_a_lattice_has_its_edges():
    """Each node of a torus has four neighbours; an open one lacks those around its rim."""
    for shape in ((3, 3), (4, 5)):
        edges = markov.lattice_edges(*shape)
        assert len(set(map(frozenset, edges))) == len(edges) == 2 * shape[0] * shape[1]
        assert set(np.bincount(np.ravel(edges))) == {4}
    assert markov.lattice_edges(2, 2, wraps=False) == [(0, 2), (1, 3), (0, 1), (2, 3)]


def test_maximal_cliques_of_seven_nodes():
    """The graph of the documentation, by hand; a node alone is a clique."""
    edges = [(1, 2), (1, 3), (2, 3), (3, 4), (4, 5), (4, 6), (5, 6), (6, 7)]
    assert markov.maximal_cliques(edges) == [(1, 2, 3), (3, 4), (4, 5, 6), (6, 7)]
    assert markov.maximal_cliques([("b", "a")], nodes=["a", "b", "c"]) == [("a", "b"), ("c",)]


@pytest.mark.parametrize(
    ("edges", "count"),
    [
        (markov.lattice_edges(4, 4), 2),
        (markov.lattice_edges(3, 3), 3),  # odd rings
        (list(itertools.combinations(range(9), 2)), 9),
    ],
)
def test_colours_hold_no_neighbours(edges, count):
    """They are two where two suffice, and pass the check that colours of a person pass."""
    graph = markov.ising(max(map(max, edges)) + 1, edges, 0.1)
    found = markov.colour(graph.structure)
    assert len(found) >= count and (count == 3 or len(found) == count)
    assert cliques.check_colours(graph, found) == found


def graph_of(num_states, *given):
    return lambda: markov.make_graph(num_states, [Clique(*each) for each in given])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (graph_of([2, 2], ((0, 0), np.eye(2))), r"clique \(0, 0\): expected different nodes"),
        (lambda: markov.ising(2, [(1, 1)], 1.0), r"clique \(1, 1\): expected different nodes"),
        (graph_of([2, 3], ((0, 1), np.eye(2))), r"shape \(2, 3\), the states of its nodes, got"),
        (graph_of([2, 2], ((0, 2), np.eye(2))), r"expected nodes of the graph, got 2"),
        (graph_of([2, 2], ((), 1.0)), "at least one node in each, got none"),
        (graph_of([2, 2]), "at least one node and one clique"),
        (graph_of([]), "at least one node and one clique"),
        (graph_of([2, 2], ((0, 1), np.eye(2)), ((1, 0), np.eye(2))), "each set of nodes once"),
        (lambda: markov.ising(3, [(0, 1), (1, 0)], 1.0), "each set of nodes once"),
        (graph_of([2], ((0,), [0.0, np.inf])), "expected finite energies"),
        (graph_of([1], ((0,), [0])), "num_states of 0: expected at least 2, got 1"),
        (lambda: markov.potts(2, 1, [(0, 1)], 1.0), "num_states: expected at least 2, got 1"),
        (lambda: markov.potential((0,), [0.0, 1.0]), "expected positive values"),
        (lambda: markov.lattice_edges(2, 4), "num_rows: expected at least 3, got 2"),
        (lambda: markov.maximal_cliques([("a", "a")]), "two different nodes, got"),
        (lambda: markov.maximal_cliques([("a", "b"), ("b", "a")]), "each once, got"),
        (lambda: markov.maximal_cliques([]), "at least one node"),
        (
            lambda: markov.enumerate_states(markov.ising(30, [(0, 1)], 1.0)),
            "at most 1048576 joint states to enumerate, got 1073741824",
        ),
    ],
)
def test_a_wrong_graph_is_refused(make, line):
    """In one line that says what was expected."""
    with pytest.raises(ValueError, match=line):
        make()


def test_a_number_of_states_is_whole():
    with pytest.raises(TypeError, match="num_states of 'a': expected a whole number, got 2.5"):
        markov.make_graph({"a": 2.5}, [Clique("a", [0, 0])])
