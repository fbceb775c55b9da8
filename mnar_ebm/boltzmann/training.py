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
weights.

References:
    T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood
    Gradient", ICML 2008, https://doi.org/10.1145/1390156.1390290.
    J. Melchior, A. Fischer, L. Wiskott, "How to Center Deep Boltzmann Machines", JMLR 17(99), 2016,
    eqs. 8 to 13.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.rbm import RBM
from mnar_ebm.training import Pace, Stage, Verdict, verdict
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree

PHASES = ("cd", "pcd")
HIDDEN_OFFSET = 0.5


class ChainSettings(NamedTuple):
    """How the negative phase is estimated.

    Attributes:
        phase: ``cd`` or ``pcd``.
        num_chains: chains that ``pcd`` carries along; ``cd`` has one for each row of the batch.
        num_sweeps: k, sweeps of Gibbs in a step.
    """

    phase: str = "pcd"
    num_chains: int = 100
    num_sweeps: int = 1


def make_stage(settings: ChainSettings, pace: Pace, mean: Array) -> Stage:
    """Return the stage that trains a machine.

    It is judged by the pseudo-likelihood of held-out rows, which needs no log Z; a number that is
    told as a likelihood needs ``rbm.log_z`` or a bracket. Weight decay, if ``pace`` has one, is of
    the weights.

    Args:
        settings: of the chains.
        pace: how long and how fast it goes.
        mean: how often each visible unit is on in the data, μ. [V]

    Raises:
        ValueError: a setting may not be as it is.
    """
    _checks.check_choice("phase", settings.phase, PHASES)
    _checks.check_whole("num_chains", settings.num_chains, 1)
    _checks.check_whole("num_sweeps", settings.num_sweeps, 1)
    is_persistent = settings.phase == "pcd"

    def loss(key: Key, rbm: RBM, batch: Array, held_out: Array, chains: PyTree) -> Loss:
        del held_out
        start = chains if is_persistent else batch
        fixed = jax.lax.stop_gradient(rbm)
        negatives = machines.gibbs(key, fixed, start, settings.num_sweeps)
        value = gap(rbm, batch, negatives)
        return value, ({"energy_gap": value}, negatives if is_persistent else chains)

    def init_memory(key: Key) -> PyTree:
        if not is_persistent:
            return ()
        return machines.draw(key, jnp.zeros((settings.num_chains, mean.shape[0])))

    return Stage(
        settings.phase,
        loss,
        evaluate,
        pace,
        select=lambda rbm: centre(rbm, mean),
        merge=lambda rbm, centred: uncentre(centred, mean),
        init_memory=init_memory,
        decayed=("weights",) * len(pace.decays),
    )


def gap(rbm: RBM, data: Array, negatives: Array) -> Array:
    """Return the mean free energy of data [N, V] less that of chains [C, V]. []."""
    return machines.free_energy(rbm, data).mean() - machines.free_energy(rbm, negatives).mean()


def centre(rbm: RBM, mean: Array) -> RBM:
    """Return the parameters about the offsets ``mean`` and ``HIDDEN_OFFSET``."""
    visible = rbm.visible + HIDDEN_OFFSET * rbm.weights.sum(axis=1)
    return RBM(visible, rbm.hidden + mean @ rbm.weights, rbm.weights)


def uncentre(centred: RBM, mean: Array) -> RBM:
    """Return the parameters about 0: the inverse of ``centre``."""
    visible = centred.visible - HIDDEN_OFFSET * centred.weights.sum(axis=1)
    return RBM(visible, centred.hidden - mean @ centred.weights, centred.weights)


def evaluate(key: Key, rbm: RBM, batch: Array, is_row: Array) -> Verdict:
    """Return the mean pseudo-log-likelihood of held-out rows, in nats."""
    del key
    scores = jax.lax.map(lambda v: machines.pseudo_log_likelihood(rbm, v), batch, batch_size=16)
    return verdict(jnp.mean(scores, where=is_row))
