"""Mechanisms that may read the whole row: a linear map or a network from x to the logits.

    logit P(missing_d|x) = f_d(x),     f linear, or one hidden layer of tanh units

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, sec. 3 (agnostic models).
"""

import jax

from mnar_ebm import blocks as kinds
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.missingness import base
from mnar_ebm.nets.mlp import MLP
from mnar_ebm.types import Array, Key, PyTree


def agnostic(
    likelihood: Likelihood, num_features: int, hidden_dims: tuple[int, ...]
) -> base.Mechanism:
    """Return the mechanism with f an MLP of the given hidden layers; none makes it linear.

    Args:
        likelihood: p(x|z).
        num_features: D.
        hidden_dims: units per hidden layer.
    """
    blocks = likelihood.blocks
    num_logits = len(blocks) if blocks else num_features
    network = MLP((*hidden_dims, num_logits), activation="tanh", zero_last=True)

    def init(key: Key, missing_rate: Array) -> PyTree:
        offset = jax.scipy.special.logit(kinds.one_each(blocks, missing_rate))
        return {"network": network.init(key, missing_rate), "offset": offset}

    def logits(params: PyTree, x: Array) -> Array:
        return network.apply(params["network"], x) + params["offset"]

    return base.by_logits(base.sampled, likelihood, init, logits)
