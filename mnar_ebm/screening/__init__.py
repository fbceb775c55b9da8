"""Which hidden values decide what is missing, by small models with nearly exact likelihoods."""

from mnar_ebm.screening.screen import Evidence, Finding, screen

__all__ = ["Evidence", "Finding", "screen"]
