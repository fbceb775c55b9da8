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
# # A biased survey, and a few rows without bias
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/)
#
# Many rows are cheap and biased: those who answer are not those who do not. A follow-up, a
# randomised slice of traffic or some complete records are few, but unbiased. The model is fitted
# to the many; an energy, fitted to the few, moves it to the population.

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
# ## The data
#
# Three groups of people, seen in two measurements. In the population they make up 50, 30 and 20 %,
# but the third group answers far more often, so that it is 60 % of the 2000 rows at hand. Which
# group a row is of is not recorded. 100 people were drawn at random and followed up.

# %%
import matplotlib.pyplot as plt
import numpy as np

from mnar_ebm import Config, data, train
from mnar_ebm.data.datasets.toys import gaussian_mixture

population = gaussian_mixture()
respondents = population._replace(weights=np.array([0.15, 0.25, 0.6]))
rng = np.random.default_rng(0)
selected = data.make_table("survey", ("x", "y"), respondents.sample(rng, 2000))
unbiased = data.make_table("follow-up", ("x", "y"), population.sample(rng, 100))
true_mean = population.weights @ population.means
print(f"means: respondents {selected.x.mean(axis=0).round(2)}, population {true_mean.round(2)}")

# %% [markdown]
# ## Fit
#
# One call. The many rows train a base model and a first tilt; the few train a second energy on top.
# Because they are few, cross-validation over them chooses what kind of energy it is and how far the
# model moves, and to leave it as it was is one of the candidates.

# %%
SMALL = {"num_steps": 100, "tilt_steps": 40, "unbiased_steps": 30, "unbiased_energy": "additive"}
config = Config(
    tilt="latent",
    mechanism="none",
    decoder="mlp",
    decoder_scale="per_latent",
    latent_dim=2,
    hidden_dim=64,
    num_importance_samples=10,
    **(SMALL if FAST else {"num_steps": 2500, "tilt_steps": 1000}),
)
fitted, report = train(config, selected, unbiased=unbiased)
print(report.unbiased)

# %% [markdown]
# ## What it changes
#
# Draws of the model as the many rows have it, and as it is after the second energy, over the true
# density, in grey. Each panel is 1500 draws.

# %%
before, after = fitted.without_second().sample(5000), fitted.sample(5000)
grid = np.linspace(-5, 5, 121)
points = np.stack(np.meshgrid(grid, grid), axis=-1)
log_p = population.log_prob(points.reshape(-1, 2)).reshape(points.shape[:2])
panels = {
    "those who answered": selected.x,
    "the model before": before.x,
    "tilted to the follow-up": after.x,
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.8), sharey=True, layout="compressed")
for axis, (name, x) in zip(axes, panels.items(), strict=True):
    axis.contourf(grid, grid, np.exp(log_p), levels=8, cmap="Greys", alpha=0.7)
    axis.plot(x[:1500, 0], x[:1500, 1], ".", ms=2, color="#4477aa", alpha=0.6)
    axis.set(title=name, xlabel="x", aspect="equal", xlim=(-5, 5), ylim=(-5, 5))
axes[2].plot(unbiased.x[:, 0], unbiased.x[:, 1], "+", ms=5, color="#cc6677", label="follow-up")
axes[2].legend(loc="upper left", frameon=False)
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# The means, and the share of each group (a draw is counted to the group that likeliest made it).
# The follow-up alone is unbiased too, but has only 100 rows: the model also uses what the many rows
# tell of the shape of each group.


# %%
def shares(x):
    """Return the share of draws that each group likeliest made. [3]."""
    log_p = []
    for weight, mean, covariance in zip(*population, strict=True):
        centred = x - mean
        squares = (centred @ np.linalg.inv(covariance) * centred).sum(axis=1)
        log_p.append(np.log(weight) - 0.5 * (squares + np.linalg.slogdet(covariance)[1]))
    return np.bincount(np.argmax(log_p, axis=0), minlength=3) / len(x)


rows = {
    "those who answered": selected.x,
    "the follow-up alone": unbiased.x,
    "the model before": before.x,
    "tilted": after.x,
    "the population": population.sample(rng, 100_000),
}
print(f"{'':20}{'mean x':>8}{'mean y':>8}   shares of the groups")
for name, x in rows.items():
    x = np.asarray(x)
    print(f"{name:20}{x[:, 0].mean():8.2f}{x[:, 1].mean():8.2f}   {shares(x).round(2)}")

# %% [markdown]
# ## One column at a time

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
edges = np.linspace(-5, 5, 41)
styles = {
    "those who answered": {"color": "#888888", "alpha": 0.35},
    "the population": {"color": "black", "histtype": "step"},
    "the model before": {"color": "#4477aa", "histtype": "step", "linestyle": ":"},
    "tilted": {"color": "#cc6677", "histtype": "step", "linewidth": 1.5},
}
for column, axis in enumerate(axes):
    for name, style in styles.items():
        axis.hist(np.asarray(rows[name])[:, column], edges, density=True, label=name, **style)
    axis.set(xlabel=selected.columns[column], yticks=[])
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, ncols=4, loc="outside upper center", frameon=False)
plt.show()

# %% [markdown]
# With rows of your own: a table of the many and one of the few with the same columns, gaps allowed
# in both, and `train(config, many, unbiased=few)`; or the command
# `python -m experiments.train --data_path=many.csv --unbiased=few.csv`.
