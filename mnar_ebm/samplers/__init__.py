"""Samplers for any log-density: Markov chains and importance sampling, on jax and chex alone.

A chain sampler is a pair of pure functions, and one loop runs them all:

>>> import jax
>>> from mnar_ebm import samplers
>>> algorithm = samplers.mala(lambda x: -0.5 * (x**2).sum(), step_size=0.5)
>>> start = jax.numpy.zeros(2)
>>> _, (draws, info) = samplers.sample(jax.random.key(0), algorithm, start, num_steps=100)
>>> draws.shape, info.acceptance_rate.shape
((100, 2), (100,))

For many chains, ``jax.vmap`` over keys and positions; for speed, ``jax.jit`` the whole. In
one call, with the settings adapted:

>>> chains = samplers.adjusted_langevin(jax.random.key(0), lambda x: -0.5 * x**2, start, 100)
>>> chains.draws.shape
(2, 100)
"""

from mnar_ebm.samplers import replay
from mnar_ebm.samplers.adaptation import adapt_step_size, dual_averaging
from mnar_ebm.samplers.annealed import ais, reverse_ais
from mnar_ebm.samplers.base import SamplingAlgorithm, sample
from mnar_ebm.samplers.bridge import bridge
from mnar_ebm.samplers.chains import adjusted_langevin, hamiltonian, langevin
from mnar_ebm.samplers.elliptical_slice import elliptical_slice
from mnar_ebm.samplers.gibbs import gibbs, kernel_update
from mnar_ebm.samplers.hmc import hmc
from mnar_ebm.samplers.importance import (
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_standard_error,
    normalise,
    sir,
    snis,
)
from mnar_ebm.samplers.langevin import mala, ula
from mnar_ebm.samplers.laplace import Laplace, laplace
from mnar_ebm.samplers.smc import smc
from mnar_ebm.samplers.tempering import parallel_tempering
from mnar_ebm.samplers.trajectory import adapt_trajectory
from mnar_ebm.samplers.windows import window_adaptation

__all__ = [
    "Laplace",
    "SamplingAlgorithm",
    "adapt_step_size",
    "adapt_trajectory",
    "adjusted_langevin",
    "ais",
    "bridge",
    "dual_averaging",
    "effective_sample_size",
    "elliptical_slice",
    "gibbs",
    "hamiltonian",
    "hmc",
    "kernel_update",
    "langevin",
    "laplace",
    "log_mean_exp",
    "log_mean_exp_standard_error",
    "mala",
    "normalise",
    "parallel_tempering",
    "replay",
    "reverse_ais",
    "sample",
    "sir",
    "smc",
    "snis",
    "ula",
    "window_adaptation",
]
