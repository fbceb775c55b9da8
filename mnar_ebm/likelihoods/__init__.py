"""p(x|z) from the decoder's output: what kinds of values a column may hold."""

from collections.abc import Callable, Sequence

from mnar_ebm import _checks, kinds
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
from mnar_ebm.likelihoods.pixels import continuous_bernoulli, discretised_logistic
from mnar_ebm.likelihoods.two_part import two_part

__all__ = [
    "DISCRETE",
    "LIKELIHOODS",
    "ON_UNIT_INTERVAL",
    "Likelihood",
    "StudentT",
    "bernoulli",
    "continuous_bernoulli",
    "discretised_logistic",
    "gaussian",
    "make_likelihood",
    "masked_log_prob",
    "of_blocks",
    "student_t",
    "two_part",
]


LIKELIHOODS: dict[str, Callable[[tuple[int, ...]], Likelihood]] = {
    "gaussian": lambda atom_side: gaussian(),
    "two_part": lambda atom_side: two_part(atom_side) if any(atom_side) else gaussian(),
    "student_t": lambda atom_side: student_t(),
    "bernoulli": lambda atom_side: bernoulli(),
    "continuous_bernoulli": lambda atom_side: continuous_bernoulli(),
    "discretised_logistic": lambda atom_side: discretised_logistic(),
}
"""By name, makers of the likelihood of numeric columns, ``(atom_side) -> Likelihood``."""

ON_UNIT_INTERVAL = ("bernoulli", "continuous_bernoulli", "discretised_logistic")
"""Those whose values are from 0 to 1, as pixels are."""

DISCRETE = ("bernoulli", "discretised_logistic")
"""Those of whose values no chain can move one."""


def make_likelihood(
    name: str, blocks: tuple[Block, ...] = (), atom_side: Sequence[int] = ()
) -> Likelihood:
    """Return the likelihood called ``name``, of the numeric columns if there are others.

    Args:
        name: one of ``LIKELIHOODS``.
        blocks: the columns, if some of them are discrete.
        atom_side: of the encoded columns, as ``Likelihood`` keeps it; where none has an atom,
            ``two_part`` is ``gaussian``. [D] or empty

    Raises:
        ValueError: the name is unknown, or does not go with discrete columns; the message lists
            those that do.
    """
    _checks.check_choice("likelihood", name, LIKELIHOODS)
    if not blocks:
        return LIKELIHOODS[name](tuple(atom_side))
    numbers = [atom_side[column] for column in kinds.numeric(blocks)] if atom_side else ()
    return of_blocks(blocks, LIKELIHOODS[name](tuple(numbers)), tuple(atom_side))
