"""Figures of a run: how it trained, what it imputed, and the energy over a 2-d latent space."""

import pathlib
from typing import Any

import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from mnar_ebm import data, models  # noqa: E402
from mnar_ebm.files import replacing
from mnar_ebm.inference.imputation import Imputation  # noqa: E402
from mnar_ebm.tilted import FittedModel  # noqa: E402

_COLOURS = {"base": "#4477aa", "tilt": "#cc6677", "joint": "#228833"}
_OBSERVED, _TRUE, _IMPUTED = "#888888", "#222222", "#cc6677"
_MAX_COLUMNS = 16

plt.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "font.size": 9,
        "legend.frameon": False,
        "savefig.dpi": 150,
    }
)


def save(figure: Any, path: pathlib.Path) -> None:
    """Write a figure, whole or not at all, and let go of it."""
    with replacing(path) as part:
        figure.savefig(part)
    plt.close(figure)


def draw_training(log: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw the bound, in training and held out, and of tilts the effective share of base draws."""
    ratios = (3, 1)[: 1 + any(record["stage"] != "base" for record in log)]
    figure, axes = plt.subplots(
        len(ratios),
        squeeze=False,
        sharex=True,
        figsize=(7, 4.5),
        height_ratios=ratios,
        layout="constrained",
    )
    top, bottom = axes[0, 0], axes[-1, 0]
    offset = 0
    for stage in dict.fromkeys(record["stage"] for record in log):
        records = [record for record in log if record["stage"] == stage]
        steps = [offset + record["step"] for record in records]
        colour = _COLOURS[stage]
        top.plot(
            steps, [r["bound"] for r in records], ":.", ms=3, color=colour, label=f"{stage}, batch"
        )
        if "held_out" in records[0]:
            values, label = [r["held_out"] for r in records], f"{stage}, held out"
            top.plot(steps, values, "-o", ms=2, color=colour, label=label)
        if stage != "base":
            bottom.plot(steps, [r["ess_fraction"] for r in records], "-o", color=colour, ms=2)
        offset = steps[-1]
    batch = [record["bound"] for record in log]
    watched = [record["held_out"] for record in log if "held_out" in record] or batch
    low = np.percentile(watched, 10)
    top.set_ylim(low - 0.1 * abs(low), max(*watched, *batch) + 0.05 * abs(low))
    top.set_ylabel("bound (nats a row)")
    top.legend(loc="lower right")
    bottom.set_xlabel("step")
    if bottom is not top:
        bottom.set(ylim=(0, 1), ylabel="ESS / N")
    save(figure, path)


def draw_densities(table: data.Table, imputed: Imputation, path: pathlib.Path) -> None:
    """Draw, for each column with gaps, what was observed, is true and was imputed."""
    columns = np.flatnonzero(~table.mask.all(axis=0))[:_MAX_COLUMNS]
    if not columns.size:
        return
    figure, axes = _grid(columns.size)
    for axis, column in zip(axes.flat, columns, strict=False):
        mask = table.mask[:, column]
        drawn = imputed.draws[:, 0, column]
        everything = drawn if table.truth is None else np.append(drawn, table.truth[:, column])
        edges = np.linspace(*np.percentile(everything, (0.5, 99.5)), 31)
        axis.hist(table.x[mask, column], edges, color=_OBSERVED, alpha=0.35, label="observed")
        if table.truth is not None:
            axis.hist(table.truth[~mask, column], edges, color=_TRUE, histtype="step", label="true")
        axis.hist(
            drawn[~mask], edges, color=_IMPUTED, histtype="step", linewidth=1.5, label="imputed"
        )
        axis.set_title(table.columns[column], parse_math=False)
        axis.set_yticks([])
    _finish_grid(figure, axes, columns.size, path)


def draw_marginals(
    fitted: FittedModel, selected: data.Table, unbiased: data.Table, path: pathlib.Path
) -> None:
    """Draw, for each column, what the selected rows show, the unbiased rows, and the model.

    The model is drawn without its tilts and with them.
    """
    columns = np.arange(min(len(selected.columns), _MAX_COLUMNS))
    seed = fitted.config.seed
    base, tilted = (model.sample(10_000, seed=seed).x for model in (fitted.base(), fitted))
    shown = {
        "selected": (selected.x, {"color": _OBSERVED, "alpha": 0.35}),
        "unbiased": (unbiased.x, {"color": _TRUE, "histtype": "step"}),
        "base": (base, {"color": _COLOURS["base"], "histtype": "step", "linestyle": ":"}),
        "tilted": (tilted, {"color": _IMPUTED, "histtype": "step", "linewidth": 1.5}),
    }
    figure, axes = _grid(columns.size)
    for axis, column in zip(axes.flat, columns, strict=False):
        everything = np.concatenate([unbiased.x[:, column], selected.x[:, column]])
        edges = np.linspace(*np.nanpercentile(everything, (0.5, 99.5)), 26)
        for label, (x, style) in shown.items():
            own = x[~np.isnan(x[:, column]), column]
            axis.hist(own, edges, density=True, label=label, **style)
        axis.set_title(selected.columns[column], parse_math=False)
        axis.set_yticks([])
    _finish_grid(figure, axes, columns.size, path)


def _grid(num_panels: int) -> tuple[Any, np.ndarray]:
    """Return a figure with a panel for each column."""
    num_across = min(4, num_panels)
    num_down = -(-num_panels // num_across)
    return plt.subplots(
        num_down,
        num_across,
        figsize=(2.6 * num_across, 1.9 * num_down + 0.4),
        squeeze=False,
        layout="constrained",
    )


def _finish_grid(figure: Any, axes: np.ndarray, num_panels: int, path: pathlib.Path) -> None:
    """Hide the panels that are left over, add the legend and save."""
    for axis in axes.flat[num_panels:]:
        axis.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside upper center")
    save(figure, path)


def draw_latent(fitted: FittedModel, path: pathlib.Path) -> None:
    """Draw samples of a 2-d latent before and after the tilt, over contours of the energy.

    An energy that reads x is shown at the mean of x given z.
    """
    model, params = fitted.model, fitted.params
    before, after = (
        drawn.sample(1000, seed=fitted.config.seed).z for drawn in (fitted.base(), fitted)
    )
    grid = np.linspace(-3.5, 3.5, 101)
    z = jnp.stack(jnp.meshgrid(grid, grid), axis=-1)
    x = model.vae.likelihood.mean(model.vae.decode(params.base, z))
    energy = models.energy(model, params, x, z)
    figure, axes = plt.subplots(
        1, 2, figsize=(8, 4), sharex=True, sharey=True, layout="constrained"
    )
    contours = None
    for axis, samples, title in zip(axes, (before, after), ("prior", "tilted prior"), strict=True):
        contours = axis.contourf(grid, grid, energy, levels=20, cmap="RdBu_r", alpha=0.7)
        axis.plot(samples[:, 0], samples[:, 1], ".", color=_TRUE, markersize=2)
        axis.set(title=title, xlabel="$z_1$", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    axes[0].set_ylabel("$z_2$")
    figure.colorbar(contours, ax=axes, label="energy (nats)", shrink=0.8)
    save(figure, path)


def draw_images(
    rows: np.ndarray,
    path: pathlib.Path,
    num_across: int,
    style: dict[str, Any],
    labels: list[str] | None = None,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Draw rows [N, V] as small images of a shape: by default squares, or else strips."""
    if shape is None:
        side = round(rows.shape[1] ** 0.5)
        shape = (side, side) if side**2 == rows.shape[1] else (1, rows.shape[1])
    num_down = -(-len(rows) // num_across)
    size = (0.9 * num_across + 1.0, 0.9 * num_down)
    figure, axes = plt.subplots(
        num_down, num_across, figsize=size, squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, row in zip(axes.flat, rows, strict=False):
        axis.imshow(row.reshape(shape), aspect="auto" if shape[0] == 1 else "equal", **style)
    for axis, label in zip(axes[:, 0], labels or [], strict=False):
        axis.set_ylabel(label, rotation=0, ha="right", va="center")
    save(figure, path)
