r"""Factor graphs of discrete nodes: what a density is made of, and its energy.

    p(x) = exp(-E(x)) / Z,      E(x) = Σ_c E_c(x_c),      x_i in {0, ..., S_i - 1}

A clique c has an energy for each joint state of its nodes, a dense table; exp(-E_c) is its factor,
or potential. A graph keeps the tables of cliques of one shape in one array, so that a lattice of
thousands of cliques is a handful of array operations. Its tables are the leaves of a pytree, and
all else of it is static: ``jax.grad`` of a function of a graph is by its energies.

References:
    S. L. Lauritzen, "Graphical Models", Oxford University Press, 1996, section 3.2.1.
    F. R. Kschischang, B. J. Frey, H.-A. Loeliger, "Factor Graphs and the Sum-Product Algorithm",
    IEEE Transactions on Information Theory 47, 2001, section II.
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm.types import Array

MAX_STATES = 2**20
"""Most joint states that are enumerated."""

SPINS = (-1.0, 1.0)
"""What the states 0 and 1 of a node stand for in an Ising model."""


class Clique(NamedTuple):
    """An energy of some nodes.

    Attributes:
        nodes: their names.
        energy: a table whose axes are their states, or a function of their states, each a whole
            number, that returns a number.
    """

    nodes: Sequence[Hashable]
    energy: Any


@jax.tree_util.register_static
class Structure(NamedTuple):
    """What of a graph is fixed; it can be hashed.

    Attributes:
        names: of the N nodes.
        num_states: of each node. N of them
        scopes: of each group of cliques of one shape, of each clique, which nodes it has, by their
            positions in ``names``.
    """

    names: tuple[Hashable, ...]
    num_states: tuple[int, ...]
    scopes: tuple[tuple[tuple[int, ...], ...], ...]


class FactorGraph(NamedTuple):
    """Nodes and the energies of their cliques.

    Attributes:
        structure: nodes and scopes.
        tables: energies of each group of G cliques, in nats; each leaf [G, S_1, ..., S_k].
    """

    structure: Structure
    tables: tuple[Array, ...]


def make_graph(
    num_states: Mapping[Hashable, int] | Sequence[int], cliques: Iterable[Clique]
) -> FactorGraph:
    """Return a graph.

    Args:
        num_states: of each node, by name, at least 2; of a sequence, the names are 0, 1, ...
        cliques: the energies; a node may be in none of them.

    Raises:
        TypeError: a number of states is not whole.
        ValueError: there is no node or no clique, a clique has no node, a node that is unknown or
            the same twice, two cliques have the same nodes, or an energy is not finite or not of
            the shape of its clique.

    Examples:
        >>> bond = Clique(("a", "b"), lambda a, b: -1.0 if a == b else 0.0)
        >>> graph = make_graph({"a": 2, "b": 3}, [bond, Clique(("b",), [0.0, 0.5, 1.0])])
        >>> [float(value) for value in energy(graph, jnp.array([[1, 1], [0, 2]]))]
        [-0.5, 1.0]
    """
    if not isinstance(num_states, Mapping):
        num_states = dict(enumerate(num_states))
    names = tuple(num_states)
    for name in names:
        _checks.check_whole(f"num_states of {name!r}", num_states[name], 2)
    position = {name: index for index, name in enumerate(names)}
    sizes = tuple(int(num_states[name]) for name in names)
    groups: dict[tuple[int, ...], list[tuple[tuple[int, ...], Array]]] = {}
    for nodes, values in cliques:
        scope = _scope(tuple(nodes), position)
        shape = tuple(sizes[node] for node in scope)
        groups.setdefault(shape, []).append((scope, _table(tuple(nodes), values, shape)))
    scopes = tuple(tuple(scope for scope, _ in group) for group in groups.values())
    structure = check_structure(Structure(names, sizes, scopes))
    tables = tuple(jnp.stack([table for _, table in group]) for group in groups.values())
    return FactorGraph(structure, tables)


def potential(nodes: Sequence[Hashable], values: Any) -> Clique:
    """Return the clique of a factor, whose energy is minus its log.

    Args:
        nodes: names.
        values: ψ_c, above 0, of each joint state of the nodes. [S_1, ..., S_k]

    Raises:
        ValueError: a value is not positive: a state that cannot be has no finite energy.
    """
    values = jnp.asarray(values, float)
    if not bool((values > 0).all()):
        raise ValueError(f"potential of {tuple(nodes)}: expected positive values")
    return Clique(nodes, -jnp.log(values))


def ising(
    num_nodes: int, edges: Iterable[tuple[int, int]], couplings: Any, fields: Any = None
) -> FactorGraph:
    """Return an Ising model: E(x) = -Σ_ij J_ij s_i s_j - Σ_i h_i s_i, with s = 2 x - 1.

    It may be traced: couplings and fields may be parameters of a loss.

    Args:
        num_nodes: N.
        edges: pairs of nodes, by number.
        couplings: J, of each edge or of all. [E] or []
        fields: h, of each node or of all; none if not told. [N] or []

    Raises:
        ValueError: as for ``make_graph``.
    """
    spins = jnp.array(SPINS)
    pair = -jnp.outer(spins, spins)
    own = None if fields is None else -jnp.broadcast_to(fields, (num_nodes,))[:, None] * spins
    return _pairwise(num_nodes, 2, tuple(edges), couplings, pair, own)


def potts(
    num_nodes: int,
    num_states: int,
    edges: Iterable[tuple[int, int]],
    couplings: Any,
    fields: Any = None,
) -> FactorGraph:
    """Return a Potts model: E(x) = -Σ_ij J_ij [x_i = x_j] - Σ_i h_i(x_i).

    Args:
        num_nodes: N.
        num_states: S, of every node, at least 2.
        edges: pairs of nodes, by number.
        couplings: J, of each edge or of all. [E] or []
        fields: h, of each node and state; none if not told. [N, S]

    Raises:
        ValueError: as for ``make_graph``.
    """
    own = None if fields is None else -jnp.broadcast_to(fields, (num_nodes, num_states))
    return _pairwise(num_nodes, num_states, tuple(edges), couplings, -jnp.eye(num_states), own)


def lattice_edges(num_rows: int, num_columns: int, wraps: bool = True) -> list[tuple[int, int]]:
    """Return the edges of a square lattice, node i num_columns + j at row i and column j.

    Args:
        num_rows: at least 3 where the lattice wraps, so that no two edges join the same nodes.
        num_columns: likewise.
        wraps: whether it is a torus.

    Raises:
        ValueError: the lattice is too small.
    """
    least = 3 if wraps else 1
    _checks.check_at_least("num_rows", num_rows, least)
    _checks.check_at_least("num_columns", num_columns, least)
    number = np.arange(num_rows * num_columns).reshape(num_rows, num_columns)
    ends = [(number, np.roll(number, -1, axis)) for axis in (0, 1)]
    if not wraps:
        ends = [(number[:-1], number[1:]), (number[:, :-1], number[:, 1:])]
    return [
        (int(a), int(b)) for one, other in ends for a, b in zip(one.flat, other.flat, strict=True)
    ]


def energy(graph: FactorGraph, x: Array) -> Array:
    """Return E(x), in nats. [..., N] -> [...].

    Raises:
        ValueError: as for ``as_states``.
    """
    x = as_states(graph.structure, x)
    total = jnp.zeros(x.shape[:-1])
    for scopes, table in zip(graph.structure.scopes, graph.tables, strict=True):
        states = jnp.moveaxis(x[..., np.array(scopes)], -1, 0)  # [k, ..., G]
        total = total + table[(np.arange(len(scopes)), *states)].sum(axis=-1)
    return total


def as_states(structure: Structure, x: Any) -> Array:
    """Return states of a graph's nodes, [..., N].

    Raises:
        ValueError: they are not whole, not of so many nodes, or, unless they are traced, a node has
            no such state.
    """
    x = jnp.asarray(x)
    num_nodes = len(structure.names)
    if x.shape[-1:] != (num_nodes,) or not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(
            f"states: expected whole numbers of shape [..., {num_nodes}], got {x.dtype} of shape "
            f"{x.shape}"
        )
    if isinstance(x, jax.core.Tracer):
        return x
    values = np.asarray(x)
    wrong = np.argwhere((values < 0) | (values >= np.array(structure.num_states)))
    if len(wrong):
        node = wrong[0][-1]
        raise ValueError(
            f"states of {structure.names[node]!r}: expected 0 to {structure.num_states[node] - 1}, "
            f"got {values[tuple(wrong[0])]}"
        )
    return x


def enumerate_states(graph: FactorGraph) -> Array:
    """Return every joint state, the last node fastest. [S_1 ... S_N, N].

    Raises:
        ValueError: there are more than ``MAX_STATES``.
    """
    sizes = graph.structure.num_states
    if math.prod(sizes) > MAX_STATES:
        raise ValueError(
            f"graph: expected at most {MAX_STATES} joint states to enumerate, got "
            f"{math.prod(sizes)}: use elimination, or draws"
        )
    return jnp.asarray(np.indices(sizes).reshape(len(sizes), -1).T)


def neighbours(structure: Structure) -> set[tuple[int, int]]:
    """Return the pairs i < j of nodes, by position, that share a clique."""
    return {
        pair
        for scopes in structure.scopes
        for scope in scopes
        for pair in itertools.combinations(sorted(scope), 2)
    }


def check_structure(structure: Structure) -> Structure:
    """Return it, or raise ``ValueError``: nothing in it, or the same nodes twice."""
    if not structure.names or not structure.scopes:
        raise ValueError("graph: expected at least one node and one clique")
    seen: set[tuple[int, ...]] = set()
    for scope in itertools.chain(*structure.scopes):
        same = tuple(sorted(scope))
        if same in seen:
            names = tuple(structure.names[node] for node in scope)
            raise ValueError(f"cliques: expected each set of nodes once, got {names} again")
        seen.add(same)
    return structure


def _pairwise(
    num_nodes: int,
    num_states: int,
    edges: tuple[tuple[int, int], ...],
    couplings: Any,
    pair: Array,
    own: Array | None,
) -> FactorGraph:
    """Return the graph of energies J_e ``pair`` [S, S] of edges and ``own`` [N, S] of nodes."""
    _checks.check_whole("num_nodes", num_nodes, 1)
    _checks.check_whole("num_states", num_states, 2)
    position: dict[Hashable, int] = {node: node for node in range(num_nodes)}
    scopes: list[tuple[tuple[int, ...], ...]] = [tuple(_scope(edge, position) for edge in edges)]
    tables = [jnp.broadcast_to(couplings, (len(edges),))[:, None, None] * pair]
    if own is not None:
        scopes, tables = [*scopes, tuple((node,) for node in range(num_nodes))], [*tables, own]
    structure = Structure(tuple(range(num_nodes)), (num_states,) * num_nodes, tuple(scopes))
    return FactorGraph(check_structure(structure), tuple(tables))


def _scope(nodes: tuple[Hashable, ...], position: Mapping[Hashable, int]) -> tuple[int, ...]:
    """Return the positions of a clique's nodes, or raise ``ValueError``."""
    if not nodes:
        raise ValueError("cliques: expected at least one node in each, got none")
    for node in nodes:
        if node not in position:
            raise ValueError(f"clique {nodes}: expected nodes of the graph, got {node!r}")
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"clique {nodes}: expected different nodes, got one twice")
    return tuple(position[node] for node in nodes)


def _table(
    nodes: tuple[Hashable, ...],
    values: Any,
    shape: tuple[int, ...],
) -> Array:
    """Return the energies of a clique as an array of the shape, or raise ``ValueError``."""
    if callable(values):
        each = [values(*states) for states in itertools.product(*map(range, shape))]
        table = jnp.asarray(each, float).reshape(shape)
    else:
        table = jnp.asarray(values, float)
    if table.shape != shape:
        raise ValueError(
            f"clique {nodes}: expected a table of shape {shape}, the states of its nodes, got "
            f"{table.shape}"
        )
    if not isinstance(table, jax.core.Tracer) and not bool(jnp.isfinite(table).all()):
        raise ValueError(f"clique {nodes}: expected finite energies")
    return table
