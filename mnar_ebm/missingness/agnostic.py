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
    likelihood: Likelihood,
    num_features: int,
    hidden_dims: tuple[int, ...],
    observed_columns: tuple[int, ...] = (),
) -> base.Mechanism:
    """Return the mechanism with f an MLP of the given hidden layers; none makes it linear.

    It learns from the gradient of the missing values that are drawn, which a level has not.

    Args:
        likelihood: p(x|z), continuous in every column with a gap.
        num_features: D.
        hidden_dims: units per hidden layer.
        observed_columns: indices of the columns without a gap.

    Raises:
        ValueError: a column with a gap is discrete.
    """
    _check_draws(likelihood, observed_columns)
    blocks = likelihood.blocks
    num_logits = len(blocks) if blocks else num_features
    network = MLP((*hidden_dims, num_logits), activation="tanh", zero_last=True)

    def init(key: Key, missing_rate: Array) -> PyTree:
        offset = jax.scipy.special.logit(kinds.one_each(blocks, missing_rate))
        return {"network": network.init(key, missing_rate), "offset": offset}

    def logits(params: PyTree, x: Array) -> Array:
        return network.apply(params["network"], x) + params["offset"]

    return base.by_logits(base.sampled, likelihood, init, logits)


def _check_draws(likelihood: Likelihood, observed_columns: tuple[int, ...]) -> None:
    """Raise unless every draw that is made in training carries a gradient."""
    if likelihood.is_discrete and not likelihood.blocks:
        raise ValueError(
            "mechanism: linear and nonlinear need a continuous likelihood "
            f"(gaussian, student_t), got {likelihood.name}"
        )
    for index, block in enumerate(likelihood.blocks):
        if block.kind != "numeric" and block.start not in observed_columns:
            raise ValueError(
                "mechanism: linear and nonlinear need discrete columns without a gap, "
                f"got gaps in column {index}, which is {block.kind}"
            )
