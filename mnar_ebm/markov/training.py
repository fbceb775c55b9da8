r"""Learning the energies of a graph from complete rows, through the engine (``training.loop``).

Parameters are whatever a function makes a graph of: the graph itself, couplings of an Ising model,
anything that can be differentiated. Its phase says what stands for the model:

    exact:   E_data E(x) + log Z                       the likelihood, where elimination can sum
    pcd:     E_data E(x) - E_chains E(x)               chains that go on, held fixed: no objective
    pseudo:  -E_data Σ_i log p(x_i|x_others)           needs neither log Z nor chains

The first has the least variance of all. The gradient of the second is that of the likelihood once
the chains have mixed. The third is consistent, and pays most where neighbours depend strongly.

References:
    J. Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 24, 1975.
    L. Younes, "Estimation and Annealing for Gibbsian Fields", Annales de l'IHP B 24, 1988
    (persistent chains).
    B. Lindsay, "Composite Likelihood Methods", Contemporary Mathematics 80, 1988 (the sandwich).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from mnar_ebm import _checks
from mnar_ebm.markov.conditionals import pseudo_log_likelihood
from mnar_ebm.markov.elimination import log_z
from mnar_ebm.markov.graph import FactorGraph, energy
from mnar_ebm.markov.sweeps import draw, start
from mnar_ebm.training import Pace, Stage, Verdict, verdict
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree

PHASES = ("exact", "pcd", "pseudo")


class PhaseSettings(NamedTuple):
    """What stands for the model.

    Attributes:
        phase: ``exact``, ``pcd`` or ``pseudo``.
        num_chains: chains that ``pcd`` carries along.
        num_sweeps: sweeps of Gibbs in a step of ``pcd``.
    """

    phase: str = "exact"
    num_chains: int = 1000
    num_sweeps: int = 1


def make_stage(
    settings: PhaseSettings,
    pace: Pace,
    params: PyTree,
    graph_of: Callable[[Any], FactorGraph] = lambda graph: graph,
) -> Stage:
    """Return the stage that learns parameters; rows are states of the nodes, [B, N].

    It is judged by the pseudo-likelihood of held-out rows. Without any, the last parameters are
    taken, which is what estimates with standard errors need.

    Args:
        settings: of the phase.
        pace: how long and how fast it goes.
        params: parameters, of which the shapes alone are read.
        graph_of: makes a graph of parameters; by default they are one.

    Raises:
        ValueError: a setting may not be as it is, or the graph of ``exact`` cannot be summed.
    """
    _checks.check_choice("phase", settings.phase, PHASES)
    _checks.check_whole("num_chains", settings.num_chains, 1)
    _checks.check_whole("num_sweeps", settings.num_sweeps, 1)
    like = jax.eval_shape(graph_of, params)
    if settings.phase == "exact":
        jax.eval_shape(log_z, like)

    def exact(key: Key, params: PyTree, batch: Array, held_out: Array, memory: PyTree) -> Loss:
        del key, held_out
        value = likelihood_loss(graph_of(params), batch).mean()
        return value, ({}, memory)

    def pseudo(key: Key, params: PyTree, batch: Array, held_out: Array, memory: PyTree) -> Loss:
        del key, held_out
        return -pseudo_log_likelihood(graph_of(params), batch).mean(), ({}, memory)

    def pcd(key: Key, params: PyTree, batch: Array, held_out: Array, memory: PyTree) -> Loss:
        del held_out
        graph = graph_of(params)
        chains = draw(key, jax.lax.stop_gradient(graph), memory, settings.num_sweeps)
        gap = energy(graph, batch).mean() - energy(graph, chains).mean()
        return gap, ({"energy_gap": gap}, chains)

    def evaluate(key: Key, params: PyTree, batch: Array, is_row: Array) -> Verdict:
        del key
        scores = pseudo_log_likelihood(graph_of(params), batch)
        return verdict(jnp.mean(scores, where=is_row))

    def init_memory(key: Key) -> PyTree:
        return start(key, like, settings.num_chains) if settings.phase == "pcd" else ()

    loss = {"exact": exact, "pcd": pcd, "pseudo": pseudo}[settings.phase]
    return Stage(settings.phase, loss, evaluate, pace, init_memory=init_memory)


def likelihood_loss(graph: FactorGraph, x: Array) -> Array:
    """Return -log p(x), exactly, in nats. [..., N] -> [...].

    Raises:
        ValueError: as for ``log_z``.
    """
    return energy(graph, x) + log_z(graph)


def standard_errors(loss: Callable[[Any, Array], Array], params: PyTree, rows: Array) -> PyTree:
    r"""Return the standard errors of the parameters that minimise a mean loss over rows.

        H⁻¹ S H⁻¹ / N,      H = E ∂²loss,      S = E ∂loss ∂loss'

    the sandwich, of which the square roots of the diagonal are returned; for a true likelihood
    H = S is Fisher's information.

    Args:
        loss: ``(params, row [N]) -> loss``, such as of ``likelihood_loss``.
        params: at the minimum; H is to be invertible, so a graph's own tables, of which others
            have the same law, are no such parameters.
        rows: independent rows. [B, N]
    """
    flat, unravel = ravel_pytree(params)

    def of_row(flat: Array, row: Array) -> Array:
        return loss(unravel(flat), row)

    def mean(flat: Array) -> Array:
        return jax.vmap(of_row, (None, 0))(flat, rows).mean()

    slopes = jax.vmap(jax.grad(of_row), (None, 0))(flat, rows)
    bread = jnp.linalg.inv(jax.hessian(mean)(flat))
    sandwich = bread @ (slopes.T @ slopes / len(rows)) @ bread / len(rows)
    return unravel(jnp.sqrt(jnp.diagonal(sandwich)))
