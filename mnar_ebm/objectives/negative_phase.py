r"""The negative phase: log Z = log E_{p(z)p(x|z)} exp(-\lambda E), as a function to differentiate.

The gradient of the tilted bound in E is -E_posterior[∇E] + E_model[∇E]; the second expectation
is minus the gradient of log Z. From N base draws with energies e_n,

    snis     log mean exp(-e)    its gradient reweights the draws by softmax(-e)
    jensen   mean(-e)            its gradient takes the draws as they are

By Jensen's inequality mean(-e) <= log Z in expectation, so what ``jensen`` trains is an *upper*
bound on the tilted likelihood. It is kept because it is cheap and close where the tilt is small.
``nce`` has a loss of its own, in ``contrastive``.
"""

from collections.abc import Callable

import jax.numpy as jnp

from mnar_ebm import models
from mnar_ebm.models import Model, Params
from mnar_ebm.samplers.importance import log_mean_exp
from mnar_ebm.types import Array, Key


def base_energies(key: Key, model: Model, params: Params, num_samples: int) -> Array:
    r"""Return \lambda E at draws from the base. [N]."""
    x, z = models.sample_base(key, model.vae, params.base, num_samples)
    return models.energy(model, params, x, z)


def snis_log_z(energies: Array) -> Array:
    """Return log mean exp(-e), consistent for log Z. [N] -> [].

    References:
        Importance sampling with the base as proposal; its bias is -chi²/2N, with chi² the
        chi-square divergence of the tilted model from the base.
    """
    return log_mean_exp(-energies)


def jensen_log_z(energies: Array) -> Array:
    """Return mean(-e), at most log Z in expectation. [N] -> []."""
    return jnp.mean(-energies)


LOG_Z_ESTIMATORS: dict[str, Callable[[Array], Array]] = {
    "snis": snis_log_z,
    "jensen": jensen_log_z,
}
