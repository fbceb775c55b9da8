"""Which hidden values decide what is missing, by small models with nearly exact likelihoods."""

from mnar_ebm.screening.bench import Gain
from mnar_ebm.screening.screen import Evidence, Finding, random_means, screen

__all__ = ["Evidence", "Finding", "Gain", "random_means", "screen"]
