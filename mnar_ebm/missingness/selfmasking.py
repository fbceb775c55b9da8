r"""Self-masking: whether a value is missing depends on that value.

    P(missing_d|x) = F(w_d x_d + c_d sqrt(1 + w_d²)),     F = \Phi (probit) or sigmoid (logistic)

written so that both ends are well conditioned: at w = 0 the missing rate is F(c), and as w grows
the cut-off is at b = -c sqrt(1 + w²)/w -> -c. Under x ~ N(0, 1) the probit's missing rate is
\Phi(c) for *every* w, so c starts at the rate seen. w = sinh(a) is linear near 0 and exponential
far out, and so reaches steep mechanisms in few steps.

Three pairs of likelihood and link integrate the missing value out in closed form:

* Bernoulli with either link, a sum over x in {0, 1};
* N(\mu, \sigma²) with the probit. With w(x - b) in place of the linear function above,
  s = sqrt(1 + w²\sigma²), t = w(\mu - b)/s and \rho = w\sigma/s,

      P(missing|z) = \Phi(t),      E[x|missing, z] = \mu + \sigma \rho \phi(t)/\Phi(t),

  and x|missing, z is the extended skew normal \mu + \sigma(\rho v + \xi/s), v ~ N(0, 1)
  truncated to v > -t, \xi ~ N(0, 1);
* the two-part likelihood with the probit, the sum over its atom at 0 and its Gaussian,

      P(missing|z) = \pi \Phi(c sqrt(1 + w²)) + (1 - \pi) \Phi(t).

References:
    B. C. Arnold, R. J. Beaver, "Skewed multivariate models related to hidden truncation and/or
    selective reporting", Test 11, 2002, sec. 3.
    N. B. Ipsen, P.-A. Mattei, J. Frellsen, "not-MIWAE", ICLR 2021, sec. 3 (self-masking).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm.likelihoods import Likelihood
from mnar_ebm.missingness import base
from mnar_ebm.missingness.base import Shift
from mnar_ebm.numerics import logistic, normal
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree


class _Link(NamedTuple):
    """log F with F(-t) = 1 - F(t), and a quantile function for the first guess of c."""

    log_cdf: Callable[[Array], Array]
    quantile: Callable[[Array], Array]


_LINKS = {
    "probit": _Link(normal.log_cdf, jax.scipy.special.ndtri),
    "logistic": _Link(logistic.log_cdf, jax.scipy.special.logit),
}


def slope(params: PyTree, sign: str) -> Array:
    """Return w. [D]: any sign if it is ``unknown``, above 0 if ``high`` values go missing."""
    if sign == "unknown":
        return jnp.sinh(params["slope"])
    steepness = jnp.sinh(logistic.softplus(params["slope"]))
    return steepness if sign == "high" else -steepness


def intercept(params: PyTree, sign: str, shift: Shift = 0.0) -> Array:
    """Return (c + h) sqrt(1 + w²), with h a shift of the probit. [D]."""
    return (params["rate"] + shift) * jnp.sqrt(1.0 + slope(params, sign) ** 2)


def self_masking(
    likelihood: Likelihood, link: str, sign: str = "unknown", own: Sequence[bool] = ()
) -> base.Mechanism:
    """Return the self-masking mechanism, collapsed where a closed form exists, else sampled.

    Args:
        likelihood: p(x|z).
        link: ``probit`` or ``logistic``.
        sign: ``high`` or ``low`` if it is known which values go missing, else ``unknown``.
        own: whether a column may hide itself; the slopes of others stay 0. Empty: all may. [D]

    Raises:
        ValueError: link or sign is unknown, or a sign is told and some columns hide nothing.
    """
    _checks.check_choice("link", link, _LINKS)
    _checks.check_choice("sign", sign, ("unknown", "high", "low"))
    log_cdf, quantile = _LINKS[link]

    is_own = np.asarray(own or True)
    if sign != "unknown" and not is_own.all():
        raise ValueError(f"sign: expected unknown where some columns hide nothing, got {sign!r}")

    def hold(params: PyTree) -> PyTree:
        """Return the parameters with no gradient in slopes that are to stay 0."""
        slope = params["slope"]
        return params | {"slope": jnp.where(is_own, slope, jax.lax.stop_gradient(slope))}

    def init(key: Key, missing_rate: Array, slope: Array | float = 0.0) -> PyTree:
        start = jnp.arcsinh(slope) * is_own if sign == "unknown" else 0.0
        start = jnp.broadcast_to(start, missing_rate.shape).astype(missing_rate.dtype)
        return {"slope": start, "rate": quantile(missing_rate)}

    def linear(params: PyTree, x: Array, shift: Shift = 0.0) -> Array:
        return slope(params, sign) * x + intercept(params, sign, shift)

    def sample(key: Key, params: PyTree, x: Array, shift: Shift = 0.0) -> Array:
        return ~jax.random.bernoulli(key, jnp.exp(log_cdf(linear(params, x, shift))))

    def log_prob(params: PyTree, x: Array, mask: Array, shift: Shift = 0.0) -> Array:
        return base.mask_log_prob(log_cdf, linear(params, x, shift), mask)

    if link == "probit" and likelihood.name == "two_part":
        mechanism = _collapsed_two_part(init, sample, log_prob, sign, likelihood)
    elif likelihood.name == "bernoulli":
        mechanism = _collapsed_bernoulli(init, sample, log_prob, linear, log_cdf)
    elif link == "probit" and likelihood.name == "gaussian":
        mechanism = _collapsed_gaussian(init, sample, log_prob, sign)
    else:
        mechanism = base.sampled(likelihood, init, sample, log_prob)
    return mechanism if is_own.all() else base.with_params(mechanism, hold)


class _Selection(NamedTuple):
    """What decides whether N(mu, sigma²) is missing; see the module's equations. [K, D]."""

    t: Array
    rho: Array
    s: Array


