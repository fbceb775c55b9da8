r"""The standard normal in its tails: what a probit mechanism needs, stable in float32.

With \phi and \Phi the standard normal density and distribution function, far in the lower tail
\Phi underflows and quotients such as \phi / \Phi lose every digit. Below ``_TAIL`` everything is
therefore written through the Mills ratio of the upper tail,

    R(x) = \Phi(-x) / \phi(x) = 1 / (x + 1 / (x + 2 / (x + 3 / (x + ...)))),   x > 0,

whose continued fraction, cut off, holds there to the last bit of the dtype.

References:
    M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 1964, eq. 26.2.14.
"""

import jax
import jax.numpy as jnp
from jax.scipy import special

from mnar_ebm.numerics.uniform import positive_uniform
from mnar_ebm.types import Array, Key

_TAIL = -4.0
_MILLS_TERMS = {"float64": 20}
_FEW_MILLS_TERMS = 9  # to the last bit of a float32
_NEWTON_STEPS = 2
_HALF_LOG_2PI = 0.9189385332046727


def _mills_excess(x: Array) -> Array:
    """Return 1/R(x) - x > 0 for x >= 4 by its continued fraction, without cancellation."""
    num_terms = _MILLS_TERMS.get(x.dtype.name, _FEW_MILLS_TERMS)
    tail = x
    for term in range(num_terms, 1, -1):
        tail = x + term / tail
    return 1.0 / tail


def _mills_ratio(x: Array) -> Array:
    """Return R(x) for x >= 4."""
    return 1.0 / (x + _mills_excess(x))


def _outer(x: Array) -> Array:
    r"""Return \Phi(-\|x\|)."""
    return 0.5 * jax.lax.erfc(jnp.abs(x) * 0.7071067811865476)


def log_density(x: Array) -> Array:
    r"""Return log \phi(x), elementwise. [...]."""
    return -0.5 * x**2 - _HALF_LOG_2PI


@jax.custom_jvp
def log_cdf(x: Array) -> Array:
    r"""Return log \Phi(x), elementwise; value and gradient hold for \|x\| up to 1e18 in float32.

    ``jax.scipy.special.log_ndtr`` has the value, but its gradient is the exponential of a
    difference of two numbers near x²/2, which is noise for x below -1e3.

    Args:
        x: any array. [...]

    Returns:
        log \Phi(x). [...]
    """
    in_tail = x < _TAIL
    far = jnp.where(in_tail, x, _TAIL)
    outer = _outer(jnp.where(in_tail, _TAIL, x))
    bulk = jnp.where(x > 0, jnp.log1p(-outer), jnp.log(outer))
    return jnp.where(in_tail, log_density(far) + jnp.log(_mills_ratio(-far)), bulk)


@log_cdf.defjvp
def _log_cdf_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (x,), (x_dot,) = primals, tangents
    return log_cdf(x), hazard(x) * x_dot


@jax.custom_jvp
def hazard(x: Array) -> Array:
    r"""Return \phi(x) / \Phi(x), the inverse Mills ratio, elementwise.

    It is the derivative of log \Phi and the mean of the truncation of N(0, 1) to values above -x.

    Args:
        x: any array. [...]

    Returns:
        \phi(x) / \Phi(x), about -x in the lower tail. [...]
    """
    in_tail = x < _TAIL
    far = jnp.where(in_tail, x, _TAIL)
    near = jnp.where(in_tail, _TAIL, x)
    outer = _outer(near)
    bulk = jnp.exp(log_density(near)) / jnp.where(x > 0, 1.0 - outer, outer)
    return jnp.where(in_tail, _mills_excess(-far) - far, bulk)


@hazard.defjvp
def _hazard_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (x,), (x_dot,) = primals, tangents
    value = hazard(x)
    excess = jnp.where(x < _TAIL, _mills_excess(-jnp.minimum(x, _TAIL)), x + value)
    return value, -value * excess * x_dot


def sample_above(key: Key, lower: Array, shape: tuple[int, ...]) -> Array:
    r"""Draw from N(0, 1) truncated to values above ``lower``, differentiable in ``lower``.

    The draw solves log \Phi(-y) = log u + log \Phi(-lower) with u uniform: by the quantile
    function in the bulk, by Newton's method on the log scale in the tail, where the function is
    concave and nearly quadratic. One last Newton step from a constant gives the exact
    derivative of the draw by the implicit function theorem.

    Args:
        key: random key.
        lower: truncation points, broadcastable to ``shape``. [...]
        shape: shape of the draws.

    Returns:
        Draws, each at or above its truncation point. [*shape]
    """
    dtype = jnp.result_type(lower)
    lower = jnp.broadcast_to(lower, shape)
    target = jnp.log(positive_uniform(key, shape, dtype)) + log_cdf(-lower)  # log \Phi(-y)
    start = jax.lax.stop_gradient(_solve_log_cdf(target))
    draw = -(start - (log_cdf(start) - target) / hazard(start))
    return jnp.maximum(draw, lower)


def _solve_log_cdf(target: Array) -> Array:
    r"""Return x with log \Phi(x) = target < 0, elementwise."""
    eps = jnp.finfo(target.dtype).epsneg
    bulk = special.ndtri(jnp.clip(jnp.exp(target), 1e-30, 1.0 - eps))
    in_tail = target < -11.0
    far = jnp.where(in_tail, target, -11.0)
    x = -jnp.sqrt(-2.0 * far - jnp.log(-2.0 * far) - 2.0 * _HALF_LOG_2PI)
    for _ in range(_NEWTON_STEPS):
        mills = _mills_ratio(-x)
        x = x - (log_density(x) + jnp.log(mills) - far) * mills
    return jnp.where(in_tail, x, bulk)
