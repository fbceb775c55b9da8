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
# # A variational autoencoder of digits, step by step
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/)
#
# The encoder, the draw, the decoder and the bound, each looked at before and after training; then
# an autoencoder beside it, and images with half of their pixels missing.

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
# ## Images
#
# Scikit-learn's 1797 digits of 8 x 8 pixels. Each pixel is drawn once, on with the probability that
# its grey level tells, so that p(x|z) is a product of Bernoulli laws and log p(x) is that of bits.
# The last 297 are set aside.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn import datasets

from mnar_ebm import data, tilted, train
from mnar_ebm.recipes import vae

digits = datasets.load_digits()
rng = np.random.default_rng(0)
bits = (rng.random(digits.data.shape) < digits.data / 16).astype(float)
rows, fresh, labels = bits[:1500], bits[1500:], digits.target[:1500]
columns = [f"pixel_{number}" for number in range(64)]
table = data.make_table("digits", columns, rows)


def show(axis, images, num_across, title):
    """Show images [N, 64], side by side."""
    image = np.asarray(images).reshape(-1, num_across, 8, 8).swapaxes(1, 2)
    axis.imshow(image.reshape(-1, 8 * num_across), cmap="gray_r", vmin=0, vmax=1)
    axis.set_title(title, fontsize=9)
    axis.axis("off")


# %% [markdown]
# ## The model, before it is trained
#
# 64-64-32-8 and back, three linear layers each way with ReLU between them. For MNIST, the same with
# `hidden_dims=(256, 64)`: 784-256-64-8 and back.

# %%
num_steps = 100 if FAST else 3000
config = vae.config(hidden_dims=(64, 32), latent_dim=8, num_steps=num_steps, learning_rate=3e-3)
before = tilted.make_fitted(config, tilted.table_facts(config, table))

# %% [markdown]
# **The encoder** maps an image to the mean and the standard deviation of q(z|x), a normal law of
# each latent. A standard deviation is positive because it is the exponential of what the network
# gives.

# %%
mean, scale = before.encode(fresh[:1])
print("mean", mean[0].round(2))
print("standard deviation", scale[0].round(2))
assert (scale > 0).all()

# %% [markdown]
# **The draw** z = mean + scale * noise is a function of both, so that a gradient passes through it.

# %%
noise = jax.random.normal(jax.random.key(0), (10, 8))
z = mean + scale * noise
slope = jax.jacobian(lambda scale: (mean[0] + scale * noise[0]).sum())(jnp.asarray(scale[0]))
assert np.allclose(slope, noise[0])

# %% [markdown]
# **The decoder** maps a latent to the probability of each pixel to be on.

# %%
probability = before.decode(z)
lowest, highest = probability.min().round(3), probability.max().round(3)
print(f"{probability.shape}, from {lowest} to {highest}")

# %% [markdown]
# ## Training
#
# The bound log p(x) >= E_q log p(x|z) p(z) / q(z|x) is maximised by Adam, with one draw of z for
# each image in a step. A tenth of the rows is held out and chooses the step that is kept.

# %%
log = []
after, _ = train(config, table, report=log.append)
figure, axis = plt.subplots(figsize=(5.5, 2.6), layout="constrained")
for name in ("bound", "held_out"):
    axis.plot([one["step"] for one in log], [one[name] for one in log], label=name)
axis.set(xlabel="step", ylabel="nats an image")
axis.legend()
plt.show()

# %% [markdown]
# `bound` is that which is trained, with one draw; `held_out` has 500 draws, and so is closer to
# log p(x). With more draws it can only rise in expectation, towards log p(x) itself:

# %%
bounds = {}
for num_samples in (1, 10, 100, 5000):
    of_rows = after.impute(fresh, num_samples=num_samples).bound
    bounds[num_samples] = of_rows.mean()
    error = of_rows.std() / np.sqrt(len(of_rows))
    print(f"K = {num_samples:4}: {of_rows.mean():.2f} nats (+- {error:.2f} by the images)")

# %% [markdown]
# ## Ten draws of one image's posterior
#
# Left the image, then E[x|z] at ten draws of q(z|x). Before training they have nothing to do with
# it.

# %%
figure, axes = plt.subplots(2, 1, figsize=(8, 2.2), layout="constrained")
for axis, (name, model) in zip(axes, {"before": before, "after": after}.items(), strict=True):
    mean, scale = model.encode(fresh[:1])
    drawn = model.decode(mean + scale * noise)
    show(axis, np.concatenate([fresh[:1], drawn]), 11, f"{name} training")
plt.show()

# %% [markdown]
# ## Reconstructions, and new digits

# %%
figure, axes = plt.subplots(3, 1, figsize=(8, 3.6), layout="constrained")
show(axes[0], fresh[:16], 16, "images that were not trained on")
show(axes[1], after.decode(after.encode(fresh[:16])[0]), 16, "E[x|z] at the mean of q(z|x)")
prior = np.asarray(jax.random.normal(jax.random.key(1), (16, 8)))
show(axes[2], after.decode(prior), 16, "E[x|z] at draws of the prior N(0, I)")
plt.show()

# %% [markdown]
# ## The latent plane
#
# Means of q(z|x) in the two latents of the largest divergence from the prior, those that tell most.

# %%
mean, scale = after.encode(rows)
divergence = 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale)).mean(axis=0)
first, second = np.argsort(-divergence)[:2]
figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
points = axis.scatter(mean[:, first], mean[:, second], c=labels, s=4, cmap="tab10")
axis.legend(*points.legend_elements(), fontsize=7)
axis.set(xlabel=f"latent {first + 1}", ylabel=f"latent {second + 1}")
plt.show()

# %% [markdown]
# ## An autoencoder
#
# The same networks without a draw and without a prior. It reconstructs better, for its code is free
# to be anywhere; and where no code was, as at a draw of N(0, I), its decoder was never asked.

# %%
plain, _ = train(config.replace(proposal="point"), table)
figure, axes = plt.subplots(2, 1, figsize=(8, 2.4), layout="constrained")
show(axes[0], plain.decode(plain.encode(fresh[:16])[0]), 16, "autoencoder: reconstructions")
show(axes[1], plain.decode(prior), 16, "autoencoder: E[x|z] at draws of N(0, I)")
plt.show()
errors = {}
for name, model in {"VAE": after, "autoencoder": plain}.items():
    errors[name] = ((model.decode(model.encode(fresh)[0]) - fresh) ** 2).sum(axis=1).mean()
    spread = model.encode(rows)[0].std(axis=0).mean()
    print(f"{name}: squared error {errors[name]:.2f}, standard deviation of codes {spread:.2f}")

# %% [markdown]
# ## Half of the pixels missing
#
# The same code trains on incomplete images: the bound is that of the pixels that were seen. What is
# missing of a new image is drawn from p(x_mis|x_obs), not guessed once.

# %%
hidden = rng.random(rows.shape) < 0.5
gappy = data.make_table("digits", columns, np.where(hidden, np.nan, rows))
from_gaps, _ = train(config, gappy)
seen = np.where(rng.random(fresh[:8].shape) < 0.5, np.nan, fresh[:8])
filled = from_gaps.impute(seen, num_samples=1000, num_imputations=3)
figure, axes = plt.subplots(4, 1, figsize=(5, 4), layout="constrained")
show(axes[0], np.nan_to_num(seen, nan=0.5), 8, "what was seen; grey: missing")
show(axes[1], filled.mean, 8, "posterior mean")
show(axes[2], filled.draws[:, 0], 8, "a draw")
show(axes[3], fresh[:8], 8, "the truth")
plt.show()
