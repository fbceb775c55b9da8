r"""The negative phase: log Z = log E_{p(z)p(x|z)} exp(-\lambda E), as a function to differentiate.

The gradient of the tilted bound in E is -E_posterior[∇E] + E_model[∇E]; the second expectation
is minus the gradient of log Z. From N draws with energies e_n,

    snis       draws of the base     log mean exp(-e)    reweights the draws by softmax(-e)
    jensen     draws of the base     mean(-e)            takes the draws as they are
    cd, pcd    chains at the model   mean(-e)            takes the draws as they are

Only the first has the value of log Z. By Gibbs' inequality, for any law with density q against the
base, log Z >= E_q[-E] - KL(q|base), with equality for the tilted model. So mean(-e) <= log Z for
``jensen``, which trains an *upper* bound on the tilted likelihood and is kept because it is cheap
and close where the tilt is small; and at the model mean(-e) = log Z + KL(model|base) >= log Z: the
bound that ``cd`` and ``pcd`` show while they train is too low by that, but their gradient is right.
``nce`` has a loss of its own, in ``objectives.contrastive``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from mnar_ebm.samplers.importance import log_mean_exp
from mnar_ebm.types import Array


class NegativePhase(NamedTuple):
    """An estimator of the negative phase.

    Attributes:
        log_z: energies of the draws [N] -> log Z [].
        has_chains: whether chains at the tilted model draw them, or the base.
        is_persistent: whether the chains go on from step to step.
        is_contrastive: whether training has a loss of its own, which tells data from base draws.
    """

    log_z: Callable[[Array], Array]
    has_chains: bool = False
    is_persistent: bool = False
    is_contrastive: bool = False


def snis_log_z(energies: Array) -> Array:
    """Return log mean exp(-e), consistent for log Z. [N] -> [].

    References:
        Importance sampling with the base as proposal; its bias is -chi²/2N, with chi² the
        chi-square divergence of the tilted model from the base.
    """
    return log_mean_exp(-energies)


def mean_log_z(energies: Array) -> Array:
    """Return mean(-e): of base draws at most log Z in expectation. [N] -> [].

    Of draws of the tilted model itself it is log Z in its gradient only,

        ∇ log Z = -E_model[∇E],      so the draws must not depend on what is differentiated

    References:
        G. E. Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", Neural
        Computation 14(8), 2002, https://doi.org/10.1162/089976602760128018.
    """
    return jnp.mean(-energies)


NEGATIVE_PHASES = {
    "snis": NegativePhase(snis_log_z),
    "jensen": NegativePhase(mean_log_z),
    "nce": NegativePhase(snis_log_z, is_contrastive=True),
    "cd": NegativePhase(mean_log_z, has_chains=True),
    "pcd": NegativePhase(mean_log_z, has_chains=True, is_persistent=True),
}
"""By name."""


def check_goes_with(name: str, tilt: str, is_discrete: bool, why: str) -> None:
    """Raise ``ValueError`` if chains were to move values that are discrete.

    Args:
        name: one of ``NEGATIVE_PHASES``.
        tilt: what the energy reads; chains of one that reads x move values.
        is_discrete: whether some are.
        why: whose they are, for the message.
    """
    if NEGATIVE_PHASES[name].has_chains and is_discrete and tilt in ("data", "joint"):
        others = (other for other, phase in NEGATIVE_PHASES.items() if not phase.has_chains)
        raise ValueError(
            f"negative_phase: expected one of {', '.join(others)} for the {tilt} tilt {why}, "
            f"got {name!r}"
        )
