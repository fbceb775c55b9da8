# ---
# jupyter:
#   accelerator: TPU
#   colab:
#     gpuType: V5E1
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Chains by the ten thousand, on a density of your own
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/)
#
# `mnar_ebm.samplers` draws from any log-density written in JAX and estimates its normalising
# constant. It needs none of our models. All that it asks for is a function from a position to a
# number; a constant may be missing from it.

# %%
import importlib.metadata
import importlib.util
import subprocess
import sys

IN_COLAB = "google.colab" in sys.modules
if IN_COLAB and importlib.util.find_spec("mnar_ebm") is None:
    from google.colab import files

    print("Choose the wheel mnar_ebm-*.whl that `pip wheel --no-deps .` makes in a clone.")
    wheel = next(iter(files.upload()))
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wheel, *keep], check=True)

# %%
import os

import jax

jax.config.update("jax_default_matmul_precision", "float32")  # a TPU rounds to bfloat16 otherwise
print(f"jax {jax.__version__} on {jax.device_count()} x {jax.devices()[0].device_kind}")
print(f"matrix products in {jax.config.jax_default_matmul_precision}")

FAST = os.environ.get("MNAR_EBM_FAST") == "1"  # True: all of it in a minute; numbers mean nothing

# %% [markdown]
# ## A density
#
# A bent ridge: x ~ N(0, 10²) and y given x ~ N(0.03 (x² - 100), 1). Its moments are known, and so
# is the integral of what is written here, 20π.

# %%
import functools

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from mnar_ebm import devices, diagnostics, samplers


def logdensity(position):
    """Return log p up to a constant. [2] -> []."""
    x, y = position
    return -0.5 * (x / 10) ** 2 - 0.5 * (y - 0.03 * (x**2 - 100)) ** 2


# %% [markdown]
# ## Ten thousand chains
#
# Chains run side by side, compiled once, each with settings of its own that are adapted first.
# `devices.split` lays them out over all devices of the machine, cores of a TPU or cards; on one
# device it does nothing. `num_steps` counts the draws that are kept.

# %%
num_chains, num_draws, num_adapted = (64, 20, 40) if FAST else (10_000, 100, 500)
key_start, key_mala, key_hmc = jax.random.split(jax.random.key(0), 3)
starts = 10 * jax.random.normal(key_start, (num_chains, 2))
starts = devices.split(starts)
chains = {
    "MALA": samplers.adjusted_langevin(
        key_mala, logdensity, starts, num_draws, num_adaptation_steps=num_adapted, thin=2
    ),
    "HMC": samplers.hamiltonian(
        key_hmc, logdensity, starts, num_draws, num_adaptation_steps=num_adapted, thin=2
    ),
}
for name, own in chains.items():
    print(f"{name}: {own.draws.shape} draws on {len(own.draws.sharding.device_set)} device(s)")

# %% [markdown]
# ## Have they mixed?
#
# R-hat compares chains with each other, effective sample sizes say how many independent draws these
# are worth. The worst coordinate is told, and what to do about it in words. Forty chains tell it as
# well as all.

# %%
for name, own in chains.items():
    some = jax.tree.map(lambda leaf: leaf[:40], own)
    summary = diagnostics.summarise(some.draws, some.info)
    print(name, {key: round(value, 3) for key, value in summary.items()})
    print("\n".join(diagnostics.in_words(summary)) or "nothing to mind")

# %% [markdown]
# Many short chains have a use of their own: the last draws of all chains are independent of each
# other, so that the error of a mean needs no autocorrelation. The truth is (0, 0) for the means, 10
# and √19 = 4.36 for the standard deviations.

# %%
for name, own in chains.items():
    last = np.asarray(own.draws[:, -1], np.float64)
    error = last.std(axis=0) / np.sqrt(len(last))
    print(f"{name}: means {last.mean(axis=0).round(2)} +- {error.round(2)}", end="")
    print(f", standard deviations {last.std(axis=0).round(2)}")

