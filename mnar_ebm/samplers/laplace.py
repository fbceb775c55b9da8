r"""The Gaussian at the mode of a log-density: Newton's steps, and draws with their density.

With A = -\nabla² log p(m) at the mode m and its Cholesky factor A = C Cᵀ,

    x = m + a C⁻ᵀ e,   e ~ N(0, I),      log q(x) = log N(e; 0, I) + log|C| - L log a

where log p is concave a few steps find the mode, and the draws are nearly those of p. Where it is
not, a step that is no ascent of the quadratic is replaced by one of the prior curvature, I.

References:
    L. Tierney, J. B. Kadane, "Accurate Approximations for Posterior Moments and Marginal
    Densities", JASA 81, 1986, sec. 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array

MAX_STEP = 3.0
"""Longest step, so that a far start does not overshoot."""


class Laplace(NamedTuple):
    """A Gaussian by its mode and the Cholesky factor of its precision.

    Attributes:
        mode: m. [L]
        cholesky: C, lower triangular. [L, L]
    """

    mode: Array
    cholesky: Array

    def draw(self, noise: Array, widen: float = 1.0) -> tuple[Array, Array]:
        """Return draws [K, L] and log q of each [K].

        Args:
            noise: standard normal. [K, L]
            widen: a; a little above 1 keeps the weights p/q bounded where p has the heavier tail.
        """
        steps = jax.scipy.linalg.solve_triangular(self.cholesky, noise.T, lower=True, trans=1)
        log_q = -0.5 * (noise**2).sum(axis=-1) - 0.5 * noise.shape[-1] * jnp.log(2.0 * jnp.pi)
        log_q += jnp.log(jnp.diag(self.cholesky)).sum() - noise.shape[-1] * jnp.log(widen)
        return self.mode + widen * steps.T, log_q


def laplace(
    logdensity_fn: Callable[[Array], Array], position: Array, num_steps: int = 8
) -> Laplace:
    """Return the Gaussian at the mode that Newton's steps lead to.

    Its curvature is that where the last step started, at the mode if the steps have converged.

    Args:
        logdensity_fn: log p, up to a constant; twice differentiable. [L] -> []
        position: where they start. [L]
        num_steps: steps.

    Examples:
        >>> import jax.numpy as jnp
        >>> from mnar_ebm.samplers import laplace
        >>> fitted = laplace(lambda x: -2.0 * ((x - 1.0) ** 2).sum(), jnp.zeros(2))
        >>> bool(jnp.allclose(fitted.mode, 1.0)), bool(jnp.allclose(fitted.cholesky[0, 0], 2.0))
        (True, True)
    """
    size = position.shape[-1]

    def derivatives(x: Array) -> tuple[Array, Array]:
        gradient, along = jax.linearize(jax.grad(logdensity_fn), x)
        return gradient, -jax.vmap(along)(jnp.eye(size))

    return newton(derivatives, position, num_steps)


def newton(
    derivatives: Callable[[Array], tuple[Array, Array]], position: Array, num_steps: int
) -> Laplace:
    """Return what ``laplace`` does, of derivatives that are told.

    Args:
        derivatives: gradient of log p [L] and minus its second derivatives, or what stands in for
            them [L, L], at a position. [L]
        position: where the steps start. [L]
        num_steps: steps.
    """
    size = position.shape[-1]

    def step(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x = carry[0]
        gradient, curvature = derivatives(x)
        ridge = 1e-5 * jnp.trace(jnp.abs(curvature)) / size + 1e-6
        lower = jnp.linalg.cholesky(curvature + ridge * jnp.eye(size), symmetrize_input=True)
        lower = jnp.where(jnp.isfinite(lower).all(), lower, jnp.eye(size))
        move = jax.scipy.linalg.cho_solve((lower, True), gradient)
        length = jnp.sqrt((move**2).sum() + 1e-12)
        move = move * jnp.minimum(1.0, MAX_STEP / length)
        return x + jnp.where(jnp.isfinite(move), move, 0.0), lower

    return Laplace(*jax.lax.fori_loop(0, num_steps, step, (position, jnp.eye(size))))
