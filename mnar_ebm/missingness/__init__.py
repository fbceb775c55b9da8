"""Why values are missing: mechanisms that draw masks, score them and complete rows."""

from mnar_ebm import _checks
from mnar_ebm.config import MECHANISMS
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.missingness.agnostic import agnostic
from mnar_ebm.missingness.base import Mechanism, mar, mcar, none
from mnar_ebm.missingness.gap_terms import with_gap_terms
from mnar_ebm.missingness.levels import Part, level_masking, mixed_self_masking, product
from mnar_ebm.missingness.selfmasking import self_masking

__all__ = [
    "Mechanism",
    "Part",
    "agnostic",
    "level_masking",
    "make_mechanism",
    "mar",
    "mcar",
    "mixed_self_masking",
    "none",
    "product",
    "self_masking",
    "with_gap_terms",
]


def make_mechanism(
    name: str,
    likelihood: Likelihood,
    num_features: int,
    *,
    sign: str = "unknown",
    hidden_dim: int = 128,
    observed_columns: tuple[int, ...] = (),
    gap_terms: bool = False,
    own: tuple[bool, ...] = (),
) -> Mechanism:
    """Return the mechanism called ``name``.

    Args:
        name: one of ``config.MECHANISMS``.
        likelihood: p(x|z), which decides whether a missing value can be integrated out, with the
            blocks of a table that has discrete columns.
        num_features: D.
        sign: of the self-masking mechanisms, of numeric columns.
        hidden_dim: units of the nonlinear mechanism.
        observed_columns: indices of the columns without a gap, which ``mar`` reads.
        gap_terms: whether it reads what the gaps have in common, too (``missingness.gap_terms``);
            ``ignorable`` always does.
        own: whether an encoded column may hide itself, under self-masking; empty: all may. [D]

    Raises:
        ValueError: the name is unknown, or the mechanism does not go with the likelihood or
            the data; the message says what is expected.
    """
    _checks.check_choice("mechanism", name, MECHANISMS)
    match name:
        case "none":
            return none(likelihood)
        case "mcar" | "ignorable":
            mechanism = mcar(likelihood)
        case "mar":
            mechanism = mar(likelihood, observed_columns)
        case "no_self_censoring":
            mechanism = agnostic(likelihood, num_features, (), reads_own=False)
        case "linear":
            mechanism = agnostic(likelihood, num_features, ())
        case "nonlinear":
            mechanism = agnostic(likelihood, num_features, (hidden_dim,))
        case _:
            link = name.removeprefix("selfmasking_")
            make = mixed_self_masking if likelihood.blocks else self_masking
            mechanism = make(likelihood, link, sign, own)
    if gap_terms or name == "ignorable":
        return with_gap_terms(mechanism, likelihood.blocks)
    return mechanism
