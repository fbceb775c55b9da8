"""Scores by which rows unlike the data are told, each of them high for the data.

log_density       log p_0(x) - E(x)
energy            -E(x), without the reference: of a classifier log sum_y exp f_y(x)
score_norm        -|∇ log p(x)|, which is near 0 on a plateau, not at a lone peak
energy_gradient   -|∇ E(x)|
max_softmax       max_y p(y|x), of a classifier
max_logit         max_y f_y(x), of a classifier: -min_y E(x|y)

References:
    W. Grathwohl et al., "Your Classifier is Secretly an Energy Based Model and You Should Treat it
    Like One", ICLR 2020, https://arxiv.org/abs/1912.03263, sec. 5.3 (log-density, gradient).
    W. Liu, X. Wang, J. Owens, Y. Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020,
    https://arxiv.org/abs/2010.03759, eq. 6.
    D. Hendrycks, K. Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks", ICLR 2017, https://arxiv.org/abs/1610.02136.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.models.ebm import EBM, Network, log_unnormalised
from mnar_ebm.types import Array

OF_DENSITY = ("log_density", "energy", "score_norm", "energy_gradient")
OF_CLASSIFIER = ("max_softmax", "max_logit")


def scores(
    ebm: EBM, params: Any, rows: Array | np.ndarray, classifier: Network | None = None
) -> dict[str, np.ndarray]:
    """Return the scores of rows, by name: four of a density, two more of a classifier.

    Args:
        ebm: the density.
        params: its parameters.
        rows: in its units. [N, ...]
        classifier: the logits, if it has some, with the same parameters.

    Returns:
        Scores [N] each.
    """
    logdensity_fn = functools.partial(log_unnormalised, ebm, params)
    energy_fn = functools.partial(ebm.energy, params.energy)

    def one(x: Array) -> dict[str, Array]:
        log_density, score = jax.value_and_grad(logdensity_fn)(x)
        energy, slope = jax.value_and_grad(energy_fn)(x)
        values = log_density, -energy, -jnp.linalg.norm(score), -jnp.linalg.norm(slope)
        found = dict(zip(OF_DENSITY, values, strict=True))
        if classifier is None:
            return found
        logits = classifier.apply(params.energy, x)
        of_classes = jax.nn.softmax(logits).max(), logits.max()
        return found | dict(zip(OF_CLASSIFIER, of_classes, strict=True))

    found = jax.lax.map(one, jnp.asarray(rows), batch_size=256)
    return {name: np.asarray(values) for name, values in found.items()}
