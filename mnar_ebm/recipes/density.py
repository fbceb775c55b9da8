r"""What one does with an energy-based model: ratios, log-densities, thresholds, draws, gaps filled.

    log p(x) - log p(y)      needs no log Z                          ``models.ebm.log_ratio``
    log p(x)                 log Z by quadrature up to two dimensions, by a bracket beyond
    is x like the data?      a threshold with a rate of false alarms that is guaranteed
    x ~ p                    a crowd of particles from the reference
    x_mis ~ p(x_mis|x_obs)   chains on the missing block alone

A bracket has the estimate of annealed paths from the reference, which is below log Z in
expectation, and of paths back from draws of the model, which is above **if the draws are its own**:
from chains that have not crossed between modes both sides may be low, and agree.

References:
    R. Grosse, Z. Ghahramani, R. Adams, "Sandwiching the Marginal Likelihood Using Bidirectional
    Monte Carlo", 2015, https://arxiv.org/abs/1511.02543.
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005, prop. 2.4.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mnar_ebm import _checks
from mnar_ebm.models.ebm import EBM, log_unnormalised
from mnar_ebm.programs import once
from mnar_ebm.samplers import (
    adjusted_langevin,
    ais,
    effective_sample_size,
    mala,
    reverse_ais,
    sir,
    smc,
)
from mnar_ebm.samplers.annealed import AnnealedEstimate, Bracket
from mnar_ebm.samplers.base import LogDensityFn
from mnar_ebm.samplers.smc import SMCEstimate
from mnar_ebm.types import Array, Key, PyTree

NUM_CANDIDATES = 1000
"""Draws of the reference from which the chains of a row's gaps choose where to start."""


class Threshold(NamedTuple):
    """What is rarer than most of the data: a row whose score is *below* ``value``.

    Attributes:
        value: a score of a row of calibration.
        rate: chance that a new row of the same law falls below, at most. With continuous scores it
            is this on average over calibrations; of one of n rows it has the law
            Beta(k, n + 1 - k), k = rate (n + 1).
    """

    value: float
    rate: float


class Inpainted(NamedTuple):
    """A row with its gaps filled.

    Attributes:
        draws: observed cells as they came. [C, D]
        acceptance_rate: of the chains. []
        ess_share: effective share of the candidates that the chains started from; near 0, modes
            may be missing or of the wrong weight. []
    """

    draws: Array
    acceptance_rate: Array
    ess_share: Array


def quadrature_log_z(
    logdensity_fn: LogDensityFn, low: float, high: float, num_features: int, num_points: int = 300
) -> Array:
    """Return log of the integral of exp(logdensity_fn) over [low, high]^D, by midpoints. [].

    Args:
        logdensity_fn: log p + log Z of one example [D].
        low: of each coordinate; what is outside is not counted.
        high: of each coordinate.
        num_features: D.
        num_points: cells in each dimension, a few within the finest detail of the density.

    Raises:
        ValueError: D is not 1 or 2.
    """
    if num_features not in (1, 2):
        raise ValueError(
            f"quadrature: expected 1 or 2 dimensions, got {num_features}: use a bracket"
        )
    step = (high - low) / num_points
    axis = low + step * (jnp.arange(num_points) + 0.5)
    points = jnp.stack(jnp.meshgrid(*[axis] * num_features), axis=-1).reshape(-1, num_features)
    values = jax.lax.map(logdensity_fn, points, batch_size=4096)
    return jax.nn.logsumexp(values) + num_features * jnp.log(step)


def bracket(
    key: Key,
    ebm: EBM,
    params: Any,
    target_draws: Array,
    num_temperatures: int = 200,
    step_size: float = 0.1,
    num_steps: int = 1,
) -> Bracket[AnnealedEstimate]:
    """Return log Z from below and from above, by as many paths each as there are draws.

    Args:
        key: random key.
        ebm: the model.
        params: its parameters.
        target_draws: of the model: exact ones, or of long chains, which is then to be said.
            [N, ...]
        num_temperatures: of the paths.
        step_size: of MALA along them; ``acceptance_rate`` of a side tells whether it is too long.
        num_steps: of MALA at each.
    """
    key_up, key_down = jax.random.split(key)
    log_weight_fn = functools.partial(_log_weight, ebm, params)
    common = ebm.log_reference, log_weight_fn, functools.partial(mala, step_size=step_size)
    betas = jnp.linspace(0.0, 1.0, num_temperatures + 1)
    num_paths = target_draws.shape[0]
    return Bracket(
        ais(key_up, ebm.sample_reference, *common, betas, num_paths, num_steps),
        reverse_ais(key_down, target_draws, *common, betas, num_steps),
    )


