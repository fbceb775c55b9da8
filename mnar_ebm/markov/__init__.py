"""Markov random fields: exact where the tree width allows, drawn by colours where it does not."""

from mnar_ebm.markov import torus, transfer
from mnar_ebm.markov.cliques import colour, maximal_cliques
from mnar_ebm.markov.conditionals import pseudo_log_likelihood
from mnar_ebm.markov.elimination import Marginals, log_z, marginals, sample
from mnar_ebm.markov.graph import (
    Clique,
    FactorGraph,
    energy,
    enumerate_states,
    ising,
    lattice_edges,
    make_graph,
    potential,
    potts,
)
from mnar_ebm.markov.sweeps import draw, gibbs, start
from mnar_ebm.markov.training import PhaseSettings, likelihood_loss, make_stage, standard_errors

__all__ = [
    "Clique",
    "FactorGraph",
    "Marginals",
    "PhaseSettings",
    "colour",
    "draw",
    "energy",
    "enumerate_states",
    "gibbs",
    "ising",
    "lattice_edges",
    "likelihood_loss",
    "log_z",
    "make_graph",
    "make_stage",
    "marginals",
    "maximal_cliques",
    "potential",
    "potts",
    "pseudo_log_likelihood",
    "sample",
    "standard_errors",
    "start",
    "torus",
    "transfer",
]
