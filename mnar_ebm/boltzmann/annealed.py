r"""log Z of a machine that cannot be enumerated, from below and from above.

Along a ladder of machines, from one without weights, whose log Z is a sum over its units, to the
one that is asked for, with parameters that change linearly from rung to rung:

    F_0, F_1, ..., F_T,      log Z_0 = Σ_i A(b_0i) + Σ_j softplus(c_0j),      Z_T = Z

The plain ladder has two rungs, independent units with biases b_0 and the machine, and so is

    f_β(v) = exp((1 - β) b_0·v + β b·v) Π_j (1 + exp(β (c_j + (v W)_j))),   0 = β_0 < ... < β_T = 1

A sweep of Gibbs at a machine leaves its law as it is. Upwards from draws of the first,

    log w = Σ_t F_(t-1)(v_(t-1)) - F_t(v_(t-1)),      E w = Z / Z_0

and downwards from draws of the machine E 1/w = Z_0 / Z: of the logs, the first is below log Z in
expectation and the second above, so that together they bracket it. **The second holds only for
exact draws of the machine**: from chains that have not crossed, it may be below log Z too.

**What paths did not see their own error does not know of**: a mode that one path in a thousand
reaches may have half of Z. Paths of the other direction know. The laws of a path and of its reverse
differ by its weight, so that paths of both are one sample, with Z by the optimal bridge,

    p_up ∝ 1 / (N_up + N_down w Z_0/Z),      p_down ∝ (w Z_0/Z) / (N_up + N_down w Z_0/Z)

of which sets of N_up and of N_down weights are drawn anew, many times. A side's error is the root
of the mean squared distance of their estimates from the bridge's, where paths are not resampled.
It holds, as the upper side does, for exact draws alone.

Paths may be resampled on the way, by their weights, whenever these have become uneven (``keep``).
The mean weight is as unbiased as before, and paths that count for nothing give way to others.

The rungs may also be checkpoints of the training that made the machine: a ladder that costs
nothing, and that opens modes in the order in which they were learned.

A likelihood by the estimate from below alone is too high. The path is not linear in β, and its
kernel needs more than a log-density, so that it is not one of ``samplers.ais``.

References:
    R. Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008,
    https://doi.org/10.1145/1390156.1390266, sec. 4.
    R. Grosse, Z. Ghahramani, R. Adams, "Sandwiching the Marginal Likelihood Using Bidirectional
    Monte Carlo", 2015, https://arxiv.org/abs/1511.02543.
    G. E. Crooks, "Entropy production fluctuation theorem and the nonequilibrium work relation for
    free energy differences", Physical Review E 60, 1999, eq. 2 (paths and their reverses).
    M. R. Shirts, J. D. Chodera, "Statistically optimal analysis of samples from multiple
    equilibrium states", Journal of Chemical Physics 129, 2008, eqs. 9 and 11 (one sample of both).
    H. P. Chan, T. L. Lai, "A general theory of particle filters in hidden Markov models and some
    applications", Annals of Statistics 41(6), 2013, https://doi.org/10.1214/13-AOS1172 (the error).
    N. Béreux, A. Decelle, C. Furtlehner, L. Rosset, B. Seoane, "Fast training and sampling of
    Restricted Boltzmann Machines", ICLR 2025, https://arxiv.org/abs/2405.15376 (checkpoints).
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.visible import BINARY, RBM, Visible
from mnar_ebm.samplers.annealed import Bracket
from mnar_ebm.samplers.bridge import bridge
from mnar_ebm.samplers.importance import effective_sample_size, log_mean_exp, normalise, sir
from mnar_ebm.types import Array, Key

NUM_SETS = 200
"""Sets of weights that are drawn anew, for an error."""


class Side(NamedTuple):
    """One side of a bracket.

    Attributes:
        log_z: the estimate, in nats. []
        standard_error: root of its mean squared error, as far as the paths of both directions
            reach; with ``keep``, as far as those of its own. []
        effective_sample_size: 1 / Σ_n S_n², S_n the share of the weight that the heirs of start n
            have; if it is near 1, trust nothing. []
    """

    log_z: Array
    standard_error: Array
    effective_sample_size: Array


def bracket(
    key: Key,
    rbm: RBM,
    base_bias: Array,
    target_draws: Array,
    num_temperatures: int = 1000,
    num_paths: int = 100,
    kind: Visible = BINARY,
    keep: float = 0.0,
) -> Bracket[Side]:
    """Return log Z from below and from above.

    Args:
        key: random key.
        rbm: the machine.
        base_bias: b_0, as the logits of the data's means, of Gaussians the means. [V]
        target_draws: exact draws of the machine (``rbm.sample``), or of long chains, which is then
            to be said: what is above log Z with the former may not be with the latter. [N, V]
        num_temperatures: T.
        num_paths: paths from below; from above there is one for each draw.
        kind: of the visible units.
        keep: share of the paths that effectively count, below which they are resampled; 0: never.
    """
    ladder = stack([without_weights(rbm, base_bias), rbm])
    return bracket_along(key, ladder, target_draws, num_temperatures, num_paths, kind, keep)


def bracket_along(
    key: Key,
    ladder: RBM,
    target_draws: Array,
    num_temperatures: int = 1000,
    num_paths: int = 100,
    kind: Visible = BINARY,
    keep: float = 0.0,
) -> Bracket[Side]:
    """Return log Z of the last machine of a ladder from below and from above.

    Args:
        key: random key.
        ladder: machines (``stack``), the first ``without_weights``. Each leaf [R, ...]
        target_draws: of the last, as in ``bracket``. [N, V]
        num_temperatures: T, machines after the first that are walked along, spread evenly over the
            R - 1 steps of the ladder.
        num_paths: paths from below; from above there is one for each draw.
        kind: of the visible units.
        keep: as in ``bracket``.
    """
    key_start, key_up, key_down, *keys = jax.random.split(key, 5)
    first = jax.tree.map(lambda leaf: leaf[0], ladder)
    start = machines.sample_independent(key_start, first, num_paths, kind)
    walk = functools.partial(_walk, ladder=ladder, num=num_temperatures, kind=kind, keep=keep)
    log_z_first = machines.log_z_independent(first, kind)
    up, down = walk(key_up, start, upwards=True), walk(key_down, target_draws, upwards=False)
    lower, upper = _side(up), _side(down)
    if not keep:
        below, above = _errors(keys, up.log_w, -down.log_w)
        lower = lower._replace(standard_error=jnp.where(num_paths == 1, jnp.inf, below))
        upper = upper._replace(standard_error=jnp.where(len(target_draws) == 1, jnp.inf, above))
    return Bracket(
        lower._replace(log_z=log_z_first + lower.log_z),
        upper._replace(log_z=log_z_first - upper.log_z),
    )


def without_weights(rbm: RBM, base_bias: Array) -> RBM:
    """Return the machine of independent units with these biases, and of the same size."""
    return RBM(base_bias, jnp.zeros_like(rbm.hidden), jnp.zeros_like(rbm.weights), rbm.log_scale)


def stack(machines: Sequence[RBM]) -> RBM:
    """Return a ladder of machines of one size, such as checkpoints. Each leaf [R, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)