# %%
grid_x, grid_y = np.meshgrid(np.linspace(-32, 32, 161), np.linspace(-8, 27, 161))
values = jax.vmap(jax.vmap(logdensity))(jnp.stack([grid_x, grid_y], axis=-1))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
levels = -np.log([100, 10, 2])  # log p relative to its peak: regions of 99, 90 and 50 %
for axis, (name, own) in zip(axes, chains.items(), strict=True):
    last = own.draws[:2000, -1]
    axis.contour(grid_x, grid_y, values, levels, colors="#888888", linestyles="solid")
    axis.plot(last[:, 0], last[:, 1], ".", ms=2, color="#4477aa", alpha=0.5)
    axis.set(title=f"{name}: last draws of {len(last)} chains", xlabel="x")
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# ## When chains do not mix
#
# Two modes, far apart, of weights 0.3 and 0.7. Each chain stays where it starts: nothing within a
# chain tells, and only R-hat between chains does. Parallel tempering carries draws across.


# %%
def two_modes(x):
    """Return log p of a mixture of N(-6, 1) and N(6, 1). [] -> []."""
    return jnp.logaddexp(jnp.log(0.3) - 0.5 * (x + 6) ** 2, jnp.log(0.7) - 0.5 * (x - 6) ** 2)


key_stuck, key_tempered = jax.random.split(jax.random.key(1))
few_starts = 6 * jax.random.normal(jax.random.key(2), (16,))
num_kept = 20 if FAST else 2000
stuck = samplers.adjusted_langevin(key_stuck, two_modes, few_starts, num_kept)
tempered = samplers.parallel_tempering(
    lambda logdensity_fn, beta: samplers.mala(logdensity_fn, 0.5 / beta),
    jnp.zeros_like,  # the flat density that it is tempered to
    two_modes,
    [1, 0.3, 0.1, 0.03],
)
crossing = jax.jit(
    jax.vmap(lambda key, x: samplers.sample(key, tempered, x, num_kept, burn_in=100)[1][0])
)(jax.random.split(key_tempered, 16), few_starts)
for name, draws in {"MALA": stuck.draws, "parallel tempering": crossing}.items():
    summary = diagnostics.summarise(draws)
    print(f"{name}: R-hat {summary['rhat']:.2f}, share above 0: {(draws > 0).mean():.2f} (0.70)")

# %% [markdown]
# ## The normalising constant
#
# The density is seen as a base, N(0, 10² I), times a weight. The base is normalised, so that log Z
# is that of the density itself, log 20π = 4.14. Weights of base draws give an estimate at once,
# but only as good as their Pareto k. Annealed importance sampling (AIS) and sequential Monte Carlo
# (SMC) go from base to target by temperatures.


# %%
def base_logdensity(x):
    """Return log N(x; 0, 10² I). [2] -> []."""
    return -0.5 * (x**2).sum() / 100 - jnp.log(2 * jnp.pi * 100)


def log_weight(x):
    """Return log p - log base. [2] -> []."""
    return logdensity(x) - base_logdensity(x)


def base_sample(key):
    """Return a draw of the base. [2]."""
    return 10 * jax.random.normal(key, (2,))


num_samples = 64 if FAST else 10_000
betas = jnp.linspace(0, 1, 9 if FAST else 65) ** 2
kernel = functools.partial(samplers.mala, step_size=0.3)
key_snis, key_ais, key_smc = jax.random.split(jax.random.key(3), 3)
snis = jax.jit(lambda key: samplers.snis(key, base_sample, log_weight, num_samples))
_, log_w, by_weights = snis(key_snis)
problem = (base_sample, base_logdensity, log_weight, kernel)
by_ais = jax.jit(lambda key: samplers.ais(key, *problem, betas, num_samples))(key_ais)
by_smc = jax.jit(lambda key: samplers.smc(key, *problem, num_samples, num_steps=5))(key_smc)
found = {"weights": by_weights, "AIS": by_ais, "SMC": by_smc}
for name, estimate in found.items():
    print(f"{name:8} {estimate.log_z:.3f} +- {estimate.log_z_standard_error:.3f}")
print(f"{'exact':8} {np.log(20 * np.pi):.3f}; Pareto k {diagnostics.pareto_k(log_w):.2f}")

# %%
figure, axis = plt.subplots(figsize=(5.5, 2.2), layout="constrained")
for at, estimate in enumerate(found.values()):
    axis.errorbar(float(estimate.log_z), at, xerr=2 * float(estimate.log_z_standard_error), fmt="o")
axis.axvline(np.log(20 * np.pi), color="black", linestyle="--", linewidth=1)
axis.set_yticks(range(len(found)), list(found))
axis.set(xlabel="log Z, with two standard errors; dashed: exact", ylim=(-0.6, len(found) - 0.4))
plt.show()
