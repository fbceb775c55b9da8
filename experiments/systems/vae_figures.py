"""Figures of a VAE of images: reconstructions, draws, the latent plane, draws of a posterior."""

import pathlib
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from mnar_ebm.tilted import FittedModel

from .. import figures, pixels

_NUM_DRAWS, _NUM_ACROSS, _GRID = 10, 12, 15
_MAX_POINTS = 3000
_STYLE = {"cmap": "gray_r", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}


def draw_all(
    fitted: FittedModel,
    held_out: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray | None,
    workdir: pathlib.Path,
) -> None:
    """Draw every figure into a run folder.

    Args:
        fitted: the model.
        held_out: images that it was not fitted to. [N, D]
        rows: all images. [N, D]
        labels: their classes, if there are some. [N]
        workdir: the run folder.
    """
    draw_reconstructions(fitted, held_out[:_NUM_ACROSS], workdir / "reconstructions.png")
    draw_samples(fitted, workdir / "draws.png")
    draw_plane(fitted, rows, labels, workdir / "latent.png")
    draw_posterior(fitted, held_out[:4], workdir / "posterior.png")


def draw_reconstructions(fitted: FittedModel, images: np.ndarray, path: pathlib.Path) -> None:
    """Draw images, and under each E[x|z] at the mean of its q(z|x)."""
    rebuilt = fitted.decode(fitted.encode(images)[0])
    _save(np.concatenate([images, rebuilt]), len(images), path, "images, and their reconstructions")


def draw_samples(fitted: FittedModel, path: pathlib.Path) -> None:
    """Draw E[x|z] at draws of the prior; with a tilt, rows of the base and of the tilted model."""
    rng, number = np.random.default_rng(fitted.config.seed), _NUM_ACROSS * 5
    if fitted.params.tilt_scale == 0 or fitted.config.model.tilt == "none":
        z = rng.standard_normal((number, fitted.config.model.latent_dim)).astype(np.float32)
        _save(fitted.decode(z), _NUM_ACROSS, path, "E[x given z] at draws z of N(0, I)")
        return
    shown = [one.sample(number, seed=fitted.config.seed) for one in (fitted.base(), fitted)]
    rows = np.concatenate([fitted.decode(np.asarray(one.z)) for one in shown])
    if fitted.model.tilt.reads_x:
        rows = np.concatenate([np.asarray(one.x) for one in shown])
    title = f"five rows of the base, and five of the tilted model, by {shown[1].method}"
    _save(rows, _NUM_ACROSS, path, title)


def draw_plane(
    fitted: FittedModel, rows: np.ndarray, labels: np.ndarray | None, path: pathlib.Path
) -> None:
    """Draw means of q(z|x) in the two latents that say most of x, and E[x|z] over their plane.

    They are those of the largest mean divergence of q from the prior; the others are 0 over it.
    """
    some = rows[:: -(-len(rows) // _MAX_POINTS)]
    loc, scale = fitted.encode(some)
    divergence = 0.5 * (loc**2 + scale**2 - 1.0 - 2.0 * np.log(scale)).mean(axis=0)
    if fitted.config.model.proposal == "point":
        divergence = loc.var(axis=0)
    pair = np.argsort(-divergence)[:2]
    num_panels = min(2, len(pair))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
    style: dict[str, Any] = {"c": "#444444"}
    if labels is not None:
        style = {"c": labels[:: -(-len(rows) // _MAX_POINTS)], "cmap": "tab10"}
    first, second = loc[:, pair[0]], loc[:, pair[-1]]
    points = axes[0].scatter(first, second, s=3, **style)
    if labels is not None:
        axes[0].legend(*points.legend_elements(), loc="upper right", fontsize=7)
    axes[0].set(xlabel=f"$z_{{{pair[0] + 1}}}$", ylabel=f"$z_{{{pair[-1] + 1}}}$")
    axes[0].set_title("means of q(z given x)")
    ends = np.quantile(loc[:, pair], (0.02, 0.98), axis=0)
    across, down = (np.linspace(*ends[:, at], _GRID) for at in (0, num_panels - 1))
    z = np.zeros((_GRID, _GRID, loc.shape[1]), np.float32)
    z[..., pair[0]], z[..., pair[-1]] = across, down[::-1, None]
    axes[1].imshow(pixels.tile(fitted.decode(z.reshape(-1, loc.shape[1])), _GRID), **_STYLE)
    axes[1].set_title("E[x given z] over the plane, the other latents at 0")
    axes[1].axis("off")
    figures.save(figure, path)


def draw_posterior(fitted: FittedModel, images: np.ndarray, path: pathlib.Path) -> None:
    """Draw images, and beside each E[x|z] at ten draws of its q(z|x), an average of them last."""
    loc, scale = fitted.encode(images)
    if fitted.config.model.proposal == "point":
        scale = np.zeros_like(scale)
    rng = np.random.default_rng(fitted.config.seed)
    noise = rng.standard_normal((len(images), _NUM_DRAWS, loc.shape[1]))
    z = (loc[:, None] + scale[:, None] * noise).astype(np.float32)
    drawn = fitted.decode(z.reshape(-1, loc.shape[1])).reshape(len(images), _NUM_DRAWS, -1)
    parts = [images[:, None], drawn, drawn.mean(axis=1, keepdims=True)]
    rows = np.concatenate(parts, axis=1).reshape(-1, images.shape[1])
    title = "an image, E[x given z] at ten draws of its q(z given x), and their mean"
    _save(rows, _NUM_DRAWS + 2, path, title)


def _save(rows: np.ndarray, num_across: int, path: pathlib.Path, title: str) -> None:
    """Draw images side by side; values that are missing are left blank."""
    image = pixels.tile(np.clip(rows, 0.0, 1.0), num_across)
    height, width = image.shape[:2]
    figure, axis = _canvas(width, height)
    axis.imshow(image, **_STYLE)
    axis.set_title(title)
    axis.axis("off")
    figures.save(figure, path)


def _canvas(width: int, height: int) -> tuple[Any, Any]:
    return plt.subplots(figsize=(8, 8 * height / width + 0.4), layout="constrained")