def select(eta: DecoderOutput, w: Array, c: Array) -> _Selection:
    r"""Return t, rho and s for x ~ N(loc, scale²) and P(missing|x) = \Phi(w x + c)."""
    s = jnp.sqrt(1.0 + (w * eta.scale) ** 2)
    return _Selection(t=(w * eta.loc + c) / s, rho=w * eta.scale / s, s=s)


def missing_mean(eta: DecoderOutput, selection: _Selection) -> Array:
    r"""Return E[x|missing, z] = \mu + \sigma \rho \phi(t)/\Phi(t). [K, D]."""
    return eta.loc + eta.scale * selection.rho * normal.hazard(selection.t)


def missing_sample(key: Key, eta: DecoderOutput, selection: _Selection) -> Array:
    """Draw from x|missing, z, an extended skew normal. [K, D]."""
    key_truncated, key_normal = jax.random.split(key)
    shape = jnp.broadcast_shapes(eta.loc.shape, selection.t.shape)
    v = normal.sample_above(key_truncated, -selection.t, shape)
    xi = jax.random.normal(key_normal, shape, v.dtype)
    return eta.loc + eta.scale * (selection.rho * v + xi / selection.s)


def _collapsed_gaussian(init: Any, sample: Any, log_prob: Any, sign: str) -> base.Mechanism:
    def selection_of(params: PyTree, eta: DecoderOutput, shift: Shift) -> _Selection:
        return select(eta, slope(params, sign), intercept(params, sign, shift))

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> tuple[Array, Array]:
        selection = selection_of(params, eta, shift)
        observed = slope(params, sign) * jnp.where(mask, x, 0.0) + intercept(params, sign, shift)
        t = jnp.where(mask, observed, selection.t)
        log_m = base.mask_log_prob(normal.log_cdf, t, mask)
        return jnp.where(mask, x, missing_sample(key, eta, selection)), log_m

    def mean(
        params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> Array:
        return jnp.where(mask, x, missing_mean(eta, selection_of(params, eta, shift)))

    return base.Mechanism(init, sample, log_prob, complete, mean)


def _collapsed_two_part(
    init: Any, sample: Any, log_prob: Any, sign: str, likelihood: Likelihood
) -> base.Mechanism:
    has_atom = np.array(likelihood.atom_side) != 0
    gaussian = _collapsed_gaussian(init, sample, log_prob, sign)

    def log_parts(params: PyTree, eta: DecoderOutput, shift: Shift) -> tuple[Array, Array]:
        """Return log P(x = 0, missing|z) and log P(x != 0, missing|z). [K, D] each."""
        c = intercept(params, sign, shift)
        beside = normal.log_cdf(select(eta, slope(params, sign), c).t)
        log_atom = logistic.log_cdf(eta.atom) + normal.log_cdf(c)
        log_beside = jnp.where(has_atom, logistic.log_cdf(-eta.atom), 0.0) + beside
        return log_atom, log_beside

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> tuple[Array, Array]:
        key_choice, key_value = jax.random.split(key)
        log_atom, log_beside = log_parts(params, eta, shift)
        at_atom = has_atom & jax.random.bernoulli(key_choice, jax.nn.sigmoid(log_atom - log_beside))
        beside, _ = gaussian.complete(key_value, params, eta, x, mask, shift)
        completed = jnp.where(mask, x, jnp.where(at_atom, 0.0, beside))
        missing = jnp.where(has_atom, jnp.logaddexp(log_atom, log_beside), log_beside)
        w, c = slope(params, sign), intercept(params, sign, shift)
        observed = normal.log_cdf(-(w * jnp.where(mask, x, 0.0) + c))
        return completed, jnp.where(mask, observed, missing).sum(axis=-1)

    def mean(
        params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> Array:
        log_atom, log_beside = log_parts(params, eta, shift)
        probability = jnp.where(has_atom, jax.nn.sigmoid(log_atom - log_beside), 0.0)
        beside = gaussian.mean(params, eta, x, mask, shift)  # type: ignore[misc]
        return jnp.where(mask, x, (1.0 - probability) * beside)

    return base.Mechanism(init, sample, log_prob, complete, mean)


def _collapsed_bernoulli(
    init: Any, sample: Any, log_prob: Any, linear: Any, log_cdf: Callable[[Array], Array]
) -> base.Mechanism:
    def log_joint(params: PyTree, eta: DecoderOutput, shift: Shift) -> tuple[Array, Array]:
        """Return log P(x = 1, missing|z) and log P(x = 0, missing|z). [K, D] each."""
        one, zero = jnp.ones_like(eta.loc), jnp.zeros_like(eta.loc)
        log_one = logistic.log_cdf(eta.loc) + log_cdf(linear(params, one, shift))
        log_zero = logistic.log_cdf(-eta.loc) + log_cdf(linear(params, zero, shift))
        return log_one, log_zero

    def complete(
        key: Key, params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> tuple[Array, Array]:
        log_one, log_zero = log_joint(params, eta, shift)
        draw = jax.random.bernoulli(key, jax.nn.sigmoid(log_one - log_zero)).astype(eta.loc.dtype)
        observed = log_cdf(-linear(params, jnp.where(mask, x, 0.0), shift))
        log_m = jnp.where(mask, observed, jnp.logaddexp(log_one, log_zero)).sum(axis=-1)
        return jnp.where(mask, x, draw), log_m

    def mean(
        params: PyTree, eta: DecoderOutput, x: Array, mask: Array, shift: Shift = 0.0
    ) -> Array:
        log_one, log_zero = log_joint(params, eta, shift)
        return jnp.where(mask, x, jax.nn.sigmoid(log_one - log_zero))

    return base.Mechanism(init, sample, log_prob, complete, mean)