def sample(
    key: Key,
    ebm: EBM,
    params: Any,
    num_samples: int,
    step_size: float = 0.05,
    num_steps: int = 10,
) -> SMCEstimate:
    """Return draws, equally weighted, by sequential Monte Carlo from the reference, and log Z.

    Modes have the weight that they are to have, as far as the particles are enough; chains of any
    length from one start do not see to that.
    """
    log_weight_fn = functools.partial(_log_weight, ebm, params)
    build = functools.partial(mala, step_size=step_size)
    base = ebm.sample_reference, ebm.log_reference
    return smc(key, *base, log_weight_fn, build, num_samples, num_steps)


def score_samples(ebm: EBM, params: Any, rows: Array, log_z: Array | float) -> Array:
    """Return log p of rows, in nats, for a log Z that was computed or estimated.

    With the upper side of a bracket it is too low in expectation, with the lower side too high.

    Args:
        ebm: the model.
        params: its parameters.
        rows: examples. [N, ...]
        log_z: log Z.

    Returns:
        log p. [N]
    """
    return jax.vmap(functools.partial(log_unnormalised, ebm, params))(rows) - log_z


def fit_threshold(scores: Any, false_positive_rate: float) -> Threshold:
    """Return the threshold below which a new row of the law of the scores seldom falls.

    It is the k-th smallest of n scores of rows that trained nothing, k = ⌊α (n + 1)⌋: that a new
    row is below has probability at most k / (n + 1) <= α, whatever the model and its law, if the
    rows are exchangeable with it. Any score will do, and log Z does not matter.

    Args:
        scores: of rows held out, the higher the more like the data. [N]
        false_positive_rate: α.

    Raises:
        ValueError: a score is not finite, α is not between 0 and 1, or the rows are too few for it.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"scores: expected finite numbers of rows, got shape {scores.shape}")
    if not 0 < false_positive_rate < 1:
        raise ValueError(
            f"false_positive_rate: expected a value between 0 and 1, got {false_positive_rate}"
        )
    rank = int(np.floor(false_positive_rate * (len(scores) + 1) * (1 + 1e-12)))
    if rank < 1:
        needed = int(np.ceil(1 / false_positive_rate - 1))
        raise ValueError(f"scores: expected at least {needed} for this rate, got {len(scores)}")
    return Threshold(float(np.sort(scores)[rank - 1]), rank / (len(scores) + 1))


def inpaint(
    key: Key,
    ebm: EBM,
    params: Any,
    x: Array,
    mask: Array,
    num_draws: int = 100,
    num_steps: int = 500,
) -> Inpainted:
    """Draw the missing block of a row, by a Metropolis-adjusted chain for each draw.

    The chains start at candidates, draws of the reference beside what was observed, chosen with
    probability proportional to exp(-E): so modes have about their weights before a chain moves.

    Args:
        key: random key.
        ebm: the model.
        params: its parameters.
        x: a row; what a missing cell holds is not read. [D]
        mask: ``True`` where observed. [D]
        num_draws: C.
        num_steps: steps in which the step size adapts, and as many again before the draw.

    Raises:
        ValueError: the mask has another shape than the row, or a size is below 1.
    """
    if jnp.shape(mask) != jnp.shape(x):
        raise ValueError(f"mask: expected shape {jnp.shape(x)}, got {jnp.shape(mask)}")
    _checks.check_whole("num_draws", num_draws, 1)
    _checks.check_whole("num_steps", num_steps, 1)
    key_fresh, key_start, key_chain = jax.random.split(key, 3)
    x = jnp.where(mask, x, 0.0)
    fresh = jax.vmap(ebm.sample_reference)(jax.random.split(key_fresh, NUM_CANDIDATES))
    log_w = -jax.vmap(ebm.energy, (None, 0))(params.energy, jnp.where(mask, x, fresh))
    start = fresh[sir(key_start, log_w, num_draws, "systematic")]
    logdensity_fn = Partial(_clamped(ebm), params, x, mask)
    chains = adjusted_langevin(
        key_chain, logdensity_fn, start, 1, num_adaptation_steps=num_steps, thin=num_steps
    )
    return Inpainted(
        jnp.where(mask, x, chains.draws[:, 0]),
        chains.info.acceptance_rate.mean(),
        effective_sample_size(log_w) / NUM_CANDIDATES,
    )


@once
def _clamped(ebm: EBM) -> Callable[[PyTree, Array, Array, Array], Array]:
    """Return the log-density of a row's missing block; the rest is drawn from N(0, 1), unread.

    Without a law of their own the coordinates that are not read would wander off.
    """

    def logdensity(params: Any, x: Array, mask: Array, position: Array) -> Array:
        unread = jnp.where(mask, position, 0.0)
        row = jnp.where(mask, x, position)
        return log_unnormalised(ebm, params, row) - 0.5 * jnp.vdot(unread, unread)

    return logdensity


def _log_weight(ebm: EBM, params: Any, x: Array) -> Array:
    return -ebm.energy(params.energy, x)
