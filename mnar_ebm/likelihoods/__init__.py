"""p(x|z) from the decoder's output: what kinds of values a column may hold."""

from collections.abc import Sequence

from mnar_ebm import _checks, kinds
from mnar_ebm.config import LIKELIHOODS
from mnar_ebm.kinds import Block
from mnar_ebm.likelihoods.base import (
    Likelihood,
    StudentT,
    bernoulli,
    gaussian,
    masked_log_prob,
    student_t,
)
from mnar_ebm.likelihoods.mixed import of_blocks
from mnar_ebm.likelihoods.two_part import two_part

__all__ = [
    "Likelihood",
    "StudentT",
    "bernoulli",
    "gaussian",
    "make_likelihood",
    "masked_log_prob",
    "of_blocks",
    "student_t",
    "two_part",
]


def make_likelihood(
    name: str, blocks: tuple[Block, ...] = (), atom_side: Sequence[int] = ()
) -> Likelihood:
    """Return the likelihood called ``name``, of the numeric columns if there are others.

    Args:
        name: one of ``config.LIKELIHOODS``.
        blocks: the columns, if some of them are discrete.
        atom_side: of the encoded columns, as ``Likelihood`` keeps it; where none has an atom,
            ``two_part`` is ``gaussian``. [D] or empty

    Raises:
        ValueError: the name is unknown, or does not go with discrete columns; the message lists
            those that do.
    """
    _checks.check_choice("likelihood", name, LIKELIHOODS)
    if not blocks:
        return _of_numbers(name, tuple(atom_side))
    numbers = [atom_side[column] for column in kinds.numeric(blocks)] if atom_side else ()
    return of_blocks(blocks, _of_numbers(name, tuple(numbers)), tuple(atom_side))


def _of_numbers(name: str, atom_side: tuple[int, ...]) -> Likelihood:
    match name:
        case "gaussian":
            return gaussian()
        case "two_part":
            return two_part(atom_side) if any(atom_side) else gaussian()
        case "student_t":
            return student_t()
        case _:
            return bernoulli()
