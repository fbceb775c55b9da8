"""Systems that are no tilted table, from settings and rows to a fitted model in a run folder."""

from mnar_ebm.recipes import ising, rbm

__all__ = ["ising", "rbm"]
