"""Elliptical slice sampling: a Gaussian prior times a likelihood, without a step size."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.samplers.base import SamplingAlgorithm
from mnar_ebm.samplers.trees import broadcast_to, check_all_positive, normal_like
from mnar_ebm.types import Array, Key, PyTree

__all__ = ["EllipticalSliceInfo", "EllipticalSliceState", "elliptical_slice"]

_MAX_EVALUATIONS = 100  # of the likelihood; the bracket is then far below the rounding of x


class EllipticalSliceState(NamedTuple):
    """A position and its cached log-likelihood.

    Attributes:
        position: any pytree of floating-point arrays.
        loglikelihood: log ℓ(position), up to a constant. []
    """

    position: PyTree
    loglikelihood: Array


class EllipticalSliceInfo(NamedTuple):
    """What a step reports.

    Attributes:
        num_evaluations: of the likelihood; 1 if the first point was in the slice. []
        is_accepted: whether a point was found; if not (a likelihood of NaN), the chain stays. []
    """

    num_evaluations: Array
    is_accepted: Array


class _Bracket(NamedTuple):
    """The search along the ellipse: what was seen last, and where to look next."""

    angle: Array
    lower: Array
    upper: Array
    state: EllipticalSliceState
    info: EllipticalSliceInfo


def elliptical_slice(
    loglikelihood_fn: Callable[[PyTree], Array], mean: PyTree = 0.0, scale: PyTree = 1.0
) -> SamplingAlgorithm:
    """Build elliptical slice sampling of N(x; m, diag(s²)) ℓ(x), which it leaves invariant exactly.

        ν ~ N(0, diag(s²)),    log y = log ℓ(x) + log u,    u ~ U(0, 1)
        x(θ) = m + (x - m) cos θ + ν sin θ,    θ ~ U(0, 2π) in the bracket (θ - 2π, θ)
        while log ℓ(x(θ)) < log y:  the end of the bracket on θ's side of 0 moves to θ;
                                    θ ~ U(bracket)

    The ellipse goes through x at θ = 0, so that the search ends: log ℓ(x) is above log y.

    Args:
        loglikelihood_fn: log ℓ up to a constant, of one position: *without* the prior. []
        mean: m, shaped as the position, or a scalar for all coordinates.
        scale: s, shaped as the position, or a scalar for all coordinates.

    Returns:
        The sampler.

    Raises:
        ValueError: ``scale`` is a number and not positive, or, from ``step``, ``mean`` or ``scale``
            is not shaped as the position.

    Examples:
        >>> import jax
        >>> from mnar_ebm.samplers import sample
        >>> algorithm = elliptical_slice(lambda x: -jnp.exp(-x))  # a likelihood that pushes up
        >>> _, (x, _) = sample(jax.random.key(0), algorithm, 0.0, 1000)
        >>> bool(x.mean() > 0.3)
        True

    References:
        Iain Murray, Ryan Prescott Adams and David J. C. MacKay, "Elliptical slice sampling",
        AISTATS 2010, https://arxiv.org/abs/1001.0175.
    """
    check_all_positive("scale", scale)
    init = functools.partial(_init, loglikelihood_fn)

    def step(
        key: Key, state: EllipticalSliceState
    ) -> tuple[EllipticalSliceState, EllipticalSliceInfo]:
        key_other, key_height, key_angle = jax.random.split(key, 3)
        centre = broadcast_to(state.position, "mean", mean)
        scales = broadcast_to(state.position, "scale", scale)
        other = jax.tree.map(jnp.multiply, scales, normal_like(key_other, state.position))
        dtype = state.loglikelihood.dtype
        height = state.loglikelihood - jax.random.exponential(key_height, dtype=dtype)  # log y

        def search(bracket: _Bracket) -> _Bracket:
            """Look at the angle, and draw the next from the bracket cut there."""
            proposal = init(ellipse(state.position, other, centre, bracket.angle))
            num_evaluations = bracket.info.num_evaluations + 1
            info = EllipticalSliceInfo(num_evaluations, proposal.loglikelihood >= height)
            lower, upper = shrink(bracket.angle, bracket.lower, bracket.upper)
            uniform = jax.random.uniform(jax.random.fold_in(key_angle, num_evaluations), (), dtype)
            return _Bracket(lower + uniform * (upper - lower), lower, upper, proposal, info)

        def goes_on(bracket: _Bracket) -> Array:
            info = bracket.info
            return ~info.is_accepted & (info.num_evaluations < _MAX_EVALUATIONS)

        angle = 2 * jnp.pi * jax.random.uniform(jax.random.fold_in(key_angle, 0), dtype=dtype)
        info = EllipticalSliceInfo(jnp.zeros((), int), jnp.zeros((), bool))
        found = jax.lax.while_loop(
            goes_on, search, _Bracket(angle, angle - 2 * jnp.pi, angle, state, info)
        )
        choose = functools.partial(jnp.where, found.info.is_accepted)
        return jax.tree.map(choose, found.state, state), found.info

    return SamplingAlgorithm(init, step)


def ellipse(position: PyTree, other: PyTree, mean: PyTree, angle: Array) -> PyTree:
    """Compute x(θ) = m + (x - m) cos θ + ν sin θ, in the position's dtype.

    Args:
        position: x.
        other: ν, the deviation at a right angle, shaped as the position.
        mean: m, with the structure of the position; a leaf may be a scalar.
        angle: θ. []

    Returns:
        The point, shaped as the position.

    References:
        As for ``elliptical_slice``.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jax.tree.map(
        lambda x, v, m: (m + (x - m) * cos + v * sin).astype(x.dtype), position, other, mean
    )


def shrink(angle: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Cut the bracket at a rejected angle so that 0, where the chain stands, stays inside.

    Args:
        angle: θ. []
        lower: the bracket's lower end, at most 0. []
        upper: its upper end, at least 0. []

    Returns:
        The new lower and upper end. [], []

    References:
        As for ``elliptical_slice``.
    """
    return jnp.where(angle < 0, angle, lower), jnp.where(angle < 0, upper, angle)


def _init(
    loglikelihood_fn: Callable[[PyTree], Array], position: PyTree, key: Key | None = None
) -> EllipticalSliceState:
    del key  # nothing here is random
    position = jax.tree.map(jnp.asarray, position)
    return EllipticalSliceState(position, loglikelihood_fn(position))