def rung(ladder: RBM, place: Array) -> RBM:
    """Return the machine at a place from 0 to R - 1, between two rungs if it is no whole number."""
    below = jnp.clip(jnp.floor(place).astype(int), 0, ladder.hidden.shape[0] - 2)
    share = place - below
    return jax.tree.map(lambda leaf: (1 - share) * leaf[below] + share * leaf[below + 1], ladder)


class _Paths(NamedTuple):
    """Where paths stand, what they weigh, and whose heirs they are."""

    v: Array
    log_w: Array
    ancestor: Array
    log_ratio: Array


@functools.partial(jax.jit, static_argnames=("num", "kind", "keep", "upwards"))
def _walk(
    key: Key, start: Array, ladder: RBM, num: int, kind: Visible, keep: float, upwards: bool
) -> _Paths:
    """Return paths along a ladder, which began at ``start`` [N, V]."""
    size, top = start.shape[0], ladder.hidden.shape[0] - 1

    def step(paths: _Paths, now: tuple[Key, Array]) -> tuple[_Paths, None]:
        key, number = now
        key_sweep, key_choice = jax.random.split(key)
        below = rung(ladder, (number - 1) * top / num)
        above = rung(ladder, number * top / num)
        if not upwards:
            paths = paths._replace(v=machines.sweep(key_sweep, above, paths.v, kind))
        before, after = (below, above) if upwards else (above, below)
        fall = machines.free_energy(before, paths.v, kind)
        paths = paths._replace(
            log_w=paths.log_w + fall - machines.free_energy(after, paths.v, kind)
        )
        paths = _resample(key_choice, paths, keep)
        if upwards:
            paths = paths._replace(v=machines.sweep(key_sweep, above, paths.v, kind))
        return paths, None

    zero = jnp.zeros((), start.dtype)
    paths = _Paths(start, jnp.zeros(size, start.dtype), jnp.arange(size), zero)
    order = jax.random.split(key, num), jnp.arange(1, num + 1, dtype=start.dtype)
    return jax.lax.scan(step, paths, order, reverse=not upwards)[0]


def _side(paths: _Paths) -> Side:
    """Return log of the mean weight of paths, and its error as far as they reach."""
    size = paths.log_w.size
    shares = jax.ops.segment_sum(jnp.exp(normalise(paths.log_w)), paths.ancestor, size)
    error = jnp.sqrt(((shares - 1 / size) ** 2).sum() * size / max(size - 1, 1))
    log_z = paths.log_ratio + log_mean_exp(paths.log_w)
    return Side(log_z, jnp.where(size == 1, jnp.inf, error), 1 / (shares**2).sum())


def _errors(keys: Sequence[Key], up: Array, down: Array) -> list[Array]:
    """Return errors of both sides by sets of weights drawn anew, from log w of both. [N], [M]."""
    log_z = bridge(up, down).log_z
    pooled = jnp.concatenate([up, down]) - log_z
    log_up = -jnp.logaddexp(math.log(up.size), math.log(down.size) + pooled)
    errors = []
    for key, log_law, log_w, size in (
        (keys[0], log_up, pooled, up.size),
        (keys[1], log_up + pooled, -pooled, down.size),
    ):
        drawn = log_w[sir(key, log_law, NUM_SETS * size)].reshape(NUM_SETS, size)
        errors.append(jnp.sqrt((log_mean_exp(drawn) ** 2).mean()))
    return errors


def _resample(key: Key, paths: _Paths, keep: float) -> _Paths:
    """Return paths drawn by their weights, if too few of them count."""
    if not keep:
        return paths

    def draw(paths: _Paths) -> _Paths:
        chosen = sir(key, paths.log_w, paths.log_w.size, "systematic")
        log_ratio = paths.log_ratio + log_mean_exp(paths.log_w)
        log_w = jnp.zeros_like(paths.log_w)
        return _Paths(paths.v[chosen], log_w, paths.ancestor[chosen], log_ratio)

    is_uneven = effective_sample_size(paths.log_w) < keep * paths.log_w.size
    return jax.lax.cond(is_uneven, draw, lambda paths: paths, paths)
