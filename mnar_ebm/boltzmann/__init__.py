"""Restricted Boltzmann machines: exact where a side can be enumerated, bracketed where not."""

from mnar_ebm.boltzmann import clamp, rbm, tempering, trajectory
from mnar_ebm.boltzmann.annealed import Bracket, Side, bracket, bracket_along, stack
from mnar_ebm.boltzmann.clamp import impute
from mnar_ebm.boltzmann.training import ChainSettings, make_stage
from mnar_ebm.boltzmann.visible import BINARY, GAUSSIAN, RBM, Visible, check_rows, multinomial

__all__ = [
    "BINARY",
    "GAUSSIAN",
    "RBM",
    "Bracket",
    "ChainSettings",
    "Side",
    "Visible",
    "bracket",
    "bracket_along",
    "check_rows",
    "clamp",
    "impute",
    "make_stage",
    "multinomial",
    "rbm",
    "stack",
    "tempering",
    "trajectory",
]
