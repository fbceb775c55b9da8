r"""Clusters of what a model draws: an energy that only changes their shares needs few rows.

    p(c|v) = \pi_c N(v; m_c, S_c) / sum_d \pi_d N(v; m_d, S_d),  exp(-E(v)) = sum_c p(c|v) exp(a_c)

with v what the tilt reads, but for the bound on \|E\| (``nets.energy``). Many rows have shown the
clusters; the few have to tell C numbers a_c.

References:
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: A Simple Procedure", Neural Computation 14(1), 2002, eq. 2.4 with a_c the log of
    the ratio of the new share to the old one.
"""

import warnings

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from mnar_ebm.models import Tilt
from mnar_ebm.models.tilt import shown
from mnar_ebm.samplers.importance import sir
from mnar_ebm.types import Array, Key, PyTree

NUM_DRAWS = 8192
MIN_VARIANCE = 1e-3
"""Added to the variances of a cluster, for the same draw may come many times."""


def fit(key: Key, tilt: Tilt, x: Array, z: Array, log_w: Array) -> PyTree:
    """Return the collection ``clusters`` of ``ClusterEnergy``, by EM on draws of the model.

    Args:
        key: random key.
        tilt: the tilt, which tells what is shown.
        x: base draws. [P, D]
        z: their latents. [P, L]
        log_w: their log-weights under the model. [P]
    """
    num_clusters = jax.eval_shape(tilt.init, key)["clusters"]["means"].shape[0]
    chosen = sir(key, log_w, NUM_DRAWS, method="systematic")
    draws = np.asarray(shown(tilt, x[chosen], z[chosen]), np.float64)
    mixture = GaussianMixture(
        num_clusters,
        covariance_type="diag",
        reg_covar=MIN_VARIANCE,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(draws)
    found = {
        "log_shares": np.log(mixture.weights_),
        "means": mixture.means_,
        "precisions": mixture.precisions_,
    }
    return {name: np.asarray(value, np.float32) for name, value in found.items()}
