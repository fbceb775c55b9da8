r"""log Z followed along training, by the chains that training has anyway.

Chains x_t are of the machine of step t, nearly, and a step changes it little:

    log Z_t - log Z_(t-1) ≈  log (1/C) Σ_c exp(F_(t-1)(x_(t-1,c)) - F_t(x_(t-1,c)))      from below
                          ≈ -log (1/C) Σ_c exp(F_t(x_(t,c)) - F_(t-1)(x_(t,c)))          from above

summed from a machine without weights, from which the chains start exactly. It costs four free
energies a step and no chain. **It is no bracket.** Chains lag behind parameters that move fast, by
about the same in both directions, which then agree on a wrong number; the chains have made the very
step that they judge; those that miss a mode miss it twice; and the errors of steps, sd(ΔF)/√C each,
add up as a walk. It is good where a step is small beside what a sweep forgets. Hold the end against
``bracket_along`` of checkpoints, which weighs whole paths.

References:
    N. Béreux, A. Decelle, C. Furtlehner, L. Rosset, B. Seoane, "Fast training and sampling of
    Restricted Boltzmann Machines", ICLR 2025, https://arxiv.org/abs/2405.15376, sec. 5.
    D. Carbone, M. Hua, S. Coste, E. Vanden-Eijnden, "Efficient Training of Energy-Based Models
    Using Jarzynski Equality", NeurIPS 2023, https://arxiv.org/abs/2305.19414 (weights that
    correct the lag).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.boltzmann import rbm as machines
from mnar_ebm.boltzmann.annealed import without_weights
from mnar_ebm.boltzmann.visible import RBM, Visible
from mnar_ebm.samplers.importance import log_mean_exp
from mnar_ebm.types import Array, Key


class Followed(NamedTuple):
    """What is remembered from step to step.

    Attributes:
        chains: of the last machine. [C, V]
        rbm: the last machine.
        lower: log Z of it, from below. []
        upper: from above. []
    """

    chains: Array
    rbm: RBM
    lower: Array
    upper: Array


def begin(key: Key, rbm: RBM, num_chains: int, kind: Visible) -> Followed:
    """Return exact chains of the machine without weights, and its log Z.

    Args:
        key: random key.
        rbm: the machine that training starts from, whose visible biases are kept.
        num_chains: C.
        kind: of the visible units.
    """
    first = without_weights(rbm, rbm.visible)
    log_z = machines.log_z_independent(first, kind)
    chains = machines.sample_independent(key, first, num_chains, kind)
    return jax.tree.map(
        jnp.array, Followed(chains, first, log_z, log_z)
    )  # copies: a loop takes them


def follow(before: Followed, rbm: RBM, chains: Array, kind: Visible) -> Followed:
    """Return what is remembered after a step.

    Args:
        before: the step.
        rbm: the machine after it.
        chains: of that machine, those of ``before`` after some sweeps. [C, V]
        kind: of the visible units.
    """
    rbm, chains = jax.lax.stop_gradient((rbm, chains))
    rise = _fall(before.rbm, rbm, before.chains, kind)
    back = _fall(rbm, before.rbm, chains, kind)
    lower, upper = before.lower + log_mean_exp(rise), before.upper - log_mean_exp(back)
    return Followed(chains, rbm, lower, upper)


def _fall(before: RBM, after: RBM, v: Array, kind: Visible) -> Array:
    return machines.free_energy(before, v, kind) - machines.free_energy(after, v, kind)
