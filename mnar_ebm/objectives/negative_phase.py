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


def mean_log_z(energies: Array) -> Array:
    """Return mean(-e): of base draws at most log Z in expectation. [N] -> [].

    Of draws of the tilted model itself it is log Z in its gradient only,

        ∇ log Z = -E_model[∇E],      so the draws must not depend on what is differentiated

    References:
        G. E. Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", Neural
        Computation 14(8), 2002, https://doi.org/10.1162/089976602760128018.
    """
    return jnp.mean(-energies)


LOG_Z_ESTIMATORS: dict[str, Callable[[Array], Array]] = {
    "snis": snis_log_z,
    "jensen": mean_log_z,
}
"""The estimators from base draws, by the name of the negative phase."""
