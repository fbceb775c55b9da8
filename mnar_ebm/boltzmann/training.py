r"""Training a machine by contrastive divergence, through the engine (``training.loop``).

The gradient of -log p(v) is that of the free energy at data less that at the model, where chains
stand for the model:

    gap = E_data F(v) - E_chains F(v),      the chains held fixed

``cd`` starts k sweeps at the data of the batch at every step, ``pcd`` goes on from where a crowd of
chains stood. Neither has the gradient of a likelihood while chains have not mixed; persistent ones
follow parameters that move slowly. The gap is no objective: at the optimum it is 0.

What moves are the parameters of the same energy about offsets, μ the data's means and λ = 1/2,

    E = -(v - μ)·b' - (h - λ)·c' - (v - μ) W (h - λ) + const,      b' = b + W λ,   c' = c + μ W

so that a step does not mind whether a unit is on or off by its name, and biases do not chase
weights. Of other kinds of visible units t(v) - t(μ) stands for v - μ.

What may be added to the gap is a price of hidden units that are on too often or too seldom, the
cross-entropy of a rate that is asked for and of the mean activation over the rows of the batch:

    price Σ_j -p log q_j - (1 - p) log(1 - q_j),      q_j = mean over rows of P(h_j = 1|v)

References:
    T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood
    Gradient", ICML 2008, https://doi.org/10.1145/1390156.1390290.
    J. Melchior, A. Fischer, L. Wiskott, "How to Center Deep Boltzmann Machines", JMLR 17(99), 2016,
    eqs. 8 to 13.
    G. E. Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2012,
    https://doi.org/10.1007/978-3-642-35289-8_32, secs. 9 (momentum) and 11 (sparse activities).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mnar_ebm import _checks
from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann import trajectory
from mnar_ebm.boltzmann.visible import BINARY, GAUSSIAN, RBM, Visible
from mnar_ebm.training import Pace, Stage, Verdict, verdict
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree

PHASES = ("cd", "pcd")
HIDDEN_OFFSET = 0.5


class ChainSettings(NamedTuple):
    """How the negative phase is estimated, and how parameters move.

    Attributes:
        phase: ``cd`` or ``pcd``.
        num_chains: chains that ``pcd`` carries along; ``cd`` has one for each row of the batch.
        num_sweeps: k, sweeps of Gibbs in a step.
        momentum: share of the last step that goes on, from 0 to 1 less a little, of plain gradient
            steps; ``None``: Adam.
        sparsity_price: price of hidden units that are not on as often as is asked for; 0: none.
        sparsity_rate: how often that is, p.
        moves_scale: whether the standard deviations of Gaussian units move, or stay.
    """

    phase: str = "pcd"
    num_chains: int = 100
    num_sweeps: int = 1
    momentum: float | None = None
    sparsity_price: float = 0.0
    sparsity_rate: float = 0.1
    moves_scale: bool = True


def make_stage(
    settings: ChainSettings,
    pace: Pace,
    mean: Array,
    kind: Visible = BINARY,
    followed: RBM | None = None,
) -> Stage:
    """Return the stage that trains a machine.

    It is judged by a score of held-out rows that needs no log Z, the pseudo-likelihood or, of
    Gaussian units, ``hyvarinen_score``; a number that is told as a likelihood needs ``rbm.log_z``
    or a bracket. Weight decay, if ``pace`` has one, is of the weights.

    Args:
        settings: of the chains.
        pace: how long and how fast it goes.
        mean: of each visible unit in the data, of bits how often it is on, μ. [V]
        kind: of the visible units.
        followed: the machine that training starts from, if log Z is to be followed along it: what
            ``pcd`` remembers is then a ``trajectory.Followed``, and otherwise its chains.

    Raises:
        ValueError: a setting may not be as it is.
    """
    _check(settings, followed)
    is_persistent = settings.phase == "pcd"

    def loss(key: Key, rbm: RBM, batch: Array, held_out: Array, memory: PyTree) -> Loss:
        del held_out
        start = memory if followed is None else memory.chains
        fixed = jax.lax.stop_gradient(rbm)
        start = start if is_persistent else batch
        negatives = machines.gibbs(key, fixed, start, settings.num_sweeps, kind)
        value = gap(rbm, batch, negatives, kind)
        if followed is not None:
            memory = trajectory.follow(memory, rbm, negatives, kind)
        elif is_persistent:
            memory = negatives
        price = settings.sparsity_price
        total = (
            value + price * sparsity(rbm, batch, settings.sparsity_rate, kind) if price else value
        )
        return total, ({"energy_gap": value}, memory)

    def init_memory(key: Key) -> PyTree:
        if not is_persistent:
            return ()
        if followed is not None:
            return trajectory.begin(key, followed, settings.num_chains, kind)
        zeros = jnp.zeros(mean.shape[0])
        independent = RBM(zeros, zeros[:0], zeros[:, None][:, :0], zeros)
        return machines.sample_independent(key, independent, settings.num_chains, kind)

    def select(rbm: RBM) -> RBM:
        centred = centre(rbm, mean, kind)
        return centred if settings.moves_scale else centred._replace(log_scale=())

    def merge(rbm: RBM, centred: RBM) -> RBM:
        if not settings.moves_scale:
            centred = centred._replace(log_scale=rbm.log_scale)
        return uncentre(centred, mean, kind)

    momentum = settings.momentum
    return Stage(
        settings.phase,
        loss,
        functools.partial(evaluate, kind=kind),
        pace,
        select=select,
        merge=merge,
        init_memory=init_memory,
        decayed=("weights",) * len(pace.decays),
        direct=optax.scale_by_adam
        if momentum is None
        else functools.partial(optax.trace, momentum),
    )


def gap(rbm: RBM, data: Array, negatives: Array, kind: Visible = BINARY) -> Array:
    """Return the mean free energy of data [N, V] less that of chains [C, V]. []."""
    of_data, of_chains = (machines.free_energy(rbm, v, kind).mean() for v in (data, negatives))
    return of_data - of_chains


def sparsity(rbm: RBM, data: Array, rate: float, kind: Visible = BINARY) -> Array:
    """Return the cross-entropy of a rate and of the mean activation of hidden units. [].

    Args:
        rbm: the machine.
        data: rows. [N, V]
        rate: how often a hidden unit should be on, p.
        kind: of the visible units.
    """
    on = jax.nn.sigmoid(machines.hidden_logits(rbm, data, kind)).mean(axis=0)
    on = jnp.clip(on, 1e-6, 1.0 - 1e-6)
    return -(rate * jnp.log(on) + (1.0 - rate) * jnp.log1p(-on)).sum()


def centre(rbm: RBM, mean: Array, kind: Visible = BINARY) -> RBM:
    """Return the parameters about the offsets ``mean`` and ``HIDDEN_OFFSET``."""
    visible = rbm.visible + HIDDEN_OFFSET * rbm.weights.sum(axis=1)
    hidden = rbm.hidden + kind.statistics(rbm, mean) @ rbm.weights
    return rbm._replace(visible=visible, hidden=hidden)


def uncentre(centred: RBM, mean: Array, kind: Visible = BINARY) -> RBM:
    """Return the parameters about 0: the inverse of ``centre``."""
    visible = centred.visible - HIDDEN_OFFSET * centred.weights.sum(axis=1)
    hidden = centred.hidden - kind.statistics(centred, mean) @ centred.weights
    return centred._replace(visible=visible, hidden=hidden)


def evaluate(key: Key, rbm: RBM, batch: Array, is_row: Array, kind: Visible = BINARY) -> Verdict:
    """Return the mean score of held-out rows: pseudo-log-likelihood, of Gaussians Hyvärinen's."""
    del key

    def score(v: Array) -> Array:
        if kind is GAUSSIAN:
            return machines.hyvarinen_score(rbm, v)
        return machines.pseudo_log_likelihood(rbm, v, kind)

    scores = jax.lax.map(score, batch, batch_size=16)
    return verdict(jnp.mean(scores, where=is_row))


def _check(settings: ChainSettings, followed: RBM | None) -> None:
    _checks.check_choice("phase", settings.phase, PHASES)
    _checks.check_whole("num_chains", settings.num_chains, 1)
    _checks.check_whole("num_sweeps", settings.num_sweeps, 1)
    if settings.momentum is not None and not 0 <= settings.momentum < 1:
        raise ValueError(f"momentum: expected a value from 0 to below 1, got {settings.momentum}")
    _checks.check_at_least("sparsity_price", settings.sparsity_price, 0)
    rate = settings.sparsity_rate
    if not 0 < rate < 1:
        raise ValueError(f"sparsity_rate: expected a value strictly between 0 and 1, got {rate}")
    if followed is not None and settings.phase != "pcd":
        raise ValueError(f"followed: expected phase pcd, whose chains go on, got {settings.phase}")
