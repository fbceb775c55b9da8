"""Systems that are no tilted table: the stages that fit one, and what one asks of it.

``rbm``, ``ising`` and ``points`` go from settings and a table to a fitted model in a run folder.
"""

from mnar_ebm.recipes import ising, points, rbm

__all__ = ["ising", "points", "rbm"]
