r"""p(s|x, z): a mechanism, and what the gaps of a row have in common.

A model of the gaps has two parts. A ``Mechanism`` says what is read of hidden values. What gaps
have in common is a shift h of its logits or probits, which is the same for all mechanisms,

    h(x_obs, s, z) = gap terms of x_obs and s + loadings of z

the terms of ``missingness.gap_terms`` and those of ``missingness.latents``, or one of them, or
neither. h is known given the row and its latents, and so what is integrated out in closed form
without it is with it, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.kinds import Block
from mnar_ebm.missingness import gap_terms, latents
from mnar_ebm.missingness.base import Mechanism, Shift, with_params
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree


class GapModel(NamedTuple):
    """Pure functions of one row, as those of ``Mechanism``, but that they are handed ``z``.

    Attributes:
        init: ``(key, missing_rate [D], slope=0) -> params``.
        sample: ``(key, params, x [..., D], z [..., L]) -> mask [..., D]``, a draw from p(s|x, z).
        log_prob: ``(params, x [..., D], mask [D], z [..., L]) -> [...]``, log p(s|x, z).
        complete: ``(key, params, eta, x [D], mask [D], z [K, L]) -> (x [K, D], m [K])``.
        mean: ``(params, eta, x [D], mask [D], z [K, L]) -> [K, D]``, or ``None``.
        own: the mechanism, whose functions read ``params`` too, and are handed the ``shift``.
        shift: ``(params, x [..., D], mask [..., D], z [..., L]) -> [..., D]``, or 0: h.
        reads_z: whether h depends on z.
    """

    init: Callable[..., PyTree]
    sample: Callable[..., Array]
    log_prob: Callable[..., Array]
    complete: Callable[..., tuple[Array, Array]]
    mean: Callable[..., Array] | None
    own: Mechanism
    shift: Callable[..., Shift]
    reads_z: bool = False


def with_common(
    mechanism: Mechanism, blocks: tuple[Block, ...], has_terms: bool = False, num_read: int = 0
) -> GapModel:
    """Return the model of gaps of a mechanism.

    Args:
        mechanism: what is read of hidden values.
        blocks: the columns, if some of them are discrete.
        has_terms: whether it reads the gaps of earlier columns and what was observed of them.
        num_read: how many latents it reads, the last.

    Returns:
        The model. If gaps have something in common its parameters are ``own``, those of the
        mechanism, and ``gaps`` or ``latents`` or both; else they are those of the mechanism.
    """
    has_common = has_terms or num_read > 0
    own = with_params(mechanism, lambda params: params["own"]) if has_common else mechanism

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        params = mechanism.init(key, missing_rate, slope)
        if not has_common:
            return params
        parts = {"own": params}
        if has_terms:
            parts["gaps"] = gap_terms.init(blocks, missing_rate)
        if num_read:
            key_latents = jax.random.fold_in(key, 1)
            parts["latents"] = latents.init(key_latents, num_read, missing_rate.shape[-1])
        return parts

    def of_gaps(params: PyTree, x: Array, mask: Array) -> Shift:
        return gap_terms.shift(params["gaps"], x, mask) if has_terms else 0.0

    def of_latents(params: PyTree, z: Array) -> Shift:
        return latents.shift(params["latents"], z) if num_read else 0.0

    def shift(params: PyTree, x: Array, mask: Array, z: Array) -> Shift:
        return of_gaps(params, x, mask) + of_latents(params, z)

    def sample(key: Key, params: PyTree, x: Array, z: Array) -> Array:
        if not has_terms:
            return own.sample(key, params, x, of_latents(params, z))
        rank = params["gaps"]["earlier"].sum(axis=0)  # of as many encoded columns

        def draw(column: Array, mask: Array) -> Array:
            """Draw the gaps of one column after those before it."""
            moved = shift(params, x, mask, z)
            drawn = own.sample(jax.random.fold_in(key, column), params, x, moved)
            return jnp.where(rank == column, drawn, mask)

        return jax.lax.fori_loop(0, x.shape[-1], draw, jnp.ones(x.shape, bool))

    def log_prob(params: PyTree, x: Array, mask: Array, z: Array) -> Array:
        return own.log_prob(params, x, mask, shift(params, x, mask, z))

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, z: Array
    ) -> tuple[Array, Array]:
        return own.complete(key, params, eta, x, mask, shift(params, x, mask, z))

    def mean(params: PyTree, eta: DecoderOutput, x: Array, mask: Array, z: Array) -> Array:
        assert own.mean is not None
        return own.mean(params, eta, x, mask, shift(params, x, mask, z))

    mean_given_z = None if own.mean is None else mean
    return GapModel(init, sample, log_prob, complete, mean_given_z, own, shift, num_read > 0)
