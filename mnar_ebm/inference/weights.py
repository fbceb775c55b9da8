r"""Samples of the tilted model by weights: base draws, resampled by exp(-\lambda E)."""

import functools
from typing import NamedTuple

import jax

from mnar_ebm import models, samplers
from mnar_ebm.models import Model, Params
from mnar_ebm.types import Array, Key


class WeightedSamples(NamedTuple):
    """Draws from the tilted model, chosen from base draws by their weights.

    Attributes:
        x: rows. [N, D]
        z: their latents. [N, L]
        log_w: -lambda E at the base draws that they were chosen from. [P]
    """

    x: Array
    z: Array
    log_w: Array


@functools.partial(jax.jit, static_argnames=("model", "num_samples", "num_proposals"))
def sample_by_weights(
    key: Key, model: Model, params: Params, num_samples: int, num_proposals: int
) -> WeightedSamples:
    """Draw from the tilted model by resampling base draws (SNIS, then SIR).

    It is jitted; the model and the sizes are static.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        num_samples: N.
        num_proposals: P, base draws to choose from, at least N.
    """
    key_base, key_sir = jax.random.split(key)
    x, z = models.sample_base(key_base, model.vae, params.base, num_proposals)
    log_w = -models.energy(model, params, x, z)
    chosen = samplers.sir(key_sir, log_w, num_samples, method="systematic")
    return WeightedSamples(x[chosen], z[chosen], log_w)
