"""Undirected graphs, by networkx: the maximal cliques of edges, and the colours of a factor graph.

A density above 0 in which a node depends on the rest through its neighbours alone is a product of
factors on the maximal cliques (Hammersley and Clifford). Nodes of one colour are no neighbours, so
that they are independent given the others.

References:
    C. Bron, J. Kerbosch, "Algorithm 457: Finding All Cliques of an Undirected Graph",
    Communications of the ACM 16, 1973.
    D. J. A. Welsh, M. B. Powell, "An Upper Bound for the Chromatic Number of a Graph", The Computer
    Journal 10, 1967 (the greedy order).
    J. Besag, "Spatial Interaction and the Statistical Analysis of Lattice Systems", Journal of the
    Royal Statistical Society B 36, 1974, section 3 (the theorem).
"""

import functools
import itertools
from collections.abc import Hashable, Iterable, Sequence

import networkx

from mnar_ebm.markov.graph import FactorGraph, Structure, neighbours

Colours = tuple[tuple[int, ...], ...]
"""Of each colour, its nodes by position."""


def maximal_cliques(
    edges: Iterable[tuple[Hashable, Hashable]], nodes: Iterable[Hashable] = ()
) -> list[tuple[Hashable, ...]]:
    """Return the cliques that no other one contains, in the order in which nodes are first named.

    Args:
        edges: pairs of nodes, such as ``networkx.Graph.edges``.
        nodes: further nodes, or all in the order that is wished for.

    Raises:
        ValueError: an edge joins a node to itself, or is there twice; or there is no node.

    Examples:
        >>> maximal_cliques([("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
        [('a', 'b', 'c'), ('c', 'd')]
    """
    network = networkx.Graph()
    network.add_nodes_from(nodes)
    for one, other in edges:
        if one == other:
            raise ValueError(f"edges: expected two different nodes, got ({one!r}, {other!r})")
        if network.has_edge(one, other):
            raise ValueError(f"edges: expected each once, got ({one!r}, {other!r}) again")
        network.add_edge(one, other)
    if not network:
        raise ValueError("edges: expected at least one node")
    order = {node: index for index, node in enumerate(network)}
    found = [sorted(map(order.__getitem__, clique)) for clique in networkx.find_cliques(network)]
    return [tuple(list(network)[index] for index in clique) for clique in sorted(found)]


@functools.lru_cache(maxsize=32)
def colour(structure: Structure) -> Colours:
    """Return colours of a graph's nodes: two if two suffice, else as many as greed takes."""
    network = networkx.Graph()
    network.add_nodes_from(range(len(structure.names)))
    network.add_edges_from(sorted(neighbours(structure)))
    if networkx.is_bipartite(network):
        of_node = networkx.bipartite.color(network)
    else:
        of_node = networkx.greedy_color(network, strategy="largest_first")
    count = max(of_node.values()) + 1
    return tuple(
        tuple(node for node in sorted(of_node) if of_node[node] == which) for which in range(count)
    )


def check_colours(graph: FactorGraph, colours: Sequence[Sequence[int]]) -> Colours:
    """Return colours, or raise ``ValueError`` unless nodes of a colour are independent.

    Args:
        graph: the graph.
        colours: of each colour, its nodes by position.

    Raises:
        ValueError: a node is in no colour or in two, or a colour holds two neighbours: drawn at
            once, given what the other was, they have another law.
    """
    structure = graph.structure
    given = tuple(tuple(map(int, nodes)) for nodes in colours)
    count = len(structure.names)
    if sorted(itertools.chain(*given)) != list(range(count)):
        raise ValueError(f"colours: expected each of {count} nodes in one, by its position")
    of_node = {node: which for which, nodes in enumerate(given) for node in nodes}
    for one, other in sorted(neighbours(structure)):
        if of_node[one] == of_node[other]:
            raise ValueError(
                f"colours: expected no two neighbours in one, got {structure.names[one]!r} and "
                f"{structure.names[other]!r}"
            )
    return given
