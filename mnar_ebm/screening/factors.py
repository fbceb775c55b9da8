r"""A factor model of the rows with a model of their gaps, whose likelihood is nearly exact.

    y_d = g_d(x_d),        y|z ~ p(y|W z + m),    z ~ N(0, I)
    P(missing_d | ...) = F(w_d y_d + c_d + h_d(y_obs, s) + \sum_{e != d} b_ed y_e)

with p(y|z) the likelihood of the table (Gaussian, two-part or of levels), linear in z, h the terms
that the gaps have in common (``missingness.gap_terms``) and g a map that bends a column and makes
its tails heavier or lighter,

    g(x) = sinh(e^a asinh(x) + b)          (a, b = 0 change nothing)

Candidates differ in what they read: nothing hidden, w = b = 0; the hidden value itself, w; or what
the other columns hide, b. What each reads is told by numbers, so that all share a program.

References:
    M. C. Jones, A. Pewsey, "Sinh-arcsinh distributions", Biometrika 96, 2009, eq. 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import kinds
from mnar_ebm.kinds import Block
from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.missingness import gap_terms, not_asked
from mnar_ebm.models import Model, log_prior
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree


class Factors(NamedTuple):
    """What is static of a factor model.

    Attributes:
        model: base and self-masking mechanism, by a linear decoder.
        reads_others: whether hidden values of other columns are read: they are latents, then, too.
    """

    model: Model
    reads_others: bool

    @property
    def num_latents(self) -> int:
        """Size of what is integrated out: z, and the noise of hidden values if these are read."""
        vae = self.model.vae
        return vae.latent_dim + vae.num_features * self.reads_others


class Params(NamedTuple):
    """What is fitted.

    Attributes:
        decoder: W, m and scales.
        shape: b and a of each column. [2, D]
        own: of the self-masking mechanism: w and c, or a logit for each level.
        gaps: of the gap terms.
        others: b_ed, what the gap of d reads of e. [D, D]
    """

    decoder: PyTree
    shape: Array
    own: PyTree
    gaps: PyTree
    others: Array


class Reads(NamedTuple):
    """What a candidate reads, as 0 and 1.

    Attributes:
        own: columns that may hide themselves. [D]
        others: columns whose values, hidden or not, the gaps of others may be read off. [D]
        has_gap: columns with gaps. [D]
        terms: gap terms: features of column e that are read in the gap of d. [F, D, D]
        shape: columns that may be bent. [D]
        latents: which latents there are. [L]
    """

    own: Array
    others: Array
    has_gap: Array
    terms: Array
    shape: Array
    latents: Array


def init(key: Key, factors: Factors, missing_rate: Array) -> Params:
    """Return parameters of a candidate that reads nothing hidden and bends no column.

    Args:
        key: random key.
        factors: the model.
        missing_rate: share of missing cells of each column. [D]
    """
    model = factors.model
    num_features = model.vae.num_features
    gaps = gap_terms.init(model.vae.likelihood.blocks, missing_rate)
    return Params(
        decoder=model.vae.init(key)["decoder"],
        shape=jnp.zeros((2, num_features)),
        own=model.mechanism.init(key, missing_rate),
        # Which terms are read, and so what comes before what, is told by ``Reads``.
        gaps=gaps | {"earlier": jnp.ones_like(gaps["earlier"])},
        others=jnp.zeros((num_features, num_features)),
    )


def hold(params: Params, reads: Reads, blocks: tuple[Block, ...]) -> Params:
    """Return the parameters with 0 for what is not read, and one logit for all levels there."""
    off_diagonal = 1.0 - jnp.eye(len(reads.own))
    return params._replace(
        decoder=jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf * reads.latents[:, None] if is_loading(path) else leaf,
            params.decoder,
        ),
        shape=params.shape * reads.shape,
        own=_hold_own(params.own, reads.own, blocks),
        gaps=params.gaps | {"coefficients": params.gaps["coefficients"] * reads.terms},
        others=params.others * off_diagonal * reads.others[:, None] * reads.has_gap,
    )


def is_loading(path: tuple[Any, ...]) -> bool:
    """Return whether a leaf of the decoder's parameters is W, [L, D]."""
    return "kernel" in jax.tree_util.keystr(path)


