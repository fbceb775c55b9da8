"""Restricted Boltzmann machines: exact where a side can be enumerated, bracketed where not."""

from mnar_ebm.boltzmann import rbm
from mnar_ebm.boltzmann.annealed import Bracket, Side, bracket
from mnar_ebm.boltzmann.rbm import RBM
from mnar_ebm.boltzmann.training import ChainSettings, make_stage

__all__ = ["RBM", "Bracket", "ChainSettings", "Side", "bracket", "make_stage", "rbm"]
