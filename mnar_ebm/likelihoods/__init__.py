"""p(x|z) from the decoder's output: what kinds of values a column may hold."""

from collections.abc import Sequence

from mnar_ebm import _checks
from mnar_ebm.config import LIKELIHOODS
from mnar_ebm.likelihoods.base import (
    Likelihood,
    StudentT,
    bernoulli,
    gaussian,
    masked_log_prob,
    student_t,
)
from mnar_ebm.likelihoods.two_part import two_part

__all__ = [
    "Likelihood",
    "StudentT",
    "bernoulli",
    "gaussian",
    "make_likelihood",
    "masked_log_prob",
    "student_t",
    "two_part",
]


def make_likelihood(name: str, atom_side: Sequence[int] = ()) -> Likelihood:
    """Return the likelihood called ``name``.

    Args:
        name: one of ``config.LIKELIHOODS``.
        atom_side: of the columns, as ``two_part`` reads it; where none has an atom, ``two_part`` is
            ``gaussian``. [D]

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    _checks.check_choice("likelihood", name, LIKELIHOODS)
    match name:
        case "gaussian":
            return gaussian()
        case "two_part":
            return two_part(tuple(atom_side)) if any(atom_side) else gaussian()
        case "student_t":
            return student_t()
        case _:
            return bernoulli()
