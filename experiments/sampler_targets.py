"""Two densities in the plane with known answers: a bent ridge, and modes far apart."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from mnar_ebm import samplers
from mnar_ebm.samplers import SamplingAlgorithm

CURVATURE = 0.03
RADIUS, SIGMA, LOG_Z = 4.0, 0.3, 1.234567
WEIGHTS = np.array([1, 2, 1, 3, 1, 2, 1, 1]) / 12
_ANGLES = np.arange(8) * np.pi / 4
MODES = RADIUS * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class Target(NamedTuple):
    """A density p = p_0 w / Z on the plane, with all that any sampler asks for.

    Attributes:
        name: for titles.
        logdensity_fn: log p_0 + log w, of one position [2]. []
        base_logdensity_fn: log p_0 = log N(0, scale² I). []
        log_z: log Z.
        scale: the standard deviation of the base.
        stiffness: the largest curvature of -log p near its modes, λ; step sizes are shares of 1/λ.
        sample_fn: ``key -> x``, an exact draw. [2]
        updates: of the Gibbs sampler.
        to_blocks: ``x -> position`` of the Gibbs sampler.
        from_blocks: ``position -> x``.
        limits: of the axes, ((left, right), (bottom, top)).
    """

    name: str
    logdensity_fn: Callable[[jax.Array], jax.Array]
    log_z: float
    scale: float
    stiffness: float
    sample_fn: Callable[[jax.Array], jax.Array]
    updates: Mapping[str, Callable[..., jax.Array]]
    to_blocks: Callable[[jax.Array], dict[str, jax.Array]]
    from_blocks: Callable[[dict[str, jax.Array]], jax.Array]
    limits: tuple[tuple[float, float], tuple[float, float]]

    def base_logdensity_fn(self, x: jax.Array) -> jax.Array:
        """Return log N(x; 0, scale² I). []."""
        return norm.logpdf(x, 0, self.scale).sum()

    def log_weight_fn(self, x: jax.Array) -> jax.Array:
        """Return log w, the density over the base. []."""
        return self.logdensity_fn(x) - self.base_logdensity_fn(x)

    def base_sample_fn(self, key: jax.Array) -> jax.Array:
        """Return a draw of the base. [2]."""
        return self.scale * jax.random.normal(key, (2,))

    def kernel(
        self, logdensity_fn: Callable, inverse_temperature: float = 1.0
    ) -> SamplingAlgorithm:
        """Build MALA with a step that fits a temperature between target and base."""
        precision = inverse_temperature * self.stiffness
        precision += (1 - inverse_temperature) / self.scale**2
        return samplers.mala(logdensity_fn, 0.4 / precision)


def banana() -> Target:
    """Return x ~ N(0, 10²), y given x ~ N(c (x² - 100), 1): standard deviations 10 and √19."""

    def bend(x: jax.Array) -> jax.Array:
        return CURVATURE * (x**2 - 100)

    def logdensity_fn(x: jax.Array) -> jax.Array:
        return norm.logpdf(x[0], 0, 10) + norm.logpdf(x[1], bend(x[0]), 1)

    def sample_fn(key: jax.Array) -> jax.Array:
        noise = jax.random.normal(key, (2,))
        return jnp.stack([10 * noise[0], bend(10 * noise[0]) + noise[1]])

    def from_blocks(position: dict[str, jax.Array]) -> jax.Array:
        return jnp.stack([position["x"], position["y"]])

    updates = {
        "x": samplers.kernel_update(
            lambda fn: samplers.mala(fn, 1.0), lambda p: logdensity_fn(from_blocks(p)), "x"
        ),
        "y": lambda key, p: bend(p["x"]) + jax.random.normal(key),
    }
    return Target(
        "banana",
        logdensity_fn,
        log_z=0.0,
        scale=10.0,
        stiffness=1.0,
        sample_fn=sample_fn,
        updates=updates,
        to_blocks=lambda x: {"x": x[0], "y": x[1]},
        from_blocks=from_blocks,
        limits=((-32, 32), (-11, 27)),
    )


def eight_gaussians() -> Target:
    """Return eight Gaussians of unequal weights on a circle, times e^1.234567.

    The modes are ten standard deviations apart; Gibbs draws the label of a mode, then x given it.
    """

    def log_terms(x: jax.Array) -> jax.Array:
        return jnp.log(WEIGHTS) + norm.logpdf(x, MODES, SIGMA).sum(axis=-1)

    def logdensity_fn(x: jax.Array) -> jax.Array:
        return LOG_Z + jax.nn.logsumexp(log_terms(x))

    def around(key: jax.Array, label: jax.Array) -> jax.Array:
        return jnp.asarray(MODES)[label] + SIGMA * jax.random.normal(key, (2,))

    def sample_fn(key: jax.Array) -> jax.Array:
        key_label, key_noise = jax.random.split(key)
        return around(key_noise, jax.random.categorical(key_label, jnp.log(WEIGHTS)))

    return Target(
        "eight Gaussians",
        logdensity_fn,
        log_z=LOG_Z,
        scale=3.0,
        stiffness=1 / SIGMA**2,
        sample_fn=sample_fn,
        updates={
            "label": lambda key, p: jax.random.categorical(key, log_terms(p["x"])),
            "x": lambda key, p: around(key, p["label"]),
        },
        to_blocks=lambda x: {"x": x, "label": jnp.zeros((), int)},
        from_blocks=lambda position: position["x"],
        limits=((-5.6, 5.6), (-5.6, 5.6)),
    )
