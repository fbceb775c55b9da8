"""Mechanisms that may read the whole row: a linear map or a network from x to the logits.

    logit P(missing_d|x) = f_d(x),     f linear, or one hidden layer of tanh units

The linear one keeps the slope of a column's own value apart from those of the others,

    f_d(x) = sinh(a_d) x_d + sum_{e != d} b_ed x_e + c_d

for b is what a table says least of (setting ``mechanism_weight_decay``). The own slope is written
as that of self-masking is, to grow steep in few steps.

Without self-censoring a_d = 0: a column may go missing by all that the others hold, hidden or not,
but not by what it holds itself. Where every pattern of gaps has a chance in every row, p(x) is then
identified without an assumption on its shape.

References:
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, sec. 3 (agnostic models).
    M. Sadinle, J. P. Reiter, "Itemwise conditionally independent nonresponse modelling for
    incomplete multivariate data", Biometrika 104, 2017, https://arxiv.org/abs/1609.00656, sec. 2.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import kinds
from mnar_ebm.kinds import Block
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.missingness import base
from mnar_ebm.nets.mlp import MLP
from mnar_ebm.types import Array, Key, PyTree


def agnostic(
    likelihood: Likelihood,
    num_features: int,
    hidden_dims: tuple[int, ...],
    reads_own: bool = True,
) -> base.Mechanism:
    """Return the mechanism with f an MLP of the given hidden layers; none makes it linear.

    Args:
        likelihood: p(x|z).
        num_features: D.
        hidden_dims: units per hidden layer.
        reads_own: whether a linear one reads the value that it hides.
    """
    blocks = likelihood.blocks

    def offset(missing_rate: Array) -> Array:
        return jax.scipy.special.logit(kinds.one_each(blocks, missing_rate))

    if not hidden_dims:
        is_own = _is_own(blocks, num_features)

        def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
            own = jnp.arcsinh(slope) * _is_numeric(blocks, num_features) * reads_own
            return {"slope": own, "others": jnp.zeros(is_own.shape), "offset": offset(missing_rate)}

        def logits(params: PyTree, x: Array) -> Array:
            own = jnp.sinh(params["slope"])[:, None] if reads_own else 0.0
            weights = jnp.where(is_own, own, params["others"])
            return x @ weights + params["offset"]

        return base.by_logits(base.sampled, likelihood, init, logits)

    num_logits = len(blocks) if blocks else num_features
    network = MLP((*hidden_dims, num_logits), activation="tanh", zero_last=True)

    def init_network(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        return {"network": network.init(key, missing_rate), "offset": offset(missing_rate)}

    def network_logits(params: PyTree, x: Array) -> Array:
        return network.apply(params["network"], x) + params["offset"]

    return base.by_logits(base.sampled, likelihood, init_network, network_logits)


def _is_own(blocks: tuple[Block, ...], num_features: int) -> np.ndarray:
    """Return which columns each logit is of. [D, logits]."""
    if not blocks:
        return np.eye(num_features, dtype=bool)
    is_own = np.zeros((num_features, len(blocks)), bool)
    for index, block in enumerate(blocks):
        is_own[block.columns, index] = True
    return is_own


def _is_numeric(blocks: tuple[Block, ...], num_features: int) -> np.ndarray:
    """Return 1 for numeric columns, whose slopes may start elsewhere than flat. [D]."""
    numeric = np.ones(num_features, np.float32)
    for block in kinds.discrete(blocks):
        numeric[block.columns] = 0.0
    return numeric
