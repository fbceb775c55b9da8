"""Why values are missing: mechanisms that draw masks, score them and complete rows."""

from mnar_ebm.missingness.agnostic import agnostic
from mnar_ebm.missingness.base import Mechanism, mar, mcar, none
from mnar_ebm.missingness.gap_model import GapModel
from mnar_ebm.missingness.levels import Part, level_masking, mixed_self_masking, product
from mnar_ebm.missingness.mechanisms import (
    MECHANISMS,
    Entry,
    Wanted,
    make_gap_model,
    make_mechanism,
)
from mnar_ebm.missingness.selfmasking import self_masking

__all__ = [
    "MECHANISMS",
    "Entry",
    "GapModel",
    "Mechanism",
    "Part",
    "Wanted",
    "agnostic",
    "level_masking",
    "make_gap_model",
    "make_mechanism",
    "mar",
    "mcar",
    "mixed_self_masking",
    "none",
    "product",
    "self_masking",
]
