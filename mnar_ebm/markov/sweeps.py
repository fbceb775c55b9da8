r"""Gibbs sampling by colours: nodes that are no neighbours are drawn at once.

    x_i' ~ p(x_i|x_others)      for all i of a colour, one colour after the other

Given the other colours the nodes of one are independent, so a colour is drawn exactly by one
uniform number for each node; the sweep leaves p as it is. Nodes, chains and states are axes of
arrays, of any graph and any numbers of states.

References:
    S. Geman, D. Geman, "Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of
    Images", IEEE Transactions on Pattern Analysis and Machine Intelligence 6, 1984.
    J. Gonzalez, Y. Low, A. Gretton, C. Guestrin, "Parallel Gibbs Sampling: From Colored Fields to
    Thin Junction Trees", AISTATS 2011, algorithm 2.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm.markov.cliques import Colours, check_colours, colour
from mnar_ebm.markov.conditionals import Terms, log_odds, odds_rows, terms_of
from mnar_ebm.markov.graph import FactorGraph, Structure, as_states
from mnar_ebm.samplers import SamplingAlgorithm
from mnar_ebm.types import Array, Key


class ColourState(NamedTuple):
    """The state of chains: nothing but where they stand.

    Attributes:
        position: states of the nodes. [..., N]
    """

    position: Array


def gibbs(graph: FactorGraph, colours: Sequence[Sequence[int]] | None = None) -> SamplingAlgorithm:
    """Build the sampler, one sweep over all colours a step; its info is empty.

    A position may have leading axes: chains that are drawn side by side from one key.

    Args:
        graph: the graph.
        colours: of each colour, its nodes by position; found by ``colour`` if not told.

    Raises:
        ValueError: the colours are not those of the nodes, or one holds two neighbours; or, from
            ``init``, a position is not of the graph.
    """
    chosen = colour(graph.structure) if colours is None else check_colours(graph, colours)

    def init(position: Array, key: Key | None = None) -> ColourState:
        del key
        return ColourState(as_states(graph.structure, position))

    def step(key: Key, state: ColourState) -> tuple[ColourState, tuple[()]]:
        return ColourState(_sweeps(key, graph, state.position, 1, chosen)), ()

    return SamplingAlgorithm(init, step)


def draw(
    key: Key,
    graph: FactorGraph,
    x: Array,
    num_sweeps: int,
    colours: Sequence[Sequence[int]] | None = None,
    mask: Array | None = None,
) -> Array:
    """Return chains after so many sweeps. [..., N] -> [..., N].

    Args:
        key: random key.
        graph: the graph.
        x: where the chains stand.
        num_sweeps: at least 1.
        colours: as for ``gibbs``.
        mask: ``True`` where a node is observed and stays: what is drawn is the law of the others
            given it; by default all move. [..., N]

    Raises:
        ValueError: as for ``gibbs``, or there are no sweeps, or ``mask`` has another shape.
    """
    _checks.check_whole("num_sweeps", num_sweeps, 1)
    chosen = colour(graph.structure) if colours is None else check_colours(graph, colours)
    x = as_states(graph.structure, x)
    if mask is not None and jnp.shape(mask) != x.shape:
        raise ValueError(f"mask: expected shape {x.shape}, got {jnp.shape(mask)}")
    return _sweeps(key, graph, x, num_sweeps, chosen, mask)


def start(key: Key, graph: FactorGraph, num_chains: int) -> Array:
    """Return chains whose nodes are independent and uniform. [C, N]."""
    sizes = jnp.array(graph.structure.num_states)
    return jax.random.randint(key, (num_chains, len(sizes)), 0, sizes)


@functools.partial(jax.jit, static_argnames=("num_sweeps", "colours"))
def _sweeps(
    key: Key,
    graph: FactorGraph,
    x: Array,
    num_sweeps: int,
    colours: Colours,
    mask: Array | None = None,
) -> Array:
    """Return chains after sweeps, with nodes in the order of their colours on the way."""
    order = np.concatenate(colours)
    stays = None if mask is None else jnp.asarray(mask).reshape(-1, len(order)).T[order]
    plan, rows = _plan(graph.structure, colours), odds_rows(graph)

    def sweep(x: Array, key: Key) -> tuple[Array, None]:
        begin = 0
        for key_colour, terms in zip(jax.random.split(key, len(plan)), plan, strict=True):
            new = _categorical(key_colour, log_odds(rows, terms, x)).astype(x.dtype)
            if stays is not None:
                own = slice(begin, begin + len(new))
                new = jnp.where(stays[own], x[own], new)
            x = jax.lax.dynamic_update_slice_in_dim(x, new, begin, axis=0)
            begin += len(new)
        return x, None

    columns = x.reshape(-1, len(order)).T[order]
    columns, _ = jax.lax.scan(sweep, columns, jax.random.split(key, num_sweeps))
    return columns[np.argsort(order)].T.reshape(x.shape)


@functools.lru_cache(maxsize=32)
def _plan(structure: Structure, colours: Colours) -> tuple[Terms, ...]:
    """Return the terms of each colour, with nodes by their place in the order of the colours."""
    place = np.argsort(np.concatenate(colours))
    found = (terms_of(structure, nodes) for nodes in colours)
    return tuple(terms._replace(others=place[terms.others]) for terms in found)


def _categorical(key: Key, odds: list[Array]) -> Array:
    """Return states drawn by inversion, one uniform number each, of log-odds to state 0. [V, C]."""
    uniform = jax.random.uniform(key, odds[0].shape)
    largest = functools.reduce(jnp.maximum, odds, jnp.zeros_like(uniform))
    weights = [jnp.exp(-largest), *(jnp.exp(each - largest) for each in odds)]
    *below, total = itertools.accumulate(weights)
    states = [uniform * total >= bound for bound in below]
    return functools.reduce(jnp.add, (state.astype(int) for state in states))
