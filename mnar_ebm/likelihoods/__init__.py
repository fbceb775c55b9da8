"""p(x|z) from the decoder's output: per-column densities, draws and means."""

from mnar_ebm import _checks
from mnar_ebm.blocks import Block
from mnar_ebm.likelihoods.base import (
    Likelihood,
    StudentT,
    bernoulli,
    gaussian,
    masked_log_prob,
    student_t,
)
from mnar_ebm.likelihoods.mixed import of_blocks

__all__ = [
    "Likelihood",
    "StudentT",
    "bernoulli",
    "gaussian",
    "make_likelihood",
    "masked_log_prob",
    "of_blocks",
    "student_t",
]

_LIKELIHOODS = {"gaussian": gaussian, "student_t": student_t, "bernoulli": bernoulli}


def make_likelihood(name: str, blocks: tuple[Block, ...] = ()) -> Likelihood:
    """Return the likelihood called ``name``, of the numeric columns if there are others.

    Args:
        name: one of ``config.LIKELIHOODS``.
        blocks: the columns, if some of them are discrete.

    Raises:
        ValueError: the name is unknown, or does not go with discrete columns; the message lists
            those that do.
    """
    _checks.check_choice("likelihood", name, _LIKELIHOODS)
    likelihood = _LIKELIHOODS[name]()
    return of_blocks(blocks, likelihood) if blocks else likelihood
