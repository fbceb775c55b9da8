r"""Latents of the gaps: what rows have in common in their gaps, and is not seen in them.

    h_d(z) = \sum_l \Lambda_ld z_l,    \Lambda = sinh(a),    z ~ N(0, I)

over the last latents of a row. Those beyond what the decoder reads, u, are of the mechanism alone:
given u the gaps of a row are independent, and without it they go together. As u is independent of
x, it makes no mechanism read a hidden value. Under ``latent`` those behind the columns are read,
too: then what hidden values have in common with observed ones decides what is missing, but nothing
that is their own. That is missing not at random, and what identifies it is the form alone: that
columns share factors, linear in the gaps and normal.

h is linear in z, so that log p(s|x_obs, z) stays concave in it where it was in h.

References:
    M. Sadinle, J. P. Reiter, "Itemwise conditionally independent nonresponse modelling for
    incomplete multivariate data", Biometrika 104, 2017, https://arxiv.org/abs/1609.00656, sec. 2.
    Xie, Xue, Wang, 2026, https://arxiv.org/abs/2603.24771 (no self-censoring given latents).
    P. S. Albert, D. A. Follmann, "Shared-parameter models", in: G. Fitzmaurice et al. (eds.),
    "Longitudinal Data Analysis", 2008, ch. 19.
"""

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array, Key, PyTree

START = 0.5
"""Standard deviation of a where it starts: at 0 nothing says which way to go."""


def init(key: Key, num_read: int, num_features: int) -> PyTree:
    """Return loadings to start from.

    Args:
        key: random key.
        num_read: how many latents are read.
        num_features: D.

    Returns:
        ``slope`` [num_read, D], asinh of the loadings.
    """
    return {"slope": START * jax.random.normal(key, (num_read, num_features))}


def shift(params: PyTree, z: Array) -> Array:
    """Return h of every encoded column, that of a block at its first. [..., D].

    Args:
        params: as ``init`` returns.
        z: latents, of which the last are read. [..., L]
    """
    num_read = params["slope"].shape[0]
    return z[..., z.shape[-1] - num_read :] @ jnp.sinh(params["slope"])