def _hold_own(params: PyTree, own: Array, blocks: tuple[Block, ...]) -> PyTree:
    if not blocks:
        return params | {"slope": params["slope"] * own}
    held = dict(params)
    if "numeric" in params:
        numeric = params["numeric"]
        slope = numeric["slope"] * own[kinds.numeric(blocks)]
        held["numeric"] = numeric | {"slope": slope}
    if "levels" in params:
        discrete = kinds.discrete(blocks)
        side_by_side = kinds.make_blocks((block.kind, block.num_levels) for block in discrete)
        of_levels = own[kinds.columns_of(discrete)]
        held["levels"] = {}
        for group in kinds.groups(side_by_side):
            logits = params["levels"][group.name]
            share = of_levels[group.columns[:, 0]][:, None]
            tied = logits.mean(axis=-1, keepdims=True)
            held["levels"][group.name] = share * logits + (1.0 - share) * tied
    return held


def bend(shape: Array, x: Array) -> tuple[Array, Array]:
    """Return g(x) and log g'(x). [..., D] each."""
    u = jnp.exp(shape[1]) * jnp.arcsinh(x) + shape[0]
    log_derivative = jnp.log(jnp.cosh(u)) + shape[1] - 0.5 * jnp.log1p(x**2)
    return jnp.sinh(u), log_derivative


def straighten(shape: Array, y: Array) -> Array:
    """Return the inverse of ``bend``. [..., D]."""
    return jnp.sinh((jnp.arcsinh(y) - shape[0]) * jnp.exp(-shape[1]))


class Row(NamedTuple):
    """A row as the model reads it.

    Attributes:
        y: bent values, 0 in gaps. [D]
        mask: ``True`` where observed. [D]
        shift: h, the gap terms. [D]
        log_derivative: of the bend, summed over the observed columns. []
    """

    y: Array
    mask: Array
    shift: Array
    log_derivative: Array


def read_row(params: Params, x: Array, mask: Array) -> Row:
    """Return a row in bent units, and its gap terms. [D], [D].

    ``x`` is 0 in gaps, but for the mark of what was not asked.
    """
    certain = not_asked.shift(x, mask)
    y, log_derivative = bend(params.shape, jnp.where(mask, x, 0.0))
    y = jnp.where(mask, y, 0.0)
    shift = gap_terms.shift(params.gaps, y, mask) + certain
    return Row(y, mask, shift, jnp.where(mask, log_derivative, 0.0).sum())


def log_joint(factors: Factors, params: Params, row: Row, latent: Array) -> Array:
    """Return log p(x_obs, s, v) with v = z, or z and the noise of hidden values. []."""
    eta = decode(factors, params, latent)
    if not factors.reads_others:
        return log_prior(latent) + log_columns(factors, params, row, eta)
    vae, mechanism = factors.model.vae, factors.model.mechanism.own
    log_p = masked_log_prob(vae.likelihood, eta, row.y, row.mask) + row.log_derivative
    completed = _complete(factors, row, eta, latent[vae.latent_dim :])
    shift = row.shift + completed @ params.others
    log_m = mechanism.log_prob(params.own, completed, row.mask, shift)
    return log_p + log_prior(latent) + log_m


def decode(factors: Factors, params: Params, latent: Array) -> DecoderOutput:
    """Return what the decoder says of the columns. [V] -> leaves [D]."""
    vae = factors.model.vae
    return vae.decode({"decoder": params.decoder}, latent[: vae.latent_dim])


def log_columns(factors: Factors, params: Params, row: Row, eta: DecoderOutput) -> Array:
    """Return log p(x_obs, s|z) where no column's gap reads what others hide. []."""
    likelihood, mechanism = factors.model.vae.likelihood, factors.model.mechanism.own
    unread = jax.random.key(0)  # m does not depend on what is drawn
    _, log_m = mechanism.complete(unread, params.own, eta, row.y, row.mask, row.shift)
    return masked_log_prob(likelihood, eta, row.y, row.mask) + row.log_derivative + log_m


def _complete(factors: Factors, row: Row, eta: PyTree, noise: Array) -> Array:
    """Return the row with its hidden numbers by their noise, and probabilities of hidden levels."""
    likelihood = factors.model.vae.likelihood
    hidden = likelihood.mean(eta)
    if eta.scale is not None:
        is_numeric = np.ones(len(row.y), bool)
        is_numeric[kinds.columns_of(kinds.discrete(likelihood.blocks))] = False
        hidden = jnp.where(is_numeric, eta.loc + eta.scale * noise, hidden)
    return jnp.where(row.mask, row.y, hidden)


def draw_hidden(key: Key, factors: Factors, params: Params, row: Row, latent: Array) -> Array:
    """Return the row with its hidden values drawn given v, in the units of ``x``. [D]."""
    eta = decode(factors, params, latent)
    if factors.reads_others:
        completed = _complete(factors, row, eta, latent[factors.model.vae.latent_dim :])
    else:
        completed, _ = factors.model.mechanism.own.complete(
            key, params.own, eta, row.y, row.mask, row.shift
        )
    return straighten(params.shape, completed)
