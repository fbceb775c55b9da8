"""Exact sums: elimination against enumeration, transfer matrices, and the torus of Kaufman."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import markov
from mnar_ebm.markov import Clique, elimination, torus, transfer

pytestmark = pytest.mark.usefixtures("quick_compile_all")

LOW = np.array(
    [2048, 4096, 1057792, 4218880, 371621888, 2191790080, 100903637504, 768629792768]
    + [22748079183872, 205394991329280, 4449893079195648],
    float,
)
"""How many states of 32 x 32 spins are 2 k J above the lowest energy, k = 4, 6, ..., 24.

P. D. Beale, "Exact Distribution of Energies in the Two-Dimensional Ising Model", Physical Review
Letters 76, 1996.
"""


@pytest.fixture
def double():
    """Compute in float64."""
    with jax.enable_x64(True):
        yield


def mixed(scale=1.0):
    """Return a graph with a loop, cliques of up to three nodes, 2 to 4 states, and a node alone."""
    rng = np.random.default_rng(1)
    sizes = {"a": 2, "b": 3, "c": 2, "d": 4, "e": 2, "alone": 3}
    nodes = ("abc", "cd", "de", "ea", "b", "e")
    cliques = [Clique(n, scale * rng.normal(size=[sizes[node] for node in n])) for n in nodes]
    return markov.make_graph(sizes, cliques)


def law(graph):
    """Return p of every joint state, with an axis for each node, in float64."""
    energies = np.asarray(markov.energy(graph, markov.enumerate_states(graph)), float)
    return special.softmax(-energies).reshape(graph.structure.num_states)


def test_elimination_is_enumeration(double):
    """Log Z and every marginal, of nodes and of cliques, of a node in no clique too."""
    graph = mixed()
    p = law(graph)
    energies = markov.energy(graph, markov.enumerate_states(graph))
    np.testing.assert_allclose(markov.log_z(graph), special.logsumexp(-energies), rtol=1e-12)
    found = markov.marginals(graph)
    for node, size in enumerate(p.shape):
        own = p.sum(axis=tuple(axis for axis in range(p.ndim) if axis != node))
        np.testing.assert_allclose(found.nodes[node, :size], own, atol=1e-12)
        assert not found.nodes[node, size:].any()
    for scopes, tables in zip(graph.structure.scopes, found.cliques, strict=True):
        for scope, table in zip(scopes, tables, strict=True):
            joint = np.einsum(p, list(range(p.ndim)), list(scope))
            np.testing.assert_allclose(table, joint, atol=1e-12)


def test_factors_of_any_size_neither_overflow_nor_vanish():
    """A chain that is all but frozen, in float32: log Z is minus the lowest energy."""
    graph = markov.ising(5, [(i, i + 1) for i in range(4)], 1000.0, jnp.full(5, -500.0))
    np.testing.assert_allclose(markov.log_z(graph), 4 * 1000 + 5 * 500, rtol=1e-6)
    found = markov.marginals(graph)
    np.testing.assert_allclose(found.nodes, np.tile([1.0, 0.0], (5, 1)), atol=1e-6)
    assert not markov.sample(jax.random.key(0), graph, 100).any()


def test_draws_have_the_law():
    """Independent ones, of every joint state, by a test of their counts."""
    graph = mixed()
    p = law(graph)
    x = markov.sample(jax.random.key(0), graph, 40_000)
    seen = np.bincount(np.ravel_multi_index(np.asarray(x).T, p.shape), minlength=p.size)
    assert stats.chisquare(seen, 40_000 * p.ravel()).pvalue > 1e-3
    wrong = law(mixed(scale=0.95))
    assert stats.chisquare(seen, 40_000 * wrong.ravel()).pvalue < 1e-6


def test_what_is_too_wide_is_refused_by_name():
    """The largest table is named, before any work."""
    nodes = range(24)
    graph = markov.ising(24, itertools.combinations(nodes, 2), 0.1)
    line = "at most 4194304 entries to sum exactly, got 16777216 of the 24 nodes 0, 1, .*, 23: "
    for sums in (markov.log_z, markov.marginals, lambda g: markov.sample(jax.random.key(0), g, 1)):
        with pytest.raises(ValueError, match=line):
            sums(graph)


def test_the_width_counts_and_not_the_number_of_nodes():
    """A ladder of 100 nodes is summed by tables of at most 16 entries."""
    structure = markov.ising(100, markov.lattice_edges(50, 2, wraps=False), 1.0).structure
    steps = elimination.plan(structure)
    assert max(len(step.kept + step.summed) for step in steps) <= 4


def test_a_ring_is_the_sum_of_powers_of_eigenvalues(double):
    """λ± = e^J cosh h ± √(e^2J sinh²h + e^-2J), Z = λ+^n + λ-^n; and elimination says the same."""
    num, coupling, field = 8, 0.7, 0.3
    root = np.sqrt(np.exp(2 * coupling) * np.sinh(field) ** 2 + np.exp(-2 * coupling))
    values = np.exp(coupling) * np.cosh(field) + np.array([1, -1]) * root
    expected = np.log((values**num).sum())
    spins = np.array([-1.0, 1.0])
    energy = -coupling * np.outer(spins, spins) - field * spins
    tables = jnp.tile(energy, (num, 1, 1))
    np.testing.assert_allclose(transfer.ring_log_z(tables), expected, rtol=1e-10)
    graph = markov.ising(num, [(i, (i + 1) % num) for i in range(num)], coupling, field)
    np.testing.assert_allclose(markov.log_z(graph), expected, rtol=1e-10)


def test_a_potts_chain_has_its_closed_form(double):
    """Z = S (e^J + S - 1)^n without a field, of n edges; with other energies, enumeration."""
    tables = jnp.tile(-0.8 * np.eye(3), (5000, 1, 1))
    expected = np.log(3) + 5000 * np.log(np.exp(0.8) + 2)
    np.testing.assert_allclose(transfer.chain_log_z(tables), expected, rtol=1e-12)
    tables = np.random.default_rng(0).normal(size=(4, 3, 3))
    chain = markov.make_graph([3] * 5, [Clique((i, i + 1), t) for i, t in enumerate(tables)])
    np.testing.assert_allclose(
        transfer.chain_log_z(jnp.asarray(tables)), markov.log_z(chain), rtol=1e-12
    )
    ring = markov.make_graph([3] * 4, [Clique((i, (i + 1) % 4), t) for i, t in enumerate(tables)])
    np.testing.assert_allclose(
        transfer.ring_log_z(jnp.asarray(tables)), markov.log_z(ring), rtol=1e-12
    )


def columns_of(num_rows, coupling):
    """Return E of neighbouring columns of a torus, each a state of 2^m."""
    s = 2.0 * np.indices((2,) * num_rows).reshape(num_rows, -1).T - 1
    inside = (s * np.roll(s, 1, axis=1)).sum(axis=1)
    return -coupling * (s @ s.T + inside[:, None])


@pytest.mark.parametrize(("shape", "coupling"), [((3, 4), 0.2), ((4, 4), torus.CRITICAL_COUPLING)])
def test_the_torus_of_kaufman(double, shape, coupling):
    """Log Z, mean and deviation of the energy by enumeration, and log Z by columns of spins."""
    num = shape[0] * shape[1]
    graph = markov.ising(num, markov.lattice_edges(*shape), coupling)
    energies = np.asarray(markov.energy(graph, markov.enumerate_states(graph)))
    p, mean = special.softmax(-energies), special.softmax(-energies) @ energies
    expected = special.logsumexp(-energies)
    np.testing.assert_allclose(torus.torus_log_z(*shape, coupling), expected, rtol=1e-12)
    found = torus.torus_energy(*shape, coupling)
    np.testing.assert_allclose(found, [mean, np.sqrt(p @ (energies - mean) ** 2)], rtol=1e-9)
    tables = jnp.tile(columns_of(shape[0], coupling), (shape[1], 1, 1))
    np.testing.assert_allclose(transfer.ring_log_z(tables), expected, rtol=1e-10)


def test_published_values_of_a_torus(double):
    """4 x 4 at J = .4, by three roads; 32 x 32 by Beale's numbers of states, near Onsager's -√2."""
    graph = markov.ising(16, markov.lattice_edges(4, 4), 0.4)
    tables = jnp.tile(columns_of(4, 0.4), (4, 1, 1))
    for found in (
        torus.torus_log_z(4, 4, 0.4),
        markov.log_z(graph),
        transfer.ring_log_z(tables),
    ):
        np.testing.assert_allclose(found, 14.561093023844, rtol=1e-12)
    found = torus.torus_log_z(32, 32, 1.2)
    at = np.exp(-2.4) ** np.arange(4, 26, 2)
    np.testing.assert_allclose(found, 2048 * 1.2 + np.log(2 + LOW @ at), rtol=1e-13)
    mean, _ = torus.torus_energy(32, 32, torus.CRITICAL_COUPLING)
    per_spin = mean / (torus.CRITICAL_COUPLING * 32**2)
    assert -np.sqrt(2) - 0.03 < per_spin < -np.sqrt(2)  # the torus is a little lower


def test_the_torus_in_single_precision_at_its_critical_coupling():
    """γ_0 may be 0 to the last bit there; neither slope nor curvature minds."""
    with jax.enable_x64(True):
        expected = torus.torus_energy(4, 4, torus.CRITICAL_COUPLING)
    found = torus.torus_energy(4, 4, torus.CRITICAL_COUPLING)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("given", "line"),
    [((2, 4, 0.4), "num_rows: expected at least 3"), ((3, 3, -0.1), "coupling: expected a posit")],
)
def test_a_wrong_torus_is_refused(given, line):
    with pytest.raises(ValueError, match=line):
        torus.torus_log_z(*given)
