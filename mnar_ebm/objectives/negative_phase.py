r"""Energies at draws from the base, of which most negative phases make log Z.

The estimators are in ``mnar_ebm.negative_phases``.
"""

from mnar_ebm import models
from mnar_ebm.models import Model, Params
from mnar_ebm.negative_phases import mean_log_z, snis_log_z
from mnar_ebm.types import Array, Key

__all__ = ["base_energies", "mean_log_z", "snis_log_z"]


def base_energies(key: Key, model: Model, params: Params, num_samples: int) -> Array:
    r"""Return \lambda E at draws from the base. [N]."""
    x, z = models.sample_base(key, model.vae, params.base, num_samples)
    return models.energy(model, params, x, z)
