"""Systems that are no tilted table, from settings and rows to a fitted model in a run folder."""

from mnar_ebm.recipes import rbm

__all__ = ["rbm"]
