r"""The law of one node given all others: what Gibbs draws and what the pseudo-likelihood scores.

    log p(x_i = s|x_others) = -Σ_{c with i} E_c(s, x_c without i) - log Σ_s' exp(...)

Every term of every node is a row of one table: what its energy adds to the log-odds of the node's
states, for a joint state of the others of its clique. So a conditional is a look-up for each of D
terms, whatever cliques and numbers of states there are; nodes and chains are axes of arrays.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.markov.graph import FactorGraph, Structure, as_states
from mnar_ebm.types import Array

MAX_PARTS = 8
"""Most operations that the terms of a colour are added by."""


class Terms(NamedTuple):
    """Where the terms of V nodes are in the table of rows; nodes of fewer are padded.

    Attributes:
        first: row of a term where all others of its clique are 0; of padding, that of 0. [V, D]
        others: nodes that the term reads. [V, D, K]
        strides: how far each of these moves the row; of padding, 0. [V, D, K]
        is_state: which states a node has. [S, V]
    """

    first: np.ndarray
    others: np.ndarray
    strides: np.ndarray
    is_state: np.ndarray


def odds_rows(graph: FactorGraph) -> Array:
    """Return the table of rows, E_c of state 0 less E_c of the others; the last is 0. [S-1, R]."""
    width = max(graph.structure.num_states)
    rows = []
    for table in graph.tables:
        for axis in range(1, table.ndim):
            of_node = jnp.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
            odds = of_node[0] - of_node[1:]
            rows.append(jnp.pad(odds, ((0, width - table.shape[axis]), (0, 0))))
    return jnp.concatenate([*rows, jnp.zeros((width - 1, 1))], axis=1)


def terms_of(structure: Structure, nodes: tuple[int, ...]) -> Terms:
    """Return the terms of some nodes, in the order of ``odds_rows``."""
    found: dict[int, list[tuple[int, tuple[int, ...], tuple[int, ...]]]] = {n: [] for n in nodes}
    start = 0
    for scopes in structure.scopes:
        sizes = [structure.num_states[node] for node in scopes[0]]
        for axis in range(len(sizes)):
            rest = sizes[:axis] + sizes[axis + 1 :]
            strides = tuple(int(np.prod(rest[place + 1 :])) for place in range(len(rest)))
            num_rows = int(np.prod(rest))
            for scope in scopes:
                if scope[axis] in found:
                    found[scope[axis]].append((start, scope[:axis] + scope[axis + 1 :], strides))
                start += num_rows
    depth = max(1, *map(len, found.values()))
    most = max((len(read) for each in found.values() for _, read, _ in each), default=0)
    states, has = np.arange(max(structure.num_states)), np.array(structure.num_states)[list(nodes)]
    blank = np.zeros((len(nodes), depth, most), int)
    padding = np.full((len(nodes), depth), start)
    terms = Terms(padding, blank, blank.copy(), states[:, None] < has)
    for place, node in enumerate(nodes):
        for index, (row, read, moves) in enumerate(found[node]):
            terms.first[place, index] = row
            terms.others[place, index, : len(read)] = read
            terms.strides[place, index, : len(read)] = moves
    return terms


def log_odds(rows: Array, terms: Terms, x: Array) -> list[Array]:
    """Return log p(x_i = s|others) - log p(x_i = 0|others) of V nodes, for s = 1, ..., S - 1.

    A few terms at a time are looked up and added: on a CPU one at a time is fastest.

    Args:
        rows: as by ``odds_rows``. [S-1, R]
        terms: of the nodes.
        x: chains, after nodes. [N, C]

    Returns:
        Of each state, minus infinity of a node that has it not. [V, C]
    """
    depth = terms.first.shape[1]
    odds = [jnp.zeros((len(terms.first), x.shape[1]), rows.dtype) for _ in rows]
    for part in np.array_split(np.arange(depth), min(depth, MAX_PARTS)):
        moves = (terms.strides[:, part, :, None] * x[terms.others[:, part]]).sum(axis=2)
        where = terms.first[:, part, None] + moves  # [V, terms, C]
        odds = [sum_ + row[where].sum(axis=1) for sum_, row in zip(odds, rows, strict=True)]
    pairs = zip(odds, terms.is_state[1:], strict=True)
    return [each if has.all() else jnp.where(has[:, None], each, -jnp.inf) for each, has in pairs]


def pseudo_log_likelihood(graph: FactorGraph, x: Array) -> Array:
    """Return Σ_i log p(x_i|x_others), in nats, without log Z. [..., N] -> [...].

    Raises:
        ValueError: as for ``as_states``.

    References:
        J. Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 24, 1975.
    """
    x = as_states(graph.structure, x)
    columns = x.reshape(-1, x.shape[-1]).T
    odds = log_odds(odds_rows(graph), _all_terms(graph.structure), columns)
    log_p = jax.nn.log_softmax(jnp.stack([jnp.zeros(columns.shape), *odds]), axis=0)
    own = jnp.take_along_axis(log_p, columns[None], axis=0)[0]
    return own.sum(axis=0).reshape(x.shape[:-1])


@functools.lru_cache(maxsize=32)
def _all_terms(structure: Structure) -> Terms:
    return terms_of(structure, tuple(range(len(structure.names))))
