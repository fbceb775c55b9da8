r"""A conjugate energy: latents that are summed out exactly, with an exact posterior.

With a prior of natural parameters \eta on statistics (z, z²) of each latent, and statistics
t(x) = (t_1, -t_2²) of an example that a network makes,

    p(x, z) = p_0(x) p(z) exp(\sum_l t_1 z_l - t_2² z_l²) / Z,    so    p(z|x) has \eta + t(x)
    E(x) = -log \int p(z) exp(<t(x), (z, z²)>) dz = A(\eta) - A(\eta + t(x))

A the log-partition function, of N(m, s²) with \eta = (m/s², -1/2s²)

    A(\eta) = -\eta_1²/4\eta_2 - log(-2\eta_2)/2                    (less log(2 pi)/2)

A mixture prior has E(x) = -log \sum_k \pi_k exp(A(\eta_k + t) - A(\eta_k)), the sum over latents
within, and as its posterior a mixture with these terms as weights. So an energy-based model has an
encoder without a decoder, and nothing of it is approximate but the negative phase.

References:
    H. Wu, B. Esmaeili, M. Wick, J.-B. Tristan, J.-W. van de Meent, "Conjugate Energy-Based Models",
    ICML 2021, https://arxiv.org/abs/2106.13798, eq. 5-9.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.models.ebm import EBM, Reference
from mnar_ebm.programs import once
from mnar_ebm.types import Array, Key, PyTree


class Mixture(NamedTuple):
    """Independent normals of the latents, in each of K components.

    Attributes:
        log_weights: [K]
        mean: [K, L]
        scale: standard deviations. [K, L]
    """

    log_weights: Array
    mean: Array
    scale: Array

    def sample(self, key: Key) -> Array:
        """Return a draw. [L]."""
        key_component, key_noise = jax.random.split(key)
        component = jax.random.categorical(key_component, self.log_weights)
        noise = jax.random.normal(key_noise, self.mean.shape[1:], self.mean.dtype)
        return self.mean[component] + self.scale[component] * noise


class ConjugateEBM(NamedTuple):
    """The model of x, and what it says of z.

    Attributes:
        ebm: the density of x; every objective of ``recipes.ebm`` fits it.
        prior: ``(params) -> Mixture``, what E is made with; p(z) itself is weighed by x, too.
        posterior: ``(params, x) -> Mixture``, p(z|x), exactly; params as of ``ebm.energy``.
    """

    ebm: EBM
    prior: Callable[[PyTree], Mixture]
    posterior: Callable[[PyTree, Array], Mixture]


@once
def conjugate_ebm(
    init: Callable[[Key], PyTree],
    statistics: Callable[[PyTree, Array], Array],
    reference: Reference,
    latent_dim: int,
    num_components: int = 1,
    bound: float = 10.0,
) -> ConjugateEBM:
    r"""Return the model whose statistics a network makes.

    |t_1| <= bound keeps E above -L bound²/2 and a constant of the prior, and so Z finite.

    Args:
        init: ``(key) -> params`` of the network.
        statistics: ``(params, x) -> [2L]``, t_1 before it is bounded, and t_2.
        reference: p_0.
        latent_dim: L.
        num_components: K of the prior: 1, N(0, I) and nothing to learn; or more, which are learned.
        bound: largest size of t_1.

    Returns:
        The model; always the same one for equal arguments, so that jit knows it.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1, or the bound not positive.
    """
    _checks.check_whole("latent_dim", latent_dim, 1)
    _checks.check_whole("num_components", num_components, 1)
    _checks.check_positive("bound", bound)
    shape = (num_components, latent_dim)

    def init_all(key: Key) -> PyTree:
        key_network, key_prior = jax.random.split(key)
        made = {"network": init(key_network)}
        if num_components > 1:
            made["prior"] = {
                "logits": jnp.zeros(num_components),
                "mean": jax.random.normal(key_prior, shape),
                "log_scale": jnp.zeros(shape),
            }
        return made

    def prior(params: PyTree) -> Mixture:
        if num_components == 1:
            return Mixture(jnp.zeros(1), jnp.zeros(shape), jnp.ones(shape))
        own = params["prior"]
        return Mixture(jax.nn.log_softmax(own["logits"]), own["mean"], jnp.exp(own["log_scale"]))

    def weigh(params: PyTree, x: Array) -> tuple[Array, Mixture]:
        """Return -E(x) and p(z|x)."""
        raw, root = jnp.split(statistics(params["network"], x), 2)
        linear, square = bound * jnp.tanh(raw / bound), -(root**2)
        before = prior(params)
        first, second = before.mean / before.scale**2, -0.5 / before.scale**2
        gain = log_partition(first + linear, second + square) - log_partition(first, second)
        log_joint = before.log_weights + gain.sum(axis=-1)
        variance = -0.5 / (second + square)
        after = Mixture(
            jax.nn.log_softmax(log_joint), (first + linear) * variance, jnp.sqrt(variance)
        )
        return jax.nn.logsumexp(log_joint), after

    def energy(params: PyTree, x: Array) -> Array:
        return -weigh(params, x)[0]

    ebm = EBM(init_all, energy, reference.log_prob, reference.sample)
    return ConjugateEBM(ebm, prior, lambda params, x: weigh(params, x)[1])


def log_partition(first: Array, second: Array) -> Array:
    r"""Return A(\eta) = -\eta_1²/4\eta_2 - log(-2\eta_2)/2, elementwise. [...]."""
    return -(first**2) / (4.0 * second) - 0.5 * jnp.log(-2.0 * second)
