r"""Exact sums over a graph, by variable elimination: log Z, marginals, independent draws.

Two or more tables are joined and the nodes that no other table reads are summed out, until nothing
is left but log Z:

    Ψ(x_kept) = log Σ_{x_summed} exp(Σ_c Ψ_c),      Ψ = -E of each clique at first

``opt_einsum`` chooses in what order, as for a tensor network. The sums are of logs, each shifted by
its largest term, so that factors of any size neither overflow nor vanish. The rest follows:

    p(x_c) = -∂ log Z / ∂E_c(x_c),      p(x_summed|x_kept) = exp(Σ_c Ψ_c - Ψ(x_kept))

the first by automatic differentiation, the second backwards over the steps, each given what was
drawn before it. Cost and memory are exponential in the tree width, whatever the number of nodes.

References:
    D. Koller, N. Friedman, "Probabilistic Graphical Models", MIT Press, 2009, algorithm 9.1 and
    section 12.1.
    D. G. A. Smith, J. Gray, "opt_einsum", Journal of Open Source Software 3(26), 2018,
    https://doi.org/10.21105/joss.00753.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import opt_einsum

from mnar_ebm import _checks
from mnar_ebm.markov.graph import FactorGraph, Structure
from mnar_ebm.types import Array, Key

MAX_ENTRIES = 2**22
"""Most entries of a table that elimination makes."""

SHOWN = 12
"""Most nodes of a table that a message names."""


class Step(NamedTuple):
    """Tables are joined, and nodes summed out.

    Attributes:
        joined: places of the tables in the list, from which they are taken; their sum is appended.
        scopes: nodes of each of them.
        kept: nodes of the new table.
        summed: nodes that no table reads any more.
    """

    joined: tuple[int, ...]
    scopes: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]
    summed: tuple[int, ...]


class Marginals(NamedTuple):
    """Probabilities of states.

    Attributes:
        nodes: of each node, 0 beyond the states that it has. [N, max S]
        cliques: of each group of cliques; each leaf as the graph's tables, [G, S_1, ..., S_k].
    """

    nodes: Array
    cliques: tuple[Array, ...]


@jax.jit
def log_z(graph: FactorGraph) -> Array:
    """Return log Z, exactly. It may be differentiated: the gradient is minus the moments. [].

    Raises:
        ValueError: a table of the elimination would have more than ``MAX_ENTRIES`` entries.
    """
    return _eliminate(graph.structure, _log_factors(graph))[0]


@jax.jit
def marginals(graph: FactorGraph) -> Marginals:
    """Return p(x_i) of every node and p(x_c) of every clique, exactly.

    Raises:
        ValueError: as for ``log_z``.
    """
    structure = graph.structure
    flat = jax.grad(lambda tables: _eliminate(structure, tables)[0])(_log_factors(graph))
    scopes, rest = _all_scopes(structure), iter(flat)
    of_node = {}
    for scope, p in zip(scopes, flat, strict=True):
        for place, node in enumerate(scope):
            if node not in of_node:
                of_node[node] = p.sum(axis=[axis for axis in range(p.ndim) if axis != place])
    width = max(structure.num_states)
    nodes = [jnp.pad(of_node[node], (0, width - len(of_node[node]))) for node in sorted(of_node)]
    cliques = [jnp.stack([next(rest) for _ in group]) for group in structure.scopes]
    return Marginals(jnp.stack(nodes), tuple(cliques))


@functools.partial(jax.jit, static_argnames="num_samples")
def sample(key: Key, graph: FactorGraph, num_samples: int) -> Array:
    """Return independent draws of p(x), wherever log Z is exact. [n, N].

    Raises:
        ValueError: as for ``log_z``; or fewer than one draw is asked for.
    """
    _checks.check_whole("num_samples", num_samples, 1)
    structure = graph.structure
    joints = _eliminate(structure, _log_factors(graph))[1]
    uniforms = jax.random.uniform(key, (len(structure.names), num_samples))
    x: dict[int, Array] = {}
    for step, joint in zip(reversed(plan(structure)), reversed(joints), strict=True):
        if not step.summed:
            continue
        sizes = joint.shape[: len(step.kept)], joint.shape[len(step.kept) :]
        row = jnp.zeros(num_samples, int)
        for node, size in zip(step.kept, sizes[0], strict=True):
            row = row * size + x[node]
        below = jnp.cumsum(jax.nn.softmax(joint.reshape(-1, math.prod(sizes[1]))), axis=1)[:, :-1]
        chosen = (uniforms[step.summed[0], :, None] >= below[row]).sum(axis=1)
        x |= zip(step.summed, jnp.unravel_index(chosen, sizes[1]), strict=True)
    return jnp.stack([x[node] for node in sorted(x)], axis=-1)


@functools.lru_cache(maxsize=32)
def plan(structure: Structure) -> tuple[Step, ...]:
    """Return the steps of an elimination.

    Raises:
        ValueError: a table would have more than ``MAX_ENTRIES`` entries; the largest is named.
    """
    sizes, scopes = structure.num_states, list(_all_scopes(structure))
    terms = ("".join(map(opt_einsum.get_symbol, scope)) for scope in scopes)
    shapes = (tuple(sizes[node] for node in scope) for scope in scopes)
    path, _ = opt_einsum.contract_path(",".join(terms) + "->", *shapes, shapes=True)
    steps = []
    for joined in path:
        places = tuple(sorted(joined))
        taken = tuple(scopes[place] for place in places)
        scopes = [scope for place, scope in enumerate(scopes) if place not in places]
        read, inside = set(itertools.chain(*scopes)), sorted(set(itertools.chain(*taken)))
        kept = tuple(node for node in inside if node in read)
        scopes.append(kept)
        steps.append(Step(places, taken, kept, tuple(node for node in inside if node not in read)))
    _check_size(structure, steps)
    return tuple(steps)


def _check_size(structure: Structure, steps: list[Step]) -> None:
    def size(step: Step) -> int:
        return math.prod(structure.num_states[node] for node in step.kept + step.summed)

    largest = max(steps, key=size)
    if size(largest) > MAX_ENTRIES:
        names = [str(structure.names[node]) for node in sorted(largest.kept + largest.summed)]
        some = names if len(names) <= SHOWN else [*names[: SHOWN - 1], "...", names[-1]]
        raise ValueError(
            f"graph: expected tables of at most {MAX_ENTRIES} entries to sum exactly, got "
            f"{size(largest)} of the {len(names)} nodes {', '.join(some)}: draw by markov.gibbs"
        )


def _all_scopes(structure: Structure) -> list[tuple[int, ...]]:
    """Return the scopes of all cliques, then of the nodes that are in none."""
    scopes = list(itertools.chain(*structure.scopes))
    seen = set(itertools.chain(*scopes))
    return scopes + [(node,) for node in range(len(structure.names)) if node not in seen]


def _log_factors(graph: FactorGraph) -> list[Array]:
    """Return -E of each clique, and 0 of the nodes in none, in the order of ``_all_scopes``."""
    sizes = graph.structure.num_states
    tables = [-table for group in graph.tables for table in group]
    alone = _all_scopes(graph.structure)[len(tables) :]
    return tables + [jnp.zeros(sizes[node]) for (node,) in alone]


def _eliminate(structure: Structure, tables: list[Array]) -> tuple[Array, list[Array]]:
    """Return log Z, and of each step the joined table, axes of kept before those of summed."""
    joints = []
    for step in plan(structure):
        axes = step.kept + step.summed
        taken = [tables[place] for place in step.joined]
        pairs = zip(taken, step.scopes, strict=True)
        joint = functools.reduce(jnp.add, (_spread(table, own, axes) for table, own in pairs))
        tables = [table for place, table in enumerate(tables) if place not in step.joined]
        summed = tuple(range(len(step.kept), len(axes)))
        tables.append(_log_sum_exp(joint, summed) if summed else joint)
        joints.append(joint)
    return tables[0], joints


def _log_sum_exp(joint: Array, axes: tuple[int, ...]) -> Array:
    """Return log Σ exp over some axes; of finite values, in fewer operations than ``jax.nn``'s."""
    largest = jax.lax.stop_gradient(joint.max(axis=axes, keepdims=True))
    return jnp.log(jnp.exp(joint - largest).sum(axis=axes)) + largest.squeeze(axes)


def _spread(table: Array, scope: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return a table with an axis for each of ``axes``, of size 1 where it does not read one."""
    order = sorted(range(len(scope)), key=lambda place: axes.index(scope[place]))
    sizes = dict(zip(scope, table.shape, strict=True))
    return table.transpose(order).reshape([sizes.get(node, 1) for node in axes])
