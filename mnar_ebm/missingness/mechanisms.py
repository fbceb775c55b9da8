"""The table of mechanisms: all that the rest of the package asks of one by its name.

To add a mechanism is to add an entry: a function that makes it, and what it is in words.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from mnar_ebm import _checks
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.missingness.agnostic import agnostic
from mnar_ebm.missingness.base import Mechanism, mar, mcar, none
from mnar_ebm.missingness.gap_model import GapModel, with_common
from mnar_ebm.missingness.levels import mixed_self_masking
from mnar_ebm.missingness.not_asked import with_not_asked
from mnar_ebm.missingness.selfmasking import self_masking


class Wanted(NamedTuple):
    """What a mechanism is made for.

    Attributes:
        likelihood: p(x|z), which decides whether a missing value can be integrated out, with the
            blocks of a table that has discrete columns.
        num_features: D.
        sign: of the self-masking mechanisms, of numeric columns.
        hidden_dim: units of a network.
        observed_columns: indices of the columns without a gap.
        own: whether an encoded column may hide itself, under self-masking; empty: all may. [D]
    """

    likelihood: Likelihood
    num_features: int
    sign: str = "unknown"
    hidden_dim: int = 128
    observed_columns: tuple[int, ...] = ()
    own: tuple[bool, ...] = ()


class Entry(NamedTuple):
    """A mechanism, as the table has it.

    Attributes:
        make: ``(wanted) -> Mechanism``.
        assumption: what is taken for granted with it, a sentence without its full stop.
        direction: the sentence of the report, if it is the same for every column; else empty.
        reads_hidden: whether hidden values decide what is missing.
        reads_gaps: ``asked``, it reads gap terms if these are asked; ``always``; or ``never``, nor
            latents of the gaps.
        reads_latents: whether it reads the latents behind the columns.
        slopes: what its slope parameters act on: a column's ``own`` value, the whole ``row``, or
            empty. They start with a sign (``tilted.start``).
        reads_own: whether P(missing) of a column moves with the value that it hides.
        reads_complete: whether it reads the columns without a gap, which are then never missing.
    """

    make: Callable[[Wanted], Mechanism]
    assumption: str
    direction: str = ""
    reads_hidden: bool = True
    reads_gaps: str = "asked"
    reads_latents: bool = False
    slopes: str = ""
    reads_own: bool = True
    reads_complete: bool = False


def _self_masking(link: str) -> Callable[[Wanted], Mechanism]:
    def make(wanted: Wanted) -> Mechanism:
        make = mixed_self_masking if wanted.likelihood.blocks else self_masking
        return make(wanted.likelihood, link, wanted.sign, wanted.own)

    return make


def _ignorable(
    make: Callable[[Wanted], Mechanism],
    assumption: str,
    direction: str,
    reads_gaps: str = "asked",
    reads_complete: bool = False,
) -> Entry:
    return Entry(
        make,
        assumption,
        direction,
        reads_hidden=False,
        reads_gaps=reads_gaps,
        reads_own=False,
        reads_complete=reads_complete,
    )


MECHANISMS = {
    "none": _ignorable(
        lambda wanted: none(wanted.likelihood),
        "gaps say nothing, and are not modelled",
        "why values are missing is not modelled",
        reads_gaps="never",
    ),
    "mcar": _ignorable(
        lambda wanted: mcar(wanted.likelihood),
        "values are missing completely at random",
        "values go missing whatever they are",
    ),
    "mar": _ignorable(
        lambda wanted: mar(wanted.likelihood, wanted.observed_columns),
        "values are missing at random, given the complete columns",
        "whether a value is missing depends on the complete columns alone",
        reads_complete=True,
    ),
    "ignorable": _ignorable(
        lambda wanted: mcar(wanted.likelihood),
        "values are missing at random, given what was observed and the other gaps",
        "whether a value is missing depends on observed values and other gaps alone",
        reads_gaps="always",
    ),
    "latent": Entry(
        lambda wanted: mcar(wanted.likelihood),
        "values go missing by latents behind the columns, which show in none of them alone",
        "whether a value is missing depends on latents behind the columns, and on its own value "
        "through these alone",
        reads_latents=True,
        reads_own=False,
    ),
    "no_self_censoring": Entry(
        lambda wanted: agnostic(wanted.likelihood, wanted.num_features, (), reads_own=False),
        "values go missing by what other columns hold, hidden or not",
        "whether a value is missing depends on other columns, hidden or not, and not on itself",
        reads_own=False,
    ),
    "selfmasking_probit": Entry(_self_masking("probit"), "values hide themselves", slopes="own"),
    "selfmasking_logistic": Entry(
        _self_masking("logistic"), "values hide themselves", slopes="own"
    ),
    "linear": Entry(
        lambda wanted: agnostic(wanted.likelihood, wanted.num_features, ()),
        "values go missing by the whole row, hidden or not",
        slopes="row",
    ),
    "nonlinear": Entry(
        lambda wanted: agnostic(wanted.likelihood, wanted.num_features, (wanted.hidden_dim,)),
        "values go missing by the whole row, hidden or not",
    ),
}
"""By name, the simplest first."""


def make_mechanism(
    name: str, likelihood: Likelihood, num_features: int, **wanted: Any
) -> Mechanism:
    """Return what the mechanism called ``name`` reads of hidden values.

    Args:
        name: one of ``MECHANISMS``.
        likelihood: p(x|z).
        num_features: D.
        **wanted: what else it is made for, as in ``Wanted``.

    Raises:
        ValueError: the name is unknown, or the mechanism does not go with the likelihood or
            the data; the message says what is expected.
    """
    _checks.check_choice("mechanism", name, MECHANISMS)
    mechanism = MECHANISMS[name].make(Wanted(likelihood, num_features, **wanted))
    return with_not_asked(mechanism)


def make_gap_model(
    name: str,
    likelihood: Likelihood,
    num_features: int,
    *,
    gap_terms: bool = False,
    latent_dim: int = 0,
    gap_latents: int = 0,
    **wanted: Any,
) -> GapModel:
    """Return the model of gaps by the mechanism called ``name``.

    Args:
        name: one of ``MECHANISMS``.
        likelihood: p(x|z).
        num_features: D.
        gap_terms: whether gaps read those of earlier columns, too (``missingness.gap_terms``).
        latent_dim: how many latents the decoder reads, the first.
        gap_latents: how many there are of the gaps alone, the last (``missingness.latents``).
        **wanted: what else it is made for, as in ``Wanted``.

    Raises:
        ValueError: as ``make_mechanism``.
    """
    mechanism = make_mechanism(name, likelihood, num_features, **wanted)
    entry = MECHANISMS[name]
    has_terms = {"always": True, "asked": gap_terms, "never": False}[entry.reads_gaps]
    num_read = gap_latents * (entry.reads_gaps != "never") + latent_dim * entry.reads_latents
    return with_common(mechanism, likelihood.blocks, has_terms, num_read)
